"""§4: what was acknowledged survives `kill -9` of either process, or both, at any moment, exactly once."""

import asyncio
from pathlib import Path
from random import Random

import pytest
from tests.faults.support import LONG, LiveNode, Sender, check_exactly_once

LIMITS = {
    "journal_segment_bytes": 1_000_000,
    "journal_retention_bytes": 1_000_000,
    "journal_retention_s": 1,
    "flush_rows": 2_000,
    "flush_s": 1.0,
    "snapshot_s": 0.5,
}
THINGS = ["pump", "fan", "oven"]
VICTIMS = (("ingest",), ("worker",), ("ingest", "worker"))


@pytest.mark.timeout(3_600 if LONG else 120)
def test_every_acked_reading_survives_kills_exactly_once(tmp_path: Path) -> None:
    """§4."""
    node = LiveNode(tmp_path / "site", THINGS, LIMITS)
    random = Random(seed := 20261123)
    senders = [Sender(node, thing) for thing in THINGS]
    node.start()
    try:
        asyncio.run(_flood_and_kill(node, senders, random, 50 if LONG else 4))
        node.settle()
        assert sum(len(sender.acked) for sender in senders) > 1_000, seed
        check_exactly_once(node, senders)
    finally:
        node.stop()


async def _flood_and_kill(node: LiveNode, senders: list[Sender], random: Random, kills: int) -> None:
    stop = asyncio.Event()
    tasks = [asyncio.create_task(sender.run(stop)) for sender in senders]
    try:
        for _ in range(kills):
            await asyncio.sleep(random.uniform(0.3, 1.5))
            victims = random.choice(VICTIMS)
            await asyncio.to_thread(node.kill, *victims)
            gone = [name for name in ("ingest", "worker") if not node.running(name)]
            await asyncio.to_thread(node.start, *gone)
        await asyncio.sleep(1)
    finally:
        stop.set()
    await asyncio.wait_for(asyncio.gather(*tasks), 60)
