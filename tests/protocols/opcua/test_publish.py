"""The fast decoder against asyncua's own: the same values, or left to it; any bytes give changes or the one error."""

import struct
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.protocols.opcua.errors import OpcuaError
from taihu.protocols.opcua.publish import Change, decode_publish, plain_time

pytest.importorskip("asyncua", reason="asyncua is not installed: pip install 'taihu[opcua]'")

from asyncua import ua
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary

from taihu.drivers.opcua.feed import _change
from taihu.drivers.opcua.values import ticks_of

MOMENTS = st.integers(0, 2**32).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
TIMES = st.none() | MOMENTS
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "Boolean": st.booleans(),
    "SByte": st.integers(-128, 127),
    "Byte": st.integers(0, 255),
    "Int16": st.integers(-(2**15), 2**15 - 1),
    "UInt16": st.integers(0, 2**16 - 1),
    "Int32": st.integers(-(2**31), 2**31 - 1),
    "UInt32": st.integers(0, 2**32 - 1),
    "Int64": st.integers(-(2**63), 2**63 - 1),
    "UInt64": st.integers(0, 2**64 - 1),
    "Float": st.floats(width=32, allow_nan=False),
    "Double": st.floats(allow_nan=False),
    "String": st.text(max_size=20),
    "DateTime": MOMENTS,
    "ByteString": st.binary(max_size=20),
    "LocalizedText": st.text(max_size=20).map(ua.LocalizedText),
}


def variants() -> st.SearchStrategy[Any]:
    def of(name: str) -> st.SearchStrategy[Any]:
        kind = ua.VariantType[name]
        one = SCALARS[name].map(lambda value: ua.Variant(value, kind))
        many = st.lists(SCALARS[name], max_size=5).map(lambda value: ua.Variant(value, kind, is_array=True))
        return one | many

    return st.sampled_from(sorted(SCALARS)).flatmap(of)


