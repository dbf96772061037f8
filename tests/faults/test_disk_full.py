"""A full disk slows the senders; it recovers by itself, and nothing that was acknowledged is lost (§4 §6)."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.support import LiveNode, Sender, check_exactly_once
from tests.waiting import WAIT_S

from taihu.history.manifest import Manifest
from taihu.kernel.errors import TransientError

LIMITS = {
    "journal_segment_bytes": 1_000_000,
    "journal_retention_bytes": 1_000_000,
    "journal_retention_s": 1,
    "flush_rows": 5_000,
    "flush_s": 0.5,
    "snapshot_s": 0.5,
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)], stderr=subprocess.DEVNULL
    )
    if not mounted:
        pytest.skip("mounting a small file system needs root; tests/runtime/test_pipeline.py has the same in process")
    yield folder
    subprocess.check_call(["umount", "--lazy", str(folder)])


def test_a_full_disk_slows_the_senders_and_recovers(disk: Path, tmp_path: Path) -> None:
    node = LiveNode(tmp_path / "site", ["pump", "fan"], LIMITS, node=f'data = "{disk}/data"')
    senders = [Sender(node, name) for name in ("pump", "fan")]
    node.start()
    try:
        asyncio.run(flood_over_a_full_disk(node, senders, disk / "filler"))
        node.settle()
        check_exactly_once(node, senders)
        assert len(node.log_lines("ingest", "ERROR.*journal cannot be written")) == 1, node.log("ingest")
        assert len(node.log_lines("ingest", "the journal can be written again")) == 1
        assert len(node.log_lines("ingest", "Traceback")) == 0, node.log("ingest")
        assert len(node.log_lines("worker", "Traceback")) == 0, node.log("worker")
    finally:
        node.stop()


def test_a_node_on_a_full_disk_stops_when_told(disk: Path, tmp_path: Path) -> None:
    """What was acknowledged is there at the next start; the rest was never acknowledged."""
    node = LiveNode(tmp_path / "site", ["pump"], LIMITS, node=f'data = "{disk}/data"')
    sender = Sender(node, "pump")
    node.start()
    try:
        asyncio.run(flood_and_stop(node, sender, disk / "filler"))
        node.start()
        node.settle()
        check_exactly_once(node, [sender])
    finally:
        node.stop()


def test_a_history_that_finds_no_room_is_not_called_damaged(disk: Path) -> None:
    fill(disk / "filler")
    with pytest.raises(TransientError, match="Free space"):
        Manifest(disk / "manifest.sqlite")


async def flood_and_stop(node: LiveNode, sender: Sender, filler: Path) -> None:
    await asyncio.to_thread(node.settle)  # the worker is there
    task = asyncio.create_task(sender.run(asyncio.Event()))
    while len(sender.acked) < 1_000:
        await asyncio.sleep(0.02)
    await asyncio.to_thread(fill, filler)
    while not node.log_lines("ingest", "journal cannot be written"):
        await asyncio.sleep(0.05)
    await asyncio.to_thread(node.stop)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.to_thread(filler.unlink)


async def flood_over_a_full_disk(node: LiveNode, senders: list[Sender], filler: Path) -> None:
    def acked() -> int:
        return sum(len(sender.acked) for sender in senders)

    await asyncio.to_thread(node.settle)  # the worker is there
    stop = asyncio.Event()
    tasks = [asyncio.create_task(sender.run(stop)) for sender in senders]
    try:
        while acked() < 5_000:
            await asyncio.sleep(0.02)
        await asyncio.to_thread(fill, filler)
        while not node.log_lines("ingest", "journal cannot be written"):
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)  # what was acknowledged before that is still on its way
        stalled_at = acked()
        assert (await asyncio.to_thread(node.status))["mqtt"]["connected"] == len(senders)
        await asyncio.sleep(1)
        assert acked() == stalled_at, "acknowledged though nothing can be written"
        await asyncio.to_thread(filler.unlink)
        while acked() < stalled_at + 5_000:
            await asyncio.sleep(0.02)
    finally:
        stop.set()
    await asyncio.wait_for(asyncio.gather(*tasks), WAIT_S)


def fill(path: Path) -> None:
    """Take what room there is."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
