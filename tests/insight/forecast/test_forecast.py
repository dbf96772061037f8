"""Forecasts: causal, calibrated, equivariant, from the first hour on; the back-test decides who makes them (§3)."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.insight.forecast.support import household, series

from taihu.insight.forecast import backtest, boosted
from taihu.insight.forecast.candidate import LEVELS, Asked, Candidate, same
from taihu.insight.forecast.scale import scale_of
from taihu.insight.forecast.series import Regressor, Series
from taihu.insight.forecast.simple import SeasonalNaive
from taihu.insight.forecast.table import Table
from taihu.insight.forecast.trained import ForecastRefused, Trained, candidates, forecast, train
from taihu.kernel.arrays import Numbers

QUICK = candidates(quick=True)
WITH_TREES = pytest.param(
    "boosted", marks=pytest.mark.skipif(not boosted.available(), reason="lightgbm is not installed (extra forecast)")
)


class Oracle:
    """A plug-in that knows a constant."""

    days_min = 0.0

    def __init__(self, name: str, value: float) -> None:
        self.name, self.value = name, value

    def learn(self, table: Table, until: int, horizon: int) -> Any:
        return self.value

    def predict(self, learned: Any, table: Table, asked: Asked) -> Numbers:
        return same(np.full((len(asked.origins), len(asked.leads)), float(learned)))


class Broken(Oracle):
    def predict(self, learned: Any, table: Table, asked: Asked) -> Numbers:
        raise ZeroDivisionError


def made(values: Numbers, horizon: int = 24, pool: dict[str, Candidate] = QUICK, **more: Any) -> Any:
    one = msgspec.structs.replace(series(values), **more)
    return forecast(train(one, horizon, pool), one, pool)


@pytest.mark.parametrize("name", ["seasonal-naive", "week-mean", "ets", "regression", "blend", WITH_TREES])
def test_no_candidate_looks_past_its_origins(name: str) -> None:
    pool = candidates()
    values = household(40, seed=3)
    begin = 30 * 24
    changed = values.copy()
    changed[35 * 24 + 1 :] = -3.0
    asked = Asked(np.arange(begin, 35 * 24 + 1, 37), np.arange(1, 7))
    found = []
    for each in (values, changed):
        table = Table(series(each), scale_of(each[:begin]), 6)
        found.append(pool[name].predict(pool[name].learn(table, begin, 6), table, asked))
    assert np.isfinite(found[0]).all()
    assert np.array_equal(found[0], found[1])


@given(st.integers(0, 2**31), st.integers(1, 1_200), st.sampled_from([900, 1_800, 3_600]), st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_quantiles_are_in_order_and_within_bounds(seed: int, count: int, step_s: int, horizon: int) -> None:
    random = np.random.default_rng(seed)
    values = household(60, seed, 86_400 // step_s)[:count] * random.choice([1.0, -3.0, 1e6])
    values[random.random(count) < random.choice([0.0, 0.3])] = np.nan
    values[random.random(count) < 0.01] = 0.0
    one = series(values, step_s, "Europe/Berlin")
    if not np.isfinite(values).any():
        with pytest.raises(ForecastRefused):
            train(one, horizon, QUICK)
        return
    trained = train(one, horizon, QUICK)
    found = forecast(trained, one, QUICK)
    assert found.quantiles.shape == (len(LEVELS), horizon)
    assert np.isfinite(found.median).all()
    known = found.quantiles[:, np.isfinite(found.quantiles).all(axis=0)]
    assert (np.diff(known, axis=0) >= 0).all()
    assert (found.median >= trained.scale.least).all() and (found.median <= trained.scale.most).all()


@given(st.integers(0, 1_000), st.sampled_from([0.001, 2.0, 3_600.0]), st.sampled_from([-500.0, 0.0, 20.0]))
@settings(max_examples=5, deadline=None)
def test_another_unit_gives_the_same_forecast(seed: int, factor: float, offset: float) -> None:
    values = household(40, seed)
    plain, other = made(values), made(values * factor + offset)
    assert plain.model == other.model
    assert other.quantiles == pytest.approx(plain.quantiles * factor + offset, rel=1e-6, abs=1e-6 * factor)


@pytest.mark.skipif(not boosted.available(), reason="lightgbm is not installed (extra forecast)")
def test_trees_too_are_of_no_unit() -> None:
    pool = {name: one for name, one in candidates().items() if name in ("week-mean", "boosted")}
    pool["boosted"].days_min = 0.0
    values = household(24, seed=5)
    plain, other = (made(values * factor, horizon=6, pool=pool) for factor in (1.0, 4.0))
    assert plain.quantiles * 4.0 == pytest.approx(other.quantiles)


@pytest.mark.skipif(not boosted.available(), reason="lightgbm is not installed (extra forecast)")
def test_trees_too_carry_on_what_is_unusual_now() -> None:
    """A country's load moves little in an hour: trees that forget where it stands are worse than its last value."""
    drift = np.cumsum(np.random.default_rng(3).normal(0, 0.02, 32 * 24))
    one = series(5 + np.sin(np.arange(len(drift)) * 2 * np.pi / 24) + drift)
    pool = {name: one for name, one in candidates().items() if name == "boosted"}
    trained = train(one, 3, pool)
    errors = trained.errors["boosted"]
    assert errors.first_mae is not None and errors.persistence_mae is not None
    assert errors.first_mae < 0.5 * errors.persistence_mae
    earlier = msgspec.structs.replace(trained, learned=trained.learned["forest"])  # as another release kept it
    profile = msgspec.structs.replace(trained, learned={**trained.learned, "regression": []})
    assert np.array_equal(forecast(earlier, one, pool).quantiles, forecast(profile, one, pool).quantiles)


