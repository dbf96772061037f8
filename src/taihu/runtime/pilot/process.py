"""The pilot process: the controllers of a site, each in a loop of its own. It is started where there are any.

It goes by the configuration that the node goes by, whenever that changes.

A controller that fails takes nothing else with it, and the node does not wait for one.
"""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import msgspec

from taihu.kernel.clock import Clock
from taihu.kernel.config import parse_site
from taihu.kernel.errors import TaihuError, TransientError
from taihu.kernel.files import OsFiles, write_atomic
from taihu.kernel.limits import renew
from taihu.kernel.sections import Site
from taihu.runtime.ask import Ask
from taihu.runtime.logs import set_logging, start_logging
from taihu.runtime.paths import Paths
from taihu.runtime.pilot.api import NodeApi
from taihu.runtime.pilot.crew import Crew, Steering
from taihu.runtime.pilot.decisions import Decisions, DecisionsUnkept
from taihu.runtime.pilot.hand import Hand, leave
from taihu.runtime.pilot.meter import Meter
from taihu.runtime.pilot.steering import Loop
from taihu.runtime.pilot.units import check_units
from taihu.runtime.process import clock_of, run_until_signal

log = logging.getLogger("taihu.pilot")

_RETRY_S = 1.0
_CHECK_S = 5.0  # after which it is seen whether properties still say the units that they need
_PERIOD_S_MIN = 0.05
_NICE = 5  # planning waits for whoever takes readings in, and for the turns of the loops
_SWITCH_S = 0.001  # a turn that is due waits no longer than this for a thread that plans


Schedulers = Callable[[Site, NodeApi, Decisions, Clock], Sequence[Steering]]


