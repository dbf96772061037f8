"""A copy of the folder at any step of a deletion and its erasure is what a kill leaves: nothing comes back (§4)."""

from pathlib import Path
from typing import Any

import duckdb
from tests.history.test_crash import CopyingFiles

from taihu.history.history import History
from taihu.history.manifest import Erasure
from taihu.kernel.clock import SimClock
from taihu.kernel.files import OsFiles
from taihu.kernel.limits import DEFAULT
from taihu.things.batch import Batch
from taihu.things.deletion import Deletion

S = 1_000_000_000
T0 = 1_700_000_000 * S
SECRET = 73_164.25
GONE = Deletion(id="d", project="p", thing="a", property="power", start=T0 + 2 * S, end=T0 + 5 * S)
REMOVED = Deletion(id="e", project="p", thing="b", removes=True)


def journal(make_batch: Any) -> list[Any]:
    """Readings of three things, some secret; two deletions, and readings after them."""
    records: list[Any] = []
    for n in range(8):
        secret = SECRET if 2 <= n < 5 else n / 4
        records.append(make_batch([("a", T0 + n * S, [secret]), ("b", T0 + n * S, [SECRET]), ("c", T0 + n * S, [1.0])]))
    return [*records, GONE, REMOVED, make_batch([("a", T0 + 3 * S, [9.0]), ("c", T0 + 9 * S, [1.0])])]


def take_over(history: History, records: list[Any], first: int, last: int) -> None:
    for position in range(first, last + 1):
        record = records[position - 1]
        if isinstance(record, Batch):
            history.apply(position, record)
        else:
            history.delete(position, record)


def opened(folder: Path, files: OsFiles) -> History:
    return History(folder, files, SimClock(), DEFAULT, lambda _p, _t: {})


def test_a_kill_at_any_step_brings_nothing_back(tmp_path: Path, make_batch: Any) -> None:
    records = journal(make_batch)
    files = CopyingFiles(tmp_path / "h", tmp_path / "copies")
    (tmp_path / "copies").mkdir()
    history = opened(tmp_path / "h", files)
    for last in (3, 6):
        take_over(history, records, last - 2, last)
        history.flush()
    history.compact()
    take_over(history, records, 7, 8)
    with files.copying():
        take_over(history, records, 9, 10)
        files.take()
        while history.maintain():
            files.take()
        take_over(history, records, 11, 11)
        history.flush()
    history.close()
    assert len(files.taken) > 15
    for copy in files.taken[::2]:
        survivor = opened(copy, OsFiles())
        take_over(survivor, records, survivor.checkpoint + 1, len(records))
        left = [reading.value for reading in survivor.read("p", "a", "power", revisions=True)]
        assert left == [0.0, 0.25, 9.0, 1.25, 1.5, 1.75], copy
        assert survivor.read("p", "b", "power") == []
        assert len(survivor.read("p", "c", "power")) == 9
        survivor.flush()
        while survivor.maintain():
            pass
        assert all(one.state is not Erasure.HIDDEN for one in survivor._store.tombstones.all())
        paths = [str(path) for path in copy.glob("*/*/*.parquet")]
        rows = duckdb.execute("SELECT * FROM read_parquet(?, union_by_name = true)", [paths]).fetchall()
        assert len(rows) == 15 and str(SECRET) not in {str(cell) for row in rows for cell in row}, copy
        assert "b" not in survivor._store.catalog.names("p")
        survivor.close()
