"""ASDUs: what a station tells and is told (IEC 60870-5-101, clause 7; -104, clause 8).

Two octets of cause, two of common address, three of object address, as -104 fixes them. Values of process information
are decoded whole; of other types the header alone, so that a station may say what this station does not know.
"""

import struct
from collections.abc import Callable, Sequence
from enum import IntEnum, IntFlag
from typing import Any, NamedTuple

import msgspec

from taihu.protocols.iec104.errors import Iec104Error
from taihu.protocols.iec104.time56 import decode_time, encode_time

_HEADER = struct.Struct("<BBBBH")
_ADDRESS_BYTES = 3
OBJECTS_MAX = 127
INTERROGATION, COUNTER_INTERROGATION, READ, CLOCK, END_OF_INIT = 100, 101, 102, 103, 70
STATION_INTERROGATION = 20
GENERAL_COUNTERS = 5


class Cause(IntEnum):
    """Why an ASDU is sent."""

    PERIODIC = 1
    BACKGROUND = 2
    SPONTANEOUS = 3
    INITIALIZED = 4
    REQUEST = 5
    ACTIVATION = 6
    ACTIVATION_CON = 7
    DEACTIVATION = 8
    DEACTIVATION_CON = 9
    ACTIVATION_TERM = 10
    RETURN_REMOTE = 11
    RETURN_LOCAL = 12
    FILE = 13
    INTERROGATED = 20
    UNKNOWN_TYPE = 44
    UNKNOWN_CAUSE = 45
    UNKNOWN_STATION = 46
    UNKNOWN_OBJECT = 47


class Quality(IntFlag):
    """What is wrong with a value; 0 when nothing is."""

    OVERFLOW = 0x01
    BLOCKED = 0x10
    SUBSTITUTED = 0x20
    NOT_TOPICAL = 0x40
    INVALID = 0x80


class Value(NamedTuple):
    """One information object. `time_ns` is as the station's clock shows it, counted as if it were UTC."""

    address: int
    value: Any
    quality: Quality = Quality(0)
    time_ns: int | None = None


class Asdu(msgspec.Struct, frozen=True, kw_only=True):
    """One ASDU. `values` is empty for a type that is not decoded; `known` says whether it is."""

    type: int
    cause: int
    station: int
    values: tuple[Value, ...] = ()
    negative: bool = False
    test: bool = False
    originator: int = 0
    known: bool = True
    body: bytes = b""


class _Element(NamedTuple):
    """How one type's element is laid out: its struct, what it means, and back; `timed` adds CP56Time2a."""

    layout: struct.Struct
    read: Callable[[tuple[Any, ...]], tuple[Any, int]]
    write: Callable[[Any, int], tuple[Any, ...]]
    timed: bool = False


def _single(raw: tuple[Any, ...]) -> tuple[Any, int]:
    return bool(raw[0] & 1), raw[0] & 0xF0


def _double(raw: tuple[Any, ...]) -> tuple[Any, int]:
    return raw[0] & 3, raw[0] & 0xF0


def _step(raw: tuple[Any, ...]) -> tuple[Any, int]:
    low = raw[0] & 0x7F
    return low - 128 if low >= 64 else low, raw[1] & 0xF1


def _plain(raw: tuple[Any, ...]) -> tuple[Any, int]:
    return raw[0], raw[1] & 0xF1


def _normalized(raw: tuple[Any, ...]) -> tuple[Any, int]:
    return raw[0] / 32_768, raw[1] & 0xF1


def _bare(raw: tuple[Any, ...]) -> tuple[Any, int]:
    return raw[0] / 32_768, 0


def _counter(raw: tuple[Any, ...]) -> tuple[Any, int]:
    return raw[0], raw[1] & 0x80


def _clip(value: float) -> int:
    return max(-32_768, min(32_767, round(value * 32_768)))


_SINGLE = _Element(struct.Struct("<B"), _single, lambda value, bits: (int(bool(value)) | bits,))
_DOUBLE = _Element(struct.Struct("<B"), _double, lambda value, bits: (int(value) & 3 | bits,))
_STEP = _Element(struct.Struct("<BB"), _step, lambda value, bits: (int(value) & 0x7F, bits))
_BITS = _Element(struct.Struct("<IB"), _plain, lambda value, bits: (value, bits))
_NORMALIZED = _Element(struct.Struct("<hB"), _normalized, lambda value, bits: (_clip(value), bits))
_SCALED = _Element(struct.Struct("<hB"), _plain, lambda value, bits: (value, bits))
_FLOAT = _Element(struct.Struct("<fB"), _plain, lambda value, bits: (value, bits))
_COUNTER = _Element(struct.Struct("<iB"), _counter, lambda value, bits: (value, bits))
_BARE = _Element(struct.Struct("<h"), _bare, lambda value, bits: (_clip(value),))
# Commands: the qualifier's bits (select, quality of command) stand where monitored values have their quality.
_ONE = _Element(struct.Struct("<B"), lambda raw: (raw[0], 0), lambda value, bits: (int(value) | bits,))
_SET_NORMALIZED = _Element(
    struct.Struct("<hB"), lambda raw: (raw[0] / 32_768, raw[1]), lambda value, bits: (_clip(value), bits)
)
_SET_SCALED = _Element(struct.Struct("<hB"), lambda raw: (raw[0], raw[1]), lambda value, bits: (value, bits))
_SET_FLOAT = _Element(struct.Struct("<fB"), lambda raw: (raw[0], raw[1]), lambda value, bits: (value, bits))
_SET_BITS = _Element(struct.Struct("<I"), lambda raw: (raw[0], 0), lambda value, bits: (value,))

