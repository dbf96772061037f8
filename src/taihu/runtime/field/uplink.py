"""A connection's own line to the node: an MQTT client that brings readings durably and takes commands.

Readings are published at QoS 1: what is not acknowledged is sent again after a reconnect, and `publish` waits while as
many as may are unacknowledged, which slows the driver down (§6).
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random

from taihu.drivers.address import Endpoint
from taihu.drivers.line import Line
from taihu.kernel.clock import Clock
from taihu.kernel.errors import TaihuError
from taihu.protocols.mqtt.client import Client, State
from taihu.protocols.mqtt.errors import NotConnected
from taihu.protocols.mqtt.packets import Connack, Packet, Puback, Publish, Suback, Subscription
from taihu.protocols.mqtt.reasons import Reason

log = logging.getLogger("taihu.field")

_RETRY_S_MIN, _RETRY_S_MAX = 0.2, 10.0
_UNACKED_MAX = 2_000

Message = Callable[[Publish], None]
"""Called with what the node sends."""


class Uplink:
    """One MQTT session with the node, until `run` is cancelled."""

    def __init__(
        self,
        host: str,
        port: int,
        client: Client,
        clock: Clock,
        message: Message,
        random: Random,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._line = Line(Endpoint(host, port), client, clock, tls)
        self._client = client
        self._message = message
        self._random = random
        self._filters: dict[str, None] = {}
        self._published = 0
        self._acked = 0
        self._moved = asyncio.Event()
        self._lost = False
        self._pause = _RETRY_S_MIN

    async def run(self) -> None:
        """Connect and stay connected. Logs once on loss and once on return."""
        while True:
            try:
                await self._line.serve(self._took)
            except (OSError, TaihuError) as error:
                if not self._lost:
                    log.warning("%s has lost the node: %s", self._client.client_id, error)
                self._lost = True
            await asyncio.sleep(self._pause * (0.5 + self._random.random()))
            self._pause = min(2 * self._pause, _RETRY_S_MAX)

    async def publish(self, topic: str, payload: bytes) -> None:
        """Send at QoS 1; waits while too much is unacknowledged."""
        await self._until(self._published + 1 - _UNACKED_MAX)
        self._client.publish(topic, payload, qos=1)
        self._published += 1
        self._line.flush_soon()

    async def drain(self) -> None:
        """Return when all that was published until now is acknowledged: the node holds it durably (§4)."""
        await self._until(self._published)

    def listen(self, topic: str) -> None:
        """Take what comes on a topic; again after each reconnect."""
        if topic not in self._filters:
            self._filters[topic] = None
            if self._client.state is State.CONNECTED:
                self._client.subscribe([Subscription(topic, 1)])
                self._line.flush_soon()

    def unlisten(self, topic: str) -> None:
        """No more of a topic."""
        if self._filters.pop(topic, "") is None and self._client.state is State.CONNECTED:
            self._client.unsubscribe([topic])
            self._line.flush_soon()

    def acknowledge(self, packet_id: int) -> None:
        """Say that a message has been taken care of; one of an earlier connection comes again."""
        with suppress(NotConnected):
            self._client.acknowledge(packet_id)
            self._line.flush_soon()

    async def _until(self, acked: int) -> None:
        """Wait for so many acknowledgements, which come in the order of the messages (MQTT 4.6)."""
        while self._acked < acked:
            self._moved.clear()
            await self._moved.wait()

    async def _took(self, packets: Sequence[Packet]) -> None:
        for packet in packets:
            match packet:
                case Connack(reason=0):
                    self._connected()
                case Connack():
                    raise ConnectionRefusedError(f"the node refuses it with reason {packet.reason}")
                case Publish():
                    self._message(packet)
                case Suback() if any(reason >= Reason.UNSPECIFIED_ERROR for reason in packet.reasons):
                    log.error("%s may not hear commands: its token does not let it", self._client.client_id)
                case Puback():
                    self._acked += 1
                    self._moved.set()

    def _connected(self) -> None:
        if self._lost:
            log.info("%s reaches the node again", self._client.client_id)
        self._lost, self._pause = False, _RETRY_S_MIN
        for topic in self._filters:
            self._client.subscribe([Subscription(topic, 1)])
