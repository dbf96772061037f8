"""A simulated device's connection: the sans-I/O MQTT client over a real TCP connection."""

import asyncio
import logging
from typing import Any

from taihu.kernel.clock import Clock
from taihu.kernel.errors import TaihuError
from taihu.protocols.mqtt.client import Client

log = logging.getLogger("taihu.sim")

_RETRY_S = 1.0
_READ_BYTES = 65_536


class Device:
    """One MQTT client that stays connected. What is published while it is away waits in the client, bounded."""

    def __init__(self, host: str, port: int, client: Client, clock: Clock) -> None:
        self._host = host
        self._port = port
        self._client = client
        self._clock = clock
        self._writer: asyncio.StreamWriter | None = None

    async def run(self) -> None:
        """Connect, keep alive, reconnect; until cancelled. Logs once on loss and once on return."""
        lost = False
        while True:
            try:
                reader, self._writer = await asyncio.open_connection(self._host, self._port)
                self._client.connect(self._clock.monotonic())
                self._flush()
                if lost:
                    log.info("connected again")
                lost = False
                await self._serve(reader)
            except (OSError, TaihuError) as error:
                if not lost:
                    log.warning("connection lost: %s", error)
                lost = True
            finally:
                self._client.connection_lost()
                if self._writer is not None:
                    self._writer.close()
                    self._writer = None
            await asyncio.sleep(_RETRY_S)

    def publish(self, topic: str, payload: bytes, qos: int = 1) -> Any:
        """Publish; at QoS 1 it is sent again after a reconnect until it is acknowledged."""
        number = self._client.publish(topic, payload, qos=qos)
        self._flush()
        return number

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
                    raise ConnectionResetError("closed by the server")
                self._client.receive(data, self._clock.monotonic())
            self._flush()

    def _flush(self) -> None:
        output = self._client.take_output()
        if output and self._writer is not None:
            self._writer.write(output)
