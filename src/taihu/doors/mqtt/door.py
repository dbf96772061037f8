"""The MQTT door: listeners, the one timer of all their connections, and what is flushed once a loop turn."""

import asyncio
import logging
import ssl as tls
from collections import Counter, deque
from contextlib import suppress

from taihu.doors.mqtt.client import ClientFactory, MqttClient
from taihu.doors.mqtt.ports import Pipeline
from taihu.doors.mqtt.share import Share
from taihu.doors.mqtt.sockets import Sockets
from taihu.doors.mqtt.websocket import WebSocketClient
from taihu.kernel.clock import NS_PER_S, Clock
from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.broker import Broker, Connection

log = logging.getLogger("taihu.mqtt")

_TICK_S = 0.25
_STATUS_S = 10.0
_LINGER_S = 2.0
_BACKLOG = 4_096
_LOT_BYTES_MAX = 1_048_576  # a larger lot is closed: groups are cut to size between lots


class MqttDoor:
    """Serves MQTT on any number of listeners with one broker.

    Wall time is read once, at the start, and then follows monotonic time: messages and sessions do not expire because
    somebody set the clock.
    """

    def __init__(self, broker: Broker, pipeline: Pipeline, clock: Clock, limits: Limits) -> None:
        self.broker = broker
        self.pipeline = pipeline
        self._clock = clock
        self._limits = limits
        self._origin_ns = clock.now_ns() - int(clock.monotonic() * NS_PER_S)
        self._servers: list[asyncio.Server] = []
        self._sockets: Sockets | None = None
        self._share = Share(broker)
        self._clients: dict[MqttClient, None] = {}
        self._by_address: Counter[str] = Counter()
        self._lingering: deque[tuple[float, MqttClient]] = deque()
        self._flushing = False
        self._timer: asyncio.TimerHandle | None = None
        self._status_at = 0.0
        self._refused_at = 0.0
        self._empty = asyncio.Event()

    async def listen(
        self, host: str, port: int, *, ssl: tls.SSLContext | None = None, websocket: bool = False
    ) -> tuple[str, int]:
        """Listen and return the address bound; port 0 takes a free one. OSError when it is taken."""
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._tick()
        if ssl is None and not websocket and Sockets.available():
            self._sockets = self._sockets or Sockets(self)
            return await self._sockets.listen(host, port, _BACKLOG)
        factory: ClientFactory = self._websocket_client if websocket else self.client
        server = await loop.create_server(
            factory,
            host,
            port,
            ssl=ssl,
            backlog=_BACKLOG,
            ssl_handshake_timeout=self._limits.mqtt_connect_timeout_s if ssl else None,
        )
        self._servers.append(server)
        address = server.sockets[0].getsockname()
        return address[0], address[1]

    async def close(self) -> None:
        """Stop listening, tell 5.0 clients that the server shuts down, and close; sessions are kept.

        The last changes of sessions are submitted to the pipeline; drain it afterwards.
        """
        for server in self._servers:
            server.close()
        if self._sockets is not None:
            self._sockets.stop_listening()
        if self._timer is not None:
            self._timer.cancel()
        self.broker.shut_down(*self.now())
        self._flush()
        self.settle()
        if self._clients:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LINGER_S):
                    await self._empty.wait()
        for client in list(self._clients):
            self._abort(client)
        for server in self._servers:
            await server.wait_closed()
        if self._sockets is not None:
            self._sockets.close()
            await asyncio.sleep(0)  # its last connections tell their clients

    def now(self) -> tuple[float, int]:
        """See `client.Hub`."""
        now = self._clock.monotonic()
        return now, self._origin_ns + int(now * NS_PER_S)

    def admit(self, client: MqttClient, address: str) -> bool:
        """See `client.Hub`."""
        limits = self._limits
        if (
            len(self._clients) >= limits.mqtt_connections_max
            or self._by_address[address] >= limits.mqtt_connections_per_address_max
        ):
            now = self._clock.monotonic()
            if now >= self._refused_at:
                self._refused_at = now + _STATUS_S
                log.warning("MQTT connections from %s are refused: %d are open", address, len(self._clients))
            return False
        self._clients[client] = None
        self._by_address[address] += 1
        self._empty.clear()
        return True

    def forget(self, client: MqttClient, address: str) -> None:
        """See `client.Hub`."""
        if client not in self._clients:
            return
        del self._clients[client]
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
        if not self._clients:
            self._empty.set()

    def linger(self, client: MqttClient) -> None:
        """See `client.Hub`."""
        self._lingering.append((self._clock.monotonic() + _LINGER_S, client))

    def settle(self) -> None:
        """See `client.Hub`."""
        if self.broker.dirty and not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)
        if self.broker.pending:
            self._submit()

    def receive(self, arrived: list[tuple[Connection, bytes]]) -> None:
        """See `client.Hub`."""
        now, now_ns = self.now()
        if self.pipeline.full:
            self._receive_slowed(arrived, now, now_ns)
        else:
            self._flush_each(self.broker.receive(arrived, now, now_ns))
        self.settle()

    def client(self) -> MqttClient:
        """A client for a new connection."""
        return MqttClient(self)

    def _receive_slowed(self, arrived: list[tuple[Connection, bytes]], now: float, now_ns: int) -> None:
        """While there is no room for readings, whoever sends some is not read any more (§6)."""
        lot = self.broker.lot
        for chunk in arrived:
            before = lot.size
            self._flush_each(self.broker.receive((chunk,), now, now_ns))
            connection = chunk[0]
            if lot.size > before and not connection.paused and connection.shell is not None:
                connection.shell.pause()
                self.pipeline.pause(connection.shell)

    def _flush_each(self, connections: list[Connection]) -> None:
        for connection in connections:
            if (connection.output or connection.closing is not None) and connection.shell is not None:
                connection.shell.flush()

    def _submit(self) -> None:
        """Have the group commit take what the broker has for it."""
        share, lot = self._share, self.broker.lot
        if share.lot is not lot:
            share = self._share = Share(self.broker)
        size, senders = lot.size - share.size, len(lot.acks) - share.senders
        share.size, share.senders = lot.size, len(lot.acks)
        if lot.size >= _LOT_BYTES_MAX:
            share.close()
        self.pipeline.submit(share, size, senders)

    def _websocket_client(self) -> asyncio.Protocol:
        return WebSocketClient(self.client(), self._limits.mqtt_packet_bytes_max)

    def _flush(self) -> None:
        self._flushing = False
        dirty = list(self.broker.dirty)
        self.broker.dirty.clear()
        for connection in dirty:
            client: MqttClient | None = connection.shell
            if client is not None:
                client.flush()
        if self.broker.pending:
            self._submit()

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_TICK_S, self._tick)
        now, now_ns = self.now()
        self.broker.tick(now, now_ns)
        if now >= self._status_at:
            self._status_at = now + _STATUS_S
            self.broker.publish_status()
        while self._lingering and self._lingering[0][0] <= now:
            self._abort(self._lingering.popleft()[1])
        self._flush()
        self.settle()

    def _abort(self, client: MqttClient) -> None:
        if client in self._clients and client.wire is not None:
            client.wire.abort()