def values(content: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    statuses = st.sampled_from([0, 0x80340000, 0x40920000, 0x00000480]).map(ua.StatusCode) | st.none()
    return st.builds(
        ua.DataValue, Value=st.none() | content, StatusCode=statuses, SourceTimestamp=TIMES, ServerTimestamp=TIMES
    )


def response(values: list[Any], sequence: int = 7) -> bytes:
    answer = ua.PublishResponse()
    answer.ResponseHeader.RequestHandle = 3
    answer.Parameters.SubscriptionId = 5
    answer.Parameters.MoreNotifications = False
    answer.Parameters.AvailableSequenceNumbers = [6, 7]
    answer.Parameters.NotificationMessage.SequenceNumber = sequence
    changes = ua.DataChangeNotification()
    changes.MonitoredItems = [ua.MonitoredItemNotification(place, value) for place, value in enumerate(values)]
    answer.Parameters.NotificationMessage.NotificationData = [changes] if values else []
    data: bytes = struct_to_binary(answer)
    return data


def general(data: bytes) -> list[Change]:
    answer = struct_from_binary(ua.PublishResponse, ua.utils.Buffer(data))
    notifications = answer.Parameters.NotificationMessage.NotificationData
    return [_change(item.ClientHandle, item.Value) for one in notifications for item in one.MonitoredItems]


@given(st.lists(values(variants()), min_size=1, max_size=12))
@settings(deadline=None, max_examples=60)
def test_it_reads_what_the_general_decoder_reads(some: list[Any]) -> None:
    data = response(some)
    found = decode_publish(data)
    assert found is not None
    assert (found.subscription, found.sequence, found.more, found.keep_alive) == (5, 7, False, False)
    assert found.changes == general(data)


@given(st.lists(st.sampled_from(["Double", "Float", "Int32", "Boolean"]), min_size=1, max_size=6), st.data())
@settings(deadline=None, max_examples=40)
def test_long_runs_of_one_layout_are_the_same_values(kinds: list[str], data: st.DataObject) -> None:
    moment = datetime(2026, 11, 26, tzinfo=UTC)
    some = []
    for kind in kinds:
        source, server = data.draw(st.sampled_from([(moment, moment), (moment, None), (None, moment), (None, None)]))
        number = data.draw(st.integers(1, 40))
        for _ in range(number):
            content = ua.Variant(data.draw(SCALARS[kind]), ua.VariantType[kind])
            some.append(ua.DataValue(content, None, source, server))
    packed = response(some)
    found = decode_publish(packed)
    assert found is not None and found.changes == general(packed)


def test_a_keep_alive_has_the_next_number_and_no_changes() -> None:
    found = decode_publish(response([], sequence=8))
    assert found is not None
    assert (found.keep_alive, found.sequence, found.changes) == (True, 8, [])


@pytest.mark.parametrize(
    "unusual",
    [
        ua.Variant(uuid.UUID(int=5), ua.VariantType.Guid),
        ua.Variant(ua.NodeId(5), ua.VariantType.NodeId),
        ua.Variant(ua.Range(1.0, 2.0), ua.VariantType.ExtensionObject),
        ua.Variant([[1, 2], [3, 4]], ua.VariantType.Int32),
    ],
)
def test_what_is_rare_is_left_to_the_general_decoder(unusual: Any) -> None:
    assert decode_publish(response([ua.DataValue(ua.Variant(1.0)), ua.DataValue(unusual)])) is None


def test_events_are_left_to_the_general_decoder() -> None:
    answer = ua.PublishResponse()
    answer.Parameters.NotificationMessage.NotificationData = [ua.EventNotificationList()]
    assert decode_publish(struct_to_binary(answer)) is None


WHOLE = response([ua.DataValue(ua.Variant(float(one))) for one in range(8)] + [ua.DataValue(ua.Variant("text"))])


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda tail: b"\x01\x00\x3d\x03" + tail))
def test_any_bytes_give_changes_or_the_one_error_13(data: bytes) -> None:
    with suppress(OpcuaError):
        decode_publish(data)


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255), st.integers(0, len(WHOLE)))
def test_any_damage_gives_changes_or_the_one_error_13(place: int, byte: int, length: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[place] = byte
    with suppress(OpcuaError):
        decode_publish(bytes(damaged[:length]))


@pytest.mark.parametrize("length", range(60, len(WHOLE) - 12, 7))
def test_what_is_cut_short_is_the_one_error(length: int) -> None:
    with pytest.raises(OpcuaError):
        decode_publish(WHOLE[:length])


def test_a_count_that_cannot_be_is_refused_before_memory_is_taken() -> None:
    place = WHOLE.index(b"\x01\x00\x2b\x03\x01") + 9
    with pytest.raises(OpcuaError, match="more than there are bytes"):
        decode_publish(WHOLE[:place] + struct.pack("<i", 2**31 - 1) + WHOLE[place + 4 :])


def test_one_value_that_cannot_be_takes_no_other_with_it() -> None:
    text = response([ua.DataValue(ua.Variant("Gr\u00fc\u00dfe")), ua.DataValue(ua.Variant(7))])
    found = decode_publish(text.replace("\u00fc\u00df".encode(), b"\xfc\xdf\xfc\xdf"))
    assert found is not None
    assert [change[1] for change in found.changes] == ["Gr\ufffd\ufffd\ufffd\ufffde", 7]
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    late = struct.pack("<q", 2**63 - 1)
    ticks = struct.pack("<q", ticks_of(moment))
    when = response([ua.DataValue(ua.Variant(moment, ua.VariantType.DateTime)), ua.DataValue(ua.Variant(7))])
    assert ticks in when
    found = decode_publish(when.replace(ticks, late))
    assert found is not None
    assert [change[1] for change in found.changes] == [None, 7]


def test_times_are_iso() -> None:
    assert plain_time(116_444_736_000_000_000) == "1970-01-01T00:00:00+00:00"
