"""The controllers and schedulers of a site at work, as the site is now: who is new begins, who is gone ends.

One whose settings changed ends, and another goes on with what it drives, or brings it to rest; the others are left
alone.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any

import msgspec

from taihu.kernel.errors import TaihuError
from taihu.kernel.flexible import SchedulerConfig
from taihu.kernel.sections import ControllerConfig, Site
from taihu.runtime.pilot.held import Written

log = logging.getLogger("taihu.pilot")

Key = tuple[str, str]  # project and name


class Steering(ABC):
    """What has turns: a controller of one battery, or a scheduler of everything behind a meter, of a `project`."""

    project: str
    config: ControllerConfig | SchedulerConfig

    @property
    def label(self) -> str:
        """What the log calls it."""
        return f"{self.project}/{self.config.name}"

    @property
    def reflex_s(self) -> float:
        """So often it has a turn where its meter is silent, in seconds of the site's clock."""
        return self.config.reflex_s

    @property
    @abstractmethod
    def writes(self) -> Collection[Written]:
        """What it may write."""

    @property
    @abstractmethod
    def waits(self) -> str:
        """Why it plans nothing new now; empty when it does."""

    @abstractmethod
    async def turn(self, now: int) -> None:
        """Do what is due now (UTC ns)."""

    @abstractmethod
    async def close(self, *, leave: bool = False) -> None:
        """End what goes on in the background; those who `leave` bring to rest what they drove."""


class Crew:
    """Those who work. `make` makes all of a site, `steer` gives one its turns until it is cancelled."""

    def __init__(
        self, make: Callable[[Site], Sequence[Steering]], steer: Callable[[Steering], Coroutine[Any, Any, None]]
    ) -> None:
        self._make, self._steer = make, steer
        self._known: dict[Key, Any] = {}
        self._working: dict[Key, tuple[Steering, asyncio.Task[None]]] = {}

    async def use(self, site: Site) -> None:
        """Let those work that the site names."""
        wanted = _settings_of(site)
        for key in [one for one, settings in self._known.items() if wanted.get(one) != settings]:
            del self._known[key]
            await self._end(key, leave=key not in wanted)
            log.info("%s/%s ended: %s", *key, "it begins anew" if key in wanted else "it is gone from the site")
        fresh = _only(site, wanted.keys() - self._known.keys())
        for one in self._make(fresh):
            key = (one.project, one.config.name)
            self._working[key] = (one, asyncio.create_task(self._steer(one)))
            self._known[key] = wanted[key]

    @property
    def writes(self) -> set[Written]:
        """What all that work may write."""
        return {what for one, _ in self._working.values() for what in one.writes}

    async def close(self) -> None:
        """The node stops: all end where they are, and go on from there at the next start."""
        for key in list(self._working):
            await self._end(key, leave=False)

    async def _end(self, key: Key, *, leave: bool) -> None:
        one, task = self._working.pop(key)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        try:
            await one.close(leave=leave)
        except (TaihuError, OSError) as error:
            log.warning("%s ended, and could not bring to rest what it drove: %s", one.label, error)


def _settings_of(site: Site) -> dict[Key, Any]:
    """What a controller or scheduler goes by, for each."""
    found: dict[Key, Any] = {}
    for project in site.projects:
        every: list[ControllerConfig | SchedulerConfig] = [*project.controllers, *project.schedulers]
        found |= {(project.name, config.name): (site.timezone_of(project), config) for config in every}
    return found


def _only(site: Site, keys: set[Key]) -> Site:
    """The site with these controllers and schedulers, and no others."""

    def part(project: str, configs: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(config for config in configs if (project, config.name) in keys)

    projects = tuple(
        msgspec.structs.replace(
            one, controllers=part(one.name, one.controllers), schedulers=part(one.name, one.schedulers)
        )
        for one in site.projects
    )
    return msgspec.structs.replace(site, projects=projects)
