"""Calculated properties over the history: by kind, with coverage, whatever came late (§3, §5, §9, §10)."""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taihu.history.calculated import LevelWindows
from taihu.history.history import History
from taihu.history.windows import IntervalWindows, Windows
from taihu.kernel.clock import NS_PER_S, SimClock
from taihu.kernel.errors import LimitError
from taihu.kernel.files import OsFiles
from taihu.kernel.limits import DEFAULT, Limits
from taihu.things.calculation import bind
from taihu.things.deletion import Deletion
from taihu.things.formula import Members
from taihu.things.property import Kind, Property
from taihu.things.terms import Plan

from .conftest import batch

START = 1_760_000_400 * NS_PER_S
MINUTE = 60 * NS_PER_S
HOUR = 60 * MINUTE


def gauge(name: str, unit: str = "kW", max_age_s: float = 600.0) -> Property:
    return Property(name=name, unit=unit, max_age_s=max_age_s)


def made(name: str, formula: str, unit: str = "kW", **more: Any) -> Property:
    return Property(name=name, formula=formula, unit=unit, **more)


def amount(name: str, formula: str, unit: str = "kW.h") -> Property:
    return made(name, formula, unit, kind=Kind.INTERVAL, interval_s=900.0)


PROPERTIES = {
    one.name: one
    for one in (
        gauge("a"), gauge("b"), gauge("volt", "V"), gauge("ampere", "A"), gauge("price", "{EUR}/(kW.h)"),
        Property(name="in", kind=Kind.COUNTER, unit="kW.h", max_age_s=600.0),
        Property(name="out", kind=Kind.COUNTER, unit="kW.h", max_age_s=600.0),
        Property(name="quarter", kind=Kind.INTERVAL, unit="kW.h", interval_s=900.0),
        made("sum", "a + b"), made("clipped", "max(a - b, 0 [kW])"), made("electric", "volt * ampere"),
        made("share", "a / b", "1"), made("efficiency", "out / in", "%", period_s=900.0), made("bare", "out / in", "1"),
        made("all", "sum(a of submeters)"),
        amount("loss", "in - out"), amount("cost", "in * price", "{EUR}"), amount("energy", "integral(a)"),
        amount("twice", "quarter + quarter"),
    )
}  # fmt: skip


class Place:
    """Every thing has all the properties; `m` is the formula's, the others are behind it."""

    def __init__(self, things: Sequence[str] = ("m",)) -> None:
        self.things = things

    def definition(self, project: str, thing: str, name: str) -> Property | None:
        return PROPERTIES.get(name) if thing in self.things else None

    def members(self, project: str, thing: str, members: Members) -> Sequence[str]:
        return [one for one in self.things if one != thing]

    def granted(self, reader: str, project: str, thing: str, name: str) -> bool:
        return False

    def plan(self, project: str, thing: str, definition: Property) -> Plan:
        return bind(project, thing, definition, self, DEFAULT)


Opener = Callable[..., History]
Readings = Mapping[str, Sequence[tuple[float, float]]]  # by property: (minutes from START, value)


@pytest.fixture
def opened(tmp_path: Path, clock: SimClock) -> Iterator[Opener]:
    closing = ExitStack()
    count = iter(range(1000))

    def opener(things: Sequence[str] = ("m",), limits: Limits = DEFAULT) -> History:
        clock.advance(max(0.0, (START + 24 * HOUR - clock.now_ns()) / NS_PER_S))
        place, folder = Place(things), tmp_path / str(next(count))
        history = History(folder, OsFiles(), clock, limits, lambda _p, _t: PROPERTIES, plans=place.plan)
        closing.callback(history.close)
        return history

    with closing:
        yield opener


def fill(history: History, readings: Readings, thing: str = "m", position: int = 1) -> int:
    for name, rows in readings.items():
        for minutes, value in rows:
            history.apply(position, batch([(thing, START + round(minutes * MINUTE), [value])], (name,)))
            position += 1
    return position


def rolled(history: History, name: str, hours: float = 1.0, every: str = "15m", start: float = 0.0) -> Any:
    found = history.window("p", "m", name, START + round(start * HOUR), START + round((start + hours) * HOUR), every)
    assert isinstance(found, LevelWindows | IntervalWindows)
    return found


def values(found: Any) -> list[float | None]:
    numbers = found.level if isinstance(found, LevelWindows) else found.amount
    return [None if math.isnan(one) else round(one, 9) for one in numbers.tolist()]


def steady(value: float, until: int = 60, every: int = 5) -> list[tuple[float, float]]:
    return [(minute, value) for minute in range(0, until + 1, every)]


def rising(per_hour: float, until: int = 60, every: int = 5) -> list[tuple[float, float]]:
    return [(minute, 100.0 + per_hour * minute / 60) for minute in range(0, until + 1, every)]


