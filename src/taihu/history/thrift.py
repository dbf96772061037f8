"""Thrift's compact protocol, as far as a Parquet footer needs it: structs, lists, integers and bytes, written only."""

from collections.abc import Mapping, Sequence

import msgspec

_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12


class Value(msgspec.Struct, frozen=True):
    """An encoded value and the code of its type."""

    code: int
    data: bytes


Struct = Value


def i32(number: int) -> Value:
    """A 32-bit integer."""
    return Value(_I32, varint(zigzag(number)))


def i64(number: int) -> Value:
    """A 64-bit integer."""
    return Value(_I64, varint(zigzag(number)))


def binary(data: bytes) -> Value:
    """Bytes."""
    return Value(_BINARY, varint(len(data)) + data)


def text(value: str) -> Value:
    """A string."""
    return binary(value.encode())


def items(values: Sequence[Value]) -> Value:
    """A list of values of one type, at least one."""
    head = bytes([len(values) << 4 | values[0].code]) if len(values) < 15 else bytes([0xF0 | values[0].code])
    count = b"" if len(values) < 15 else varint(len(values))
    return Value(_LIST, head + count + b"".join([value.data for value in values]))


def struct(fields: Mapping[int, Value]) -> Struct:
    """A struct; its fields by number, rising, each at most 15 above the one before."""
    out = []
    last = 0
    for number, value in fields.items():
        out.append(bytes([(number - last) << 4 | value.code]) + value.data)
        last = number
    return Value(_STRUCT, b"".join(out) + b"\0")


def varint(number: int) -> bytes:
    """An unsigned integer, seven bits to a byte, the lowest first."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def zigzag(number: int) -> int:
    """A signed integer of up to 64 bits as an unsigned one, small when it is near 0."""
    return number << 1 ^ number >> 63
