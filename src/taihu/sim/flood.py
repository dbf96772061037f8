"""A flood of readings from one process: pre-encoded QoS 1 PUBLISHes over real connections, counting acknowledgements.

`python -m taihu.sim.flood HOST PORT SECONDS` reads tokens from stdin, one a line and connection, where no other user
sees them as he would among the arguments; it prints one JSON line.
"""

import asyncio
import sys
from functools import partial
from typing import cast

import msgspec

from taihu.kernel.clock import Clock, SystemClock
from taihu.protocols.mqtt.codec import encode
from taihu.protocols.mqtt.packets import Connect, Publish

TOPIC = "v1/devices/me/telemetry"
VALUES = 3  # in each message
_CHUNK = 250
_CHUNKS_IN_FLIGHT = 2
_ACK_BYTES = 4
_CONNACK_BYTES = 4


class Flood(msgspec.Struct):
    """What one process sent: messages acknowledged, and how long a chunk of 250 waited for its last one (seconds)."""

    messages: int = 0
    seconds: float = 0.0
    waits: list[float] = []


class _Sender(asyncio.Protocol):
    """One connection that keeps two chunks in flight."""

    def __init__(self, token: str, flood: Flood, clock: Clock) -> None:
        self._token = token
        self._flood = flood
        self._clock = clock
        self._transport: asyncio.Transport | None = None
        self._chunks = [_chunk(1 + number * _CHUNK) for number in range(_CHUNKS_IN_FLIGHT)]
        self._sent_at: list[float] = []
        self._number = 0
        self._acked = -_CONNACK_BYTES
        self.stopping = False
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(encode(Connect(4, "", True, 0, username=self._token), 4))

    def data_received(self, data: bytes) -> None:
        if self._acked < 0:
            for _ in self._chunks:
                self._send()
        self._acked += len(data)
        while self._sent_at and self._acked >= _CHUNK * _ACK_BYTES:
            self._acked -= _CHUNK * _ACK_BYTES
            self._flood.messages += _CHUNK
            self._flood.waits.append(self._clock.monotonic() - self._sent_at.pop(0))
            if not self.stopping:
                self._send()
            elif not self._sent_at and not self.done.done():
                self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed the connection"))

    def _send(self) -> None:
        assert self._transport is not None
        self._transport.write(self._chunks[self._number % _CHUNKS_IN_FLIGHT])
        self._number += 1
        self._sent_at.append(self._clock.monotonic())


async def flood(host: str, port: int, seconds: float, tokens: list[str]) -> Flood:
    """Send for so many seconds, wait for the last acknowledgement and tell what was sent."""
    loop = asyncio.get_running_loop()
    clock = SystemClock()
    result = Flood()
    began = clock.monotonic()
    senders = []
    for token in tokens:
        _, sender = await loop.create_connection(partial(_Sender, token, result, clock), host, port)
        senders.append(sender)
    await asyncio.wait([sender.done for sender in senders], timeout=seconds)
    for sender in senders:
        sender.stopping = True
    await asyncio.gather(*(sender.done for sender in senders))
    result.seconds = clock.monotonic() - began
    return result


def _chunk(first_id: int) -> bytes:
    packets = []
    for number in range(_CHUNK):
        payload = b'{"temperature":21.%02d,"humidity":48.%02d,"pressure":1013.2}' % (number % 100, number % 97)
        packets.append(encode(Publish(TOPIC, payload, qos=1, packet_id=first_id + number), 4))
    return b"".join(packets)


if __name__ == "__main__":
    host, port, seconds = sys.argv[1:]
    outcome = asyncio.run(flood(host, int(port), float(seconds), sys.stdin.read().split()))
    sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
