"""The plan policy: forecast the next day with its errors, plan it at least expected cost, do the first hour, again."""

from importlib.util import find_spec
from typing import Protocol

import numpy as np

from taihu.decide.battery import Battery
from taihu.decide.bill import RunningBill
from taihu.decide.caution import Caution
from taihu.decide.expected import Expected, ExpectedCostPlan, Prices
from taihu.decide.policy import Hour
from taihu.insight.day import HORIZON, HouseForecast, SignalForecast
from taihu.kernel.arrays import Numbers
from taihu.kernel.errors import RefusedError

_RAMP_SPREAD = 0.7  # errors of neighbouring hours go together, so a change is known better than a level
_INVERSE_ROUNDS = 6
_CERTAIN_WAY = 0.925  # one number for all powers


class SolverMissing(RefusedError):
    """A plan needs a solver that is not installed; the message names it."""

    code = "solver-missing"


class Planner(Protocol):
    """What finds the content of each battery at the end of each hour to come, batteries by hours."""

    def solve(self, content_kwh: Numbers, capacity_kwh: Numbers, expected: Expected, prices: Prices) -> Numbers: ...


class Plan:
    """Plans every hour; knows nothing of the houses but what it has seen."""

    def __init__(self, battery: Battery, count: int) -> None:
        self._battery = battery
        self._houses = HouseForecast(count)
        self._intensity = SignalForecast()
        self._bill = RunningBill()
        self._plan: Planner = ExpectedCostPlan(count, HORIZON, battery.way(np.zeros(count)))
        self._prices = np.full(24, np.nan)
        self._caution = Caution(count)
        self.expected_kwh = np.zeros(count)
        """Load less PV of each house in the hour that was decided last, as it was expected."""

    def decide(self, hour: Hour) -> Numbers:
        self._caution.see(hour)
        clock = hour.hour % 24
        self._prices[clock] = hour.price
        total = float(hour.meter_kwh.sum())
        self._bill.update(hour.load_kwh - hour.solar_kwh, total, hour.price, hour.intensity)
        outlook = self._houses.update(clock, hour.load_kwh, hour.solar_kwh)
        self.expected_kwh = outlook.net_kwh[:, 0]
        tariff, intensity = self._tariff(clock, hour), self._intensity.update(clock, hour.intensity)
        prices = self._bill.prices(tariff, intensity)
        ramp_spread = np.concatenate([outlook.total_spread_kwh[:1], _RAMP_SPREAD * outlook.total_spread_kwh[1:]])
        expected = Expected(
            outlook.net_kwh, outlook.spread_kwh, outlook.total_spread_kwh, ramp_spread, total, outlook.unit_kwh
        )
        content = self._plan.solve(hour.content_kwh, hour.capacity_kwh, expected, prices)
        wanted = terminal_energy(content[:, 0] - hour.content_kwh, self._battery)
        return self._caution.act(wanted, self.expected_kwh, float(tariff[0]), float(intensity[0]))

    def _tariff(self, clock: int, hour: Hour) -> Numbers:
        """The published prices; where none is, that of the hour a day before, or else of the last hour."""
        yesterday = self._prices[(clock + 1 + np.arange(HORIZON)) % 24]
        seen = np.where(np.isnan(yesterday), hour.price, yesterday)
        return np.where(np.isnan(hour.tariff), seen, hour.tariff)


class Certain(Plan):
    """The same forecast, taken as certain: a linear program each hour, as model predictive control mostly does it.

    Raises:
        SolverMissing: HiGHS is not installed.
    """

    def __init__(self, battery: Battery, count: int) -> None:
        super().__init__(battery, count)
        need_solver()
        from taihu.decide.linear import LinearPlan

        self._bill = RunningBill(own_weight=1.0)
        self._plan = LinearPlan(count, HORIZON, _CERTAIN_WAY, battery.power_kw)


def need_solver() -> None:
    """Raise `SolverMissing` where HiGHS is not installed."""
    if find_spec("highspy") is None:
        raise SolverMissing("Linear programs need HiGHS.", "Install it: pip install 'taihu[plan]'.")


def terminal_energy(moved_kwh: Numbers, battery: Battery) -> Numbers:
    """The energy at the terminals that changes the content by so much, the efficiency being that of its power."""
    energy = moved_kwh
    for _ in range(_INVERSE_ROUNDS):
        way = battery.way(energy / battery.power_kw)
        energy = np.where(moved_kwh >= 0, moved_kwh / way, moved_kwh * way)
    return np.asarray(energy)
