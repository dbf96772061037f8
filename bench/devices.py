"""Devices for the drivers' benchmark, each a process of its own: `python -m bench.devices KIND PORT`, then `ready`."""

import asyncio
import struct
import sys
from collections.abc import Callable, Coroutine
from typing import Any

HTTP_BODY = (
    b'{"wifi_sta":{"connected":true,"rssi":-61},"relays":[{"ison":true}],"meters":[{"power":42.5,"total":12345}],'
    b'"temperature":31.2}'
)
IEC104_POINTS = 1_000
OFFERED = 3_000
SUBSCRIBED = 10
_IN_FRAME = 25
_WINDOW = 12


async def http(port: int) -> None:
    """A device that costs little: the same answer to whatever is asked."""
    answer = (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(HTTP_BODY) + HTTP_BODY
    )

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()
                return
            writer.write(answer)

    await asyncio.start_server(serve, "127.0.0.1", port)


async def modbus(port: int) -> None:
    """A unit of 100 holding registers, its answers made once: pymodbus's own server would be what is measured."""
    body = struct.pack(">BBB100H", 1, 3, 200, *range(100))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                request = await reader.readexactly(12)
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()
                return
            writer.write(request[:4] + struct.pack(">H", len(body)) + body)

    await asyncio.start_server(serve, "127.0.0.1", port)


async def iec104(port: int) -> None:
    """A station that tells 1,000 measured values without end, as fast as its window lets it."""
    bodies = []
    for first in range(1, IEC104_POINTS + 1, _IN_FRAME):
        places = range(first, first + _IN_FRAME)
        objects = b"".join(struct.pack("<I", at)[:3] + struct.pack("<fB", at / 4, 0) for at in places)
        bodies.append(struct.pack("<BBBBH", 13, _IN_FRAME, 3, 0, 1) + objects)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = acked = 0
        try:
            await reader.readexactly(6)  # STARTDT
            writer.write(b"\x68\x04\x0b\x00\x00\x00")
            while True:
                while (sent - acked) % 32_768 < _WINDOW:
                    body = bodies[sent % len(bodies)]
                    writer.write(struct.pack("<BBHH", 0x68, 4 + len(body), sent % 32_768 << 1, 0) + body)
                    sent += 1
                head = await reader.readexactly(2)
                frame = await reader.readexactly(head[1])
                if not frame[0] & 1 or frame[0] & 3 == 1:
                    acked = struct.unpack_from("<H", frame, 2)[0] >> 1
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    await asyncio.start_server(serve, "127.0.0.1", port)


class _Bacnet(asyncio.DatagramProtocol):
    """Takes any subscription, and tells of its object's changes at the rate offered."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._told: list[tuple[bytes, Any]] = []

    def datagram_received(self, data: bytes, address: Any) -> None:
        if len(data) > 20 and data[9] == 5:  # SubscribeCOV: its object is after the process identifier
            self._transport.sendto(bytes([0x81, 0x0A, 0, 9, 1, 0, 0x20, data[8], 5]), address)
            head = bytes.fromhex("1002 0901 1c02000257 2c") + data[13:17] + bytes.fromhex("393c 4e 0955 2e44")
            apdu = head + struct.pack(">f", 21.5) + bytes.fromhex("2f 096f 2e 820400 2f 4f")
            self._told.append((struct.pack(">BBHBB", 0x81, 0x0A, 6 + len(apdu), 1, 0) + apdu, address))

    async def tell(self) -> None:
        while True:
            await asyncio.sleep(0.005)
            for at in range(OFFERED * 5 // 1000 if len(self._told) >= SUBSCRIBED else 0):
                self._transport.sendto(*self._told[at % len(self._told)])


async def bacnet(port: int) -> None:
    """A device of analog values that change all the time."""
    loop = asyncio.get_running_loop()
    _, device = await loop.create_datagram_endpoint(_Bacnet, ("127.0.0.1", port))
    _tasks.append(asyncio.create_task(device.tell()))


class _Coap(asyncio.DatagramProtocol):
    """Takes any observation, and tells of its resource's changes at the rate offered, non-confirmable."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._told: dict[bytes, Any] = {}
        self._number = 0

    def datagram_received(self, data: bytes, address: Any) -> None:
        token = data[4 : 4 + (data[0] & 0x0F)]
        if data[0] & 0x30 == 0 and data[1] == 1:  # a confirmable GET
            self._transport.sendto(self._answer(0x60, data[2:4], token), address)
            self._told[token] = address

    async def tell(self) -> None:
        while True:
            await asyncio.sleep(0.005)
            tokens = list(self._told.items())
            for at in range(OFFERED * 5 // 1000 if len(tokens) >= SUBSCRIBED else 0):
                token, address = tokens[at % len(tokens)]
                number = struct.pack(">H", self._number & 0xFFFF)
                self._transport.sendto(self._answer(0x50, number, token), address)

    def _answer(self, kind: int, number: bytes, token: bytes) -> bytes:
        """2.05 with the next number of the observation, and plain text."""
        self._number += 1
        head = bytes([kind | len(token), 0x45]) + number + token
        return head + b"\x63" + (self._number & 0xFFFFFF).to_bytes(3, "big") + b"\x60\xff21.5"


async def coap(port: int) -> None:
    """A device of resources that change all the time."""
    loop = asyncio.get_running_loop()
    _, device = await loop.create_datagram_endpoint(_Coap, ("127.0.0.1", port))
    _tasks.append(asyncio.create_task(device.tell()))


_tasks: list[asyncio.Task[None]] = []
DEVICES: dict[str, Callable[[int], Coroutine[Any, Any, None]]] = {
    "http": http, "modbus": modbus, "iec104": iec104, "bacnet": bacnet, "coap": coap,
}  # fmt: skip


async def main() -> None:
    await DEVICES[sys.argv[1]](int(sys.argv[2]))
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
