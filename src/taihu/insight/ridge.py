"""Linear regression that learns as it goes: recursive least squares with a ridge and slow forgetting."""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


class OnlineRidge:
    """Predicts a number from features; begins with the weights it is given and moves away as evidence comes.

    Args:
        prior: weights to begin with, one a feature.
        strength: how much evidence the prior counts as, in squared units of the features.
        memory: share of the evidence that is kept at each step.
    """

    _SOLVE_EVERY = 6

    def __init__(self, prior: Numbers, strength: float = 5.0, memory: float = 0.9995) -> None:
        self._prior = prior
        self._weights = prior
        self._strength = strength
        self._memory = memory
        self._products = strength * np.eye(len(prior))
        self._targets = strength * prior
        self._steps = 0

    def learn(self, features: Numbers, target: float) -> None:
        """Take over what came of `features`."""
        renewed = self._strength * (1 - self._memory)
        self._products = self._memory * self._products + np.outer(features, features)
        self._products.flat[:: len(features) + 1] += renewed
        self._targets = self._memory * self._targets + features * target + renewed * self._prior
        self._steps += 1
        if self._steps % self._SOLVE_EVERY == 0:
            self._weights = np.asarray(np.linalg.solve(self._products, self._targets), np.float64)

    def predict(self, features: Numbers) -> float:
        """What is expected of `features`."""
        return float(features @ self._weights)
