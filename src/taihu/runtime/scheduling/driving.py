"""Driving the assets of a plan between one plan and the next: setpoints, starts, and the limits of the meter.

A battery that alone is to bring the meter to zero follows it as fast as the loop turns; whatever would carry the meter
over its limit gives way, what can wait longest first. A thing that does not do what it is told is told nothing more.
"""

import numpy as np

from taihu.control.allot import Ask, allot
from taihu.control.reflex import Obedience, setpoint
from taihu.decide.flexible import Grid, State
from taihu.decide.problem import Numbers, Solar
from taihu.decide.scheduling import Scheduled
from taihu.kernel.clock import NS_PER_S, Clock, format_iso
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
from taihu.runtime.pilot.api import NodeApi
from taihu.runtime.scheduling.hand import Hand

_SETTLE_S = 10.0  # in which a device comes to its setpoint ...
_DELAY_S = 1.0  # ... of the machine's time: in which a command and a reading are on their way
_TOLERANCE = 0.1  # of its power: how far a device may be from what it is told
_SAME_KW = 0.05
_ZERO_KW = 0.05
_ORDER = (HeatConfig, BatteryConfig, VehicleConfig, JobConfig)  # who gives way last to first


class Driving:
    """The hands of one scheduler."""

    def __init__(self, project: str, config: SchedulerConfig, api: NodeApi, clock: Clock) -> None:
        self._project, self._config, self._api = project, config, api
        settle_ns = int(max(_SETTLE_S, _DELAY_S * clock.speed) * NS_PER_S)
        self._hands = {one.name: hand for one in config.assets if (hand := _hand(api, project, one)) is not None}
        self._obedience = {
            one.name: Obedience(_TOLERANCE * one.power_kw + _SAME_KW, settle_ns)
            for one in config.assets
            if isinstance(one, _ORDER)
        }
        self._lost: dict[str, int] = {}
        self._planned: Scheduled | None = None
        self._grid: Grid | None = None
        self._states: dict[str, State] = {}
        self._started: dict[str, int] = {}

    @property
    def has_plan(self) -> bool:
        """Whether there is a plan to follow."""
        return self._planned is not None

    def take(self, planned: Scheduled, grid: Grid, states: dict[str, State]) -> None:
        """From now on this plan holds, for its whole day, should no newer one come."""
        self._planned, self._grid, self._states = planned, grid, states

    def disobedient(self, now: int, forgive_ns: int) -> frozenset[str]:
        """What does not do what it is told; it is tried again after a while."""
        for name, since in list(self._lost.items()):
            if now - since > forgive_ns:
                del self._lost[name]
                self._obedience[name].forgive()
        return frozenset(self._lost)

    async def follow(self, now: int) -> list[str]:
        """One turn: what moved is told; returns the names of those that are found not to obey."""
        assert self._planned is not None and self._grid is not None
        edges = self._grid.edges
        step = int(np.searchsorted(edges, now, side="right")) - 1
        if not 0 <= step < len(edges) - 1:
            return []
        net = await self._api.at(self._project, self._config.net)
        fresh = [name for config in self._config.assets if (name := await self._look(config, now))]
        wanted = await self._wanted(step, net)
        why = f"{self._config.name}: plan of {format_iso(self._grid.now)}"
        for config in self._config.assets:
            name = config.name
            if name in self._lost or name not in self._hands or self._planned.sights[name].asset is None:
                continue
            if not await self._is_there(config):
                continue
            if isinstance(config, LoadConfig):
                await self._run(config, now, step, why)
            else:
                kw = wanted[name]
                if isinstance(config, SolarConfig) and kw is None and self._hands[name].told is not None:
                    kw = config.power_kw  # what was curtailed is let in again
                if kw is not None:
                    written = await self._hands[name].write(now, kw, why)
                    if written and name in self._obedience:
                        self._obedience[name].tell(now, kw)
        return fresh

    async def _look(self, config: AssetConfig, now: int) -> str:
        """Whether an asset does as it is told; its name when it does not from now on."""
        watch = self._obedience.get(config.name)
        if watch is None or config.name in self._lost:
            return ""
        if not await self._is_there(config):
            watch.forgive()
            return ""
        seen = await self._api.reading(self._project, config.thing, config.power)
        if seen is not None:
            watch.see(*seen, await self._fullness(config))
        if watch.obeys:
            return ""
        self._lost[config.name] = now
        return config.name

    async def _is_there(self, config: AssetConfig) -> bool:
        if not isinstance(config, VehicleConfig):
            return True
        return bool(await self._api.holds(self._project, config.thing, config.plugged))

    async def _fullness(self, config: AssetConfig) -> float:
        """From 0 to 1: a thing that is nearly full may take less than it is told, and one nearly empty give less."""
        if isinstance(config, BatteryConfig | VehicleConfig):
            charge = await self._api.value(self._project, config.thing, config.charge)
            return 0.5 if charge is None else charge / 100
        if isinstance(config, HeatConfig):
            found = await self._api.value(self._project, config.thing, config.temperature)
            return 1.0 if found is None or found > config.high_c - 0.5 else 0.5
        return 1.0  # a job may have come to its end

    async def _wanted(self, step: int, net: float | None) -> dict[str, float | None]:
        """The power that each is to have now; None where the plan has nothing to say."""
        assert self._planned is not None
        powers, sights = self._planned.plan.powers, self._planned.sights
        found: dict[str, float | None] = {}
        for config in self._config.assets:
            asset = sights[config.name].asset
            found[config.name] = None if asset is None else float(powers[config.name][step])
            if isinstance(config, SolarConfig) and isinstance(asset, Solar):
                found[config.name] = _limit(config, powers[config.name][step], asset.power_kw, step)
        if net is None:
            return found
        now_kw = {one.name: await self._now(one) for one in self._config.assets}
        batteries = [one for one in self._config.batteries if found[one.name] is not None]
        near = max(_ZERO_KW, float(self._planned.spread_kw[step]))
        if len(batteries) == 1 and abs(float(self._planned.plan.net_kw[""][step])) < near:
            one = batteries[0]
            low = -one.power_kw
            if not self._config.battery_to_vehicle:
                cars = sum(now_kw[vehicle.name] for vehicle in self._config.vehicles)
                low = max(low, -max(0.0, net - now_kw[one.name] - cars))
            found[one.name] = setpoint(net, now_kw[one.name], low, one.power_kw)
        if self._config.import_max_kw:
            asks = [
                Ask(one.name, float(found[one.name] or 0.0), now_kw[one.name], getattr(one, "minimum_kw", 0.0))
                for kind in _ORDER
                for one in self._config.assets
                if isinstance(one, kind) and found[one.name] is not None and one.name not in self._lost
            ]
            found |= allot(net, self._config.import_max_kw, asks)
        return found

    async def _now(self, config: AssetConfig) -> float:
        return await self._api.value(self._project, config.thing, config.power) or 0.0

    async def _run(self, config: LoadConfig, now: int, step: int, why: str) -> None:
        """Start a load that is to begin, or switch it."""
        assert self._planned is not None and self._grid is not None
        on = bool(self._planned.plan.powers[config.name][step] > 0)
        hand = self._hands[config.name]
        if config.switch:
            await hand.write(now, float(on), why)
        elif on and not self._states[config.name].ran and self._started.get(config.name, 0) < self._grid.now:
            await hand.invoke(now, why)  # once for each plan, until it is seen to run
            self._started[config.name] = now


def _limit(config: SolarConfig, power: float, most: Numbers, step: int) -> float | None:
    """What a generator may give: nothing to say unless it is curtailed."""
    return None if -power >= float(most[step]) - _ZERO_KW else max(0.0, -float(power))


def _hand(api: NodeApi, project: str, config: AssetConfig) -> Hand | None:
    match config:
        case BatteryConfig():
            return Hand(api, project, config.thing, config.setpoint, -config.power_kw, config.power_kw)
        case VehicleConfig():
            return Hand(api, project, config.thing, config.setpoint, -config.discharge_kw, config.power_kw)
        case HeatConfig() | JobConfig():
            return Hand(api, project, config.thing, config.setpoint, 0.0, config.power_kw)
        case LoadConfig():
            return Hand(api, project, config.thing, config.switch or config.start, 0.0, 1.0)
        case SolarConfig() if config.limit:
            return Hand(api, project, config.thing, config.limit, 0.0, config.power_kw)
    return None
