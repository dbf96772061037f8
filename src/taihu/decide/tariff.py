"""What a kWh costs in each step: time-of-use bands by local time, or prices that come day by day; holes are named.

Steps are instants in UTC, so a local day has as many as it lasts: 23, 24 or 25 hours.
"""

from collections.abc import Mapping, Sequence
from datetime import time
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from taihu.decide.problem import Numbers, ProblemRefused
from taihu.kernel.clock import to_datetime

_DAY_NS = 86_400 * 1_000_000_000

Starts = NDArray[np.int64]  # UTC nanoseconds


class Band(msgspec.Struct, frozen=True):
    """A price from one local time of day to another (to the next day when it ends before it begins).

    `days` are 1 (Monday) to 7; none stand for all.
    """

    start: time
    end: time
    price: float
    days: tuple[int, ...] = ()

    def holds(self, day: int, at: time) -> bool:
        """Whether it is for a local day of the week and time."""
        if self.start < self.end:
            inside = self.start <= at < self.end
        else:
            inside = at >= self.start or at < self.end
            day = day if at >= self.start or self.start == self.end else (day - 2) % 7 + 1
        return inside and (not self.days or day in self.days)


class Filled(msgspec.Struct, frozen=True):
    """Prices without holes, and in words what was filled with what."""

    prices: Numbers
    notes: tuple[str, ...] = ()


def by_bands(bands: Sequence[Band], zone: ZoneInfo, starts: Starts) -> Numbers:
    """The price of each step: of the first band that holds at its beginning; NaN where none does."""
    prices = np.full(len(starts), np.nan)
    for index, start in enumerate(starts):
        local = to_datetime(int(start)).astimezone(zone)
        found = next((band for band in bands if band.holds(local.isoweekday(), local.time())), None)
        if found is not None:
            prices[index] = found.price
    return prices


def by_time(published: Mapping[int, float], every_ns: int, starts: Starts) -> Numbers:
    """The price of each step from prices by the UTC nanosecond at which they begin; NaN where none is published."""
    return np.array([published.get(int(start) // every_ns * every_ns, np.nan) for start in starts])


def fill(prices: Numbers, starts: Starts, published: Mapping[int, float] | None = None, every_ns: int = 1) -> Filled:
    """Fill holes: with the price of a day to a week before; else with the dearest known, so that nothing is put there.

    Raises:
        ProblemRefused: no price is known at all.
    """
    holes = np.flatnonzero(~np.isfinite(prices))
    if not len(holes):
        return Filled(prices)
    known = prices[np.isfinite(prices)]
    filled, before, dearest = prices.copy(), 0, 0
    for hole in holes:
        past = _past(int(starts[hole]), published or {}, every_ns)
        if past is not None:
            filled[hole], before = past, before + 1
        elif len(known):
            filled[hole], dearest = known.max(), dearest + 1
        else:
            raise ProblemRefused("No price is known, of any step.", "Give the tariff, or a price to plan with.")
    notes = []
    if before:
        notes.append(f"{before} prices are missing: those of the days before stand for them")
    if dearest:
        notes.append(f"{dearest} prices are missing: the dearest that is known stands for them")
    return Filled(filled, tuple(notes))


def _past(start: int, published: Mapping[int, float], every_ns: int) -> float | None:
    for days in range(1, 8):
        found = published.get((start - days * _DAY_NS) // every_ns * every_ns)
        if found is not None and np.isfinite(found):
            return float(found)
    return None


def mend(values: Numbers, low: float, high: float, fallback: Numbers, name: str) -> Filled:
    """A forecast without holes and absurdities: what is missing or outside [low, high] is taken from `fallback`."""
    wrong = ~((values >= low) & (values <= high))
    if not wrong.any():
        return Filled(values)
    note = f"{int(wrong.sum())} of {len(values)} values of {name} are missing or outside {low:g} to {high:g}"
    return Filled(np.where(wrong, fallback, values), (f"{note}: a plainer forecast stands for them",))
