"""Series to forecast, from a seed."""

import numpy as np

from taihu.insight.forecast.series import Series
from taihu.kernel.arrays import Numbers
from taihu.kernel.clock import parse_iso

START = parse_iso("2026-03-02T00:00:00Z")  # a Monday


def household(days: int, seed: int = 1, day: int = 24) -> Numbers:
    """A load with a day, a weekend, spells that last some hours, and noise (kW)."""
    random = np.random.default_rng(seed)
    steps = np.arange(days * day)
    hour = steps % day / day
    usual = 1.0 + 0.8 * np.sin(2 * np.pi * (hour - 0.3)) ** 2 + 0.5 * (steps // day % 7 >= 5)
    spell = np.zeros(len(steps))
    for step in range(1, len(steps)):
        spell[step] = 0.8 * spell[step - 1] + random.normal(0, 0.12)
    return np.asarray(np.maximum(0.05, usual + spell + random.normal(0, 0.1, len(steps))))


def series(values: Numbers, step_s: int = 3_600, zone: str = "UTC") -> Series:
    return Series(START, step_s, np.asarray(values, np.float64), zone)
