"""Train on a series, forecast from what was trained: the two calls of the service, pure and in one process."""

import logging
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from taihu.insight.forecast import backtest, boosted
from taihu.insight.forecast.backtest import Correction, Errors
from taihu.insight.forecast.blend import Blend, mean_of
from taihu.insight.forecast.boosted import Boosted
from taihu.insight.forecast.candidate import Asked, Candidate
from taihu.insight.forecast.ets import Smoothing
from taihu.insight.forecast.regression import Regression
from taihu.insight.forecast.scale import Scale, scale_of
from taihu.insight.forecast.series import Series, credible
from taihu.insight.forecast.simple import SeasonalNaive, WeekMean
from taihu.insight.forecast.table import Table
from taihu.kernel.arrays import Numbers
from taihu.kernel.errors import RefusedError

log = logging.getLogger("taihu.forecast")

HISTORY_DAYS = 120
HORIZON_DAYS_MAX = 7


class ForecastRefused(RefusedError):
    """What is asked cannot be forecast; the message says why."""

    code = "forecast"


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Who won the back-test of a series, and how all candidates did; `quick` says that not all of them competed."""

    champion: str
    step_s: int
    horizon: int
    trained_at: int
    errors: dict[str, Errors]
    known: int
    regressors: int = 0
    quick: bool = False


class Trained(Summary, frozen=True, kw_only=True):
    """The same with what it takes to forecast."""

    scale: Scale
    learned: Any
    corrections: tuple[Correction, ...]


class Forecast(msgspec.Struct, frozen=True):
    """Steps from `start_ns` on: quantiles at LEVELS, levels by steps; NaN where nothing is known (§3)."""

    start_ns: int
    step_s: int
    model: str
    quantiles: Numbers

    @property
    def median(self) -> Numbers:
        """What is as likely to be passed as not."""
        return np.asarray(self.quantiles[backtest.MIDDLE])


def candidates(extra: Sequence[Candidate] = (), *, quick: bool = False) -> dict[str, Candidate]:
    """All that compete, by name: those that come with Taihu and `extra`; `quick` leaves out what takes long."""
    week, regression, trees = WeekMean(), Regression(), Boosted()
    parts: list[Candidate] = [week, regression]
    if boosted.available() and not quick:
        parts.append(trees)
    blend = Blend(parts, (week, regression, trees))
    found: list[Candidate] = [SeasonalNaive(), week, Smoothing(), *parts[1:], blend, *extra]
    return {one.name: one for one in found}


def readers(extra: Sequence[Candidate] = ()) -> dict[str, Candidate]:
    """All that can forecast from what was learned, by name; trees need LightGBM only to learn."""
    return candidates(extra) | {Boosted.name: Boosted()}


def train(series: Series, horizon: int, pool: dict[str, Candidate], now_ns: int = 0, *, quick: bool = False) -> Trained:
    """Let the candidates compete on the series' past and learn the best one's parameters from all of it.

    `quick` is noted: who asked left candidates out of the pool.

    Raises:
        ForecastRefused: no value is known, or the horizon is more than HORIZON_DAYS_MAX.
    """
    series = credible(series)
    known = int(np.isfinite(series.values).sum())
    if not known:
        raise ForecastRefused(
            "Nothing is known of this series yet.",
            "Wait for its first hour of readings, or declare a max_age_s as long as they are apart.",
        )
    if not 1 <= horizon <= HORIZON_DAYS_MAX * series.day:
        raise ForecastRefused(f"A horizon of {horizon} steps is none.", f"Ask for at most {HORIZON_DAYS_MAX} days.")
    count = len(series.values)
    span = backtest.judged_span(count, series.day)
    begin = count - span
    runners = {name: one for name, one in pool.items() if one.days_min * series.day <= begin} if span else {}
    if runners:
        errors, corrections = _compete(series, horizon, runners, begin)
        champion = backtest.champion_of(errors)
    else:
        champion = WeekMean.name
        errors, corrections = _cold(series, horizon, pool[champion])
    scale = scale_of(series.values)
    learned = pool[champion].learn(Table(series, scale, horizon), count, horizon)
    return Trained(
        champion=champion,
        step_s=series.step_s,
        horizon=horizon,
        trained_at=now_ns,
        scale=scale,
        learned=learned,
        corrections=corrections,
        errors=errors,
        known=known,
        regressors=len(series.regressors),
        quick=quick,
    )


def forecast(trained: Trained, series: Series, pool: dict[str, Candidate], horizon: int | None = None) -> Forecast:
    """The steps after the series' last, by what was trained; nothing but the series' own values is looked at.

    Raises:
        ForecastRefused: the model that was trained is not here any more, or the horizon is beyond what was trained.
    """
    steps = trained.horizon if horizon is None else horizon
    champion = pool.get(trained.champion)
    if champion is None:
        raise ForecastRefused(
            f"The model {trained.champion!r} is not installed.", "Install its plug-in, or train again."
        )
    if len(series.regressors) != trained.regressors:
        raise ForecastRefused("It was trained with other regressors.", "It is trained anew soon.")
    if not 1 <= steps <= trained.horizon:
        raise ForecastRefused(f"It was trained for {trained.horizon} steps.", "Ask for no more, or raise its horizon.")
    table = Table(credible(series), trained.scale, steps)
    asked = Asked(np.array([len(series.values) - 1]), np.arange(1, steps + 1))
    found = _filled(champion.predict(trained.learned, table, asked), table, asked)
    found = backtest.corrected(found, table, asked, trained.corrections)
    return Forecast(series.end_ns, series.step_s, trained.champion, trained.scale.outside(found[:, 0, :]))


def _compete(
    series: Series, horizon: int, runners: dict[str, Candidate], begin: int
) -> tuple[dict[str, Errors], tuple[Correction, ...]]:
    """Every runner learns from what was before `begin` and forecasts what came after it, origin by origin."""
    count = len(series.values)
    scale = scale_of(series.values[:begin])
    table = Table(series, scale, horizon)
    reach = min(horizon, (count - begin) // 2)
    asked = Asked(backtest.origins_of(begin, count, reach, series.day), np.arange(1, reach + 1))
    found: dict[str, Numbers] = {}
    for name, one in runners.items():
        try:
            if isinstance(one, Blend) and all(part in found for part in one.parts):
                found[name] = mean_of([found[part] for part in one.parts])
            else:
                found[name] = one.predict(one.learn(table, begin, horizon), table, asked)
        except Exception:
            log.exception("the forecaster %s fails, and does not compete", name)
    found = {name: _filled(each, table, asked) for name, each in found.items()}
    errors = {name: backtest.errors_of(each, table, asked, scale.spread, begin) for name, each in found.items()}
    best = backtest.champion_of(errors)
    covered = backtest.covered(found[best], table, asked)
    errors[best] = msgspec.structs.replace(errors[best], covered=covered)
    return errors, backtest.corrections_of(found[best], table, asked)


def _cold(series: Series, horizon: int, only: Candidate) -> tuple[dict[str, Errors], tuple[Correction, ...]]:
    """Too little for a competition: how the one that needs no history did from each step so far."""
    count = len(series.values)
    reach = min(horizon, count - 1)
    if reach < 1:
        return {only.name: Errors()}, ()
    scale = scale_of(series.values)
    table = Table(series, scale, horizon)
    asked = Asked(np.arange(count - 1), np.arange(1, reach + 1))
    found = _filled(only.predict(only.learn(table, 0, horizon), table, asked), table, asked)
    errors = backtest.errors_of(found, table, asked, scale.spread)
    return {only.name: errors}, backtest.corrections_of(found, table, asked)


def _filled(found: Numbers, table: Table, asked: Asked) -> Numbers:
    """Where a candidate knows nothing, what is usual: a hole in the past is no reason for one in the future."""
    return np.where(np.isfinite(found), found, table.profile(*asked.at))
