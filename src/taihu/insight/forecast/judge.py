"""How forecasts did that were issued in the past, by lead: what they said against what came."""

from collections.abc import Sequence

import msgspec
import numpy as np

from taihu.insight.forecast.backtest import MIDDLE
from taihu.insight.forecast.trained import Forecast
from taihu.kernel.arrays import Numbers
from taihu.kernel.clock import NS_PER_S

_LEAD_HOURS = (1, 3, 6, 12, 24, 48, 96, 168)


class LeadErrors(msgspec.Struct, frozen=True):
    """Of all leads up to `lead_s` and beyond the last row's; None where nothing is known yet.

    In the series' unit: mean absolute error and mean error of the median, and those of the last value standing
    (`persistence_mae`) and of the day before (`naive_mae`) on the same steps. `held` is the share within 80 %.
    """

    lead_s: int
    count: int
    mae: float | None = None
    bias: float | None = None
    held: float | None = None
    persistence_mae: float | None = None
    naive_mae: float | None = None


def judge(forecasts: Sequence[Forecast], start_ns: int, values: Numbers) -> list[LeadErrors]:
    """Errors by groups of leads; `values` are the steps from `start_ns` on, NaN where missing.

    They reach a day back before the first forecast where the day before is to be compared with.
    """
    if not forecasts:
        return []
    step_s = forecasts[0].step_s
    day = 86_400 // step_s
    reach = max(one.quantiles.shape[1] for one in forecasts)
    found = np.full((len(forecasts), 3, reach), np.nan)
    for row, one in enumerate(forecasts):
        found[row, :, : one.quantiles.shape[1]] = one.quantiles[[0, MIDDLE, -1]]
    origin = np.array([(one.start_ns - start_ns) // (step_s * NS_PER_S) - 1 for one in forecasts])[:, None]
    leads = np.arange(1, reach + 1)
    truth, last = _at(values, origin + leads), _at(values, np.broadcast_to(origin, (len(forecasts), reach)))
    naive = _at(values, origin + leads - -(-leads // day) * day)
    rows, low = [], 0
    for until in [hours * 3_600 // step_s for hours in _LEAD_HOURS]:
        columns = slice(low, min(until, reach))
        if columns.stop > columns.start:
            parts = (found[:, 0, columns], found[:, 1, columns], found[:, 2, columns])
            rows.append(_errors(columns.stop * step_s, parts, truth[:, columns], last[:, columns], naive[:, columns]))
        low = until
    return rows


def _errors(
    lead_s: int, found: tuple[Numbers, Numbers, Numbers], truth: Numbers, last: Numbers, naive: Numbers
) -> LeadErrors:
    low, middle, high = found
    known = np.isfinite(truth) & np.isfinite(middle)
    bounded = known & np.isfinite(low) & np.isfinite(high)
    return LeadErrors(
        lead_s,
        int(known.sum()),
        _mean(np.abs(middle - truth), known),
        _mean(middle - truth, known),
        _mean(((truth >= low) & (truth <= high)).astype(np.float64), bounded),
        _mean(np.abs(last - truth), known & np.isfinite(last)),
        _mean(np.abs(naive - truth), known & np.isfinite(naive)),
    )


def _mean(values: Numbers, where: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float | None:
    return float(values[where].mean()) if where.any() else None


def _at(values: Numbers, places: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Numbers:
    inside = (places >= 0) & (places < len(values))
    if not len(values):
        return np.full(places.shape, np.nan)
    return np.where(inside, values[np.where(inside, places, 0)], np.nan)
