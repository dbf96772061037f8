"""The day-ahead forecasts of houses and signals: learned from the first hour, blind to the future."""

import numpy as np

from taihu.insight.day import HORIZON, HouseForecast, SignalForecast
from taihu.insight.ridge import OnlineRidge


def days(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Loads and PV of two houses with a daily shape and some noise, hours by houses."""
    random = np.random.default_rng(seed)
    hour = np.arange(24 * count) % 24
    load = 1 + 0.5 * np.sin(hour / 24 * 2 * np.pi)[:, None] * [1.0, 2.0] + random.uniform(0, 0.1, (24 * count, 2))
    solar = np.maximum(0, np.sin((hour - 6) / 12 * np.pi))[:, None] * [2.0, 3.0]
    return load, solar


def test_the_first_hour_gives_an_outlook() -> None:
    outlook = HouseForecast(3).update(5, np.array([1.0, 2.0, 3.0]), np.zeros(3))
    assert outlook.net_kwh.shape == outlook.spread_kwh.shape == (3, HORIZON)
    assert np.allclose(outlook.net_kwh[:, 0], [1, 2, 3])
    assert np.isfinite(outlook.net_kwh).all() and (outlook.total_spread_kwh > 0).all()


def test_houses_of_any_size_are_forecast_alike() -> None:
    load, solar = days(4)
    one, other = HouseForecast(2), HouseForecast(2)
    size = np.array([100.0, 1e-3])
    for at in range(90):
        found, larger = (
            one.update(at % 24, load[at], solar[at]),
            other.update(at % 24, size * load[at], size * solar[at]),
        )
    assert np.array_equal(larger.unit_kwh, size * found.unit_kwh)
    assert np.allclose(larger.spread_kwh, size[:, None] * found.spread_kwh)
    alone = HouseForecast(2).update(0, np.array([0.0, 1.0]), np.zeros(2))
    assert alone.unit_kwh.tolist() == [1.0, 1.0]  # of nothing nothing is known


def test_a_house_that_was_empty_does_not_upset_the_others() -> None:
    """Nor does the first hour of one say how large it is: it is as large as the others until a day is seen."""
    load, solar = days(30)
    load[:, 1], solar[:, 1] = 1e-7 * load[:, 0], 0.0
    forecast = HouseForecast(2)
    assert forecast.update(0, load[0], solar[0]).unit_kwh.tolist() == [1.0, 1.0]
    for at in range(1, len(load)):
        before = forecast.update(at % 24, load[at], solar[at])
    after = forecast.update(0, np.array([load[0, 0], 3.0]), np.zeros(2))
    assert after.unit_kwh[1] <= 0.01
    assert np.abs(after.net_kwh[0, :-1] - before.net_kwh[0, 1:]).max() < 0.3


def test_a_daily_shape_is_learned_with_its_errors() -> None:
    load, solar = days(40)
    forecast = HouseForecast(2)
    for at in range(len(load) - 24):
        outlook = forecast.update(at % 24, load[at], solar[at])
    ahead = (load - solar)[len(load) - 24 :].T
    assert np.abs(outlook.net_kwh - ahead).mean() < 0.06
    assert np.abs(outlook.net_kwh.sum(axis=0) - ahead.sum(axis=0)).mean() < 0.12
    assert outlook.spread_kwh.mean() < 0.12


def test_the_same_past_gives_the_same_outlook() -> None:
    load, solar = days(3)
    one, other = HouseForecast(2), HouseForecast(2)
    for at in range(60):
        first, second = (each.update(at % 24, load[at], solar[at]) for each in (one, other))
    assert np.array_equal(first.net_kwh, second.net_kwh)


def test_how_departures_fade_is_learned() -> None:
    random = np.random.default_rng(3)
    load, above = np.empty((24 * 90, 1)), 0.0
    for at in range(len(load)):
        above = -0.6 * above + random.normal(0, 0.2)  # above one hour, below the next: not what is taken for granted
        load[at] = 2 + np.sin(at / 24 * 2 * np.pi) + above
    forecast, usual, off = HouseForecast(1), [], []
    for at in range(len(load) - 1):
        outlook = forecast.update(at % 24, load[at], np.zeros(1))
        if at > 24 * 60:
            off.append(outlook.net_kwh[0, 0] - load[at + 1, 0])
            usual.append(2 + np.sin((at + 1) / 24 * 2 * np.pi) - load[at + 1, 0])
    assert np.std(off) < 0.92 * np.std(usual)


def test_a_thousand_times_the_load_gives_a_thousand_times_the_outlook() -> None:
    load, solar = days(20)
    small, large = HouseForecast(2), HouseForecast(2)
    for at in range(len(load)):
        one, other = (each.update(at % 24, by * load[at], by * solar[at]) for each, by in ((small, 1), (large, 1000)))
    assert np.allclose(1000 * one.net_kwh, other.net_kwh)


def test_a_dark_morning_says_nothing_of_the_day() -> None:
    load, solar = days(10)
    forecast = HouseForecast(2)
    for at in range(24 * 9 + 5):
        outlook = forecast.update(at % 24, load[at], solar[at])
    assert (outlook.net_kwh[:, 7] < -0.5).all()  # noon, though it is night


def test_a_signal_keeps_its_shape_and_bends_to_where_it_is() -> None:
    shape = 1 + 0.5 * np.sin(np.arange(24) / 24 * 2 * np.pi)
    forecast = SignalForecast()
    for at in range(24 * 20):
        ahead = forecast.update(at % 24, float(shape[at % 24]))
    assert np.allclose(ahead, shape, atol=1e-6)
    higher = forecast.update(0, float(shape[0]) + 1)
    assert 0.5 < higher[0] - shape[1] < 1


def test_ridges_find_their_weights_and_forget() -> None:
    random = np.random.default_rng(1)
    ridge = OnlineRidge(2, np.zeros((2, 3)), strength=1.0, memory=0.98)
    for _ in range(2):
        weights = random.normal(size=(2, 2, 3))  # of each series, features by targets
        for _ in range(600):
            features = random.normal(size=(2, 2))
            ridge.learn(features, np.einsum("sf,sft->st", features, weights))
        assert np.allclose(ridge.predict(np.ones((2, 2))), weights.sum(axis=1), atol=0.1)
