"""A deletion survives `kill -9` of either process at any moment; what was not deleted stays (§4)."""

import asyncio
import http.client
import threading
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from tests.faults.support import CLOCK, LONG, LiveNode, Sender, check_exactly_once, flooded, strike, wait_until
from tests.runtime.test_deletions import admin, traces

LIMITS = {
    "journal_segment_bytes": 300_000,
    "journal_retention_bytes": 20_000_000,
    "flush_rows": 2_000,
    "flush_s": 1.0,
    "snapshot_s": 0.5,
}


@pytest.mark.timeout(3_600 if LONG else 300)
def test_what_was_deleted_never_comes_back(tmp_path: Path) -> None:
    """§4, §10: in a flood of another thing, which loses nothing."""
    node = LiveNode(tmp_path / "site", ["room", "pump"], LIMITS)
    random = Random(20261125)
    sender = Sender(node, "pump", in_flight=10)
    node.start()
    try:
        asyncio.run(flooded(sender, [partial(_round, node, random, number) for number in range(12 if LONG else 2)]))
        node.settle()
        check_exactly_once(node, [sender])
        assert len(sender.acked) > 500
    finally:
        node.stop()


def _round(node: LiveNode, random: Random, number: int) -> None:
    word = f"GEHEIM-{number}-{random.getrandbits(32):08x}"
    begin = CLOCK.now_ns() // 1_000_000 - 100_000
    rows = [{"ts": begin + n, "values": {"words": word, "round": number}} for n in range(50)]
    path = f"/api/v1/{node.tokens['room']}/telemetry"
    assert node.ask("POST", path, msgspec.json.encode(rows), Content_Type="application/json").status == 200
    CLOCK_PAUSE.wait(random.uniform(0, 1.2))  # some of it is in files by then
    answers: list[Any] = []
    asking = threading.Thread(target=_delete, args=(node, f"start={begin * 10**6}&end={(begin + 50) * 10**6}", answers))
    asking.start()
    CLOCK_PAUSE.wait(random.choice((0.0, 0.02, 0.1, 0.5, 1.5)))
    victims = strike(node, random)
    asking.join()
    deletions = node.get("/deletions", project="plant").body["deletions"]
    asked = [one for one in deletions if one["start"] == begin * 10**6]
    node.settle()
    left = [one["value"] for one in node.history("room", "words", begin * 10**6, (begin + 50) * 10**6)]
    if not asked:
        assert not answers and left == [word] * 50, (number, victims)
        return
    assert left == [], (number, victims, asked)
    assert all(value["value"] != word for value in node.get("/projects/plant/values").body["values"])
    wait_until(lambda: _erased(node, asked[0]["id"]), "erased", 60)
    assert traces(node, word) == [], (number, victims)


def _delete(node: LiveNode, span: str, answers: list[Any]) -> None:
    try:
        answer = node.ask("DELETE", f"/api/v1/projects/plant/readings?thing=room&{span}")
    except (OSError, http.client.HTTPException):
        return
    assert answer.status == 202, answer
    answers.append(answer.body)


def _erased(node: LiveNode, number: str) -> bool:
    return bool(node.get(f"/deletions/{number}", token=admin(node)).body["state"] == "erased")


CLOCK_PAUSE = threading.Event()
