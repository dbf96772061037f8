"""Group commit: what many senders sent becomes one journal write, one sync, and then their acknowledgements (§4).

While one group is being synced in a thread the next gathers. When senders are few a group goes at once; when they are
many it waits until as many have come as last time, at most `commit_window_s`: 5,000 devices at one message a second
cost 160 syncs a second instead of 3,400.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Protocol

from taihu.kernel.errors import TaihuError
from taihu.kernel.limits import Limits
from taihu.runtime.ingest.committer import Committer
from taihu.runtime.ingest.intake import Intake
from taihu.things.batch import KIND_BATCH, Batch, encode_batch
from taihu.things.ports import Journal

log = logging.getLogger("taihu.pipeline")

_RETRY_S_MIN = 0.1
_RETRY_S_MAX = 5.0
_CROWD = 512  # so many senders, or
_CROWD_BYTES = 65_536  # so many bytes, wait for nobody: while they are synced the next gather


class Sleeper(Protocol):
    """A sender that stopped because the pipeline is full."""

    def resume(self) -> None:
        """The pipeline has room again."""
        ...


class Source(Protocol):
    """A request, or many connections, with readings to make durable and somebody waiting for the word."""

    def take(self) -> list[tuple[object, bytes]]:
        """Hand over the readings; what is acknowledged at the next `committed` is fixed now."""
        ...

    def committed(self) -> None:
        """What was taken survives power loss."""
        ...


class Beside(Protocol):
    """A store that is written with the groups, and needs no sync of its own."""

    @property
    def pending(self) -> bool:
        """Whether there is something to write."""
        ...

    def write(self) -> None:
        """Write it; blocks. OSError leaves it pending."""
        ...


Extra = Callable[[], list[tuple[int, bytes]]]
"""Other records for the group, such as the broker's log: (kind, payload)."""
Durable = Callable[[int, list[tuple[int, Batch]]], None]
"""Told after each sync: the durable position, and the batches of the group with their positions."""


class _Group(NamedTuple):
    sources: list[Source]
    batches: list[tuple[int, Batch]]
    messages: Counter[str]


