"""Clients that behave badly: bounded memory, one clear log line, and a good device that does not notice (§6)."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from random import Random

import pytest
from tests.faults.peers import Peer, Witness, run
from tests.faults.support import LiveNode, wait_until, write_certificate
from tests.ports import free_port
from tests.waiting import WAIT_S

from taihu.kernel.errors import TaihuError
from taihu.protocols.mqtt.codec import encode
from taihu.protocols.mqtt.packets import Connect, Disconnect, Publish, Subscribe, Subscription
from taihu.protocols.mqtt.reasons import Reason

MB = 1 << 20
LIMITS = {
    "mqtt_connect_timeout_s": 1.0,
    "mqtt_outbound_bytes_max": 1_000_000,
    "mqtt_offline_queue_messages_max": 2_000,
    "mqtt_offline_queue_bytes_max": 4_000_000,
    "commit_pending_bytes_max": 4_000_000,
}
UPGRADE = (
    b"GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    folder = tmp_path_factory.mktemp("peers") / "site"
    folder.mkdir()
    write_certificate(folder)
    doors = f'tls_port = {free_port()}\ncertificate = "cert.pem"\nkey = "key.pem"\nwebsocket_port = {free_port()}'
    live = LiveNode(folder, ["pump", "fan"], LIMITS, mqtt=doors)
    live.start()
    yield live
    live.stop()
    assert not live.log_lines("ingest", "Traceback"), live.log("ingest")


@asynccontextmanager
async def unharmed(node: LiveNode, growth_mb_max: float = 40.0) -> AsyncIterator[Witness]:
    """Meanwhile a device's readings are acknowledged in time, and memory grows by less than so much."""
    witness = Witness(node, "pump")
    task = asyncio.create_task(witness.run())
    while not witness.waits_s:
        await asyncio.sleep(0.01)
    before = node.rss_bytes()
    yield witness
    seen = len(witness.waits_s)
    async with asyncio.timeout(WAIT_S):
        while len(witness.waits_s) < seen + 2:
            assert not task.done(), task
            await asyncio.sleep(0.01)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    witness.peer.drop()
    growth = (node.rss_bytes() - before) / MB
    assert growth < growth_mb_max, f"memory grew by {growth:.1f} MB"
    assert max(witness.waits_s) < WAIT_S, f"the others waited {max(witness.waits_s):.2f} s"


def counter(node: LiveNode, name: str) -> int:
    return int(node.status()["mqtt"][name])


def connect_bytes(token: str, client_id: str, version: int = 4) -> bytes:
    return encode(Connect(version, client_id, True, 60, token), version)


