"""What a scheduler expects: the node's forecasts where they are good, and a plain one of its own behind them.

The plain one learns hour by hour what a day is like, each series by itself. It stands for steps that nobody foretold,
and for those whose forecast is absurd: far beyond what was ever measured. Hours that cannot be are not learned. Each
stand-in is noted.
"""

from collections.abc import Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from taihu.decide.flexible import Grid
from taihu.decide.scheduling import Expected
from taihu.decide.tariff import mend
from taihu.insight.day import HORIZON, HouseForecast, SignalForecast
from taihu.kernel.arrays import Numbers
from taihu.kernel.clock import HOUR_NS, from_datetime, to_datetime
from taihu.kernel.flexible import SchedulerConfig
from taihu.runtime.forecast.foretold import QUANTILE, foretold
from taihu.runtime.scheduling.metering import most_of
from taihu.runtime.scheduling.reads import Reads
from taihu.runtime.scheduling.tariffs import prices_of

_QUARTER_NS = HOUR_NS // 4
_BEYOND = 3.0  # times the most that was measured: what a forecast may say
_LEAST_KW = 1.0
_ODD = 0.05  # of a generator's power: what it may draw itself
_OLD_HOURS = 3
_IN_A_ROW = 3  # hours beyond what can be that are taken as they come: it has become so

Three = tuple[Numbers, Numbers, Numbers]


class Plain:
    """A series by the hour, learned as the hours go."""

    def __init__(self) -> None:
        self._forecast = HouseForecast(1)
        self._mean, self._spread = np.zeros(HORIZON), np.zeros(HORIZON)
        self.until = 0
        self.most = 0.0
        self.least = 0.0
        self.last = 0.0
        self._from = self._beyond = 0

    @property
    def highest(self) -> float:
        """The most that was learned, in either direction."""
        return max(self.most, -self.least)

    @property
    def beyond(self) -> bool:
        """Whether the last hour cannot be, and was not learned."""
        return 0 < self._beyond < _IN_A_ROW

    def learn(self, start: int, hour: int, kw: float, most_kw: float) -> None:
        """Take over the hour that began at `start`, the hour of the day being `hour`, if it is news.

        What is beyond `most_kw` is not learned, until it has been so for a few hours.
        """
        if start < self.until:
            return
        self.until, self.last = start + HOUR_NS, kw
        self._beyond = self._beyond + 1 if abs(kw) > most_kw and self.highest else 0
        if self.beyond:
            return
        looked = self._forecast.update(hour, np.array([max(kw, 0.0)]), np.array([max(-kw, 0.0)]))
        self._mean, self._spread = looked.net_kwh[0], QUANTILE * looked.spread_kwh[0]
        self._from = start + HOUR_NS
        self.most, self.least = max(self.most, kw), min(self.least, kw)

    def ahead(self, grid: Grid) -> Three:
        """The 10, 50 and 90 % quantiles of each step."""
        if not self.until:
            none = np.zeros(len(grid.hours))
            return none, none, none
        place = (grid.edges[:-1] - self._from) // HOUR_NS % HORIZON
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
        self._carbons, self._carbon_until = np.zeros(HORIZON), 0
        self._peak_kw, self._peak_from, self._peak_until = 0.0, 0, 0

    @property
    def learned_until(self) -> int:
        """The end of the last hour that was learned; 0 before any."""
        return self._load.until

    @property
    def knows_carbon(self) -> bool:
        """Whether any hour's intensity was learned."""
        return self._carbon_until > 0

    @property
    def most_kw(self) -> float:
        """More than the load or the meter can come to, by what was learned."""
        return most_of(self._config, self._load.highest)

    def learn(
        self, start: int, load_kw: float | None, solar_kw: Mapping[str, float | None], carbon: float | None
    ) -> None:
        """Take over an hour that ended; what is missing of it is not learned, and what was learned not again."""
        hour = to_datetime(start).astimezone(self._zone).hour
        if load_kw is not None:
            self._load.learn(start, hour, load_kw, self.most_kw)
        for one in self._config.solars:
            if (kw := solar_kw.get(one.name)) is not None:
                self._solar[one.name].learn(start, hour, kw, _BEYOND * one.power_kw)
        if carbon is not None and start >= self._carbon_until:
            self._carbons, self._carbon_until = self._carbon.update(hour, carbon), start + HOUR_NS

    async def ahead(self, grid: Grid, net_kw: float | None) -> Expected:
        """What is expected from now on."""
        config, starts = self._config, grid.edges[:-1]
        notes: list[str] = []
        load = await self._series(config.base, self._load, grid, notes)
        solar = {}
        for one in config.solars:
            low, middle, high = await self._series(one.energy_path, self._solar[one.name], grid, notes, one.power_kw)
            solar[one.name] = (np.maximum(low, 0.0), np.maximum(middle, 0.0), np.maximum(high, 0.0))
        none = np.zeros(len(starts))
        buys = sells = none
        if config.cost_weight:
            asked = (starts, self._zone, self._project, self._api, self._folder)
            filled = await prices_of(config.buys, *asked)
            earned = await prices_of(config.sells, *asked, earned=True)
            buys, sells = filled.prices, earned.prices
            notes += [*filled.notes, *(f"feed-in: {note}" for note in earned.notes)]
        carbon = none
        if config.signal:
            carbon = self._carbons[(starts - self._carbon_until) // HOUR_NS % HORIZON]
            notes += _age(config.signal, self._carbon_until, grid.now, "carbon takes no part")
        return Expected(
            load_kw=load, solar_kw=solar, buys=buys, sells=sells, carbon=carbon, before_kw=net_kw, notes=tuple(notes),
            demand_seen_kw=await self._demand_seen(grid, notes) if config.demand_price else 0.0,
        )  # fmt: skip

    async def _series(self, path: str, plain: Plain, grid: Grid, notes: list[str], most_kw: float = 0.0) -> Three:
        own = plain.ahead(grid)
        notes += _age(path, plain.until, grid.now, "0 kW is expected of it")
        if plain.last < -_ODD * most_kw:
            odd = "what a generator gives is positive" if most_kw else "it is taken for generation"
            notes.append(f"{path} came to {plain.last:.3g} kW in the last hour: {odd}")
        elif plain.beyond:
            notes.append(f"{path} came to {plain.last:.3g} kW in the last hour, which cannot be: it is not learned")
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

    async def _demand_seen(self, grid: Grid, notes: list[str]) -> float:
        """The highest quarter of this month so far."""
        local = to_datetime(grid.now).astimezone(grid.zone)
        month = from_datetime(local.replace(day=1, hour=0, minute=0, second=0, microsecond=0))
        if month != self._peak_from:
            self._peak_kw, self._peak_from, self._peak_until = 0.0, month, month // _QUARTER_NS * _QUARTER_NS
        end = grid.now // _QUARTER_NS * _QUARTER_NS
        if end > self._peak_until:
            found = await self._api.windows(self._project, self._config.net, self._peak_until, end, "15m")
            can_be = [kw for kw in found.values() if kw <= self.most_kw]
            if len(can_be) < len(found):
                notes.append(f"quarters of {self._config.net} that cannot be are no demand")
            self._peak_kw = max([self._peak_kw, *can_be])
            self._peak_until = end
        return self._peak_kw


def _age(path: str, until: int, now: int, instead: str) -> list[str]:
    """What is to be said of a series that was learned until an instant."""
    if not until:
        return [f"nothing was measured of {path} yet: {instead}"]
    behind = (now - until) // HOUR_NS
    return [f"nothing was measured of {path} in the last {behind} hours"] if behind >= _OLD_HOURS else []
