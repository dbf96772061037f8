"""Group commit: acknowledgements after the sync, in order; an adaptive window; a journal that cannot be written."""

import asyncio
import errno
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.support import Bench, Things, cells, claim_of, property_of
from tests.waiting import WAIT_S

from taihu.journal.segments import SegmentJournal
from taihu.kernel.clock import SimClock
from taihu.kernel.errors import TransientError
from taihu.kernel.limits import Limits
from taihu.runtime.ingest.pipeline import Pipeline
from taihu.sim.files import PowerLossFiles
from taihu.things.batch import KIND_BATCH, KIND_BROKER, decode_batch

FOLDER = Path("/site/journal")


class Device:
    """A source whose messages are numbers, and that remembers what it was told, with the durable position then."""

    def __init__(self, line: "Line") -> None:
        self.line = line
        self.claim = claim_of()
        self.waiting: list[int] = []
        self.taken: list[int] = []
        self.acked: list[int] = []
        self.resumed = 0

    def send(self, number: int, size: int = 20) -> None:
        self.waiting.append(number)
        self.line.pipeline.submit(self, size)

    def take(self) -> list[tuple[object, bytes]]:
        self.taken, self.waiting = self.waiting, []
        return [(self.claim, b'{"id": %d}' % number) for number in self.taken]

    def committed(self) -> None:
        assert set(self.taken) <= set(self.line.stored()), "acknowledged before the sync (§4)"
        self.acked += self.taken
        self.taken = []

    def resume(self) -> None:
        self.resumed += 1


class Line:
    """A pipeline over a journal on files that can fail."""

    def __init__(self, limits: Limits | None = None, before: Callable[[], object] = lambda: None) -> None:
        self.files = PowerLossFiles(1)
        self.journal = self.open(self.files)
        bench = Bench(Things(pump={"id": property_of("id")}))
        self.pipeline = Pipeline(self.journal, bench.intake, limits or Limits(), before)

    @staticmethod
    def open(files: PowerLossFiles) -> SegmentJournal:
        return SegmentJournal(
            files, FOLDER, segment_bytes=5_000, retention_bytes=10**9, retention_s=1e9, clock=SimClock()
        )

    def stored(self) -> list[int]:
        """What a power loss at this moment would leave."""
        journal = self.open(self.files.power_loss())
        records = journal.read(1, 10**9)
        return [
            int(cell.value)
            for record in records
            if record.kind == KIND_BATCH
            for cell in cells([decode_batch(record.payload)])
        ]


