"""Many connections: what an idle one costs, and all of a site coming back at once."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import create_connection, socket

import pytest
from tests.faults.peers import Peer, run
from tests.faults.support import CLOCK, LONG, LiveNode, write_certificate
from tests.ports import free_port
from tests.waiting import WAIT_S

from taihu.protocols.mqtt.codec import encode
from taihu.protocols.mqtt.packets import Connack, Connect, Puback

IDLE = 10_000 if LONG else 2_000
IDLE_TLS = 2_000 if LONG else 300
DEVICES = 5_000 if LONG else 1_000
BYTES_PLAIN_MAX = 4_096
BYTES_TLS_MAX = 40_960


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    folder = tmp_path_factory.mktemp("many") / "site"
    folder.mkdir()
    write_certificate(folder)
    tls = f'tls_port = {free_port()}\ncertificate = "cert.pem"\nkey = "key.pem"'
    live = LiveNode(folder, ["pump"], mqtt=tls)
    live.start()
    yield live
    live.stop()


@contextmanager
def idle(node: LiveNode, count: int, name: str, tls: bool = False) -> Iterator[list[socket]]:
    """So many connected clients that say nothing."""
    port = node.site.mqtt.tls_port if tls else node.mqtt_port
    context = ssl.create_default_context(cafile=str(node.folder / "cert.pem")) if tls else None
    with ExitStack() as stack:
        clients = []
        for number in range(count):
            client = create_connection(("127.0.0.1", port), timeout=WAIT_S)
            if context:
                client = context.wrap_socket(client, server_hostname="127.0.0.1")
            stack.enter_context(client)
            client.sendall(encode(Connect(4, f"{name}-{number}", True, 600, node.tokens["pump"]), 4))
            clients.append(client)
        for client in clients:
            assert client.recv(4) == encode(Connack(False, 0), 4)
        yield clients


@pytest.mark.parametrize(
    ("tls", "count", "bytes_max"), [(False, IDLE, BYTES_PLAIN_MAX), (True, IDLE_TLS, BYTES_TLS_MAX)]
)
def test_an_idle_connection_costs_little(node: LiveNode, tls: bool, count: int, bytes_max: int) -> None:
    with idle(node, 50, "warm", tls):
        before = node.rss_bytes()
        with idle(node, count, "idle", tls) as clients:
            each = (node.rss_bytes() - before) / count
            print(f"{'TLS' if tls else 'plain'}: {each:.0f} bytes a connection")
            clients[-1].sendall(b"\xc0\x00")
            assert clients[-1].recv(2) == b"\xd0\x00"
    assert each <= bytes_max


def test_all_devices_are_served_when_they_come_back_at_once(tmp_path: Path) -> None:
    """After a crash every device reconnects, sends and is acknowledged within 30 s."""
    node = LiveNode(tmp_path / "site", ["pump"])
    node.start()
    try:
        run(come_back(node))
    finally:
        node.stop()


async def come_back(node: LiveNode) -> None:
    peers = [
        Peer(node, f"device-{number}", node.tokens["pump"], clean_start=False, keep_alive=600)
        for number in range(DEVICES)
    ]
    gate = asyncio.Semaphore(500)

    async def connect(peer: Peer) -> None:
        async with gate:
            assert (await peer.connect()).reason == 0

    async def serve(peer: Peer) -> None:
        while True:
            try:
                await peer.connect()
                break
            except OSError:
                await asyncio.sleep(0.1)
        peer.publish("v1/devices/me/telemetry", b'{"back": 1}', qos=1)
        assert (await peer.wait_for(Puback)).reason == 0

    await asyncio.gather(*map(connect, peers))
    await asyncio.to_thread(node.kill, "ingest", "worker")
    for peer in peers:
        peer.drop()
    await asyncio.to_thread(node.start)
    began = CLOCK.monotonic()
    async with asyncio.timeout(WAIT_S):
        await asyncio.gather(*map(serve, peers))
    print(f"{DEVICES} devices served within {CLOCK.monotonic() - began:.1f} s")
    for peer in peers:
        peer.drop()