class Pipeline:
    """Gathers sources into groups and commits one group at a time.

    `before` runs on the commit thread before each sync: it stores what the group's readings need to be understood.
    What `beside` has pending is written then as well. Made and used on a running event loop.
    """

    def __init__(
        self,
        journal: Journal,
        intake: Intake,
        limits: Limits,
        before: Callable[[], object] = lambda: None,
        beside: Beside | None = None,
    ) -> None:
        self.full = False
        self.acked: Counter[str] = Counter()  # messages, by project
        self.groups = 0
        self.durable = journal.durable
        self._journal = journal
        self._intake = intake
        self._limits = limits
        self._before = before
        self._beside = beside
        self._extras: list[Extra] = []
        self._listeners: list[Durable] = []
        self._waiting: dict[Source, int] = {}  # the bytes that each waits with
        self._senders = 0  # that wait, in all
        self._paused: dict[Sleeper, None] = {}
        self._timer: asyncio.Handle | None = None
        self._current: _Group | None = None
        self._committer = Committer(self._sync, self._tell)
        self._loop = asyncio.get_running_loop()
        self._retry_s = _RETRY_S_MIN
        self._last_size = 1
        self._pending_bytes = 0
        self._stalled = False
        self._lagging = False
        self._idle = asyncio.Event()
        self._idle.set()

    def add_extra(self, extra: Extra) -> None:
        """Let `extra` add its records to every group."""
        self._extras.append(extra)

    def add_listener(self, listener: Durable) -> None:
        """Call `listener` after every sync."""
        self._listeners.append(listener)

    def submit(self, source: Source, size: int = 0, senders: int = 1) -> None:
        """Take `source` into the next group; it just got `size` bytes more, of so many `senders`."""
        self._waiting[source] = self._waiting.get(source, 0) + size
        self._senders += senders
        self._pending_bytes += size
        if self._pending_bytes > self._limits.commit_pending_bytes_max:
            self.full = True
        if self._current is not None:
            if self._committer.ended:
                self._look()
        elif self._senders >= _CROWD or self._pending_bytes >= _CROWD_BYTES:
            self._start()
        else:
            self._schedule()

    def pause(self, sleeper: Sleeper) -> None:
        """Remember who stopped reading because the pipeline is full; it is resumed later."""
        self._paused[sleeper] = None

    def set_lagging(self, lagging: bool) -> None:
        """The reader of the journal is too far behind: slow the senders until it has caught up (§6)."""
        if lagging and not self._lagging:
            log.warning("the worker is too far behind the journal; senders are slowed until it has caught up")
        elif self._lagging and not lagging:
            log.warning("the worker has caught up; senders go on")
        self._lagging = lagging
        if lagging:
            self.full = True
        else:
            self._make_room()

    async def drain(self) -> None:
        """Return when everything submitted so far is durable."""
        while self._waiting or self._current is not None:
            if self._current is None:
                self._start()
            else:
                self._idle.clear()
                await self._idle.wait()

    async def close(self) -> None:
        """Commit what is pending and stop."""
        await self.drain()
        self._committer.close()

    def _schedule(self) -> None:
        """Start the next group at once when as many wait as last time, else when the window ends."""
        if self._senders >= self._last_size:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_soon(self._start)
        elif self._timer is None:
            self._timer = self._loop.call_later(self._limits.commit_window_s, self._start)

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._current is not None or not self._waiting:
            return
        senders, sources = self._senders, self._next_sources()
        self._senders = len(self._waiting)
        self._last_size = max(senders - self._senders, self._last_size // 2)
        for source in sources:
            readings = source.take()
            if readings:
                self._intake.add(readings)
        batches = [(self._journal.append(KIND_BATCH, encode_batch(batch)), batch) for batch in self._intake.finish()]
        for extra in self._extras:
            for kind, payload in extra():
                self._journal.append(kind, payload)
        self._current = _Group(sources, batches, self._intake.take_count())
        pending = self._beside is not None and self._beside.pending
        if self._journal.next_position == self._journal.durable + 1 and not pending:
            self._finish()
        else:
            self._committer.start()

    def _next_sources(self) -> list[Source]:
        """Those of the next group, the first to come first: all, or as many as keep its records of bounded size."""
        room = self._limits.commit_pending_bytes_max // 2
        sources = []
        for source, size in self._waiting.items():
            if room <= 0:
                break
            sources.append(source)
            room -= size
            self._pending_bytes -= size
        for source in sources:
            del self._waiting[source]
        return sources

    def _sync(self) -> None:
        """On the commit thread: first what the readings need to be understood, then the readings."""
        self._before()
        if self._beside is not None:
            self._beside.write()
        self._journal.commit()

    def _tell(self) -> None:
        """On the commit thread: have the loop look, unless it did so already."""
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        """See to a sync that has ended; whoever comes first does it."""
        if self._current is None or not self._committer.ended:
            return
        self._committer.ended = False
        error = self._committer.error
        if error is not None:
            self._fail(error)
            return
        if self._stalled:
            self._stalled = False
            self._retry_s = _RETRY_S_MIN
            log.warning("the journal can be written again; senders go on")
        self._finish()

    def _fail(self, error: BaseException) -> None:
        if not self._stalled:
            self._stalled = True
            known = isinstance(error, OSError | TaihuError)
            log.error(
                "the journal cannot be written (%s); nothing is acknowledged until it can: free space",
                error,
                exc_info=None if known else error,
            )
        self.full = True
        self._loop.call_later(self._retry_s, self._committer.start)
        self._retry_s = min(self._retry_s * 2, _RETRY_S_MAX)

    def _finish(self) -> None:
        group, self._current = self._current, None
        assert group is not None
        self.groups += 1
        self.acked.update(group.messages)
        for source in group.sources:
            source.committed()
        self.durable = self._journal.durable
        for listener in self._listeners:
            listener(self.durable, group.batches)
        self._make_room()
        if self._waiting:
            self._schedule()
        if self._current is None:
            self._idle.set()

    def _make_room(self) -> None:
        if not self.full or self._stalled or self._lagging:
            return
        if self._pending_bytes <= self._limits.commit_pending_bytes_max // 2:
            self.full = False
            paused, self._paused = list(self._paused), {}
            for sleeper in paused:
                sleeper.resume()
