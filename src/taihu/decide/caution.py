"""Never worse than doing nothing: a plan drives when it has won on paper, and no further than it stays ahead.

The measures of a year (cost, emission, ramping, load factor) are kept from the first hour on, with batteries and
without. First the plan is played on paper, with batteries of which the houses see nothing; once what has been would
have been cheaper with them, energy left in them counting for nothing, it drives. From then on what it wants of an hour
is put to the test of the errors of the last days: the largest part of it is done after which what has been is likely
to be no worse than with batteries at rest. What is in store comes to count as it is used again and again, so that
little is at stake at first. Where a plan never wins, nothing is done, and the score is 1.
"""

from collections import deque
from copy import copy

import msgspec
import numpy as np
from numpy.typing import NDArray

from taihu.decide.battery import Batteries, Battery
from taihu.decide.bill import BLOCK_HOURS
from taihu.decide.policy import Hour

Numbers = NDArray[np.float64]

_PAPER_HOURS = 72  # at least
_WON = 0.99  # the score on paper with which a plan may drive
_TRUST_HOURS = 48  # of driving, until it is trusted in full
_ERRORS = 48  # of the last hours, which may come again
_LIKELY = 0.9, 0.6  # quantile of the scores those would make: of a plan that is new, and of one that is trusted
_STORED = 0.8  # of the mean price of a kWh: what one in store is worth in a plan that is trusted
_SHARES = (1.0, 0.6, 0.3, 0.1)
_LOW, _HIGH = 0.1, 0.9  # quantiles of a house's next hour: what is sure to be drawn or left over
_YOUNG_HOURS = 48  # of a block: its own load factor says nothing yet
_TINY = 1e-9
_MUCH = 1e3  # times nothing, where there should be nothing


class Caution:
    """Stands between a plan and its batteries: what it sees, and what is done of what it wants."""

    def __init__(self, battery: Battery, count: int) -> None:
        self._paper = Batteries(battery, count)
        self._moved = np.zeros(count)
        self._with, self._without = _Measures(), _Measures()
        self._errors: deque[Numbers] = deque(maxlen=_ERRORS)
        self._expected: Numbers | None = None
        self._content = np.zeros(count)
        self._since = 0
        self.drives = False
        """Whether batteries do what is wanted; on paper alone before."""

    def see(self, hour: Hour) -> Hour:
        """Take over an hour; it is returned as the plan should see it."""
        net = hour.load_kwh - hour.solar_kwh
        self._without.add(net, hour.price, hour.intensity)
        self._with.add(hour.meter_kwh if self.drives else net + self._moved, hour.price, hour.intensity)
        if self._expected is not None:
            self._errors.append(np.array([*net, hour.price, hour.intensity]) - self._expected)
        if not self.drives and self._without.hours >= _PAPER_HOURS:
            self.drives = float(_score(self._with.now(), self._without.now())) < _WON
            if self.drives:
                self._with, self._since = copy(self._without), self._without.hours
        if not self.drives:
            paper = self._paper
            hour = msgspec.structs.replace(
                hour, meter_kwh=net + self._moved, content_kwh=paper.content_kwh, capacity_kwh=paper.capacity_kwh
            )
        self._content = hour.content_kwh
        return hour

    def act(self, wanted_kwh: Numbers, net_kwh: Numbers, price: float, intensity: float) -> Numbers:
        """What is done of what is wanted, of each battery, where so much is expected of the next hour."""
        self._expected = np.array([*net_kwh, price, intensity])
        if not self.drives:
            self._moved = self._paper.step(wanted_kwh)
            return np.zeros_like(wanted_kwh)
        cases = self._expected + np.array(self._errors)
        net, prices, intensities = cases[:, None, :-2], cases[:, -2:-1], np.maximum(cases[:, -1:], 0)
        low, high = np.quantile(net[:, 0], (_LOW, _HIGH), axis=0)
        sure = np.clip(wanted_kwh, -np.maximum(low, 0), np.maximum(-high, 0))
        ways = np.array([part * one for one in (wanted_kwh, sure) for part in _SHARES] + [np.zeros_like(wanted_kwh)])
        back = np.abs(ways.sum(axis=1))  # to rest, in the hour after
        with_it = self._with.after(net + ways, prices, intensities, back)
        score = _score(with_it, self._without.after(net, prices, intensities, np.zeros(1)))
        trust = min(1.0, (self._without.hours - self._since) / _TRUST_HOURS) ** 2
        likely = np.quantile(score, _LIKELY[0] + trust * (_LIKELY[1] - _LIKELY[0]), axis=0)
        stored = np.maximum(self._content + ways, 0).sum(axis=1)
        likely -= trust * _STORED * stored * self._without.worth()
        good = np.flatnonzero(likely <= 1.0)
        safe = len(_SHARES)  # from here on: what is sure, and rest
        return np.asarray(ways[good[0] if len(good) else safe + int(likely[safe:].argmin())])


