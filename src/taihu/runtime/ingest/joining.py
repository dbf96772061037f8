"""Devices register themselves beside the event loop: those that come together are one transaction and one sync."""

import asyncio
import logging
from collections.abc import Callable

from taihu.doors.http.connection import Told
from taihu.identity.directory import Directory
from taihu.identity.join import Joined
from taihu.kernel.clock import Clock
from taihu.kernel.errors import LimitError, TaihuError, TransientError
from taihu.kernel.limits import Limits

log = logging.getLogger("taihu.access")

_AT_ONCE = 500  # in one transaction, so that the first of a crowd does not wait for the last

Then = Callable[[Joined | TaihuError], None]
_Request = tuple[str, str, Then]


class Joining:
    """Gathers requests while a transaction is under way; the next takes them together.

    `on_refused` is told the project, the name and why; `settle` is called when a group has its answers.
    """

    def __init__(self, directory: Directory, clock: Clock, limits: Limits) -> None:
        self.on_refused: Callable[[str, str, str], None] = lambda project, name, reason: None
        self.settle: Callable[[], None] = lambda: None
        self._directory = directory
        self._clock = clock
        self._limits = limits
        self._waiting: list[_Request] = []
        self._task: asyncio.Task[None] | None = None
        self._told = Told(log)

    def ask(self, token: str, name: str, then: Then) -> None:
        """Have `then` called, in a later turn of the loop, with what became of a join token's request.

        Raises LimitError when `joins_waiting_max` wait already.
        """
        if len(self._waiting) >= self._limits.joins_waiting_max:
            raise LimitError(
                "More devices register themselves at this moment than joins_waiting_max.",
                "Try again in a moment, or raise [limits] joins_waiting_max.",
            )
        self._waiting.append((token, name, then))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def join(self, token: str, name: str) -> Joined:
        """Register a thing and return its token. Raises JoinRefused, LimitError and TransientError."""
        answered: asyncio.Future[Joined | TaihuError] = asyncio.get_running_loop().create_future()

        def then(answer: Joined | TaihuError) -> None:
            if not answered.done():  # who asked may have gone
                answered.set_result(answer)

        self.ask(token, name, then)
        answer = await answered
        if isinstance(answer, TaihuError):
            raise answer
        return answer

    async def close(self) -> None:
        """Forget who waits, and return when the transaction under way is over."""
        self._waiting.clear()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
            answers = await asyncio.to_thread(self._join_all, group)
            for (token, name, then), answer in zip(group, answers, strict=True):
                if isinstance(answer, TaihuError):
                    self._refused(token, name, answer)
                try:
                    then(answer)
                except Exception:  # one of them must not take others with it
                    log.exception("a device that registered itself met a defect of this node")
            self.settle()
        self._task = None

    def _join_all(self, group: list[_Request]) -> list[Joined | TaihuError]:
        try:
            return list(self._directory.join_all([(token, name) for token, name, _ in group], self._clock.now_ns()))
        except TaihuError as error:
            return [error] * len(group)
        except Exception:  # nobody may be left to wait for ever
            log.exception("devices that register themselves met a defect of this node")
            return [TransientError("No device can register itself now.", "See the node's log.")] * len(group)

    def _refused(self, token: str, name: str, error: TaihuError) -> None:
        principal = self._directory.principal(token)
        if principal is not None:
            self.on_refused(principal.project, name[:128], str(error))
        else:
            self._told.line(self._clock.monotonic(), "a device may not register itself: %s", error)
