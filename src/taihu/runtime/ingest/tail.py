"""What comes in, live: accepted batches and refused messages, for those who watch a project."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from taihu.kernel.errors import LimitError
from taihu.kernel.limits import Limits
from taihu.runtime.ingest.quarantine import Refused
from taihu.things.batch import Batch

_SHOWN_ROWS = 3
_SHOWN_PROPERTIES = 32
_SHOWN_CHARACTERS = 200


class TailFull(LimitError):
    """Too many watch one project: end another tail first."""

    code = "tail-full"


class Tail:
    """Bounded queues, one a watcher; a watcher that is slow misses events and is told how many (§6)."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._watchers: dict[str, list[asyncio.Queue[dict[str, Any]]]] = {}
        self._missed: dict[int, int] = {}

    def accepted(self, batch: Batch) -> None:
        """Tell of a durable batch."""
        if batch.project not in self._watchers:
            return
        columns = [column.values() for column in batch.columns]
        rows = range(max(0, len(batch) - _SHOWN_ROWS), len(batch))
        names = batch.properties[:_SHOWN_PROPERTIES]
        last = [{name: _shown(column[row]) for name, column in zip(names, columns, strict=False)} for row in rows]
        self._tell(
            batch.project,
            {
                "event": "accepted",
                "things": list(batch.things[:_SHOWN_ROWS]),
                "messages": len(batch),
                "last": last,
                "mapping": batch.mapping,
                "at": batch.received_at,
            },
        )

    def refused(self, refused: Refused) -> None:
        """Tell of a refusal."""
        if refused.project not in self._watchers:
            return
        event: dict[str, Any] = msgspec.structs.asdict(refused)
        event["payload"] = refused.payload[:200].decode("utf-8", "replace")
        event["at"] = event.pop("received_at")
        self._tell(refused.project, {"event": "refused"} | event)

    def check_room(self, project: str) -> None:
        """Raise TailFull when as many watch the project as may."""
        if self._full(project):
            raise TailFull(
                f"{self._limits.tail_watchers_per_project_max} follow {project} already.",
                "Try later, or raise tail_watchers_per_project_max.",
            )

    async def watch(self, project: str) -> AsyncGenerator[dict[str, Any]]:
        """The events of a project from now on; none when too many watch it: `check_room` says so before."""
        if self._full(project):
            return
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(self._limits.tail_queue_max)
        self._watchers.setdefault(project, []).append(queue)
        try:
            while True:
                event = await queue.get()
                missed = self._missed.pop(id(queue), 0)
                if missed:
                    yield {"event": "missed", "count": missed}
                yield event
        finally:
            self._watchers[project].remove(queue)
            self._missed.pop(id(queue), None)
            if not self._watchers[project]:
                del self._watchers[project]

    def _full(self, project: str) -> bool:
        return len(self._watchers.get(project, ())) >= self._limits.tail_watchers_per_project_max

    def _tell(self, project: str, event: dict[str, Any]) -> None:
        for queue in self._watchers[project]:
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                self._missed[id(queue)] = self._missed.get(id(queue), 0) + 1


def _shown(value: Any) -> Any:
    """A value as it is shown: whole when it is short, else the beginning of its text."""
    if isinstance(value, list | dict):
        text = msgspec.json.encode(value)
        return value if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS].decode("utf-8", "replace")
    return value[:_SHOWN_CHARACTERS] if isinstance(value, str) else value
