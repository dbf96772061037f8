"""A series on an even grid of steps, and the local clock over that grid."""

from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from taihu.kernel.arrays import Ints, Numbers
from taihu.kernel.clock import NS_PER_S, to_datetime

DAY_S = 86_400
_OFFSET_EVERY_S = 900  # no time zone changes its clock off the quarter of an hour
_MOST = 1e15  # of any unit: what no meter says, and squares of which still are numbers
_MONDAY = 3  # 1970-01-01 was a Thursday


class Regressor(msgspec.Struct, frozen=True):
    """Another series on the same grid, known `ahead` steps beyond the last value: a published weather forecast, say."""

    values: Numbers
    ahead: int = 0


class Series(msgspec.Struct, frozen=True):
    """Values of steps of `step_s` seconds; the first begins at `start_ns`. NaN is missing, and never 0 (§3)."""

    start_ns: int
    step_s: int
    values: Numbers
    zone: str = "UTC"
    regressors: tuple[Regressor, ...] = ()

    @property
    def end_ns(self) -> int:
        """When the last step ends: the forecast's first begins there."""
        return self.start_ns + len(self.values) * self.step_s * NS_PER_S

    @property
    def day(self) -> int:
        """Steps in a day of 24 hours."""
        return DAY_S // self.step_s

    def until(self, count: int) -> "Series":
        """The series as it was known after `count` steps."""
        known = tuple(Regressor(one.values[: count + one.ahead], one.ahead) for one in self.regressors)
        return msgspec.structs.replace(self, values=self.values[:count], regressors=known)


def credible(series: Series) -> Series:
    """A series of which what no meter can say is missing: beyond 1e15 in any unit, as a broken register may read."""
    known = tuple(Regressor(_can_be(one.values), one.ahead) for one in series.regressors)
    return msgspec.structs.replace(series, values=_can_be(series.values), regressors=known)


def _can_be(values: Numbers) -> Numbers:
    return np.where(np.abs(values) <= _MOST, values, np.nan)


@lru_cache(256)
def slots(start_ns: int, step_s: int, count: int, zone: str) -> tuple[Ints, Ints]:
    """Of each step: its place in the local day, and in the local week that begins on Monday; read only.

    A day on which the clock is moved has the same places as others, one twice or one not at all.

    >>> day, week = slots(0, 3_600, 3, "Europe/Berlin")
    >>> day.tolist(), week.tolist()
    ([1, 2, 3], [73, 74, 75])
    """
    starts = start_ns // NS_PER_S + np.arange(count, dtype=np.int64) * step_s
    local = starts + _offsets(starts, zone)
    day = local % DAY_S // step_s
    week = (local // DAY_S + _MONDAY) % 7 * (DAY_S // step_s) + day
    day.flags.writeable = week.flags.writeable = False
    return day, week


def _offsets(starts: Ints, zone: str) -> Ints:
    """Seconds that the local clock is ahead of UTC: one look-up a week, and one a quarter in a week that changed it."""
    info = ZoneInfo(zone)

    def at(second: int) -> int:
        delta = to_datetime(second * NS_PER_S).astimezone(info).utcoffset()
        return 0 if delta is None else int(delta.total_seconds())

    found = np.empty(len(starts), np.int64)
    week = 7 * DAY_S
    begin = 0
    while begin < len(starts):
        end = int(np.searchsorted(starts, starts[begin] + week, side="right"))
        first, last = at(int(starts[begin])), at(int(starts[end - 1]))
        if first == last:
            found[begin:end] = first
        else:
            quarters = starts[begin:end] // _OFFSET_EVERY_S
            known = {int(quarter): at(int(quarter) * _OFFSET_EVERY_S) for quarter in np.unique(quarters)}
            found[begin:end] = [known[int(quarter)] for quarter in quarters]
        begin = end
    return found
