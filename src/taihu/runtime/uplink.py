"""A connection's own line to the node: an MQTT client that brings readings durably and takes commands.

Readings are published at QoS 1: what is not acknowledged is sent again after a reconnect, and `publish` waits while as
many as may are unacknowledged, which slows the driver down (§6).
"""

import asyncio
import logging
from collections.abc import Callable
from random import Random

from taihu.kernel.clock import Clock
from taihu.kernel.errors import TaihuError
from taihu.protocols.mqtt.client import Client, State
from taihu.protocols.mqtt.packets import Connack, Puback, Publish, Subscription

log = logging.getLogger("taihu.field")

_READ_BYTES = 262_144
_RETRY_S_MIN, _RETRY_S_MAX = 0.2, 10.0
_UNACKED_MAX = 2_000

Message = Callable[[str, bytes], None]
"""Called with topic and payload of what the node sends."""


class Uplink:
    """One MQTT session with the node, until `run` is cancelled."""

    def __init__(self, host: str, port: int, client: Client, clock: Clock, message: Message, random: Random) -> None:
        self._host = host
        self._port = port
        self._client = client
        self._clock = clock
        self._message = message
        self._random = random
        self._writer: asyncio.StreamWriter | None = None
        self._filters: dict[str, None] = {}
        self._unacked = 0
        self._room = asyncio.Event()
        self._room.set()

    async def run(self) -> None:
        """Connect and stay connected. Logs once on loss and once on return."""
        lost, pause = False, _RETRY_S_MIN
        while True:
            try:
                reader, self._writer = await asyncio.open_connection(self._host, self._port)
                self._client.connect(self._clock.monotonic())
                self._flush()
                if lost:
                    log.info("%s reaches the node again", self._client.client_id)
                lost, pause = False, _RETRY_S_MIN
                await self._serve(reader)
            except (OSError, TaihuError) as error:
                if not lost:
                    log.warning("%s has lost the node: %s", self._client.client_id, error)
                lost = True
            finally:
                self._client.connection_lost()
                if self._writer is not None:
                    self._writer.close()
                    self._writer = None
            await asyncio.sleep(pause * (0.5 + self._random.random()))
            pause = min(2 * pause, _RETRY_S_MAX)

    async def publish(self, topic: str, payload: bytes) -> None:
        """Send at QoS 1; waits while too much is unacknowledged."""
        while self._unacked >= _UNACKED_MAX:
            self._room.clear()
            await self._room.wait()
        self._client.publish(topic, payload, qos=1)
        self._unacked += 1
        self._flush()

    async def drain(self) -> None:
        """Return when all that was published is acknowledged."""
        while self._unacked:
            self._room.clear()
            await self._room.wait()

    def listen(self, topic: str) -> None:
        """Take what comes on a topic; again after each reconnect."""
        if topic not in self._filters:
            self._filters[topic] = None
            if self._client.state is State.CONNECTED:
                self._client.subscribe([Subscription(topic, 1)])
                self._flush()

    def unlisten(self, topic: str) -> None:
        """No more of a topic."""
        if self._filters.pop(topic, "") is None and self._client.state is State.CONNECTED:
            self._client.unsubscribe([topic])
            self._flush()

    async def _serve(self, reader: asyncio.StreamReader) -> None:
        while True:
            due = self._client.next_timer()
            wait = None if due is None else max(0.0, due - self._clock.monotonic())
            try:
                async with asyncio.timeout(wait):
                    data = await reader.read(_READ_BYTES)
            except TimeoutError:
                self._client.handle_timer(self._clock.monotonic())
            else:
                if not data:
                    raise ConnectionResetError("the node closed the connection")
                for packet in self._client.receive(data, self._clock.monotonic()):
                    self._take(packet)
            self._flush()
            if self._writer is not None:
                await self._writer.drain()

    def _take(self, packet: object) -> None:
        match packet:
            case Connack(reason=0):
                for topic in self._filters:
                    self._client.subscribe([Subscription(topic, 1)])
            case Connack():
                raise ConnectionRefusedError(f"the node refuses it with reason {packet.reason}")
            case Publish():
                self._message(packet.topic, packet.payload)
            case Puback():
                self._unacked -= 1
                self._room.set()

    def _flush(self) -> None:
        output = self._client.take_output()
        if output and self._writer is not None:
            self._writer.write(output)
