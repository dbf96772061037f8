"""A segment written again keeps its positions, for whoever reads it, at whatever moment it is replaced."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.journal import JournalReader, SegmentJournal
from taihu.journal.format import segment_firsts, segment_path
from taihu.journal.rewrite import draft_path, rewrite
from taihu.kernel.clock import SimClock
from taihu.sim.files import PowerLossFiles, PowerLost
from taihu.things.ports import Record

FOLDER = Path("/site/journal")


def open_on(files: PowerLossFiles, segment_bytes: int = 600) -> SegmentJournal:
    return SegmentJournal(
        files, FOLDER, segment_bytes=segment_bytes, retention_bytes=10**9, retention_s=1e9, clock=SimClock()
    )


def fill(journal: SegmentJournal, sizes: list[int]) -> list[Record]:
    """Records whose payload is their position, as long as said."""
    records = []
    for size in sizes:
        position = journal.append(1, b"%d" % journal.next_position * size)
        records.append(Record(position, 1, b"%d" % position * size))
        journal.commit()
    return records


def without(positions: set[int], records: list[Record]) -> list[Record]:
    return [Record(each.position, 0, b"") if each.position in positions else each for each in records]


def scrub(files: PowerLossFiles, journal: SegmentJournal, gone: set[int]) -> None:
    for first in segment_firsts(files.names(FOLDER)):
        size = rewrite(files, FOLDER, first, lambda record: (0, b"") if record.position in gone else None)
        if size is not None:
            assert journal.replace(first, size, draft_path(FOLDER, first))


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=40),
    gone=st.sets(st.integers(1, 40)),
    read_before=st.integers(0, 40),
    more=st.lists(st.integers(0, 60), max_size=5),
)
def test_readers_find_every_other_record_where_it_was(
    sizes: list[int], gone: set[int], read_before: int, more: list[int]
) -> None:
    files = PowerLossFiles(0)
    journal = open_on(files)
    records = fill(journal, sizes)
    reader = JournalReader(files, FOLDER)
    taken: list[Record] = []
    while len(taken) < min(read_before, len(records)):
        taken += reader.read(len(taken) + 1, journal.durable, 100)
    scrub(files, journal, gone)
    records = without(gone, records) + fill(journal, more)
    rest: list[Record] = []
    while found := reader.read(len(taken) + len(rest) + 1, journal.durable, 100):
        rest += found
    assert rest == records[len(taken) :]
    assert reader.damage == [] == journal.damage
    again = open_on(files.power_loss())
    assert again.read(1, 10**6) == records
    assert again.next_position == len(records) + 1


def test_the_bytes_are_gone_from_every_file() -> None:
    files = PowerLossFiles(0)
    journal = open_on(files)
    for number in range(30):
        journal.append(1, b"secret" if number % 3 else b"public")
        journal.commit()
    records = journal.read(1, 10**6)
    scrub(files, journal, {each.position for each in records if each.payload == b"secret"})
    assert len(files.names(FOLDER)) > 1
    assert not any(b"secret" in files.read(FOLDER / name) for name in files.names(FOLDER))
    assert [each.payload for each in journal.read(1, 10**6)] == [b"public", b"", b""] * 10


class Reading(PowerLossFiles):
    """Lets somebody replace the segment in the middle of a read."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.before_read: list[Callable[[], object]] = []

    def read(self, path: Path, start: int = 0, size: int = -1) -> bytes:
        if self.before_read and start:
            self.before_read.pop()()
        return super().read(path, start, size)


@pytest.mark.parametrize("reads", range(4))
def test_a_segment_may_be_replaced_in_the_middle_of_a_read(reads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taihu.journal.scan.CHUNK_BYTES", 700)
    files = Reading(0)
    journal = open_on(files, 100_000)
    records = fill(journal, [100] * 24)
    reader = JournalReader(files, FOLDER)
    files.before_read = [lambda: scrub(files, journal, {2, 3, 7}), *([lambda: None] * reads)]
    found: list[Record] = []
    while len(found) < len(records):
        found += reader.read(len(found) + 1, journal.durable, 10**6)
    assert not files.before_read
    assert [each.position for each in found] == list(range(1, 25))
    assert all(each == records[each.position - 1] or each.position in (2, 3, 7) for each in found)
    assert reader.damage == []


def test_a_segment_that_grew_meanwhile_is_not_replaced() -> None:
    files = PowerLossFiles(0)
    journal = open_on(files, 100_000)
    fill(journal, [5, 5])
    size = rewrite(files, FOLDER, 1, lambda _: (0, b""))
    assert size is not None
    records = fill(journal, [5])
    assert not journal.replace(1, size, draft_path(FOLDER, 1))
    assert journal.read(3) == records
    assert not journal.replace(77, size, draft_path(FOLDER, 1))


def test_nothing_is_written_without_need() -> None:
    files = PowerLossFiles(0)
    fill(open_on(files, 100_000), [5, 5])
    assert rewrite(files, FOLDER, 1, lambda _: None) is None
    assert not any(name.endswith(".draft") for name in files.names(FOLDER))


def test_damaged_bytes_are_blanked_and_what_follows_keeps_its_place() -> None:
    """What cannot be read may be what was deleted."""
    files = PowerLossFiles(0)
    journal = open_on(files, 100_000)
    records = fill(journal, [50] * 6)
    data = files.read(segment_path(FOLDER, 1))
    at = data.index(records[2].payload) + 3
    files.flip_bit(segment_path(FOLDER, 1), at * 8)
    scrub(files, journal, {5})
    assert records[2].payload[8:] not in files.read(segment_path(FOLDER, 1))
    found = JournalReader(files, FOLDER).read(1, 6, 10**6)
    assert found == without({5}, [records[index] for index in (0, 1, 3, 4, 5)])


def test_a_power_loss_leaves_the_old_segment_or_the_new_one() -> None:
    """§4."""
    outcomes = set()
    for seed in range(60):
        files = PowerLossFiles(seed)
        journal = open_on(files, 100_000)
        records = fill(journal, [30] * 8)
        files.lose_power_after(Random(seed).randrange(16))
        with suppress(PowerLost):
            scrub(files, journal, {2, 4})
        found = open_on(files.power_loss(keep_some=bool(seed % 2))).read(1, 10**6)
        assert found in (records, without({2, 4}, records)), seed
        outcomes.add(found == records)
    assert outcomes == {True, False}
