"""Notices on their way to somebody who may be slow: bounded queues, in which the oldest gives way (§6)."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator

from taihu.doors.http.wot_ports import Notice
from taihu.kernel.limits import Limits


class Backlog:
    """Notices in their order, at most `observer_queue_max` of at most `observer_queue_bytes_max` bytes, or one.

    `gone` is the number of the last that gave way.
    """

    def __init__(self, limits: Limits) -> None:
        self.gone = 0
        self._limits = limits
        self._notices: deque[Notice] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._notices)

    def put(self, notice: Notice) -> int:
        """Add one; returns how many gave way."""
        notices, limits, count = self._notices, self._limits, 0
        notices.append(notice)
        self._bytes += len(notice.data)
        while len(notices) > limits.observer_queue_max or self._bytes > limits.observer_queue_bytes_max:
            if len(notices) == 1:
                break
            oldest = notices.popleft()
            self._bytes -= len(oldest.data)
            self.gone = oldest.seq
            count += 1
        return count

    def take(self) -> list[Notice]:
        """All there are, which are not here any more."""
        notices, self._notices, self._bytes = list(self._notices), deque(), 0
        return notices

    def drop(self, gone: Callable[[Notice], bool]) -> None:
        """Forget those that `gone` picks."""
        self._notices = deque(notice for notice in self._notices if not gone(notice))
        self._bytes = sum(len(notice.data) for notice in self._notices)

    def after(self, seq: int) -> Iterator[Notice]:
        """Those that came after the one numbered `seq`."""
        return (notice for notice in self._notices if notice.seq > seq)


class Queue:
    """What waits for one reader; `missed` counts what gave way, None when nobody knows how much.

    Args:
        permitted: says why he may be told no longer, or nothing.
        left: told once, when it ends.
    """

    def __init__(self, limits: Limits, permitted: Callable[[], str], left: Callable[[], None]) -> None:
        self.reason = ""
        self.missed: int | None = 0
        self._limits = limits
        self._permitted = permitted
        self._left = left
        self._waiting = Backlog(limits)
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._loop.time()
        self._awake = asyncio.Event()

    def put(self, notice: Notice) -> int:
        """Add one; returns how many gave way."""
        gone = self._waiting.put(notice)
        if self.missed is not None:
            self.missed += gone
        self._awake.set()
        return gone

    def drop(self, gone: Callable[[Notice], bool]) -> None:
        """Forget what waits of those that `gone` picks."""
        self._waiting.drop(gone)

    async def take(self) -> list[Notice]:
        """What waits, in its order; an empty list says that nothing was sent for a while, or `reason` why it ended."""
        while not (self._waiting or self.reason or self.missed is None or self._is_quiet()):
            self._awake.clear()
            await self._awake.wait()
        if self.check():
            return []
        self._sent_at = self._loop.time()
        return self._waiting.take()

    def check(self) -> str:
        """End it if its token or grant has ended; returns the reason, empty while it goes on."""
        if not self.reason and (reason := self._permitted()):
            self.end(reason)
        if self.reason or self._is_quiet():
            self._awake.set()
        return self.reason

    def end(self, reason: str) -> None:
        """Stop; who waits in `take` hears so."""
        if not self.reason:
            self.reason = reason
            self._waiting.take()
            self._awake.set()
            self._left()

    def _is_quiet(self) -> bool:
        return self._loop.time() - self._sent_at >= self._limits.observer_heartbeat_s
