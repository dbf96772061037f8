"""Tariffs: holes are named, and a local day has as many steps as it lasts."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from taihu.decide.problem import ProblemRefused
from taihu.decide.tariff import Band, by_bands, by_time, fill, mend
from taihu.kernel.clock import from_datetime

HOUR_NS = 3_600 * 1_000_000_000
AMSTERDAM = ZoneInfo("Europe/Amsterdam")
NIGHT = Band(time(22), time(6), 0.1)
DAY = Band(time(6), time(22), 0.3)


def local_day(year: int, month: int, day: int) -> np.ndarray:
    begin = from_datetime(datetime(year, month, day, tzinfo=AMSTERDAM).astimezone(UTC))
    end = from_datetime(datetime(year, month, day + 1, tzinfo=AMSTERDAM).astimezone(UTC))
    return np.arange(begin, end, HOUR_NS)


@pytest.mark.parametrize(("month", "day", "hours", "night"), [(3, 29, 23, 7), (10, 25, 25, 9), (6, 1, 24, 8)])
def test_a_local_day_has_its_hours(month: int, day: int, hours: int, night: int) -> None:
    starts = local_day(2026, month, day)
    prices = by_bands([NIGHT, DAY], AMSTERDAM, starts)
    assert len(starts) == hours
    assert np.isfinite(prices).all()
    assert int((prices == 0.1).sum()) == night


def test_a_band_over_midnight_belongs_to_the_day_it_begins_on() -> None:
    friday_night = Band(time(22), time(6), 0.05, days=(5,))
    starts = np.arange(0, 7 * 24) * HOUR_NS + from_datetime(datetime(2026, 6, 1, tzinfo=UTC))  # a Monday
    cheap = np.flatnonzero(by_bands([friday_night], ZoneInfo("UTC"), starts) == 0.05)
    assert cheap.tolist() == list(range(4 * 24 + 22, 5 * 24 + 6))


def test_a_hole_is_filled_from_the_days_before_and_named() -> None:
    begin = 200 * 24 * HOUR_NS
    published = {begin + hour * HOUR_NS: 0.1 + 0.01 * hour for hour in range(-24, 20)}
    starts = begin + np.arange(24) * HOUR_NS
    prices = by_time(published, HOUR_NS, starts)
    assert int(np.isnan(prices).sum()) == 4
    filled = fill(prices, starts, published, HOUR_NS)
    assert filled.prices[-1] == pytest.approx(0.1 - 0.01)
    assert filled.notes == ("4 prices are missing: those of the days before stand for them",)


def test_a_hole_nothing_is_known_of_gets_the_dearest_price() -> None:
    filled = fill(np.array([0.1, np.nan, 0.4]), np.arange(3) * HOUR_NS)
    assert filled.prices.tolist() == [0.1, 0.4, 0.4]
    assert "dearest" in filled.notes[0]


def test_a_hole_in_what_is_earned_gets_the_least_price() -> None:
    filled = fill(np.array([0.1, np.nan, 0.4]), np.arange(3) * HOUR_NS, earned=True)
    assert filled.prices.tolist() == [0.1, 0.1, 0.4]
    assert "least" in filled.notes[0]


@pytest.mark.parametrize("offset", [0.0, 0.5, 5.75])
def test_hours_of_any_zone_hold_until_the_next(offset: float) -> None:
    """Where clocks are half an hour or three quarters off UTC, so are the hours; a hole is one all the same."""
    begin = 200 * 24 * HOUR_NS - round(offset * HOUR_NS)
    published = {begin + hour * HOUR_NS: float(hour) for hour in (0, 1, 2, 4)}
    starts = begin + np.arange(-1, 21) * (HOUR_NS // 4)
    prices = by_time(published, HOUR_NS, starts)
    wanted = [np.nan, *(hour for hour in (0.0, 1.0, 2.0, np.nan, 4.0) for _ in range(4)), np.nan]
    assert np.array_equal(prices, wanted, equal_nan=True)


def test_no_price_at_all_is_refused() -> None:
    with pytest.raises(ProblemRefused, match="No price"):
        fill(np.array([np.nan]), np.arange(1))


def test_an_absurd_forecast_is_replaced_and_said() -> None:
    mended = mend(np.array([1.0, np.nan, 1e9, -3.0]), 0.0, 50.0, np.full(4, 2.0), "load")
    assert mended.prices.tolist() == [1.0, 2.0, 2.0, 2.0]
    assert mended.notes[0].startswith("3 of 4 values of load")
