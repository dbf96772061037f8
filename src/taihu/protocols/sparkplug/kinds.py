"""The data types of Sparkplug B (6.4.16), and how each one's values stand in a payload's few value fields.

Signed integers are two's complement in unsigned fields; arrays are packed little-endian bytes.
"""

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from taihu.protocols.sparkplug.errors import SparkplugError
from taihu.protocols.sparkplug.payload import DataSet, Template


class DataType(IntEnum):
    """Of a metric, a property, a parameter or a column."""

    UNKNOWN = 0
    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    TEXT = 14
    UUID = 15
    DATASET = 16
    BYTES = 17
    FILE = 18
    TEMPLATE = 19
    PROPERTY_SET = 20
    PROPERTY_SET_LIST = 21
    INT8_ARRAY = 22
    INT16_ARRAY = 23
    INT32_ARRAY = 24
    INT64_ARRAY = 25
    UINT8_ARRAY = 26
    UINT16_ARRAY = 27
    UINT32_ARRAY = 28
    UINT64_ARRAY = 29
    FLOAT_ARRAY = 30
    DOUBLE_ARRAY = 31
    BOOLEAN_ARRAY = 32
    STRING_ARRAY = 33
    DATETIME_ARRAY = 34


SIGNED = {DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32, DataType.INT64: 64}
UNSIGNED = {DataType.UINT8: 8, DataType.UINT16: 16, DataType.UINT32: 32, DataType.UINT64: 64, DataType.DATETIME: 64}
TEXTS = (DataType.STRING, DataType.TEXT, DataType.UUID)
FLOATS = (DataType.FLOAT, DataType.DOUBLE)
BLOBS = (DataType.BYTES, DataType.FILE)
BASIC = frozenset(range(DataType.INT8, DataType.DATASET))  # what columns and parameters may be
PACKED = {
    DataType.INT8_ARRAY: "b", DataType.INT16_ARRAY: "h", DataType.INT32_ARRAY: "i", DataType.INT64_ARRAY: "q",
    DataType.UINT8_ARRAY: "B", DataType.UINT16_ARRAY: "H", DataType.UINT32_ARRAY: "I", DataType.UINT64_ARRAY: "Q",
    DataType.FLOAT_ARRAY: "f", DataType.DOUBLE_ARRAY: "d", DataType.DATETIME_ARRAY: "Q",
}  # fmt: skip
_KNOWN = frozenset(DataType)


def _wrong(kind: int, value: Any) -> SparkplugError:
    name = DataType(kind).name if kind in _KNOWN else f"type {kind}"
    return SparkplugError(f"A {type(value).__name__} stands where a value of {name} should.")


def _signed(bits: int) -> Callable[[Any], int]:
    mask, top = (1 << bits) - 1, 1 << (bits - 1)

    def read(value: Any) -> int:
        if type(value) is not int:
            raise _wrong(DataType.INT64, value)
        return ((value & mask) ^ top) - top

    return read


def _unsigned(bits: int) -> Callable[[Any], int]:
    limit = 1 << bits

    def read(value: Any) -> int:
        if type(value) is not int or value >= limit:
            raise _wrong(DataType.UINT64, value)
        return value

    return read


def _plain(kind: DataType, wanted: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) is not wanted:
            raise _wrong(kind, value)
        return value

    return read


def _packed(code: str) -> Callable[[Any], list[Any]]:
    size = struct.calcsize("<" + code)

    def read(value: Any) -> list[Any]:
        if type(value) is not bytes or len(value) % size:
            raise SparkplugError(f"An array is no whole number of {size}-byte values.")
        return list(struct.unpack(f"<{len(value) // size}{code}", value))

    return read


