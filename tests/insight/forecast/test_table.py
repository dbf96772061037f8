"""The grid, the scale and the running means, against plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.insight.forecast.support import START, household, series

from taihu.insight.forecast.scale import scale_of
from taihu.insight.forecast.series import Series, slots
from taihu.insight.forecast.table import Table
from taihu.kernel.clock import parse_iso

NUMBERS = arrays(np.float64, st.integers(1, 200), elements=st.floats(-100, 100) | st.just(np.nan))


@pytest.mark.parametrize(("date", "hours"), [("2026-03-28", 23), ("2026-10-24", 25)])
def test_a_day_on_which_the_clock_moves_keeps_its_places(date: str, hours: int) -> None:
    midnight = parse_iso(f"{date}T00:00:00+0{'1' if hours == 23 else '2'}:00")
    day, week = slots(midnight, 3_600, 96, "Europe/Berlin")
    moved = day[24 : 24 + hours].tolist()
    assert moved == [0, 1, *([] if hours == 23 else [2]), *range(3 if hours == 23 else 2, 24)]
    assert day[24 + hours] == 0 and week[24] == 6 * 24 and week[24 + hours] == 0


def test_half_hours_of_a_time_zone_are_seen() -> None:
    assert slots(START, 900, 2, "Asia/Kolkata")[0].tolist() == [22, 23]


def test_means_are_those_of_a_loop_that_knows_only_the_past() -> None:
    values = household(30)
    values[::7] = np.nan
    table = Table(series(values), scale_of(values), 48)
    scaled = table.values
    for origin in (5, 100, 401, 719):
        for lead in (1, 24, 25, 48):
            target = origin + lead
            if target >= len(values) + 48:
                continue
            mean, seen = 0.0, 0
            for place in range(origin + 1):
                if place % 24 == target % 24 and np.isfinite(scaled[place]):
                    seen += 1
                    mean += max(1 / seen, 0.08) * (scaled[place] - mean)
            found = table.day_profile(np.array([origin]), np.array([target]))[0]
            assert found == pytest.approx(mean) if seen else np.isnan(found)


@given(NUMBERS, st.integers(0, 199), st.floats(-1e3, 1e3))
@settings(max_examples=60, deadline=None)
def test_nothing_after_the_origin_is_looked_at(values: np.ndarray, origin: int, other: float) -> None:
    origin = min(origin, len(values) - 1)
    changed = values.copy()
    changed[origin + 1 :] = other
    scale = scale_of(values[: origin + 1])
    origins, targets = np.array([[origin]]), np.array([[origin + 1, origin + 24, origin + 40]])
    origins = np.broadcast_to(origins, targets.shape)
    tables = [Table(Series(START, 3_600, each), scale, 48) for each in (values, changed)]
    for ask in ("profile", "spread", "day_profile"):
        first, second = (getattr(table, ask)(origins, targets) for table in tables)
        assert np.array_equal(first, second, equal_nan=True), ask
    first, second = (table.last(origins, targets, 24) for table in tables)
    assert np.array_equal(first, second, equal_nan=True)


def test_what_is_absurd_is_missing_and_not_learned() -> None:
    values = household(20)
    values[50] = 1e12
    scale = scale_of(values)
    assert np.isnan(scale.inside(values)[50])
    assert scale.inside(values)[51] == pytest.approx(scale_of(np.delete(values, 50)).inside(values[51:52])[0])


def test_a_bound_is_where_values_rest_and_the_most_is_none() -> None:
    values = np.tile(np.maximum(0, np.sin(np.arange(24) / 24 * 2 * np.pi)), 10) * np.linspace(1, 2, 240)
    scale = scale_of(values)
    assert scale.least == 0.0
    assert scale.most > values.max()


def test_a_constant_has_a_scale() -> None:
    scale = scale_of(np.full(100, 7.0))
    assert scale.inside(np.array([7.0])).tolist() == [0.0]
    assert scale.outside(np.array([0.0])).tolist() == [7.0]
    assert scale_of(np.array([np.nan])).outside(np.array([2.0])).tolist() == [2.0]
