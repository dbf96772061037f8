"""Candidates that need no history to speak of: the last season again, and the usual week bent to where things are."""

from typing import Any

import numpy as np

from taihu.insight.forecast.candidate import Asked, same
from taihu.insight.forecast.table import Table
from taihu.kernel.arrays import Numbers

_CARRIES = (0.0, 0.3, 0.5, 0.65, 0.8, 0.95)
_FADES = (0.6, 0.8, 0.9, 0.96, 0.99)  # an hour
_GUESS = (0.65, 0.9)
_LEARN_FROM_DAYS = 3
_ORIGINS_MAX = 400


class SeasonalNaive:
    """What was a day before; in a series of three weeks, a week before, where that was nearer the mark."""

    name = "seasonal-naive"
    days_min = 1.0

    def learn(self, table: Table, until: int, horizon: int) -> Any:
        week = 7 * table.day
        if until < 3 * week:
            return table.day
        errors = [_mean_error(_since(table, until, lag)) for lag in (table.day, week)]
        return week if errors[1] < errors[0] else table.day

    def predict(self, learned: Any, table: Table, asked: Asked) -> Numbers:
        return same(table.last(*asked.at, int(learned)))


class WeekMean:
    """The hour-of-week mean, and a fading share of how far the last value was from its own."""

    name = "week-mean"
    days_min = 0.0

    def learn(self, table: Table, until: int, horizon: int) -> Any:
        if until < _LEARN_FROM_DAYS * table.day:
            return list(_GUESS)
        last = until - 1 - min(horizon, table.day)
        origins = np.unique(np.linspace(table.day, max(table.day, last), _ORIGINS_MAX).astype(np.int64))
        leads = np.unique(np.geomspace(1, min(horizon, table.day), 8).astype(np.int64))
        asked = Asked(origins, leads)
        at = asked.at
        usual, off, truth = table.profile(*at), _off(table, asked), table.at(at[1])
        if not np.isfinite(truth).any():
            return list(_GUESS)
        hours = _hours(table, asked)
        found = [
            (_mean_error(usual + carry * fade**hours * off - truth), carry, fade)
            for carry in _CARRIES
            for fade in _FADES
        ]
        return list(min(found)[1:])

    def predict(self, learned: Any, table: Table, asked: Asked) -> Numbers:
        carry, fade = learned
        return same(table.profile(*asked.at) + carry * fade ** _hours(table, asked) * _off(table, asked))


def _mean_error(errors: Numbers) -> float:
    """Of what is known; infinite where nothing is."""
    known = np.abs(errors[np.isfinite(errors)])
    return float(known.mean()) if known.size else np.inf


def _since(table: Table, until: int, lag: int) -> Numbers:
    places = np.arange(lag, until)
    return table.at(places) - table.at(places - lag)


def _off(table: Table, asked: Asked) -> Numbers:
    """How far the value at the origin was from what was usual; nothing is carried where it is missing."""
    return np.nan_to_num(table.off_at(asked.origins))[:, None]


def _hours(table: Table, asked: Asked) -> Numbers:
    return np.asarray((asked.leads - 1) * (table.step_s / 3_600))
