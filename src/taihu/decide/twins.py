"""The scheduler's guard: two twins of the site, one that does what plans say and one that is left alone, day by day.

Both go through the load, sun and prices that came, walk-forward: at each plan the one is planned anew, the other
follows the rule, its batteries at rest. Twins of a running site begin each local day as the site is; those of a replay
go on from where they were. A day's saving counts what the objective does (money and CO2, demand, peak and ramp, wear,
comfort); what differs at its end in what they hold is settled at the day's mean price, what a car left short of at the
dearest.
"""

import math
from collections import deque
from collections.abc import Mapping
from datetime import timedelta

import msgspec
import numpy as np

from taihu.decide.flexible import STEP_NS, Grid, Sight, State, after, steps_of
from taihu.decide.planner import Planner
from taihu.decide.problem import Solar
from taihu.decide.rule import by_rule
from taihu.decide.scheduling import Expected, Scheduled, at_rest, problem_of, schedule, sights_of
from taihu.decide.twindays import Day, Follow, Peaks, Slot
from taihu.kernel.arrays import Numbers
from taihu.kernel.clock import DAY_NS, HOUR_NS, from_datetime, to_datetime
from taihu.kernel.flexible import (
    AssetConfig,
    BatteryConfig,
    HeatConfig,
    JobConfig,
    LoadConfig,
    SchedulerConfig,
    SolarConfig,
    VehicleConfig,
)

_SLOTS_MAX = 400
_LATE_NS = 2 * HOUR_NS  # so long after its end a day waits for its last hour
_FULL = 0.99
_ZERO_KW = 0.05

States = Mapping[str, State]
Prices = Mapping[int, tuple[float, float]]  # what a kWh cost and earned, by the beginning of a quarter


class _Twin(msgspec.Struct):
    """One of the two: where it is, and what it does since the last plan. `shift` is what following moved (kWh)."""

    states: dict[str, State]
    sights: Mapping[str, Sight] = {}
    powers: Mapping[str, Numbers] = {}
    shift: dict[str, float] = {}

    def advance(self, configs: tuple[AssetConfig, ...], grid: Grid, end: int) -> None:
        """Go on to an instant as was decided on a grid."""
        for config in configs:
            seen = self.sights.get(config.name)
            if seen is not None and seen.asset is not None:
                state = self.states[config.name]
                self.states[config.name] = after(config, seen.asset, state, self.powers[config.name], grid, end)
        for name, kwh in self.shift.items():
            if (level := self.states[name].level) is not None:
                self.states[name] = msgspec.structs.replace(self.states[name], level=level + kwh)
        self.shift = {}


