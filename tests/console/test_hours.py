"""The last hours added up: a missing hour is a gap and never zero, and coverage is kept (§3)."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from taihu.console.answers import Window, WindowsAnswer, windows_of
from taihu.console.hours import merge_hours

HOUR = 3_600 * 10**9


def series(*values: float | None, coverage: float = 1.0) -> list[Window]:
    return [
        Window(index * HOUR, (index + 1) * HOUR, 0.0 if value is None else coverage, value)
        for index, value in enumerate(values)
    ]


def test_houses_add_up_and_carbon_is_import_times_intensity() -> None:
    hours = merge_hours([series(2.0, -3.0), series(1.0, 1.0)], series(0.5, 0.25), 2 * HOUR)
    assert [hour.energy_kwh for hour in hours] == [3.0, -2.0]
    assert [hour.carbon_kg for hour in hours] == [1.5, 0.0]
    assert all(hour.complete for hour in hours)


def test_an_hour_nobody_knows_is_missing_and_one_that_some_know_is_incomplete() -> None:
    first, second = merge_hours([series(None, 2.0), series(None, None)], series(0.5, 0.5), 2 * HOUR)
    assert (first.energy_kwh, first.carbon_kg, first.houses, first.coverage) == (None, None, 0, 0.0)
    assert (second.energy_kwh, second.houses, second.of, second.coverage) == (2.0, 1, 2, 0.5)
    assert not first.complete
    assert not second.complete


def test_without_intensity_there_is_energy_but_no_carbon() -> None:
    (hour,) = merge_hours([series(2.0)], series(None), HOUR)
    assert (hour.energy_kwh, hour.intensity, hour.carbon_kg) == (2.0, None, None)


def test_a_house_known_for_half_the_hour_makes_it_incomplete() -> None:
    (hour,) = merge_hours([series(2.0, coverage=0.5), series(1.0)], [], HOUR)
    assert (hour.energy_kwh, hour.houses, hour.coverage, hour.complete) == (3.0, 2, 0.75, False)


def test_the_running_hour_is_not_shown_and_only_the_last_are() -> None:
    hours = merge_hours([series(*map(float, range(30)))], [], 29 * HOUR + 1, count=24)
    assert [hour.start // HOUR for hour in hours] == list(range(5, 29))


def test_nothing_known_is_no_hours() -> None:
    assert merge_hours([], [], HOUR) == ()
    assert merge_hours([[], []], [], HOUR) == ()


@given(st.lists(st.lists(st.one_of(st.none(), st.floats(-50, 50)), min_size=4, max_size=4), max_size=5))
def test_a_figure_is_there_exactly_when_a_house_knows_it(houses: list[list[float | None]]) -> None:
    for index, hour in enumerate(merge_hours([series(*house) for house in houses], [], 4 * HOUR)):
        known = [house[index] for house in houses if house[index] is not None]
        assert (hour.energy_kwh is None) == (not known)
        assert hour.houses == len(known)


def test_each_kind_of_window_gives_its_own_figure() -> None:
    base = {"start": 0, "end": HOUR, "coverage": 1.0}
    kinds: list[dict[str, Any]] = [
        base | {"sum": 2.5},
        base | {"increase": 3},
        base | {"mean": 1.0, "time_mean": 4.5, "last": 9.0},
        base | {"mean": 1.0, "time_mean": None},
        base | {"coverage": 0.0, "sum": 0.0},
        base | {"coverage": None, "sum": None},
        {"start": None, "end": HOUR, "sum": 1.0},
        base | {"seconds": {"on": 3.0}},
    ]
    values = [window.value for window in windows_of(WindowsAnswer("kW.h", tuple(kinds)), "kW.h")]
    assert values == [2.5, 3.0, 4.5, 1.0, None, None, None]


def test_windows_are_converted_and_those_without_a_fitting_unit_take_no_part() -> None:
    """§2."""
    windows = ({"start": 0, "end": HOUR, "coverage": 1.0, "sum": 2_500.0},)
    found = [windows_of(WindowsAnswer(unit, windows), "kW.h")[0].value for unit in ("W.h", None, "kW", "nonsense")]
    assert found == [2.5, None, None, None]
