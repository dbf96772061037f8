"""What the things of a scheduler say of themselves now, as the states of its assets; and what loads have run.

What cannot be is not believed, and said: the plan goes on without it.
"""

from typing import Any

import msgspec

from taihu.control.moves import Moves
from taihu.decide.flexible import STEP_NS, Grid, State, is_running, steps_of, window_of
from taihu.kernel.clock import DAY_NS, MINUTE_NS, NS_PER_S
from taihu.kernel.flexible import (
    AssetConfig,
    BatteryConfig,
    HeatConfig,
    JobConfig,
    LoadConfig,
    SchedulerConfig,
    VehicleConfig,
)
from taihu.runtime.pilot.api import Said
from taihu.runtime.scheduling.reads import Reads

_NEARLY_NS = 300 * NS_PER_S  # a load that stops so much before its end has run
_OFF_PERCENT = 5.0  # so far beyond full or empty a charge may be measured
_AWAY_NS = 366 * DAY_NS  # from now: when nothing leaves, and no work is due
_LOOK_NS = MINUTE_NS  # after which it is looked again whether what is stored moves
_STUCK = {BatteryConfig: 0.1, VehicleConfig: 0.25}  # of its capacity: what flows and any charge must show
_STUCK_K = 5.0  # what any sensor of a temperature must show
_LEAP_PERCENT, _LEAP_K = 20.0, 20.0  # what no charge and no temperature moves by in a moment
_OFF_K = 60.0  # so far beyond its band, or the air outside, a temperature may be


Store = BatteryConfig | VehicleConfig | HeatConfig


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
        self._moves = {one.name: _moves(one) for one in config.assets if isinstance(one, Store)}
        self._odd: dict[str, str] = {}
        self._looked = 0

    async def states(self, grid: Grid) -> dict[str, State]:
        """By the names of the assets."""
        return {config.name: await self._state(config, grid) for config in self._config.assets}

    async def _state(self, config: AssetConfig, grid: Grid) -> State:
        said = await self._api.said(self._project, config.thing)
        power = said.value(config.power)
        match config:
            case BatteryConfig():
                level, odd = self._kwh(config, said)
                return State(level=level, power_kw=power, odd=odd)
            case VehicleConfig():
                return self._car(config, grid, said)
            case HeatConfig():
                outside = await self._api.at(self._project, config.outside) if config.outside else None
                celsius = said.value(config.temperature)
                level = temperature_of(config, celsius)
                odd = "" if level == celsius else f"it says {celsius:g} °C, which cannot be"
                if level is not None and (odd := self._odd.get(config.name, "")):
                    level = None
                return State(level=level, outside_c=outside, power_kw=power, odd=odd)
            case JobConfig():
                until, notes = _time(config, said, config.deadline, "is due", grid)
                return State(level=said.value(config.remaining), until=until, power_kw=power, notes=notes)
            case LoadConfig():
                self._watch(config, said, grid)
                return self._load(config, grid, power)
        return State(power_kw=power)

    def _car(self, config: VehicleConfig, grid: Grid, said: Said) -> State:
        power, plugged = said.value(config.power), said.holds(config.plugged)
        present = truth(plugged)
        if present is None:
            why = "" if plugged is None else f"says {plugged!r}, which "
            note = f"{config.name} is left out: {config.thing} {why}does not say whether it is {config.plugged}"
            return State(present=False, power_kw=power, notes=(note,))
        if not present:
            return State(present=False, power_kw=power)
        until, notes = _time(config, said, config.departure, "leaves", grid)
        level, odd = self._kwh(config, said)
        return State(level=level, until=until, power_kw=power, odd=odd, notes=notes)

    async def watch(self, grid: Grid) -> bool:
        """Note which loads run now, the more often, the better it is known since when; whether one began or ended."""
        before = [self.ran[one.name].since for one in self._config.loads if one.name in self.ran]
        for config in self._config.loads:
            self._watch(config, await self._api.said(self._project, config.thing), grid)
        if not 0 <= grid.now - self._looked < _LOOK_NS:
            self._looked = grid.now
            for store in self._config.assets:
                if isinstance(store, Store):
                    self._move(store, await self._api.said(self._project, store.thing), grid.now)
        return before != [self.ran[one.name].since for one in self._config.loads]

    def _move(self, config: Store, thing: Said, now: int) -> None:
        """Note whether its charge or temperature moves as it should."""
        name = config.temperature if isinstance(config, HeatConfig) else config.charge
        kw = thing.value(config.power) or 0.0
        observed, level = thing.reading(name) or (0, None)
        moves = self._moves[config.name]
        if isinstance(config, HeatConfig):
            said = f"it says {level or 0.0:g} °C"
            lost = config.loss_kw_per_k * ((level or 0.0) - config.outside_c)
            stuck = moves.see(now, observed, level, (config.cop * kw - lost) / config.capacity_kwh_per_k)
            came = f"{abs(stuck):g} K should have come or gone"
        else:
            said = f"it says a charge of {level or 0.0:g} %"
            stuck = moves.see(now, observed, level, 100 * kw / config.capacity_kwh)
            came = f"{abs(stuck) / 100 * config.capacity_kwh:.2g} kWh came or went"
        leaps = f"{said} after another a moment ago" if moves.leaps(now) else ""
        self._odd[config.name] = f"{said} all the time, {came}" if stuck else leaps

    def _watch(self, config: LoadConfig, said: Said, grid: Grid) -> None:
        running = truth(said.holds(config.running))
        on = running if running is not None else is_running(said.value(config.power))
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

    def _kwh(self, config: BatteryConfig | VehicleConfig, said: Said) -> tuple[float | None, str]:
        """What it holds, and what is odd about what it says."""
        percent = said.value(config.charge)
        charge = charge_of(percent)
        if charge is None:
            return None, "" if percent is None else f"it says a charge of {percent:g} %"
        if odd := self._odd.get(config.name):
            return None, odd
        return charge * config.capacity_kwh, ""


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


def truth(said: Any) -> bool | None:
    """What is said to be so or not; None for anything else, such as a word.

    >>> truth(True), truth(0), truth("off"), truth(None)
    (True, False, None, None)
    """
    return bool(said) if isinstance(said, bool | int | float) else None


def signs(states: dict[str, State]) -> dict[str, tuple[bool, bool, bool]]:
    """What of the states calls for a new plan when it changes."""
    return {
        name: (state.present, state.level is None, state.level is not None and state.level > 0)
        for name, state in states.items()
    }


def _time(
    config: VehicleConfig | JobConfig, said: Said, name: str, what: str, grid: Grid
) -> tuple[int, tuple[str, ...]]:
    """When something leaves or is due (UTC ns), as things give it: seconds since 1970; 0 for what cannot be."""
    seconds = said.value(name) if name else None
    if seconds is None or seconds <= 0:
        return 0, ()
    if abs(seconds * NS_PER_S - grid.now) > _AWAY_NS:
        odd = f"{config.name} {what} {seconds:g} s after 1970, which cannot be"
        return 0, (f"{odd}: the next {config.ready_by} stands for it",)
    return int(seconds * NS_PER_S), ()


def _moves(config: Store) -> Moves:
    if isinstance(config, HeatConfig):
        return Moves(_STUCK_K, _LEAP_K)
    return Moves(100 * _STUCK[type(config)], _LEAP_PERCENT)
