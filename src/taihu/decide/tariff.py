"""What a kWh costs in each step: time-of-use bands by local time, or prices that come day by day; holes are named.

Steps are instants in UTC, so a local day has as many as it lasts: 23, 24 or 25 hours.
"""

from collections.abc import Mapping, Sequence
from datetime import time
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from taihu.decide.problem import ProblemRefused
from taihu.kernel.arrays import Ints, Numbers
from taihu.kernel.clock import DAY_NS, to_datetime

_BEYOND = 1e4  # times the usual price: what none is
_MOST = 1e9  # of any currency

Starts = Ints  # UTC nanoseconds


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


def by_time(published: Mapping[int, float], holds_ns: int, starts: Starts) -> Numbers:
    """The price of each step from prices by the UTC nanosecond at which they begin; NaN where none is published.

    Each holds until the next begins, for `holds_ns` at most: in zones of half hours, hours begin at half past of UTC.
    """
    begins = np.array(sorted(published), np.int64)
    if not len(begins):
        return np.full(len(starts), np.nan)
    places = np.maximum(np.searchsorted(begins, starts, side="right") - 1, 0)
    since = np.asarray(starts) - begins[places]
    prices = np.array([published[begin] for begin in begins.tolist()], np.float64)[places]
    return np.where((since >= 0) & (since < holds_ns), prices, np.nan)


def credible(published: Mapping[int, float]) -> dict[int, float]:
    """Those prices that can be: a thousand times the usual is seen on markets now and then, ten thousand times is not.

    >>> credible({0: 0.2, 1: -0.1, 2: 1e12, 3: 20.0})
    {0: 0.2, 1: -0.1, 3: 20.0}
    """
    can_be = {start: price for start, price in published.items() if abs(price) <= _MOST}
    sizes = [abs(price) for price in can_be.values() if price]
    most = _BEYOND * float(np.median(sizes)) if sizes else _MOST
    return {start: price for start, price in can_be.items() if abs(price) <= most}


def fill(
    prices: Numbers, starts: Starts, published: Mapping[int, float] | None = None, holds_ns: int = 1, *,
    earned: bool = False,
) -> Filled:  # fmt: skip
    """Fill holes: with the price of a day to a week before; else so that nothing is put there: with the dearest known,
    or the least where it is `earned`.

    Raises:
        ProblemRefused: no price is known at all.
    """
    filled, notes = prices.copy(), []
    holes = np.flatnonzero(~np.isfinite(prices))
    for days in range(1, 8):
        left = holes[~np.isfinite(filled[holes])]
        filled[left] = by_time(published or {}, holds_ns, np.asarray(starts)[left] - days * DAY_NS)
    left = holes[~np.isfinite(filled[holes])]
    if before := len(holes) - len(left):
        notes.append(f"{before} prices are missing: those of the days before stand for them")
    if len(left):
        known = filled[np.isfinite(filled)]
        if not len(known):
            raise ProblemRefused("No price is known, of any step.", "Give the tariff, or a price to plan with.")
        filled[left] = known.min() if earned else known.max()
        which = "least" if earned else "dearest"
        notes.append(f"{len(left)} prices are missing: the {which} that is known stands for them")
    return Filled(filled, tuple(notes))


def mend(values: Numbers, low: float, high: float, fallback: Numbers, name: str) -> Filled:
    """A forecast without holes and absurdities: what is missing or outside [low, high] is taken from `fallback`."""
    wrong = ~((values >= low) & (values <= high))
    if not wrong.any():
        return Filled(values)
    note = f"{int(wrong.sum())} of {len(values)} values of {name} are missing or outside {low:g} to {high:g}"
    return Filled(np.where(wrong, fallback, values), (f"{note}: a plainer forecast stands for them",))
