"""What every implementation of `things.ports.Journal` must do; another one joins by one factory in `STORAGES`."""

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest

from taihu.journal import SegmentJournal
from taihu.kernel.clock import SimClock
from taihu.kernel.files import Files, OsFiles
from taihu.sim.files import PowerLossFiles
from taihu.things.ports import Journal, Record

Open = Callable[[], Journal]  # opens, and opens again, the journal of one and the same storage
SEGMENT_BYTES = 2_000
LATE_NS = 10**19


def segments_on(files: Files, folder: Path) -> Open:
    return lambda: SegmentJournal(
        files, folder, segment_bytes=SEGMENT_BYTES, retention_bytes=0, retention_s=0, clock=SimClock()
    )


STORAGES: dict[str, Callable[[Path], Open]] = {
    "segments": lambda folder: segments_on(OsFiles(), folder / "journal"),
    "segments on simulated files": lambda folder: segments_on(PowerLossFiles(seed=1), Path("/site/journal")),
}


@pytest.fixture(params=STORAGES)
def open_journal(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    return STORAGES[request.param](tmp_path)


def fill(journal: Journal, count: int, size: int = 100) -> list[Record]:
    """Append `count` records, each committed by itself."""
    records = []
    for _ in range(count):
        position = journal.next_position
        records.append(Record(position, position % 256, f"{position}".encode().ljust(size, b".")))
        assert journal.append(records[-1].kind, records[-1].payload) == position
        journal.commit()
    return records


def read_all(journal: Journal, start: int = 1, bytes_max: int = 1_000) -> list[Record]:
    records: list[Record] = []
    while found := journal.read(start, bytes_max):
        records += found
        start = found[-1].position + 1
    return records


def test_an_empty_journal_starts_at_position_1(open_journal: Open) -> None:
    journal = open_journal()
    assert (journal.next_position, journal.durable, journal.read(1)) == (1, 0, [])
    assert journal.commit() == 0
    assert journal.trim(1, LATE_NS) == 1
    journal.close()


def test_nothing_is_durable_or_read_before_its_commit(open_journal: Open) -> None:
    """§4: acked means durable."""
    journal = open_journal()
    assert [journal.append(1, b"a"), journal.append(2, b"b")] == [1, 2]
    assert (journal.next_position, journal.durable, journal.read(1)) == (3, 0, [])
    assert journal.commit() == 2
    assert (journal.next_position, journal.durable) == (3, 2)
    assert journal.read(1) == [Record(1, 1, b"a"), Record(2, 2, b"b")]
    assert journal.commit() == 2
    journal.close()


def test_reading_starts_anywhere_and_gives_every_record_once_in_order(open_journal: Open) -> None:
    journal = open_journal()
    records = fill(journal, 60)
    for start in (1, 2, 30, 59, 60):
        assert read_all(journal, start) == records[start - 1 :]
    assert journal.read(61) == []
    journal.close()


@pytest.mark.parametrize("bytes_max", [0, 1, 150, 5_000])
def test_a_read_is_bounded_but_never_empty_when_there_is_a_record(open_journal: Open, bytes_max: int) -> None:
    journal = open_journal()
    records = fill(journal, 30)
    found = journal.read(1, bytes_max)
    assert 1 <= len(found) <= bytes_max // 100 + 1
    assert read_all(journal, 1, bytes_max) == records
    journal.close()


@pytest.mark.parametrize("size", [0, 1, 300_000, 1_200_000])
def test_payloads_of_any_size_come_back(open_journal: Open, size: int) -> None:
    journal = open_journal()
    payload = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    for kind in (0, 255):
        journal.append(kind, payload)
    journal.append(7, b"small")
    journal.commit()
    assert read_all(journal) == [Record(1, 0, payload), Record(2, 255, payload), Record(3, 7, b"small")]
    journal.close()


def test_opening_again_goes_on_where_it_ended(open_journal: Open) -> None:
    """§4."""
    journal = open_journal()
    records = fill(journal, 25)
    journal.append(3, b"committed by close")
    journal.close()
    again = open_journal()
    assert (again.next_position, again.durable) == (27, 26)
    records += [Record(26, 3, b"committed by close"), *fill(again, 5)]
    assert read_all(again) == records
    again.close()


def test_what_was_committed_survives_a_process_that_never_closed(open_journal: Open) -> None:
    """§4."""
    records = fill(open_journal(), 25)
    again = open_journal()
    assert read_all(again) == records
    again.close()


def test_trimming_drops_only_what_every_reader_has_passed(open_journal: Open) -> None:
    journal = open_journal()
    records = fill(journal, 100)
    oldest = journal.trim(1, LATE_NS)
    assert oldest == 1
    for keep_from in (50, 100, 101):
        oldest = journal.trim(keep_from, LATE_NS)
        assert 1 < oldest <= keep_from
        assert read_all(journal, 1) == records[oldest - 1 :]
    journal.close()
    again = open_journal()
    assert (again.next_position, again.durable, again.read(1)[0].position) == (101, 100, oldest)
    again.close()


def test_one_thread_commits_while_another_appends(open_journal: Open) -> None:
    journal = open_journal()
    done = Event()

    def commit() -> None:
        while not done.is_set():
            journal.commit()

    thread = Thread(target=commit)
    thread.start()
    for number in range(1, 2_001):
        assert journal.append(1, b"%d" % number) == number
    done.set()
    thread.join()
    assert journal.commit() == 2_000
    assert [int(record.payload) for record in read_all(journal)] == list(range(1, 2_001))
    journal.close()
