"""SenML packs, as RFC 8428 gives them."""

import json
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.kernel.units import parse_unit
from taihu.things.mapping import PayloadError
from taihu.things.mapping.reading import Source
from taihu.things.mapping.rules import BaseName, Format, Mapping
from taihu.things.mapping.senml import senml
from taihu.things.mapping.senml_units import UNITS
from taihu.things.ports import Row

NOW = 1_800_000_000_000_000_000
S = 10**9
LABELS = {"bver": -1, "bn": -2, "bt": -3, "bu": -4, "bv": -5, "bs": -6, "n": 0, "u": 1, "v": 2, "vs": 3, "vb": 4,
          "s": 5, "t": 6, "ut": 7, "vd": 8}  # fmt: skip
NUMBER = st.integers(-(2**70), 2**70) | st.floats()
RECORD = st.fixed_dictionaries(
    {},
    optional={
        "bn": st.sampled_from(["dev/", ""]) | st.integers(), "bt": NUMBER, "bv": NUMBER, "bs": NUMBER, "bu": st.text(),
        "n": st.sampled_from(["a", "b/c", "", "/"]), "t": NUMBER, "u": st.sampled_from(["Cel", "%RH"]), "v": NUMBER,
        "vs": st.text(), "vb": st.booleans(), "vd": st.binary(), "s": NUMBER, "bver": st.integers(0, 12),
    },
)  # fmt: skip


def read(payload: bytes, base_name: BaseName = BaseName.IGNORE, received_at: int = NOW, **more: Any) -> list[Row]:
    mapping = Mapping(name="m", topic="t", format=Format.SENML, base_name=base_name, **more)
    return senml(Source(mapping, "meter"), payload, received_at)


def both(pack: list[dict[str, Any]], **more: Any) -> list[Row]:
    """The rows of a pack, which are the same whether it comes as JSON or CBOR."""
    found = read(json.dumps(pack).encode(), **more)
    assert (
        read(cbor2.dumps([{LABELS[key]: value for key, value in record.items()} for record in pack]), **more) == found
    )
    return found


def reason(pack: object) -> str:
    with pytest.raises(PayloadError) as caught:
        read(json.dumps(pack).encode())
    assert caught.value.remedy
    return caught.value.reason


def test_single_data_point() -> None:
    """RFC 8428 5.1.1."""
    assert both([{"n": "urn:dev:ow:10e2073a01080063", "u": "Cel", "v": 23.1}]) == [
        Row({"urn:dev:ow:10e2073a01080063": 23.1}, None, "meter", {"urn:dev:ow:10e2073a01080063": "Cel"})
    ]


def test_several_data_points() -> None:
    """RFC 8428 5.1.2: base time, relative to it, and the base unit."""
    pack: list[dict[str, Any]] = [
        {"bn": "urn:dev:ow:10e2073a0108006:", "bt": 1.276020076001e9, "bu": "A", "bver": 5, "n": "voltage", "u": "V",
         "v": 120.1},
        *({"n": "current", "t": -index, "v": round(1.7 - index / 10, 1)} for index in range(5, 0, -1)),
        {"n": "current", "v": 1.7},
    ]  # fmt: skip
    at = 1_276_020_076_001_000_000
    assert {row.observed_at: row.values for row in both(pack)} == {
        at: {"voltage": 120.1, "current": 1.7},
        **{at - index * S: {"current": round(1.7 - index / 10, 1)} for index in range(1, 6)},
    }
    assert both(pack)[0].units == {"voltage": "V", "current": "A"}


