"""One client's socket: bytes between its transport and its `Connection`, and back-pressure both ways."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Protocol, cast

from taihu.identity.presented import presented_by
from taihu.protocols.mqtt.broker import Broker, Connection


class Wire(Protocol):
    """The part of `asyncio.Transport` that a client needs."""

    def write(self, data: bytes) -> None: ...
    def can_write_eof(self) -> bool: ...
    def write_eof(self) -> None: ...
    def close(self) -> None: ...
    def is_closing(self) -> bool: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def get_extra_info(self, name: str, default: Any = None) -> Any: ...


class Hub(Protocol):
    """What all clients of a door share."""

    broker: Broker

    def now(self) -> tuple[float, int]:
        """Monotonic seconds and steady wall nanoseconds."""
        ...

    def admit(self, client: "MqttClient", address: str) -> bool:
        """Count a new connection in; False when a limit refuses it."""
        ...

    def forget(self, client: "MqttClient", address: str) -> None:
        """Count it out."""
        ...

    def receive(self, arrived: list[tuple[Connection, bytes]]) -> None:
        """Take one chunk from each of some clients."""
        ...

    def settle(self) -> None:
        """See to what this entry into the broker left for others to do."""
        ...

    def linger(self, client: "MqttClient") -> None:
        """Close the client's socket if it does not do so itself soon."""
        ...


class MqttClient(asyncio.Protocol):
    """The asyncio protocol of one connection.

    `send` writes straight to the socket, where the wire has one that takes bytes at this moment; it may raise OSError
    and take less than all.
    """

    __slots__ = ("address", "connection", "ended", "hub", "lingers", "send", "wire")

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.wire: Wire | None = None
        self.connection: Connection | None = None
        self.address = ""
        self.ended = False
        self.lingers = False
        self.send: Callable[[bytes], int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.start(cast(asyncio.Transport, transport))

    def start(self, wire: Wire) -> None:
        """Begin to serve the client at the other end of `wire`."""
        self.wire = wire
        host, port = (wire.get_extra_info("peername") or ("", 0))[:2]
        self.address = str(host)
        raw: socket.socket | None = wire.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if not self.hub.admit(self, self.address):
            self.ended = True
            wire.abort()
            return
        now, _ = self.hub.now()
        self.connection = self.hub.broker.open(f"{host}:{port}", now, presented_by(wire))
        self.connection.shell = self

    def data_received(self, data: bytes) -> None:
        if self.connection is not None and not self.ended:
            self.hub.receive([(self.connection, data)])

    def connection_lost(self, exc: Exception | None) -> None:
        connection = self.connection
        self.ended = True
        if connection is None:
            return
        self.hub.forget(self, self.address)
        connection.lost(*self.hub.now())
        self.hub.settle()
        connection.shell = None

    def pause_writing(self) -> None:
        if self.connection is not None:
            self.connection.congested = True
            self._control_reading()

    def resume_writing(self) -> None:
        if self.connection is not None:
            self.connection.congested = False
            self._control_reading()
            self.flush()
            self.hub.settle()

    def acknowledge(self, data: bytes) -> None:
        """Send what waited for a group commit."""
        connection = self.connection
        if connection is not None and connection.closing is None:
            connection.output += data
            self.flush()

    def pause(self) -> None:
        """Read nothing until `resume`."""
        if self.connection is not None:
            self.connection.paused = True
            self._control_reading()

    def resume(self) -> None:
        connection = self.connection
        if connection is not None and connection.paused:
            connection.paused = False
            connection.seen(self.hub.now()[0])
            self._control_reading()

    def flush(self) -> None:
        """Send what the connection has to send, and close when it says so."""
        connection, wire = self.connection, self.wire
        if connection is None or wire is None or self.ended or wire.is_closing():
            return
        while not connection.congested and (data := connection.take_output()):
            wire.write(data)
        if connection.closing is None:
            return
        if not connection.congested:
            self.ended = True
            if not connection.linger:
                wire.close()
                return
            self.send = None
            wire.resume_reading()  # with bytes unread, closing resets the connection and takes the DISCONNECT with it
            if wire.can_write_eof():
                wire.write_eof()
        if not self.lingers:
            self.lingers = True
            self.hub.linger(self)

    def _control_reading(self) -> None:
        connection, wire = self.connection, self.wire
        if connection is None or wire is None or self.ended or wire.is_closing():
            return
        if connection.paused or connection.congested:
            wire.pause_reading()
        else:
            wire.resume_reading()


ClientFactory = Callable[[], asyncio.Protocol]
