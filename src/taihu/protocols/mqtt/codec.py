"""Bytes to packets: the decoder of both versions. `encode` is its inverse.

>>> from taihu.protocols.mqtt.packets import Publish
>>> decoder = Decoder(version=4)
>>> decoder.feed(encode(Publish(topic="a/b", payload=b"1"), 4))
>>> decoder.next().topic
'a/b'
"""

from collections.abc import Iterator

from taihu.protocols.mqtt.decode import BODY_DECODERS, decode_connect, protocol_level
from taihu.protocols.mqtt.encode import encode
from taihu.protocols.mqtt.errors import ProtocolError
from taihu.protocols.mqtt.packets import Packet
from taihu.protocols.mqtt.reasons import Reason
from taihu.protocols.mqtt.wire import VARIABLE_INTEGER_MAX, malformed

__all__ = ["PACKET_BYTES_MAX", "Decoder", "encode"]

PACKET_BYTES_MAX = VARIABLE_INTEGER_MAX + 5
_CONNECT = 1


class Decoder:
    """Cuts a byte stream into packets and checks all that one packet alone can be checked for.

    What a packet may mean at this moment (a second CONNECT, a SUBACK sent to a server, a topic alias nobody set) is
    the caller's to judge. After a `ProtocolError` the stream cannot be used: every further `next` raises it again.

    Args:
        version: 4 (MQTT 3.1.1) or 5; None on the server's side, where the first packet must be a CONNECT that sets
            `version` as soon as its protocol level is read, even if the rest of it is wrong.
        packet_bytes_max: the largest packet accepted, fixed header included. A larger one is refused when its fixed
            header is read, and so never more than this and one chunk is buffered.

    `buffer` and `position` are public for `scan`: the bytes of `buffer` from `position` on are not decoded yet. Once
    `next` had nothing more to give, all that is left is in `partial`, the beginning of a packet whose end has not come.
    """

    def __init__(self, version: int | None = None, packet_bytes_max: int = PACKET_BYTES_MAX) -> None:
        self.version = version
        self.packet_bytes_max = packet_bytes_max
        self.buffer = b""
        self.position = 0
        self.partial = bytearray()
        self._wanted = 0  # how long `partial` must become before it is worth another look

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream; never raises."""
        if self.partial:
            self.partial += data
            if len(self.partial) < self._wanted:
                return
            data = bytes(self.partial)
            self.partial = bytearray()
        self.buffer = self.buffer[self.position :] + data if self.position < len(self.buffer) else data
        self.position = 0

    def packets(self) -> Iterator[Packet]:
        """All packets that are complete; raises ProtocolError at the first that is wrong."""
        while (packet := self.next()) is not None:
            yield packet

    def next(self) -> Packet | None:
        """The next packet, or None when more bytes are needed; raises ProtocolError."""
        buffer = self.buffer
        start = self.position
        size = len(buffer) - start
        if not size:
            self.buffer, self.position = b"", 0  # an idle connection must not keep its last chunk
            return None
        if size == 1:
            return self._wait(2)
        length = buffer[start + 1]
        at = start + 2
        if length > 0x7F:
            length, at = self._remaining_length(start + 1)
            if not at:
                return self._wait(size + 1)
        first = buffer[start]
        if self.version is None and first >> 4 != _CONNECT:
            raise ProtocolError("The first packet is not a CONNECT.", Reason.PROTOCOL_ERROR)
        end = at + length
        if end - start > self.packet_bytes_max:
            raise ProtocolError(
                f"A packet of {end - start} bytes is over the limit of {self.packet_bytes_max}.",
                Reason.PACKET_TOO_LARGE,
            )
        if end > len(buffer):
            return self._wait(end - start)
        packet = self._decode(first, buffer[at:end])
        self.position = end
        return packet

    def _decode(self, first: int, body: bytes) -> Packet:
        if first >> 4 == _CONNECT:
            version, at = protocol_level(body)
            self.version = self.version or version
            return decode_connect(first & 0x0F, body, at, version)
        return BODY_DECODERS[first >> 4](first & 0x0F, body, self.version or 0)

    def _remaining_length(self, at: int) -> tuple[int, int]:
        """The remaining length and the index after it; index 0 when it has not come whole."""
        value = 0
        for shift in (0, 7, 14, 21):
            if at >= len(self.buffer):
                return 0, 0
            byte = self.buffer[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift and self.version == 5:
                    malformed("The remaining length is longer than it needs to be.")
                return value, at
        malformed("The remaining length is longer than four bytes.")

    def _wait(self, wanted: int) -> Packet | None:
        """No packet: set its beginning aside until it is `wanted` bytes long."""
        self.partial += memoryview(self.buffer)[self.position :]
        self._wanted = wanted
        self.buffer = b""
        self.position = 0
        return None
