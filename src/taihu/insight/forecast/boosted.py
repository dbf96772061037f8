"""Gradient-boosted trees (LightGBM, the extra `forecast`) over all leads at once, with quantiles."""

from importlib.util import find_spec
from typing import Any

import msgspec
import numpy as np

from taihu.insight.forecast.candidate import LEVELS, Asked
from taihu.insight.forecast.features import Features, features, training_origins
from taihu.insight.forecast.forest import Forest, forest_of
from taihu.insight.forecast.regression import Regression, regressed
from taihu.insight.forecast.table import Table
from taihu.kernel.arrays import Ints, Numbers

_FITTED = (0.1, 0.5, 0.9)
_ROWS_MAX = 24_000
_LEADS_MAX = 24
_ROUNDS = 80
_SETTINGS = {
    "objective": "quantile",
    "learning_rate": 0.08,
    "num_leaves": 15,
    "min_data_in_leaf": 60,
    "lambda_l2": 1.0,
    "feature_fraction": 0.8,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "seed": 1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "use_missing": False,
    "verbosity": -1,
}


def available() -> bool:
    """Whether LightGBM is installed."""
    return find_spec("lightgbm") is not None


class Boosted:
    """Trees for three quantiles of what the regression leaves; the quartiles lie between them.

    Trees know no more than what they saw, so the regression says how far what is unusual now carries on. Only learning
    needs LightGBM: what was learned is evaluated without it.
    """

    name = "boosted"
    days_min = 21.0

    def learn(self, table: Table, until: int, horizon: int) -> Any:
        import lightgbm

        leads = np.unique(np.geomspace(1, horizon, min(horizon, _LEADS_MAX)).astype(np.int64))
        origins = training_origins(table, until, horizon, len(leads), _ROWS_MAX)
        if len(origins) < 2 * table.day:
            return []
        asked = Asked(origins, leads)
        found = features(table, asked)
        weights = Regression().learn(table, until, horizon)
        truth = (table.at(asked.at[1]) - _middle(weights, found, leads)).ravel()
        rows = _rows(found)
        known = np.isfinite(truth)
        if not known.any() or not np.ptp(truth[known]):
            return []
        data = lightgbm.Dataset(rows[known], truth[known], params={"verbosity": -1}, free_raw_data=False)
        trained = [lightgbm.train(_SETTINGS | {"alpha": level}, data, _ROUNDS) for level in _FITTED]
        forest = msgspec.to_builtins(forest_of([one.dump_model() for one in trained]), builtin_types=(bytes,))
        return {"regression": weights, "forest": forest}

    def predict(self, learned: Any, table: Table, asked: Asked) -> Numbers:
        shape = (len(asked.origins), len(asked.leads))
        if not learned:
            return np.full((len(LEVELS), *shape), np.nan)
        found = features(table, asked)
        weights = learned.get("regression")
        trees = learned.get("forest", learned)  # an earlier release kept trees alone
        forest = msgspec.convert(trees, Forest, builtin_types=(bytes,))
        low, middle, high = forest.values(_rows(found), len(_FITTED)).reshape(len(_FITTED), *shape)
        levels = np.stack([low, (low + middle) / 2, middle, (middle + high) / 2, high])
        return np.asarray(np.sort(levels, axis=0) + _middle(weights, found, asked.leads))


def _middle(weights: Any, found: Features, leads: Ints) -> Numbers:
    return regressed(weights, found, leads) if weights else found.base


def _rows(found: Features) -> Numbers:
    parts = [found.base[:, :, None], found.spread[:, :, None], found.off, found.place]
    joined = np.concatenate(parts, axis=2)
    return np.nan_to_num(joined.reshape(-1, joined.shape[2]))
