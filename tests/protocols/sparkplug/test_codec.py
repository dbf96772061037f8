"""The payload codec: round trips, any bytes, and both ways of reading a metric alike."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.protocols.sparkplug.payloads import PAYLOADS

from taihu.protocols.sparkplug import decode as decode_module
from taihu.protocols.sparkplug.decode import decode
from taihu.protocols.sparkplug.encode import encode
from taihu.protocols.sparkplug.errors import SparkplugError
from taihu.protocols.sparkplug.kinds import DataType, in_field, typed
from taihu.protocols.sparkplug.payload import (
    DEPTH_MAX,
    PAYLOAD_BYTES_MAX,
    DataSet,
    Metric,
    Parameter,
    Payload,
    PropertyValue,
    Template,
)
from taihu.protocols.sparkplug.wire import bytes_field, double_field, varint_field


@settings(max_examples=40, deadline=None)
@given(PAYLOADS)
def test_what_is_encoded_is_decoded(payload: Payload) -> None:
    assert decode(encode(payload)) == payload


@settings(max_examples=40, deadline=None)
@given(PAYLOADS)
def test_a_metric_in_an_unusual_form_is_the_same(payload: Payload) -> None:
    """An unknown field in each metric sends it past the regular expression."""
    usual = decode(encode(payload))
    metrics = [bytes_field(2, encode_metric(one) + varint_field(99, 1)) for one in payload.metrics]
    assert decode(b"".join(metrics)).metrics == usual.metrics


def encode_metric(metric: Metric) -> bytes:
    data = encode(Payload(metrics=(metric,)))
    size, at = data[1], 2
    while size > 0x7F:
        size, at = data[at], at + 1
    return data[at:]


@given(st.binary(max_size=200))
def test_any_bytes_give_a_payload_or_the_one_error_13(data: bytes) -> None:
    try:
        decode(data)
    except SparkplugError as error:
        assert error.message


@settings(max_examples=40, deadline=None)
@given(PAYLOADS, st.data())
def test_damaged_bytes_give_a_payload_or_the_one_error_13(payload: Payload, draw: st.DataObject) -> None:
    data = bytearray(encode(payload))
    if data:
        at = draw.draw(st.integers(0, len(data) - 1))
        data[at] ^= draw.draw(st.integers(1, 255))
        cut = draw.draw(st.integers(0, len(data)))
        for damaged in (bytes(data), bytes(data[:cut])):
            try:
                decode(damaged)
            except SparkplugError:
                continue


@pytest.mark.parametrize(
    ("kind", "value", "held"),
    [
        (DataType.INT8, -1, 0xFFFFFFFF),
        (DataType.INT64, -2, 0xFFFFFFFFFFFFFFFE),
        (DataType.INT16_ARRAY, [-30000, 30000], b"\xd0\x8a\x30\x75"),
        (DataType.BOOLEAN_ARRAY, [False, False, True, True, False, True, False, False, True, True, False, True],
         b"\x0c\0\0\0\x34\xd0"),
        (DataType.STRING_ARRAY, ["ABC", "hello"], b"ABC\0hello\0"),
        (DataType.DATETIME_ARRAY, [1_256_102_875_335, 1_656_107_875_000],
         b"\xc7\xd0\x90\x75\x24\x01\0\0\xb8\xba\xb8\x97\x81\x01\0\0"),
    ],
)  # fmt: skip
def test_values_stand_in_their_fields_as_the_standard_has_them(kind: DataType, value: object, held: object) -> None:
    assert in_field(kind, value) == held
    assert typed(kind, held) == value


def test_a_byte_alone_is_a_negative_number_as_well() -> None:
    assert typed(DataType.INT8, 0xFF) == -1


@pytest.mark.parametrize(
    ("kind", "value"),
    [(DataType.INT8, 128), (DataType.UINT8, -1), (DataType.UINT8, True), (DataType.FLOAT, 1e300),
     (DataType.DOUBLE, "1"), (DataType.BOOLEAN, 1), (DataType.STRING, 5), (DataType.STRING, "\ud800"),
     (DataType.BYTES, "x"), (DataType.INT8_ARRAY, [300]), (DataType.STRING_ARRAY, ["a\0b"]), (DataType.DATASET, 1),
     (DataType.PROPERTY_SET, {}), (99, 1), (DataType.UNKNOWN, 1), (DataType.INT32_ARRAY, 7)],
)  # fmt: skip
def test_a_value_that_its_type_cannot_hold_is_refused(kind: int, value: object) -> None:
    with pytest.raises(SparkplugError):
        encode(Payload(metrics=(Metric(name="a", kind=kind, value=value),)))


def test_a_property_set_has_as_many_keys_as_values() -> None:
    good = encode(Payload(metrics=(Metric(name="a", kind=3, properties={"k": PropertyValue(3, 1)}),)))
    assert decode(good)
    key = bytes_field(1, b"k")
    assert key in good
    with pytest.raises(SparkplugError, match="0 keys and 1 values"):
        decode(good.replace(key, bytes_field(9, b"k")))


def test_a_data_set_hangs_together() -> None:
    def sent(*types: int, cells: int = 2) -> bytes:
        row = bytes_field(4, bytes_field(1, varint_field(1, 5)) * cells)
        inner = varint_field(1, 2) + bytes_field(2, b"a") + bytes_field(2, b"b")
        return bytes_field(2, bytes_field(17, inner + b"".join(varint_field(3, one) for one in types) + row))

    assert decode(sent(3, 7)).metrics[0].value == DataSet(("a", "b"), (3, 7), ((5, 5),))
    for wrong in (sent(3), sent(3, 3, 3), sent(3, DataType.DATASET), sent(3, 99), sent(3, 7, cells=3)):
        with pytest.raises(SparkplugError):
            decode(wrong)
    with pytest.raises(SparkplugError):
        encode(Payload(metrics=(Metric(kind=DataType.DATASET, value=DataSet(("a",), (3, 3), ())),)))


def test_packed_types_of_columns_are_read() -> None:
    inner = varint_field(1, 2) + bytes_field(2, b"a") + bytes_field(2, b"b") + bytes_field(3, b"\x03\x0a")
    assert decode(bytes_field(2, bytes_field(17, inner))).metrics[0].value == DataSet(("a", "b"), (3, 10), ())


def test_a_definition_names_none_and_an_instance_names_its_definition() -> None:
    def sent(template: Template) -> bytes:
        return encode(Payload(metrics=(Metric(name="t", kind=DataType.TEMPLATE, value=template),)))

    for template in (Template(definition=True), Template(ref="Motor")):
        data = sent(template)
        assert bytes((0x28, template.definition)) in data  # the flag is always there
        assert decode(data).metrics[0].value == template
    for wrong in (Template(ref="Motor", definition=True), Template()):
        with pytest.raises(SparkplugError, match="definition"):
            sent(wrong)


def test_a_parameter_has_a_name_and_a_basic_type() -> None:
    template = Template(ref="Motor", parameters=(Parameter("poles", DataType.INT32, 4),))
    data = encode(Payload(metrics=(Metric(kind=DataType.TEMPLATE, value=template),)))
    assert decode(data).metrics[0].value == template
    named = bytes_field(1, b"poles")
    with pytest.raises(SparkplugError, match="no name"):
        decode(data.replace(named, bytes_field(9, b"poles")))
    with pytest.raises(SparkplugError):
        encode(Payload(metrics=(Metric(kind=19, value=Template(ref="M", parameters=(Parameter("a", 22, [1]),))),)))


def test_without_types_what_stands_in_the_fields_is_passed_on() -> None:
    payload = Payload(metrics=(Metric(alias=1, kind=DataType.INT32, value=-5), Metric(alias=2, kind=11, value=True)))
    first, second = decode(encode(payload, with_kinds=False)).metrics
    assert (first.kind, second.kind, second.value) == (0, 0, True)
    assert typed(DataType.INT32, first.value) == -5


@given(st.binary(max_size=20))
def test_unknown_fields_are_skipped(blob: bytes) -> None:
    unknown = varint_field(200, 5) + bytes_field(300, blob) + double_field(400, 1.0) + b"\xa3\x06\x08\x01\xa4\x06"
    metric = bytes_field(2, bytes_field(1, b"a") + unknown + varint_field(4, 3) + varint_field(10, 7))
    assert decode(unknown + metric + varint_field(3, 9) + unknown) == Payload(
        metrics=(Metric(name="a", kind=3, value=7),), seq=9
    )


def test_every_size_has_its_bound_6(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SparkplugError, match="over the limit"):
        decode(bytes(PAYLOAD_BYTES_MAX + 1))
    monkeypatch.setattr(decode_module, "PARTS_MAX", 50)
    with pytest.raises(SparkplugError, match="more than 50"):
        decode(b"\x12\0" * 51)
    nested: bytes = b""
    for _ in range(DEPTH_MAX + 2):
        nested = bytes_field(2, bytes_field(18, nested))
    with pytest.raises(SparkplugError, match="nested"):
        decode(nested)
    with pytest.raises(SparkplugError, match="end"):
        decode(b"\x0b" * 40)


@pytest.mark.parametrize(
    ("data", "why"),
    [(b"\x12\x05\x08", "longer"), (b"\x08" + b"\xff" * 11, "no end"), (b"\x00", "number 0"), (b"\x0f", "wire type 7"),
     (b"\x0d\0\0\0\0", "wire type 5"), (bytes_field(4, b"\xff"), "utf-8"),
     (bytes_field(2, varint_field(4, 40) + varint_field(10, 1)), "no data type 40"),
     (bytes_field(2, varint_field(4, 12) + varint_field(10, 1)), "STRING"),
     (bytes_field(2, bytes_field(1, b"abc")[:3]), "longer")],
)  # fmt: skip
def test_what_is_wrong_is_said(data: bytes, why: str) -> None:
    with pytest.raises(SparkplugError, match=re.escape(why)):
        decode(data)
