"""What a kWh more costs, when costs are judged against those without batteries and only the past is known.

The score of a year is the mean of three shares: cost, emission and the grid, the last the mean of ramping and load
factor, each over what it is without batteries. Those four measures are known at the year's end only; until then the
means so far stand for them.
"""

import numpy as np

from taihu.decide.expected import Prices
from taihu.insight.day import decade
from taihu.kernel.arrays import Numbers

BLOCK_HOURS = 730  # over which a load factor is taken
_OWN_WEIGHT = 1.3  # as errors are cut at zero; tuned on phase 1
_LATER = 0.9  # of it counts after the next hour: until then there will be better plans; tuned on phase 1
_PEAK_WEIGHT = 0.5  # as what is done against a peak is mostly not for the highest; tuned on phase 1
_END_SHARE = 0.6  # of the mean price: what is left at a plan's end is worth
_FIRST_PEAK = 1.3  # the first block's peak is taken to rise by so much
_PEAK_MIN = 0.1  # units of all houses
_NOTHING = 1e-9


class RunningBill:
    """Means of the costs without batteries, and the peaks with them, up to now.

    `own_weight` is how much dearer than it is a house's own import is planned.
    """

    def __init__(self, own_weight: float = _OWN_WEIGHT) -> None:
        self._own_weight = own_weight
        self._hours = 0
        self._cost = self._emission = self._ramp = 0.0
        self._before = 0.0
        self._mean = 0.0
        self._peak = self._last_peak = 0.0
        self._block_sum, self._block_peak = 0.0, 0.0
        self._factors: list[float] = []
        self._size: Numbers | float = 0.0

    def update(self, net_kwh: Numbers, total_kwh: float, price: float, intensity: float) -> None:
        """Take over an hour: each house's load less PV, and what all meters saw together."""
        without = float(net_kwh.sum())
        if self._hours == 0:  # whatever the first hour is, no measure may begin at zero
            size = float(np.abs(net_kwh).sum()) or 1.0
            self._cost, self._emission, self._ramp = size * price, size * intensity, size
        else:
            self._cost += max(0.0, without * price)
            self._emission += float(np.maximum(0.0, net_kwh).sum()) * intensity
            self._ramp += abs(without - self._before)
        if self._hours and self._hours % BLOCK_HOURS == 0:
            self._factors.append(self._block_factor(BLOCK_HOURS))
            self._block_sum, self._block_peak = 0.0, 0.0
            self._last_peak, self._peak = self._peak, 0.0
        self._before = without
        self._block_sum += without
        self._block_peak = max(self._block_peak, without)
        self._peak = max(self._peak, total_kwh)
        self._hours += 1
        self._size += (np.abs(net_kwh) - self._size) / self._hours
        self._mean += max(1 / self._hours, 1 / BLOCK_HOURS) * (total_kwh - self._mean)

    def prices(self, price: Numbers, intensity: Numbers) -> Prices:
        """Prices of the hours to come, in units of the score in an hour."""
        shared = price / (3 * max(self._cost, _NOTHING) / self._hours)
        own = self._own_weight * intensity / (3 * max(self._emission, _NOTHING) / self._hours)
        own[1:] *= _LATER
        level = self._peak_level()
        factor = float(np.mean(self._factors)) if self._factors else self._block_factor(self._hours)
        peak = _PEAK_WEIGHT * max(0.0, self._mean) / level**2 * BLOCK_HOURS / (6 * max(factor, 0.1))
        ramp = np.full(len(price), 1 / (6 * max(self._ramp, _NOTHING) / self._hours))
        return Prices(own, shared, ramp, peak, level, _END_SHARE * float(own.mean() + shared.mean()))

    def _peak_level(self) -> float:
        """The peak that the block is expected to end with: less of the last one's, the less of the block is left."""
        left = 1 - (self._hours - 1) % BLOCK_HOURS / BLOCK_HOURS
        last = self._last_peak or _FIRST_PEAK * self._peak
        return max(
            _PEAK_MIN * float(decade(np.asarray(self._size)).sum()), self._peak + left * max(0.0, last - self._peak)
        )

    def _block_factor(self, hours: int) -> float:
        return 1 - self._block_sum / hours / max(self._block_peak, 1e-9)