class Twins:
    """Both of them. Those that are `anchored` begin each day as the site is."""

    def __init__(self, config: SchedulerConfig, *, anchored: bool = True) -> None:
        self._config, self._anchored = config, anchored
        self._batteries = {one.name: one for one in config.batteries}
        self._wears = {one.name: one.wear_price for one in (*config.batteries, *config.vehicles)}
        self._planner = Planner()
        self._alone, self._planned = _Twin({}), _Twin({})
        self._grid: Grid | None = None
        self._until = 0
        self._expected: Expected | None = None
        self._plan: Scheduled | None = None
        self._slots: deque[Slot] = deque(maxlen=_SLOTS_MAX)
        self._days: list[Day] = []
        self._peaks = Peaks()
        self._seen: dict[str, State] = {}

    def plan(self, states: States, grid: Grid, expected: Expected) -> None:
        """Go on to now, and decide for both."""
        self.go_on(grid.now)
        if self._grid is not None:
            for twin in self._twins:
                twin.advance(self._config.assets, self._grid, grid.now)
            self._feel((grid.now - self._grid.now) / HOUR_NS)
            self._leave(states)
        self._turn_day(states, grid, expected)
        for twin in self._twins:
            self._meet(twin, states)
        self._seen = dict(states)
        self._plan = schedule(self._config, self._planned.states, grid, self._own(expected), self._planner)
        self._planned.sights, self._planned.powers = self._plan.sights, self._plan.plan.powers
        self._alone.sights = sights_of(self._config, self._alone.states, grid, expected, 1)
        rested = at_rest(problem_of(self._config, grid, expected, self._alone.sights, expected.load_kw[1]))
        self._alone.powers = dict.fromkeys(self._alone.sights, 0.0 * grid.hours) | by_rule(rested)
        self._grid, self._until, self._expected = grid, grid.now, expected

    def go_on(self, now: int) -> None:
        """What both did until now, as was decided for them last."""
        if self._grid is None or now <= self._until:
            return
        edges = self._grid.edges
        first = max(0, int(np.searchsorted(edges, self._until, side="right")) - 1)
        for step in range(first, min(int(np.searchsorted(edges, now, side="left")), len(edges) - 1)):
            begin, end = max(self._until, int(edges[step])), min(int(edges[step + 1]), now)
            self._slots.append(self._slot(begin, end, step))
        self._until = now

    def settle(self, hour: int, load_kwh: float, solar_kwh: float, carbon: float | None = None,
               prices: Prices | None = None) -> float | None:  # fmt: skip
        """What an hour that ended came to for both, at the prices and intensity that came, where those are known.

        Returns the kWh that the one left alone took from its meter; None when it was not there for all of the hour.
        """
        config, without, share = self._config, 0.0, 0.0
        day = next((one for one in self._days if one.start <= hour < one.end), None)
        for one in [slot for slot in self._slots if hour <= slot.start < hour + HOUR_NS]:
            buys, sells = (prices or {}).get(one.start // STEP_NS * STEP_NS, (one.buys, one.sells))
            kg = config.carbon_weight * (one.carbon if carbon is None else carbon)
            price, paid = config.cost_weight * buys + kg, config.cost_weight * sells + (kg if config.by_margin else 0.0)
            alone, planned = (load_kwh + kw - used * solar_kwh for kw, used in zip(one.kw, one.used, strict=True))
            planned += self._followed(one, planned)
            part = (one.end - one.start) / HOUR_NS
            without, share = without + part * alone, share + part
            if day is not None:
                day.take(one, (alone, planned), price, paid)
        if day is not None:
            day.settled = max(day.settled, hour + HOUR_NS)
        return without if share > _FULL else None

    def ended(self, now: int) -> list[tuple[str, float]]:
        """The days that are over and settled, each with what it saved."""
        found = []
        for day in [one for one in self._days[:-1] if one.settled >= one.end or now > one.end + _LATE_NS]:
            self._days.remove(day)
            saving = day.saving(self._config, self._peaks)
            if saving is not None:
                found.append((day.date, saving))
        return found

    @property
    def _twins(self) -> tuple[_Twin, _Twin]:
        return self._alone, self._planned

    def _slot(self, begin: int, end: int, step: int) -> Slot:
        assert self._expected is not None
        config, expected = self._config, self._expected
        flexible = [one.name for one in config.assets if not isinstance(one, SolarConfig)]
        kw, used, wear = [], [], []
        for twin in self._twins:
            kw.append(sum(float(twin.powers[name][step]) for name in flexible if name in twin.powers))
            used.append(self._sun(twin, step))
            powers = {name: abs(float(twin.powers[name][step])) for name in self._wears if name in twin.powers}
            wear.append(sum(self._wears[name] * moved for name, moved in powers.items()))
        return Slot(
            begin, end, (kw[0], kw[1]), (used[0], used[1]), (wear[0], wear[1]), float(expected.buys[step]),
            float(expected.sells[step]), float(expected.carbon[step]), self._follow(step),
        )  # fmt: skip

    def _sun(self, twin: _Twin, step: int) -> float:
        """The share of the sun that is let in."""
        suns = [(one.name, twin.sights[one.name].asset) for one in self._config.solars]
        most = sum(float(asset.power_kw[step]) for _, asset in suns if isinstance(asset, Solar))
        given = sum(float(twin.powers[name][step]) for name, asset in suns if isinstance(asset, Solar))
        return min(1.0, -given / most) if most > 0 else 1.0

    def _follow(self, step: int) -> Follow | None:
        """Batteries that are to bring the meter to zero follow it, as they are driven."""
        assert self._plan is not None
        batteries = [one for one in self._config.batteries if self._planned.sights[one.name].asset is not None]
        net, near = float(self._plan.plan.net_kw[""][step]), max(_ZERO_KW, float(self._plan.spread_kw[step]))
        if not batteries or abs(net) >= near:
            return None
        powers, high = self._planned.powers, sum(one.power_kw for one in batteries)
        kw = {one.name: float(powers[one.name][step]) for one in batteries}
        low = -high
        if not self._config.battery_to_vehicle:
            cars = sum(float(powers[car.name][step]) for car in self._config.vehicles if car.name in powers)
            low = max(low, -max(0.0, net - sum(kw.values()) - cars))
        return Follow(kw, low, high)

    def _followed(self, slot: Slot, net_kw: float) -> float:
        """By how much more batteries charged than was planned, as far as each has room or holds."""
        if slot.follow is None:
            return 0.0
        hours, wanted = (slot.end - slot.start) / HOUR_NS, slot.follow.moved(net_kw)
        most = {name: self._most(name, hours, wanted) for name in slot.follow.kw}
        total = sum(most.values())
        moved = math.copysign(min(abs(wanted), total), wanted)
        for name, kw in slot.follow.kw.items() if total > 0 else ():
            way = self._batteries[name].one_way
            stored = [one * way if one > 0 else one / way for one in (kw, kw + moved * most[name] / total)]
            shift = self._planned.shift
            shift[name] = shift.get(name, 0.0) + hours * (stored[1] - stored[0])
        return moved

    def _most(self, name: str, hours: float, wanted: float) -> float:
        """How much more a battery can charge, or give, for so long (kW)."""
        config, level = self._batteries[name], self._planned.states[name].level
        if level is None:
            return 0.0
        level += self._planned.shift.get(name, 0.0)
        if wanted > 0:
            return max(0.0, config.capacity_kwh - level) / (config.one_way * hours)
        return max(0.0, level - config.low * config.capacity_kwh) * config.one_way / hours

    def _turn_day(self, states: States, grid: Grid, expected: Expected) -> None:
        local = to_datetime(grid.now).astimezone(grid.zone)
        date = local.date().isoformat()
        if self._days and self._days[-1].date == date:
            return
        if self._days:
            self._days[-1].after = self._more()
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        bounds = [from_datetime(one) for one in (midnight, midnight + timedelta(days=1))]
        if self._anchored or not self._seen:
            for twin in self._twins:
                twin.states = dict(states)
        self._days.append(Day(date, bounds[0], bounds[1], expected.demand_seen_kw, self._more()))

    def _meet(self, twin: _Twin, states: States) -> None:
        """What happens to the site happens to its twins: a car comes or goes, work arrives, something is seen again."""
        for config in self._config.assets:
            new, old = states.get(config.name, State()), self._seen.get(config.name)
            known = twin.states.get(config.name)
            if old is None or known is None or new.present != old.present:
                twin.states[config.name] = new
            elif not isinstance(config, LoadConfig):  # a load's runs are its twins' own
                level = new.level if known.level is None else known.level
                if isinstance(config, JobConfig) and known.level is not None:
                    level = known.level + max(0.0, (new.level or 0.0) - (old.level or 0.0))
                twin.states[config.name] = msgspec.structs.replace(
                    known, level=level, until=new.until, outside_c=new.outside_c
                )

    def _leave(self, states: States) -> None:
        """What a car drives off with less than that of the twin left alone counts against the plan."""
        for car in self._config.vehicles:
            before = self._seen.get(car.name)
            if before is None or not before.present or states.get(car.name, State()).present:
                continue
            alone, planned = (twin.states[car.name].level or 0.0 for twin in self._twins)
            self._days[-1].short_kwh += max(0.0, alone - planned) / car.one_way

    def _feel(self, hours: float) -> None:
        """What it costs that rooms and tanks are outside their bands."""
        for heat in self._config.heats:
            levels = [twin.states[heat.name].level for twin in self._twins]
            alone, planned = (
                0.0 if level is None else max(heat.low_c - level, level - heat.high_c, 0.0) for level in levels
            )
            self._days[-1].saved += heat.comfort_price * hours * (alone - planned)

    def _own(self, expected: Expected) -> Expected:
        """What is expected, the month's highest quarter being the planned twin's own."""
        if not self._config.demand_price:
            return expected
        day = self._days[-1]
        before = self._peaks.kw[1] if day.date.startswith(self._peaks.month or "?") else day.seen_kw
        quarters = [row[2] / row[0] for row in day.quarters.values()]
        return msgspec.structs.replace(expected, demand_seen_kw=max([before, *quarters]))

    def _more(self) -> float:
        """By how many kWh of the meter the planned twin holds more."""
        alone, planned = (
            sum(_held(one, twin.states.get(one.name, State())) for one in self._config.assets) for twin in self._twins
        )
        return planned - alone


def _held(config: AssetConfig, state: State) -> float:
    """KWh of the meter that are in store; what is still to be done counts against it."""
    match config:
        case BatteryConfig():
            return config.one_way * (state.level or 0.0)
        case VehicleConfig():
            return (state.level or 0.0) / config.one_way if state.present else 0.0
        case HeatConfig():
            return config.capacity_kwh_per_k * (state.level or 0.0) / config.cop
        case JobConfig():
            return -(state.level or 0.0)
        case LoadConfig():
            steps = steps_of(config)
            run = state.done // DAY_NS * steps + (steps - state.left if state.left else 0)
            return config.power_kw * run / 4
    return 0.0
