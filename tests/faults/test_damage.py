"""A torn or bit-flipped journal page is found, reported and cut at the last good record; the node starts."""

import asyncio
import re
from pathlib import Path
from random import Random

import pytest
from tests.faults.support import LiveNode, Sender

from taihu.journal.segments import SegmentJournal
from taihu.kernel.clock import SystemClock
from taihu.kernel.files import OsFiles
from taihu.things.batch import KIND_BATCH


@pytest.mark.parametrize("damage", ["flip", "tear", "zeros"])
def test_a_damaged_journal_page_is_cut_and_the_node_starts(tmp_path: Path, damage: str) -> None:
    """What lies before the damage is read back; what comes after the start is acknowledged and stored."""
    node = LiveNode(tmp_path / "site", ["pump"], {"flush_rows": 1_000_000, "snapshot_s": 3_600})
    sender = Sender(node, "pump", in_flight=20)
    node.start()
    try:
        for _ in range(10):
            asyncio.run(send(sender, 100))
        node.kill("worker", "ingest")
        at = spoil(node.site.data / "journal", damage)
        node.start()
        asyncio.run(send(sender, 50))
        node.settle()
        found = {int(reading["value"]) for reading in node.history("pump", "id", sender.start_ns, sender.end_ns)}
        assert set(range(1_000, sender.sent)) <= found, "acknowledged after the start and lost"
        assert len(found) > 100
        lines = node.log_lines("ingest", "damaged")
        assert len(lines) == 1, lines
        told = re.search(r"at byte (\d+): \d+ bytes unreadable", lines[0])
        assert told and at - 4_096 < int(told[1]) <= at, lines
    finally:
        node.stop()


async def send(sender: Sender, messages: int) -> None:
    """Send so many, each acknowledged."""
    before = len(sender.acked)
    await sender.run(asyncio.Event(), sender.sent - sender.first + messages)
    assert len(sender.acked) == before + messages


def spoil(folder: Path, damage: str) -> int:
    """Spoil the newest segment past its middle; returns where."""
    path = max(folder.glob("*.seg"))
    data = bytearray(path.read_bytes())
    at = Random(7).randrange(len(data) * 3 // 4, len(data) - 300)
    if damage == "flip":
        data[at] ^= 16
    elif damage == "tear":
        del data[at:]
    else:
        data[at : at + 200] = bytes(200)
    path.write_bytes(data)
    return at


@pytest.mark.parametrize("name", ["twin.snapshot", "broker.snapshot"])
def test_a_damaged_snapshot_is_told_and_the_node_starts(tmp_path: Path, name: str) -> None:
    """The twin is replayed from the journal; sessions begin anew."""
    node = LiveNode(tmp_path / "site", ["pump"])
    node.start()
    try:
        assert node.ask("POST", f"/api/v1/{node.tokens['pump']}/telemetry", b'{"level": 7}').status == 200
        node.stop()
        path = node.site.data / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 8
        path.write_bytes(data)
        node.start()
        assert len(node.log_lines("ingest", f"ERROR.*{name} is damaged")) == 1
        values = node.get("/projects/plant/values").body["values"]
        assert [(value["property"], value["value"]) for value in values] == [("level", 7)]
        assert node.ask("POST", f"/api/v1/{node.tokens['pump']}/telemetry", b'{"level": 8}').status == 200
    finally:
        node.stop()


def test_a_record_that_is_no_batch_is_set_aside_and_those_after_it_are_stored(tmp_path: Path) -> None:
    """One poisonous record stops neither process: it is told and kept, and what follows is in the history (§4)."""
    node = LiveNode(tmp_path / "site", ["pump"])
    node.start()
    try:
        assert node.ask("POST", f"/api/v1/{node.tokens['pump']}/telemetry", b'{"level": 7}').status == 200
        node.stop()
        limits, poison = node.site.limits, b"\xc1 is never msgpack"
        journal = SegmentJournal(
            OsFiles(), node.site.data / "journal", segment_bytes=limits.journal_segment_bytes,
            retention_bytes=limits.journal_retention_bytes, retention_s=limits.journal_retention_s, clock=SystemClock(),
        )  # fmt: skip
        journal.append(KIND_BATCH, poison)
        journal.close()
        node.start()
        assert node.ask("POST", f"/api/v1/{node.tokens['pump']}/telemetry", b'{"level": 8}').status == 200
        node.settle()
        found = node.history("pump", "level", 0, SystemClock().now_ns())
        assert [reading["value"] for reading in found] == [7, 8]
        assert [path.read_bytes() for path in (node.site.data / "aside").glob("*.record")] == [poison]
        assert len(node.log_lines("worker", "cannot be taken into the history")) == 1
    finally:
        node.stop()
