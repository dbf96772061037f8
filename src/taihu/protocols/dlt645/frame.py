"""Frames of a meter's line (DL/T 645-2007, clause 5).

>>> read("000000000001", 0x00010000).hex()
'fefefefe6801000000000068110433333433b316'
"""

from collections.abc import Iterator
from enum import IntEnum

import msgspec

from taihu.protocols.dlt645.errors import Dlt645Error

ANY_METER = "AAAAAAAAAAAA"
_WAKE = b"\xfe" * 4
_START, _END, _OFFSET = 0x68, 0x16, 0x33
_HEAD_BYTES = 10
_LENGTH_MAX = 255
_ANSWER, _ERROR, _MORE = 0x80, 0x40, 0x20


class Control(IntEnum):
    """What a frame asks for."""

    READ = 0x11
    READ_MORE = 0x12
    READ_ADDRESS = 0x13


class Frame(msgspec.Struct, frozen=True):
    """A frame: whose (12 digits), its control code as it is, and its data without the offset."""

    address: str
    control: int
    data: bytes = b""

    @property
    def answer(self) -> bool:
        """Whether a meter sent it."""
        return bool(self.control & _ANSWER)

    @property
    def refused(self) -> bool:
        """Whether the meter says no; its data is the reason."""
        return bool(self.control & _ERROR)

    @property
    def more(self) -> bool:
        """Whether further frames follow."""
        return bool(self.control & _MORE)

    def answers(self, request: "Frame") -> bool:
        """Whether it is the answer to a request: a late answer for another item is not."""
        if not self.answer or request.address not in (ANY_METER, self.address):
            return False
        if self.control & 0x1F != request.control & 0x1F:
            return False
        return self.refused or request.control != Control.READ or self.data[:4] == request.data[:4]


def encode(frame: Frame) -> bytes:
    """The bytes of a frame, with the octets that wake the line before it; raises Dlt645Error."""
    if len(frame.data) > _LENGTH_MAX:
        raise Dlt645Error(f"A frame holds {_LENGTH_MAX} octets, not {len(frame.data)}.")
    try:
        address = bytes.fromhex(frame.address.rjust(12, "0"))[::-1]
    except ValueError:
        address = b""
    if len(address) != 6:
        raise Dlt645Error(f"{frame.address[:20]!r} is no meter's address.", "Write its 12 digits.")
    data = bytes((octet + _OFFSET) & 0xFF for octet in frame.data)
    body = bytes((_START, *address, _START, frame.control, len(data))) + data
    return _WAKE + body + bytes((sum(body) & 0xFF, _END))


def read(address: str, item: int) -> bytes:
    """The request for a data item."""
    return encode(read_frame(address, item))


def read_frame(address: str, item: int) -> Frame:
    """The frame that asks for a data item."""
    return Frame(address, Control.READ, item.to_bytes(4, "little"))


class Decoder:
    """Frames out of a stream. Noise is passed over; a frame that is broken is passed over and counted."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.broken = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now; what is not waits, at most some 270 octets."""
        self._data += data
        buffer, place = self._data, 0
        while True:
            place = buffer.find(_START, place)
            if place < 0:
                place = len(buffer)
                break
            if len(buffer) - place < _HEAD_BYTES:
                break
            end = place + _HEAD_BYTES + buffer[place + 9] + 2
            if buffer[place + 7] != _START:
                place += 1
                continue
            if len(buffer) < end:
                break
            body = buffer[place : end - 2]
            if buffer[end - 1] != _END or buffer[end - 2] != sum(body) & 0xFF:
                self.broken += 1
                place += 1
                continue
            yield _frame(bytes(body))
            place = end
        del buffer[:place]


def _frame(body: bytes) -> Frame:
    address = body[6:0:-1].hex().upper()
    return Frame(address, body[8], bytes((octet - _OFFSET) & 0xFF for octet in body[_HEAD_BYTES:]))
