"""What a client has published at QoS 1 and 2 and the server has not taken over yet: the sending half of a session."""

from collections import OrderedDict

from taihu.protocols.mqtt.errors import ProtocolError, QueueFull
from taihu.protocols.mqtt.reasons import Reason

QOS_1, QOS_2, RELEASE = 0x32, 0x34, 0x62  # the first byte of PUBLISH at QoS 1, at QoS 2, and of PUBREL
_KIND = 0xF6  # the first byte without DUP and RETAIN
_DUP = 0x08


class Outbox:
    """Encoded packets by packet identifier: PUBLISHes that wait to be sent, then PUBLISHes and PUBRELs in flight.

    Args:
        messages_max: how many messages it holds, waiting and in flight.
        bytes_max: how many bytes they may have in all.
    """

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._waiting: OrderedDict[int, bytes] = OrderedDict()
        self._in_flight: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._in_flight)

    def __contains__(self, packet_id: int) -> bool:
        return packet_id in self._in_flight or packet_id in self._waiting

    def add(self, packet_id: int, publish: bytes) -> None:
        """Take an encoded PUBLISH; raises QueueFull."""
        if len(self) >= self._messages_max or self._bytes + len(publish) > self._bytes_max:
            raise QueueFull(
                f"{len(self)} messages of {self._bytes} bytes wait for the server.", "Publish when it has acknowledged."
            )
        self._waiting[packet_id] = publish
        self._bytes += len(publish)

    def take(self, in_flight_max: int) -> bytes:
        """What may be sent now, which is in flight from now on."""
        taken = []
        while self._waiting and len(self._in_flight) < in_flight_max:
            packet_id, packet = self._waiting.popitem(last=False)
            self._in_flight[packet_id] = packet
            taken.append(packet)
        return b"".join(taken)

    def release(self, packet_id: int, pubrel: bytes) -> bool:
        """The server has received a QoS 2 message: its PUBREL takes its place. False when there is no such message."""
        found = self._remove(packet_id, (QOS_2, RELEASE))
        if found:
            self._in_flight[packet_id] = pubrel
            self._bytes += len(pubrel)
        return found

    def done(self, packet_id: int, kind: int) -> bool:
        """A packet of `kind` is acknowledged for good. False when there is none: it was acknowledged before."""
        return self._remove(packet_id, (kind,))

    def resume(self, session_present: bool) -> None:
        """A new connection: what was in flight waits again, before the rest.

        A server that has the session gets the same packets, PUBLISHes marked DUP; one that has lost it gets the
        PUBLISHes as new ones, and no PUBRELs.
        """
        in_flight, waiting = self._in_flight, self._waiting
        self._in_flight, self._waiting = {}, OrderedDict()
        for packet_id, packet in in_flight.items():
            if packet[0] != RELEASE:
                first = packet[0] | _DUP if session_present else packet[0] & ~_DUP
                self._waiting[packet_id] = bytes((first,)) + packet[1:]
            elif session_present:
                self._waiting[packet_id] = packet
            else:
                self._bytes -= len(packet)
        self._waiting.update(waiting)

    def _remove(self, packet_id: int, kinds: tuple[int, ...]) -> bool:
        packet = self._in_flight.get(packet_id)
        if packet is None:
            return False
        if packet[0] & _KIND not in kinds:
            raise ProtocolError("An acknowledgement does not fit the QoS of its message.", Reason.PROTOCOL_ERROR)
        del self._in_flight[packet_id]
        self._bytes -= len(packet)
        return True