def run(body: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(WAIT_S):
            await body

    asyncio.run(bounded())


def test_acknowledgements_follow_the_sync_in_order() -> None:
    """§4"""

    async def body() -> None:
        line = Line()
        devices = [Device(line) for _ in range(3)]
        for number in range(60):
            devices[number % 3].send(number)
            if number % 7 == 0:
                await asyncio.sleep(0)
        await line.pipeline.drain()
        assert [device.acked for device in devices] == [list(range(start, 60, 3)) for start in range(3)]
        assert sorted(line.stored()) == list(range(60))
        assert line.pipeline.acked.total() == 60
        assert line.pipeline.durable == line.journal.durable
        await line.pipeline.close()

    run(body())


def test_senders_who_come_together_share_a_sync() -> None:
    async def body() -> None:
        line = Line(Limits(commit_window_s=5.0))
        devices = [Device(line) for _ in range(50)]
        for number, device in enumerate(devices):
            device.send(number)
        await line.pipeline.drain()
        before = line.files.operations["datasync"]
        for round_ in range(1, 4):
            for number, device in enumerate(devices):
                device.send(50 * round_ + number)
            while len(devices[0].acked) <= round_:
                await asyncio.sleep(0)
        assert line.files.operations["datasync"] - before <= 6
        await line.pipeline.close()

    run(body())


def test_a_lone_sender_does_not_wait_for_the_window() -> None:
    async def body() -> None:
        line = Line(Limits(commit_window_s=3_600.0))
        device = Device(line)
        device.send(1)
        while not device.acked:
            await asyncio.sleep(0)
        await line.pipeline.close()

    run(body())


def test_other_records_join_the_group() -> None:
    """What brokers log is durable before the acknowledgements of the same group."""

    async def body() -> None:
        line = Line()
        events = [[(KIND_BROKER, b"event")]]
        line.pipeline.add_extra(lambda: events.pop() if events else [])
        told: list[tuple[int, int]] = []
        line.pipeline.add_listener(lambda durable, batches: told.append((durable, len(batches))))
        Device(line).send(1)
        await line.pipeline.drain()
        assert [record.kind for record in line.journal.read(1)] == [KIND_BATCH, KIND_BROKER]
        assert told == [(2, 1)]
        await line.pipeline.close()

    run(body())


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_slows_the_senders_and_recovers(error: int, caplog: pytest.LogCaptureFixture) -> None:
    """§4 §6: nothing is acknowledged while it cannot be written, nothing is lost, one line tells it and one its end."""

    async def body() -> None:
        line = Line()
        first, second = Device(line), Device(line)
        first.send(1)
        await line.pipeline.drain()
        line.files.fail("write" if error == errno.ENOSPC else "datasync", error=error, times=3)
        first.send(2)
        while not line.pipeline.full:
            await asyncio.sleep(0)
        second.send(3)
        line.pipeline.pause(second)
        assert (first.acked, second.acked, second.resumed) == ([1], [], 0)
        while not second.acked:
            await asyncio.sleep(0.01)
        assert (first.acked, second.acked, second.resumed) == ([1, 2], [3], 1)
        assert sorted(line.stored()) == [1, 2, 3]
        await line.pipeline.close()

    with caplog.at_level(logging.WARNING):
        run(body())
    lines = [record for record in caplog.records if record.name == "taihu.pipeline"]
    assert [record.levelname for record in lines] == ["ERROR", "WARNING"]


@pytest.mark.parametrize("error", [TransientError("The metadata cannot be written.", "See the disk."), ValueError("x")])
def test_what_readings_need_may_fail_for_a_while(error: Exception) -> None:
    """A metadata store that refuses is waited for like the journal."""

    async def body() -> None:
        faults = [error]

        def before() -> None:
            if faults:
                raise faults.pop()

        line = Line(before=before)
        device = Device(line)
        device.send(1)
        while not device.acked:
            await asyncio.sleep(0.01)
        assert line.stored() == [1]
        await line.pipeline.close()

    run(body())


def test_too_much_pending_pauses_and_then_resumes() -> None:
    """§6"""

    async def body() -> None:
        line = Line(Limits(commit_pending_bytes_max=1_000))
        device = Device(line)
        for number in range(20):
            device.send(number, 100)
        assert line.pipeline.full
        line.pipeline.pause(device)
        await line.pipeline.drain()
        assert (line.pipeline.full, device.resumed) == (False, 1)
        assert device.acked == list(range(20))
        await line.pipeline.close()

    run(body())


def test_a_worker_far_behind_slows_the_senders(caplog: pytest.LogCaptureFixture) -> None:
    """§6: one line at its beginning, one at its end."""

    async def body() -> None:
        line = Line()
        device = Device(line)
        for _ in range(3):
            line.pipeline.set_lagging(True)
        assert line.pipeline.full
        line.pipeline.pause(device)
        device.send(1)
        await line.pipeline.drain()
        assert device.acked == [1]
        assert line.pipeline.full
        for _ in range(3):
            line.pipeline.set_lagging(False)
        assert (line.pipeline.full, device.resumed) == (False, 1)
        await line.pipeline.close()

    run(body())
    assert len(caplog.records) == 2


def test_drain_waits_for_everything_submitted() -> None:
    async def body() -> None:
        line = Line(Limits(commit_window_s=3_600.0))
        devices = [Device(line) for _ in range(5)]
        for device in devices:
            device.send(1)
        await line.pipeline.drain()
        devices[0].send(2)
        await line.pipeline.drain()
        assert devices[0].acked == [1, 2]
        await line.pipeline.drain()
        await line.pipeline.close()

    run(body())


def test_a_group_takes_no_more_than_records_may_hold() -> None:
    """§4: what piled up while the disk stood still is written group by group, and acknowledged with its own."""

    async def body() -> None:
        line = Line(Limits(commit_pending_bytes_max=1_000))
        devices = [Device(line) for _ in range(5)]
        for number, device in enumerate(devices):
            device.send(number, 300)
        await line.pipeline.drain()
        assert [device.acked for device in devices] == [[0], [1], [2], [3], [4]]
        assert line.pipeline.groups == 3
        assert not line.pipeline.full
        await line.pipeline.close()

    run(body())
