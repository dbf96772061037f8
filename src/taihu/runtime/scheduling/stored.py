"""The stored history of what a scheduler reads, seen from an instant of it: of what came later nothing is shown.

It answers as the node's API does (`reads`), so the same code that plans now plans as it would have then. It holds the
quarters of an hour of the properties that the settings name and nothing else.
"""

from collections.abc import Iterable
from typing import Any

from taihu.decide.flexible import STEP_NS
from taihu.kernel.clock import DAY_NS, HOUR_NS
from taihu.kernel.errors import RefusedError
from taihu.kernel.flexible import SchedulerConfig
from taihu.runtime.pilot.api import Newest, NodeApi, Said, whole

_EVERY_NS = {"15m": STEP_NS, "1h": HOUR_NS}
_ASKED_NS = 7 * DAY_NS  # of a property in one question
_HELD_NS = HOUR_NS  # so long a value holds at most, should no other come

Table = dict[int, float]


class Stored:
    """The past of a site; `now` is what it is seen from."""

    def __init__(self, project: str, api: NodeApi) -> None:
        self.now = 0
        self._project, self._api = project, api
        self._tables: dict[tuple[str, str], Table] = {}
        self._ends: dict[str, dict[str, dict[int, Any]]] = {}  # thing, property, end of a quarter

    async def fetch(self, config: SchedulerConfig, start: int, end: int) -> None:
        """Read what the settings name, from `start` to `end`; a property that there is not has no history."""
        for path in hourly(config):
            await self._fetch(path, start, end, "1h")
        for path in quarterly(config):
            await self._fetch(path, start, end, "15m")

    async def _fetch(self, path: str, start: int, end: int, every: str) -> None:
        table = self._tables.setdefault((path, every), {})
        thing, _, name = path.rpartition("/")
        ends = self._ends.setdefault(thing, {}).setdefault(name, {}) if every == "15m" else {}
        for begin in range(start, end, _ASKED_NS):
            try:
                windows = await self._api.raw_windows(self._project, path, begin, min(begin + _ASKED_NS, end), every)
            except RefusedError:
                return
            table |= whole(windows)
            ends |= {one["end"]: held for one in windows if (held := _held(one)) is not None}
            await self._api.breathe()

    def known(self, path: str) -> bool:
        """Whether anything at all is stored of a property's quarters."""
        thing, _, name = path.rpartition("/")
        return bool(self._ends.get(thing, {}).get(name))

    def came(self, path: str, every: str, start: int) -> float | None:
        """What the window that began at `start` came to, once it is over."""
        value = self._tables.get((path, every), {}).get(start)
        return value if start + _EVERY_NS[every] <= self.now else None

    async def windows(self, project: str, path: str, start: int, end: int, every: str) -> Table:
        """The windows that were over."""
        step, table = _EVERY_NS[every], self._tables.get((path, every), {})
        last = min(end, self.now) - step
        return {at: table[at] for at in range(-(-start // step) * step, last + 1, step) if at in table}

    async def at(self, project: str, path: str) -> float | None:
        """What a property held at the end of the last quarter."""
        thing, _, name = path.rpartition("/")
        return (await self.said(project, thing)).value(name)

    async def said(self, project: str, thing: str) -> Said:
        """What a thing held at the end of the last quarter."""
        found, at = Said(), self.now // STEP_NS * STEP_NS
        for name, ends in self._ends.get(thing, {}).items():
            value = next((ends[end] for end in range(at, at - _HELD_NS, -STEP_NS) if end in ends), None)
            found.properties[name] = Newest(thing, name, value, observed_at=at)
        return found

    async def models(self, project: str) -> dict[tuple[str, str], dict[str, Any]]:
        """Who forecasts which series; whether anybody did then, the forecasts themselves say."""
        return {key: model | {"trained_at": 1} for key, model in (await self._api.models(project)).items()}

    async def forecast(self, project: str, thing: str, name: str) -> dict[str, Any]:
        """The forecast of a series that was kept then."""
        return await self._api.forecast(project, thing, name, self.now)


def hourly(config: SchedulerConfig) -> list[str]:
    """What is read by the hour: load, sun and intensity."""
    suns = (one.energy_path for one in config.solars)
    return [path for path in dict.fromkeys([config.base, config.signal, *suns]) if path]


def quarterly(config: SchedulerConfig) -> list[str]:
    """What is read by the quarter of an hour: the meter, prices, and what assets say of themselves."""
    found = [config.net, *(tariff.property.partition("@")[0] for tariff in (config.buys, config.sells))]
    for car in config.vehicles:
        found += _of(car.thing, car.plugged, car.charge, car.departure)
    for heat in config.heats:
        found += [*_of(heat.thing, heat.temperature), heat.outside]
    for job in config.jobs:
        found += _of(job.thing, job.remaining, job.deadline)
    return [path for path in dict.fromkeys(found) if path]


def _of(thing: str, *names: str) -> Iterable[str]:
    return [f"{thing}/{name}" for name in names if name]


def _held(window: dict[str, Any]) -> Any:
    """What a property held at a window's end: its last reading, else what was carried through."""
    last = window.get("last")
    if last is None and window["coverage"] > 0:
        states = window.get("seconds")
        last = max(states, key=states.__getitem__) if states else window.get("time_mean")
    return {"true": True, "false": False}.get(last, last) if isinstance(last, str) else last
