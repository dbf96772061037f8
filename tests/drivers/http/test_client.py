"""How a device is connected: known by its certificate, and given no more connections than it was said to take."""

import asyncio
import ssl
from contextlib import closing, suppress
from pathlib import Path

import pytest
from tests.faults.support import write_certificate

from taihu.drivers.http.client import HttpClient
from taihu.drivers.port import Connection, DeviceLost, DeviceRefused
from taihu.kernel.limits import DEFAULT

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Device:
    """Answers whatever is asked, and counts its connections."""

    def __init__(self) -> None:
        self.open = self.most = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        with closing(writer), suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b"Content-Length: 1" in head:
                    await reader.readexactly(1)
                writer.write(ANSWER)
        self.open -= 1


def test_a_device_is_known_by_its_certificate(tmp_path: Path) -> None:
    write_certificate(tmp_path)

    async def body() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
        server = await asyncio.start_server(Device().serve, "127.0.0.1", 0, ssl=context)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"

        def client(**options: str) -> HttpClient:
            return HttpClient(Connection(name="x", url=url, options=options), DEFAULT)

        known = client(ca=str(tmp_path / "cert.pem"))
        assert (await known.ask("GET", "/")).body == b"ok"
        known.close()
        with pytest.raises(DeviceLost, match="certificate"):
            await client().ask("GET", "/")
        with pytest.raises(DeviceRefused, match="PEM"):
            client(ca=str(tmp_path / "nothing.pem"))
        await asyncio.sleep(0.05)
        server.close()

    asyncio.run(body())


def test_a_device_is_given_no_more_connections_than_it_takes() -> None:
    async def body() -> None:
        device = Device()
        server = await asyncio.start_server(device.serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        client = HttpClient(Connection(name="x", url=url, options={"connections": 2}), DEFAULT)
        await asyncio.gather(*(client.ask("GET", "/") for _ in range(10)))
        for _ in range(5):
            await client.ask("PUT", "/", {}, b"1")
            await asyncio.gather(*(client.ask("GET", "/") for _ in range(4)))
        assert device.most <= 3  # one may still be going
        assert len(client._idle) <= 2
        client.close()
        await asyncio.sleep(0.05)
        server.close()

    asyncio.run(body())
