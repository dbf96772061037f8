"""§4: group commit, journal and file port together: whenever the power goes, every acknowledged reading is there."""

import asyncio
from pathlib import Path
from random import Random

import pytest
from tests.faults.support import LONG
from tests.runtime.support import Bench, Things, cells, claim_of, property_of
from tests.waiting import WAIT_S

from taihu.journal.segments import SegmentJournal
from taihu.kernel.clock import SimClock
from taihu.kernel.limits import Limits
from taihu.runtime.ingest.pipeline import Pipeline
from taihu.sim.files import PowerLossFiles, PowerLost
from taihu.things.batch import decode_batch

FOLDER = Path("/site/journal")
SEEDS = range(1_000 if LONG else 40)


class Journal(SegmentJournal):
    """The journal, which tells when the power went away under it."""

    lost = False

    def commit(self) -> int:
        try:
            return super().commit()
        except PowerLost:
            self.lost = True
            raise


class Device:
    """A source that remembers what was acknowledged to it."""

    def __init__(self) -> None:
        self.claim = claim_of()
        self.waiting: list[int] = []
        self.taken: list[int] = []
        self.acked: list[int] = []

    def take(self) -> list[tuple[object, bytes]]:
        self.taken, self.waiting = self.waiting, []
        return [(self.claim, b'{"id": %d}' % number) for number in self.taken]

    def committed(self) -> None:
        self.acked += self.taken

    def resume(self) -> None:
        """Nothing: it never pauses."""


def open_journal(files: PowerLossFiles, random: Random) -> Journal:
    return Journal(
        files,
        FOLDER,
        segment_bytes=random.choice((300, 2_000, 100_000)),
        retention_bytes=10**9,
        retention_s=1e9,
        clock=SimClock(),
        random_bytes=random.randbytes,
    )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_every_acknowledged_reading_survives_a_power_loss() -> None:
    """§4, over several lives of the same disk; what was not acknowledged may be there or not, but never torn."""
    acked_in_all = 0
    for seed in SEEDS:
        random = Random(seed)
        files = PowerLossFiles(seed)
        acked: set[int] = set()
        sent = 0
        for _ in range(4):
            journal = open_journal(files, random)
            files.lose_power_after(random.randrange(40))
            devices = [Device() for _ in range(random.randint(1, 4))]
            sent = asyncio.run(flood(journal, devices, random, sent))
            acked |= {number for device in devices for number in device.acked}
            files = files.power_loss(keep_some=random.random() < 0.7)
            found = read_back(open_journal(files.power_loss(), random))
            assert len(found) == len(set(found)), f"seed {seed}: a reading twice"
            assert acked <= set(found), f"seed {seed}: acknowledged and lost"
            assert set(found) <= set(range(sent)), f"seed {seed}: readings nobody sent"
        acked_in_all += len(acked)
    assert acked_in_all > 10 * len(SEEDS)


async def flood(journal: Journal, devices: list[Device], random: Random, number: int) -> int:
    """Send until the power goes; returns the next number."""
    bench = Bench(Things(pump={"id": property_of("id")}))
    pipeline = Pipeline(journal, bench.intake, Limits())
    async with asyncio.timeout(WAIT_S):
        while not journal.lost:
            device = random.choice(devices)
            device.waiting.append(number)
            pipeline.submit(device, 20)
            number += 1
            if random.random() < 0.5:
                await asyncio.sleep(0)
    return number


def read_back(journal: SegmentJournal) -> list[int]:
    records = journal.read(1, 10**9)
    return [int(cell.value) for record in records for cell in cells([decode_batch(record.payload)])]
