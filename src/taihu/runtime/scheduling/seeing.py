"""What the things of a scheduler say of themselves now, as the states of its assets; and what loads have run."""

import msgspec

from taihu.decide.flexible import STEP_NS, Grid, State, is_running, steps_of, window_of
from taihu.kernel.clock import NS_PER_S
from taihu.kernel.flexible import (
    AssetConfig,
    BatteryConfig,
    HeatConfig,
    JobConfig,
    LoadConfig,
    SchedulerConfig,
    VehicleConfig,
)
from taihu.runtime.scheduling.reads import Reads

_NEARLY_NS = 300 * NS_PER_S  # a load that stops so much before its end has run
_OFF_PERCENT = 5.0  # so far beyond full or empty a charge may be measured
_OFF_K = 60.0  # so far beyond its band, or the air outside, a temperature may be


class Ran(msgspec.Struct):
    """What a load has run in its window: since when it is on, ns before that, and the window it is done with.

    `told` is when it was told to begin, until it is seen to run.
    """

    since: int = 0
    told: int = 0
    on_ns: int = 0
    done: int = 0
    window: int = 0


class Seeing:
    """The states of all assets of a scheduler. `ran` is what is remembered of its loads."""

    def __init__(self, project: str, config: SchedulerConfig, api: Reads, ran: dict[str, Ran] | None = None) -> None:
        self._project, self._config, self._api = project, config, api
        self.ran = ran or {}

    async def states(self, grid: Grid) -> dict[str, State]:
        """By the names of the assets."""
        return {config.name: await self._state(config, grid) for config in self._config.assets}

    async def _state(self, config: AssetConfig, grid: Grid) -> State:
        power = await self.number(config.thing, config.power)
        match config:
            case BatteryConfig():
                level, odd = await self._kwh(config)
                return State(level=level, power_kw=power, odd=odd)
            case VehicleConfig():
                present = bool(await self._api.holds(self._project, config.thing, config.plugged))
                until = await self.number(config.thing, config.departure) if config.departure else None
                level, odd = await self._kwh(config) if present else (None, "")
                return State(level=level, present=present, until=_ns(until), power_kw=power, odd=odd)
            case HeatConfig():
                outside = await self._at(config.outside) if config.outside else None
                said = await self.number(config.thing, config.temperature)
                level = temperature_of(config, said)
                odd = "" if level == said else f"it says {said:g} °C, which cannot be"
                return State(level=level, outside_c=outside, power_kw=power, odd=odd)
            case JobConfig():
                until = await self.number(config.thing, config.deadline) if config.deadline else None
                level = await self.number(config.thing, config.remaining)
                return State(level=level, until=_ns(until), power_kw=power)
            case LoadConfig():
                await self._watch(config, grid)
                return self._load(config, grid, power)
        return State(power_kw=power)

    async def watch(self, grid: Grid) -> bool:
        """Note which loads run now, the more often, the better it is known since when; whether one began or ended."""
        before = [self.ran[one.name].since for one in self._config.loads if one.name in self.ran]
        for config in self._config.loads:
            await self._watch(config, grid)
        return before != [self.ran[one.name].since for one in self._config.loads]

    async def _watch(self, config: LoadConfig, grid: Grid) -> None:
        running = await self._api.holds(self._project, config.thing, config.running)
        on = bool(running) if running is not None else is_running(await self.number(config.thing, config.power))
        ran, whole = self.ran.setdefault(config.name, Ran()), steps_of(config) * STEP_NS
        window = window_of(config, grid, ran.done)[0]
        if on:
            ran.since = ran.since or (ran.told if grid.now - whole < ran.told else grid.now)
            ran.told = 0
        elif ran.since:
            ran.on_ns, ran.since = ran.on_ns + grid.now - ran.since, 0
            if ran.on_ns >= whole - _NEARLY_NS:
                ran.done, ran.on_ns = ran.window, 0
                window = window_of(config, grid, ran.done)[0]
        elif window != ran.window:  # what it did not finish in the last one is over
            ran.on_ns = 0
        if not ran.since:
            ran.window = window

    def _load(self, config: LoadConfig, grid: Grid, power: float | None) -> State:
        ran, whole = self.ran[config.name], steps_of(config) * STEP_NS
        elapsed = ran.on_ns + (grid.now - ran.since if ran.since else 0)
        left = max(1, -(-(whole - elapsed) // STEP_NS)) if elapsed or ran.since else 0
        steps = (grid.now - ran.since) // STEP_NS + 1 if ran.since else 0
        return State(ran=int(steps), left=int(left), power_kw=power, done=ran.done)

    async def number(self, thing: str, name: str) -> float | None:
        """The number that a property holds; None when it is missing or stale."""
        return await self._api.value(self._project, thing, name)

    async def _kwh(self, config: BatteryConfig | VehicleConfig) -> tuple[float | None, str]:
        """What it holds, and what is odd about what it says."""
        said = await self.number(config.thing, config.charge)
        charge = charge_of(said)
        if charge is None:
            return None, "" if said is None else f"it says a charge of {said:g} %"
        return charge * config.capacity_kwh, ""

    async def _at(self, path: str) -> float | None:
        return await self._api.at(self._project, path)


def charge_of(percent: float | None) -> float | None:
    """A state of charge from 0 to 1; None for what is none. A little beyond full or empty is full or empty.

    >>> charge_of(50.0), charge_of(101.5), charge_of(150.0)
    (0.5, 1.0, None)
    """
    if percent is None or not -_OFF_PERCENT <= percent <= 100 + _OFF_PERCENT:
        return None
    return min(max(percent / 100, 0.0), 1.0)


def temperature_of(config: HeatConfig, celsius: float | None) -> float | None:
    """A temperature (°C); None for what no room or tank of this band can have, as broken sensors say it."""
    low, high = min(config.low_c, config.outside_c) - _OFF_K, config.high_c + _OFF_K
    return celsius if celsius is not None and low <= celsius <= high else None


def signs(states: dict[str, State]) -> dict[str, tuple[bool, bool, bool]]:
    """What of the states calls for a new plan when it changes."""
    return {
        name: (state.present, state.level is None, state.level is not None and state.level > 0)
        for name, state in states.items()
    }


def _ns(seconds: float | None) -> int:
    """A time of day on which something leaves, as things give it: seconds since 1970."""
    return int(seconds * NS_PER_S) if seconds and seconds > 0 else 0
