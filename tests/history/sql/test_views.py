"""The views say what `History.read` says: head and files together, corrections resolved, nothing twice or missing."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from tests.history.sql.support import known, views
from tests.history.test_store_model import T0, THINGS, Row, expected, remember, steps, times

from taihu.history.history import History
from taihu.history.sql.prepared import described
from taihu.history.sql.sources import Bounds
from taihu.kernel.clock import SimClock
from taihu.kernel.files import OsFiles
from taihu.kernel.limits import DEFAULT
from taihu.things.batch import FLAG_STAMPED, FLAG_SUSPECT
from taihu.things.deletion import Deletion
from taihu.things.property import Kind, Property, Thing

S = 1_000_000_000
READINGS = (
    "SELECT thing, property, epoch_ns(observed_at), seq, epoch_ns(received_at), quality, value, text FROM readings "
    "ORDER BY epoch_ns(observed_at), quality = 'stamped', seq"
)


def quality_of(flags: int) -> str:
    return "suspect" if flags & FLAG_SUSPECT else "stamped" if flags & FLAG_STAMPED else "good"


def as_value(value: Any) -> float | None:
    """The column `value`: numbers, and booleans as 0 and 1; an integer beyond 64 bits is kept as text."""
    if isinstance(value, str | list) or not isinstance(value, float | int):
        return None
    return float(value) if isinstance(value, float) or -(2**63) <= value < 2**63 else None


def as_text(value: Any) -> str | None:
    """The column `text`: all else, strings as they are."""
    if as_value(value) is not None:
        return None
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def as_reading(row: Row) -> tuple[Any, ...]:
    return row.observed, row.seq, row.received, quality_of(row.flags), as_value(row.value), as_text(row.value)


def by_quality(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    return sorted(map(as_reading, rows), key=lambda row: (row[0], row[3] == "stamped", row[1]))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps, cut=times)
def test_readings_are_those_of_read(make_batch: Any, steps: list[Any], cut: int) -> None:
    """§1, §4, §5: whatever came in whatever order, in the head or in files."""
    with tempfile.TemporaryDirectory() as folder:
        history = History(Path(folder), OsFiles(), SimClock(T0 + 10**12), DEFAULT, lambda _p, _t: {})
        model: dict[tuple[str, str], list[Row]] = {}
        tables: dict[str, dict[tuple[str, str], list[Row]]] = {"meter": {}, "": {}}
        for position, step in enumerate(steps, 1):
            if step == "flush":
                history.flush()
            elif step == "merge":
                history.compact()
            elif step != "reopen":
                history.apply(position, make_batch(**step))
                remember(model, position, step)
                remember(tables[step["model"]], position, step)
        with views(history) as connection:
            shown: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
            for thing, name, *reading in connection.execute(READINGS).fetchall():
                shown.setdefault((thing, name), []).append(tuple(reading))
            assert shown == {key: by_quality(expected(rows, revisions=False)) for key, rows in model.items()}
            check_wide(connection, history, tables)
        with views(history, bounds=Bounds(cut, things=frozenset("ab"))) as connection:
            found = connection.execute("SELECT thing, property, count(*) FROM readings GROUP BY ALL").fetchall()
            later = {
                key: [row for row in expected(rows, revisions=False) if row.observed >= cut]
                for key, rows in model.items()
            }
            assert {key: len(rows) for key, rows in later.items() if key[0] in "ab" and rows} == {
                (thing, name): count for thing, name, count in found
            }
        history.close()


def check_wide(connection: Any, history: History, tables: dict[str, dict[tuple[str, str], list[Row]]]) -> None:
    """Each cell of a wide view is a current reading of its own table."""
    for table in history.store.catalog.tables("p"):
        view = {"meter": "meter", "": "untyped"}[table.model]
        have = [row[0] for row in connection.execute(f"DESCRIBE {view}").fetchall()]
        for name, column in table.columns.items():
            texts = [text for text in (f"{column}__text", column) if text in have][:1]
            for thing in THINGS:
                current = expected(tables[table.model].get((thing, name), []), revisions=False)
                cells = connection.execute(
                    f'SELECT epoch_ns(observed_at), quality, "{column}", "{texts[0]}" FROM {view} WHERE thing = ? '
                    f'AND ("{column}" IS NOT NULL OR "{texts[0]}" IS NOT NULL)',
                    [thing],
                ).fetchall()
                assert sorted((at, value_in(cell, text)) for at, _, cell, text in cells) == sorted(
                    (row.observed, value_in(as_value(row.value), as_text(row.value))) for row in current
                )


def value_in(number: Any, text: Any) -> tuple[float, str]:
    """A cell in one form, whichever column it is in."""
    return (0.0, str(text)) if isinstance(number, str) or number is None else (float(number), "")


def test_rows_of_a_wide_view(open_history: Any, make_batch: Any) -> None:
    """A row is a message; a value that was corrected is null there, a message that was repeated is there once."""
    history = open_history()
    history.apply(1, make_batch([("a", T0, (1.5, 10)), ("b", T0, (2.5, 11))], ("power", "energy")))
    history.flush()
    history.apply(2, make_batch([("a", T0, (7.5,))]))
    history.apply(3, make_batch([("a", T0 + S, (3.25, 12))], ("power", "energy")))
    history.apply(4, make_batch([("a", T0 + S, (3.25, 12))], ("power", "energy")))
    with views(history) as connection:
        rows = connection.execute("SELECT thing, power, energy FROM meter ORDER BY ALL").fetchall()
        assert rows == [("a", 3.25, 12), ("a", 7.5, None), ("a", None, 10), ("b", 2.5, 11)]
    history.close()


def test_a_flush_and_a_merge_change_no_answer(open_history: Any, make_batch: Any) -> None:
    history = open_history()
    answers = []

    def look() -> None:
        with views(history) as connection:
            for view in ("meter", "readings"):
                answers.append(connection.execute(f"SELECT * FROM {view} ORDER BY ALL").fetchall())

    for position in range(1, 5):
        rows = [("ab"[n % 2], T0 + n * S, (n / 4 + position, "on" if n % 3 else "off")) for n in range(20)]
        history.apply(position, make_batch(rows, ("power", "mode")))
        if position < 4:
            history.flush()
    look()
    history.flush()
    look()
    history.compact()
    look()
    assert answers[0] == answers[2] == answers[4] and answers[1] == answers[3] == answers[5]
    assert len(answers[1]) == 40
    history.close()


def test_units_and_kinds_are_those_of_the_definitions(open_history: Any, make_batch: Any) -> None:
    """§2: also where things define a property of one name differently."""
    history = open_history()
    history.apply(1, make_batch([("a", T0, (1.5, 1)), ("b", T0, (2.5, 2))], ("power", "count")))
    watts, kilowatts = Property(name="power", unit="W"), Property(name="power", unit="kW")
    count = Property(name="count", kind=Kind.COUNTER)
    sets = {"a": {"power": watts, "count": count}, "b": {"power": kilowatts, "count": count}}
    about = msgspec.structs.replace(known(Thing(name="a", model="meter", tags=("x",)), Thing(name="b", model="meter")))
    about = msgspec.structs.replace(about, definitions=lambda _project, thing: sets[thing])
    with views(history, about) as connection:
        found = connection.execute("SELECT thing, property, unit, kind FROM readings ORDER BY 1, 2").fetchall()
        assert found == [
            ("a", "count", None, "counter"),
            ("a", "power", "W", "gauge"),
            ("b", "count", None, "counter"),
            ("b", "power", "kW", "gauge"),
        ]
        listed = 'SELECT thing, property, "view", "column", unit FROM properties ORDER BY 1, 2'
        assert connection.execute(listed).fetchall() == [
            ("a", "count", "meter", "count", None),
            ("a", "power", "meter", "power", "W"),
            ("b", "count", "meter", "count", None),
            ("b", "power", "meter", "power", "kW"),
        ]
        assert connection.execute("SELECT thing, tags FROM things ORDER BY 1").fetchall() == [("a", ["x"]), ("b", [])]
    history.close()


def test_names_that_could_be_taken_for_others(open_history: Any, make_batch: Any) -> None:
    """Models, properties and things are named by strangers: none hides a view or a column, or ends a string."""
    history = open_history()
    names = ("seq", "Quality", "thing", "it's; DROP TABLE x --", 'a"b')
    for position, model in enumerate(("Readings", "things", "it's a model", "2 phases", "读数", "Größe"), 1):
        history.apply(position, make_batch([("o'neill", T0 + position, [1.5] * 5)], names, model=model))
    with views(history) as connection:
        assert connection.execute("SELECT count(*), count(DISTINCT property) FROM readings").fetchone() == (30, 5)
        for view in ("readings_2", "things_2", "it_s_a_model", "m_2_phases", "untyped", "gr_e"):
            found = connection.execute(f"SELECT seq_, quality_, thing_2, a_b FROM {view}").fetchall()
            assert found == [(1.5, 1.5, 1.5, 1.5)], view
    history.close()


def test_more_properties_than_a_table_takes(open_history: Any, make_batch: Any) -> None:
    history = open_history()
    for part in range(3):
        names = [f"p{part}_{number}" for number in range(31)]
        history.apply(part + 1, make_batch([("a", T0 + part, [1.0] * 31)], names))
    with views(history) as connection:
        assert connection.execute("SELECT count(DISTINCT property) FROM readings").fetchone() == (93,)
        assert connection.execute("SELECT p2_30 FROM meter_3 WHERE p2_30 IS NOT NULL").fetchall() == [(1.0,)]
    history.close()


@pytest.mark.parametrize("stored", [False, True])
def test_an_empty_project_has_its_views(open_history: Any, make_batch: Any, stored: bool) -> None:
    history = open_history()
    if stored:
        history.apply(1, make_batch([("a", T0, [1.5])]))
        history.flush()
    with views(history, bounds=Bounds(T0 + 1, T0 + 2)) as connection:
        for view in ("readings", "things", "properties", *(["meter"] if stored else [])):
            assert connection.execute(f"SELECT count(*) FROM {view}").fetchone() == (0,), view
    history.close()


def test_views_are_described_as_they_are(open_history: Any, make_batch: Any) -> None:
    """The columns that `described` tells are those that DuckDB sees."""
    history = open_history()
    values = [(1.5, 2, True, "x", 1.0), (2.5, 3, False, "y", "z"), (3.5, 4, True, "z", 7)]
    history.apply(1, make_batch([("a", T0 + n, row) for n, row in enumerate(values)], ("f", "i", "b", "t", "mix")))
    history.flush()
    told = {
        view.name: [(column.name, column.type) for column in view.columns] for view in described(history.store, "p")
    }
    with views(history) as connection:
        for name, columns in told.items():
            seen = [(row[0], row[1]) for row in connection.execute(f'DESCRIBE "{name}"').fetchall()]
            assert seen == columns
    assert ("mix__text", "VARCHAR") in told["meter"] and ("b", "BOOLEAN") in told["meter"]
    history.close()


def test_what_was_deleted_is_in_no_view(open_history: Any, make_batch: Any) -> None:
    """A thing, a property, a range of time: in files, before these are written again, and in the head."""
    history = open_history()
    rows = [(thing, T0 + n * S, (float(n), 10 + n)) for n in range(4) for thing in "abc"]
    history.apply(1, make_batch(rows[:8], ("power", "energy")))
    history.flush()
    history.apply(2, make_batch(rows[8:], ("power", "energy")))
    history.delete(3, Deletion(id="1", project="p", thing="a"))
    history.delete(4, Deletion(id="2", project="p", thing="b", property="power"))
    history.delete(5, Deletion(id="3", project="p", thing="c", start=T0, end=T0 + 2 * S))
    for _ in range(2):
        with views(history) as connection:
            found = connection.execute(
                "SELECT thing, property, count(*) FROM readings GROUP BY ALL ORDER BY ALL"
            ).fetchall()
            assert found == [("b", "energy", 4), ("c", "energy", 2), ("c", "power", 2)]
            wide = connection.execute(
                "SELECT thing, count(*), count(power) FROM meter GROUP BY ALL ORDER BY ALL"
            ).fetchall()
            assert wide == [("b", 4, 0), ("c", 2, 2)]
        history.flush()
    history.delete(6, Deletion(id="4", project="p", thing="b"))
    with views(history) as connection:
        assert connection.execute("SELECT DISTINCT thing FROM meter").fetchall() == [("c",)]
    history.close()
