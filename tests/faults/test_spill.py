"""§6: a long queue for a client that is away lies on disk: memory stays small, and `kill -9` loses none of it."""

import asyncio
from pathlib import Path
from socket import create_connection
from typing import Any

import pytest
from tests.faults.peers import Peer, run
from tests.faults.support import LONG, LiveNode
from tests.waiting import WAIT_S

from taihu.protocols.mqtt.codec import encode
from taihu.protocols.mqtt.packets import Connack, Connect, Publish

MESSAGES = 100_000 if LONG else 20_000
PAYLOAD = 2_000
MEMORY_MAX = 24_000_000
AT_ONCE = 200
LIMITS = {
    "snapshot_s": 1.0,
    "commit_pending_bytes_max": 4_000_000,
    "mqtt_offline_queue_bytes_max": 2 * MESSAGES * PAYLOAD,
    "journal_segment_bytes": 8_000_000,
    "journal_retention_bytes": 16_000_000,
}
AWAY: dict[str, Any] = {"version": 5, "clean_start": False, "properties": {"session_expiry_interval": 86_400}}


@pytest.fixture
def node(tmp_path: Path) -> Any:
    live = LiveNode(tmp_path / "site", ["pump"], LIMITS)
    live.start()
    yield live
    live.stop()


def flood(node: LiveNode, first: int, count: int) -> None:
    """Publish so many numbered messages, each acknowledged."""
    with create_connection(("127.0.0.1", node.mqtt_port), timeout=WAIT_S) as speaker:
        speaker.sendall(encode(Connect(4, "speaker", True, 0, node.operator), 4))
        assert speaker.recv(4) == encode(Connack(False, 0), 4)
        for start in range(first, first + count, AT_ONCE):
            packets = (
                Publish("news/1", b"%d " % number + bytes(PAYLOAD), 1, packet_id=number % 60_000 + 1)
                for number in range(start, start + AT_ONCE)
            )
            speaker.sendall(b"".join(encode(packet, 4) for packet in packets))
            left = 4 * AT_ONCE
            while left:
                left -= len(speaker.recv(left))


def test_a_long_queue_outlives_the_process_and_stays_out_of_memory(node: LiveNode) -> None:
    async def scene() -> None:
        listener = Peer(node, "listener", **AWAY)
        await listener.connect()
        await listener.subscribe("news/+", qos=1)
        listener.drop()
        await asyncio.to_thread(flood, node, 0, AT_ONCE)
        before = node.rss_bytes()
        await asyncio.to_thread(flood, node, AT_ONCE, MESSAGES // 2 - AT_ONCE)
        await asyncio.to_thread(node.kill, "ingest", "worker")
        await asyncio.to_thread(node.start)
        await asyncio.to_thread(flood, node, MESSAGES // 2, MESSAGES // 2)
        grown = node.rss_bytes() - before
        print(f"{MESSAGES * PAYLOAD / 1e6:.0f} MB wait, ingest has grown by {grown / 1e6:.1f} MB")
        assert grown < MEMORY_MAX
        spool = node.site.data / "spool"
        assert sum(path.stat().st_size for path in spool.iterdir()) > 0.9 * MESSAGES * PAYLOAD
        await asyncio.to_thread(node.kill, "ingest", "worker")
        await asyncio.to_thread(node.start)
        assert (await listener.connect()).session_present
        found = await heard(listener, MESSAGES // 2)
        listener.drop()
        await asyncio.to_thread(node.kill, "ingest", "worker")
        await asyncio.to_thread(node.start)
        await listener.connect()
        found += await heard(listener, MESSAGES - 1)
        fresh = list(dict.fromkeys(found))
        assert fresh == list(range(MESSAGES)), "each, in order; some of those just before the crash twice"
        listener.drop()
        await asyncio.to_thread(node.stop)
        assert not list(spool.iterdir())

    run(scene())


async def heard(listener: Peer, last: int) -> list[int]:
    """The numbers of all messages until one came."""
    found: list[int] = []
    while last not in found[-1_000:]:
        await listener.pump()
        found += [int(event.payload.split()[0]) for event in listener.events if isinstance(event, Publish)]
        listener.events.clear()
    return found
