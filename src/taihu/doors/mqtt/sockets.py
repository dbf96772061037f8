"""Plain TCP connections on one epoll of their own, read in one loop (`docs/adr/0005-one-by-one.md`).

A transport of the event loop costs each message several calls before its first byte is looked at. Here the event loop
watches a single descriptor, the epoll's; when it is ready, every socket that has bytes is read in turn, and the broker
gets all chunks at once. TLS and WebSocket stay on transports, and so does everything where there is no epoll.
"""

import asyncio
import errno
import logging
import select
import socket
from collections.abc import Callable
from typing import Any, Protocol

from taihu.doors.mqtt.client import MqttClient
from taihu.doors.mqtt.wire import IN, OUT, PlainWire
from taihu.protocols.mqtt.broker import Connection

log = logging.getLogger("taihu.mqtt")

_READ_BYTES = 65_536  # of one connection in one turn, so that a flood leaves the others theirs
_READY_MAX = 512  # sockets in one turn, so that the loop gets to its other work
_ACCEPTS_MAX = 64  # in one turn
_REST_S = 1.0  # before accepting again when there are no descriptors left
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

Chunk = tuple[Connection, bytes]


class Receiver(Protocol):
    """Where new connections go, and what they send."""

    def client(self) -> MqttClient:
        """A client for a new connection."""
        ...

    def receive(self, arrived: list[Chunk]) -> None:
        """Take one chunk from each of some clients."""
        ...


class Sockets:
    """The epoll, its listeners and its connections; made and used on a running event loop."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._listeners: dict[int, socket.socket] = {}
        self._wires: dict[int, PlainWire] = {}
        self._full = False
        self._loop.add_reader(self._epoll.fileno(), self._turn)

    @staticmethod
    def available() -> bool:
        """Whether this system has epoll."""
        return hasattr(select, "epoll")

    async def listen(self, host: str, port: int, backlog: int) -> tuple[str, int]:
        """Listen on every address of `host`; returns the first. OSError when one is taken."""
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        bound: list[socket.socket] = []
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                bound.append(_bind(family, address, backlog))
        except OSError:
            for listener in bound:
                listener.close()
            raise
        for listener in bound:
            self._listeners[listener.fileno()] = listener
            self._epoll.register(listener, IN)
        name = bound[0].getsockname()
        return name[0], name[1]

    def stop_listening(self) -> None:
        """Accept nobody more."""
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()

    def close(self) -> None:
        """Stop altogether; connections that are left end here."""
        self.stop_listening()
        for wire in list(self._wires.values()):
            wire.abort()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def watch(self, number: int, events: int, before: int) -> None:
        """See `wire.Poll`."""
        if not events:
            self._epoll.unregister(number)
        elif before:
            self._epoll.modify(number, events)
        else:
            self._epoll.register(number, events)

    def forget(self, number: int, told: Callable[[Exception | None], None], error: Exception | None) -> None:
        """See `wire.Poll`."""
        del self._wires[number]
        self._loop.call_soon(told, error)

    def _turn(self) -> None:
        """Read every socket that has something: the first hot loop of the door."""
        wires = self._wires
        arrived: list[Chunk] = []
        for number, events in self._epoll.poll(0, _READY_MAX):
            wire = wires.get(number)
            if wire is None:
                self._accept(number)
                continue
            if events & OUT:
                wire.drain()
                if not wire.reading:
                    continue
            try:
                data = wire.recv(_READ_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                wire.fail(error)
                continue
            if data:
                arrived.append((wire.connection, data))
            else:
                wire.close()
        if arrived:
            self._receiver.receive(arrived)

    def _accept(self, number: int) -> None:
        listener = self._listeners.get(number)
        if listener is None:  # a connection that ended earlier in this turn
            return
        for _ in range(_ACCEPTS_MAX):
            try:
                plain, address = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                self._rest(number, error)
                return
            if self._full:
                self._full = False
                log.warning("MQTT connections are accepted again")
            plain.setblocking(False)
            client = self._receiver.client()
            wire = self._wires[plain.fileno()] = PlainWire(self, client, plain, address)
            client.start(wire)
            if client.connection is not None:
                wire.connection = client.connection

    def _rest(self, number: int, error: OSError) -> None:
        """No descriptor for another connection: those who wait in the listener's backlog wait on."""
        if not self._full:
            self._full = True
            log.error("MQTT connections have to wait: %s; raise the limit of open files (ulimit -n)", error.strerror)
        self._epoll.unregister(number)
        self._loop.call_later(_REST_S, self._accept_again, number)

    def _accept_again(self, number: int) -> None:
        if number in self._listeners:
            self._epoll.register(number, IN)


def _bind(family: int, address: Any, backlog: int) -> socket.socket:
    """A socket that listens."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(backlog)
    except BaseException:
        listener.close()
        raise
    return listener
