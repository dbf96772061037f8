"""The segment files: rolling, failing disks, retention and lag."""

import errno
from pathlib import Path

import pytest

from taihu.journal import JournalReader, SegmentJournal
from taihu.journal.format import RECORD_BYTES_MAX, decode_header, encode_frames, segment_path
from taihu.kernel.clock import NS_PER_S, SimClock
from taihu.kernel.errors import LimitError, LocalError
from taihu.sim.files import PowerLossFiles

FOLDER = Path("/site/journal")
CLOCK = SimClock()


def journal_on(
    files: PowerLossFiles, clock: SimClock = CLOCK, retention_bytes: int = 0, retention_s: float = 0
) -> SegmentJournal:
    return SegmentJournal(
        files, FOLDER, segment_bytes=1_000, retention_bytes=retention_bytes, retention_s=retention_s, clock=clock
    )


def put(journal: SegmentJournal, *payloads: bytes) -> None:
    for payload in payloads:
        journal.append(1, payload)
    journal.commit()


def payloads(journal: SegmentJournal) -> list[bytes]:
    return [record.payload for record in journal.read(1)]


def test_a_group_is_one_write_and_one_sync() -> None:
    files = PowerLossFiles(0)
    journal = journal_on(files)
    put(journal, b"first")
    before = files.operations.copy()
    put(journal, *[b"x" * 10] * 20)
    assert files.operations - before == {"write": 1, "datasync": 1}


def test_a_full_disk_keeps_the_records_and_recovers_when_there_is_room() -> None:
    """§4, §6: nothing is half acked, nothing is lost, order is kept."""
    files = PowerLossFiles(3)
    journal = journal_on(files)
    put(journal, b"before")
    size = files.size(FOLDER / files.names(FOLDER)[0])
    files.capacity_bytes = size + 50
    for number in range(5):
        journal.append(1, b"%d" % number * 40)
        with pytest.raises(OSError) as caught:
            journal.commit()
        assert caught.value.errno == errno.ENOSPC
        assert journal.durable == 1
        assert files.size(FOLDER / files.names(FOLDER)[0]) == size
    files.capacity_bytes = None
    assert journal.commit() == 6
    assert payloads(journal) == [b"before", *(b"%d" % number * 40 for number in range(5))]
    assert payloads(journal_on(files.power_loss())) == payloads(journal)


def test_a_disk_too_full_for_the_next_segment_recovers_too() -> None:
    files = PowerLossFiles(3)
    journal = journal_on(files)
    put(journal, b"a" * 950)
    files.capacity_bytes = files.size(FOLDER / files.names(FOLDER)[0]) + 20
    journal.append(1, b"b" * 500)
    for _ in range(3):
        with pytest.raises(OSError, match="No space"):
            journal.commit()
    files.capacity_bytes = None
    assert journal.commit() == 2
    assert payloads(journal) == [b"a" * 950, b"b" * 500]
    assert journal.damage == []


@pytest.mark.parametrize("truncate_fails", [False, True])
@pytest.mark.parametrize("keep_some", [False, True])
def test_after_a_failed_sync_the_group_goes_to_a_new_segment(truncate_fails: bool, keep_some: bool) -> None:
    """§4: a later sync of the same file may succeed without having written the bytes."""
    files = PowerLossFiles(5)
    journal = journal_on(files)
    put(journal, b"before")
    journal.append(1, b"group")
    files.fail("datasync")
    if truncate_fails:
        files.fail("truncate")
    with pytest.raises(OSError, match="Input/output"):
        journal.commit()
    journal.append(1, b"later")
    assert (journal.durable, payloads(journal)) == (1, [b"before"])
    assert journal.commit() == 3
    assert len(files.names(FOLDER)) == 2
    for found in (files, files.power_loss(keep_some)):
        reader = JournalReader(found, FOLDER)
        assert [record.payload for record in reader.read(1, 3)] == [b"before", b"group", b"later"]
        assert reader.damage == []


def test_syncs_that_go_on_failing_use_no_trusted_tail() -> None:
    """§4."""
    files = PowerLossFiles(5)
    journal = journal_on(files)
    readers: list[JournalReader] = []
    put(journal, b"before")
    journal.append(1, b"group")
    for operation in ("datasync", "datasync", "sync", "datasync", "write", "datasync"):
        files.fail(operation)
        with pytest.raises(OSError, match="Input/output"):
            journal.commit()
        readers.append(JournalReader(files, FOLDER))
        assert len(readers[-1].read(1, journal.durable)) == 1
        assert journal.trim(2, CLOCK.now_ns()) == 1, "the next segment holds nothing durable that could stand for it"
    assert journal.commit() == 2
    for reader in readers:
        assert len(reader.read(1, 2)) == 2
        assert reader.damage == []
    again = journal_on(files.power_loss())
    assert (payloads(again), again.damage) == ([b"before", b"group"], [])


