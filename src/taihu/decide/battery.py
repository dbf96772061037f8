"""A battery whose efficiency and power depend on what it does: steps of one interval, for many batteries at once.

The model of the CityLearn challenge 2022: one-way efficiency is the square root of a curve over the share of nominal
power; above 80 % of charge the power that it takes or gives falls in a line; each kWh moved costs a little capacity.
"""

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from taihu.kernel.arrays import Numbers

_SHARES = np.array([0.0, 0.3, 0.7, 0.8, 1.0])
_ROUND_TRIP = np.array([0.83, 0.83, 0.9, 0.9, 0.85])
FULL_POWER_TO = 0.8
FALL = 4.0


class Battery(msgspec.Struct, frozen=True, kw_only=True):
    """What does not change: kWh, kW (one number, or one a battery), and the share of capacity lost for each cycle."""

    capacity_kwh: float | Numbers = 6.4
    power_kw: float | Numbers = 5.0
    loss_per_cycle: float = 1e-5


class Batteries:
    """The state of `count` batteries: content and capacity in kWh, one value a battery."""

    def __init__(self, battery: Battery, count: int) -> None:
        self.content_kwh: Numbers = np.zeros(count)
        self.capacity_kwh: Numbers = np.broadcast_to(battery.capacity_kwh, count).astype(np.float64)
        self._power_kw = battery.power_kw
        self._wear = battery.loss_per_cycle * self.capacity_kwh

    def step(self, wanted_kwh: ArrayLike, hours: float = 1.0) -> Numbers:
        """Charge (positive) or discharge for so long; returns the energy at the terminals that came of it."""
        wanted = np.asarray(wanted_kwh, np.float64)
        charge = self.content_kwh / self.capacity_kwh
        taper = np.where(charge <= FULL_POWER_TO, 1.0, 1.0 - FALL * (charge - FULL_POWER_TO))
        limit = self._power_kw * taper * hours
        energy = np.clip(wanted, -limit, limit)
        way = efficiency(energy / (self._power_kw * hours))
        moved = np.where(energy >= 0, energy * way, energy / way)
        content = np.clip(self.content_kwh + moved, 0.0, self.capacity_kwh)
        change = content - self.content_kwh
        at_terminals = np.where(change >= 0, change / way, change * way)
        wear = self._wear * np.abs(at_terminals)
        self.content_kwh = content
        self.capacity_kwh = self.capacity_kwh - wear / (2 * self.capacity_kwh)
        return np.asarray(at_terminals)


def efficiency(share: ArrayLike) -> Numbers:
    """One-way efficiency at a share of nominal power, of either sign.

    >>> efficiency([0.0, 0.75, -0.75]).round(4).tolist()
    [0.911, 0.9487, 0.9487]
    """
    return np.asarray(np.sqrt(np.interp(np.abs(share), _SHARES, _ROUND_TRIP)))
