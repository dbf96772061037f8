"""What is kept is what the rules say, at every moment; what expired is in no answer, and soon in no file."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.history.sql.support import views
from tests.history.test_crash import CopyingFiles
from tests.history.test_delete import check, rows_in_files, upkeep
from tests.history.test_store_model import (
    PROPERTIES,
    T0,
    THINGS,
    Row,
    batches,
    remember,
)

from taihu.history.floors import NoRules
from taihu.history.history import History
from taihu.kernel.clock import SimClock
from taihu.kernel.files import Files, OsFiles
from taihu.kernel.limits import DEFAULT
from taihu.kernel.retention import FOREVER, Retention, ages_of
from taihu.things.batch import Batch
from taihu.things.deletion import TIME_MIN, Deletion
from taihu.things.property import Kind, Property

S = 1_000_000_000
MINUTE, HOUR, DAY = 60 * S, 3_600 * S, 86_400 * S
BASE = T0 // DAY * DAY


class Default(NoRules):
    """One rule for all of a project."""

    def __init__(self, rule: Retention) -> None:
        self.rule = rule

    def defaults(self, project: str) -> tuple[Retention, ...]:
        return (self.rule,)


OWN = {
    ("a", "power"): Retention(raw="10m"),
    ("b", "state"): Retention(raw="forever"),
    ("c", "state"): Retention(raw="2m"),
}


def definitions(_project: str, thing: str) -> Mapping[str, Property]:
    return {name: Property(name=name, retention=OWN.get((thing, name))) for name in PROPERTIES}


def spread(batch: dict[str, Any]) -> dict[str, Any]:
    """The same with minutes in the place of seconds."""
    return batch | {"rows": [(thing, T0 + (at - T0) * 60, values) for thing, at, values in batch["rows"]]}


steps = st.lists(
    st.one_of(
        batches().map(spread),
        batches().map(spread),
        st.integers(1, 240),  # seconds go by
        st.sampled_from(["flush", "merge", "reopen", "crash", "upkeep", "hours"]),
    ),
    max_size=14,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps, own=st.booleans())
def test_what_is_kept_equals_a_dict(make_batch: Any, steps: list[Any], own: bool) -> None:
    """Whatever is applied, flushed, merged, expired, reopened and replayed after a crash, however time goes by."""
    rule = Retention(raw="5m")

    def age(thing: str, name: str) -> int:
        return ages_of(OWN.get((thing, name)) if own else None, rule)[0]

    with tempfile.TemporaryDirectory() as folder:
        clock = SimClock(T0 + 13 * MINUTE)

        def opened() -> History:
            known = definitions if own else lambda _p, _t: {}
            return History(Path(folder) / "h", OsFiles(), clock, DEFAULT, known, rules=Default(rule))

        history = opened()
        model: dict[tuple[str, str], list[Row]] = {}
        journal: list[tuple[int, Batch]] = []
        for position, step in enumerate(steps, 1):
            if step == "flush":
                history.flush()
            elif step == "merge":
                history.compact()
            elif step == "upkeep":
                upkeep(history)
            elif step == "hours":
                clock.jump(2 * 3_600)
            elif step == "reopen":
                history.close()
                history = opened()
            elif step == "crash":
                history._store.engine.close()
                history._store.manifest.close()
                history = opened()
                for entry in journal:
                    if entry[0] > history.checkpoint:
                        history.apply(*entry)
            elif isinstance(step, int):
                clock.jump(step)
            else:
                journal.append((position, make_batch(**step)))
                history.apply(*journal[-1])
                remember(model, position, step)
        kept = {
            (thing, name): [row for row in rows if row.observed >= clock.now_ns() - age(thing, name)]
            for (thing, name), rows in model.items()
        }
        check(history, kept)
        history.flush()
        upkeep(history)
        check(history, kept)
        clock.jump(2 * 3_600)  # beyond the slack of every rule
        upkeep(history)
        lasting = {key: rows for key, rows in kept.items() if age(*key) == FOREVER}
        check(history, lasting)
        assert rows_in_files(Path(folder) / "h") <= sum(map(len, lasting.values()))
        history.close()


RULE = Retention(raw="2h", minutes="6h", hours="forever")
KINDS = {
    "power": Property(name="power", kind=Kind.GAUGE, max_age_s=60, retention=RULE),
    "energy": Property(name="energy", kind=Kind.COUNTER, max_age_s=60, retention=RULE),
}


class Site:
    """A meter that reports every 20 s, and a store that keeps its readings for two hours."""

    def __init__(self, folder: Path, make_batch: Any, files: Files, *, sparse: bool = False) -> None:
        self.folder, self.make_batch, self.files = folder, make_batch, files
        self.clock = SimClock(BASE)
        self.every = 20 if sparse else 2
        self.position = 0
        self.journal: list[tuple[int, Batch]] = []
        self.history = self.opened()

    def opened(self) -> History:
        return History(self.folder, self.files, self.clock, DEFAULT, lambda _p, _t: KINDS)

    def hour(self, number: int) -> None:
        """An hour goes by."""
        rows = [
            ("m", BASE + number * HOUR + second * S, [float(number), (number * 3_600 + second) / 10 + 0.05])
            for second in range(0, 3_600, self.every)
        ]
        self.position += 1
        self.journal.append((self.position, self.make_batch(rows, ("power", "energy"))))
        self.history.apply(*self.journal[-1])
        self.clock.jump((BASE + (number + 1) * HOUR - self.clock.now_ns()) / S)
        self.history.flush()
        upkeep(self.history)

    def windows(self, name: str, field: str, hours: int, every: str = "1h", history: History | None = None) -> Any:
        found: Any = (history or self.history).window("p", "m", name, BASE, BASE + hours * HOUR, every)
        return [None if value != value else value for value in getattr(found, field).tolist()]


@pytest.mark.parametrize("sparse", [False, True])
def test_windows_outlive_their_readings(tmp_path: Path, make_batch: Any, sparse: bool) -> None:
    """§3, §10: hours are kept forever and minutes for six hours, of readings kept for two, however few those are."""
    site = Site(tmp_path / "h", make_batch, OsFiles(), sparse=sparse)
    for number in range(10):
        site.hour(number)
        assert site.windows("power", "mean", number + 1) == [float(n) for n in range(number + 1)]
    oldest = BASE + 10 * HOUR - 2 * HOUR
    readings = site.history.read("p", "m", "power")
    assert readings[0].observed_at == oldest and len(readings) == 2 * 3_600 // site.every
    assert site.windows("energy", "increase", 9)[1:] == pytest.approx([360.0] * 8)
    minutes = site.windows("power", "mean", 10, "1m")
    assert minutes[: 4 * 60] == [None] * 240 and minutes[4 * 60 :] == [float(4 + n // 60) for n in range(360)]
    assert site.history.lost("p", "m", "power") == [(TIME_MIN, oldest)]
    site.clock.jump(4 * 3_600)
    upkeep(site.history)
    assert site.history.read("p", "m", "power") == []
    assert raw_times(tmp_path / "h")  # the day is not over, and its window is still to be made
    for seconds in (24 * 3_600, 61):
        site.clock.jump(seconds)
        upkeep(site.history)
    assert site.windows("power", "count", 24, "1d") == [10 * 3_600 // site.every]
    assert raw_times(tmp_path / "h") == []
    assert site.windows("power", "mean", 10) == [float(n) for n in range(10)]
    site.history.close()


def test_sql_answers_as_read_does(tmp_path: Path, make_batch: Any) -> None:
    """Of things and properties with rules of their own, in a file and in the head."""
    clock = SimClock(T0)
    history = History(tmp_path / "h", OsFiles(), clock, DEFAULT, definitions, rules=Default(Retention(raw="5m")))
    rows = [(thing, T0 + n * MINUTE, [float(n), "on"]) for n in range(12) for thing in THINGS]
    history.apply(1, make_batch(rows[:18], ("power", "state")))
    history.flush()
    history.apply(2, make_batch(rows[18:], ("power", "state")))
    clock.jump(12 * 60)
    wanted = {(thing, name, len(history.read("p", thing, name))) for thing in THINGS for name in ("power", "state")}
    assert {count for _, _, count in wanted} == {2, 5, 10, 12}
    with views(history) as connection:
        query = "SELECT thing, property, count(*) FROM readings GROUP BY ALL"
        assert set(connection.execute(query).fetchall()) == wanted
        wide = connection.execute("SELECT thing, count(power), count(state) FROM meter GROUP BY 1").fetchall()
        assert {(thing, "power", n) for thing, n, _ in wide} | {(thing, "state", n) for thing, _, n in wide} == wanted
    history.close()


def raw_times(folder: Path) -> list[int]:
    """The times of all readings in files."""
    paths = [str(path) for path in folder.glob("p/meter-*/*.parquet")]
    if not paths:
        return []
    return [row[0] for row in duckdb.execute("SELECT observed_at FROM read_parquet(?)", [paths]).fetchall()]


def test_a_late_reading_leaves_windows_whose_inputs_expired(tmp_path: Path, make_batch: Any) -> None:
    """§5: it is kept while it is young enough; the hour it falls in, of which a part has expired, stands."""
    site = Site(tmp_path / "h", make_batch, OsFiles())
    for number in range(8):
        site.hour(number)
    site.clock.jump(1_800)  # the floor is at 6:30
    upkeep(site.history)
    rows = [("m", BASE + 6 * HOUR + 45 * MINUTE + S, [600.0, 0.0]), ("m", BASE + 7 * HOUR + S, [700.0, 0.0])]
    site.history.apply(99, make_batch(rows, ("power", "energy")))
    for _ in range(2):
        assert len(site.history.read("p", "m", "power", end=BASE + 7 * HOUR)) == 30 * 60 // 2 + 1
        found = site.windows("power", "mean", 8)
        assert found[:7] == [float(n) for n in range(7)] and found[7] > 7.3
        site.history.flush()
        upkeep(site.history)
    site.history.close()


def test_a_deletion_takes_its_own_windows_and_no_others(tmp_path: Path, make_batch: Any) -> None:
    """§10: an exact delete of what has expired takes its windows; others, which cannot be made again, stay."""
    site = Site(tmp_path / "h", make_batch, OsFiles())
    for number in range(10):
        site.hour(number)
    site.history.delete(50, Deletion(id="d", project="p", thing="m", start=BASE + 3 * HOUR, end=BASE + 4 * HOUR))
    for _ in range(2):
        found = site.windows("power", "mean", 10)
        assert found[3] is None
        assert found[:2] + found[5:] == [0.0, 1.0, 5.0, 6.0, 7.0, 8.0, 9.0]
        upkeep(site.history)
    site.history.close()
    site.history = site.opened()
    assert site.windows("power", "mean", 10)[3] is None
    site.history.close()


def test_a_kill_at_any_step_of_expiry(tmp_path: Path, make_batch: Any) -> None:
    """§4: nothing that is to be kept is lost, nothing that expired comes back."""
    files = CopyingFiles(tmp_path / "h", tmp_path / "copies")
    (tmp_path / "copies").mkdir()
    site = Site(tmp_path / "h", make_batch, files, sparse=True)
    for number in range(5):
        site.hour(number)
    with files.copying():
        site.clock.jump(2 * 3_600)
        upkeep(site.history)
    expected_hours = [float(n) for n in range(5)]
    assert site.windows("power", "mean", 5) == expected_hours
    site.history.close()
    assert len(files.taken) > 8
    for copy in files.taken[::3]:
        survivor = History(copy, OsFiles(), site.clock, DEFAULT, lambda _p, _t: KINDS)
        for entry in site.journal:
            if entry[0] > survivor.checkpoint:
                survivor.apply(*entry)
        for _ in range(2):
            assert survivor.read("p", "m", "power") == []
            assert site.windows("power", "mean", 5, history=survivor) == expected_hours
            upkeep(survivor)
        survivor.close()


def test_things_of_one_rule_are_rolled_together_whatever_else_tells_them_apart(tmp_path: Path, make_batch: Any) -> None:
    titles = {thing: {"power": Property(name="power", max_age_s=60, title=f"of {thing}")} for thing in "ab"}
    clock = SimClock(BASE)
    history = History(tmp_path / "h", OsFiles(), clock, DEFAULT, lambda _p, thing: titles[thing])
    rows = [(thing, BASE + second * 2 * S, [float(ord(thing))]) for second in range(16_000) for thing in "ab"]
    history.apply(1, make_batch(rows))
    clock.jump(10 * 3_600)
    history.flush()
    upkeep(history)
    assert history._store.catalog.rolled
    for thing in "ab":
        found: Any = history.window("p", thing, "power", BASE, BASE + 6 * HOUR, "1m")
        assert set(found.mean.tolist()) == {float(ord(thing))}
    history.close()
