"""Exponential smoothing with a damped trend and a daily season, additive: the state of Holt and Winters.

Source: Hyndman and Athanasopoulos, Forecasting: principles and practice, 8.3 (ETS(A,Ad,A)).
"""

from itertools import product
from typing import Any

import numpy as np

from taihu.insight.forecast.candidate import Asked, same
from taihu.insight.forecast.table import Table
from taihu.kernel.arrays import Ints, Numbers

_LEVEL, _TREND, _SEASON = (0.02, 0.1, 0.3, 0.6), (0.0, 0.02), (0.05, 0.15, 0.35)
_DAMPING = 0.9
_LEARN_DAYS_MAX = 60


class Smoothing:
    """ETS(A,Ad,A); its three rates are those of least absolute error one step ahead."""

    name = "ets"
    days_min = 4.0

    def learn(self, table: Table, until: int, horizon: int) -> Any:
        rates = np.array(list(product(_LEVEL, _TREND, _SEASON))).T
        begin = max(0, until - _LEARN_DAYS_MAX * table.day)
        level, trend = np.zeros(rates.shape[1]), np.zeros(rates.shape[1])
        season = np.zeros((table.day, rates.shape[1]))
        error = np.zeros(rates.shape[1])
        for place in range(begin, until):
            slot, value = table.day_slot[place], table.values[place]
            trend = trend * _DAMPING
            level = level + trend
            if np.isfinite(value):
                off = value - level - season[slot]
                error += np.abs(off)
                level = level + rates[0] * off
                trend = trend + rates[1] * off
                season[slot] += rates[2] * off
        return [float(rate) for rate in rates[:, int(np.argmin(error))]]

    def predict(self, learned: Any, table: Table, asked: Asked) -> Numbers:
        level, trend, season = _states(table, learned, asked.origins)
        damped = np.cumsum(_DAMPING ** np.arange(1, asked.leads.max() + 1))[asked.leads - 1]
        places = table.day_slot[asked.at[1]]
        seasons = np.take_along_axis(season, places, axis=1)
        return same(level[:, None] + trend[:, None] * damped + seasons)


def _states(table: Table, rates: Any, origins: Ints) -> tuple[Numbers, Numbers, Numbers]:
    """Level, trend and season after each origin."""
    alpha, beta, gamma = rates
    values, slots = table.values.tolist(), table.day_slot.tolist()
    level = trend = 0.0
    season = [0.0] * table.day
    wanted = {int(origin): place for place, origin in enumerate(origins)}
    found = np.zeros((len(origins), 2))
    seasons = np.zeros((len(origins), table.day))
    for place in range(int(origins.max(initial=-1)) + 1):
        trend *= _DAMPING
        level += trend
        value = values[place]
        if value == value:  # not missing
            slot = slots[place]
            off = value - level - season[slot]
            level += alpha * off
            trend += beta * off
            season[slot] += gamma * off
        if (row := wanted.get(place)) is not None:
            found[row] = level, trend
            seasons[row] = season
    return found[:, 0], found[:, 1], seasons
