"""A grid's marginal intensity from what its sources generate: an estimate, of those of them that follow demand.

From one hour to the next the sources that burn change with demand, and their emissions with them. How much kg go with
each kWh of that, over the last week, is what the next kWh emits: the slope of a line through zero. Sources that burn
nothing take no part, as weather and water move them: where hydro follows demand, the margin is less than this says.

Sources: Hawkes (2010), doi:10.1016/j.enpol.2010.05.053; Siler-Evans, Azevedo and Morgan (2012), doi:10.1021/es300145v.
"""

import numpy as np

from taihu.kernel.arrays import Numbers

WINDOW = 168  # hours
_LEAST = 24  # of them, of which a change is known


def margins(made_kwh: Numbers, factors: Numbers) -> Numbers:
    """The marginal intensity (kg/kWh) of each hour after the first `WINDOW`; NaN where too little is known.

    `made_kwh` has a row for each source that burns and a column for each hour, NaN where it is missing; `factors` are
    kg per kWh of the sources. A slope that no mixture of the sources has is none.

    >>> coal, gas = np.full(170, 5.0), np.arange(170.0) % 7
    >>> margins(np.array([coal, gas]), np.array([0.82, 0.49])).round(9).tolist()
    [0.49, 0.49]
    """
    change = np.diff(made_kwh, axis=1)
    known = ~np.isnan(change).any(axis=0)
    change = np.where(known, change, 0.0)
    kwh, kg = change.sum(axis=0), factors @ change
    both, square, count = _last(np.array([kwh * kg, kwh * kwh, known]))
    enough = (count >= _LEAST) & (square > 0)
    slope = np.divide(both, square, np.full(len(both), np.nan), where=enough)
    near = 1e-9
    possible = (slope >= factors.min() - near) & (slope <= factors.max() + near)
    return np.where(possible, slope, np.nan)


def _last(rows: Numbers) -> Numbers:
    """Of each row the sum of the last `WINDOW` values, from where there are so many on."""
    whole = np.pad(np.cumsum(rows, axis=1), ((0, 0), (1, 0)))
    return np.asarray(whole[:, WINDOW:] - whole[:, :-WINDOW])
