"""The answers to Publish requests, decoded for speed: data changes of plain values.

Servers send long runs of changes that have one layout (a number, its source time, its server time). Such a run is
unpacked by one call; other plain values go one by one; what is rarer than that is left to a general decoder. Source:
OPC UA Part 6, 5.2 and Part 4, 5.14.5.
"""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from struct import Struct, error
from typing import Any, NamedTuple

from taihu.protocols.opcua.errors import OpcuaError

Change = tuple[int, Any, int, int, int]
"""Client handle, value, status code, source time and server time in ticks of 100 ns since 1601, 0 where unknown."""

NEVER = 0
_TYPE = b"\x01\x00\x3d\x03"  # the binary encoding of PublishResponse, i=829
_CHANGES = b"\x01\x00\x2b\x03"  # of DataChangeNotification, i=811
_VALUE, _STATUS, _SOURCE, _SERVER, _SOURCE_PICO, _SERVER_PICO = 1, 2, 4, 8, 16, 32
_ARRAY, _DIMENSIONS = 0x80, 0x40
_FIXED = {1: "?", 2: "b", 3: "B", 4: "h", 5: "H", 6: "i", 7: "I", 8: "q", 9: "Q", 10: "f", 11: "d", 19: "I"}
_STRING, _DATETIME, _BYTES, _TEXT = 12, 13, 15, 21
_RUN_WINDOW, _RUN_MIN = 4_096, 4
_ARRAY_MAX = 1_048_576
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)

_U32, _I32, _I64 = Struct("<I"), Struct("<i"), Struct("<q")
_HEAD = Struct("<qII")
_MESSAGE = Struct("<?IqI")
_FIXED_STRUCTS = {kind: Struct("<" + sign) for kind, sign in _FIXED.items()}


class Published(NamedTuple):
    """One answer. `keep_alive` says that it has no notifications; `sequence` is then the next one's number."""

    handle: int
    status: int
    subscription: int
    more: bool
    sequence: int
    keep_alive: bool
    changes: list[Change]


class _Unusual(Exception):
    """Allowed, and nothing for this decoder."""


def decode_publish(data: bytes) -> Published | None:
    """The data changes of a PublishResponse; None where a general decoder has to look at it.

    Raises:
        OpcuaError: it is cut short, or counts what cannot be.
    """
    try:
        return _response(data)
    except _Unusual:
        return None
    except (error, IndexError) as fault:
        raise OpcuaError(f"It is no PublishResponse: {fault}.") from None


