"""What regressions and trees look at for an origin and a lead."""

from typing import NamedTuple

import numpy as np

from taihu.insight.forecast.candidate import Asked
from taihu.insight.forecast.table import Table
from taihu.kernel.arrays import Ints, Numbers

_RATIO_MAX = 4.0  # spreads


class Features(NamedTuple):
    """`base` is the profile at the target; `off` are deviations, 0 where nothing is unusual; `place` says where."""

    base: Numbers
    spread: Numbers
    off: Numbers
    place: Numbers


def features(table: Table, asked: Asked) -> Features:
    """Features of each origin and lead; NaN where unknown."""
    origins, targets = asked.at
    base = table.profile(origins, targets)
    spread = table.spread(origins, targets)
    hour = max(1, table.day // 24)
    now = table.off_at(asked.origins)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = now / table.spread(asked.origins - 1, asked.origins)
    ratio = np.clip(np.where(np.isfinite(ratio), ratio, 0.0), -_RATIO_MAX, _RATIO_MAX)
    at_origin = [
        now,
        table.off_at(asked.origins - 1),
        _mean_before(table.off, asked.origins, 3 * hour),
        _mean_before(table.off, asked.origins, table.day),
        _mean_before(table.off, asked.origins, 7 * table.day),
    ]
    off = [np.broadcast_to(one[:, None], base.shape) for one in at_origin]
    off.append(ratio[:, None] * np.nan_to_num(spread))
    off.append(table.last(origins, targets, table.day) - base)
    off.append(table.last(origins, targets, 7 * table.day) - base)
    off.append(table.day_profile(origins, targets) - base)
    where = (targets - origins, table.day_slot[targets], table.week_slot[targets] // table.day)
    place = [one.astype(np.float64) for one in where]
    for regressor in table.regressors:
        value, unusual = regressor.features(origins, targets)
        off.append(unusual)
        place.append(value)
    return Features(base, spread, np.stack(off, axis=-1), np.stack(place, axis=-1))


def training_origins(table: Table, until: int, horizon: int, leads: int, rows_max: int) -> Ints:
    """Origins whose targets are all before `until`, evenly spread, so that there are at most `rows_max` rows."""
    first, last = table.day, until - 1 - horizon
    if last <= first:
        return np.empty(0, np.int64)
    count = max(1, min(last - first + 1, rows_max // max(1, leads)))
    return np.unique(np.linspace(first, last, count).astype(np.int64))


def _mean_before(values: Numbers, origins: Ints, span: int) -> Numbers:
    """Mean of the known values of the last `span` steps up to each origin; NaN where there is none."""
    known = np.isfinite(values)
    total = np.concatenate(([0.0], np.cumsum(np.where(known, values, 0.0))))
    seen = np.concatenate(([0], np.cumsum(known)))
    last, first = origins + 1, np.maximum(origins + 1 - span, 0)
    count = seen[last] - seen[first]
    return np.where(count > 0, (total[last] - total[first]) / np.maximum(count, 1), np.nan)
