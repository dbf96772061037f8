"""How far consumption is met by carbon-free generation: over the year, and hour by hour.

Arrays are kWh an hour, one row a site (or one site as a plain array). An hour in which either is missing (NaN) takes no
part, and the answer says which share of the hours did (§3).

Source: Google, 24/7 Carbon-Free Energy: Methodologies and Metrics (2021): in an hour, contracted energy counts up to
the load, and the rest counts by the carbon-free share of the grid.
"""

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from taihu.kernel.arrays import Numbers
from taihu.kernel.errors import LocalError


class ShapesDiffer(LocalError):
    """Load and generation are not over the same sites and hours."""

    code = "shapes-differ"


class Match(msgspec.Struct, frozen=True):
    """Shares of the load, 0 to 1 (NaN when there is no load), and the share of hours they speak for.

    `annual` lets a surplus of any hour meet a deficit of any other and may exceed 1. `hourly` is each site's own;
    `shared` lets the sites of an hour share.
    """

    annual: float
    hourly: float
    shared: float
    coverage: float


def match(load_kwh: ArrayLike, generation_kwh: ArrayLike) -> Match:
    """Annual, hourly and shared matching of sites' load with their own generation.

    >>> match([[1, 3], [2, 0]], [[2, 0], [0, 4]])
    Match(annual=1.0, hourly=0.16666666666666666, shared=0.8333333333333334, coverage=1.0)
    """
    load, generation = _pair(load_kwh, generation_kwh)
    known = ~(np.isnan(load) | np.isnan(generation))
    coverage = float(known.mean()) if known.size else 0.0
    load, generation = np.where(known, load, 0.0), np.where(known, generation, 0.0)
    total = float(load.sum())
    if total <= 0:
        return Match(float("nan"), float("nan"), float("nan"), coverage)
    shared = np.minimum(load.sum(axis=0), generation.sum(axis=0)).sum()
    return Match(
        annual=float(generation.sum()) / total,
        hourly=float(np.minimum(load, generation).sum()) / total,
        shared=float(shared) / total,
        coverage=coverage,
    )


def cfe_score(load_kwh: ArrayLike, contracted_kwh: ArrayLike, grid_share: ArrayLike) -> float:
    """The carbon-free share of a load: contracted energy up to the load of its hour, the rest by the grid's share.

    Args:
        load_kwh: consumption an hour.
        contracted_kwh: carbon-free energy contracted or generated on site, delivered in that hour.
        grid_share: carbon-free share of the grid in that hour, 0 to 1.

    Returns:
        0 to 1; NaN when no hour is known or nothing was consumed.

    >>> cfe_score([2, 2], [3, 0], [0.5, 0.5])
    0.75
    """
    load, contracted = _pair(load_kwh, contracted_kwh)
    share = np.broadcast_to(np.asarray(grid_share, np.float64), load.shape)
    known = ~(np.isnan(load) | np.isnan(contracted) | np.isnan(share))
    load, contracted, share = load[known], np.maximum(contracted[known], 0.0), share[known]
    if not load.sum() > 0:
        return float("nan")
    met = np.minimum(load, contracted)
    return float((met + (load - met) * share).sum() / load.sum())


def _pair(one: ArrayLike, other: ArrayLike) -> tuple[Numbers, Numbers]:
    first = np.atleast_2d(np.asarray(one, np.float64))
    second = np.atleast_2d(np.asarray(other, np.float64))
    if first.shape != second.shape:
        raise ShapesDiffer(f"Load has the shape {first.shape}, generation {second.shape}.", "Give the same hours.")
    return first, second
