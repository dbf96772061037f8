"""The judge: candidates forecast the last weeks from many origins, each knowing only what was before it.

From what they were off by there come the champion, its errors, and how its quantiles are to be moved so that they hold
what they promise (split conformal prediction: Angelopoulos and Bates, arXiv:2107.07511).
"""

from collections.abc import Mapping

import msgspec
import numpy as np

from taihu.insight.forecast.candidate import LEVELS, Asked
from taihu.insight.forecast.table import Table
from taihu.kernel.arrays import Ints, Numbers

MIDDLE = LEVELS.index(0.5)
_BUCKET_HOURS = (1, 2, 4, 8, 16, 24, 48, 96)  # leads up to these share their errors
_TINY = 1e-9  # spreads, below which a series does not move
_ORIGINS_MAX = 160
_ERRORS_MIN = 20  # below which a bucket takes its neighbour's corrections


class Errors(msgspec.Struct, frozen=True):
    """How a candidate did, in the series' unit: mean absolute errors of its median; None where nothing was known.

    `ratio` is `mae` against the seasonal naive of a day on the same hours, `mase` against what it was off by in the
    part that was learned from; `held` the share within the 80 % interval before calibration, `covered`, of the
    champion, after it; `first_mae` that of the first step, and `persistence_mae` that of the last value standing.
    """

    mae: float | None = None
    ratio: float | None = None
    first_mae: float | None = None
    persistence_mae: float | None = None
    bias: float | None = None
    held: float | None = None
    count: int = 0
    mase: float | None = None
    covered: float | None = None


class Correction(msgspec.Struct, frozen=True):
    """By how many usual spreads each quantile is moved, for leads up to `until` steps."""

    until: int
    shift: tuple[float, ...]


