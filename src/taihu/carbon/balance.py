"""Whether a site's energy balance closes: what its main meter saw against what its parts say (§9)."""

from collections.abc import Mapping

import msgspec
import numpy as np

from taihu.carbon.quantity import Energy
from taihu.kernel.arrays import Flags, Numbers

CLOSED_SHARE = 0.001
WORST = 5


class Balance(msgspec.Struct, frozen=True):
    """A site's balance over the intervals in which all parts are known.

    `residual_kwh` is the main meter's energy less that of its parts; `share` is its size against the energy that went
    through the main meter, in either direction, NaN where nothing did. `coverage` is the share of intervals that take
    part, `worst` are those that are most apart, by their place; each of them stands for as many as `lengths` says.
    """

    main_kwh: float
    parts_kwh: dict[str, float]
    residual_kwh: float
    share: float
    coverage: float
    worst: dict[int, float]
    lengths: dict[int, int]

    @property
    def closed(self) -> bool:
        """Whether it closes to 0.1 % over every interval there is."""
        return self.coverage == 1.0 and self.share <= CLOSED_SHARE


def balance(main: Energy, parts: Mapping[str, Energy], sure: Flags | None = None) -> Balance:
    """The balance of one main meter and what is behind it, each signed so that drawing is positive.

    Intervals side by side that are not `sure` are compared together: nobody knows when in a gap its energy flowed.

    >>> balance(Energy([3.0]), {"line": Energy([4.0]), "pv": Energy([-1.0])}).closed
    True
    """
    known = main.known
    for part in parts.values():
        known = known & part.known
    through = float(np.abs(main.values[known]).sum())
    sums = {name: float(part.values[known].sum()) for name, part in parts.items()}
    main_kwh = float(main.values[known].sum())
    residual: Numbers = np.where(known, main.values - sum(part.values for part in parts.values()), 0.0)
    alone = np.ones(len(known), np.bool_) if sure is None else sure | ~known
    residual = together(residual, alone)
    apart = np.abs(residual)  # interval by interval: errors of opposite sign in two hours are two errors
    worst = [
        int(place)
        for place in np.argsort(-apart, kind="stable")[:WORST]
        if apart[place] > CLOSED_SHARE * through / max(1, known.sum())
    ]
    return Balance(
        main_kwh=main_kwh,
        parts_kwh=sums,
        residual_kwh=main_kwh - sum(sums.values()),
        share=float(apart.sum()) / through if through else (0.0 if not apart.any() and known.any() else float("nan")),
        coverage=float(known.mean()) if len(known) else 0.0,
        worst={place: float(residual[place]) for place in worst},
        lengths={place: _length(alone, place) for place in worst},
    )


def together(residual: Numbers, sure: Flags) -> Numbers:
    """The residual, that of each run of intervals which are not sure as one, in the first of them."""
    if sure.all():
        return residual
    begins = np.flatnonzero(sure | np.concatenate(([True], sure[:-1])))
    found = np.zeros(len(residual))
    found[begins] = np.add.reduceat(residual, begins)
    return found


def _length(sure: Flags, place: int) -> int:
    """How many intervals are compared together in the one at `place`."""
    if sure[place]:
        return 1
    after = np.flatnonzero(sure[place:])
    return int(after[0]) if len(after) else len(sure) - place
