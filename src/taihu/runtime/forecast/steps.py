"""What forecasts are made of: a property's steps from the history, by its kind, missing as NaN (§3)."""

from collections.abc import Sequence

import numpy as np

from taihu.history.calculated import LevelWindows
from taihu.history.history import History
from taihu.history.windows import CounterWindows, GaugeWindows, IntervalWindows, Windows
from taihu.kernel.arrays import Flags, Numbers
from taihu.kernel.clock import NS_PER_S
from taihu.things.property import DataType, Kind, Property

EVERY_S = {"15m": 900, "1h": 3_600}
_KNOWN_FROM = 0.5  # coverage below which a step is missing
_KINDS = (Kind.GAUGE, Kind.COUNTER, Kind.INTERVAL)
_TYPES = (DataType.NUMBER, DataType.INTEGER)


def is_numeric(definition: Property) -> bool:
    """Whether a property has steps: a gauge, counter or interval of numbers."""
    return definition.kind in _KINDS and definition.data_type in _TYPES


def last_end(now_ns: int, every: str) -> int:
    """The end of the last step that is over."""
    step_ns = EVERY_S[every] * NS_PER_S
    return now_ns // step_ns * step_ns


def steps_of(
    history: History, project: str, things: Sequence[str], name: str, start_ns: int, end_ns: int, every: str
) -> dict[str, Numbers]:
    """The steps of one property of several things from `start_ns` to `end_ns`, both ends of steps.

    A gauge's mean over the known part of the step; an interval's amount, as if it had gone on alike where a lesser part
    is missing; a counter's increase where no gap came from the step before or goes on to the next.
    """
    count = (end_ns - start_ns) // (EVERY_S[every] * NS_PER_S)
    if count < 1:
        return {thing: np.empty(0) for thing in things}
    bounds = start_ns + np.arange(count + 1, dtype=np.int64) * EVERY_S[every] * NS_PER_S
    return {thing: _values(found) for thing, found in history.window_between(project, things, name, bounds).items()}


def _values(windows: Windows) -> Numbers:
    known = windows.coverage >= _KNOWN_FROM
    share = np.where(known, windows.coverage, 1.0)
    match windows:
        case GaugeWindows():
            values = windows.time_mean
        case LevelWindows():
            values = windows.level
        case CounterWindows():
            return np.where(_counted_within(windows), windows.increase, np.nan)
        case IntervalWindows():
            values = windows.amount / share
        case _:
            return np.full(len(windows), np.nan)
    return np.where(known, values, np.nan)


def _counted_within(windows: CounterWindows) -> Flags:
    """Whether the increase of each step is that of the step alone: what rose in a gap is where the gap ended."""
    full = np.equal(windows.covered, windows.elapsed)
    beside = np.pad(full, 1)
    return np.asarray(full | (beside[:-2] & beside[2:]))
