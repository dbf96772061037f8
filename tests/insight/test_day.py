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
    assert np.isfinite(outlook.total_kwh).all() and (outlook.total_spread_kwh > 0).all()


def test_a_daily_shape_is_learned_with_its_errors() -> None:
    load, solar = days(40)
    forecast = HouseForecast(2)
    for at in range(len(load) - 24):
        outlook = forecast.update(at % 24, load[at], solar[at])
    ahead = (load - solar)[len(load) - 24 :].T
    assert np.abs(outlook.net_kwh - ahead).mean() < 0.06
    assert np.abs(outlook.total_kwh - ahead.sum(axis=0)).mean() < 0.12
    assert outlook.spread_kwh.mean() < 0.12


def test_the_same_past_gives_the_same_outlook() -> None:
    load, solar = days(3)
    one, other = HouseForecast(2), HouseForecast(2)
    for at in range(60):
        first, second = (each.update(at % 24, load[at], solar[at]) for each in (one, other))
    assert np.array_equal(first.net_kwh, second.net_kwh)


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


def test_a_ridge_finds_the_weights_and_forgets() -> None:
    random = np.random.default_rng(1)
    ridge = OnlineRidge(np.zeros(2), strength=1.0, memory=0.98)
    for weights in ([2.0, -1.0], [-1.0, 3.0]):
        for _ in range(600):
            features = random.normal(size=2)
            ridge.learn(features, float(features @ weights))
        assert abs(ridge.predict(np.array([1.0, 1.0])) - sum(weights)) < 0.1
