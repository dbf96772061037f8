"""What is usual of a series: where it lies, how far it spreads, and beyond what a value is absurd."""

import msgspec
import numpy as np

from taihu.kernel.arrays import Numbers

_ABSURD = 10.0  # spreads beyond the usual range
_RESTS = 0.01  # share of values at the very least (or most) that makes it a bound
_MARGIN = 0.5  # of the range, that a forecast may go beyond what was seen where there is no bound
_BOUNDED_FROM = 48  # values, before which nothing is known of bounds


class Scale(msgspec.Struct, frozen=True):
    """Learned from the values up to a time; turns values into units of their own spread and back."""

    centre: float = 0.0
    spread: float = 1.0
    low: float = -np.inf
    high: float = np.inf
    least: float = -np.inf
    most: float = np.inf

    def inside(self, values: Numbers) -> Numbers:
        """In units of the spread; what is absurd is missing."""
        usual = (values >= self.low) & (values <= self.high)
        return np.where(usual, (values - self.centre) / self.spread, np.nan)

    def outside(self, values: Numbers) -> Numbers:
        """In the series' own unit, within its bounds."""
        return np.clip(values * self.spread + self.centre, self.least, self.most)


def scale_of(values: Numbers) -> Scale:
    """The scale of what is known; a bound is what the series rests on again and again, such as a PV's 0."""
    known = values[np.isfinite(values)]
    if not len(known):
        return Scale()
    first, last = np.quantile(known, (0.01, 0.99))
    reach = _ABSURD * (last - first)
    low, high = (first - reach, last + reach) if reach > 0 else (-np.inf, np.inf)
    usual = known[(known >= low) & (known <= high)]
    centre = float(np.median(usual))
    spread = float(np.abs(usual - centre).mean())
    least, most = -np.inf, np.inf
    if len(usual) >= _BOUNDED_FROM:
        least, most = (_bound(usual, float(end), margin) for end, margin in _ends(usual))
    return Scale(centre, spread if spread > 0 else 1.0, float(low), float(high), least, most)


def _ends(usual: Numbers) -> list[tuple[np.float64, float]]:
    least, most = usual.min(), usual.max()
    margin = float(_MARGIN * (most - least))
    return [(least, -margin), (most, margin)]


def _bound(usual: Numbers, end: float, margin: float) -> float:
    return end if np.mean(usual == end) >= _RESTS else end + margin