def test_multiple_measurements() -> None:
    """RFC 8428 5.1.3: humidity and position of a moving sensor."""
    pack: list[dict[str, Any]] = [
        {"bn": "urn:dev:ow:10e2073a01080063", "bt": 1.320067464e9, "bu": "%RH", "v": 20},
        {"u": "lon", "v": 24.30621},
        {"u": "lat", "v": 60.07965},
        {"t": 60, "v": 20.3},
    ]
    base = pack[0] | {"n": "humidity"}
    found = both([base, pack[1] | {"n": "lon"}, pack[2] | {"n": "lat"}, pack[3] | {"n": "humidity"}])
    units = {"humidity": "%", "lon": "deg", "lat": "deg"}
    assert found == [
        Row({"humidity": 20, "lon": 24.30621, "lat": 60.07965}, 1_320_067_464 * S, "meter", units),
        Row({"humidity": 20.3}, 1_320_067_524 * S, "meter", {"humidity": "%"}),
    ]
    assert both(pack[:1]) == [Row({"value": 20}, 1_320_067_464 * S, "meter", {"value": "%"})]


def test_different_data_types() -> None:
    """RFC 8428 5.1.5."""
    pack: list[dict[str, Any]] = [
        {"bn": "urn:dev:ow:10e2073a01080063:", "n": "temp", "u": "Cel", "v": 23.1},
        {"n": "label", "vs": "Machine Room"},
        {"n": "open", "vb": False},
        {"n": "nfc-reader", "vd": "aGkgCg"},
    ]
    values = {"temp": 23.1, "label": "Machine Room", "open": False, "nfc-reader": "aGkgCg"}
    assert both(pack) == [Row(values, None, "meter", {"temp": "Cel"})]
    assert read(cbor2.dumps([{0: "nfc-reader", 8: b"hi \n"}])) == [Row({"nfc-reader": "aGkgCg"}, None, "meter")]


def test_collection_of_things() -> None:
    """RFC 8428 5.1.6: the base name names the thing."""
    pack: list[dict[str, Any]] = [
        {"bn": "2001:db8::2/", "bt": 1.320078429e9, "n": "temperature", "u": "Cel", "v": 25.2},
        {"n": "humidity", "u": "%RH", "v": 30},
        {"bn": "2001:db8::1/", "n": "temperature", "u": "Cel", "v": 12.3},
        {"n": "humidity", "u": "%RH", "v": 67},
    ]
    at = 1_320_078_429 * S
    assert [(row.thing, row.values, row.observed_at) for row in both(pack, base_name=BaseName.THING)] == [
        ("2001:db8::2", {"temperature": 25.2, "humidity": 30}, at),
        ("2001:db8::1", {"temperature": 12.3, "humidity": 67}, at),
    ]
    assert both(pack, base_name=BaseName.PROPERTY)[0].values == {
        "2001:db8::2.temperature": 25.2, "2001:db8::2.humidity": 30,
        "2001:db8::1.temperature": 12.3, "2001:db8::1.humidity": 67,
    }  # fmt: skip


def test_small_times_are_relative_to_the_moment_of_receipt() -> None:
    """RFC 8428 4.5.3: below 2**28."""
    assert both([{"n": "a", "v": 1, "t": -10.5}])[0].observed_at == NOW - 10 * S - S // 2
    assert both([{"n": "a", "v": 1, "t": 2**28 - 1}])[0].observed_at == NOW + (2**28 - 1) * S
    assert both([{"n": "a", "v": 1, "t": 2**28}])[0].observed_at == 2**28 * S
    assert both([{"n": "a", "v": 1, "t": 0}])[0].observed_at is None
    assert both([{"n": "a", "v": 1, "t": 0.0}])[0].observed_at is None
    assert both([{"n": "a", "v": 1, "bt": 5, "t": -5}])[0].observed_at is None


def test_decimals_of_a_time_are_exact() -> None:
    """§1."""
    payload = b'[{"n":"a","v":0.1,"bt":1700000000.123456789,"t":0.000000001}]'
    assert read(payload) == [Row({"a": 0.1}, 1_700_000_000_123_456_790, "meter")]


def test_base_value_sum_and_base_sum() -> None:
    """RFC 8428 4.5.1: what is missing of value or base is zero; a sum is a reading of its own, in unit seconds."""
    pack: list[dict[str, Any]] = [
        {"bv": 20, "bs": 100, "bu": "W", "n": "a", "v": 1.5, "s": 1},
        {"n": "b", "v": 2},
        {"n": "c"},
    ]
    assert both(pack) == [
        Row(
            {"a": 21.5, "a.sum": 101, "b": 22, "b.sum": 100, "c": 20, "c.sum": 100},
            None,
            "meter",
            {"a": "W", "a.sum": "W.s", "b": "W", "b.sum": "W.s", "c": "W", "c.sum": "W.s"},
        )
    ]
    assert both([{"n": "a", "s": 5, "u": "m/s"}])[0] == Row({"a.sum": 5}, None, "meter", {"a.sum": "(m/s).s"})