class _Measures:
    """The sums of what some meters saw."""

    def __init__(self) -> None:
        self.hours = 0
        self._cost = self._emission = self._ramping = 0.0
        self._prices = self._intensities = 0.0
        self._last = 0.0
        self._factors = 0.0  # the sum of those of blocks that have ended
        self._sum, self._peak = 0.0, -np.inf

    def add(self, meters: Numbers, price: float, intensity: float) -> None:
        """Take over an hour: what each house's meter saw."""
        total = float(meters.sum())
        if self.hours and self.hours % BLOCK_HOURS == 0:
            self._factors += float(_factor(np.array(self._sum), BLOCK_HOURS, np.array(self._peak)))
            self._sum, self._peak = 0.0, -np.inf
        self._cost += max(0.0, price * total)
        self._emission += float(np.maximum(0, meters).sum()) * intensity
        self._ramping += abs(total - self._last) if self.hours else 0.0
        self._prices += max(0.0, price)
        self._intensities += intensity
        self._last = total
        self._sum += total
        self._peak = max(self._peak, total)
        self.hours += 1

    def now(self) -> tuple[Numbers, ...]:
        """Cost, emission, ramping and load factor."""
        open_factor = _factor(np.array(self._sum), (self.hours - 1) % BLOCK_HOURS + 1, np.array(self._peak))
        factor = (self._factors + open_factor) / ((self.hours - 1) // BLOCK_HOURS + 1)
        return np.array(self._cost), np.array(self._emission), np.array(self._ramping), factor

    def after(self, meters: Numbers, price: Numbers, intensity: Numbers, back: Numbers) -> tuple[Numbers, ...]:
        """The same an hour later, in each case (first axis) and way (second); `back` is a ramp that is to come."""
        total = meters.sum(axis=2)
        factors, block, peak = self._factors, self._sum, self._peak
        if self.hours % BLOCK_HOURS == 0:
            factors += float(_factor(np.array(block), BLOCK_HOURS, np.array(peak)))
            block, peak = 0.0, -np.inf
        blocks, hours = divmod(self.hours, BLOCK_HOURS)
        open_factor = _factor(block + total, hours + 1, np.maximum(peak, total))
        if blocks and hours < _YOUNG_HOURS:
            open_factor = np.full_like(total, factors / blocks)
        return (
            self._cost + np.maximum(0, price * total),
            self._emission + intensity * np.maximum(0, meters).sum(axis=2),
            self._ramping + np.abs(total - self._last) + back,
            (factors + open_factor) / (blocks + 1),
        )

    def worth(self) -> float:
        """What a kWh less from the grid is worth, in units of the score until now."""
        prices = self._prices / max(self._cost, _TINY) + self._intensities / max(self._emission, _TINY)
        return prices / self.hours / 3


def _factor(total: Numbers, hours: int, peak: Numbers) -> Numbers:
    return np.asarray(1 - total / hours / np.where(np.abs(peak) > _TINY, peak, _TINY))


def _score(with_it: tuple[Numbers, ...], without: tuple[Numbers, ...]) -> Numbers:
    price, emission, ramping, factor = (_part(one, other) for one, other in zip(with_it, without, strict=True))
    return np.asarray((price + emission + (ramping + factor) / 2) / 3)


def _part(one: Numbers, other: Numbers) -> Numbers:
    """How one compares with the other; what is nothing in both is the same."""
    nothing = np.where(one > _TINY, _MUCH, 1.0)
    return np.where(other > _TINY, one / np.maximum(other, _TINY), nothing)
