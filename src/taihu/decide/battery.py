"""A battery whose efficiency and power depend on what it does: steps of one interval, for many batteries at once.

The model of the CityLearn challenge 2022: one-way efficiency is the square root of a curve over the share of nominal
power; above 80 % of charge the power that it takes or gives falls in a line; each kWh moved costs a little capacity.
"""

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers = NDArray[np.float64]

_SHARES = np.array([0.0, 0.3, 0.7, 0.8, 1.0])
_ROUND_TRIP = np.array([0.83, 0.83, 0.9, 0.9, 0.85])
FULL_POWER_TO = 0.8
FALL = 4.0


class Battery(msgspec.Struct, frozen=True, kw_only=True):
    """What does not change: kWh, kW, and the share of capacity lost for each full cycle."""

    capacity_kwh: float = 6.4
    power_kw: float = 5.0
    loss_per_cycle: float = 1e-5


class Batteries:
    """The state of `count` equal batteries: content and capacity in kWh, one value a battery."""

    def __init__(self, battery: Battery, count: int) -> None:
        self.battery = battery
        self.content_kwh: Numbers = np.zeros(count)
        self.capacity_kwh: Numbers = np.full(count, battery.capacity_kwh)

    def step(self, wanted_kwh: ArrayLike, hours: float = 1.0) -> Numbers:
        """Charge (positive) or discharge for so long; returns the energy at the terminals that came of it."""
        wanted = np.asarray(wanted_kwh, np.float64)
        charge = self.content_kwh / self.capacity_kwh
        taper = np.where(charge <= FULL_POWER_TO, 1.0, 1.0 - FALL * (charge - FULL_POWER_TO))
        limit = self.battery.power_kw * taper * hours
        energy = np.clip(wanted, -limit, limit)
        way = efficiency(energy / (self.battery.power_kw * hours))
        moved = np.where(energy >= 0, energy * way, energy / way)
        content = np.clip(self.content_kwh + moved, 0.0, self.capacity_kwh)
        change = content - self.content_kwh
        at_terminals = np.where(change >= 0, change / way, change * way)
        wear = self.battery.loss_per_cycle * self.battery.capacity_kwh * np.abs(at_terminals)
        self.content_kwh = content
        self.capacity_kwh = self.capacity_kwh - wear / (2 * self.capacity_kwh)
        return np.asarray(at_terminals)


def efficiency(share: ArrayLike) -> Numbers:
    """One-way efficiency at a share of nominal power, of either sign.

    >>> efficiency([0.0, 0.75, -0.75]).round(4).tolist()
    [0.911, 0.9487, 0.9487]
    """
    return np.asarray(np.sqrt(np.interp(np.abs(share), _SHARES, _ROUND_TRIP)))
