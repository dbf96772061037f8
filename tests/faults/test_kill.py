"""§4: what was acknowledged survives `kill -9` of either process, or both, at any moment, exactly once."""

import asyncio
from pathlib import Path
from random import Random

import pytest
from tests.faults.support import LONG, LiveNode, Sender, bring_back, check_exactly_once, wait_until
from tests.waiting import WAIT_S

LIMITS = {
    "journal_segment_bytes": 1_000_000,
    "journal_retention_bytes": 1_000_000,
    "journal_retention_s": 1,
    "flush_rows": 2_000,
    "flush_s": 1.0,
    "snapshot_s": 0.5,
}
THINGS = {"pump": 1, "fan": 1, "oven": 2}  # and its QoS
VICTIMS = (("ingest",), ("worker",), ("ingest", "worker"), ())  # none: an orderly stop


@pytest.mark.timeout(3_600 if LONG else 300)
def test_every_acked_reading_survives_kills_exactly_once(tmp_path: Path) -> None:
    """§4."""
    node = LiveNode(tmp_path / "site", list(THINGS), LIMITS)
    random = Random(seed := 20261123)
    senders = [Sender(node, thing, qos=qos) for thing, qos in THINGS.items()]
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
            if victims:
                await asyncio.to_thread(node.kill, *victims)
            else:
                await asyncio.to_thread(node.stop)
            gone = [name for name in ("ingest", "worker") if not node.running(name)]
            await asyncio.to_thread(node.start, *gone)
        await asyncio.to_thread(bring_back, node)
        await asyncio.sleep(1)
    finally:
        stop.set()
    await asyncio.wait_for(asyncio.gather(*tasks), WAIT_S)


def test_while_the_worker_is_away_the_rest_serves(tmp_path: Path) -> None:
    """Newest values are answered and readings acknowledged; the history says when to ask again."""
    node = LiveNode(tmp_path / "site", ["pump"])
    node.start()
    try:
        device = f"/api/v1/{node.tokens['pump']}/telemetry"
        assert node.ask("POST", device, b'{"level": 1}').status == 200
        wait_until(lambda: node.status()["worker"] == "running", "the worker is there")
        node.kill("worker")
        wait_until(lambda: node.status()["worker"] == "away", "the worker is missed")
        assert node.ask("POST", device, b'{"level": 2}').status == 200
        assert node.get("/projects/plant/values").body["values"][0]["value"] == 2
        answer = node.get("/projects/plant/history", thing="pump", property="level")
        assert (answer.status, answer.body["type"]) == (503, "urn:taihu:problem:unavailable")
        assert len(node.log_lines("ingest", "the worker is away")) == 1
        node.start("worker")
        wait_until(lambda: node.status()["worker"] == "running", "the worker is back")
        node.settle()
        assert [each["value"] for each in node.history("pump", "level", 0, 2**62)] == [1, 2]
    finally:
        node.stop()
