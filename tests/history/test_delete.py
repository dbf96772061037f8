"""A deletion is exact: at once no answer holds what it is of, and once it is erased no file does."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.history.test_store_model import (
    PROPERTIES,
    T0,
    THINGS,
    Row,
    answer,
    batches,
    expected,
    is_number,
    remember,
    same_flags,
    times,
)

from taihu.history.history import History
from taihu.history.manifest import Erasure
from taihu.kernel.clock import SimClock
from taihu.kernel.files import OsFiles
from taihu.kernel.limits import DEFAULT
from taihu.things.batch import Batch
from taihu.things.deletion import TIME_MAX, TIME_MIN, Deletion
from taihu.things.property import Kind, Property

S = 1_000_000_000
Opener = Callable[..., History]


@st.composite
def deletions(draw: st.DrawFn) -> Deletion:
    start, end = sorted(draw(st.tuples(times, times)))
    bounded = draw(st.booleans())
    return Deletion(
        id="",
        project="p",
        thing=draw(st.sampled_from(["", *THINGS])),
        property=draw(st.sampled_from(["", *PROPERTIES])),
        start=start if bounded else TIME_MIN,
        end=end if bounded else TIME_MAX,
    )


steps = st.lists(
    st.one_of(batches(), batches(), deletions(), st.sampled_from(["flush", "merge", "reopen", "crash", "upkeep"])),
    max_size=14,
)
Journal = list[tuple[int, Batch | Deletion]]


def take_over(history: History, journal: Journal) -> None:
    for position, record in journal:
        if isinstance(record, Deletion):
            history.delete(position, record)
        else:
            history.apply(position, record)


def upkeep(history: History) -> None:
    while history.maintain():
        pass


def rows_in_files(folder: Path) -> int:
    paths = [str(path) for path in folder.glob("*/*/*.parquet")]
    if not paths:
        return 0
    found = duckdb.execute("SELECT count(*) FROM read_parquet(?, union_by_name = true)", [paths]).fetchone()
    assert found
    return int(found[0])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_what_is_left_equals_a_dict(make_batch: Any, steps: list[Any]) -> None:
    """Whatever is applied, deleted, flushed, merged, erased, reopened and replayed after a crash, in any order."""
    with tempfile.TemporaryDirectory() as folder:

        def opened() -> History:
            return History(Path(folder) / "h", OsFiles(), SimClock(T0 + 10**12), DEFAULT, lambda _p, _t: {})

        history = opened()
        model: dict[tuple[str, str], list[Row]] = {}
        journal: Journal = []
        for position, step in enumerate(steps, 1):
            if step == "flush":
                history.flush()
            elif step == "merge":
                history.compact()
            elif step == "upkeep":
                upkeep(history)
            elif step == "reopen":
                history.close()
                history = opened()
            elif step == "crash":  # what was not flushed is lost, and replayed from the journal
                history._store.engine.close()
                history._store.manifest.close()
                history = opened()
                take_over(history, [entry for entry in journal if entry[0] > history.checkpoint])
            elif isinstance(step, Deletion):
                step = msgspec.structs.replace(step, id=str(position))
                journal.append((position, step))
                history.delete(position, step)
                history.delete(position, step)  # replay is harmless
                for (thing, name), rows in model.items():
                    rows[:] = [row for row in rows if not step.covers(thing, name, row.observed)]
            else:
                journal.append((position, make_batch(**step)))
                take_over(history, journal[-1:])
                remember(model, position, step)
        check(history, model)
        history.flush()
        upkeep(history)
        assert all(one.state >= Erasure.UNFILED for one in history._store.tombstones.all())
        check(history, model)
        if any(isinstance(step, Deletion) for step in steps) and not any(model.values()):
            assert rows_in_files(Path(folder) / "h") <= sum(
                value is None for step in steps if isinstance(step, dict) for row in step["rows"] for value in row[2]
            )
        history.close()


def check(history: History, model: dict[tuple[str, str], list[Row]]) -> None:
    """The history answers what the model has, in every way it is asked."""
    for thing in THINGS:
        for name in PROPERTIES:
            rows = model.get((thing, name), [])
            flagged = same_flags(expected(rows, revisions=False))
            assert answer(history, thing, name) == flagged
            assert answer(history, thing, name, revisions=True) == same_flags(expected(rows, revisions=True))
            assert answer(history, thing, name, order="desc", limit=2) == flagged[::-1][:2]
            assert len(history.read_many("p", list(THINGS), name).get(thing, ())) == len(flagged)
    for name in PROPERTIES:
        totals = history.aggregate("p", name)
        for thing in THINGS:
            left = expected(model.get((thing, name), []), revisions=False)
            assert (totals[thing].count if thing in totals else 0) == sum(is_number(row.value) for row in left)


def minutes(values: list[float | None], start: int = T0) -> list[tuple[str, int, list[float]]]:
    """A reading every second of each minute that has a value."""
    return [
        ("a", start + (minute * 60 + second) * S, [value])
        for minute, value in enumerate(values)
        if value is not None
        for second in range(60)
    ]


GAUGE = {"power": Property(name="power", kind=Kind.GAUGE, max_age_s=60)}
BASE = T0 // (86_400 * S) * 86_400 * S


@pytest.fixture
def rolled(open_history: Opener, clock: SimClock, make_batch: Any) -> Iterator[History]:
    """Eight hours of seconds, with rollups of them."""
    clock.jump((BASE + 9 * 3_600 * S - clock.now_ns()) / S)
    history = open_history(properties=GAUGE)
    for position, hour in enumerate(range(8), 1):
        history.apply(position, make_batch(minutes([float(hour)] * 60, BASE + hour * 3_600 * S)))
    history.flush()
    upkeep(history)
    assert {key[3] for key in history._store.catalog.rolled} >= {"1m"}
    with closing(history):
        yield history


def means(history: History, every: str = "1h") -> list[float | None]:
    found: Any = history.window("p", "a", "power", BASE, BASE + 8 * 3_600 * S, every)
    return [None if value != value else value for value in found.mean.tolist()]


def test_windows_are_of_what_is_left_at_once_and_when_rolled_again(rolled: History) -> None:
    """§3, §5, §10: a window whose readings are gone is missing, those at the edges are of the rest."""
    hour = 3_600 * S
    start, end = BASE + 2 * hour, BASE + 4 * hour
    assert means(rolled) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    rolled.delete(9, Deletion(id="d", project="p", thing="a", property="power", start=start, end=end))
    left = [0.0, 1.0, None, None, 4.0, 5.0, 6.0, 7.0]
    assert means(rolled) == left
    upkeep(rolled)
    assert means(rolled) == left
    assert rolled.lost("p", "a", "power") == [(start, end)]
    assert not any(entry.late for entry in rolled._store.catalog.rolled.values())


def test_no_rollup_holds_what_was_deleted(rolled: History, tmp_path: Path) -> None:
    hour = 3_600 * S
    rolled.delete(9, Deletion(id="d", project="p", thing="a", start=BASE + 5 * hour, end=BASE + 6 * hour))
    upkeep(rolled)
    for path in (tmp_path / "history").glob("p/*/*.parquet"):
        names = [row[0] for row in duckdb.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(path)]).fetchall()]
        for name in names[6:]:
            found = duckdb.execute(f'SELECT count(*) FROM read_parquet(?) WHERE "{name}" = 5', [str(path)]).fetchone()
            assert found == (0,), (path.parent.name, name)


def test_a_removed_things_name_goes_from_the_store(open_history: Opener, make_batch: Any, tmp_path: Path) -> None:
    history = open_history()
    history.apply(1, make_batch([("Annas-flat", T0, [1.0]), ("b", T0, [2.0])]))
    history.flush()
    history.apply(2, make_batch([("Annas-flat", T0 + S, [1.5]), ("b", T0 + S, [2.5])]))
    history.flush()
    history.compact()  # so that there is a Delta log and a list of names
    history.delete(3, Deletion(id="d", project="p", thing="Annas-flat", removes=True))
    upkeep(history)
    for path in [*(tmp_path / "history").rglob("*")]:
        if path.is_file() and path.suffix != ".sqlite" and "sqlite" not in path.name:
            assert b"Annas-flat" not in path.read_bytes(), path
    names = duckdb.execute(
        "SELECT name FROM read_parquet(?)", [str(tmp_path / "history" / "p" / "things.parquet")]
    ).fetchall()
    assert names == [("/0",), ("b",)]
    history.apply(4, make_batch([("Annas-flat", T0, [7.0])]))  # it comes again: a new thing of that name
    assert [reading.value for reading in history.read("p", "Annas-flat", "power")] == [7.0]
    history.close()
    again = open_history()
    again.apply(4, make_batch([("Annas-flat", T0, [7.0])]))
    assert [reading.value for reading in again.read("p", "Annas-flat", "power")] == [7.0]
    assert [reading.value for reading in again.read("p", "b", "power")] == [2.0, 2.5]
    again.close()


def test_a_removed_project_leaves_nothing(open_history: Opener, make_batch: Any, tmp_path: Path) -> None:
    history = open_history()
    for position in (1, 2):
        history.apply(position, make_batch([("a", T0 + position, [1.0])]))
        history.apply(position + 10, make_batch([("a", T0 + position, [5.0])], project="q"))
        history.flush()
    history.compact()
    history.delete(20, Deletion(id="d", project="p", removes=True))
    assert history.read("p", "a", "power") == []
    upkeep(history)
    assert not (tmp_path / "history" / "p").exists()
    assert history._store.catalog.tables("p") == []
    assert [reading.value for reading in history.read("q", "a", "power")] == [5.0, 5.0]
    history.apply(21, make_batch([("a", T0, [2.0])]))
    history.close()
    again = open_history()
    assert [reading.value for reading in again.read("p", "a", "power")] == [2.0]
    again.close()


def test_a_query_that_reads_a_replaced_file_holds_up_the_erasure(open_history: Opener, make_batch: Any) -> None:
    """It ends as soon as the query does: until then the disk still has the bytes."""
    history = open_history()
    history.apply(1, make_batch([("a", T0, [1.0]), ("b", T0, [1.0])]))
    history.flush()
    with history._store.snapshot("p", "power"):
        history.delete(2, Deletion(id="d", project="p", thing="a"))
        upkeep(history)
        assert history._store.tombstones.pending()
    upkeep(history)
    assert not history._store.tombstones.pending()
    history.close()
