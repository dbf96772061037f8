"""§4, §6: chunks of queues on disk: there for whatever snapshot is the last, and nowhere else."""

import asyncio
import errno
import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from taihu.kernel.files import OsFiles
from taihu.runtime.ingest.spool import FileSpool
from taihu.sim.files import PowerLossFiles

FOLDER = Path("/data/spool")


def snapshot(spool: FileSpool) -> None:
    mark = spool.mark()
    spool.sync(mark)
    spool.forget(mark)


def read(spool: FileSpool, number: int) -> bytes | None:
    """What there is without waiting."""
    return spool.get(number, lambda data: None)


def there(folder: Path) -> list[int]:
    """The numbers of the chunks on disk."""
    return sorted(int(path.stem, 16) for path in folder.iterdir())


def test_a_recovery_reads_and_writes_at_once() -> None:
    files = PowerLossFiles(1)
    spool = FileSpool(files, FOLDER)
    spool.put(1, b"one")
    assert not spool.pending and files.names(FOLDER) == ["0000000000000001.queue"]
    assert read(spool, 1) == b"one"


def test_what_a_snapshot_names_survives_power_loss_and_the_next_chunks_need_not() -> None:
    files = PowerLossFiles(2)
    spool = FileSpool(files, FOLDER)
    for number in range(5):
        spool.put(number, b"%d" % number)
    snapshot(spool)
    spool.put(5, b"5")
    after = FileSpool(files.power_loss(), FOLDER)
    assert [read(after, number) for number in range(5)] == [b"%d" % number for number in range(5)]


def test_a_chunk_that_is_used_up_stays_until_there_is_a_snapshot_without_it(tmp_path: Path) -> None:
    async def scene() -> None:
        spool = FileSpool(OsFiles(), tmp_path)
        for number in range(4):
            spool.put(number, b"x")
        (tmp_path / "00000000000000ff.queue").write_bytes(b"of another life")
        spool.drop(0)
        spool.start([1, 2, 3], lambda: None)
        assert there(tmp_path) == [0, 1, 2, 3]
        mark = spool.mark()
        spool.drop(1)
        spool.put(4, b"y")
        spool.sync(mark)
        spool.forget(mark)
        assert there(tmp_path) == [1, 2, 3, 4], "the snapshot needs the first"
        snapshot(spool)
        assert there(tmp_path) == [2, 3, 4]

    asyncio.run(scene())


def test_a_chunk_used_up_before_it_is_written_costs_no_disk_unless_a_snapshot_needs_it(tmp_path: Path) -> None:
    async def scene() -> None:
        spool = FileSpool(OsFiles(), tmp_path)
        spool.start([], lambda: None)
        spool.put(1, b"short")
        spool.put(2, b"marked")
        spool.drop(1)
        assert read(spool, 2) == b"marked"
        mark = spool.mark()
        spool.drop(2)
        spool.sync(mark)
        spool.forget(mark)
        assert there(tmp_path) == [2]
        snapshot(spool)
        assert there(tmp_path) == []

    asyncio.run(scene())


def test_files_are_read_on_a_thread(tmp_path: Path) -> None:
    async def scene() -> None:
        settled: list[str] = []
        files = Reading()
        spool = FileSpool(files, tmp_path)
        spool.start([], lambda: settled.append("settled"))
        spool.put(1, b"one")
        spool.write()
        arrived: asyncio.Queue[bytes] = asyncio.Queue()
        assert spool.get(1, arrived.put_nowait) is None
        assert await arrived.get() == b"one" and settled == ["settled"]
        assert len(files.threads) == 2 and threading.main_thread() not in files.threads

    asyncio.run(scene())


class Reading(OsFiles):
    """Notes who reads, and has no descriptor at first."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def read(self, path: Path, start: int = 0, size: int = -1) -> bytes:
        self.threads.append(threading.current_thread())
        if len(self.threads) == 1:
            raise OSError(errno.EMFILE, "Too many open files")
        return super().read(path, start, size)


@pytest.mark.parametrize(
    "harm", [Path.unlink, lambda path: path.write_bytes(b"torn"), lambda path: path.write_bytes(path.read_bytes()[:-1])]
)
def test_what_is_damaged_is_told_once_and_is_empty(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: Callable[[Path], object]
) -> None:
    spool = FileSpool(OsFiles(), tmp_path)
    spool.put(1, b"precious")
    harm(tmp_path / "0000000000000001.queue")
    with caplog.at_level(logging.ERROR):
        assert read(spool, 1) == b""
    assert len(caplog.records) == 1


def test_a_full_disk_leaves_chunks_in_memory_for_the_next_time() -> None:
    files = PowerLossFiles(3, capacity_bytes=100)
    spool = FileSpool(files, FOLDER)
    spool.put(1, bytes(90))
    spool.put(2, bytes(90))
    assert spool.pending and read(spool, 2) == bytes(90)
    with pytest.raises(OSError, match=r"."):
        spool.write()
    files.capacity_bytes = None
    spool.write()
    assert read(spool, 2) == bytes(90) and files.names(FOLDER) == ["0000000000000001.queue", "0000000000000002.queue"]
