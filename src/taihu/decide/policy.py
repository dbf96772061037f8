"""Policies for home batteries: from what was measured until now, what each battery does in the next hour.

A policy is called once an hour with the hour just ended, and answers with the energy that each battery should take
(positive) or give in the hour to come, of which it knows nothing (`Hour` holds none of it).
"""

from typing import Protocol

import msgspec
import numpy as np

from taihu.decide.battery import Battery
from taihu.kernel.arrays import Numbers

_CARRY, _CARRY_SOLAR = 0.65, 0.85  # how much of the last hour's departure lasts; tuned on phase 1 alone


class Hour(msgspec.Struct, frozen=True):
    """The hour just ended: each building's load, PV and meter, what its battery holds and can hold (kWh), price and
    intensity.

    `hour` is the hour of the day, 1 to 24, as the data count; `tariff` the prices of the next 24 hours as far as they
    have been published, NaN beyond.
    """

    hour: int
    load_kwh: Numbers
    solar_kwh: Numbers
    meter_kwh: Numbers
    content_kwh: Numbers
    capacity_kwh: Numbers
    price: float
    intensity: float
    tariff: Numbers


class Policy(Protocol):
    """What decides; it may keep what it has seen."""

    def decide(self, hour: Hour) -> Numbers:
        """Energy for each battery in the next hour, kWh at its terminals; what it cannot do is cut by the battery."""
        ...


class NoBattery:
    """Does nothing: the measure of all others."""

    def __init__(self, battery: Battery, count: int) -> None:
        self._nothing = np.zeros(count)

    def decide(self, hour: Hour) -> Numbers:
        return self._nothing


class BasicRule:
    """Discharges by day and charges by night: the challenge's own first baseline."""

    def __init__(self, battery: Battery, count: int) -> None:
        pass

    def decide(self, hour: Hour) -> Numbers:
        return hour.capacity_kwh * (-0.08 if 9 <= hour.hour <= 21 else 0.091)


class Greedy:
    """Takes the surplus and gives the deficit of the last hour."""

    def __init__(self, battery: Battery, count: int) -> None:
        pass

    def decide(self, hour: Hour) -> Numbers:
        return hour.solar_kwh - hour.load_kwh


class Forecast:
    """Takes the surplus and gives the deficit that it expects: each hour of the day's mean, bent to the last hour.

    Load is its hour's mean plus a share of how far the last hour was from its own; PV its hour's mean times how the
    last hour compares with its own.
    """

    def __init__(self, battery: Battery, count: int) -> None:
        self._load = np.zeros((24, count))
        self._solar = np.zeros((24, count))
        self._seen = np.zeros(24)

    def decide(self, hour: Hour) -> Numbers:
        now, ahead = hour.hour % 24, (hour.hour + 1) % 24
        known = self._seen[now] > 0
        above = hour.load_kwh - self._load[now] if known else 0.0
        mean = self._solar[now]
        ratio = np.clip(np.divide(hour.solar_kwh, mean, out=np.ones_like(mean), where=mean > 0.05), 0.0, 2.0)
        self._learn(now, hour)
        if not self._seen[ahead]:
            return hour.solar_kwh - hour.load_kwh
        load = np.maximum(self._load[ahead] + _CARRY * above, 0.0)
        return np.asarray(self._solar[ahead] * (1 + _CARRY_SOLAR * (ratio - 1)) - load)

    def _learn(self, now: int, hour: Hour) -> None:
        self._seen[now] += 1
        for mean, value, least in ((self._load, hour.load_kwh, 0.08), (self._solar, hour.solar_kwh, 0.15)):
            mean[now] += max(1 / self._seen[now], least) * (value - mean[now])
