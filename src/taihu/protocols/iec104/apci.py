"""Frames: the APCI around an ASDU (IEC 60870-5-104, clause 5).

>>> list(Decoder().feed(bytes.fromhex("680407000000")))
[Control(function=<Function.STARTDT_ACT: 7>)]
"""

from collections.abc import Iterator
from enum import IntEnum

import msgspec

from taihu.protocols.iec104.errors import Iec104Error

START = 0x68
ASDU_BYTES_MAX = 249
NUMBERS = 1 << 15  # send and receive numbers are counted modulo this
_CONTROL_BYTES = 4


class Function(IntEnum):
    """What a U frame is for: the first octet of its control field."""

    STARTDT_ACT = 0x07
    STARTDT_CON = 0x0B
    STOPDT_ACT = 0x13
    STOPDT_CON = 0x23
    TESTFR_ACT = 0x43
    TESTFR_CON = 0x83


class Information(msgspec.Struct, frozen=True):
    """An I frame: an ASDU with its send number, and how far the sender has received."""

    sent: int
    received: int
    asdu: bytes


class Supervisory(msgspec.Struct, frozen=True):
    """An S frame: how far the sender has received."""

    received: int


class Control(msgspec.Struct, frozen=True):
    """A U frame."""

    function: Function


Frame = Information | Supervisory | Control


def encode(frame: Frame) -> bytes:
    """The bytes of a frame."""
    match frame:
        case Information():
            head = (frame.sent << 1).to_bytes(2, "little") + (frame.received << 1).to_bytes(2, "little")
            return bytes((START, _CONTROL_BYTES + len(frame.asdu))) + head + frame.asdu
        case Supervisory():
            return bytes((START, 4, 1, 0)) + (frame.received << 1).to_bytes(2, "little")
        case Control():
            return bytes((START, 4, frame.function, 0, 0, 0))


class Decoder:
    """Frames out of a stream; what is not whole yet waits, at most 255 bytes."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now, to be read to their end.

        Raises:
            Iec104Error: the bytes are no frame; the decoder is of no use after it: close the connection.
        """
        self._data += data
        buffer, place = self._data, 0
        while len(buffer) - place >= 2:
            if buffer[place] != START:
                raise Iec104Error(f"A frame begins with {buffer[place]:#04x}.", "Is it IEC 104 that listens there?")
            size = buffer[place + 1]
            if not _CONTROL_BYTES <= size <= _CONTROL_BYTES + ASDU_BYTES_MAX:
                raise Iec104Error(f"A frame has the length {size}.")
            if len(buffer) - place < 2 + size:
                break
            yield _frame(bytes(buffer[place + 2 : place + 2 + size]))
            place += 2 + size
        del buffer[:place]


def _frame(body: bytes) -> Frame:
    first = body[0]
    if not first & 1:
        sent, received = int.from_bytes(body[:2], "little") >> 1, int.from_bytes(body[2:4], "little") >> 1
        if len(body) == 4:
            raise Iec104Error("An I frame has no ASDU.")
        return Information(sent, received, body[4:])
    if len(body) != 4:
        raise Iec104Error(f"A frame of {len(body)} octets has no ASDU in it.")
    if first & 3 == 1:
        return Supervisory(int.from_bytes(body[2:4], "little") >> 1)
    try:
        return Control(Function(first))
    except ValueError:
        raise Iec104Error(f"A U frame has the function {first:#04x}.") from None
