"""What happens to the things of a project: created, updated, deleted; told to those who watch its directory."""

import asyncio
from collections.abc import Callable, Collection

from taihu.doors.http.wot_ports import Notice
from taihu.kernel.clock import Clock
from taihu.kernel.errors import LimitError
from taihu.kernel.limits import Limits
from taihu.runtime.serving.notices import Backlog, Queue

CREATED, UPDATED, DELETED = "thing_created", "thing_updated", "thing_deleted"
_TICK_S = 1.0


class WatchersFull(LimitError):
    """As many watch the directory of a project as may: end another stream first."""

    code = "watchers-full"


class Happening(Notice, frozen=True, gc=False):
    """A notice that says which thing it is of."""

    thing: str


class Watcher(Queue):
    """One stream of what happens to things; made by `Lifecycle.watch`.

    `kinds` are those wanted, `full` asks for descriptions and their changes, `visible` says of which things.
    """

    def __init__(
        self,
        limits: Limits,
        permitted: Callable[[], str],
        left: Callable[[], None],
        kinds: Collection[str],
        full: bool,
        visible: Callable[[str], bool],
    ) -> None:
        super().__init__(limits, permitted, left)
        self.kinds = kinds
        self.full = full
        self._visible = visible

    def tell(self, happening: Happening) -> None:
        """Take one in if it is for this watcher."""
        if happening.name in self.kinds and self._visible(happening.thing):
            self.put(happening)


class Lifecycle:
    """All that happens, and who watches."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._began = clock.now_ns()
        self._last = self._began
        self._projects: dict[str, _Project] = {}
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def happened(self, kind: str, project: str, thing: str, data: bytes, full: bytes = b"") -> None:
        """Tell of one; `data` is JSON that has the identifier at least, `full` what says more, empty for the same."""
        self._last = max(self._last + 1, self._clock.now_ns())
        self._project(project).add(Happening(kind, data, self._last, self._last, True, thing), full)

    def watch(
        self,
        project: str,
        kinds: Collection[str],
        full: bool,
        after: int | None,
        permitted: Callable[[], str],
        visible: Callable[[str], bool],
    ) -> Watcher:
        """A watcher of a project's things, who is told first what came after the notice numbered `after`.

        Raises WatchersFull.
        """
        watcher = self._project(project).watch(kinds, full, after, permitted, visible)
        if self._timer is None:
            self._timer = self._loop.call_later(_TICK_S, self._tick)
        return watcher

    def close(self, reason: str) -> None:
        """End every stream."""
        for project in self._projects.values():
            for watcher in list(project.watchers):
                watcher.end(reason)

    @property
    def count(self) -> int:
        """How many watch."""
        return sum(len(project.watchers) for project in self._projects.values())

    def _tick(self) -> None:
        """End who may watch no longer, and let those who hear nothing hear that."""
        for project in self._projects.values():
            for watcher in list(project.watchers):
                watcher.check()
        self._timer = self._loop.call_later(_TICK_S, self._tick) if self.count else None

    def _project(self, name: str) -> "_Project":
        known = self._projects.get(name)
        if known is None:
            known = self._projects[name] = _Project(self._limits, self._began)
        return known


class _Project:
    """One project's newest happenings, each as it is told in short and in full, and its watchers."""

    def __init__(self, limits: Limits, began: int) -> None:
        self.watchers: list[Watcher] = []
        self._limits = limits
        self._began = began
        self._short, self._full = Backlog(limits), Backlog(limits)

    def add(self, short: Happening, more: bytes) -> None:
        full = Happening(short.name, more, short.observed_at, short.seq, True, short.thing) if more else short
        self._short.put(short)
        self._full.put(full)
        for watcher in self.watchers:
            watcher.tell(full if watcher.full else short)

    def watch(
        self,
        kinds: Collection[str],
        full: bool,
        after: int | None,
        permitted: Callable[[], str],
        visible: Callable[[str], bool],
    ) -> Watcher:
        if len(self.watchers) >= self._limits.directory_watchers_per_project_max:
            raise WatchersFull(
                f"{len(self.watchers)} watch this directory already.",
                "Try later, or raise [limits] directory_watchers_per_project_max.",
            )
        watcher = Watcher(self._limits, permitted, lambda: self.watchers.remove(watcher), kinds, full, visible)
        self.watchers.append(watcher)
        if after is not None:
            backlog = self._full if full else self._short
            if after < max(self._began, backlog.gone):
                watcher.missed = None
            for happening in backlog.after(after):
                assert isinstance(happening, Happening)
                watcher.tell(happening)
        return watcher
