"""A line to an MQTT server: the one I/O shell around the client's state machine, for all who are such a client."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence

from taihu.drivers.address import Endpoint, open_stream
from taihu.kernel.clock import Clock
from taihu.protocols.mqtt.client import Client
from taihu.protocols.mqtt.packets import Packet

_READ_BYTES = 262_144
_END_S = 1.0

Took = Callable[[Sequence[Packet]], Awaitable[None]]
"""Called with what a read brought; nothing more is read until it returns (§6)."""


class Line:
    """One client's connections to one server, one after the other."""

    def __init__(self, server: Endpoint, client: Client, clock: Clock, tls: ssl.SSLContext | None = None) -> None:
        self.client = client
        self._server = server
        self._clock = clock
        self._tls = tls
        self._writer: asyncio.StreamWriter | None = None
        self._due = False

    async def serve(self, took: Took, leave: Callable[[], None] = lambda: None) -> None:
        """Connect, and pass on what comes until the connection ends: always by an OSError or a TaihuError.

        When it is cancelled, what `leave` says is the last that is sent.
        """
        try:
            reader, self._writer = await open_stream(self._server, self._tls)
            self.client.connect(self._clock.monotonic())
            self.flush()
            while True:
                await took(await self._read(reader))
                self.flush()
                await self._writer.drain()
        except asyncio.CancelledError:
            leave()
            self.flush()
            raise
        finally:
            self.client.connection_lost()
            writer, self._writer = self._writer, None
            if writer is not None:
                await _ended(writer)

    def flush(self) -> None:
        """Write what the client has to say now."""
        self._due = False
        output = self.client.take_output()
        if output and self._writer is not None:
            self._writer.write(output)

    def flush_soon(self) -> None:
        """Write it at the loop's next turn, with all that is said until then."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self.flush)

    async def _read(self, reader: asyncio.StreamReader) -> Sequence[Packet]:
        due = self.client.next_timer()
        wait = None if due is None else max(0.0, due - self._clock.monotonic())
        try:
            async with asyncio.timeout(wait):
                data = await reader.read(_READ_BYTES)
        except TimeoutError:
            self.client.handle_timer(self._clock.monotonic())
            return ()
        if not data:
            raise ConnectionResetError("the server closed the connection")
        return self.client.receive(data, self._clock.monotonic())


async def _ended(writer: asyncio.StreamWriter) -> None:
    """Close a stream; one whose end is not taken within a second, as TLS wants it, is cut off."""
    writer.close()
    try:
        async with asyncio.timeout(_END_S):
            await writer.wait_closed()
    except OSError:  # TimeoutError is one
        writer.transport.abort()