def test_records_appended_during_a_failing_commit_come_after_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    files = PowerLossFiles(0)
    journal = journal_on(files)
    sync = files.sync

    def appends_then_fails(path: Path) -> None:
        monkeypatch.setattr(files, "sync", sync)
        journal.append(1, b"second")
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files, "sync", appends_then_fails)
    journal.append(1, b"first")
    with pytest.raises(OSError, match="Input/output"):
        journal.commit()
    assert journal.commit() == 2
    assert payloads(journal) == [b"first", b"second"]


def test_what_a_killed_process_wrote_but_did_not_sync_is_synced_on_opening() -> None:
    """§4: what opening reports durable survives, too."""
    files = PowerLossFiles(0)
    put(journal_on(files), b"first")
    path = segment_path(FOLDER, 1)
    header = decode_header(files.read(path))
    assert header
    files.append(path).write(encode_frames(header.mark, 2, [(1, b"second")]))
    assert journal_on(files).durable == 2
    assert payloads(journal_on(files.power_loss())) == [b"first", b"second"]


def test_retention_keeps_passed_segments_up_to_its_size_and_age() -> None:
    files, clock = PowerLossFiles(0), SimClock()
    journal = journal_on(files, clock, retention_bytes=5_500, retention_s=1_000)
    for _ in range(9):
        put(journal, b"x" * 900)
        clock.advance(100)
    assert journal.trim(1, clock.now_ns()) == 1
    assert journal.trim(10, clock.now_ns()) == 5
    assert journal.trim(10, clock.now_ns() + 650 * NS_PER_S) == 6
    assert journal.trim(8, clock.now_ns() + 10_000 * NS_PER_S) == 8
    assert journal.trim(10, clock.now_ns() + 10_000 * NS_PER_S) == 9
    assert len(files.names(FOLDER)) == 1


def test_lag_counts_the_unread_bytes() -> None:
    files = PowerLossFiles(0)
    journal = journal_on(files)
    assert journal.lag_bytes(1) == 0
    for _ in range(10):
        put(journal, b"x" * 900)
    total = sum(files.size(FOLDER / name) for name in files.names(FOLDER))
    assert journal.lag_bytes(1) == total
    assert journal.lag_bytes(6) == total / 2
    assert journal.lag_bytes(11) == 0


def test_a_trim_under_a_reader_lets_it_go_on_with_what_is_kept() -> None:
    files = PowerLossFiles(0)
    journal = journal_on(files)
    for _ in range(6):
        put(journal, b"x" * 900)
    reader = JournalReader(files, FOLDER)
    assert [record.position for record in reader.read(1, 6, 1_000)] == [1, 2]
    assert journal.trim(5, 0) == 5
    assert files.power_loss().names(FOLDER) == files.names(FOLDER)
    assert [record.position for record in reader.read(3, 6)] == [5, 6]
    assert reader.damage == []


def test_going_on_reading_opens_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    files = PowerLossFiles(0)
    journal = SegmentJournal(files, FOLDER, segment_bytes=10**7, retention_bytes=0, retention_s=0, clock=CLOCK)
    for _ in range(300):
        put(journal, b"x" * 10_000)
    starts: list[int] = []
    read = files.read

    def spy(path: Path, start: int = 0, size: int = -1) -> bytes:
        starts.append(start)
        return read(path, start, size)

    monkeypatch.setattr(files, "read", spy)
    position = 1
    while found := journal.read(position, 500_000):
        position = found[-1].position + 1
    assert position == 301
    assert len(starts) < 30
    beyond = [start for start in starts if start]  # the header tells whether it is still the same segment
    assert beyond == sorted(beyond), "only ever forward"
    assert len(beyond) < 20


def test_what_no_segment_could_hold_is_refused_at_once() -> None:
    journal = journal_on(PowerLossFiles(0))
    with pytest.raises(LimitError, match="split the batch"):
        journal.append(1, bytes(RECORD_BYTES_MAX + 1))
    for kind in (-1, 256):
        with pytest.raises(LocalError, match="0 to 255"):
            journal.append(kind, b"")
    assert (journal.next_position, journal.commit()) == (1, 0)
