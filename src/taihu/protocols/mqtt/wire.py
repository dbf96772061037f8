"""Data types of MQTT 5.0, clause 1.5: integers, strings and binary data, from and to bytes.

A reader takes the body of one packet and an index and returns the value and the index after it; what would reach past
the body's end, or is not of its type, is a `ProtocolError`.
"""

from typing import NoReturn

from taihu.protocols.mqtt.errors import ProtocolError
from taihu.protocols.mqtt.reasons import Reason

VARIABLE_INTEGER_MAX = 268_435_455
TEXT_BYTES_MAX = 65_535


def malformed(message: str) -> NoReturn:
    """Raise the error of a packet that cannot be parsed."""
    raise ProtocolError(message, Reason.MALFORMED_PACKET)


def read_byte(body: bytes, at: int) -> tuple[int, int]:
    """One byte."""
    if at >= len(body):
        malformed("The packet ends inside a byte field.")
    return body[at], at + 1


def read_u16(body: bytes, at: int) -> tuple[int, int]:
    """A two byte integer."""
    end = at + 2
    if end > len(body):
        malformed("The packet ends inside a two byte integer.")
    return body[at] << 8 | body[at + 1], end


def read_u32(body: bytes, at: int) -> tuple[int, int]:
    """A four byte integer."""
    end = at + 4
    if end > len(body):
        malformed("The packet ends inside a four byte integer.")
    return int.from_bytes(body[at:end], "big"), end


def read_variable_integer(body: bytes, at: int) -> tuple[int, int]:
    """A variable byte integer in its shortest form, as 5.0 demands."""
    value = 0
    for shift in (0, 7, 14, 21):
        byte, at = read_byte(body, at)
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                malformed("A variable byte integer is longer than it needs to be.")
            return value, at
    malformed("A variable byte integer is longer than four bytes.")


def read_binary(body: bytes, at: int) -> tuple[bytes, int]:
    """Binary data with its length before it."""
    length, at = read_u16(body, at)
    end = at + length
    if end > len(body):
        malformed("The packet ends inside a string or binary field.")
    return body[at:end], end


def read_text(body: bytes, at: int) -> tuple[str, int]:
    """A UTF-8 string with its length before it, without U+0000."""
    data, at = read_binary(body, at)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        malformed("A string is not UTF-8.")
    if "\0" in text:
        malformed("A string holds U+0000.")
    return text, at


def variable_integer(value: int) -> bytes:
    """A variable byte integer; ValueError beyond 268,435,455."""
    if 0 <= value < 0x80:
        return bytes((value,))
    if not 0 <= value <= VARIABLE_INTEGER_MAX:
        raise ValueError(f"{value} is not in 0..{VARIABLE_INTEGER_MAX}")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def binary(data: bytes) -> bytes:
    """Binary data with its length before it; OverflowError beyond 65,535 bytes."""
    return len(data).to_bytes(2, "big") + data


def text(value: str) -> bytes:
    """A UTF-8 string with its length before it; OverflowError beyond 65,535 bytes, ValueError when not allowed."""
    if "\0" in value:
        raise ValueError("a string must not hold U+0000")
    data = value.encode()
    return len(data).to_bytes(2, "big") + data
