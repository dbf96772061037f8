"""Retention survives `kill -9` of either process at any moment: what is kept stays, what expired stays away (§4)."""

import asyncio
import threading
from functools import partial
from pathlib import Path
from random import Random

import msgspec
import pytest
from tests.faults.support import CLOCK, LONG, PROJECT, LiveNode, Sender, check_exactly_once, flooded, strike, wait_until

LIMITS = {"journal_segment_bytes": 300_000, "flush_rows": 500, "flush_s": 0.2, "snapshot_s": 0.5}
HOUR = 3_600 * 10**9
STEP = 10 * 10**6  # ns between readings, each of which expires so long after the one before
COUNT = 300
PAUSE = threading.Event()


@pytest.mark.timeout(3_600 if LONG else 300)
def test_what_expired_never_comes_back(tmp_path: Path) -> None:
    """§4, §10: while it expires, in a flood of another thing, which loses nothing."""
    node = LiveNode(tmp_path / "site", ["room", "pump"], LIMITS)
    sender, random = Sender(node, "pump", in_flight=2), Random(20261126)
    try:
        node.start()
        declare(node)
        rounds = range(12 if LONG else 1)
        asyncio.run(flooded(sender, [partial(expire, node, random, number) for number in rounds]))
        node.settle()
        check_exactly_once(node, [sender])
        assert len(sender.acked) > 100
    finally:
        node.stop()


def declare(node: LiveNode) -> None:
    rule = {"name": "level", "unit": "m", "retention": {"raw": "1h", "1h": "forever"}}
    body = {"project": PROJECT, "thing": "room", "property": rule}
    answer = node.ask("POST", "/api/v1/admin/property-declare", msgspec.json.encode(body))
    assert answer.status == 200, answer


def expire(node: LiveNode, random: Random, number: int) -> None:
    """Readings that expire one after the other from in a second on, and two kills on the way."""
    first = (CLOCK.now_ns() - HOUR + 10**9) // 10**6 * 10**6
    rows = [{"ts": (first + n * STEP) // 10**6, "values": {"level": number + 1.0}} for n in range(COUNT)]
    path = f"/api/v1/{node.tokens['room']}/telemetry"
    answer = node.ask("POST", path, msgspec.json.encode(rows), Content_Type="application/json")
    assert (answer.status, answer.body["accepted"]) == (200, COUNT), answer
    for _ in range(2):
        PAUSE.wait(random.uniform(0.2, 1.5))
        strike(node, random)
        look(node, first)
    wait_until(lambda: not node.history("room", "level", first, first + HOUR), "all has expired", 60)
    node.settle()
    assert counted(node, first) == COUNT, "windows are kept"


def look(node: LiveNode, first: int) -> None:
    """What the history says now, between the floor before the question and that after it."""
    node.settle()
    before = CLOCK.now_ns() - HOUR
    found = [one["observed_at"] for one in node.history("room", "level", first, first + HOUR)]
    after = CLOCK.now_ns() - HOUR
    sent = range(first, first + COUNT * STEP, STEP)
    assert all(at >= before for at in found), "it had expired"
    assert {at for at in sent if at > after} <= set(found), "it is kept"
    assert len(found) == len(set(found))


def counted(node: LiveNode, first: int) -> int:
    """How many readings the windows of an hour are made of, expired ones among them."""
    start, end = first // HOUR * HOUR, (first + COUNT * STEP) // HOUR * HOUR + HOUR
    answer = node.get(f"/projects/{PROJECT}/history", thing="room", property="level", every="1h", start=start, end=end)
    assert answer.status == 200, answer
    return sum(window["count"] for window in answer.body["windows"])
