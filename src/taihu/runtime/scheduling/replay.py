"""Days of the stored history, gone through as if they were today: what a scheduler would have saved on each.

Walk-forward: at each hour it knows the hours before, the forecasts that were kept then, and the prices that were
published; it plans as it does now, and its twins go through what came. What the history cannot tell is taken as
`stand_ins` says.
"""

import asyncio
from collections.abc import AsyncGenerator, Collection
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from taihu.decide.flexible import STEP_NS, Grid, State
from taihu.decide.notes import likewise
from taihu.decide.problem import ProblemRefused
from taihu.decide.tariff import Starts
from taihu.decide.twindays import HOURS_MIN
from taihu.decide.twins import Twins
from taihu.kernel.arrays import Numbers
from taihu.kernel.clock import DAY_NS, HOUR_NS, MINUTE_NS, from_datetime, to_datetime
from taihu.kernel.flexible import BatteryConfig, HeatConfig, LoadConfig, SchedulerConfig, TariffConfig
from taihu.runtime.scheduling.expecting import Expecting
from taihu.runtime.scheduling.seeing import Seeing, signs
from taihu.runtime.scheduling.stored import Stored
from taihu.runtime.scheduling.tariffs import prices_of

SETTLE_NS = MINUTE_NS  # so long after its end an hour is known
_LEARN_HOURS = 48  # known before a day is replayed
_LATE_NS = 3 * HOUR_NS  # after its end every day is over, whether its last hour is known or not
_HEAT_SHARE = 0.25  # of its band, above the lower end, where nothing is stored


