"""Which way to write the journal: segment files, with and without preallocation, against SQLite in WAL mode.

Prints for each candidate and group size the median over the runs of groups/s and CPU microseconds a group. One group
is one write and one sync; the sync is real, so run it on the disk that will hold the journal, and quiet.

    python bench/journal_candidates.py [--folder FOLDER] [--runs 5] [--seconds 1.0]
"""

import argparse
import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from taihu.journal import SegmentJournal
from taihu.journal.format import encode_frames
from taihu.kernel.clock import SystemClock
from taihu.kernel.files import OsFiles

SEGMENT_BYTES = 67_108_864
GROUPS = {"100 B": 100, "64 kB": 65_536, "1 MB": 1_048_576}


class Candidate(Protocol):
    def write(self, payload: bytes) -> None: ...

    def close(self) -> None: ...


class Segments:
    """The journal itself."""

    def __init__(self, folder: Path) -> None:
        self._journal = SegmentJournal(
            OsFiles(), folder, segment_bytes=SEGMENT_BYTES, retention_bytes=0, retention_s=0.0, clock=SystemClock()
        )

    def write(self, payload: bytes) -> None:
        self._journal.append(1, payload)
        self._journal.commit()
        self._journal.trim(self._journal.next_position, 0)

    def close(self) -> None:
        self._journal.close()


class Bare:
    """The same frames by bare system calls, into a file whose first `reserved` bytes are allocated ahead.

    `zeroed` also writes them once. With nothing reserved it is the control: what the journal's own code costs.
    """

    def __init__(self, folder: Path, reserved: int, zeroed: bool = False) -> None:
        self._folder = folder
        self._reserved = reserved
        self._zeroed = zeroed
        self._position = 1
        self._fd = -1
        self._roll()

    def write(self, payload: bytes) -> None:
        data = encode_frames(b"markmark", self._position, [(1, payload)])
        if self._offset + len(data) > SEGMENT_BYTES:
            self._roll()
        os.pwrite(self._fd, data, self._offset)
        os.fdatasync(self._fd)
        self._offset += len(data)
        self._position += 1

    def close(self) -> None:
        os.close(self._fd)

    def _roll(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        path = self._folder / "segment"
        path.unlink(missing_ok=True)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        if self._reserved:
            os.posix_fallocate(self._fd, 0, self._reserved)
        if self._zeroed:
            for offset in range(0, SEGMENT_BYTES, 1_048_576):
                os.pwrite(self._fd, bytes(1_048_576), offset)
        os.fsync(self._fd)
        self._offset = 0


class Sqlite:
    """One row a group, one transaction a row, synced at each commit; old rows are deleted as readers pass them."""

    def __init__(self, folder: Path) -> None:
        self._connection = sqlite3.connect(folder / "journal.db", isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute(
            "CREATE TABLE records (position INTEGER PRIMARY KEY, kind INTEGER NOT NULL, payload BLOB NOT NULL)"
        )

    def write(self, payload: bytes) -> None:
        self._connection.execute("INSERT INTO records (kind, payload) VALUES (1, ?)", (payload,))

    def close(self) -> None:
        self._connection.close()


CANDIDATES: dict[str, Callable[[Path], Candidate]] = {
    "segment files": Segments,
    "segments, fallocate": lambda folder: Bare(folder, SEGMENT_BYTES),
    "segments, zeroed": lambda folder: Bare(folder, SEGMENT_BYTES, zeroed=True),
    "SQLite WAL FULL": Sqlite,
    "bare, growing file": lambda folder: Bare(folder, 0),
}


def measure(make: Callable[[Path], Candidate], parent: Path, size: int, seconds: float) -> tuple[float, float]:
    """Groups/s and CPU microseconds a group, over about `seconds`."""
    folder = Path(tempfile.mkdtemp(dir=parent))
    candidate = make(folder)
    payload = os.urandom(size)
    try:
        candidate.write(payload)
        groups = 0
        cpu, start = time.process_time(), time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            candidate.write(payload)
            groups += 1
        return groups / elapsed, (time.process_time() - cpu) / groups * 1e6
    finally:
        candidate.close()
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path.cwd())
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    print(f"{'candidate':<22}" + "".join(f"{name + ' groups/s':>18}{'CPU us':>10}" for name in GROUPS))
    results: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _ in range(options.runs):  # candidates take turns, so that a busy moment of the disk meets them all
        for name, make in CANDIDATES.items():
            for group, size in GROUPS.items():
                run = measure(make, options.folder, size, options.seconds)
                results.setdefault((name, group), []).append(run)
    for name in CANDIDATES:
        line = f"{name:<22}"
        for group in GROUPS:
            rates, cpu_us = zip(*results[name, group], strict=True)
            line += f"{statistics.median(rates):>18.0f}{statistics.median(cpu_us):>10.0f}"
        print(line)


if __name__ == "__main__":
    main()
