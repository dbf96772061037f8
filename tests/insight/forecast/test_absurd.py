"""Values that no meter can say are missing to a forecast, however many they are (§3)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.insight.forecast.support import household, series

from taihu.insight.forecast.series import Regressor, Series, credible
from taihu.insight.forecast.trained import ForecastRefused, candidates, forecast, train

POOL = candidates()
BIG = 1.7e308
PLACES = np.arange(13 * 24)


def spoilt(days: int, share: float, value: float) -> tuple[Series, Series]:
    """A household's load of which a share says the same absurd value, and one of which that share is missing."""
    values = household(days)
    wrong = np.random.default_rng(3).random(len(values)) < share
    return series(np.where(wrong, value, values)), series(np.where(wrong, np.nan, values))


@pytest.mark.parametrize(
    ("days", "share", "value"), [(12, 0.02, BIG), (12, 0.6, -BIG), (1, 0.1, np.inf), (1, 0.6, 1e16)]
)
def test_what_cannot_be_is_forecast_as_if_it_were_missing(days: int, share: float, value: float) -> None:
    said, missing = spoilt(days, share, value)
    ours, theirs = train(said, 24, POOL), train(missing, 24, POOL)
    assert (ours.champion, ours.known, ours.scale) == (theirs.champion, theirs.known, theirs.scale)
    found = forecast(ours, said, POOL).quantiles
    np.testing.assert_array_equal(found, forecast(theirs, missing, POOL).quantiles)
    assert 0 < np.nanmax(found) < 10


def test_a_regressor_that_cannot_be_is_missing_too() -> None:
    values = household(12)
    said, missing = (
        Series(0, 3_600, values, "UTC", (Regressor(np.where(PLACES % 7, 20.0, odd), 24),)) for odd in (BIG, np.nan)
    )  # fmt: skip
    ours, theirs = (forecast(train(one, 24, POOL), one, POOL).quantiles for one in (said, missing))
    np.testing.assert_array_equal(ours, theirs)


def test_a_series_of_nothing_else_is_refused_as_one_of_which_nothing_is_known() -> None:
    with pytest.raises(ForecastRefused, match="Nothing is known"):
        train(series(np.full(48, BIG)), 24, POOL)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(allow_subnormal=True), min_size=1, max_size=60))
def test_any_numbers_give_a_forecast_or_the_one_refusal(values: list[float]) -> None:
    """No warning of numpy's, which would be an error here."""
    said = series(np.array(values))
    try:
        trained = train(said, 12, POOL)
    except ForecastRefused:
        assert not np.isfinite(credible(said).values).any()
        return
    assert not np.isinf(forecast(trained, said, POOL).quantiles).any()
