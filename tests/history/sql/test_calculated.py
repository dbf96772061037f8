"""The view `calculated`: what the history says of calculated properties, whatever came late or went (§3, §5, §10)."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.history.sql.support import known, pool, views, working_out
from tests.history.test_calculated import HOUR, MINUTE, PROPERTIES, START, Place, fill, rolled, steady, values

from taihu.history.history import History
from taihu.history.sql.metadata import Known
from taihu.history.sql.sources import Bounds
from taihu.kernel.clock import NS_PER_S, SimClock
from taihu.kernel.errors import LimitError
from taihu.kernel.files import OsFiles
from taihu.kernel.limits import DEFAULT
from taihu.things.deletion import Deletion
from taihu.things.property import Thing

HOUR_ASKED = Bounds(START, START + HOUR)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    clock = SimClock()
    clock.advance((START + 24 * HOUR - clock.now_ns()) / NS_PER_S)
    opened = History(tmp_path, OsFiles(), clock, DEFAULT, lambda _p, _t: PROPERTIES, plans=Place(("m", "n")).plan)
    with closing(opened):
        yield opened


def about(history: History) -> Known:
    return working_out(history, known(Thing(name="m"), Thing(name="n"), properties=PROPERTIES))


def ask(history: History, sql: str, bounds: Bounds = HOUR_ASKED, **more: Any) -> list[Any]:
    with views(history, about(history), bounds=bounds, **more) as connection:
        return connection.execute(sql).fetchall()


def of(name: str, what: str = "value") -> str:
    return f"SELECT {what} FROM calculated WHERE thing = 'm' AND property = '{name}' ORDER BY observed_at"


def test_it_says_what_the_history_says(history: History) -> None:
    fill(history, {"a": steady(1.0, 60), "b": [(0, 2.0), (30, 4.0), (35, 4.0)]})
    rows = ask(history, of("sum", "epoch_ns(observed_at), value, quality, unit, kind, coverage"))
    read = history.read("p", "m", "sum", START, START + HOUR)
    assert [row[:3] for row in rows] == [(one.observed_at, one.value, one.quality) for one in read]
    assert {row[3:] for row in rows} == {("kW", "gauge", 1.0)}
    assert ask(history, "SELECT count(*) FROM calculated WHERE thing = 'n' AND property = 'sum'") == [(0,)]


def test_a_level_holds_until_the_next(history: History) -> None:
    """§3: the mean over the time that it holds is that of the history's windows, and it ends with its inputs."""
    fill(history, {"a": [(0, 1.0), (4, 3.0), (6, 5.0)], "b": [(0, 2.0), (6, 2.0)]})
    spans = of("sum", "value, epoch_ns(until) - epoch_ns(observed_at) AS s")
    ((mean, covered),) = ask(history, f"SELECT sum(value * s) / sum(s), sum(s) FROM ({spans})")
    found = rolled(history, "sum", every="1h")
    assert values(found) == [round(mean, 9)]
    assert covered == found.covered[0] == 16 * MINUTE


def test_amounts_say_how_much_of_their_interval_is_known(history: History) -> None:
    """§3"""
    fill(history, {"a": [(0, 4.0), (5, 4.0), (10, 4.0), (15, 4.0)]})
    rows = ask(history, of("energy", "value, coverage, (epoch_ns(until) - epoch_ns(observed_at)) // 60000000000"))
    assert rows == [(1.0, 1.0, 15), (pytest.approx(4.0 / 6), pytest.approx(10 / 15), 15)]


def test_what_comes_late_is_in_the_next_answer(history: History) -> None:
    """§5"""
    fill(history, {"a": steady(1.0), "b": steady(2.0)})
    history.flush()
    assert set(ask(history, of("sum"))) == {(3.0,)}
    fill(history, {"b": [(20, 9.0)]}, position=200)
    assert ask(history, of("sum", "value")).count((10.0,)) == 1


def test_deleted_inputs_are_told_of(history: History) -> None:
    """§10"""
    position = fill(history, {"a": steady(1.0), "b": steady(2.0)})
    deletion = Deletion(
        id="1", project="p", thing="m", property="b", start=START + 20 * MINUTE, end=START + 25 * MINUTE
    )
    history.delete(position, deletion)
    minute = f"(epoch_ns(observed_at) - {START}) // {MINUTE}"
    assert ask(history, f"SELECT {minute} FROM calculated WHERE property = 'sum' AND gone") == [(20,)]
    assert set(ask(history, of("energy", "gone"))) == {(False,)}


def test_bounds_hold(history: History) -> None:
    """§6, §11: of the time asked for, the things that may be seen, and no more than an answer may have."""
    fill(history, {"a": steady(1.0), "b": steady(2.0)})
    fill(history, {"a": steady(1.0), "b": steady(2.0)}, "n", 100)
    quarter = Bounds(START, START + 15 * MINUTE, frozenset({"n"}))
    assert ask(history, "SELECT DISTINCT thing FROM calculated", quarter) == [("n",)]
    assert ask(history, "SELECT count(*) FROM calculated WHERE property = 'sum'", quarter) == [(3,)]
    with pytest.raises(LimitError, match="sql_rows_max"):
        ask(history, "SELECT 1", rows_max=20)


def test_a_child_process_reads_it(history: History) -> None:
    fill(history, {"a": steady(1.0), "b": steady(2.0)})
    with pool(history, about(history)) as asked:
        assert asked.rows(of("sum", "DISTINCT value").replace("ORDER BY observed_at", ""), HOUR_ASKED) == [[3.0]]
