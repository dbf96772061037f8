"""A worker that stands still slows the senders at `worker_lag_bytes_max`, and they go on when it does (§6)."""

import asyncio
import signal
from pathlib import Path

import pytest
from tests.faults.support import LiveNode, Sender, check_exactly_once
from tests.waiting import WAIT_S

LAG_BYTES = 1_000_000
LIMITS = {"worker_lag_bytes_max": LAG_BYTES, "journal_segment_bytes": 250_000, "commit_pending_bytes_max": 1_000_000}


@pytest.mark.parametrize("away", ["stopped", "killed"])
def test_a_worker_that_stands_still_slows_the_senders(tmp_path: Path, away: str) -> None:
    node = LiveNode(tmp_path / "site", ["pump", "fan"], LIMITS)
    senders = [Sender(node, name) for name in ("pump", "fan")]
    node.start()
    try:
        asyncio.run(flood(node, senders, away))
        node.settle()
        check_exactly_once(node, senders)
        assert len(node.log_lines("ingest", "worker is too far behind")) >= 1
        assert len(node.log_lines("ingest", "worker has caught up")) >= 1
        assert not node.log_lines("ingest", "Traceback"), node.log("ingest")
    finally:
        node.stop()


async def flood(node: LiveNode, senders: list[Sender], away: str) -> None:
    def acked() -> int:
        return sum(len(sender.acked) for sender in senders)

    stop = asyncio.Event()
    tasks = [asyncio.create_task(sender.run(stop)) for sender in senders]
    try:
        async with asyncio.timeout(WAIT_S):
            while acked() < 2_000:
                await asyncio.sleep(0.01)
            if away == "stopped":
                node.signal("worker", signal.SIGSTOP)
            else:
                await asyncio.to_thread(node.kill, "worker")
            while not node.log_lines("ingest", "worker is too far behind"):
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.5)
            slowed_at = acked()
            await asyncio.sleep(1.0)
            assert acked() - slowed_at < 2_000, "the senders were not slowed"
            size = sum(path.stat().st_size for path in (node.site.data / "journal").glob("*.seg"))
            assert size < 6 * LAG_BYTES, "the journal grows though its reader stands still"
            if away == "stopped":
                node.signal("worker", signal.SIGCONT)
            else:
                await asyncio.to_thread(node.start, "worker")
            while acked() < slowed_at + 5_000:
                await asyncio.sleep(0.02)
    finally:
        stop.set()
    await asyncio.wait_for(asyncio.gather(*tasks), WAIT_S)