class Pilot:
    """All controllers of a site, and what `schedulers` makes of its schedulers."""

    def __init__(self, site: Site, clock: Clock, schedulers: Schedulers) -> None:
        self._site = site
        self._schedulers = schedulers
        self._clock = clock
        self._paths = Paths(site.data)
        self._files = OsFiles()
        self._tokens: dict[str, str] = {}
        self._changed_ns = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`."""
        asyncio.get_running_loop().set_default_executor(planning_threads())
        store = Decisions(self._paths.decisions, self._site.limits.decisions_per_controller_max)
        api: NodeApi | None = None
        try:
            while api is None and not stop.is_set():
                try:
                    api = await self._connect()
                except (TaihuError, OSError, msgspec.DecodeError) as error:
                    log.warning("the node is not ready: %s", error)
                    await asyncio.sleep(_RETRY_S)
            if api is None:
                return
            crew = Crew(partial(self._make, api, store), partial(self._steer, api, store))
            await crew.use(self._site)
            await self._give_back(api, store, crew)
            watching = asyncio.create_task(self._watch(api, store, crew))
            await stop.wait()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await crew.close()
        finally:
            store.close()
            if api is not None:
                await api.close()

    def _make(self, api: NodeApi, store: Decisions, site: Site) -> list[Steering]:
        """All controllers and schedulers of a site."""
        loops = [
            Loop(project.name, site.timezone_of(project), config, api, store, self._clock)
            for project in site.projects
            for config in project.controllers
        ]
        return [*loops, *self._schedulers(site, api, store, self._clock)]

    async def _watch(self, api: NodeApi, store: Decisions, crew: Crew) -> None:
        """Go by what the node goes by: whenever it has taken over another configuration, so does the pilot."""
        while True:
            await asyncio.sleep(_RETRY_S)
            try:
                changed_ns = self._paths.running.stat().st_mtime_ns
                if changed_ns == self._changed_ns:
                    continue
                site = parse_site(self._paths.running.read_text("utf-8"), self._site.folder)
                renew(self._site.limits, site.limits)
                set_logging("pilot", site.log)
                self._site = msgspec.structs.replace(site, limits=self._site.limits)
                await self._take_tokens()
                api.forget()
                await crew.use(self._site)
                await self._give_back(api, store, crew)
                self._changed_ns = changed_ns
            except FileNotFoundError:  # the node is on its way out
                continue
            except (TaihuError, OSError, msgspec.DecodeError) as error:
                log.warning("the configuration is not taken over yet: %s", error)

    async def _give_back(self, api: NodeApi, store: Decisions, crew: Crew) -> None:
        """Bring to rest what somebody drove, and nobody does any more."""
        now = self._clock.now_ns()
        held = {what: one for what, one in store.permits.all().items() if what not in crew.writes}
        for project in {what[0] for what in held}:
            hands = [
                Hand(api, *what, one.low, one.high, one.rest, store.permits)
                for what, one in held.items()
                if what[0] == project
            ]
            if project not in self._tokens or all(one.name != project for one in self._site.projects):
                for hand in hands:
                    hand.drop()
                continue
            try:
                await leave(api, project, now, hands, "nobody drives it any more", whatever=True)
            except TransientError:  # it is tried again at the next start
                continue
            except (TaihuError, OSError) as error:
                log.warning("%s: not all is brought to rest that was driven: %s", project, error)

    async def _steer(self, api: NodeApi, store: Decisions, loop: Steering) -> None:
        """Turn after turn, until cancelled. What goes wrong is said once, and tried again."""
        period_s = max(loop.reflex_s / self._clock.speed, _PERIOD_S_MIN)
        meter = Meter(api, loop.project, loop.config.net)
        observing = asyncio.create_task(meter.observe())
        try:
            await self._turns(loop, api, store, meter, period_s)
        finally:
            observing.cancel()
            await asyncio.gather(observing, return_exceptions=True)

    async def _turns(self, loop: Steering, api: NodeApi, store: Decisions, meter: Meter, period_s: float) -> None:
        waits: str | None = None
        kept: str | None = None
        clock, check_at = asyncio.get_running_loop().time, 0.0
        while True:
            before = waits
            try:
                if clock() >= check_at:
                    await check_units(api, loop.project, loop.config)
                    check_at = clock() + _CHECK_S
                await loop.turn(self._clock.now_ns())
                waits = loop.waits
                if waits and waits != before:
                    log.warning("%s waits: %s", loop.label, waits)
            except Exception as error:
                waits = str(error)
                if waits != before:
                    defect = not isinstance(error, TaihuError | OSError)
                    log.warning("%s waits: %s", loop.label, error, exc_info=defect)
                await asyncio.sleep(_RETRY_S)
            if before and not waits:
                log.info("%s goes on", loop.label)
            if waits != kept:
                with suppress(DecisionsUnkept):  # it is tried again with the next turn
                    store.wait(loop.project, loop.config.name, waits)
                    kept = waits
            await meter.wait(period_s)

    async def _connect(self) -> NodeApi:
        path = self._paths.pilot_tokens
        if path.exists():
            self._tokens |= msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        await self._take_tokens()
        host, port = self._address()
        shown = f"[{host}]" if ":" in host else host
        return NodeApi(f"http://{shown}:{port}", self._tokens, limits=self._site.limits)

    async def _take_tokens(self) -> None:
        """An operator's token for each project that has something to drive."""
        ask = Ask(*self._address(), self._paths.admin_token.read_text())
        for project in self._site.projects:
            if (project.controllers or project.schedulers) and project.name not in self._tokens:
                body = {"project": project.name, "kind": "operator", "label": "controllers"}
                self._tokens[project.name] = (await ask.post("/api/v1/admin/token-issue", body))["token"]
                write_atomic(self._files, self._paths.pilot_tokens, msgspec.json.encode(self._tokens))

    def _address(self) -> tuple[str, int]:
        host, port = msgspec.json.decode(self._paths.node.read_bytes())["http"]
        return host, port


def main(site: Site, schedulers: Schedulers) -> None:
    """Run the pilot until a signal."""
    start_logging("pilot", site.log)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    sys.setswitchinterval(_SWITCH_S)
    clock = clock_of(site)
    run_until_signal(lambda stop: Pilot(site, clock, schedulers).run(stop), lambda: None)


def planning_threads() -> ThreadPoolExecutor:
    """Threads that step back for all others; on Linux, where each thread may do so by itself."""
    return ThreadPoolExecutor(thread_name_prefix="plan", initializer=_step_back)


def _step_back() -> None:
    if sys.platform == "linux":
        number = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, number, max(_NICE, os.getpriority(os.PRIO_PROCESS, number)))
