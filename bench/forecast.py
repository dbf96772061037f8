"""Forecasts: 17 measured houses and their district, out of sample, beside persistence and the seasonal naive.

Nothing of the weeks that are forecast was seen by what forecasts them: a model is trained on the 120 days before a
week, and asked for 24 hours from every seventh hour of that week.
"""

import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import msgspec
import numpy as np

from bench.harness import Options, Report, Row
from taihu.insight.forecast import boosted
from taihu.insight.forecast.candidate import LEVELS
from taihu.insight.forecast.series import Series
from taihu.insight.forecast.trained import HISTORY_DAYS, Trained, candidates, forecast, train
from taihu.kernel.arrays import Numbers
from taihu.kernel.clock import HOUR_NS, NS_PER_S
from taihu.sim.district import START_NS, TIME_ZONE, District

NAME = "forecast"
_HORIZON = 24
_WEEKS = range(20, 52, 8)
_EVERY = 7
_SERIES = 1_000
_WORKERS = 2


class Judged(NamedTuple):
    """Absolute errors by origin and lead of us and of the day before, of the last value at lead 1, and who won."""

    ours: Numbers
    naive: Numbers
    persistence: Numbers
    held: Numbers
    scale: float
    champions: Counter[str]


def run(options: Options) -> Report:
    """Quality of every house and of the district, and the time that 1,000 series take."""
    report = Report(NAME, "Forecasts: 24 h ahead, 17 measured houses, 4 weeks of a year that were not seen")
    district = District()
    loads = {house.name: house.load for house in district.houses[: 2 if options.smoke else None]}
    named = {"district": np.sum([house.load for house in district.houses], axis=0), **loads}
    weeks = list(_WEEKS)[: 1 if options.smoke else None]
    with ProcessPoolExecutor(_WORKERS) as processes:
        judged = processes.map(_judge, named.values(), [weeks] * len(named))
        found = dict(zip(named, judged, strict=True))
    report.rows += [_row(name, one) for name, one in found.items()]
    houses = [_row(name, one) for name, one in found.items() if name != "district"]
    numeric = [name for name, value in houses[0].items() if isinstance(value, float)]
    report.rows.append({"series": "mean of the houses"} | {name: _mean(houses, name) for name in numeric})
    _timed(report, loads["house-01"], 20 if options.smoke else _SERIES)
    if not boosted.available():
        report.note("Without lightgbm (extra forecast): gradient-boosted trees did not compete.")
    report.note(
        "MASE: mean absolute error of the median over that of the day before within the first 20 weeks. On the same "
        "hours: over that of the day before on the hours forecast. 1 h: against the last value standing."
    )
    report.note(
        "Goals: 1 h of the district at least 10 % under persistence; MASE under 0.9, and 75 to 85 % held, on average "
        f"over the houses; {_SERIES:,} series x 24 h refreshed in 5 s on 2 cores."
    )
    return report


def _judge(values: Numbers, weeks: list[int]) -> Judged:
    pool = candidates()
    quantiles, truths, days, lasts, champions = [], [], [], [], Counter[str]()
    for week in weeks:
        begin = week * 168
        trained = train(_past(values, begin), _HORIZON, pool)
        champions[trained.champion] += 1
        for origin in range(begin, begin + 168, _EVERY):
            quantiles.append(forecast(trained, _past(values, origin), pool).quantiles)
            truths.append(values[origin : origin + _HORIZON])
            days.append(values[origin - 24 : origin])
            lasts.append(values[origin - 1])
    found, truth = np.array(quantiles), np.array(truths)
    sample = values[: _WEEKS[0] * 168]
    return Judged(
        np.abs(found[:, LEVELS.index(0.5)] - truth),
        np.abs(np.array(days) - truth),
        np.abs(np.array(lasts) - truth[:, 0]),
        ((truth >= found[:, 0]) & (truth <= found[:, -1])).astype(np.float64),
        float(np.abs(sample[24:] - sample[:-24]).mean()),
        champions,
    )


def _past(values: Numbers, end: int) -> Series:
    begin = max(0, end - HISTORY_DAYS * 24)
    return Series(START_NS + begin * HOUR_NS, HOUR_NS // NS_PER_S, values[begin:end], TIME_ZONE)


def _row(name: str, judged: Judged) -> Row:
    return {
        "series": name,
        "MASE": float(judged.ours.mean() / judged.scale),
        "on the same hours": float(judged.ours.mean() / judged.naive.mean()),
        "1 h against persistence": float(judged.ours[:, 0].mean() / judged.persistence.mean()),
        "held of 80 %": float(judged.held.mean()),
        "champions": ", ".join(f"{name} {count}" for name, count in judged.champions.most_common()),
    }


def _mean(rows: list[Row], name: str) -> float:
    return float(np.mean([value for row in rows if isinstance(value := row[name], float)]))


def _timed(report: Report, values: Numbers, count: int) -> None:
    """Train one series of each champion, then refresh many by two processes that hold them trained."""
    one, pool = _past(values, 30 * 168), candidates()
    began = time.process_time()
    trained = train(one, _HORIZON, pool)
    took = time.process_time() - began
    models = [_forced(one, name, trained) for name in pool]
    text = msgspec.msgpack.encode([models[place % len(models)] for place in range(count // _WORKERS)])
    with ProcessPoolExecutor(_WORKERS) as processes:
        list(processes.map(_refresh, [b"\x90"] * _WORKERS, [values] * _WORKERS))  # imports are done
        began = time.perf_counter()
        seconds = list(processes.map(_refresh, [text] * _WORKERS, [values] * _WORKERS))
        wall = time.perf_counter() - began
    report.note(
        f"Training of one series, all candidates back-tested: {took:.2f} s of CPU. Refresh of {count} series x "
        f"{_HORIZON} h, each candidate champion of as many: {wall:.2f} s with {_WORKERS} processes "
        f"({sum(seconds) / count * 1000:.2f} ms of CPU a series)."
    )


def _forced(one: Series, name: str, trained: Trained) -> Trained:
    """As trained, with another champion."""
    alone = train(one, _HORIZON, {name: candidates()[name]})
    return msgspec.structs.replace(alone, errors=trained.errors)


def _refresh(text: bytes, values: Numbers) -> float:
    """Forecast each of the trained series anew, an hour later each; the CPU seconds it took."""
    models = msgspec.msgpack.decode(text, type=list[Trained])
    pool = candidates()
    began = time.process_time()
    for place, trained in enumerate(models):
        forecast(trained, _past(values, 30 * 168 + place), pool)
    return time.process_time() - began
