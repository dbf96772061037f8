"""From what a site says of its flexible loads now, the assets of a problem; what is not known is left out, and said.

A `State` is what was measured of one asset, or what a twin of it has come to. The grid of steps turns instants into
steps; times of day are local, so a day of 23 or 25 hours has its own number of steps.
"""

from datetime import time, timedelta
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from taihu.decide.problem import Asset, Battery, Heat, Job, Load, Solar, Vehicle
from taihu.decide.stores import heat_steps
from taihu.kernel.arrays import Flags, Ints, Numbers
from taihu.kernel.clock import HOUR_NS, from_datetime, to_datetime
from taihu.kernel.flexible import (
    AssetConfig,
    BatteryConfig,
    HeatConfig,
    JobConfig,
    LoadConfig,
    SolarConfig,
    VehicleConfig,
)

STEP_NS = HOUR_NS // 4
STEP_H = 0.25
STEPS = 96
_IDLE_KW = 0.05


class Grid(msgspec.Struct, frozen=True):
    """The steps of a plan: the rest of the quarter of an hour that now is in, and whole quarters after it."""

    now: int
    zone: ZoneInfo

    @property
    def edges(self) -> Ints:
        """Beginning of each step, and the end of the last."""
        first = (self.now // STEP_NS + 1) * STEP_NS
        return np.concatenate([[self.now], first + STEP_NS * np.arange(STEPS, dtype=np.int64)])

    @property
    def hours(self) -> Numbers:
        """Hours of each step."""
        return np.asarray(np.diff(self.edges) / HOUR_NS, np.float64)

    def step(self, at: int) -> int:
        """The step that begins at an instant or next after it: 0 for what is over, above the last for later."""
        return max(0, -(-(at - self.now // STEP_NS * STEP_NS) // STEP_NS)) if at > self.now else 0

    def whole(self, at: int) -> int:
        """How many steps have ended at an instant: the one it is in is not."""
        return max(0, (at - self.now // STEP_NS * STEP_NS) // STEP_NS)

    def next(self, clock: str, after: int = 0) -> int:
        """When a local time of day is next, after an instant or now."""
        since = max(self.now, after)
        local = to_datetime(since).astimezone(self.zone)
        wanted = time.fromisoformat(clock)
        for day in range(3):
            day_of = (local + timedelta(days=day)).date()
            found = from_datetime(local.replace(
                year=day_of.year, month=day_of.month, day=day_of.day, hour=wanted.hour, minute=wanted.minute,
                second=0, microsecond=0, fold=0,  # once, where the hour comes twice
            ))  # fmt: skip
            if found > since:
                return found
        raise AssertionError("a time of day comes within two days")


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Of one asset: kWh it holds, or has to go; °C; whether it is there; until when (UTC ns); steps that it ran.

    `level` is None where nobody knows, or what is said is `odd`. `notes` say what else is not believed. `done` is the
    beginning of the window in which a load has run to its end.
    """

    level: float | None = None
    present: bool = True
    until: int = 0
    ran: int = 0
    left: int = 0
    outside_c: float | None = None
    power_kw: float | None = None
    done: int = 0
    odd: str = ""
    notes: tuple[str, ...] = ()


class Sight(msgspec.Struct, frozen=True):
    """An asset as the plan sees it, or None and why not."""

    asset: Asset | None
    note: str = ""


def sight(config: AssetConfig, state: State, grid: Grid, solar_kw: Numbers) -> Sight:
    """What a plan may reckon with; `solar_kw` is what the sun is expected to give, where it is asked for."""
    match config:
        case BatteryConfig():
            return _battery(config, state)
        case VehicleConfig():
            return _vehicle(config, state, grid)
        case HeatConfig():
            return _heat(config, state)
        case LoadConfig():
            return _load(config, state, grid)
        case JobConfig():
            return _job(config, state, grid)
        case SolarConfig():
            most = np.clip(solar_kw, 0.0, config.power_kw)
            return Sight(Solar(name=config.name, power_kw=most, curtailable=bool(config.limit)))


def after(config: AssetConfig, asset: Asset | None, state: State, power: Numbers, grid: Grid, end: int) -> State:
    """What an asset has come to at `end`, within the first steps of a plan, having done what the plan says."""
    if asset is None:
        return state
    edges = grid.edges
    hours = np.clip((np.minimum(edges[1:], end) - edges[:-1]) / HOUR_NS, 0.0, None)
    energy = power[: len(hours)] * hours
    match asset:
        case Battery() | Vehicle():
            moved = float(np.where(energy >= 0, energy * asset.one_way, energy / asset.one_way).sum())
            return msgspec.structs.replace(state, level=min(max(0.0, asset.content_kwh + moved), asset.capacity_kwh))
        case Heat():
            keep, warm, drift = heat_steps(asset, hours)
            level = asset.state_c
            for step in range(int((hours > 0).sum())):
                level = float(keep[step] * level + warm[step] * power[step] + drift[step])
            return msgspec.structs.replace(state, level=level)
        case Job():
            return msgspec.structs.replace(state, level=max(0.0, (state.level or 0.0) - float(energy.sum())))
        case Load():
            assert isinstance(config, LoadConfig)
            return _ran(config, state, grid, hours, energy > 0)
    return state


def _ran(config: LoadConfig, state: State, grid: Grid, hours: Numbers, on: Flags) -> State:
    steps, last = round(float(hours[on].sum()) / STEP_H), int((hours > 0).sum()) - 1
    left = (state.left or steps_of(config)) - steps
    if left <= 0:
        return msgspec.structs.replace(state, ran=0, left=0, done=window_of(config, grid, state.done)[0])
    ran = state.ran + steps if on[last] else 0
    return msgspec.structs.replace(state, ran=ran, left=left if steps else state.left)


def steps_of(config: LoadConfig) -> int:
    """How many steps a load runs."""
    return -(-config.minutes // 15)


def window_of(config: LoadConfig, grid: Grid, done: int = 0) -> tuple[int, int]:
    """The window that is open, or the next one; the one after it once it is `done` (the beginning of a window)."""
    latest = grid.next(config.latest)
    begin = _before(grid, config.earliest, latest)
    if done and begin <= done:
        latest = grid.next(config.latest, latest)
        begin = _before(grid, config.earliest, latest)
    return begin, latest


def departure_of(config: VehicleConfig, state: State, grid: Grid) -> int:
    """When a car leaves, as it says or at the usual time (UTC ns)."""
    return state.until if state.until > grid.now else grid.next(config.ready_by)


def _before(grid: Grid, clock: str, end: int) -> int:
    """The last time that it was this time of day before an instant."""
    begin = Grid(end - 26 * HOUR_NS, grid.zone)
    found = begin.next(clock)
    following = begin.next(clock, found)
    return following if following < end else found


def _battery(config: BatteryConfig, state: State) -> Sight:
    if state.level is None:
        return Sight(None, f"{config.name} is left out: {state.odd or 'its state of charge is not known'}")
    return Sight(
        Battery(
            name=config.name, capacity_kwh=config.capacity_kwh, content_kwh=state.level, charge_kw=config.power_kw,
            discharge_kw=config.power_kw, one_way=config.one_way, low_kwh=config.low * config.capacity_kwh,
            wear_price=config.wear_price,
        )
    )  # fmt: skip


def _vehicle(config: VehicleConfig, state: State, grid: Grid) -> Sight:
    if not state.present:
        return Sight(None)
    note, held = "", state.level
    if held is None:
        note = f"{config.name} does not say what it holds: it is taken for empty"
        if state.odd:
            note = f"{config.name} is taken for empty: {state.odd}"
        held = 0.0
    if 0 < state.until <= grid.now:
        note = f"{config.name} is still there after its departure: the next {config.ready_by} stands for it"
    leaves = max(1, grid.whole(departure_of(config, state, grid)))
    need = config.target * config.capacity_kwh
    vehicle = Vehicle(
        name=config.name, capacity_kwh=config.capacity_kwh, content_kwh=held, charge_kw=config.power_kw,
        minimum_kw=min(config.minimum_kw, config.power_kw), discharge_kw=config.discharge_kw, one_way=config.one_way,
        leaves=leaves, needs=((leaves, need),), wear_price=config.wear_price,
    )  # fmt: skip
    return Sight(vehicle, note)


def _heat(config: HeatConfig, state: State) -> Sight:
    if state.level is None:
        return Sight(None, f"{config.name} is left out: {state.odd or 'its temperature is not known'}")
    note, outside = "", state.outside_c
    if outside is None:
        outside = config.outside_c
        if config.outside:
            note = f"{config.outside} is not known: {config.outside_c:g} °C stand for it"
    heat = Heat(
        name=config.name, state_c=state.level, capacity_kwh_per_k=config.capacity_kwh_per_k,
        loss_kw_per_k=config.loss_kw_per_k, power_kw=config.power_kw, cop=config.cop, outside_c=outside,
        gain_kw=config.gain_kw, low_c=config.low_c, high_c=config.high_c, comfort_price=config.comfort_price,
        minimum_kw=min(config.minimum_kw, config.power_kw),
    )  # fmt: skip
    return Sight(heat, note)


def _load(config: LoadConfig, state: State, grid: Grid) -> Sight:
    begin, end = window_of(config, grid, state.done)
    left = state.left or steps_of(config)
    if not state.ran and grid.step(begin) + left > STEPS:
        return Sight(None)  # a later plan sees all of its window
    load = Load(
        name=config.name, profile_kw=(config.power_kw,), steps=left, earliest=grid.step(begin), latest=grid.step(end),
        breaks=bool(config.switch), on_min=max(1, -(-config.on_minutes_min // 15)),
        off_min=max(1, -(-config.off_minutes_min // 15)), ran=state.ran,
    )  # fmt: skip
    return Sight(load)


def _job(config: JobConfig, state: State, grid: Grid) -> Sight:
    if state.level is None:
        return Sight(None, f"{config.name} is left out: what it has to do is not known")
    if state.level <= 0:
        return Sight(None)
    until = state.until if state.until > grid.now else grid.next(config.ready_by)
    deadline = max(1, grid.step(until))
    later = config.power_kw * STEP_H * max(0, deadline - STEPS)  # what can still be done after the horizon
    job = Job(
        name=config.name, energy_kwh=max(0.0, state.level - later), power_kw=config.power_kw,
        minimum_kw=min(config.minimum_kw, config.power_kw), deadline=deadline,
    )  # fmt: skip
    return Sight(job, f"{config.name} is late: it had to be done" if 0 < state.until <= grid.now else "")


def is_running(power_kw: float | None) -> bool:
    """Whether power says that something runs."""
    return power_kw is not None and power_kw > _IDLE_KW
