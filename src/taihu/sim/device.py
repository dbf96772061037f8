"""A simulated device's connection: the sans-I/O MQTT client over a real TCP connection."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from taihu.drivers.address import Endpoint
from taihu.drivers.line import Line
from taihu.kernel.clock import Clock
from taihu.kernel.errors import TaihuError
from taihu.protocols.mqtt.client import Client
from taihu.protocols.mqtt.packets import Connack, Packet, Publish, Subscription

Heard = Callable[[str, bytes], tuple[str, bytes] | None]

log = logging.getLogger("taihu.sim")

_RETRY_S = 1.0


class Device:
    """One MQTT client that stays connected. What is published while it is away waits in the client, bounded.

    `heard` is called with what comes on the topics of `listens`; what it returns is published.
    """

    def __init__(
        self, host: str, port: int, client: Client, clock: Clock, listens: str = "", heard: Heard | None = None
    ) -> None:
        self._listens = listens
        self._heard = heard
        self._line = Line(Endpoint(host, port), client, clock)
        self._lost = False

    async def run(self) -> None:
        """Connect, keep alive, reconnect; until cancelled. Logs once on loss and once on return."""
        while True:
            try:
                await self._line.serve(self._took)
            except (OSError, TaihuError) as error:
                if not self._lost:
                    log.warning("connection lost: %s", error)
                self._lost = True
            await asyncio.sleep(_RETRY_S)

    def publish(self, topic: str, payload: bytes, qos: int = 1) -> Any:
        """Publish; at QoS 1 it is sent again after a reconnect until it is acknowledged."""
        number = self._line.client.publish(topic, payload, qos=qos)
        self._line.flush()
        return number

    async def _took(self, packets: Sequence[Packet]) -> None:
        if self._lost and any(isinstance(packet, Connack) and not packet.reason for packet in packets):
            log.info("connected again")
            self._lost = False
        for packet in packets:
            match packet:
                case Connack(reason=0) if self._listens:
                    self._line.client.subscribe([Subscription(self._listens, 1)])
                case Publish() if self._heard is not None:
                    answer = self._heard(packet.topic, packet.payload)
                    if answer is not None:
                        self._line.client.publish(*answer, qos=1)