def test_a_record_of_base_fields_alone_is_no_reading() -> None:
    assert both([{"bn": "x", "bt": 1_700_000_000}, {"n": "a", "v": 1}])[0].values == {"a": 1}


@pytest.mark.parametrize(
    ("pack", "code"),
    [
        ({}, "bad-senml"), ([], "no-values"), ([{}], "no-values"), ([5], "bad-senml"), ([{"n": "a"}], "bad-senml"),
        ([{"v": 1}], "bad-senml"), ([{"n": "a", "v": "1"}], "bad-senml"), ([{"n": "a", "v": True}], "bad-senml"),
        ([{"n": "a", "vb": 1}], "bad-senml"), ([{"n": "a", "vs": 1}], "bad-senml"), ([{"n": 1, "v": 1}], "bad-senml"),
        ([{"n": "a", "v": 1, "vs": "x"}], "bad-senml"), ([{"n": "a", "v": 1, "x_": 1}], "bad-senml"),
        ([{"n": "a", "v": 1, "bver": 11}], "bad-senml"), ([{"n": "a", "v": 1, "u": 1}], "bad-senml"),
        ([{"n": "a", "v": 1, "t": "x"}], "bad-senml"), ([{"n": "a", "v": 1, "t": 1e30}], "bad-time"),
        ([{"n": "a", "v": 1, "t": -1.9e9}], "bad-time"), ([{"n": "a", "v": 1e308, "bv": 1e308}], "bad-value"),
    ],
)  # fmt: skip
def test_what_is_not_senml(pack: object, code: str) -> None:
    """§13; RFC 8428 4.3: fields that end in `_` must be understood."""
    assert reason(pack) == code


@pytest.mark.parametrize(
    ("payload", "code"),
    [("a0", "bad-senml"), ("8100", "bad-senml"), ("ff", "not-cbor"), ("81a100", "not-cbor"),
     ("9b7fffffffffffffff", "not-cbor"), ("81" * 500, "not-cbor"), ("d81c81d81d00", "not-cbor"),
     ("81d823612e", "not-cbor"),
     ("81a2006161 02c5821b7fffffffffffffff01", "not-cbor"), ("81a2006161 02f97e00", "bad-value"),
     ("81a2006161 02f7", "bad-senml"), ("81a3006161 0201 06f97c00", "bad-value"),
     ("81a2006161 02c4821b7fffffffffffffff01", "not-cbor")],
)  # fmt: skip
def test_what_is_not_cbor_senml(payload: str, code: str) -> None:
    """§13: no tag makes the decoder do more than read."""
    with pytest.raises(PayloadError) as caught:
        read(bytes.fromhex(payload))
    assert caught.value.reason == code


def test_cbor_decimal_fractions() -> None:
    """RFC 8428 6."""
    assert read(bytes.fromhex("81a2006161 02c48221196ab3")) == [Row({"a": 273.15}, None, "meter")]


def test_every_unit_of_the_registry_is_a_unit() -> None:
    for name, code in UNITS.items():
        assert parse_unit(code), name


@given(st.binary() | st.lists(RECORD).map(cbor2.dumps) | st.lists(RECORD.map(lambda record: {
    LABELS[key]: value for key, value in record.items()})).map(cbor2.dumps))  # fmt: skip
def test_any_bytes_give_rows_or_the_error(payload: bytes) -> None:
    """§13."""
    for base_name in BaseName:
        try:
            found = read(payload, base_name)
        except PayloadError as error:
            assert error.reason and error.remedy
            continue
        assert all(row.values for row in found)
        assert all(row.observed_at is None or 0 <= row.observed_at < 2**63 for row in found)