def raw(node: LiveNode, *parts: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", node.mqtt_port), timeout=WAIT_S)
    client.sendall(b"".join(parts))
    return client


def closed(client: socket.socket) -> bool:
    """Read to the end; whether the node closed."""
    try:
        while client.recv(65_536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def test_a_slow_subscriber_at_qos_0_loses_messages_that_are_counted(node: LiveNode) -> None:
    """§6: publishers never wait for subscribers."""

    async def body() -> None:
        async with unharmed(node):
            slow = Peer(node, "slow-0")
            await slow.connect()
            await slow.subscribe("noise/#")
            loud = Peer(node, "loud-0", keep_alive=0)
            await loud.connect()
            before = await asyncio.to_thread(counter, node, "dropped_slow")
            for _ in range(300):
                for _ in range(20):
                    loud.publish("noise/a", bytes(10_000))
                assert loud.writer
                async with asyncio.timeout(WAIT_S):
                    await loud.writer.drain()
                if await asyncio.to_thread(counter, node, "dropped_slow") > before:
                    break
            assert await asyncio.to_thread(counter, node, "dropped_slow") > before
            assert (await slow.messages(5))[0].payload == bytes(10_000)
            slow.drop()
            loud.drop()

    run(body())


def test_a_slow_subscriber_at_qos_1_is_disconnected_with_its_reason(node: LiveNode) -> None:
    """§6: beyond its bounded queue; the publisher is acknowledged all the while."""

    async def body() -> None:
        async with unharmed(node):
            slow = Peer(node, "slow-1", version=5)
            await slow.connect()
            await slow.subscribe("noise/#", qos=1)
            loud = Peer(node, "loud-1", keep_alive=0, pending_max=30_000, in_flight_max=500)
            await loud.connect()
            before = await asyncio.to_thread(counter, node, "quota_disconnects")
            for _ in range(100):
                for _ in range(100):
                    loud.publish("noise/b", bytes(1_000), qos=1)
                async with asyncio.timeout(WAIT_S):
                    while loud.client._outbox:
                        await loud.pump()
                if await asyncio.to_thread(counter, node, "quota_disconnects") > before:
                    break
            assert await asyncio.to_thread(counter, node, "quota_disconnects") == before + 1
            await slow.ended()
            reasons = [event.reason for event in slow.events if isinstance(event, Disconnect)]
            assert reasons == [Reason.QUOTA_EXCEEDED]
            loud.drop()

    run(body())
    assert len(node.log_lines("ingest", "slow-1.*disconnected")) == 1


@pytest.mark.parametrize("opening", [b"", b"\x10", b"\x10\xff\xff\xff\x7f\x00\x04MQ", b"\x10\x20\x00\x04MQTT\x04"])
def test_a_slow_loris_is_closed_in_time(node: LiveNode, opening: bytes) -> None:
    before = len(node.log_lines("ingest", "disconnected"))
    with raw(node, opening) as client:
        client.settimeout(WAIT_S)
        assert closed(client)
    assert len(node.log_lines("ingest", "disconnected")) == before + 1


@pytest.mark.parametrize("door", ["tls", "websocket"])
@pytest.mark.parametrize("opening", [b"", b"\x16\x03\x01", b"GET /mqtt HTTP/1.1\r\nHost: x\r\n"])
def test_a_slow_loris_at_another_door_is_closed_too(node: LiveNode, door: str, opening: bytes) -> None:
    mqtt = node.site.mqtt
    port = mqtt.tls_port if door == "tls" else mqtt.websocket_port
    with socket.create_connection(("127.0.0.1", port or 0), timeout=WAIT_S) as client:
        client.sendall(opening)
        client.settimeout(WAIT_S)
        assert closed(client)


def test_a_websocket_without_a_connect_is_closed(node: LiveNode) -> None:
    with socket.create_connection(("127.0.0.1", node.site.mqtt.websocket_port or 0), timeout=WAIT_S) as client:
        client.sendall(UPGRADE)
        client.settimeout(WAIT_S)
        assert client.recv(1_000).startswith(b"HTTP/1.1 101")
        assert closed(client)


@pytest.mark.parametrize("size", [b"\xfe\xff\xff", b"\xff\x00\x00\x00\x00\x10\x00\x00\x00"])
def test_a_huge_websocket_frame_is_bounded(node: LiveNode, size: bytes) -> None:
    """A frame of 256 MB is announced and 30 MB of it are sent."""

    async def body() -> None:
        async with unharmed(node, 15.0):
            with socket.create_connection(("127.0.0.1", node.site.mqtt.websocket_port or 0), timeout=WAIT_S) as client:
                client.sendall(UPGRADE + b"\x82" + size + bytes(4))
                with suppress(OSError):
                    for _ in range(30):
                        await asyncio.to_thread(client.sendall, bytes(MB))

    run(body())


def test_a_client_that_never_reads_is_slowed_and_nobody_else(node: LiveNode) -> None:
    """Its acknowledgements fill its own buffers, then the node stops reading from it: memory is bounded."""

    async def body() -> None:
        publish = encode(Publish("v1/devices/me/telemetry", b'{"x":1}', 1, packet_id=7), 4)
        flood = publish * (MB // len(publish))
        async with unharmed(node, 60.0):
            client = raw(node, connect_bytes(node.tokens["fan"], "deaf"))
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            sent = 0
            with suppress(TimeoutError):
                while sent < 400 * MB:
                    async with asyncio.timeout(1.5):
                        await loop.sock_sendall(client, flood)
                    sent += len(flood)
            assert sent < 400 * MB, "it was never slowed"
            client.close()

    run(body())


@pytest.mark.parametrize("announced", [268_435_455, 2 * MB])
def test_a_huge_packet_is_refused_when_it_is_announced(node: LiveNode, announced: int) -> None:
    async def body() -> None:
        async with unharmed(node, 10.0):
            length = bytes(((announced >> shift) & 127) | (128 if shift < 21 else 0) for shift in (0, 7, 14, 21))
            client = raw(node, connect_bytes(node.tokens["fan"], "huge"), b"\x30" + length, bytes(1_000))
            assert await asyncio.to_thread(closed, client)
            client.close()

    before = len(node.log_lines("ingest", "disconnected"))
    run(body())
    assert len(node.log_lines("ingest", "disconnected")) == before + 1


def test_random_bytes_end_only_their_own_connection(node: LiveNode) -> None:
    """§13: anything at all, before and after a CONNECT that is sound."""

    async def body() -> None:
        random = Random(11)
        start = connect_bytes(node.tokens["fan"], "noise")
        sound = encode(Publish("v1/devices/me/telemetry", b'{"x":1}', 1, packet_id=7), 4) * 5
        async with unharmed(node, 20.0):
            for number in range(300):
                data = bytearray(sound)
                for _ in range(random.randint(1, 8)):
                    data[random.randrange(len(data))] = random.randrange(256)
                junk = random.randbytes(random.randint(1, 3_000)) if number % 2 else bytes(data)
                client = await asyncio.to_thread(raw, node, start if number % 3 else b"", junk)
                client.close()

    run(body())
    assert len(node.log_lines("ingest", r"more such lines|disconnected")) < 200


def test_a_subscription_bomb_is_bounded(node: LiveNode) -> None:
    """§6: thousands of wildcard filters of many clients; beyond the limit each is refused, and routing goes on."""

    async def body() -> None:
        filters = ["#", *("/".join(["+"] * depth) for depth in range(1, 20)), *(f"+/{n}/#" for n in range(2_000))]
        async with unharmed(node, 60.0):
            clients = [Peer(node, f"bomb-{number}") for number in range(10)]
            for client in clients:
                await client.connect()
                codes = (await client.subscribe(*filters)).reasons
                granted = sum(code < 0x80 for code in codes)
                assert granted == 200
            loud = Peer(node, "loud-2")
            await loud.connect()
            for number in range(200):
                loud.publish(f"a/{number}/c/d", b"x", qos=1)
            async with asyncio.timeout(WAIT_S):
                while loud.client._outbox:
                    await loud.pump()
            assert (await clients[0].messages(100))[0].payload == b"x"
            for client in (*clients, loud):
                client.drop()

    run(body())


def test_a_subscribe_of_many_megabytes_is_refused(node: LiveNode) -> None:
    filters = tuple(Subscription("+/" * 15 + f"{number}/#") for number in range(60_000))
    data = encode(Subscribe(1, filters), 4)
    with raw(node, connect_bytes(node.operator, "bomb")) as client:
        with suppress(ConnectionError):
            client.sendall(data)
        assert closed(client)


def test_wrong_tokens_are_refused_and_cost_little(node: LiveNode) -> None:
    async def body() -> None:
        async with unharmed(node, 20.0):
            for number in range(200):
                peer = Peer(node, f"wrong-{number}", "x" * 43)
                with suppress(TaihuError, ConnectionError):
                    assert (await peer.connect()).reason
                peer.drop()

    run(body())


def test_all_of_them_left_nothing_behind(node: LiveNode) -> None:
    wait_until(lambda: node.status()["mqtt"]["connected"] == 0, "all connections are forgotten")