def plain_time(ticks: int) -> str | None:
    """Ticks of 100 ns since 1601 as ISO 8601; None for what no calendar holds."""
    try:
        return (_EPOCH + timedelta(microseconds=ticks // 10)).isoformat()
    except OverflowError:
        return None


def _response(data: bytes) -> Published:
    if data[:4] != _TYPE:
        raise _Unusual
    _, handle, status = _HEAD.unpack_from(data, 4)
    at = 4 + _HEAD.size
    if data[at] != 0:  # diagnostics
        raise _Unusual
    (strings,) = _I32.unpack_from(data, at + 1)
    if strings > 0 or data[at + 5 : at + 8] != b"\0\0\0":
        raise _Unusual
    at += 8
    if status >> 31:
        return Published(handle, status, 0, False, 0, True, [])
    (subscription,) = _U32.unpack_from(data, at)
    (available,) = _I32.unpack_from(data, at + 4)
    at += 8 + 4 * _count(available, data, at, 4)
    more, sequence, _, _ = _MESSAGE.unpack_from(data, at)
    at += _MESSAGE.size - 4
    (notifications,) = _I32.unpack_from(data, at)
    at += 4
    changes: list[Change] = []
    for _ in range(_count(notifications, data, at, 5)):
        at = _notification(data, at, changes)
    return Published(handle, status, subscription, more, sequence, notifications <= 0, changes)


def _notification(data: bytes, at: int, changes: list[Change]) -> int:
    """Append a notification's changes and return where it ends."""
    if data[at : at + 5] != _CHANGES + b"\x01":
        raise _Unusual
    (length,) = _I32.unpack_from(data, at + 5)
    at += 9
    end: int = at + length
    if length < 8 or end > len(data):
        raise OpcuaError("A notification is longer than its message.")
    (count,) = _I32.unpack_from(data, at)
    at += 4
    left = _count(count, data, at, 5)
    while left:
        run, at = _run(data, at, min(left, _RUN_WINDOW), end, changes)
        left -= run
    if at > end:
        raise OpcuaError("A notification's items are longer than it says.")
    return end  # what follows are diagnostics, for people


def _run(data: bytes, at: int, most: int, end: int, changes: list[Change]) -> tuple[int, int]:
    """Decode items of one layout together; how many, and where the next begins."""
    mask, kind = data[at + 4], data[at + 5]
    layout = _LAYOUTS.get((mask, kind))
    if layout is None:
        return 1, _item(data, at, changes)
    packed, shape = layout
    size: int = packed.size
    most = min(most, (end - at) // size)
    masks, kinds = (data[at + place : at + most * size : size] for place in (4, 5))
    run = min(_leading(masks, mask), _leading(kinds, kind))
    if run < _RUN_MIN:
        return 1, _item(data, at, changes)
    after = at + run * size
    changes += shape(packed, data[at:after])
    return run, after


def _leading(some: bytes, wanted: int) -> int:
    """How many bytes at the beginning are `wanted`."""
    return len(some) - len(some.lstrip(bytes((wanted,))))


def _item(data: bytes, at: int, changes: list[Change]) -> int:
    (handle,) = _U32.unpack_from(data, at)
    mask = data[at + 4]
    at += 5
    value: Any = None
    status = 0
    source = server = NEVER
    if mask & 0xC0:
        raise OpcuaError(f"A data value has the mask {mask:#x}.")
    if mask & _VALUE:
        value, at = _variant(data, at)
    if mask & _STATUS:
        (status,) = _U32.unpack_from(data, at)
        at += 4
    if mask & _SOURCE:
        (source,) = _I64.unpack_from(data, at)
        at += 8
    if mask & _SOURCE_PICO:
        at += 2
    if mask & _SERVER:
        (server,) = _I64.unpack_from(data, at)
        at += 8
    if mask & _SERVER_PICO:
        at += 2
    if at > len(data):
        raise OpcuaError("A data value is cut short.")
    changes.append((handle, value, status, source, server))
    return at


def _variant(data: bytes, at: int) -> tuple[Any, int]:
    encoding = data[at]
    at += 1
    if encoding & _DIMENSIONS:
        raise _Unusual
    kind = encoding & 0x3F
    if not encoding & _ARRAY:
        return _scalar(data, at, kind)
    (count,) = _I32.unpack_from(data, at)
    at += 4
    fixed = _FIXED.get(kind)
    if fixed is not None:
        count = _count(count, data, at, _FIXED_STRUCTS[kind].size)
        packed = Struct(f"<{count}{fixed}")
        return list(packed.unpack_from(data, at)), at + packed.size
    values = []
    for _ in range(_count(count, data, at, 1)):
        value, at = _scalar(data, at, kind)
        values.append(value)
    return values, at


def _scalar(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind == 0:
        return None, at
    fixed = _FIXED_STRUCTS.get(kind)
    if fixed is not None:
        return fixed.unpack_from(data, at)[0], at + fixed.size
    if kind == _DATETIME:
        return plain_time(_I64.unpack_from(data, at)[0]), at + 8
    if kind == _STRING:
        content, at = _bytes(data, at)
        return _text(content), at
    if kind == _BYTES:
        content, at = _bytes(data, at)
        return None if content is None else base64.b64encode(content).decode(), at
    if kind == _TEXT:
        parts = data[at]
        at += 1
        if parts & 1:
            _, at = _bytes(data, at)
        content = None
        if parts & 2:
            content, at = _bytes(data, at)
        return _text(content), at
    raise _Unusual


def _text(content: bytes | None) -> str | None:
    """UTF-8, as the standard says; what a device writes in another way is shown as far as it goes."""
    return None if content is None else content.decode("utf-8", "replace")


def _bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    (length,) = _I32.unpack_from(data, at)
    at += 4
    if length < 0:
        return None, at
    if at + length > len(data):
        raise OpcuaError("A text is longer than its message.")
    return data[at : at + length], at + length


def _count(count: int, data: bytes, at: int, least: int) -> int:
    """A length that can be: -1 stands for none, and each element takes at least `least` bytes."""
    if count > _ARRAY_MAX or count * least > len(data) - at:
        raise OpcuaError(f"It counts {count} elements, more than there are bytes.")
    return max(count, 0)


_Shape = Callable[[Struct, bytes], list[Change]]
_SHAPES: dict[int, tuple[str, _Shape]] = {
    _VALUE: ("", lambda packed, run: [(handle, value, 0, 0, 0) for handle, value in packed.iter_unpack(run)]),
    _VALUE | _SOURCE: (
        "q",
        lambda packed, run: [(handle, value, 0, source, 0) for handle, value, source in packed.iter_unpack(run)],
    ),
    _VALUE | _SERVER: (
        "q",
        lambda packed, run: [(handle, value, 0, 0, server) for handle, value, server in packed.iter_unpack(run)],
    ),
    _VALUE | _SOURCE | _SERVER: (
        "qq",
        lambda packed, run: [(one[0], one[1], 0, one[2], one[3]) for one in packed.iter_unpack(run)],
    ),
}
_LAYOUTS = {
    (mask, kind): (Struct(f"<Ixx{sign}{times}"), shape)
    for mask, (times, shape) in _SHAPES.items()
    for kind, sign in _FIXED.items()
}
