"""A battery whose efficiency and power depend on what it does: steps of one interval, for many batteries at once.

The model of the CityLearn challenge 2022: one-way efficiency is the square root of a curve over the share of nominal
power; above 80 % of charge the power that it takes or gives falls in a line; each kWh moved costs a little capacity.
Each battery may have curves of its own.
"""

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from taihu.kernel.arrays import Numbers


class Curve(msgspec.Struct, frozen=True):
    """Lines through points, level beyond the last: values are one row for all batteries, or one a battery."""

    at: Numbers
    values: Numbers

    def of(self, x: Numbers) -> Numbers:
        """The values there, batteries along the last axis."""
        if self.values.ndim == 1:
            return np.asarray(np.interp(x, self.at, self.values))
        left = np.clip(np.searchsorted(self.at, x, side="right") - 1, 0, len(self.at) - 2)
        share = np.clip((x - self.at[left]) / (self.at[left + 1] - self.at[left]), 0.0, 1.0)
        rows = np.arange(len(self.values))
        return np.asarray((1 - share) * self.values[rows, left] + share * self.values[rows, left + 1])


ROUND_TRIP = Curve(np.array([0.0, 0.3, 0.7, 0.8, 1.0]), np.array([0.83, 0.83, 0.9, 0.9, 0.85]))
POWER = Curve(np.array([0.0, 0.8, 1.0]), np.array([1.0, 1.0, 0.2]))


class Battery(msgspec.Struct, frozen=True, kw_only=True):
    """What does not change, one number or one a battery: kWh, kW, the share of capacity lost for each cycle and of
    content for each hour; and curves of round-trip efficiency over the share of power, of power over charge.
    """

    capacity_kwh: float | Numbers = 6.4
    power_kw: float | Numbers = 5.0
    loss_per_cycle: float | Numbers = 1e-5
    loss_per_hour: float | Numbers = 0.0
    round_trip: Curve = ROUND_TRIP
    power: Curve = POWER

    def way(self, share: ArrayLike) -> Numbers:
        """One-way efficiency at a share of nominal power, of either sign.

        >>> Battery().way([0.0, 0.75, -0.75]).round(4).tolist()
        [0.911, 0.9487, 0.9487]
        """
        return np.asarray(np.sqrt(self.round_trip.of(np.abs(share))))


class Batteries:
    """The state of `count` batteries: content and capacity in kWh, one value a battery."""

    def __init__(self, battery: Battery, count: int) -> None:
        self.content_kwh: Numbers = np.zeros(count)
        self.capacity_kwh: Numbers = np.broadcast_to(battery.capacity_kwh, count).astype(np.float64)
        self._battery = battery
        self._wear = battery.loss_per_cycle * self.capacity_kwh

    def step(self, wanted_kwh: ArrayLike, hours: float = 1.0) -> Numbers:
        """Charge (positive) or discharge for so long; returns the energy at the terminals that came of it."""
        most = self._battery.power_kw * hours
        kept = self.content_kwh * (1 - self._battery.loss_per_hour * hours)
        limit = most * self._battery.power.of(kept / self.capacity_kwh)
        energy = np.clip(np.asarray(wanted_kwh, np.float64), -limit, limit)
        way = self._battery.way(energy / most)
        moved = np.where(energy >= 0, energy * way, energy / way)
        self.content_kwh = np.clip(kept + moved, 0.0, self.capacity_kwh)
        change = self.content_kwh - kept
        at_terminals = np.where(change >= 0, change / way, change * way)
        self.capacity_kwh = self.capacity_kwh - self._wear * np.abs(at_terminals) / (2 * self.capacity_kwh)
        return np.asarray(at_terminals)
