"""One poller for all browser sessions: asks the node each second while anybody watches, and backs off from one away."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from itertools import islice
from typing import Protocol

import msgspec

from taihu.console.answers import CarbonAnswer, Newest, NodeStatus, PlansAnswer, Project, Series, Thing, Window
from taihu.console.client import CONNECTIONS_MAX, NodeAway, TokenRefused
from taihu.console.hours import HOURS_SHOWN, Hour, merge_hours
from taihu.console.model import DISTRICT, ENERGY_UNIT, GRID, INTENSITY_UNIT, METER, Page, View, house_views, page_of
from taihu.kernel.clock import NS_PER_S, Clock

log = logging.getLogger("taihu.console")

TICK_S = 1.0
BACKOFF_S_MAX = 10.0
PROJECTS_MAX = 64
THINGS_PER_PAGE = 200
PAGES_MAX = 64
CARBON_DAYS = 30
_HOURS_EVERY_S = 5.0
_HOURS_LATEST_S = 60.0
_PLANS_EVERY_S = 3.0
_CARBON_EVERY_S = 15.0
_HOURS_MOVED_NS = 360 * NS_PER_S

Place = tuple[str, str]  # a project, and the thing after which its page begins


class Source(Protocol):
    """What the poller asks; `NodeClient` is the real one."""

    async def status(self) -> NodeStatus: ...

    async def projects(self) -> tuple[Project, ...]: ...

    async def things(self, project: str, after: str, limit: int) -> tuple[tuple[Thing, ...], bool]: ...

    async def values(self, project: str, things: tuple[str, ...] = ()) -> tuple[Newest, ...]: ...

    async def hours(self, series: Series, hours: int, tz: str) -> tuple[Window, ...]: ...

    async def plans(self, projects: tuple[str, ...]) -> PlansAnswer: ...

    async def carbon(self, projects: tuple[str, ...], days: int) -> CarbonAnswer: ...


class Link(StrEnum):
    """How the console stands with the node."""

    STARTING = "starting"
    CONNECTED = "connected"
    AWAY = "away"
    REFUSED = "refused"


class Snapshot(msgspec.Struct, frozen=True):
    """What is known at one moment. While the node is away the rest stays as it was; `away_s` says for how long.

    `hours` is None until the history has answered once, `plans` until the controllers have, `carbon` until the ledger
    has, which is asked while its page is open. `views` holds the pages of things that are read.
    """

    link: Link = Link.STARTING
    away_s: float = 0.0
    retry_s: float = 0.0
    page: Page | None = None
    views: dict[Place, View] = {}
    hours: tuple[Hour, ...] | None = None
    plans: PlansAnswer | None = None
    carbon: CarbonAnswer | None = None


class Poller:
    """Reads the node for everybody who watches, and tells each snapshot; while nobody does the node is left alone."""

    def __init__(self, source: Source, clock: Clock, tell: Callable[[Snapshot], None]) -> None:
        self._source = source
        self._clock = clock
        self._listener = tell
        self._watchers = 0
        self._wake = asyncio.Event()
        self._places: Counter[Place] = Counter()
        self._slots = asyncio.Semaphore(CONNECTIONS_MAX)
        self._failures = 0
        self._heard_s = clock.monotonic()
        self._due_s = 0.0
        self._hours_s = -_HOURS_LATEST_S
        self._hours_ns = 0
        self._plans_s = -_HOURS_LATEST_S
        self._carbon_s = -_HOURS_LATEST_S
        self._carbon_watchers = 0
        self.snapshot = Snapshot()

    def watch(self, place: Place | None = None, *, carbon: bool = False) -> Callable[[], None]:
        """Begin to read for one more session, until the returned function is called.

        `place` asks for a further page of things, at most PAGES_MAX for all sessions together; `carbon` for the ledger.
        """
        if not self._watchers:  # what was known then is not known now
            self.snapshot = Snapshot()
            self._heard_s = self._clock.monotonic()
            self._hours_s = self._plans_s = self._carbon_s = self._heard_s - _HOURS_LATEST_S
        self._watchers += 1
        self._carbon_watchers += carbon
        self._wake.set()
        if place is not None:
            self._places[place] += 1

        def leave() -> None:
            self._watchers -= 1
            self._carbon_watchers -= carbon
            if place is not None:
                self._places[place] -= 1

        return leave

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await self._wake.wait()
            await self.tick()
            await asyncio.sleep(TICK_S)
            if not self._watchers:
                self._wake.clear()

    async def tick(self) -> None:
        """One step: ask if it is time to, and tell how things stand."""
        if self._clock.monotonic() >= self._due_s:
            await self._ask()
        elif self._failures:
            self._tell(msgspec.structs.replace(self.snapshot, **self._waiting()))

    async def _ask(self) -> None:
        try:
            page, views = await self._read()
            self._heard_s = self._clock.monotonic()
            self._tell(msgspec.structs.replace(self.snapshot, link=Link.CONNECTED, away_s=0.0, page=page, views=views))
            hours = await self._read_hours(page, views)
            plans = await self._read_plans(page, views)
            carbon = await self._read_carbon(views)
        except (NodeAway, TokenRefused) as error:
            self._failed(error)
            return
        if self._failures:
            log.info("the node answers again")
        self._failures = 0
        if hours is not None:
            self._tell(msgspec.structs.replace(self.snapshot, hours=hours))
        if plans is not None:
            self._tell(msgspec.structs.replace(self.snapshot, plans=plans))
        if carbon is not None:
            self._tell(msgspec.structs.replace(self.snapshot, carbon=carbon))

    def _failed(self, error: NodeAway | TokenRefused) -> None:
        if not self._failures:
            log.warning("%s", error)
        self._failures += 1
        self._due_s = self._clock.monotonic() + min(BACKOFF_S_MAX, 2.0 ** min(self._failures - 1, 8))
        link = Link.REFUSED if isinstance(error, TokenRefused) else Link.AWAY
        self._tell(msgspec.structs.replace(self.snapshot, link=link, **self._waiting()))

    def _waiting(self) -> dict[str, float]:
        now = self._clock.monotonic()
        return {"away_s": now - self._heard_s, "retry_s": max(0.0, self._due_s - now)}

    def _tell(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._listener(snapshot)

    async def _read(self) -> tuple[Page, dict[Place, View]]:
        status = await self._source.status()
        projects = (await self._source.projects())[:PROJECTS_MAX]
        names = {project.name: project for project in projects}
        places = [(project.name, "") for project in projects]
        further = (place for place, count in self._places.items() if count > 0 and place[1] and place[0] in names)
        places += islice(further, PAGES_MAX)
        views = await asyncio.gather(*(self._view(names[name], after) for name, after in places))
        return page_of(status, views[: len(projects)], self._clock.now_ns()), dict(zip(places, views, strict=True))

    async def _view(self, project: Project, after: str) -> View:
        async with self._slots:
            things, more = await self._source.things(project.name, after, THINGS_PER_PAGE)
            whole = not after and not more
            names = () if whole else tuple(thing.name for thing in things)
            values = await self._source.values(project.name, names) if things else ()
            return View(project, things, values, more)

    async def _read_hours(self, page: Page, views: dict[Place, View]) -> tuple[Hour, ...] | None:
        """The last day, when it is time to read it again: as often as the site's clock can have brought an hour."""
        waited = self._clock.monotonic() - self._hours_s
        moved = page.now_ns - self._hours_ns
        if page.district is None or waited < _HOURS_EVERY_S or (moved < _HOURS_MOVED_NS and waited < _HOURS_LATEST_S):
            return None
        self._hours_s, self._hours_ns = self._clock.monotonic(), page.now_ns
        houses = [view.project.name for view in house_views(views.values())]
        wanted = [Series(house, METER, "energy", ENERGY_UNIT) for house in houses]
        wanted.append(Series(DISTRICT, GRID, "carbon_intensity", INTENSITY_UNIT))
        found = await asyncio.gather(*(self._windows(series, page.timezone) for series in wanted))
        return merge_hours(found[:-1], found[-1], page.now_ns)

    async def _read_plans(self, page: Page, views: dict[Place, View]) -> PlansAnswer | None:
        """What the houses' controllers do, when it is time to read it again."""
        if page.district is None or self._clock.monotonic() - self._plans_s < _PLANS_EVERY_S:
            return None
        self._plans_s = self._clock.monotonic()
        return await self._source.plans(tuple(view.project.name for view in house_views(views.values())))

    async def _read_carbon(self, views: dict[Place, View]) -> CarbonAnswer | None:
        """What the ledger says, while its page is open and when it is time to ask again."""
        if not self._carbon_watchers or self._clock.monotonic() - self._carbon_s < _CARBON_EVERY_S:
            return None
        self._carbon_s = self._clock.monotonic()
        projects = tuple(dict.fromkeys(name for name, _ in views))
        return await self._source.carbon(projects, CARBON_DAYS) if projects else CarbonAnswer()

    async def _windows(self, series: Series, timezone: str) -> tuple[Window, ...]:
        async with self._slots:
            return await self._source.hours(series, HOURS_SHOWN + 1, timezone)
