"""Who follows the steps of commands: each has a queue of its own, and whoever is too slow is sent away (§6)."""

import asyncio
from collections.abc import AsyncGenerator

import msgspec

from taihu.control.command import Command
from taihu.kernel.errors import LimitError

_FOLLOWERS_MAX = 100
_QUEUE_MAX = 1_000


class Followers:
    """The followers of a node."""

    def __init__(self) -> None:
        self._queues: dict[asyncio.Queue[Command | None], str] = {}

    async def follow(self, project: str) -> AsyncGenerator[Command]:
        """Each step of a project's commands as it is taken; ends when the follower is too slow.

        Raises:
            LimitError: as many follow as may.
        """
        if len(self._queues) >= _FOLLOWERS_MAX:
            raise LimitError(f"{len(self._queues)} follow commands already.", "End another.")
        queue: asyncio.Queue[Command | None] = asyncio.Queue(_QUEUE_MAX)
        self._queues[queue] = project
        try:
            while (command := await queue.get()) is not None:
                yield command
        finally:
            self._queues.pop(queue, None)

    def tell(self, command: Command, steps: int) -> None:
        """Hand the last steps of a command, one by one, to all who follow its project."""
        for queue, project in list(self._queues.items()) if self._queues else ():
            if project == command.project:
                self._hand(queue, command, steps)

    def _hand(self, queue: asyncio.Queue[Command | None], command: Command, steps: int) -> None:
        for place in range(len(command.steps) - steps + 1, len(command.steps) + 1):
            if queue.full():
                del self._queues[queue]  # it is too slow; what it has not taken is in the list of commands
                queue.get_nowait()
                queue.put_nowait(None)
                return
            queue.put_nowait(msgspec.structs.replace(command, steps=command.steps[:place]))
