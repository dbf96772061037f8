"""Clients that behave badly, and one that behaves well and must not notice."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from tests.faults.support import CLOCK, LiveNode
from tests.waiting import WAIT_S

from taihu.kernel.errors import TaihuError
from taihu.protocols.mqtt.client import Client, State
from taihu.protocols.mqtt.packets import Connack, Packet, Puback, Publish, Suback, Subscription, Unsuback

_READ_BYTES = 65_536


def run(body: Coroutine[Any, Any, None]) -> None:
    """`asyncio.run`, with a moment at the end for what was aborted to be closed."""

    async def whole() -> None:
        await body
        for _ in range(3):
            await asyncio.sleep(0)

    asyncio.run(whole())


class Peer:
    """An MQTT client that keeps every event it sees; reads only while `pump` or a call waits for something."""

    def __init__(self, node: LiveNode, client_id: str, token: str | None = None, **options: Any) -> None:
        self.client = Client(client_id, username=node.operator if token is None else token, **options)
        self.events: list[Packet] = []
        self.mute = False  # what it would answer is lost
        self.port = node.mqtt_port
        self._reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def connect(self) -> Connack:
        """Connect and return the answer."""
        self._reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.client.connect(CLOCK.monotonic())
        self.flush()
        found: Connack = await self.wait_for(Connack)
        return found

    async def subscribe(self, *filters: str, qos: int = 0) -> Suback:
        """Subscribe and return the answer."""
        self.client.subscribe([Subscription(name, qos) for name in filters])
        self.flush()
        found: Suback = await self.wait_for(Suback)
        return found

    async def unsubscribe(self, *filters: str) -> Unsuback:
        """Unsubscribe and return the answer."""
        self.client.unsubscribe(filters)
        self.flush()
        found: Unsuback = await self.wait_for(Unsuback)
        return found

    def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> int:
        """Publish without waiting."""
        number = self.client.publish(topic, payload, qos=qos, retain=retain)
        self.flush()
        return number

    async def wait_for(self, kind: type[Any], count: int = 1, timeout_s: float = WAIT_S) -> Any:
        """The first event of a kind not given before, once there are `count`."""
        async with asyncio.timeout(timeout_s):
            while sum(isinstance(event, kind) for event in self.events) < count:
                await self.pump()
        found = next(event for event in self.events if isinstance(event, kind))
        self.events.remove(found)
        return found

    async def messages(self, count: int, timeout_s: float = WAIT_S) -> list[Publish]:
        """The next `count` messages."""
        await self.wait_for_messages(count, timeout_s)
        found = [event for event in self.events if isinstance(event, Publish)][:count]
        self.events = [event for event in self.events if event not in found]
        return found

    async def wait_for_messages(self, count: int, timeout_s: float) -> None:
        """Return once so many messages are in `events`."""
        async with asyncio.timeout(timeout_s):
            while sum(isinstance(event, Publish) for event in self.events) < count:
                await self.pump()

    async def pump(self) -> None:
        """Read once; ConnectionResetError when the node closed."""
        assert self._reader is not None
        data = await self._reader.read(_READ_BYTES)
        if not data:
            raise ConnectionResetError("closed by the node")
        self.events += self.client.receive(data, CLOCK.monotonic())
        self.flush()

    async def ended(self, timeout_s: float = WAIT_S) -> None:
        """Read until the node closes."""
        with suppress(ConnectionError, TaihuError):
            async with asyncio.timeout(timeout_s):
                while True:
                    await self.pump()
        self.drop()

    def flush(self) -> None:
        """Write what the client has to say."""
        output = self.client.take_output()
        if self.mute:
            return
        if output and self.writer is not None:
            self.writer.write(output)

    def drop(self) -> None:
        """The connection breaks."""
        self.client.connection_lost()
        if self.writer is not None:
            self.writer.transport.abort()
            self.writer = None

    @property
    def connected(self) -> bool:
        """Whether the node has accepted it."""
        return self.client.state is State.CONNECTED


class Witness:
    """A device that sends a reading, waits for its acknowledgement, and notes how long that took."""

    def __init__(self, node: LiveNode, thing: str) -> None:
        self.peer = Peer(node, f"witness-{thing}", node.tokens[thing])
        self.waits_s: list[float] = []

    async def run(self) -> None:
        """Until cancelled."""
        await self.peer.connect()
        while True:
            began = CLOCK.monotonic()
            self.peer.publish("v1/devices/me/telemetry", b'{"ok": 1}', qos=1)
            await self.peer.wait_for(Puback)
            self.waits_s.append(CLOCK.monotonic() - began)
            await asyncio.sleep(0.02)