def test_a_sum_has_the_least_coverage_of_its_parts(opened: Opener) -> None:
    """§3"""
    history = opened()
    fill(history, {"a": steady(1.0), "b": [(0, 2.0), (5, 2.0)]})
    found = rolled(history, "sum")
    assert values(found) == [3.0, None, None, None]
    assert found.coverage.tolist() == [1.0, 0.0, 0.0, 0.0]
    fill(history, {"b": [(20, 2.0)]}, position=100)
    assert rolled(history, "sum").coverage.tolist() == [1.0, 10 / 15, 0.0, 0.0]


def test_an_efficiency_is_that_of_the_amounts(opened: Opener) -> None:
    """Never a mean of ratios."""
    history = opened()
    fill(history, {"in": [(0, 0.0), (10, 9.0), (15, 10.0)], "out": [(0, 0.0), (10, 8.1), (15, 8.2)]})
    assert values(rolled(history, "efficiency", 0.25)) == [82.0]
    assert values(rolled(history, "loss", 0.25)) == [1.8]


def test_a_division_by_zero_is_missing(opened: Opener) -> None:
    """§3"""
    history = opened()
    fill(history, {"in": rising(0.0), "out": rising(1.0), "a": steady(1.0), "b": steady(0.0)})
    found = rolled(history, "efficiency")
    assert values(found) == [None] * 4
    assert found.missing.all()
    assert values(rolled(history, "share")) == [None] * 4
    assert history.read("p", "m", "share") == []


def test_products_and_extremes_are_taken_at_every_instant(opened: Opener) -> None:
    history = opened()
    fill(history, {"volt": [(0, 200.0), (6, 240.0), (12, 240.0)], "ampere": [(0, 5.0), (3, 10.0), (9, 10.0)]})
    electric = rolled(history, "electric", 0.25)
    assert values(electric) == [(3 * 1.0 + 3 * 2.0 + 9 * 2.4) / 15]
    fill(history, {"a": [(0, 1.0), (5, 3.0), (10, 1.0)], "b": steady(2.0)}, position=50)
    assert values(rolled(history, "clipped", 0.25)) == [round(1 / 3, 9)]


def test_the_cost_is_that_of_each_kilowatt_hour(opened: Opener) -> None:
    """§9"""
    history = opened()
    energy = [(0, 0.0), (5, 6.0), (10, 6.0), (15, 6.0)]
    fill(history, {"in": energy, "price": [(0, 0.5), (5, 0.1), (10, 0.1), (15, 0.1)]})
    assert values(rolled(history, "cost", 0.25)) == [3.0]


def test_an_integral_is_of_the_known_time_alone(opened: Opener) -> None:
    """§9"""
    history = opened()
    fill(history, {"a": [(0, 4.0)]})
    found = rolled(history, "energy", 0.5)
    assert values(found) == [round(4.0 * 10 / 60, 9), None]
    assert found.coverage.tolist() == [10 / 15, 0.0]


def test_a_sum_over_submeters_includes_the_new_one(opened: Opener) -> None:
    history = opened(("m", "one", "two"))
    fill(history, {"a": steady(1.0)}, "one")
    assert values(rolled(history, "all")) == [None] * 4
    fill(history, {"a": steady(2.0)}, "two", 50)
    assert values(rolled(history, "all")) == [3.0] * 4
    assert [reading.value for reading in history.read("p", "m", "all", START, START + HOUR)] == [3.0] * 12


