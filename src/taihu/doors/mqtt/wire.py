"""A plain TCP connection as the `Wire` of its client: a socket, and a backlog of what it does not take yet."""

import socket
from collections.abc import Callable
from typing import Any, Protocol

from taihu.doors.mqtt.client import MqttClient
from taihu.protocols.mqtt.broker import Connection

IN, OUT = 1, 4  # EPOLLIN and EPOLLOUT
_BACKLOG_HIGH = 65_536  # beyond this the client is told to stop writing,
_BACKLOG_LOW = 16_384  # and to go on below this
_WRITE_BYTES = 262_144  # of a backlog in one turn


class Poll(Protocol):
    """What watches the sockets."""

    def watch(self, number: int, events: int, before: int) -> None:
        """Watch a descriptor for `events` instead of those `before`; without any it is not watched at all."""
        ...

    def forget(self, number: int, told: Callable[[Exception | None], None], error: Exception | None) -> None:
        """A connection is closed: tell its client in the next turn of the loop."""
        ...


class PlainWire:
    """One connection's socket.

    While there is no backlog, `client.send` is the socket's own `send`, so that acknowledgements need no detour. `recv`
    is the socket's, and `reading` says whether the client wants what it gives.
    """

    __slots__ = (
        "_address", "_backlog", "_client", "_closing", "_congested", "_ending", "_events", "_number", "_poll",
        "_socket", "connection", "reading", "recv",
    )  # fmt: skip
    connection: Connection

    def __init__(self, poll: Poll, client: MqttClient, plain: socket.socket, address: Any) -> None:
        self._poll = poll
        self._client = client
        self._socket = plain
        self._address = address
        self._number = plain.fileno()
        self._events = 0
        self._backlog: bytearray | None = None
        self._closing = False  # once the backlog is sent
        self._ending = False  # our half alone, once the backlog is sent
        self._congested = False
        self.reading = True
        self.recv = plain.recv
        client.send = plain.send
        self._watch()

    def write(self, data: bytes) -> None:
        """Send, or keep for later what the socket does not take."""
        if self.is_closing():
            return
        if self._backlog is not None:
            self._backlog += data
        else:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self.fail(error)
                return
            if sent == len(data):
                return
            self._backlog = bytearray(memoryview(data)[sent:])
            self._client.send = None
            self._watch()
        if len(self._backlog) > _BACKLOG_HIGH and not self._congested:
            self._congested = True
            self._client.pause_writing()

    def drain(self) -> None:
        """The socket takes more: send of the backlog."""
        if self._backlog is None:
            return
        try:
            sent = self._socket.send(memoryview(self._backlog)[:_WRITE_BYTES])
        except BlockingIOError:
            return
        except OSError as error:
            self.fail(error)
            return
        del self._backlog[:sent]
        left = len(self._backlog)
        if not left:
            self._backlog = None
            self._drained()
        if self._congested and left < _BACKLOG_LOW:
            self._congested = False
            self._client.resume_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """End our half of the connection once the backlog is sent."""
        self._ending = True
        if self._backlog is None:
            self._drained()

    def close(self) -> None:
        """Close once the backlog is sent."""
        self._closing = True
        self.pause_reading()
        if self._backlog is None:
            self._drained()

    def is_closing(self) -> bool:
        return self._closing or self._number < 0

    def abort(self) -> None:
        """Close now."""
        self.fail(None)

    def fail(self, error: Exception | None) -> None:
        """The connection is gone, or has to go."""
        if self._number < 0:
            return
        self.reading, self._backlog = False, None
        self._watch()
        number, self._number = self._number, -1
        self._client.send = None
        self._socket.close()
        self._poll.forget(number, self._client.connection_lost, error)

    def pause_reading(self) -> None:
        self.reading = False
        self._watch()

    def resume_reading(self) -> None:
        self.reading = not self._closing
        self._watch()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": self._address, "socket": self._socket}.get(name, default)

    def _drained(self) -> None:
        if self._number < 0:
            return
        self._watch()
        if self._closing:
            self.fail(None)
        elif self._ending:
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError as error:
                self.fail(error)
        else:
            self._client.send = self._socket.send

    def _watch(self) -> None:
        """Watch for what is waited for; a paused connection not at all, for its end would be told on and on."""
        events = (IN if self.reading else 0) | (OUT if self._backlog is not None else 0)
        if self._number >= 0 and events != self._events:
            before, self._events = self._events, events
            self._poll.watch(self._number, events, before)
