"""A copy of the folder at any step of a flush or merge is what a kill leaves: each reading is there once (§4)."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from taihu.history.history import History
from taihu.kernel.clock import SimClock
from taihu.kernel.files import OsFiles
from taihu.kernel.limits import DEFAULT

S = 1_000_000_000
T0 = 1_700_000_000 * S


class CopyingFiles(OsFiles):
    """Takes a copy of the folder before and after everything that is done to its files."""

    def __init__(self, folder: Path, copies: Path) -> None:
        self.folder, self.copies = folder, copies
        self.taken: list[Path] = []
        self.on = False

    def take(self) -> None:
        if self.on:
            self.taken.append(Path(shutil.copytree(self.folder, self.copies / str(len(self.taken)))))

    def sync(self, path: Path) -> None:
        self.take()
        super().sync(path)
        self.take()

    def remove(self, path: Path) -> None:
        self.take()
        super().remove(path)
        self.take()

    @contextmanager
    def copying(self) -> Iterator[None]:
        self.on = True
        yield
        self.take()
        self.on = False


def journal(make_batch: Callable[..., Any]) -> list[Any]:
    """Records in order; the last ones correct and repeat earlier readings."""
    records = [
        make_batch([("a", T0 + n * S, [n / 10]), ("b", T0 + n * S, [float(n)])], model="" if n % 3 else "meter")
        for n in range(12)
    ]
    return [*records, make_batch([("a", T0 + 3 * S, [99.0]), ("a", T0 + 4 * S, [0.4])], model="")]


def replayed(folder: Path, records: list[Any]) -> dict[str, list[Any]]:
    """What a restart on a folder answers, once the journal is replayed from its checkpoint."""
    history = History(folder, OsFiles(), SimClock(), DEFAULT, lambda _p, _t: {})
    for position in range(history.checkpoint + 1, len(records) + 1):
        history.apply(position, records[position - 1])
    found = {thing: history.read("p", thing, "power", revisions=True) for thing in "ab"}
    totals = history.aggregate("p", "power")
    assert totals["a"].count == len(history.read("p", "a", "power")) == 12
    live = {file.path for table in history._store.catalog.tables() for file in table.files}
    assert {path.relative_to(folder).as_posix() for path in folder.glob("*/*/*.parquet")} == live
    history.close()
    return found


@pytest.mark.parametrize("merge", [False, True])
def test_a_kill_at_any_step_loses_and_doubles_nothing(tmp_path: Path, make_batch: Any, merge: bool) -> None:
    """§4."""
    records = journal(make_batch)
    files = CopyingFiles(tmp_path / "h", tmp_path / "copies")
    (tmp_path / "copies").mkdir()
    history = History(tmp_path / "h", files, SimClock(), DEFAULT, lambda _p, _t: {})
    for position, record in enumerate(records[:8], 1):
        history.apply(position, record)
        if position % 3 == 0:
            history.flush()
    with files.copying():
        for position, record in enumerate(records[8:], 9):
            history.apply(position, record)
        history.flush()
        if merge:
            history.compact()
    expected = {thing: history.read("p", thing, "power", revisions=True) for thing in "ab"}
    history.close()
    assert len(expected["a"]) == 13
    assert len(files.taken) >= (9 if merge else 5)
    for copy in files.taken:
        assert replayed(copy, records) == expected


def test_a_query_keeps_the_files_it_began_with(tmp_path: Path, make_batch: Any) -> None:
    history = History(tmp_path / "h", OsFiles(), SimClock(), DEFAULT, lambda _p, _t: {})
    for position in (1, 2):
        history.apply(position, make_batch([("a", T0 + position, [1.0])]))
        history.flush()
    with history._store.snapshot("p", "power") as parts:
        history.compact()
        assert all((tmp_path / "h" / file.path).exists() for part in parts for file in part.files)
    assert len(list((tmp_path / "h").glob("*/*/*.parquet"))) == 1
    history.close()
