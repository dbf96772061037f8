"""The points of the history benchmark: slowly drifting metrics of many devices, in the order in which they arrive."""

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

METRICS = ("power", "voltage", "current", "temperature")
PERIOD_MS = 10_000
JITTER_MS = 3
START_MS = 1_767_571_200_000  # 2026-01-05
_STEP_CENTS = 5.5  # with 30 % unchanged: 4 bits of entropy a value
_UNCHANGED = 0.3
_ROUNDS = 25  # samples of every device in a chunk: 100,000 points of 1,000 devices


class Chunk(msgspec.Struct, frozen=True):
    """Rows in the order of arrival: the device's number, its time, one value of each metric."""

    device: NDArray[np.int64]
    time_ms: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.device)


class Points:
    """`devices` x METRICS x `samples` points, the same for the same seed."""

    def __init__(self, devices: int, samples: int, seed: int = 11) -> None:
        self.devices = devices
        self.samples = samples
        self.total = devices * samples * len(METRICS)
        self.end_ms = START_MS + samples * PERIOD_MS
        self._seed = seed

    @property
    def names(self) -> list[str]:
        """The devices' names."""
        return [f"device-{number:04d}" for number in range(self.devices)]

    def chunks(self) -> Iterator[Chunk]:
        """All rows."""
        random = np.random.default_rng(self._seed)
        level = random.integers(2_000, 30_000, (self.devices, len(METRICS)))
        for first in range(0, self.samples, _ROUNDS):
            rounds = min(_ROUNDS, self.samples - first)
            shape = (rounds, self.devices, len(METRICS))
            steps = np.rint(random.normal(0, _STEP_CENTS, shape)).astype(np.int64)
            steps[random.random(shape) < _UNCHANGED] = 0
            walk = level + np.cumsum(steps, axis=0)
            level = walk[-1]
            due = START_MS + (first + np.arange(rounds)) * PERIOD_MS + JITTER_MS
            jitter = random.integers(-JITTER_MS, JITTER_MS + 1, (rounds, self.devices))
            yield Chunk(
                device=np.tile(np.arange(self.devices), rounds),
                time_ms=(due[:, None] + jitter).ravel(),
                values=(walk / 100).reshape(-1, len(METRICS)),
            )