def test_amounts_have_a_reading_for_each_whole_interval(opened: Opener) -> None:
    history = opened()
    fill(history, {"in": rising(8.0), "out": rising(4.0), "quarter": [(0, 1.0), (15, 2.0), (45, 4.0)]})
    loss = history.read("p", "m", "loss")
    assert [(one.observed_at - START) // MINUTE for one in loss] == [0, 15, 30, 45]
    assert [one.value for one in loss] == pytest.approx([1.0] * 4)
    assert [(one.observed_at - START) // MINUTE for one in history.read("p", "m", "twice")] == [0, 15, 45]
    assert [one.value for one in history.read("p", "m", "efficiency")] == pytest.approx([50.0] * 4)
    assert history.read("p", "m", "bare") == []
    newest = history.asof("p", "m", "loss", START + 44 * MINUTE)
    assert newest is not None
    assert newest.observed_at == START + 30 * MINUTE


def test_deleted_inputs_are_told_of(opened: Opener) -> None:
    """§10"""
    history = opened()
    position = fill(history, {"a": steady(1.0), "b": steady(2.0)})
    deletion = Deletion(id="1", project="p", thing="m", property="b", start=START, end=START + 20 * MINUTE)
    history.delete(position, deletion)
    assert values(rolled(history, "sum")) == [None, 3.0, 3.0, 3.0]
    assert history.lost("p", "m", "sum") == [(START, START + 20 * MINUTE)]
    assert history.lost("p", "m", "energy") == []


def test_many_readings_are_taken_in_parts(opened: Opener) -> None:
    """§6"""
    small = opened(limits=Limits(query_rows_max=80))
    large = opened()
    for history in (small, large):
        fill(
            history,
            {"a": steady(1.0, 240), "b": steady(0.5, 240), "volt": rising(1.0, 240), "ampere": steady(2.0, 240)},
        )
    assert values(rolled(small, "clipped", 4.0)) == values(rolled(large, "clipped", 4.0)) == [0.5] * 16
    assert values(rolled(small, "electric", 4.0)) == values(rolled(large, "electric", 4.0))
    for order in ("asc", "desc"):
        found = [history.read("p", "m", "clipped", limit=45, order=order) for history in (small, large)]
        assert found[0] == found[1]
        assert len(found[0]) == 45
    with pytest.raises(LimitError):
        small.read("p", "m", "clipped")


_ROWS = st.lists(st.tuples(st.integers(0, 119), st.integers(-5, 5)), max_size=12, unique_by=lambda row: row[0])


def held(rows: Sequence[tuple[float, float]], minute: float) -> float:
    """The value that holds at a minute, NaN for none."""
    before = [(at, value) for at, value in rows if at <= minute]
    return max(before)[1] if before and minute - max(before)[0] < 10 else math.nan


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_ROWS, _ROWS, st.integers(0, 2**32))
def test_live_equals_history_whatever_the_order_of_arrival(
    opened: Opener, one: list[tuple[int, int]], other: list[tuple[int, int]], seed: int
) -> None:
    """§5: after all readings have come, each value is what somebody who watched had been told."""
    readings = [("a", at, float(value)) for at, value in one] + [("b", at, float(value)) for at, value in other]
    late = list(readings)
    random.Random(seed).shuffle(late)
    in_time, out_of_order = opened(), opened()
    for position, (name, at, value) in enumerate(sorted(readings, key=lambda row: row[1]), 1):
        in_time.apply(position, batch([("m", START + at * MINUTE, [value])], (name,)))
    for position, (name, at, value) in enumerate(late, 1):
        out_of_order.apply(position, batch([("m", START + at * MINUTE, [value])], (name,)))
        if position == len(late) // 2:
            out_of_order.flush()
    told = []
    for minute in sorted({at for _, at, _ in readings}):
        a, b = held(one, minute), held(other, minute)
        if not math.isnan(a + b):
            told.append((START + minute * MINUTE, max(a - b, 0.0)))
    for history in (in_time, out_of_order):
        found = history.read("p", "m", "clipped")
        assert [(reading.observed_at, reading.value) for reading in found] == told
        assert history.read("p", "m", "clipped", order="desc") == found[::-1]
        assert history.read("p", "m", "clipped", limit=3) == found[:3]
        assert history.read("p", "m", "clipped", limit=3, order="desc") == found[::-1][:3]
    same_windows(rolled(in_time, "clipped", 2.0), rolled(out_of_order, "clipped", 2.0))
    same_windows(rolled(in_time, "sum", 2.0), rolled(out_of_order, "sum", 2.0))
    seconds = np.arange(0, 120, 1 / 6)
    exact = [max(held(one, at) - held(other, at), 0.0) for at in seconds]
    known = [value for value in exact if not math.isnan(value)]
    whole = rolled(in_time, "clipped", 2.0, "1h")
    covered = whole.covered.sum() / HOUR
    assert covered == pytest.approx(len(known) / 360)
    weighted = np.nansum(np.where(whole.covered > 0, whole.level, 0.0) * (whole.covered / HOUR))
    assert weighted == pytest.approx(sum(known) / 360)


def same_windows(one: Windows, other: Windows) -> None:
    for field in fields(one):
        np.testing.assert_allclose(getattr(one, field.name), getattr(other, field.name), rtol=1e-12, atol=1e-12)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 50), min_size=13, max_size=13), st.lists(st.integers(1, 50), min_size=13, max_size=13))
def test_sums_of_windows_are_the_windows_of_sums(opened: Opener, grown: list[int], sold: list[int]) -> None:
    """Amounts of quarters of an hour add up to those of the hour; a linear gauge's means weigh by time."""
    history = opened()
    fill(history, {
        "in": [(at * 5, float(total)) for at, total in enumerate(np.cumsum(grown).tolist())],
        "out": [(at * 5, float(total)) for at, total in enumerate(np.cumsum(sold).tolist())],
        "price": [(at * 5, float(value)) for at, value in enumerate(sold)],
        "a": [(at * 5, float(value)) for at, value in enumerate(grown)],
        "b": [(at * 5, float(value)) for at, value in enumerate(sold)],
    })  # fmt: skip
    for name in ("loss", "cost", "energy"):
        assert rolled(history, name).amount.sum() == pytest.approx(rolled(history, name, 1, "1h").amount[0])
        readings = history.read("p", "m", name, START, START + HOUR)
        assert sum(one.value for one in readings) == pytest.approx(rolled(history, name).amount.sum())
    for name in ("sum", "clipped"):
        assert rolled(history, name).level.mean() == pytest.approx(rolled(history, name, 1, "1h").level[0])