def test_missing_is_not_zero() -> None:
    values = household(40)
    holed = values.copy()
    holed[20 * 24 : 23 * 24] = np.nan
    holed[-5:] = np.nan
    found = made(holed)
    assert np.isfinite(found.quantiles).all()
    assert found.median.mean() == pytest.approx(made(values).median.mean(), rel=0.1)
    assert found.start_ns == series(values).end_ns
    with pytest.raises(ForecastRefused):
        made(np.full(100, np.nan))


def test_a_meter_has_a_forecast_from_its_first_hour() -> None:
    first = made(np.array([2.5]))
    assert first.median == pytest.approx([2.5] * 24)
    assert np.isnan(first.quantiles[0]).all()  # one value says nothing of errors
    later = made(household(2))
    assert np.isfinite(later.quantiles).all()
    assert later.model == "week-mean"


def test_an_hour_of_the_day_that_was_never_seen_is_no_surer_than_others() -> None:
    for hours in (24, 30):
        found = made(household(2)[:hours]).quantiles
        assert not (found[-1] <= found[0]).any()  # wide, or not known


def test_a_constant_stays_and_its_interval_is_narrow() -> None:
    found = made(np.full(24 * 20, 7.0))
    assert found.quantiles == pytest.approx(np.full((len(LEVELS), 24), 7.0))


def test_what_has_gaps_where_the_season_is_looked_for_is_learned_without_a_warning() -> None:
    """Three values in five weeks: no two are a day or a week apart."""
    values = np.full(35 * 24, np.nan)
    values[[0, 10, 20]] = 1.0, 2.0, 3.0
    assert SeasonalNaive().learn(Table(series(values), scale_of(values), 24), len(values), 24) == 24


def test_absurd_values_do_not_move_the_forecast() -> None:
    values = household(40)
    absurd = values.copy()
    absurd[[100, 500, -3]] = [1e15, -1e15, 1e9]
    assert made(absurd).median == pytest.approx(made(values).median, abs=0.5)


def test_a_week_across_a_moved_clock_is_forecast() -> None:
    one = series(household(40), zone="Europe/Berlin")
    one = msgspec.structs.replace(one, start_ns=one.start_ns - 12 * 86_400 * 10**9)
    found = forecast(train(one, 168, QUICK), one, QUICK)
    assert np.isfinite(found.quantiles).all()


def test_the_back_test_chooses_and_a_loser_is_not_shipped() -> None:
    values = household(40) + 10
    pool = QUICK | {"good": Oracle("good", 0.0), "bad": Oracle("bad", 99.0), "broken": Broken("broken", 0)}
    trained = train(series(values), 24, pool)
    judged = {name: one.mae for name, one in trained.errors.items()}
    assert "broken" not in judged
    assert trained.champion == min(judged, key=lambda name: judged[name] or 0.0)
    assert judged["bad"] == max(one for one in judged.values() if one is not None)
    only = train(series(values), 24, {"week-mean": QUICK["week-mean"], "bad": pool["bad"]})
    assert only.champion == "week-mean"


def test_every_candidate_is_worth_its_place() -> None:
    """Each has a series on which it is the best of all: none is there for show."""
    random = np.random.default_rng(1)
    day, other = random.normal(0, 1, 24), random.normal(0, 1, 24)
    cases = {
        "seasonal-naive": np.concatenate((np.tile(day, 7), np.tile(other, 3))),
        "week-mean": np.concatenate((np.tile(day, 5), np.tile(other, 2), np.tile(day, 4))) + random.normal(0, 0.3, 264),
        "ets": np.linspace(0, 5, 10 * 24) + np.tile(day, 10),
        "regression": household(50, 9),
    }
    alone = {name: one for name, one in QUICK.items() if name != "blend"}
    assert {name: train(series(values), 24, alone).champion for name, values in cases.items()} == {
        name: name for name in cases
    }


