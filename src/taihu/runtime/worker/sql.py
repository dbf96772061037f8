"""Questions in SQL: who may ask of which things in the ingest process, the asking itself in the worker."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from taihu.history.calculated import Rows
from taihu.history.history import History
from taihu.history.sql.metadata import Known
from taihu.history.sql.outputs import Format
from taihu.history.sql.pool import SqlPool
from taihu.history.sql.sources import Bounds
from taihu.identity.directory import Directory
from taihu.kernel.clock import Clock
from taihu.kernel.limits import Limits
from taihu.runtime.link import Handler
from taihu.runtime.questions import Definitions
from taihu.runtime.worker.busy import WorkerBusy
from taihu.things.property import Property, Thing

_PATIENCE = 0.9  # of sql_timeout_s: whoever asks hears that it took too long before he gives up


class SqlQuestions:
    """The worker's side: as many questions at once as `sql_running_max`, each in a process of its own."""

    def __init__(
        self, history: History, directory: Directory, definitions: Definitions, clock: Clock, limits: Limits
    ) -> None:
        self._directory = directory
        self._definitions = definitions
        self._history = history
        self._pool = SqlPool(history.store, Known(self._things, definitions.of, self._work_out), clock, limits)
        self._clock = clock
        self._limits = limits
        self._threads = ThreadPoolExecutor(limits.sql_running_max, "sql")
        self._asked = 0

    def handlers(self) -> dict[str, Handler]:
        """What the link may ask."""
        return {"sql": self._ask, "sql_views": self._views}

    def close(self) -> None:
        """End what runs."""
        self._pool.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _things(self, project: str) -> list[Thing]:
        self._definitions.refresh()  # whoever made a thing a moment ago asks of it
        return self._directory.things(project, "", self._limits.things_per_project_max)

    def _work_out(
        self, project: str, thing: str, definition: Property, start: int, end: int, limit: int
    ) -> tuple[Rows, Sequence[tuple[int, int]]]:
        rows = self._history.calculated.rows(project, thing, definition, start, end, limit, whole=False)
        return rows, self._history.lost(project, thing, definition.name)

    async def _ask(self, body: Mapping[str, Any]) -> bytes:
        if self._asked >= self._limits.sql_running_max + self._limits.sql_waiting_max:
            raise WorkerBusy(f"{self._asked} questions in SQL wait for an answer.", "Try again in a moment.")
        until = self._clock.monotonic() + self._limits.sql_timeout_s * _PATIENCE
        things = None if body["things"] is None else frozenset(body["things"])
        bounds = Bounds(body["start"], body["end"], things)
        self._asked += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, body, bounds, until)
        finally:
            self._asked -= 1

    def _answer(self, body: Mapping[str, Any], bounds: Bounds, until: float) -> bytes:
        """The body of the answer, whole: the ingest process has no time for a million rows."""
        form = body["format"]
        plain: Format = "json" if form == "arrow" else form
        with self._history.within(until - self._clock.monotonic(), "sql_timeout_s"):
            answer = self._pool.ask(body["project"], body["sql"], plain, bounds, until)
        if form == "arrow":
            from taihu.runtime.worker.sqlarrow import (
                arrow_stream,  # only a worker that is asked for Arrow holds its library
            )

            return arrow_stream(answer.columns, answer.data)
        if form != "json":
            return answer.data
        columns = msgspec.json.encode([{"name": name, "type": kind} for name, kind in answer.columns])
        rows = answer.data.rstrip(b"\n").replace(b"\n", b",")  # each line is a JSON array, in which no line can end
        return b'{"columns":%b,"rows":[%b]}' % (columns, rows)

    async def _views(self, body: Mapping[str, Any]) -> Any:
        loop = asyncio.get_running_loop()
        views = await loop.run_in_executor(self._threads, self._pool.views, body["project"])
        return {"views": [{"name": one.name, "columns": msgspec.to_builtins(one.columns)} for one in views]}