class Replay:
    """One walk through the past. `stored` is what is known of it; it is seen from one instant after the other."""

    def __init__(self, project: str, zone: str, config: SchedulerConfig, stored: Stored, folder: Path) -> None:
        self._project, self._config, self._stored, self._folder = project, config, stored, folder
        self.zone = ZoneInfo(zone)
        self._expecting = Expecting(project, zone, config, stored, folder)
        self._seeing = Seeing(project, config, stored)
        self._twins = Twins(config, anchored=False)
        self._signs: dict[str, tuple[bool, bool, bool]] = {}

    def days(self, start: int, end: int) -> list[str]:
        """The local days in [start, end) of which enough is stored, after some hours to learn from."""
        self._stored.now = end
        found, learned = [], 0
        for date, begin, until in local_days(start, end, self.zone):
            hours = range(-(-begin // HOUR_NS) * HOUR_NS, until, HOUR_NS)
            known = sum(self._hour(at) is not None for at in hours)
            if known >= HOURS_MIN and learned >= _LEARN_HOURS:
                found.append(date)
            learned += known
        return found

    async def run(self, start: int, end: int, days: Collection[str]) -> AsyncGenerator[tuple[str, float]]:
        """Learn from `start` on, and replay these days; each with what it saved, once it is over."""
        marks = local_days(start, end, self.zone)
        planned = {at for date, begin, until in marks if date in days for at in range(begin, until, STEP_NS)}
        closes = {until for date, _, until in marks if date in days}
        for at in range(start, end + _LATE_NS + STEP_NS, STEP_NS):
            self._stored.now = now = at + SETTLE_NS
            if at % HOUR_NS == 0:
                await self._learn(at - HOUR_NS)
            if (at in planned or at in closes) and self._expecting.learned_until:
                await self._plan(Grid(now, self.zone), due=at % HOUR_NS == 0 or at in closes)
            for ended in self._twins.ended(now):
                if ended[0] in days:
                    yield ended
            if at % DAY_NS == 0:
                await asyncio.sleep(0)

    async def _plan(self, grid: Grid, *, due: bool) -> None:
        """Decide anew each hour, and when a car or work came or went."""
        states = self._states(await self._seeing.states(grid))
        if not due and signs(states) == self._signs:
            return
        self._signs = signs(states)
        try:
            expected = await self._expecting.ahead(grid, await self._stored.at(self._project, self._config.net))
        except ProblemRefused:  # no price was known: what was decided last holds
            return
        await asyncio.to_thread(self._twins.plan, states, grid, expected)

    async def _learn(self, hour: int) -> None:
        """An hour that ended: what it came to for the twins, and what is learned from it."""
        came = self._hour(hour)
        if came is None:
            return
        load, made, carbon = came
        self._twins.go_on(self._stored.now)
        self._twins.settle(hour, load, sum(made.values()), carbon, await self._prices(hour))
        self._expecting.learn(hour, load, made, carbon)

    def _hour(self, hour: int) -> tuple[float, dict[str, float], float | None] | None:
        """Load, sun and intensity of an hour; None when any of them is missing (§3)."""
        config, stored = self._config, self._stored
        load = stored.came(config.base, "1h", hour)
        made = {one.name: stored.came(one.energy_path, "1h", hour) for one in config.solars}
        carbon = stored.came(config.signal, "1h", hour) if config.signal else None
        if load is None or (config.signal and carbon is None):
            return None
        known = {name: kwh for name, kwh in made.items() if kwh is not None}
        return (load, known, carbon) if len(known) == len(made) else None

    async def _prices(self, hour: int) -> dict[int, tuple[float, float]]:
        """What a kWh cost and earned in the quarters of an hour that ended, where that is known."""
        starts = hour + STEP_NS * np.arange(4, dtype=np.int64)
        buys = await self._came(self._config.buys, starts)
        sells = await self._came(self._config.sells, starts, earned=True)
        return {
            int(start): (float(one), float(other))
            for start, one, other in zip(starts, buys, sells, strict=True)
            if np.isfinite(one) and np.isfinite(other)
        }

    async def _came(self, tariff: TariffConfig, starts: Starts, *, earned: bool = False) -> Numbers:
        if not self._config.cost_weight:
            return np.zeros(len(starts))
        if tariff.property and not tariff.bands:
            path, _, ahead = tariff.property.partition("@")
            shift = int(ahead.removesuffix("h") or 0) * HOUR_NS
            found = [self._stored.came(path, "15m", int(start) - shift) for start in starts]
            return np.array([np.nan if one is None else one for one in found])
        try:
            asked = (starts, self.zone, self._project, self._stored, self._folder)
            filled = await prices_of(tariff, *asked, earned=earned)
        except ProblemRefused:
            return np.full(len(starts), np.nan)
        return filled.prices

    def _states(self, seen: dict[str, State]) -> dict[str, State]:
        """What happened to the assets from outside; what they came to is their twins' own."""
        for config in self._config.assets:
            state = seen[config.name]
            match config:
                case BatteryConfig():
                    seen[config.name] = State(level=config.capacity_kwh / 2)
                case HeatConfig() if state.level is None:
                    level = config.low_c + _HEAT_SHARE * (config.high_c - config.low_c)
                    seen[config.name] = msgspec.structs.replace(state, level=level)
                case LoadConfig():
                    seen[config.name] = State()
        return seen


def stand_ins(config: SchedulerConfig, stored: Stored) -> list[str]:
    """What is taken where the history has no counterfactual, in words."""
    found = [f"{one.name} begins half full" for one in config.batteries]
    found += [
        f"{one.name} begins at a quarter of its band: no temperature is stored"
        for one in config.heats
        if not stored.known(f"{one.thing}/{one.temperature}")
    ]
    found += [f"{one.name} runs once in each of its windows" for one in config.loads]
    found += [
        f"{one.name} takes no part: when it was plugged in is not stored"
        for one in config.vehicles
        if not stored.known(f"{one.thing}/{one.plugged}")
    ]
    found += [
        f"{one.name} takes no part: what it had to do is not stored"
        for one in config.jobs
        if not stored.known(f"{one.thing}/{one.remaining}")
    ]
    files = [tariff.file for tariff in (config.buys, config.sells) if tariff.file and not tariff.bands]
    found += [f"the prices of {name} are taken as known a day ahead" for name in dict.fromkeys(files)]
    return list(likewise(found))


def local_days(start: int, end: int, zone: ZoneInfo) -> list[tuple[str, int, int]]:
    """The local days within [start, end): date, beginning and end."""
    day, found = to_datetime(start).astimezone(zone).date(), list[tuple[str, int, int]]()
    while True:
        midnights = (datetime(one.year, one.month, one.day, tzinfo=zone) for one in (day, day + timedelta(days=1)))
        begin, until = map(from_datetime, midnights)
        if until > end:
            return found
        if begin >= start:
            found.append((day.isoformat(), begin, until))
        day += timedelta(days=1)
