"""The mean of several candidates: steadier than each, where the back-test says so."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from taihu.insight.forecast.candidate import Asked, Candidate
from taihu.insight.forecast.table import Table
from taihu.kernel.arrays import Numbers


class Blend:
    """The mean of its parts, of those that know something."""

    name = "blend"

    def __init__(self, parts: Sequence[Candidate], known: Sequence[Candidate]) -> None:
        """`parts` compete together; one that was trained of other parts is followed where all its parts are `known`."""
        self._parts = parts
        self._known = {one.name: one for one in known}
        self.parts = tuple(part.name for part in parts)
        self.days_min = max(part.days_min for part in parts)

    def learn(self, table: Table, until: int, horizon: int) -> Any:
        return {part.name: part.learn(table, until, horizon) for part in self._parts}

    def predict(self, learned: Any, table: Table, asked: Asked) -> Numbers:
        return mean_of([self._known[name].predict(own, table, asked) for name, own in learned.items()])


def mean_of(found: Sequence[Numbers]) -> Numbers:
    """The mean of quantiles that several give; NaN where none knows anything."""
    stacked = np.stack(found)
    known = np.isfinite(stacked)
    count = known.sum(axis=0)
    total = np.where(known, stacked, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
