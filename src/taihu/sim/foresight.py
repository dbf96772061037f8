"""The mark of perfect foresight: the same planner with the true next day of every house, price and intensity.

Not causal. It is what a policy without forecast errors comes to, and so what there is to be captured; it is found by
planning 24 hours again each hour, and no proof that nothing is better.
"""

import numpy as np

from taihu.decide.battery import Battery
from taihu.decide.bill import RunningBill
from taihu.decide.expected import Expected, ExpectedCostPlan, Numbers
from taihu.decide.plan import terminal_energy
from taihu.decide.policy import Hour
from taihu.insight.day import HORIZON
from taihu.sim.citylearn import Buildings

_WAY = 0.925


class Foresight:
    """Plans with what will be; past the end of the data the last day comes again."""

    def __init__(self, battery: Battery, buildings: Buildings) -> None:
        self._battery = battery
        self._bill = RunningBill(own_weight=1.0)
        self._plan = ExpectedCostPlan(len(buildings.load_kwh), HORIZON, _WAY)
        self._net, self._price, self._intensity = map(
            _with_a_day_more, (buildings.net_kwh, buildings.price, buildings.intensity)
        )
        self._next = 0

    def decide(self, hour: Hour) -> Numbers:
        self._next += 1
        ahead = slice(self._next, self._next + HORIZON)
        total = float(hour.meter_kwh.sum())
        self._bill.update(hour.load_kwh - hour.solar_kwh, total, hour.price, hour.intensity)
        net = self._net[:, ahead]
        certain = np.zeros(HORIZON)
        expected = Expected(net, np.zeros_like(net), net.sum(axis=0), certain, certain, total)
        prices = self._bill.prices(self._price[ahead], self._intensity[ahead])
        content = self._plan.solve(hour.content_kwh, hour.capacity_kwh, expected, prices)
        return terminal_energy(content[:, 0] - hour.content_kwh, self._battery)


def _with_a_day_more(values: Numbers) -> Numbers:
    return np.concatenate([values, values[..., -HORIZON:]], axis=-1)
