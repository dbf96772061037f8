"""One poller for all browser sessions: asks the node each second while anybody watches, and backs off from one away."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from enum import StrEnum
from itertools import islice
from typing import Any, Protocol

import msgspec

from taihu.console.answers import CarbonAnswer, Newest, NodeStatus, Project, Series, Thing, Window
from taihu.console.client import CONNECTIONS_MAX, NodeAway, TokenRefused
from taihu.console.foretold import ModelsAnswer, Outlook
from taihu.console.hours import HOURS_SHOWN, Hour, merge_hours
from taihu.console.model import DISTRICT, ENERGY_UNIT, GRID, INTENSITY_UNIT, METER, Page, View, house_views, page_of
from taihu.console.planned import PlansAnswer
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
_MODELS_EVERY_S = 5.0
_OUTLOOK_EVERY_S = 3.0
_SHOWN_MAX = 8
_PATIENCE_S = 0.5
_HOURS_MOVED_NS = 360 * NS_PER_S

Place = tuple[str, str]  # a project, and the thing after which its page begins
Address = tuple[str, str, str]  # project, thing, property
DISTRICT_OUTLOOKS: tuple[Address, ...] = ((DISTRICT, GRID, "load"), (DISTRICT, GRID, "generation"))


class Source(Protocol):
    """What the poller asks; `NodeClient` is the real one."""

    async def status(self) -> NodeStatus: ...

    async def projects(self) -> tuple[Project, ...]: ...

    async def things(self, project: str, after: str, limit: int) -> tuple[tuple[Thing, ...], bool]: ...

    async def values(self, project: str, things: tuple[str, ...] = ()) -> tuple[Newest, ...]: ...

    async def hours(self, series: Series, hours: int, tz: str) -> tuple[Window, ...]: ...

    async def plans(self, projects: tuple[str, ...]) -> PlansAnswer: ...

    async def carbon(self, projects: tuple[str, ...], days: int) -> CarbonAnswer: ...

    async def plan(self, project: str) -> PlansAnswer: ...

    async def models(self, project: str) -> ModelsAnswer: ...

    async def outlook(self, project: str, thing: str, name: str) -> Outlook | None: ...


class Want(msgspec.Struct, frozen=True):
    """What a page shows beyond what every page does.

    A further page of things, at most PAGES_MAX for all sessions together; the ledger; who forecasts; series with their
    outlook; and all controllers, with the plan of one project, or of the first that has any. Of outlooks and plans at
    most _SHOWN_MAX together.
    """

    place: Place | None = None
    carbon: bool = False
    models: bool = False
    outlooks: tuple[Address, ...] = ()
    plans: bool = False
    plan: str = ""


_NOTHING_MORE = Want()


class Link(StrEnum):
    """How the console stands with the node."""

    STARTING = "starting"
    CONNECTED = "connected"
    AWAY = "away"
    REFUSED = "refused"


class Snapshot(msgspec.Struct, frozen=True):
    """What is known at one moment. While the node is away the rest stays as it was; `away_s` says for how long.

    `hours` is None until the history has answered once, `plans` until the controllers have, `carbon` until the ledger
    has and `models` until the forecasters have, which are asked while their pages are open. `outlooks` holds those that
    are shown: None where the node knows of none; `plan` the controllers of the projects whose plan is. `views` holds
    the pages of things that are read.
    """

    link: Link = Link.STARTING
    away_s: float = 0.0
    retry_s: float = 0.0
    page: Page | None = None
    views: dict[Place, View] = {}
    hours: tuple[Hour, ...] | None = None
    plans: PlansAnswer | None = None
    carbon: CarbonAnswer | None = None
    models: dict[str, ModelsAnswer] | None = None
    outlooks: dict[Address, Outlook | None] = {}
    plan: dict[str, PlansAnswer] = {}


Reading = Callable[[Page, dict[Place, View]], Awaitable[dict[str, Any]]]


class Poller:
    """Reads the node for everybody who watches, and tells each snapshot; while nobody does the node is left alone."""

    def __init__(self, source: Source, clock: Clock, tell: Callable[[Snapshot], None]) -> None:
        self._source = source
        self._clock = clock
        self._listener = tell
        self._watchers: Counter[Want] = Counter()
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(CONNECTIONS_MAX)
        self._failures = 0
        self._heard_s = clock.monotonic()
        self._due_s = 0.0
        self._read_s: dict[object, float] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._waits: set[str] = set()
        self._hours_ns = 0
        self.snapshot = Snapshot()

    def watch(self, want: Want = _NOTHING_MORE) -> Callable[[], None]:
        """Begin to read for one more page, until the returned function is called."""
        if not self._watchers:  # what was known then is not known now
            self.snapshot = Snapshot()
            self._heard_s = self._clock.monotonic()
            self._read_s.clear()
        self._watchers[want] += 1
        self._wake.set()

        def leave() -> None:
            self._watchers[want] -= 1
            self._watchers += Counter()  # those that nobody has any more go

        return leave

    async def run(self) -> None:
        """Poll until cancelled."""
        try:
            while True:
                await self._wake.wait()
                await self.tick()
                await asyncio.sleep(TICK_S)
                if not self._watchers:
                    self._wake.clear()
        finally:
            for task in self._reading.values():
                task.cancel()

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
            await self._read_parts(page, views)
        except (NodeAway, TokenRefused) as error:
            self._failed(error)
            return
        if self._failures:
            log.info("the node answers again")
        self._failures = 0

    async def _read_parts(self, page: Page, views: dict[Place, View]) -> None:
        """Read what is due, each part by itself: one that takes long is waited for, but holds up nothing else."""
        for read in (self._read_outlooks, self._read_hours, self._read_plans, self._read_models, self._read_carbon):
            if read.__name__ not in self._reading:
                self._reading[read.__name__] = asyncio.create_task(self._tell_part(read, page, views))
        done, _ = await asyncio.wait(self._reading.values(), timeout=_PATIENCE_S)
        self._reading = {name: task for name, task in self._reading.items() if task not in done}
        for task in done:
            task.result()

    async def _tell_part(self, read: Reading, page: Page, views: dict[Place, View]) -> None:
        """Tell a part as soon as it is known. What was known stays while it alone does not answer."""
        try:
            found = await read(page, views)
        except NodeAway as error:
            if read.__name__ not in self._waits:
                log.warning("%s", error)
            self._waits.add(read.__name__)
            return
        self._waits.discard(read.__name__)
        if found:
            self._tell(msgspec.structs.replace(self.snapshot, **found))

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
        wanted = dict.fromkeys(want.place for want in self._watchers if want.place is not None)
        further = (place for place in wanted if place[1] and place[0] in names)
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

    async def _read_hours(self, page: Page, views: dict[Place, View]) -> dict[str, Any]:
        """The last day, when it is time to read it again: as often as the site's clock can have brought an hour."""
        latest_s = _HOURS_EVERY_S if page.now_ns - self._hours_ns >= _HOURS_MOVED_NS else _HOURS_LATEST_S
        if page.district is None or not self._is_due("hours", latest_s):
            return {}
        self._hours_ns = page.now_ns
        houses = [view.project.name for view in house_views(views.values())]
        wanted = [Series(house, METER, "energy", ENERGY_UNIT) for house in houses]
        wanted.append(Series(DISTRICT, GRID, "carbon_intensity", INTENSITY_UNIT))
        found = await asyncio.gather(*(self._windows(series, page.timezone) for series in wanted))
        return {"hours": merge_hours(found[:-1], found[-1], page.now_ns)}

    async def _read_plans(self, page: Page, views: dict[Place, View]) -> dict[str, Any]:
        """What the controllers do: those of houses, and on their page those of every project of one's own."""
        wants = [want for want in self._watchers if want.plans]
        names = [view.project.name for view in house_views(views.values())] if page.district else []
        if wants:
            names = list(dict.fromkeys([one.project.name for one in views.values() if not one.project.granted] + names))
        if not names or not self._is_due("plans", _PLANS_EVERY_S):
            return {}
        plans = await self._source.plans(tuple(names))
        planned = [one.project for one in plans.plans if one.last] or [one.project for one in plans.plans]
        first = planned[0] if planned else ""
        shown = islice((one for one in {want.plan or first: 0 for want in wants} if (one, "") in views), _SHOWN_MAX)
        return {"plans": plans, "plan": {one: await self._source.plan(one) for one in shown}}

    async def _read_outlooks(self, page: Page, views: dict[Place, View]) -> dict[str, Any]:
        """What is expected of the series that are shown."""
        shown = dict.fromkeys(one for want in self._watchers for one in want.outlooks if (one[0], "") in views)
        wanted = list(islice(shown, _SHOWN_MAX))
        due = [one for one in wanted if self._is_due(one, _OUTLOOK_EVERY_S)]
        for gone in [one for one in self._read_s if isinstance(one, tuple) and one not in shown]:
            del self._read_s[gone]
        if not due:
            return {}
        found = await asyncio.gather(*(self._outlook(one) for one in due))
        known = {one: outlook for one, outlook in self.snapshot.outlooks.items() if one in shown}
        return {"outlooks": known | dict(zip(due, found, strict=True))}

    async def _read_models(self, page: Page, views: dict[Place, View]) -> dict[str, Any]:
        """Who forecasts which series, while that page is open."""
        if not any(want.models for want in self._watchers) or not self._is_due("models", _MODELS_EVERY_S):
            return {}
        projects = list(dict.fromkeys(name for name, _ in views))
        found = await asyncio.gather(*(self._models(name) for name in projects))
        return {"models": dict(zip(projects, found, strict=True))}

    async def _read_carbon(self, page: Page, views: dict[Place, View]) -> dict[str, Any]:
        """What the ledger says, while its page is open."""
        if not any(want.carbon for want in self._watchers) or not self._is_due("carbon", _CARBON_EVERY_S):
            return {}
        projects = tuple(dict.fromkeys(name for name, _ in views))
        found = await self._source.carbon(projects, CARBON_DAYS) if projects else CarbonAnswer()
        self._read_s["carbon"] = self._clock.monotonic()  # a node that takes long for it has its rest
        return {"carbon": found}

    def _is_due(self, what: object, every_s: float) -> bool:
        """Whether something is to be read again; if so it counts as read."""
        now = self._clock.monotonic()
        if now - self._read_s.get(what, -every_s) < every_s:
            return False
        self._read_s[what] = now
        return True

    async def _outlook(self, one: Address) -> Outlook | None:
        async with self._slots:
            return await self._source.outlook(*one)

    async def _models(self, project: str) -> ModelsAnswer:
        async with self._slots:
            return await self._source.models(project)

    async def _windows(self, series: Series, timezone: str) -> tuple[Window, ...]:
        async with self._slots:
            return await self._source.hours(series, HOURS_SHOWN + 1, timezone)
