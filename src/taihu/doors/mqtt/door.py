"""The MQTT door: listeners, the one timer of all their connections, and what is flushed once a loop turn."""

import asyncio
import logging
import ssl as tls
from collections import Counter, deque
from contextlib import suppress

from taihu.doors.mqtt.client import ClientFactory, MqttClient
from taihu.doors.mqtt.ports import Pipeline
from taihu.doors.mqtt.websocket import WebSocketClient
from taihu.kernel.clock import NS_PER_S, Clock
from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.broker import Broker

log = logging.getLogger("taihu.mqtt")

_TICK_S = 0.25
_STATUS_S = 10.0
_LINGER_S = 2.0
_BACKLOG = 4_096


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
        factory: ClientFactory = self._websocket_client if websocket else self._client
        server = await loop.create_server(
            factory,
            host,
            port,
            ssl=ssl,
            backlog=_BACKLOG,
            ssl_handshake_timeout=self._limits.mqtt_connect_timeout_s if ssl else None,
        )
        self._servers.append(server)
        if self._timer is None:
            self._tick()
        address = server.sockets[0].getsockname()
        return address[0], address[1]

    async def close(self) -> None:
        """Stop listening, tell 5.0 clients that the server shuts down, and close; sessions are kept.

        The last changes of sessions are submitted to the pipeline; drain it afterwards.
        """
        for server in self._servers:
            server.close()
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
        if self.broker.log_pending:
            self.pipeline.submit(self)

    def take(self) -> list[tuple[object, bytes]]:
        """As a source the door stands for what no client waits for: expired sessions, wills that are readings."""
        return self.broker.take_readings()

    def committed(self) -> None:
        """Nobody waits."""

    def resume(self) -> None:
        """The door itself reads nothing."""

    def _client(self) -> asyncio.Protocol:
        return MqttClient(self)

    def _websocket_client(self) -> asyncio.Protocol:
        return WebSocketClient(MqttClient(self), self._limits.mqtt_packet_bytes_max)

    def _flush(self) -> None:
        self._flushing = False
        dirty = list(self.broker.dirty)
        self.broker.dirty.clear()
        for connection in dirty:
            client: MqttClient | None = connection.shell
            if client is not None:
                client.flush()

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
