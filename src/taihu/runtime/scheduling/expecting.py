"""What a scheduler expects: the node's forecasts where they are good, and a plain one of its own behind them.

The plain one learns hour by hour what a day is like. It stands for steps that nobody foretold, and for those whose
forecast is absurd: far beyond what was ever measured. Each stand-in is noted.
"""

from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from taihu.decide.flexible import Grid
from taihu.decide.problem import Numbers
from taihu.decide.scheduling import Expected
from taihu.decide.tariff import mend
from taihu.insight.day import HORIZON, HouseForecast, SignalForecast
from taihu.kernel.clock import from_datetime, to_datetime
from taihu.kernel.flexible import SchedulerConfig
from taihu.runtime.forecast.foretold import QUANTILE, foretold
from taihu.runtime.scheduling.reads import Reads
from taihu.runtime.scheduling.stored import energy_of
from taihu.runtime.scheduling.tariffs import prices_of

HOUR_NS = 3_600_000_000_000
_QUARTER_NS = HOUR_NS // 4
_BEYOND = 3.0  # times the most that was measured: what a forecast may say
_LEAST_KW = 1.0
_OLD_HOURS = 3

Three = tuple[Numbers, Numbers, Numbers]


class Plain:
    """A series by the hour, learned as the hours go."""

    def __init__(self) -> None:
        self._forecast = HouseForecast(1)
        self._mean, self._spread = np.zeros(HORIZON), np.zeros(HORIZON)
        self.until = 0
        self.most = 0.0
        self.least = 0.0

    def learn(self, start: int, hour: int, kw: float) -> None:
        """Take over the hour that began at `start`, the hour of the day being `hour`."""
        looked = self._forecast.update(hour, np.array([kw]), np.zeros(1))
        self._mean, self._spread = looked.net_kwh[0], QUANTILE * looked.spread_kwh[0]
        self.until = start + HOUR_NS
        self.most, self.least = max(self.most, kw), min(self.least, kw)

    def ahead(self, grid: Grid) -> Three:
        """The 10, 50 and 90 % quantiles of each step."""
        if not self.until:
            none = np.zeros(len(grid.hours))
            return none, none, none
        place = (grid.edges[:-1] - self.until) // HOUR_NS % HORIZON
        middle, spread = self._mean[place], self._spread[place]
        return middle - spread, middle, middle + spread


class Expecting:
    """All that one scheduler expects."""

    def __init__(self, project: str, zone: str, config: SchedulerConfig, api: Reads, folder: Path) -> None:
        self._project, self._config, self._api, self._folder = project, config, api, folder
        self._zone = ZoneInfo(zone)
        self._load = Plain()
        self._solar = {one.name: Plain() for one in config.solars}
        self._carbon = SignalForecast()
        self._carbons = np.zeros(HORIZON)
        self._peak_kw, self._peak_from, self._peak_until = 0.0, 0, 0

    @property
    def learned_until(self) -> int:
        """The end of the last hour that was learned; 0 before any."""
        return self._load.until

    def learn(self, start: int, load_kw: float, solar_kw: dict[str, float], carbon: float | None) -> None:
        """Take over an hour that ended; what is missing of it is not learned."""
        hour = to_datetime(start).astimezone(self._zone).hour
        self._load.learn(start, hour, load_kw)
        for name, kw in solar_kw.items():
            self._solar[name].learn(start, hour, kw)
        if carbon is not None:
            self._carbons = self._carbon.update(hour, carbon)

    async def ahead(self, grid: Grid, net_kw: float | None) -> Expected:
        """What is expected from now on."""
        config, starts = self._config, grid.edges[:-1]
        notes: list[str] = []
        load = await self._series(config.base, self._load, grid, notes)
        solar = {}
        for one in config.solars:
            low, middle, high = await self._series(energy_of(one), self._solar[one.name], grid, notes, one.power_kw)
            solar[one.name] = (np.maximum(low, 0.0), np.maximum(middle, 0.0), np.maximum(high, 0.0))
        none = np.zeros(len(starts))
        buys = sells = none
        if config.cost_weight:
            asked = (starts, self._zone, self._project, self._api, self._folder)
            filled = await prices_of(config.buys, *asked)
            earned = await prices_of(config.sells, *asked)
            buys, sells = filled.prices, earned.prices
            notes += [*filled.notes, *(f"feed-in: {note}" for note in earned.notes)]
        carbon = self._carbons[(starts - self.learned_until) // HOUR_NS % HORIZON] if config.intensity else none
        behind = (grid.now - self.learned_until) // HOUR_NS
        if self.learned_until and behind >= _OLD_HOURS:
            notes.append(f"nothing was measured in the last {behind} hours")
        return Expected(
            load_kw=load, solar_kw=solar, buys=buys, sells=sells, carbon=carbon, before_kw=net_kw, notes=tuple(notes),
            demand_seen_kw=await self._demand_seen(grid) if config.demand_price else 0.0,
        )  # fmt: skip

    async def _series(self, path: str, plain: Plain, grid: Grid, notes: list[str], most_kw: float = 0.0) -> Three:
        own = plain.ahead(grid)
        told = await foretold(self._api, self._project, path, grid.edges)
        if not told.known:
            notes.append(f"{told.how}: its own plain forecast stands for it")
            return own
        low, high = _BEYOND * min(plain.least, -_LEAST_KW), _BEYOND * max(plain.most, _LEAST_KW, most_kw)
        filled = mend(told.middle, low, high, own[1], path)
        notes += filled.notes
        right = filled.prices == told.middle
        return (
            np.where(right, np.minimum(told.low, told.middle), own[0]),
            filled.prices,
            np.where(right, np.maximum(told.high, told.middle), own[2]),
        )

    async def _demand_seen(self, grid: Grid) -> float:
        """The highest quarter of this month so far."""
        local = to_datetime(grid.now).astimezone(grid.zone)
        month = from_datetime(local.replace(day=1, hour=0, minute=0, second=0, microsecond=0))
        if month != self._peak_from:
            self._peak_kw, self._peak_from, self._peak_until = 0.0, month, month // _QUARTER_NS * _QUARTER_NS
        end = grid.now // _QUARTER_NS * _QUARTER_NS
        if end > self._peak_until:
            found = await self._api.windows(self._project, self._config.net, self._peak_until, end, "15m")
            self._peak_kw = max([self._peak_kw, *found.values()])
            self._peak_until = end
        return self._peak_kw
