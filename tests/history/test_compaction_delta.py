"""Merged files: what climbs, what is kept, and that an engine of others reads them through the Delta log."""

from pathlib import Path
from typing import Any

import deltalake
import pytest

from taihu.history import compaction
from taihu.kernel.clock import SimClock
from taihu.kernel.files import AppendFile, OsFiles

S = 1_000_000_000
T0 = 1_700_000_000 * S


def test_small_files_climb_and_readings_stay(open_history: Any, make_batch: Any) -> None:
    history = open_history()
    for position in range(1, 8 * 8 + 1):
        value = [position / 10, 1.25, 7, True, "on", 1e300][position % 6]
        history.apply(position, make_batch([("a", T0 + position * S, [value]), ("b", T0 + position * S, [0.5])]))
        history.flush()
        while history.maintain():
            pass
    assert history.stats()["files"] == 1
    values = [reading.value for reading in history.read("p", "a", "power")]
    assert values == [[n / 10, 1.25, 7, True, "on", 1e300][n % 6] for n in range(1, 65)]
    assert history.stats()["rows"] == 128
    history.close()


def test_decimals_come_together(open_history: Any, make_batch: Any) -> None:
    """Files whose values had other decimals merge into one column; the odd value keeps its double."""
    history = open_history()
    readings: list[float] = []
    for position, scale in enumerate([1, 10, 100, 1000, 10, 1], 1):
        readings += [n / scale for n in range(position * 100, position * 100 + 40)]
    readings += [0.1 + 0.2, 9_007_199_254_740_991.0]
    for position in range(0, len(readings), 40):
        rows = [("a", T0 + (position + n) * S, [value]) for n, value in enumerate(readings[position : position + 40])]
        history.apply(position + 1, make_batch(rows))
        history.flush()
    history.compact()
    (file,) = history._store.catalog.tables()[0].files
    assert file.forms == ("power", "power__d3")
    assert [reading.value for reading in history.read("p", "a", "power")] == readings
    history.close()


def test_no_file_grows_beyond_its_bound(open_history: Any, make_batch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "ROWS_MAX", 100)
    history = open_history()
    for position in range(1, 40):
        history.apply(position, make_batch([("a", T0 + (position * 10 + n) * S, [1.0]) for n in range(10)]))
        history.flush()
        while history.maintain():
            pass
    history.compact()
    assert max(file.rows for table in history._store.catalog.tables() for file in table.files) <= 100
    assert len(history.read("p", "a", "power")) == 390
    history.close()


def test_others_read_the_files_through_the_delta_log(
    open_history: Any, make_batch: Any, tmp_path: Any, clock: SimClock
) -> None:
    """Read by DataFusion: int64 times keep their nanoseconds, decimals are right, new columns appear."""
    history = open_history()
    for position in range(1, 41):
        names = ("power",) if position <= 20 else ("power", "note")
        history.apply(position, make_batch([("a", T0 + position, [position / 4, "x"][: len(names)])], names))
        history.flush()
        while history.maintain():
            pass
    folder = str(next((tmp_path / "history" / "p").glob("meter-*")))
    table = deltalake.DeltaTable(folder)
    query = deltalake.QueryBuilder().register("t", table)
    statement = 'select count(*) n, max(observed_at) m, sum("power__d2") d, count("note__text") t from t'
    row = {name: column.to_pylist() for name, column in columns(query.execute(statement))}
    merged = sum(f.rows for f in history._store.catalog.tables()[0].files if f.level)
    assert row["n"] == [merged]
    assert row["m"] == [T0 + merged]
    assert merged == 40
    assert (float(row["d"][0]), row["t"]) == (sum(n / 4 for n in range(1, 41)), [20])
    history.close()
    history = open_history()
    assert len(history.read("p", "a", "power")) == 40
    history.close()


def columns(result: Any) -> list[tuple[str, Any]]:
    table = result.read_all()
    return [(name, table[name]) for name in table.column_names]


class FullDisk(OsFiles):
    """Takes nothing more in files that are appended to."""

    def append(self, path: Path) -> AppendFile:
        if path.suffix == ".parquet":
            path.touch()
            raise OSError(28, "No space left on device")
        return super().append(path)


def test_a_full_disk_leaves_all_as_it_was(
    tmp_path: Path, open_history: Any, make_batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = open_history()
    for position in range(1, 9):
        history.apply(position, make_batch([("a", T0 + position * S, [position / 4])]))
        history.flush()
    with monkeypatch.context() as patched:
        patched.setattr(history._store, "files", FullDisk())
        with pytest.raises(OSError, match="space"):
            history.maintain()
    live = {file.path for table in history._store.catalog.tables() for file in table.files}
    found = tmp_path.glob("history/*/*/*.parquet")
    assert {path.relative_to(tmp_path / "history").as_posix() for path in found} == live
    assert history.maintain()
    assert history.stats()["files"] == 1
    assert [reading.value for reading in history.read("p", "a", "power")] == [n / 4 for n in range(1, 9)]
    history.close()


def test_long_texts_go_a_few_rows_at_a_time(open_history: Any, make_batch: Any) -> None:
    """§6: what a merge holds in memory is bounded by bytes, not only by rows."""
    history = open_history()
    for position in (1, 2):
        rows = [("a", T0 + (position * 2000 + n) * S, [f"{n} " * 2_500]) for n in range(1_100)]
        history.apply(position, make_batch(rows, ("note",)))
        history.flush()
    history.compact()
    (file,) = history._store.catalog.tables()[0].files
    path = str(history._store.folder / file.path)
    groups = "SELECT max(row_group_num_rows) FROM parquet_metadata(?)"
    ((most,),) = history._store.cursor().execute(groups, [path]).fetchall()
    assert 1_024 <= most < file.rows == 2_200
    first = history.read("p", "a", "note", limit=3)
    assert [reading.value for reading in first] == [f"{n} " * 2_500 for n in range(3)]
    history.close()