def _booleans(value: Any) -> list[bool]:
    """A count of four bytes, then bits, the first one highest."""
    if type(value) is not bytes or len(value) < 4:
        raise SparkplugError("An array of booleans has no count.")
    count = int.from_bytes(value[:4], "little")
    if (count + 7) // 8 != len(value) - 4:
        raise SparkplugError("An array of booleans has another length than its count says.")
    return [bool(value[4 + at // 8] >> (7 - at % 8) & 1) for at in range(count)]


def _strings(value: Any) -> list[str]:
    """Strings that each end in a zero."""
    if type(value) is not bytes or (value and value[-1]):
        raise SparkplugError("An array of strings does not end in a zero.")
    try:
        return [part.decode() for part in value.split(b"\0")[:-1]]
    except UnicodeDecodeError:
        raise SparkplugError("An array of strings is not UTF-8.") from None


READ: dict[int, Callable[[Any], Any]] = {
    DataType.UNKNOWN: lambda value: value,
    DataType.BOOLEAN: _plain(DataType.BOOLEAN, bool),
    DataType.BOOLEAN_ARRAY: _booleans,
    DataType.STRING_ARRAY: _strings,
    DataType.DATASET: _plain(DataType.DATASET, DataSet),
    DataType.TEMPLATE: _plain(DataType.TEMPLATE, Template),
    **{kind: _signed(bits) for kind, bits in SIGNED.items()},
    **{kind: _unsigned(bits) for kind, bits in UNSIGNED.items()},
    **{kind: _plain(kind, float) for kind in FLOATS},
    **{kind: _plain(kind, str) for kind in TEXTS},
    **{kind: _plain(kind, bytes) for kind in BLOBS},
    **{kind: _packed(code) for kind, code in PACKED.items()},
}
"""By data type: from what stands in a value field to the value; raises SparkplugError."""


_BOUNDS: dict[int, tuple[int, int, int]] = {
    kind: (-(1 << bits - 1), 1 << bits - 1, (1 << max(bits, 32)) - 1) for kind, bits in SIGNED.items()
}
_BOUNDS |= {kind: (0, 1 << bits, (1 << bits) - 1) for kind, bits in UNSIGNED.items()}


def typed(kind: int, value: Any) -> Any:
    """The value of a metric of a type, from what stands in its value field.

    >>> typed(DataType.INT8, 0xFFFFFFFF)
    -1
    """
    read = READ.get(kind)
    if read is None:
        raise SparkplugError(f"There is no data type {kind} for a value.")
    return value if value is None else read(value)


def in_field(kind: int, value: Any) -> Any:
    r"""What stands in the value field for a value: the reverse of `typed`.

    >>> in_field(DataType.BOOLEAN_ARRAY, [True, False, True])
    b'\x03\x00\x00\x00\xa0'
    """
    bounds = _BOUNDS.get(kind)
    if bounds is not None:
        low, high, mask = bounds
        if type(value) is not int or not low <= value < high:
            raise SparkplugError(f"{value!r:.40} is no {DataType(kind).name}.")
        return value & mask
    if kind in FLOATS and type(value) is int:
        return float(value)
    if kind in PACKED or kind in (DataType.BOOLEAN_ARRAY, DataType.STRING_ARRAY):
        return _array(DataType(kind), value)
    if kind in READ and kind != DataType.UNKNOWN:
        return READ[kind](value)
    raise _wrong(kind, value)


def _array(kind: DataType, value: Any) -> bytes:
    if not isinstance(value, list | tuple):
        raise _wrong(kind, value)
    try:
        if kind is DataType.STRING_ARRAY:
            if any("\0" in one for one in value):
                raise SparkplugError("A string of an array cannot hold a zero.")
            return b"".join(one.encode() + b"\0" for one in value)
        if kind is DataType.BOOLEAN_ARRAY:
            bits = bytearray((len(value) + 7) // 8)
            for at, one in enumerate(value):
                bits[at // 8] |= bool(one) << (7 - at % 8)
            return len(value).to_bytes(4, "little") + bytes(bits)
        return struct.pack(f"<{len(value)}{PACKED[kind]}", *value)
    except (struct.error, TypeError, AttributeError, OverflowError, UnicodeEncodeError) as error:
        raise SparkplugError(f"An array is no {kind.name}: {error}.") from None
