"""Driving the assets of a plan between one plan and the next: setpoints, starts, and the limits of the meter.

What each takes is decided by the reflex; here it is seen, told and watched. A thing that does not do what it is told is
told nothing more but, a battery, to rest; one whose state nobody knows is told what is right whatever that is.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from taihu.control.obedience import Obedience
from taihu.control.reflex import INF, Kind, Reflex, Sun, Unit, corridor
from taihu.control.taper import Taper
from taihu.decide.flexible import STEP_NS, Grid, State, departure_of
from taihu.decide.problem import Solar, Vehicle
from taihu.decide.scheduling import Scheduled
from taihu.kernel.clock import HOUR_NS, MINUTE_NS, NS_PER_S, Clock, format_iso
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
from taihu.runtime.pilot.api import NodeApi, Said
from taihu.runtime.pilot.hand import WITHDRAWN_NS, Hand, Order, give, leave, renew, withdrawn
from taihu.runtime.pilot.held import HeldPermits, Written
from taihu.runtime.scheduling.hands import bounds_of, contactors_of, hand_of, holding_kw
from taihu.runtime.scheduling.metering import Metering
from taihu.runtime.scheduling.seeing import charge_of, truth

_SETTLE_S = 10.0  # in which a device comes to its setpoint, or in `lag_s` if that is longer ...
_DELAY_S = 1.0  # ... of the machine's time: in which a command and a reading are on their way
_LASTING_S = 10.0  # of the machine's time: for which a device is off before it is said not to obey
_TOLERANCE = 0.1  # of its power: how far a device may be from what it is told
_ALONE_NS = HOUR_NS
_REFUSED_MAX = 3  # turns in a row that something is told in vain before it is said
_REFUSED_NS = 5 * MINUTE_NS
_SAME_KW = 0.05
_BAND = 0.02  # of its power: so far a battery may be from its part of what all take
_ZERO_KW = 0.05
_ENDING_H = 0.1  # before its end a job may take less than it is told
_HOLD_S = 60.0  # for which a store is kept in its band, should no other turn come
_URGENT = 0.8  # of its power: a car that needs so much until it leaves waits for no better hour
_KINDS = {BatteryConfig: Kind.BATTERY, VehicleConfig: Kind.VEHICLE, HeatConfig: Kind.HEAT, JobConfig: Kind.JOB}


class Lost(NamedTuple):
    """What is told nothing for a while: since when, for how long (ns), and why, in words."""

    since: int
    span: int
    why: str


class Driving:
    """The hands of one scheduler. `begins` hears that a load is about to be told to begin."""

    def __init__(
        self, project: str, config: SchedulerConfig, api: NodeApi, clock: Clock, begins: Callable[[str, int], None],
        permits: HeldPermits,
    ) -> None:  # fmt: skip
        self._begins = begins
        self._project, self._config, self._api = project, config, api
        settle_ns = int(max(_SETTLE_S, config.lag_s, _DELAY_S * clock.speed) * NS_PER_S)
        lasting_ns = int(_LASTING_S * clock.speed * NS_PER_S)
        self._hands = {one.name: hand for one in config.assets if (hand := hand_of(api, project, one, permits))}
        self._obedience = {
            one.name: Obedience(_TOLERANCE * one.power_kw + _SAME_KW, settle_ns, lasting_ns=lasting_ns)
            for one in config.assets
            if not isinstance(one, LoadConfig)
        }
        self._reflex = Reflex(bounds_of(config, clock.speed), contactors_of(config))
        self._tapers = {one.name: Taper(one.power_kw) for one in config.batteries}
        limited = {name for group in config.groups for name in group.members}
        self._sheds = {one.name for one in config.loads if one.switch and (config.import_max_kw or one.name in limited)}
        self._hold_h = max(_HOLD_S, 2 * config.reflex_s) / 3_600
        self.metering = Metering(project, config, api)
        self._lost: dict[str, Lost] = {}
        self._refused: dict[str, int] = {}
        self.takers: set[str] = set()
        """Cars that take, and do not give back."""
        self._planned: Scheduled | None = None
        self._grid: Grid | None = None
        self._states: dict[str, State] = {}
        self._said: dict[str, Said] = {}
        self._started: dict[str, int] = {}

    @property
    def has_plan(self) -> bool:
        """Whether there is a plan to follow."""
        return self._planned is not None

    def take(self, planned: Scheduled, grid: Grid, states: dict[str, State]) -> None:
        """From now on this plan holds, for its whole day, should no newer one come."""
        self._planned, self._grid, self._states = planned, grid, states
        for config in self._config.heats:
            self._hands[config.name].rest = holding_kw(config, states[config.name].outside_c)

    def lost(self, now: int) -> dict[str, str]:
        """What is told nothing now, and why; it is tried again after a while."""
        for name, one in list(self._lost.items()):
            if not 0 <= now - one.since <= one.span:
                del self._lost[name]
                if name in self._obedience:
                    self._obedience[name].forgive()
        return {name: one.why for name, one in self._lost.items()}

    async def follow(self, now: int, said: Mapping[str, Said]) -> list[str]:
        """One turn, by what things say now: what moved is told.

        Returns in words who is found not to obey, or to be told in vain.
        """
        assert self._planned is not None and self._grid is not None
        edges = self._grid.edges
        step = max(0, int(np.searchsorted(edges, now, side="right")) - 1)  # the clock may have been set back
        if step >= len(edges) - 1:  # no plan came for a day
            await self.leave(now)
            return []
        self._said = {one.name: said[one.thing] for one in self._config.assets}
        gone = await self._let_go(now)
        fresh = [config.name for config in self._config.assets if self._look(config, now)]
        wanted = self._wanted(now, step, await self.metering.look(now))
        for config in self._config.assets:
            if config.name not in wanted and (config.name in fresh or self._is_unknown(config)):
                wanted |= self._rests(config)
        why = f"{self._config.name}: plan of {format_iso(self._grid.now)}"
        found = {one.name: self._order(one, now, step, why, wanted.get(one.name)) for one in self._config.assets}
        named = {name: order for name, order in found.items() if order is not None}
        orders = {order.hand: order for order in named.values()}
        problems = await give(self._api, self._project, now, list(orders.values()))
        self._note(now, orders)
        for name, order in named.items():
            fresh += self._heard(now, name, problems[order.hand])
        await renew(self._api, self._project, now, list(self._hands.values()))
        return [
            f"{name} {self._lost[name].why if name in self._lost else 'does not give back'}" for name in gone + fresh
        ]

    async def _let_go(self, now: int) -> list[str]:
        """What somebody withdrew the permit of: the node has told it to rest, and it is told nothing for a while."""
        gone = await withdrawn(self._api, self._project, list(self._hands.values()))
        names = [name for name, hand in self._hands.items() if hand in gone]
        for name in names:
            if (rest := self._hands[name].rest) is not None:
                self._reflex.tell(now, name, rest)
            why = f"has no permit, somebody withdrew it: another is asked for in {WITHDRAWN_NS // MINUTE_NS} min"
            self._lost[name] = Lost(now, WITHDRAWN_NS, why)
        return names

    def _heard(self, now: int, name: str, problem: str) -> list[str]:
        """What came of telling an asset something; its name when that has been in vain for a few turns."""
        self._refused[name] = self._refused.get(name, 0) + 1 if problem else 0
        if self._refused[name] < _REFUSED_MAX:
            return []
        self._refused[name] = 0
        self._lost[name] = Lost(
            now, _REFUSED_NS, f"is told in vain, {problem.rstrip('.')}: tried again in {_REFUSED_NS // MINUTE_NS} min"
        )
        return [name]

    @property
    def drove(self) -> bool:
        """Whether anything was told since it last left."""
        return any(hand.holds for hand in self._hands.values())

    async def leave(self, now: int) -> None:
        """Bring everything to where it is when nobody drives it; what runs goes on running."""
        driven = [hand for hand in self._hands.values() if hand.holds]
        await leave(self._api, self._project, now, driven, f"{self._config.name} no longer drives")

    @property
    def writes(self) -> frozenset[Written]:
        """What all its hands may write."""
        return frozenset(hand.what for hand in self._hands.values())

    def _is_unknown(self, config: AssetConfig) -> bool:
        """Whether something that was driven no longer says how it is."""
        if config.name in self._lost or (hand := self._hands.get(config.name)) is None or not hand.holds:
            return False
        if isinstance(config, BatteryConfig):
            return True  # it is driven whenever its charge is known
        return isinstance(config, HeatConfig | JobConfig) and self._states[config.name].level is None

    def _rests(self, config: AssetConfig) -> dict[str, float]:
        """What it is told then; of what does not obey only a battery is told anything."""
        rest = self._hands[config.name].rest if config.name in self._hands else None
        if rest is None or (config.name in self._lost and not isinstance(config, BatteryConfig)):
            return {}
        return {config.name: rest}

    def _order(self, config: AssetConfig, now: int, step: int, why: str, kw: float | None) -> Order | None:
        """What tells a thing what it is to take, or may give (kW), if that is news; None where nobody has a say."""
        if isinstance(config, LoadConfig):
            return None if config.name in self._lost else self._run(config, now, step, why, kw)
        if kw is None:
            return None
        hand = self._hands[config.name]
        if isinstance(config, SolarConfig) and hand.told is None and kw >= config.power_kw:
            return None  # it was never curtailed
        if isinstance(config, BatteryConfig):
            return hand.order(now, kw, why, same_kw=0.0)  # what the reflex does not move it leaves as it was told
        return hand.order(now, kw, why)

    def _note(self, now: int, orders: Mapping[Hand, Order]) -> None:
        """What was told now shows in readings to come."""
        for config in self._config.assets:
            hand = self._hands.get(config.name)
            if hand is None or hand not in orders or hand.told_at != now:
                continue
            kw = orders[hand].value
            if isinstance(config, LoadConfig):
                self._started[config.name] = now  # of a switch nobody asks it
                if config.name in self._sheds and kw is not None:
                    self._reflex.tell(now, config.name, kw * config.power_kw)
            elif kw is not None:
                self._reflex.tell(now, config.name, kw)
                self._obedience[config.name].tell(now, kw)

    def _look(self, config: AssetConfig, now: int) -> bool:
        """Whether an asset is found, now, not to do as it is told."""
        name, watch = config.name, self._obedience.get(config.name)
        if watch is None:
            return False
        if not self._is_there(config):  # another may come
            watch.forgive()
            self._lost.pop(name, None)
            self.takers.discard(name)
            return False
        seen = self._said[name].reading(config.power)
        if seen is None or name in self._lost:
            return False
        watch.see(now, *seen, self._fullness(config))
        if watch.obeys:
            return False
        gives = isinstance(config, VehicleConfig) and (self._hands[name].told or 0.0) < 0
        if gives and name not in self.takers:
            self.takers.add(name)
            watch.forgive()
        else:
            self._lost[name] = Lost(now, _ALONE_NS, "does not do what it is told: it is left alone for an hour")
        return True

    def _is_there(self, config: AssetConfig) -> bool:
        return not isinstance(config, VehicleConfig) or truth(self._said[config.name].holds(config.plugged)) is True

    def _fullness(self, config: AssetConfig) -> float:
        """From 0 to 1: a thing that is nearly full may take less than it is told, and one nearly empty give less."""
        said = self._said[config.name]
        if isinstance(config, BatteryConfig | VehicleConfig):
            charge = charge_of(said.value(config.charge))
            return 0.5 if charge is None else charge
        if isinstance(config, HeatConfig):
            found = said.value(config.temperature)
            return 1.0 if found is None or found > config.high_c - 0.5 else 0.5
        if isinstance(config, JobConfig):
            left = said.value(config.remaining)
            return 1.0 if left is None or left < _ENDING_H * config.power_kw else 0.5
        return 1.0  # the sun may give less than it is let

    def _wanted(self, now: int, step: int, net: tuple[int, float] | None) -> dict[str, float]:
        """The power that each is to have now, by what the meter sees."""
        assert self._planned is not None
        units: list[Unit] = []
        suns: list[Sun] = []
        for config in self._config.assets:
            seen = self._said[config.name].reading(config.power)
            news = seen is not None and self._reflex.read(now, config.name, *seen)
            if news and seen is not None and isinstance(config, BatteryConfig):
                charge, follows = self._fullness(config), self._reflex.follows(now, config.name)
                self._tapers[config.name].see(follows, seen[1], charge)
            if isinstance(config, SolarConfig):
                suns += self._sun(config, step)
            elif isinstance(config, LoadConfig):
                units += self._load(config, step) if seen is not None else ()
            elif (unit := self._unit(config, now, step)) is not None:
                units.append(unit)
        net_kw = float(self._planned.plan.net_kw[""][step])
        zero = abs(net_kw) < max(_ZERO_KW, float(self._planned.spread_kw[step]))
        curtails = any(sun.planned_kw < sun.power_kw for sun in suns)
        return self._reflex.turn(
            now, net, units, suns, zero=zero, export_kw=max(0.0, -net_kw) if curtails else INF, peak_kw=self._peak_kw()
        )  # fmt: skip

    def _peak_kw(self) -> float:
        """What no quarter of an hour is to exceed: what this month has seen already, or the plan has in it."""
        assert self._planned is not None
        meter = self._planned.problem.meters[0]
        if not meter.demand_price:
            return INF
        return max(0.0, meter.demand_seen_kw, float(self._planned.plan.net_kw[""].max()))

    def _load(self, config: LoadConfig, step: int) -> list[Unit]:
        """A load that may be shed, as the plan has it."""
        assert self._planned is not None
        if config.name not in self._sheds or config.name in self._lost or self._planned.asset(config.name) is None:
            return []
        planned = config.power_kw if self._planned.plan.powers[config.name][step] > 0 else 0.0
        return [
            Unit(
                name=config.name, kind=Kind.LOAD, planned_kw=planned, low_kw=0.0, high_kw=config.power_kw,
                minimum_kw=config.power_kw,
            )
        ]  # fmt: skip

    def _unit(self, config: AssetConfig, now: int, step: int) -> Unit | None:
        """What is driven as it is now; None for what is left alone."""
        assert self._planned is not None
        kind, asset = _KINDS.get(type(config)), self._planned.asset(config.name)
        if kind is None or asset is None or config.name in self._lost or not self._is_there(config):
            return None
        planned = float(self._planned.plan.powers[config.name][step])
        if isinstance(config, BatteryConfig):
            return self._battery(config, planned)
        unit = Unit(
            name=config.name, kind=kind, planned_kw=planned, low_kw=0.0, high_kw=config.power_kw,
            minimum_kw=getattr(config, "minimum_kw", 0.0),
        )  # fmt: skip
        if isinstance(config, VehicleConfig):
            assert isinstance(asset, Vehicle)
            charge = charge_of(self._said[config.name].value(config.charge))
            return self._car(config, unit, asset, None if charge is None else charge * config.capacity_kwh, now)
        return unit

    def _battery(self, config: BatteryConfig, planned_kw: float) -> Unit | None:
        charge = charge_of(self._said[config.name].value(config.charge))
        if charge is None:
            return None
        held, band = charge * config.capacity_kwh, (config.low * config.capacity_kwh, config.capacity_kwh)
        low, high = corridor((-config.power_kw, config.power_kw), held, band, config.one_way, self._hold_h)
        low, high = self._tapers[config.name].within(low, high)
        return Unit(
            name=config.name, kind=Kind.BATTERY, planned_kw=planned_kw, low_kw=low, high_kw=high,
            room_kwh=max(0.0, band[1] - held), held_kwh=max(0.0, held - band[0]), band_kw=_BAND * config.power_kw,
        )  # fmt: skip

    def _car(self, config: VehicleConfig, unit: Unit, car: Vehicle, held: float | None, now: int) -> Unit:
        """One that must hurry takes what brings it to its target in time; one that is there, no more than planned."""
        assert self._grid is not None
        need = config.target * config.capacity_kwh - (car.content_kwh if held is None else held)
        left = departure_of(config, self._states[config.name], self._grid) - now
        planned, least = unit.planned_kw, 0.0
        if need > 0 and left > 0:
            wanted = max(config.minimum_kw, need / config.one_way / (left / HOUR_NS))
            if wanted > _URGENT * config.power_kw or left < STEP_NS:  # the plan sees whole quarters
                planned = least = max(planned, min(wanted, config.power_kw))
        low = 0.0 if config.name in self.takers else -config.discharge_kw
        return replace(unit, low_kw=low, planned_kw=planned, needs=need > 0, least_kw=least)

    def _sun(self, config: SolarConfig, step: int) -> list[Sun]:
        """A generator that can be curtailed, and how far it is planned to be."""
        assert self._planned is not None
        asset = self._planned.asset(config.name)
        if config.name not in self._hands or config.name in self._lost or not isinstance(asset, Solar):
            return []
        gives = -float(self._planned.plan.powers[config.name][step])
        curtailed = gives < float(asset.power_kw[step]) - _ZERO_KW
        return [
            Sun(
                name=config.name, power_kw=config.power_kw, planned_kw=max(0.0, gives) if curtailed else config.power_kw
            )
        ]

    def _run(self, config: LoadConfig, now: int, step: int, why: str, kw: float | None) -> Order | None:
        """What starts a load that is to begin, or switches it; `kw` is what the reflex leaves it, if it asked it."""
        assert self._planned is not None and self._grid is not None
        if self._planned.asset(config.name) is None:
            return None
        on = bool(self._planned.plan.powers[config.name][step] > 0) if kw is None else kw > 0
        hand = self._hands[config.name]
        if config.switch:
            return hand.order(now, float(on), why)
        if on and not self._states[config.name].ran and self._started.get(config.name, 0) < self._grid.now:
            self._begins(config.name, now)
            return hand.action(why)  # once for each plan, until it is seen to run
        return None
