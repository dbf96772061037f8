"""What the node's forecasts say of a series, where it is kept forecast, has a champion, and is fresh; else why not."""

from typing import Any, Protocol

import msgspec
import numpy as np

from taihu.kernel.arrays import Ints, Numbers
from taihu.kernel.clock import NS_PER_S
from taihu.kernel.errors import TaihuError
from taihu.kernel.units import UnitError, commensurable, converter

_OLD_STEPS = 3  # a forecast whose first step began longer ago is not used
QUANTILE = 1.6  # of the mean absolute error: where the 10 and 90 % quantiles are, for a normal law as for a Laplace one
_LEVELS = ("q10", "median", "q90")


class Foretold(msgspec.Struct, frozen=True):
    """Quantiles (10, 50 and 90 %) of each step, NaN where nobody knows; `how` says who foretold, or why nobody did.

    Values are kW, whatever the property counts.
    """

    low: Numbers
    middle: Numbers
    high: Numbers
    how: str

    @property
    def spread(self) -> Numbers:
        """The mean absolute error that the quantiles stand for."""
        return np.asarray((self.high - self.low) / (2 * QUANTILE))

    @property
    def known(self) -> int:
        """How many steps have a median."""
        return int(np.isfinite(self.middle).sum())


class Service(Protocol):
    """The node's forecasts, as its API has them."""

    async def models(self, project: str) -> dict[tuple[str, str], dict[str, Any]]: ...

    async def forecast(self, project: str, thing: str, name: str) -> dict[str, Any]: ...


async def foretold(api: Service, project: str, path: str, edges: Ints) -> Foretold:
    """What is foretold of a property for steps from edge to edge, the first of which is now."""
    *owner, thing, name = path.split("/")
    if owner not in ([], [project]):
        return _nobody(edges, f"{path} is another project's")
    try:
        models = await api.models(project)
        model = models.get((thing, name))
        if model is None or not model["trained_at"]:
            return _nobody(edges, f"{path} is not kept forecast" if model is None else f"{path} has no champion yet")
        answer = await api.forecast(project, thing, name)
    except TaihuError as error:
        return _nobody(edges, f"forecasts do not answer: {error.message}")
    step_ns = answer["step_s"] * NS_PER_S
    age = (int(edges[0]) - answer["issued_at"]) / step_ns
    if age > _OLD_STEPS:
        return _nobody(edges, f"the forecast of {path} is {age:.0f} steps old")
    scale = _kw_per(answer["unit"], answer["step_s"] / 3_600)
    if scale is None:
        return _nobody(edges, f"{path} is in {answer['unit'] or 'no declared unit'}, which is no power and no energy")
    return _spread(answer, edges, step_ns, scale, f"{path} by {answer['model']}")


def _spread(answer: Any, edges: Ints, step_ns: int, scale: float, how: str) -> Foretold:
    """The steps of a forecast laid over those of a plan, each at its middle."""
    rows = {row["start"] // step_ns: row for row in answer["values"]}
    middles = (edges[:-1] + edges[1:]) // 2
    found = []
    for level in _LEVELS:
        values = [(rows.get(int(at) // step_ns) or {}).get(level) for at in middles]
        found.append(np.array([np.nan if value is None else scale * value for value in values], np.float64))
    low, middle, high = found
    low, high = np.where(np.isfinite(low), low, middle), np.where(np.isfinite(high), high, middle)
    return Foretold(low, middle, high, how)


def _kw_per(unit: str | None, hours: float) -> float | None:
    """What a value of this unit is in kW, energies being those of a step; None for what is neither."""
    try:
        if unit and commensurable(unit, "kW"):
            return converter(unit, "kW")[0]
        if unit and commensurable(unit, "kW.h"):
            return converter(unit, "kW.h")[0] / hours
    except UnitError:
        pass
    return None


def _nobody(edges: Ints, how: str) -> Foretold:
    none = np.full(len(edges) - 1, np.nan)
    return Foretold(none, none, none, how)