_ELEMENTS: dict[int, _Element] = {
    1: _SINGLE, 3: _DOUBLE, 5: _STEP, 7: _BITS, 9: _NORMALIZED, 11: _SCALED, 13: _FLOAT, 15: _COUNTER, 21: _BARE,
    45: _ONE, 46: _ONE, 47: _ONE, 48: _SET_NORMALIZED, 49: _SET_SCALED, 50: _SET_FLOAT, 51: _SET_BITS,
    70: _ONE, 100: _ONE, 101: _ONE,
}  # fmt: skip
for _timed, _untimed in {
    30: 1, 31: 3, 32: 5, 33: 7, 34: 9, 35: 11, 36: 13, 37: 15,
    58: 45, 59: 46, 60: 47, 61: 48, 62: 49, 63: 50, 64: 51,
}.items():  # fmt: skip
    _ELEMENTS[_timed] = _ELEMENTS[_untimed]._replace(timed=True)
MONITORED = frozenset({1, 3, 5, 7, 9, 11, 13, 15, 21, *range(30, 38)})
SELECT = 0x80


def encode_asdu(asdu: Asdu, *, sequence: bool = False) -> bytes:
    """The bytes of an ASDU; with `sequence` the objects follow one another and one address stands for all.

    Raises:
        Iec104Error: a value does not fit its type, or there are too many.
    """
    if len(asdu.values) > OBJECTS_MAX:
        raise Iec104Error(f"{len(asdu.values)} objects are more than one ASDU holds.")
    cause = asdu.cause | asdu.negative << 6 | asdu.test << 7
    count = len(asdu.values) | sequence << 7
    parts = [_HEADER.pack(asdu.type, count, cause, asdu.originator, asdu.station)]
    element = _ELEMENTS.get(asdu.type)
    for place, value in enumerate(asdu.values):
        if not sequence or not place:
            parts.append(value.address.to_bytes(_ADDRESS_BYTES, "little"))
        if asdu.type == CLOCK:
            parts.append(encode_time(value.value))
            continue
        if asdu.type == READ:
            continue
        if element is None:
            raise Iec104Error(f"The type {asdu.type} is not known here.")
        try:
            parts.append(element.layout.pack(*element.write(value.value, int(value.quality))))
        except (struct.error, TypeError, OverflowError):
            raise Iec104Error(f"{value.value!r} does not fit the type {asdu.type}.") from None
        if element.timed:
            parts.append(encode_time(value.time_ns or 0))
    return b"".join(parts)


def decode_asdu(data: bytes) -> Asdu:
    """The ASDU of an I frame; raises Iec104Error when it is cut short or too long."""
    if len(data) < _HEADER.size:
        raise Iec104Error(f"An ASDU has {len(data)} octets.")
    kind, shape, cause, originator, station = _HEADER.unpack_from(data)
    count, sequence = shape & 0x7F, bool(shape & 0x80)
    body = data[_HEADER.size :]
    element = _ELEMENTS.get(kind)
    values: Sequence[Value] = ()
    if kind == CLOCK:
        _need(kind, len(body), _ADDRESS_BYTES + 7)
        values = (Value(0, decode_time(body[3:10])),)
    elif element is not None:
        values = _sequence(kind, element, count, body) if sequence else _objects(kind, element, count, body)
    return Asdu(
        type=kind,
        cause=cause & 0x3F,
        station=station,
        values=tuple(values),
        negative=bool(cause & 0x40),
        test=bool(cause & 0x80),
        originator=originator,
        known=element is not None or kind == CLOCK,
        body=b"" if element is not None else body,
    )


def _objects(kind: int, element: _Element, count: int, body: bytes) -> list[Value]:
    size = element.layout.size
    step = _ADDRESS_BYTES + size + (7 if element.timed else 0)
    _need(kind, len(body), count * step)
    unpack, read = element.layout.unpack_from, element.read
    values = []
    for place in range(0, count * step, step):
        address = body[place] | body[place + 1] << 8 | body[place + 2] << 16
        value, bits = read(unpack(body, place + 3))
        time_ns = decode_time(body[place + 3 + size : place + step]) if element.timed else None
        values.append(Value(address, value, Quality(bits), time_ns) if bits else Value(address, value, _GOOD, time_ns))
    return values


def _sequence(kind: int, element: _Element, count: int, body: bytes) -> list[Value]:
    size = element.layout.size
    step = size + (7 if element.timed else 0)
    _need(kind, len(body), _ADDRESS_BYTES + count * step if count else 0)
    values: list[Value] = []
    if not count:
        return values
    first = int.from_bytes(body[:_ADDRESS_BYTES], "little")
    for number in range(count):
        place = _ADDRESS_BYTES + number * step
        value, bits = element.read(element.layout.unpack_from(body, place))
        time_ns = decode_time(body[place + size : place + step]) if element.timed else None
        values.append(Value(first + number, value, Quality(bits), time_ns))
    return values


def _need(kind: int, got: int, wanted: int) -> None:
    if got != wanted:
        raise Iec104Error(f"An ASDU of type {kind} has {got} octets where {wanted} should be.")


_GOOD = Quality(0)
