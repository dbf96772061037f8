"""The port of a forecaster: what the back-test lets compete, and what a plug-in gives (`taihu.forecasters`)."""

from typing import Any, NamedTuple, Protocol

import numpy as np

from taihu.insight.forecast.table import Table
from taihu.kernel.arrays import Ints, Numbers

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)


class Asked(NamedTuple):
    """What is to be foretold: for each origin (rows) each of the same leads (columns); `targets` is their sum."""

    origins: Ints
    leads: Ints

    @property
    def at(self) -> tuple[Ints, Ints]:
        """Origins and targets, each origins by leads."""
        origins = np.broadcast_to(self.origins[:, None], (len(self.origins), len(self.leads)))
        return origins, origins + self.leads


class Candidate(Protocol):
    """One way to forecast. It keeps no state: what it learned is plain data that msgpack holds."""

    name: str
    days_min: float
    """Days of history below which it does not compete."""

    def learn(self, table: Table, until: int, horizon: int) -> Any:
        """What is to be known for forecasts of 1 to `horizon` steps, from the steps before `until` alone."""
        ...

    def predict(self, learned: Any, table: Table, asked: Asked) -> Numbers:
        """Quantiles at LEVELS, levels by origins by leads, in the table's scale; NaN where it knows nothing.

        A candidate that knows only the middle gives it at every level: the back-test adds how far off it is.
        """
        ...


def same(middle: Numbers) -> Numbers:
    """The middle at every level."""
    return np.broadcast_to(middle, (len(LEVELS), *middle.shape))
