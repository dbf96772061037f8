"""The scheduler's guard: two twins of the site, one that does what plans say and one that is left alone, day by day.

Both begin each local day as the site is, and go through the load, sun and prices that came, walk-forward: at each plan
of the site the one is planned anew, the other follows the rule, its batteries at rest. What differs at a day's end in
what they hold is settled at the day's mean price. The guard reads the savings of days, and nothing else.
"""

from collections import deque
from collections.abc import Mapping, Sequence

import msgspec

from taihu.decide.flexible import Grid, Sight, State, after, steps_of
from taihu.decide.guard import DAYS, Verdict, verdict
from taihu.decide.planner import Planner
from taihu.decide.problem import Numbers, Solar
from taihu.decide.rule import by_rule
from taihu.decide.scheduling import Expected, Scheduled, at_rest, problem_of, schedule, sights_of
from taihu.kernel.clock import to_datetime
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

HOUR_NS = 3_600_000_000_000
_HOURS_MIN = 20  # of a day, settled, for it to count
_SLOTS_MAX = 400

States = Mapping[str, State]


class Slot(msgspec.Struct, frozen=True):
    """What each twin took from `start` to `end` (kW), and what a kWh cost; `used` is the share of the sun let in."""

    start: int
    end: int
    planned_kw: float
    alone_kw: float
    used: float
    buys: float
    sells: float
    carbon: float


class _Twin(msgspec.Struct):
    """One of the two: where it is, and what it does since the last plan."""

    states: dict[str, State]
    sights: Mapping[str, Sight] = {}
    powers: Mapping[str, Numbers] = {}

    def advance(self, configs: Sequence[AssetConfig], grid: Grid, end: int) -> None:
        """Go on to an instant as was decided on a grid."""
        for config in configs:
            seen = self.sights.get(config.name)
            if seen is not None and seen.asset is not None:
                state = self.states[config.name]
                power = self.powers[config.name]
                self.states[config.name] = after(config, seen.asset, state, power, grid, end)


class Twins:
    """Both of them. `savings` are those of the days before, the newest last."""

    def __init__(self, config: SchedulerConfig, savings: Sequence[float] = ()) -> None:
        self._config = config
        self._planner = Planner()
        self._planned, self._alone = _Twin({}), _Twin({})
        self._grid: Grid | None = None
        self._last: tuple[float, float, float, float] | None = None  # buys, sells, carbon, share of the sun
        self._slots: deque[Slot] = deque(maxlen=_SLOTS_MAX)
        self._savings: deque[float] = deque(savings, maxlen=DAYS)
        self._day, self._hours, self._saved, self._prices = "", 0, 0.0, 0.0
        self._seen: dict[str, State] = {}

    @property
    def verdict(self) -> Verdict:
        """What the guard says."""
        return verdict(tuple(self._savings))

    def plan(self, states: States, grid: Grid, expected: Expected) -> tuple[str, float] | None:
        """Go on to now, and decide for both; a day that ended, and what it saved, if one did."""
        self.go_on(grid.now)
        day = to_datetime(grid.now).astimezone(grid.zone).date().isoformat()
        ended = self._end_day() if day != self._day and self._day else None
        if day != self._day:
            self._day, self._hours, self._saved, self._prices = day, 0, 0.0, 0.0
            self._planned.states, self._alone.states = dict(states), dict(states)
        for twin in (self._planned, self._alone):
            self._meet(twin, states)
        self._seen = dict(states)
        planned = schedule(self._config, self._planned.states, grid, expected, self._planner)
        self._planned.sights, self._planned.powers = planned.sights, planned.plan.powers
        self._alone.sights = sights_of(self._config, self._alone.states, grid, expected, 1)
        rested = at_rest(problem_of(self._config, grid, expected, self._alone.sights, expected.load_kw[1]))
        self._alone.powers = dict.fromkeys(self._alone.sights, 0.0 * grid.hours) | by_rule(rested)
        self._grid = grid
        self._last = (
            float(expected.buys[0]), float(expected.sells[0]), float(expected.carbon[0]), self._sun(planned),
        )  # fmt: skip
        return ended

    def settle(self, hour: int, load_kwh: float, solar_kwh: float) -> float:
        """What an hour that ended came to for both; returns the kWh that the one left alone took from its meter."""
        slots = [one for one in self._slots if hour <= one.start < hour + HOUR_NS]
        config, without, saved = self._config, 0.0, 0.0
        for one in slots:
            share = (one.end - one.start) / HOUR_NS
            price = config.cost_weight * one.buys + config.carbon_weight * one.carbon
            paid = config.cost_weight * one.sells
            nets = [load_kwh + one.alone_kw - solar_kwh, load_kwh + one.planned_kw - one.used * solar_kwh]
            costs = [share * (price * max(net, 0.0) - paid * max(-net, 0.0)) for net in nets]
            saved += costs[0] - costs[1]
            without += share * nets[0]
            self._prices += share * price
        if slots:
            self._hours += 1
            self._saved += saved
        return without

    def go_on(self, now: int) -> None:
        """Bring both to now, as was decided for them last."""
        if self._grid is None or self._last is None or now <= self._grid.now:
            return
        flexible = [one.name for one in self._config.assets if not isinstance(one, SolarConfig)]
        kw = [sum(float(twin.powers[name][0]) for name in flexible if name in twin.powers)
              for twin in (self._planned, self._alone)]  # fmt: skip
        buys, sells, carbon, used = self._last
        self._slots.append(Slot(self._grid.now, now, kw[0], kw[1], used, buys, sells, carbon))
        for twin in (self._planned, self._alone):
            twin.advance(self._config.assets, self._grid, now)
        self._grid = None

    def _meet(self, twin: _Twin, states: States) -> None:
        """What happens to the site happens to its twins: a car comes or goes, work arrives, something is seen again."""
        for config in self._config.assets:
            new, old = states.get(config.name, State()), self._seen.get(config.name)
            known = twin.states.get(config.name)
            arrives = old is None or known is None or known.level is None or new.present != old.present
            more = isinstance(config, JobConfig) and old is not None and (new.level or 0.0) > (old.level or 0.0) + 1e-6
            if arrives or more:
                twin.states[config.name] = new
            elif known is not None:
                twin.states[config.name] = msgspec.structs.replace(
                    known, present=new.present, until=new.until, outside_c=new.outside_c
                )

    def _sun(self, planned: Scheduled) -> float:
        solar = [one.name for one in self._config.solars]
        most = sum(float(asset.power_kw[0]) for name in solar if isinstance(asset := planned.sights[name].asset, Solar))
        return min(1.0, -sum(planned.first(name) for name in solar) / most) if most > 0 else 1.0

    def _end_day(self) -> tuple[str, float] | None:
        if self._hours < _HOURS_MIN:
            return None
        mean = self._prices / self._hours
        held = [
            sum(_held(one, twin.states.get(one.name, State())) for one in self._config.assets)
            for twin in (self._planned, self._alone)
        ]
        saving = self._saved + mean * (held[0] - held[1])
        self._savings.append(saving)
        return self._day, saving


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
            run = state.done // (24 * HOUR_NS) * steps + (steps - state.left if state.left else 0)
            return config.power_kw * run / 4
    return 0.0
