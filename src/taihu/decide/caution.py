"""Never worse than doing nothing: a plan is followed no further than what has been stays ahead.

The measures of a year (cost, emission, ramping, load factor) are kept from the first hour on, with batteries and
without; what is in store counts for nothing. After two days of watching, each hour's action is the largest part of what
the plan wants that passes a test: were one of the errors of the last week to come again, what has been would not score
above 1. What is wanted must pass at every error. What is sure, as houses draw or have left over as much now, and will
at most of the errors, must pass at half of them, and lose next to nothing at the others: so little is begun with, and
what that wins is what more is tried with. Where a plan never wins, next to nothing is done, and the score is 1.
"""

from collections import deque

import msgspec
import numpy as np

from taihu.decide.bill import BLOCK_HOURS
from taihu.decide.policy import Hour
from taihu.kernel.arrays import Numbers

_BLIND_HOURS = 24  # whose errors are not of a forecast: it has not seen each hour of the day
_WATCHED_HOURS = 48
_ERRORS = 168  # of the last hours, which may come again
_SURE = 0.2, 0.8  # quantiles of a house's next hour: what is sure to be drawn or left over
_NOW = 0.7  # of what it draws, or has left over, in the hour that ended: no more than this is sure
_AT_STAKE = 1e-4  # of the score, at the worst of the errors
_SHARES = 0.5 ** np.arange(10)
_TINY = 1e-9
_MUCH = 1e3  # times nothing, where there should be nothing


class Caution:
    """Stands between a plan and its batteries: what is done of what it wants."""

    def __init__(self, count: int) -> None:
        self._until_now = Measures.none()
        self._errors: deque[Numbers] = deque(maxlen=_ERRORS)
        self._expected: Numbers | None = None
        self._net = np.zeros(count)

    def see(self, hour: Hour) -> None:
        """Take over an hour."""
        self._net = hour.load_kwh - hour.solar_kwh
        price, intensity = np.array(hour.price), np.array(hour.intensity)
        self._until_now = self._until_now.after(np.array([hour.meter_kwh, self._net]), price, intensity)
        if self._expected is not None and self._until_now.hours > _BLIND_HOURS:
            self._errors.append(np.array([*self._net, price, intensity]) - self._expected)

    def act(self, wanted_kwh: Numbers, net_kwh: Numbers, price: float, intensity: float) -> Numbers:
        """What is done of what is wanted, of each battery, where so much is expected of the next hour."""
        self._expected = np.array([*net_kwh, price, intensity])
        if self._until_now.hours < _WATCHED_HOURS:
            return np.zeros_like(wanted_kwh)
        cases = self._expected + np.array(self._errors)
        limit = max(1.0, float(self._until_now.score()))
        free = self._scores(wanted_kwh[None], cases).max() <= limit
        return wanted_kwh if free else self._held_back(wanted_kwh, cases, limit)

    def _held_back(self, wanted: Numbers, cases: Numbers, limit: float) -> Numbers:
        """The largest part that passes; or else what is likely to score least, to rest among it."""
        sure = self._sure(wanted, cases[:, :-2])
        ways = np.array([part * one for part in _SHARES for one in (wanted, sure)] + [np.zeros_like(wanted)])
        scores = self._scores(ways, cases)
        worst, likely = scores.max(axis=0), np.median(scores, axis=0)
        risked = worst <= limit + _AT_STAKE
        risked[:-1:2] = worst[:-1:2] <= limit
        good = np.flatnonzero(risked & (likely <= limit))
        risked[-1] = True  # to rest
        return np.asarray(ways[good[0] if len(good) else np.where(risked, likely, np.inf).argmin()])

    def _sure(self, wanted: Numbers, cases: Numbers) -> Numbers:
        low, high = np.quantile(cases, _SURE, axis=0)
        give = np.minimum(np.maximum(low, 0), _NOW * np.maximum(self._net, 0))
        take = np.minimum(np.maximum(-high, 0), _NOW * np.maximum(-self._net, 0))
        return np.asarray(np.clip(wanted, -give, take))

    def _scores(self, ways: Numbers, cases: Numbers) -> Numbers:
        """What has been would come to after each way (second axis) in each case (first)."""
        net = np.broadcast_to(cases[:, None, None, :-2], (len(cases), len(ways), 2, ways.shape[1])).copy()
        net[:, :, 0] += ways
        back = np.stack([np.abs(ways.sum(axis=1)), np.zeros(len(ways))], axis=1)  # to rest, in the hour after
        return self._until_now.after(net, cases[:, -2:-1], cases[:, -1:], back).score()


class Measures(msgspec.Struct, frozen=True):
    """The sums of what meters saw; the last axis is with batteries, and without."""

    hours: int
    cost: Numbers
    emission: Numbers
    ramping: Numbers
    last: Numbers
    factors: Numbers  # the sums of those of blocks that have ended
    sum: Numbers  # of the block that is open
    peak: Numbers

    @classmethod
    def none(cls) -> "Measures":
        zero = np.zeros(2)
        return cls(0, zero, zero, zero, zero, zero, zero, np.full(2, -np.inf))

    def after(self, meters: Numbers, price: Numbers, intensity: Numbers, back: Numbers | float = 0.0) -> "Measures":
        """An hour later, when meters (houses last) saw so much; `back` is ramping that is to come."""
        total = meters.sum(axis=-1)
        factors, block, peak = self.factors, self.sum, self.peak
        if self.hours % BLOCK_HOURS == 0:
            if self.hours:
                factors = self._with_open(BLOCK_HOURS)
            block, peak = np.zeros(2), np.full(2, -np.inf)
        return Measures(
            self.hours + 1,
            self.cost + np.maximum(0, price[..., None] * total),
            self.emission + np.maximum(0, intensity[..., None, None] * meters).sum(axis=-1),
            self.ramping + (np.abs(total - self.last) if self.hours else 0.0) + back,
            total,
            factors,
            block + total,
            np.maximum(peak, total),
        )

    def score(self) -> Numbers:
        """The challenge's score of these hours."""
        factors = self._with_open((self.hours - 1) % BLOCK_HOURS + 1)
        price, emission, ramping, factor = map(_part, (self.cost, self.emission, self.ramping, factors))
        return np.asarray((price + emission + (ramping + factor) / 2) / 3)

    def _with_open(self, hours: int) -> Numbers:
        """Load factors with that of the block that is open; where nothing was bought it has none."""
        bought = self.peak.min(axis=-1, keepdims=True) > _TINY
        factor = np.where(bought, 1 - self.sum / hours / np.where(bought, self.peak, 1.0), 0.0)
        return self.factors + factor


def _part(sums: Numbers) -> Numbers:
    """How one compares with the other; what is nothing in both is the same."""
    one, other = sums[..., 0], sums[..., 1]
    nothing = np.where(one > _TINY, _MUCH, 1.0)
    return np.where(other > _TINY, one / np.maximum(other, _TINY), nothing)
