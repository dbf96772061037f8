"""The pilot process: the controllers of a site, each in a loop of its own. It is started where there are any.

A controller that fails takes nothing else with it, and the node does not wait for one.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from taihu.kernel.clock import Clock
from taihu.kernel.errors import TaihuError
from taihu.kernel.files import OsFiles, write_atomic
from taihu.kernel.flexible import SchedulerConfig
from taihu.kernel.sections import ControllerConfig, Site
from taihu.runtime.ask import Ask
from taihu.runtime.logs import start_logging
from taihu.runtime.paths import Paths
from taihu.runtime.pilot.api import NodeApi
from taihu.runtime.pilot.decisions import Decisions
from taihu.runtime.pilot.steering import Loop
from taihu.runtime.pilot.units import check_units
from taihu.runtime.process import clock_of, run_until_signal

log = logging.getLogger("taihu.pilot")

_RETRY_S = 1.0
_PERIOD_S_MIN = 0.05
_NICE = 5  # planning waits for whoever takes readings in


class Steering(Protocol):
    """What has turns: a controller of one battery, or a scheduler of everything behind a meter."""

    @property
    def project(self) -> str:
        """Whose it is."""
        ...

    @property
    def config(self) -> ControllerConfig | SchedulerConfig:
        """What the site says of it."""
        ...

    @property
    def label(self) -> str:
        """What the log calls it."""
        ...

    @property
    def reflex_s(self) -> float:
        """So often it has a turn, in seconds of the site's clock."""
        ...

    async def turn(self, now: int) -> None:
        """Do what is due now (UTC ns)."""
        ...


Schedulers = Callable[[Site, NodeApi, Decisions, Clock], Sequence[Steering]]


class Pilot:
    """All controllers of a site, and what `schedulers` makes of its schedulers."""

    def __init__(self, site: Site, clock: Clock, schedulers: Schedulers) -> None:
        self._site = site
        self._schedulers = schedulers
        self._clock = clock
        self._paths = Paths(site.data)
        self._files = OsFiles()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`."""
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
            loops: list[Steering] = [
                Loop(project.name, self._site.timezone_of(project), config, api, store, self._clock)
                for project in self._site.projects
                for config in project.controllers
            ]
            loops += self._schedulers(self._site, api, store, self._clock)
            tasks = [asyncio.create_task(self._steer(loop, api)) for loop in loops]
            await stop.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            store.close()
            if api is not None:
                await api.close()

    async def _steer(self, loop: Steering, api: NodeApi) -> None:
        """Turn after turn, until cancelled. What goes wrong is said once, and tried again."""
        period_s = max(loop.reflex_s / self._clock.speed, _PERIOD_S_MIN)
        failing = ""
        while True:
            try:
                await check_units(api, loop.project, loop.config)
                await loop.turn(self._clock.now_ns())
                failing = ""
            except Exception as error:
                if failing != str(error):
                    defect = not isinstance(error, TaihuError | OSError)
                    log.warning("%s waits: %s", loop.label, error, exc_info=defect)
                failing = str(error)
                await asyncio.sleep(_RETRY_S)
            await asyncio.sleep(period_s)

    async def _connect(self) -> NodeApi:
        host, port = msgspec.json.decode(self._paths.node.read_bytes())["http"]
        ask = Ask(host, port, self._paths.admin_token.read_text())
        path, tokens = self._paths.pilot_tokens, dict[str, str]()
        if path.exists():
            tokens = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        for project in self._site.projects:
            if (project.controllers or project.schedulers) and project.name not in tokens:
                body = {"project": project.name, "kind": "operator", "label": "controllers"}
                tokens[project.name] = (await ask.post("/api/v1/admin/token-issue", body))["token"]
                write_atomic(self._files, path, msgspec.json.encode(tokens))
        shown = f"[{host}]" if ":" in host else host
        return NodeApi(f"http://{shown}:{port}", tokens)


def main(site: Site, schedulers: Schedulers) -> None:
    """Run the pilot until a signal."""
    start_logging("pilot", site.log)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    os.nice(_NICE)
    clock = clock_of(site)
    run_until_signal(lambda stop: Pilot(site, clock, schedulers).run(stop), lambda: None)