def test_intervals_hold_what_they_promise_on_days_that_were_not_seen() -> None:
    values = household(110, seed=8)
    held = []
    for start in range(60, 108, 14):
        past = series(values[: start * 24])
        trained = train(past, 24, QUICK)
        for origin in range(start * 24, (start + 7) * 24 - 24, 7):
            found = forecast(trained, series(values[:origin]), QUICK)
            truth = values[origin : origin + 24]
            held.append(((truth >= found.quantiles[0]) & (truth <= found.quantiles[-1])).mean())
    assert 0.75 <= np.mean(held) <= 0.85


def test_what_a_day_is_off_by_is_one_example_however_many_hours_it_has() -> None:
    """Intervals learned of ten days, each off by one amount in all its hours, hold 80 % of the days after."""
    held = []
    for seed in range(100):
        one = series(np.repeat(np.random.default_rng(seed).normal(0, 1, 52), 24))
        table = Table(one, scale_of(one.values[: 38 * 24]), 1)
        learned, after = (
            Asked(np.arange(first * 24 - 1, last * 24 - 1), np.array([1])) for first, last in ((28, 38), (38, 52))
        )
        usual = same(np.zeros((14 * 24, 1)))
        corrections = backtest.corrections_of(same(np.zeros((10 * 24, 1))), table, learned)
        found, truth = backtest.corrected(usual, table, after, corrections), table.at(after.at[1])
        held.append(((truth >= found[0]) & (truth <= found[-1])).mean())
    assert np.mean(held) == pytest.approx(0.8, abs=0.03)


def test_a_regressor_that_is_known_ahead_helps() -> None:
    random = np.random.default_rng(6)
    weather = np.repeat(random.normal(0, 1, 60 * 4), 6)
    values = household(60, 6) * 0.3 + weather
    published = Regressor(np.concatenate((weather, np.repeat(random.normal(0, 1, 4), 6))), 24)
    alone, helped = (train(series_with(values, given), 24, QUICK) for given in ((), (published,)))
    best = [min(error.mae for error in one.errors.values() if error.mae is not None) for one in (alone, helped)]
    assert best[1] < 0.7 * best[0]
    found = forecast(helped, series_with(values, (published,)), QUICK)
    assert np.corrcoef(found.median, published.values[-24:])[0, 1] > 0.8


def series_with(values: Numbers, regressors: tuple[Regressor, ...]) -> Series:
    return msgspec.structs.replace(series(values), regressors=regressors)


def test_what_was_trained_survives_storage() -> None:
    one = series(household(40))
    trained = train(one, 24, QUICK)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(trained), type=Trained)
    assert np.array_equal(forecast(trained, one, QUICK).quantiles, forecast(again, one, QUICK).quantiles)


def test_refusals_say_what_to_do() -> None:
    one = series(household(20))
    trained = train(one, 24, QUICK)
    for ask in (
        lambda: train(one, 8 * 24, QUICK),
        lambda: forecast(trained, one, QUICK, 25),
        lambda: forecast(trained, one, {}),
    ):
        with pytest.raises(ForecastRefused) as refused:
            ask()
        assert refused.value.remedy


def test_origins_see_every_hour_of_the_day_alike() -> None:
    origins = backtest.origins_of(1_000, 1_672, 24, 24)
    assert origins[0] == 999 and origins[-1] + 24 <= 1_671
    hours = np.bincount(origins % 24, minlength=24)
    assert hours.min() >= hours.max() - 1


@pytest.mark.skipif(not boosted.available(), reason="lightgbm is not installed (extra forecast)")
def test_stored_trees_are_those_that_were_grown() -> None:
    import lightgbm

    from taihu.insight.forecast.forest import forest_of

    random = np.random.default_rng(1)
    rows = random.normal(size=(600, 4))
    data = lightgbm.Dataset(rows, rows[:, 0] ** 2 + np.sin(rows[:, 1]))
    settings = {"objective": "quantile", "verbosity": -1, "use_missing": False, "num_threads": 1}
    models = [lightgbm.train(settings | {"alpha": level}, data, 20) for level in (0.1, 0.9)]
    fresh = np.vstack([random.normal(size=(100, 4)), rows[:50]])
    found = forest_of([one.dump_model() for one in models]).values(fresh, 2)
    assert found == pytest.approx(np.array([one.predict(fresh) for one in models]))


def test_the_champion_says_what_its_interval_held_once_it_is_calibrated_and_its_mase() -> None:
    """What one half of the origins was off by calibrates the other: neither is judged by itself."""
    values = household(60, seed=5)
    trained = train(series(values), 24, QUICK)
    best = trained.errors[trained.champion]
    assert best.covered is not None and 0.7 < best.covered < 0.9
    assert all(one.covered is None for name, one in trained.errors.items() if name != trained.champion)
    begin = len(values) - backtest.judged_span(len(values), 24)
    usual = float(np.abs(values[24:begin] - values[: begin - 24]).mean())
    assert best.mae is not None
    assert best.mase == pytest.approx(best.mae / usual)
