"""An MQTT client that does exactly what a test says, packet by packet, over a real socket."""

import socket
import time
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.waiting import WAIT_S

from taihu.protocols.mqtt.codec import Decoder, encode
from taihu.protocols.mqtt.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)

QUIET_S = 0.15
T = TypeVar("T")


class Gone(Exception):
    """The server closed the connection."""


class Peer:
    """One connection. Messages gather in `messages`; those of QoS 1 and 2 are acknowledged unless `mute`."""

    def __init__(
        self,
        port: int,
        client_id: str = "",
        version: int = 5,
        *,
        clean: bool = True,
        keep_alive: int = 0,
        username: str | None = None,
        password: bytes | None = None,
        will: Will | None = None,
        **properties: Any,
    ) -> None:
        self.version = version
        self.messages: list[Publish] = []
        self.mute = False
        self._decoder = Decoder(version)
        self._packets: list[Packet] = []
        self._last_id = 0
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        self.send(Connect(version, client_id, clean, keep_alive, username, password, will, properties))
        self.connack = self.next(Connack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def send(self, *packets: Packet) -> None:
        """Send packets as they are."""
        self.send_bytes(b"".join(encode(packet, self.version) for packet in packets))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def next(self, kind: type[T], timeout_s: float = WAIT_S) -> T:
        """The next packet of a kind; messages that come before it are kept. Raises Gone and TimeoutError."""
        until = time.monotonic() + timeout_s
        while True:
            for place, packet in enumerate(self._packets):
                if isinstance(packet, kind):
                    del self._packets[place]
                    return packet
            self._receive(until)

    def wait(self, count: int, timeout_s: float = WAIT_S) -> list[Publish]:
        """The messages, once there are `count`, and a little later still no more."""
        until = time.monotonic() + timeout_s
        while len(self.messages) < count:
            self._receive(until)
        return self.quiet()

    def quiet(self, for_s: float = QUIET_S) -> list[Publish]:
        """The messages there are after a while."""
        until = time.monotonic() + for_s
        try:
            while True:
                self._receive(until)
        except TimeoutError:
            return self.messages

    def gone(self, timeout_s: float = WAIT_S) -> int | None:
        """Wait for the server to close, and close; the reason it gave, if any."""
        until = time.monotonic() + timeout_s
        try:
            while True:
                self._receive(until)
        except (Gone, ConnectionError):
            self.close()
            return next((packet.reason for packet in self._packets if isinstance(packet, Disconnect)), None)

    def publish(
        self, topic: str, payload: bytes = b"", qos: int = 0, *, retain: bool = False, **properties: Any
    ) -> int:
        """Publish and wait for the end of the exchange; returns its reason code."""
        packet_id = self.free_id() if qos else 0
        self.send(Publish(topic, payload, qos, retain, False, packet_id, properties))
        if qos == 0:
            return 0
        if qos == 1:
            return self.next(Puback).reason
        received = self.next(Pubrec)
        if received.reason >= 0x80:
            return received.reason
        self.send(Pubrel(packet_id))
        return self.next(Pubcomp).reason

    def subscribe(self, *filters: str, qos: int = 2, identifier: int = 0, **options: Any) -> list[int]:
        """Subscribe; returns the reason codes."""
        properties = {"subscription_identifier": [identifier]} if identifier else {}
        entries = tuple(Subscription(each, qos, **options) for each in filters)
        self.send(Subscribe(self.free_id(), entries, properties))
        return list(self.next(Suback).reasons)

    def unsubscribe(self, *filters: str) -> None:
        """Unsubscribe and wait for the answer."""
        self.send(Unsubscribe(self.free_id(), filters))
        self.next(Unsuback)

    def disconnect(self, **properties: Any) -> None:
        """Say good-bye and close."""
        self.send(Disconnect(0, properties))
        self.gone()

    def close(self) -> None:
        """Close the socket without a word."""
        self._socket.close()

    def free_id(self) -> int:
        """A packet identifier."""
        self._last_id += 1
        return self._last_id

    def _receive(self, until: float) -> None:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        data = self._socket.recv(65_536)
        if not data:
            raise Gone
        self._decoder.feed(data)
        for packet in self._decoder.packets():
            if isinstance(packet, Publish):
                self._take(packet)
            elif isinstance(packet, Pubrel):
                self.send(Pubcomp(packet.packet_id))
            else:
                self._packets.append(packet)

    def _take(self, packet: Publish) -> None:
        self.messages.append(packet)
        if self.mute:
            return
        if packet.qos == 1:
            self.send(Puback(packet.packet_id))
        elif packet.qos == 2:
            self.send(Pubrec(packet.packet_id))


def payloads(messages: list[Publish]) -> list[bytes]:
    """What the messages carry."""
    return [message.payload for message in messages]
