"""Steps by the property's kind: a mean, an increase, a sum; what is not known is missing and not 0 (§3)."""

from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from taihu.history.history import History
from taihu.kernel.clock import NS_PER_S, SimClock, parse_iso
from taihu.kernel.files import OsFiles
from taihu.kernel.limits import DEFAULT
from taihu.runtime.forecast.steps import is_numeric, last_end, steps_of
from taihu.things.batch import Batch, Column
from taihu.things.property import DataType, Kind, Property

MINUTE = 60 * NS_PER_S
HOUR = 60 * MINUTE
START = parse_iso("2026-03-28T22:00:00Z")
PROPERTIES = {
    "power": Property(name="power", unit="kW", max_age_s=900),
    "register": Property(name="register", kind=Kind.COUNTER, unit="kW.h", max_age_s=900),
    "energy": Property(name="energy", kind=Kind.INTERVAL, unit="kW.h", interval_s=900),
}


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    """Three hours of quarters: a power of 2 kW and what it adds up to; the second hour says nothing but once."""
    made = History(tmp_path / "h", OsFiles(), SimClock(START + 10 * HOUR), DEFAULT, lambda _p, _t: PROPERTIES)
    quarters = [*range(5), *range(8, 13)]
    for position, quarter in enumerate(quarters, 1):
        at = array("q", [START + quarter * 15 * MINUTE]).tobytes()
        values = [2.0, 100.0 + quarter / 2, 0.5]
        columns = tuple(Column("d", array("d", [value]).tobytes()) for value in values)
        made.apply(position, Batch("p", "", tuple(PROPERTIES), ("meter",), b"", START, at, b"", columns))
    yield made
    made.close()


@pytest.mark.parametrize(("name", "hourly"), [("power", 2.0), ("register", 2.0), ("energy", 2.0)])
def test_an_hour_is_known_or_missing(history: History, name: str, hourly: float) -> None:
    found = steps_of(history, "p", ["meter", "stranger"], name, START, START + 4 * HOUR, "1h")
    first, second, third, last = found["meter"].tolist()
    assert (first, third) == (pytest.approx(hourly), pytest.approx(hourly))
    assert np.isnan(last) and np.isnan(found["stranger"]).all()
    if name == "register":
        assert second == pytest.approx(2.0)  # all that rose while nobody read it is of this hour
    else:
        assert np.isnan(second)  # a quarter of it is no hour


def test_quarters_are_the_same(history: History) -> None:
    found = steps_of(history, "p", ["meter"], "energy", START, START + 3 * HOUR, "15m")["meter"]
    assert np.flatnonzero(np.isnan(found)).tolist() == [5, 6, 7]
    assert np.nansum(found) == pytest.approx(4.5)
    assert len(steps_of(history, "p", ["meter"], "energy", START, START, "15m")["meter"]) == 0


def test_what_rose_in_a_gap_is_of_no_step_but_its_own(tmp_path: Path) -> None:
    """A register of 2 kW: a gap inside the second hour counts whole; one from the fourth to the fifth is in neither."""
    history = History(tmp_path / "h", OsFiles(), SimClock(START + 10 * HOUR), DEFAULT, lambda _p, _t: PROPERTIES)
    minutes = [at for at in range(0, 301, 10) if not (70 <= at <= 90 or 220 <= at <= 250)]
    for position, minute in enumerate(minutes, 1):
        at = array("q", [START + minute * MINUTE]).tobytes()
        register = Column("d", array("d", [100.0 + minute / 30]).tobytes())
        history.apply(position, Batch("p", "", ("register",), ("meter",), b"", START, at, b"", (register,)))
    found = steps_of(history, "p", ["meter"], "register", START, START + 5 * HOUR, "1h")["meter"]
    history.close()
    assert np.flatnonzero(np.isnan(found)).tolist() == [3, 4]
    assert found[:3].tolist() == pytest.approx([2.0, 2.0, 2.0])


def test_only_numbers_that_last_have_steps() -> None:
    assert all(map(is_numeric, PROPERTIES.values()))
    assert not is_numeric(Property(name="mode", kind=Kind.STATE, data_type=DataType.STRING))
    assert not is_numeric(Property(name="alarm", kind=Kind.EVENT))
    assert not is_numeric(Property(name="lamp", data_type=DataType.BOOLEAN))


def test_a_step_is_over_when_it_is() -> None:
    assert last_end(START + HOUR - 1, "1h") == START
    assert last_end(START + HOUR, "1h") == START + HOUR
    assert last_end(START + 31 * MINUTE, "15m") == START + 30 * MINUTE
