"""What a series says at any of its steps of the steps to come: means by the local clock, and features of a lead.

An origin is the last step known, a target a step after it. Everything here is as of the origin: nothing after it is
looked at, whatever the table holds.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from taihu.insight.forecast.scale import Scale
from taihu.insight.forecast.series import DAY_S, Series, slots
from taihu.kernel.arrays import Ints, Numbers

_DAY_RATE, _WEEK_RATE, _SCALE_RATE = 0.08, 0.15, 0.06  # shares by which a new value moves what was learned
_SHRINK = 3.0  # weeks of an hour of the week that count as much as its hour of the day
_CHAIN_MAX = 9  # days, or weeks, that a target may lie behind its origin, and one


class Means(NamedTuple):
    """A running mean of each slot, after each step, and how often the slot was seen; `before` links a slot's steps."""

    after: Numbers
    seen: Numbers
    before: Ints

    def as_of(self, origins: Ints, targets: Ints) -> tuple[Numbers, Numbers]:
        """Mean and count of the targets' slots at the origins; NaN and 0 where a slot was never seen by then."""
        at = targets.copy()
        for _ in range(_CHAIN_MAX):
            late = at > origins
            if not late.any():
                break
            at[late] = self.before[at[late]]
        at[at > origins] = -1
        known = at >= 0
        return np.where(known, self.after[at], np.nan), np.where(known, self.seen[at], 0.0)


class Layout(NamedTuple):
    """How the steps of a grid lie in a table of rounds by slots, and which step of a slot came before each."""

    place: Ints
    before: Ints
    rounds: int
    kinds: int


class Table:
    """One series, scaled, as far as `ahead` steps beyond its end."""

    def __init__(self, series: Series, scale: Scale, ahead: int) -> None:
        self.day = series.day
        self.count = len(series.values)
        self.step_s = series.step_s
        self.values = scale.inside(series.values)
        whole = self.count + ahead
        grid = (series.start_ns, series.step_s, whole, series.zone)
        self.day_slot, self.week_slot = slots(*grid)
        by_day = _layout(*grid, "day")
        self._by_day = _means(self.values, by_day, _DAY_RATE)
        self._by_kind = _means(self.values, _layout(*grid, "kind"), _DAY_RATE)
        self._by_week = _means(self.values, _layout(*grid, "week"), _WEEK_RATE)
        self._overall = _overall(self.values)
        steps = np.arange(self.count)
        self.off = self.values - self.profile(steps - 1, steps)
        self._spread = _means(np.abs(self.off), by_day, _SCALE_RATE)
        self.regressors = [_Known(one.values[:whole], one.ahead, by_day) for one in series.regressors]

    def profile(self, origins: Ints, targets: Ints) -> Numbers:
        """The mean that is usual at the targets' place in the week, in the day where few weeks are known."""
        overall = np.where(origins >= 0, self._overall[origins], np.nan)
        found, _ = self._by_day.as_of(origins, targets)
        found = np.where(np.isnan(found), overall, found)
        for means in (self._by_kind, self._by_week):
            mean, seen = means.as_of(origins, targets)
            found = np.where(seen > 0, (np.nan_to_num(mean) * seen + _SHRINK * found) / (seen + _SHRINK), found)
        return found

    def day_profile(self, origins: Ints, targets: Ints) -> Numbers:
        """The mean that is usual at the targets' place in the day."""
        return self._by_day.as_of(origins, targets)[0]

    def spread(self, origins: Ints, targets: Ints) -> Numbers:
        """How far values usually lie from the profile at the targets' place in the day; NaN where it is unknown."""
        return self._spread.as_of(origins, targets)[0]

    def last(self, origins: Ints, targets: Ints, season: int) -> Numbers:
        """The value a whole number of seasons before the targets, the latest that is known at the origins."""
        back = -((origins - targets) // season) * season
        return self.at(targets - back)

    def at(self, places: Ints) -> Numbers:
        """Values at places; NaN where there is none."""
        inside = (places >= 0) & (places < self.count)
        return np.where(inside, self.values[np.where(inside, places, 0)], np.nan) if self.count else _nan(places)

    def off_at(self, places: Ints) -> Numbers:
        """How far the values at places were from their profiles; NaN where unknown."""
        inside = (places >= 0) & (places < self.count)
        return np.where(inside, self.off[np.where(inside, places, 0)], np.nan) if self.count else _nan(places)


class _Known:
    """A regressor: its values in their own spread, and how far they are from what is usual at their time of day."""

    def __init__(self, values: Numbers, ahead: int, layout: Layout) -> None:
        known = values[np.isfinite(values)]
        centre, spread = (float(np.median(known)), float(known.std())) if len(known) else (0.0, 1.0)
        self.values = (values - centre) / (spread or 1.0)
        self.ahead = ahead
        means = _means(self.values, layout, _DAY_RATE)
        steps = np.arange(len(values))
        self.off = self.values - means.as_of(steps - 1, steps)[0]

    def features(self, origins: Ints, targets: Ints) -> list[Numbers]:
        """Value, and deviation, at the target or as near before it as is known."""
        at = np.minimum(np.minimum(targets, origins + self.ahead), len(self.values) - 1)
        if not len(self.values):
            return [_nan(at), _nan(at)]
        return [np.where(at >= 0, self.values[at], np.nan), np.where(at >= 0, self.off[at], np.nan)]


@lru_cache(512)
def _layout(start_ns: int, step_s: int, count: int, zone: str, kind: str) -> Layout:
    """The layout of a grid; the same for all series of a time zone, which is why it is kept."""
    by_day, by_week = slots(start_ns, step_s, count, zone)
    day = DAY_S // step_s
    slot, kinds = {
        "day": (by_day, day),
        "kind": (by_day + (by_week >= 5 * day) * day, 2 * day),
        "week": (by_week, 7 * day),
    }[kind]
    order = np.argsort(slot, kind="stable")
    sizes = np.bincount(slot, minlength=kinds)
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    rank = np.arange(count) - np.repeat(starts, sizes)
    before = np.full(count, -1, np.int64)
    follows = np.flatnonzero(rank > 0)
    before[order[follows]] = order[follows - 1]
    place = np.empty(count, np.int64)
    place[order] = rank * kinds + slot[order]
    return Layout(place, before, int(sizes.max(initial=0)), kinds)


def _means(values: Numbers, layout: Layout, rate: float) -> Means:
    """Running means of each slot's values; missing ones teach nothing."""
    flat = np.full(layout.rounds * layout.kinds, np.nan)
    flat[layout.place[: len(values)]] = values
    grid = flat.reshape(layout.rounds, layout.kinds)
    known = np.isfinite(grid)
    seen = np.cumsum(known, axis=0, dtype=np.float64)
    weight = np.where(known, np.maximum(1 / np.maximum(seen, 1), rate), 0.0)
    moved, kept = weight * np.where(known, grid, 0.0), 1 - weight
    after = np.empty_like(grid)
    mean = np.zeros(layout.kinds)
    for turn in range(layout.rounds):
        mean = after[turn] = kept[turn] * mean + moved[turn]
    after[seen == 0] = np.nan
    return Means(after.ravel()[layout.place], seen.ravel()[layout.place], layout.before)


def _overall(values: Numbers) -> Numbers:
    """The mean of all that was known by each step."""
    known = np.isfinite(values)
    seen = np.cumsum(known)
    total = np.cumsum(np.where(known, values, 0.0))
    return np.where(seen > 0, total / np.maximum(seen, 1), np.nan)


def _nan(places: Ints) -> Numbers:
    return np.full(places.shape, np.nan)
