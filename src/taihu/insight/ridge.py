"""Linear regressions that learn as they go: recursive least squares with a ridge and slow forgetting."""

import numpy as np

from taihu.kernel.arrays import Numbers


class OnlineRidge:
    """Predicts several targets of each of several series; begins with the weights given, moves away as evidence comes.

    Args:
        count: series, each with weights of its own.
        prior: weights to begin with, features by targets.
        strength: how much evidence the prior counts as, in squared units of the features.
        memory: share of the evidence that is kept at each step.
    """

    _SOLVE_EVERY = 6

    def __init__(self, count: int, prior: Numbers, strength: float = 100.0, memory: float = 0.998) -> None:
        self._prior = prior
        self._weights = np.tile(prior, (count, 1, 1))
        self._strength = strength
        self._memory = memory
        self._products = np.tile(strength * np.eye(len(prior)), (count, 1, 1))
        self._targets = strength * self._weights
        self._steps = 0

    def learn(self, features: Numbers, targets: Numbers) -> None:
        """Take over what came of `features`: series by features, and series by targets."""
        renewed = self._strength * (1 - self._memory)
        given = features[:, :, None]
        self._products = self._memory * self._products + given * features[:, None] + renewed * np.eye(features.shape[1])
        self._targets = self._memory * self._targets + given * targets[:, None] + renewed * self._prior
        self._steps += 1
        if self._steps % self._SOLVE_EVERY == 0:
            self._weights = np.asarray(np.linalg.solve(self._products, self._targets), np.float64)

    def predict(self, features: Numbers) -> Numbers:
        """What is expected of `features`, series by targets."""
        return np.asarray((features[:, None, :] @ self._weights)[:, 0])
