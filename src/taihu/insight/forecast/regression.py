"""A linear regression for each lead: how much of what is unusual now will still be there."""

from typing import Any

import numpy as np

from taihu.insight.forecast.candidate import Asked, same
from taihu.insight.forecast.features import Features, features, training_origins
from taihu.insight.forecast.table import Table
from taihu.kernel.arrays import Ints, Numbers

_RIDGE = 20.0  # rows that a weight of 0 counts as much as
_ROWS_MAX = 200_000
_ROUNDS = 3
_HUBER = 1.0  # of the mean error: beyond it an error counts linearly


class Regression:
    """Ridge regressions of the deviation from the profile, a set of weights for each lead; robust to outliers."""

    name = "regression"
    days_min = 8.0

    def learn(self, table: Table, until: int, horizon: int) -> Any:
        leads = np.arange(1, horizon + 1)
        origins = training_origins(table, until, horizon, horizon, _ROWS_MAX)
        if len(origins) < 2 * table.day:
            return []
        asked = Asked(origins, leads)
        found = features(table, asked)
        truth = table.at(asked.at[1]) - found.base
        known = np.isfinite(truth)
        off = np.nan_to_num(found.off) * known[:, :, None]
        truth = np.where(known, truth, 0.0)
        weights = np.zeros((horizon, off.shape[2]))
        for _ in range(_ROUNDS):
            error = np.abs(truth - np.einsum("olk,lk->ol", off, weights))
            bound = _HUBER * error.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
            trust = np.where(error > bound, bound / np.maximum(error, 1e-12), 1.0)
            weighted = off * trust[:, :, None]
            products = np.einsum("olj,olk->ljk", weighted, off)
            row = max(float(products.diagonal(axis1=1, axis2=2).mean()) / len(origins), 1e-12)
            products += _RIDGE * row * np.eye(off.shape[2])
            targets = np.einsum("olk,ol->lk", weighted, truth)
            weights = np.linalg.solve(products, targets[:, :, None])[:, :, 0]
        return weights.tolist()

    def predict(self, learned: Any, table: Table, asked: Asked) -> Numbers:
        if not learned:
            return same(np.full((len(asked.origins), len(asked.leads)), np.nan))
        return same(regressed(learned, features(table, asked), asked.leads))


def regressed(learned: Any, found: Features, leads: Ints) -> Numbers:
    """The middle at each origin and lead, by weights that were learned."""
    weights = np.array(learned, np.float64)
    own = weights[np.minimum(leads, len(weights)) - 1]
    return np.asarray(found.base + np.einsum("olk,lk->ol", np.nan_to_num(found.off), own))
