"""The history benchmark's points are what its title says."""

import numpy as np
from bench.points import JITTER_MS, METRICS, PERIOD_MS, START_MS, Points


def test_points_are_the_same_every_time_and_of_the_stated_shape() -> None:
    points = Points(10, 130)
    chunks, again = list(points.chunks()), list(points.chunks())
    assert sum(len(chunk) for chunk in chunks) * len(METRICS) == points.total == 10 * 130 * 4
    for one, other in zip(chunks, again, strict=True):
        assert np.array_equal(one.values, other.values) and np.array_equal(one.time_ms, other.time_ms)
    times = np.concatenate([chunk.time_ms for chunk in chunks]).reshape(130, 10)
    due = START_MS + JITTER_MS + np.arange(130) * PERIOD_MS
    assert np.abs(times - due[:, None]).max() <= JITTER_MS
    cents = np.concatenate([chunk.values for chunk in chunks]) * 100
    assert np.allclose(cents, np.rint(cents))


def test_values_drift_slowly_and_three_in_ten_do_not_change() -> None:
    points = Points(20, 500)
    values = np.concatenate([chunk.values for chunk in points.chunks()]).reshape(500, 20, 4)
    steps = np.rint(np.diff(values, axis=0) * 100)
    assert 0.3 < (steps == 0).mean() < 0.45
    assert np.abs(steps).max() < 40