def judged_span(count: int, day: int) -> int:
    """How many of the last steps the candidates are judged on: a third, at most four weeks; 0 below three days."""
    return min(count // 3, 28 * day) if count >= 3 * day else 0


def origins_of(begin: int, end: int, horizon: int, day: int) -> Ints:
    """Origins whose first target is at `begin` or later and whose last before `end`; every hour of the day alike."""
    last = end - 1 - horizon
    if last < begin - 1:
        return np.empty(0, np.int64)
    stride = max(1, (last - begin + 2) // _ORIGINS_MAX)
    while stride > 1 and np.gcd(stride, day) > 1:
        stride += 1
    return np.arange(begin - 1, last + 1, stride)


def errors_of(found: Numbers, table: Table, asked: Asked, unit: float, learned: int = 0) -> Errors:
    """What quantiles were off by; `unit` is the series' unit in the table's, `learned` the steps learned from."""
    origins, targets = asked.at
    truth = table.at(targets)
    middle = found[MIDDLE]
    naive = table.last(origins, targets, table.day)
    known = np.isfinite(truth) & np.isfinite(middle)
    if not known.any():
        return Errors()
    off = np.where(known, middle - truth, 0.0)
    mae = float(np.abs(off).sum() / known.sum())
    both = known & np.isfinite(naive)
    reference = float(np.abs(naive - truth)[both].mean()) if both.any() else 0.0
    first = known[:, 0]
    standing = table.at(asked.origins)
    stood = first & np.isfinite(standing)
    inside = (truth >= found[0]) & (truth <= found[-1]) & known
    usual = _a_day_apart(table.values[:learned], table.day)
    return Errors(
        mae=mae * unit,
        ratio=float(np.abs(off)[both].mean()) / reference if reference > 0 else None,
        first_mae=float(np.abs(off[:, 0])[first].mean()) * unit if first.any() else None,
        persistence_mae=float(np.abs(standing - truth[:, 0])[stood].mean()) * unit if stood.any() else None,
        bias=float(off.sum() / known.sum()) * unit,
        held=float(inside.sum() / known.sum()),
        count=int(known.sum()),
        mase=mae / usual if usual > 0 else None,
    )


def covered(found: Numbers, table: Table, asked: Asked) -> float | None:
    """The share within the 80 % interval once calibrated, each half of the origins by what the other was off by."""
    half = len(asked.origins) // 2
    inside = count = 0
    for judged, other in ((slice(half), slice(half, None)), (slice(half, None), slice(half))):
        learned, left = (Asked(asked.origins[part], asked.leads) for part in (other, judged))
        corrections = corrections_of(found[:, other], table, learned)
        moved = corrected(found[:, judged], table, left, corrections)
        truth = table.at(left.at[1])
        known = np.isfinite(truth) & np.isfinite(moved[0])
        inside += int(((truth >= moved[0]) & (truth <= moved[-1]) & known).sum())
        count += int(known.sum())
    return inside / count if count else None


def champion_of(errors: Mapping[str, Errors]) -> str:
    """The one of least error; the first named where they are alike."""
    judged = {name: one.mae for name, one in errors.items() if one.mae is not None}
    return min(judged, key=lambda name: judged[name]) if judged else next(iter(errors), "")


def corrections_of(found: Numbers, table: Table, asked: Asked) -> tuple[Correction, ...]:
    """How quantiles are moved so that the share of truths below each is what it says; none where too few are known."""
    truth = table.at(asked.at[1])
    spread = spread_of(table, asked)
    with np.errstate(invalid="ignore", divide="ignore"):
        off = (truth - found) / spread
    usable = np.asarray(np.isfinite(off).all(axis=0))
    buckets = buckets_of(table, int(asked.leads.max()))
    seen = np.isfinite(table.spread(*asked.at) + truth)
    if not usable.any() and seen.sum() >= _ERRORS_MIN:  # it has never been off
        return (Correction(buckets[-1], (0.0,) * len(LEVELS)),)
    made: list[Correction] = []
    spare: list[int] = []
    low = 0
    for until in buckets:
        columns = np.flatnonzero((asked.leads > low) & (asked.leads <= until))
        chosen = off[:, :, columns][:, usable[:, columns]]
        low = until
        if chosen.shape[1] < _ERRORS_MIN:
            spare.append(until)
            continue
        days = len(np.unique(asked.at[1][:, columns][usable[:, columns]] // table.day))
        shift = [_quantile(chosen[place], level, days) for place, level in enumerate(LEVELS)]
        made += [Correction(earlier, tuple(shift)) for earlier in spare if not made]
        made.append(Correction(until, tuple(shift)))
        spare = []
    return tuple(made)


def corrected(found: Numbers, table: Table, asked: Asked, corrections: tuple[Correction, ...]) -> Numbers:
    """The quantiles moved, and in order; without corrections only the middle is known."""
    spread = table.spread(*asked.at)
    known = np.isfinite(spread)
    if not corrections or not known.any():
        alone = np.full_like(found, np.nan)
        alone[MIDDLE] = found[MIDDLE]
        return alone
    spread = np.where(known, spread, spread[known].mean())  # an hour of the day that was never seen is as others
    ends = np.array([one.until for one in corrections])
    which = np.minimum(np.searchsorted(ends, asked.leads), len(ends) - 1)
    shift = np.array([one.shift for one in corrections])[which].T
    moved = found + shift[:, None, :] * np.where(spread > _TINY, spread, 0.0)
    moved[:MIDDLE] = np.minimum(moved[:MIDDLE], moved[MIDDLE])  # a quantile that passes the median stays at it
    moved[MIDDLE + 1 :] = np.maximum(moved[MIDDLE + 1 :], moved[MIDDLE])
    return np.asarray(np.sort(moved, axis=0))


def spread_of(table: Table, asked: Asked) -> Numbers:
    """How far values usually are from the profile at each target; NaN where they never were."""
    spread = table.spread(*asked.at)
    return np.where(spread > _TINY, spread, np.nan)


def buckets_of(table: Table, horizon: int) -> list[int]:
    """The last lead of each group of leads, in steps."""
    ends = [hours * 3_600 // table.step_s for hours in _BUCKET_HOURS]
    return [*[end for end in ends if 0 < end < horizon], horizon]


def _a_day_apart(values: Numbers, day: int) -> float:
    """The mean absolute difference to the day before; 0 where none is known."""
    apart = np.abs(values[day:] - values[:-day])
    known = np.isfinite(apart)
    return float(apart[known].mean()) if known.any() else 0.0


def _quantile(values: Numbers, level: float, days: int) -> float:
    """The level's quantile, further out by what a finite sample asks for; what one day was off by is one example."""
    outward = level + (level - 0.5) / days
    return float(np.quantile(values, min(1.0, max(0.0, outward))))
