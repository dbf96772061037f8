"""Whether a controller may drive: only one that has been winning, and for no longer than it does.

Source: B. Efron, Bootstrap methods: another look at the jackknife, Annals of Statistics 7(1), 1979.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

DAYS = 14
_RESAMPLES = 2_000
_ENDS = (0.05, 0.95)  # of a 90 % interval
_SEED = 14


class Verdict(msgspec.Struct, frozen=True):
    """What the last days say: a day's mean saving against doing nothing, and its 90 % interval."""

    days: int
    mean: float
    lower: float
    upper: float = 0.0

    @property
    def drives(self) -> bool:
        """Whether it may drive."""
        return self.days >= DAYS and self.lower > 0

    @property
    def text(self) -> str:
        """The verdict in a sentence."""
        if self.days < DAYS:
            return f"advises: {self.days} of {DAYS} days are replayed"
        word = "drives" if self.drives else "advises"
        between = f"{self.lower:.3g} to {self.upper:.3g} (90 %)"
        return f"{word}: {self.mean:.3g} a day saved by its objective over {self.days} days, {between}"


def verdict(savings: Sequence[float]) -> Verdict:
    """What the savings of days, the newest last, come to.

    >>> verdict([1.0] * 14).drives
    True
    >>> verdict([1.0] * 13).drives
    False
    """
    return interval(savings[-DAYS:])


def interval(savings: Sequence[float]) -> Verdict:
    """The mean of days, however many, with its 90 % interval."""
    days = np.asarray(savings, np.float64)
    if not len(days):
        return Verdict(0, 0.0, 0.0)
    drawn = np.random.default_rng(_SEED).integers(0, len(days), (_RESAMPLES, len(days)))
    lower, upper = np.quantile(days[drawn].mean(axis=1), _ENDS)
    return Verdict(len(days), float(days.mean()), float(lower), float(upper))
