"""Protocol buffers as Sparkplug needs them: the fields of a message, by number, and back."""

import struct
from functools import lru_cache
from typing import Any

from taihu.protocols.sparkplug.errors import SparkplugError

VARINT, FIXED64, LENGTH, GROUP, END_GROUP, FIXED32 = 0, 1, 2, 3, 4, 5
_MASK = (1 << 64) - 1
_VARINT_BYTES_MAX = 10
_GROUPS_MAX = 16
_SMALL_MAX = 0x80
_SMALL = [bytes((value,)) for value in range(_SMALL_MAX)]


def varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A number and the place after it."""
    value = shift = 0
    for place in range(at, min(end, at + _VARINT_BYTES_MAX)):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK, place + 1
        shift += 7
    raise SparkplugError("A number has no end.")


def field(data: bytes, at: int, end: int) -> tuple[int, int, Any, int]:
    """Number, wire type and value of a field, an int or (from, to) of bytes, and the place after it."""
    tag, at = varint(data, at, end)
    number, wire = tag >> 3, tag & 7
    if not number:
        raise SparkplugError("A field has the number 0.")
    if wire == VARINT:
        value, at = varint(data, at, end)
        return number, wire, value, at
    if wire == GROUP:
        return number, wire, None, _after_group(data, at, end)
    if wire == LENGTH:
        size, at = varint(data, at, end)
    elif wire in (FIXED64, FIXED32):
        size = 8 if wire == FIXED64 else 4
    else:
        raise SparkplugError(f"A field has the wire type {wire}.")
    if at + size > end:
        raise SparkplugError("A field is longer than what holds it.")
    return number, wire, (at, at + size), at + size


def _after_group(data: bytes, at: int, end: int) -> int:
    """The place after a group, which no version of Sparkplug has."""
    depth = 1
    while depth:
        tag, at = varint(data, at, end)
        wire = tag & 7
        if wire == GROUP:
            depth += 1
        elif wire == END_GROUP:
            depth -= 1
        elif wire == VARINT:
            _, at = varint(data, at, end)
        elif wire == LENGTH:
            size, at = varint(data, at, end)
            at += size
        elif wire in (FIXED64, FIXED32):
            at += 8 if wire == FIXED64 else 4
        else:
            raise SparkplugError(f"A field has the wire type {wire}.")
        if depth > _GROUPS_MAX or at > end:
            raise SparkplugError("A group does not end.")
    return at


def number(value: int) -> bytes:
    """A number as a varint."""
    return _SMALL[value] if value < _SMALL_MAX else _long(value)


@lru_cache(maxsize=4_096)  # times and tags come again and again
def _long(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def varint_field(field: int, value: int) -> bytes:
    """A field that is a number."""
    return number(field << 3) + number(value)


def bytes_field(field: int, value: bytes) -> bytes:
    """A field that has a length."""
    return number(field << 3 | LENGTH) + number(len(value)) + value


def text_field(field: int, value: str) -> bytes:
    """A string."""
    try:
        return bytes_field(field, value.encode())
    except UnicodeEncodeError:
        raise SparkplugError("A string has no UTF-8.") from None


def float_field(field: int, value: float) -> bytes:
    """A float of 32 bits."""
    try:
        return number(field << 3 | FIXED32) + struct.pack("<f", value)
    except OverflowError:
        raise SparkplugError(f"{value!r} is no float of 32 bits.") from None


def double_field(field: int, value: float) -> bytes:
    """A float of 64 bits."""
    return number(field << 3 | FIXED64) + struct.pack("<d", value)
