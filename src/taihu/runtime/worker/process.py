"""The worker process: reads the journal into the history and answers questions about it.

It may crash at any moment: its checkpoint moves with the history's own files, and the journal keeps what comes after.
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import msgspec

from taihu.history.history import History
from taihu.identity.directory import Directory
from taihu.journal.reader import JournalReader
from taihu.kernel.clock import Clock
from taihu.kernel.errors import TaihuError
from taihu.kernel.files import OsFiles
from taihu.kernel.limits import Limits, renew
from taihu.kernel.sections import AccountConfig, ForecastConfig, LogConfig, Site
from taihu.runtime import questions
from taihu.runtime.deletion.scrub import Scrubber
from taihu.runtime.forecast.answers import ForecastAnswers
from taihu.runtime.forecast.service import ForecastDesk
from taihu.runtime.link import Link, socket_path
from taihu.runtime.logs import set_logging, start_logging
from taihu.runtime.paths import Paths
from taihu.runtime.pilot.answers import PlanDesk, Planned
from taihu.runtime.process import clock_of, run_until_signal
from taihu.runtime.retention import SiteRules
from taihu.runtime.serving.calculations import Calculations
from taihu.runtime.serving.searcher import Searcher
from taihu.runtime.worker import pages, promql
from taihu.runtime.worker.aside import Aside
from taihu.runtime.worker.busy import WorkerBusy
from taihu.runtime.worker.carbon.service import CarbonDesk
from taihu.runtime.worker.commandlog import CommandLog
from taihu.runtime.worker.sql import SqlQuestions
from taihu.runtime.worker.storage import Storage
from taihu.things.batch import KIND_BATCH, KIND_CONTROL, KIND_DELETION, decode_batch
from taihu.things.deletion import decode_deletion
from taihu.things.ports import Record
from taihu.things.property import Property
from taihu.things.terms import Plan

log = logging.getLogger("taihu.worker")

_READ_BYTES = 4_194_304
_QUERY_THREADS = 2
_QUESTIONS_MAX = 64
_UPKEEP_S = 1.0
_ERASE_S = 5.0  # in a flood that never pauses, a step of erasure comes so often
_PATIENCE = 0.9  # of query_timeout_s: whoever asks hears that it took too long before he gives up
_CONNECT_RETRY_S = 0.05


_encode = msgspec.json.Encoder(enc_hook=str).encode


class Worker:
    """One worker, from start to stop."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self._site = site
        self._clock = clock
        self._paths = Paths(site.data)
        self._files = OsFiles()
        self._reader = JournalReader(self._files, self._paths.journal)
        directory = Directory(self._paths.metadata, clock, site.limits, read_only=True)
        self._definitions = questions.Definitions(directory)
        self._rules = SiteRules(site, lambda: self._definitions.version)
        self._history = History(
            self._paths.history, self._files, clock, site.limits, self._definitions.of, self._definitions.swaps,
            self._plan, self._rules,
        )  # fmt: skip
        self._calculations = Calculations(directory, self._definitions.of, site.limits)
        self._aside = Aside(self._files, self._paths.aside, site.limits)
        self._scrubber = Scrubber(self._files, self._paths.journal, self._history)
        self._storage = Storage(self._history, self._files, self._paths, clock)
        self._carbon = CarbonDesk(site, self._history, directory, self._definitions, clock)
        self._forecasts = ForecastDesk(site, self._history, directory, self._definitions, clock)
        self._plans = PlanDesk(site, clock)
        self._commands = CommandLog(self._paths.command_log, site.limits, clock)
        self._sql = SqlQuestions(self._history, directory, self._definitions, clock, site.limits)
        self._searcher = Searcher(self._paths.metadata, site.limits)
        self._threads = ThreadPoolExecutor(_QUERY_THREADS, "query")
        self._store = ThreadPoolExecutor(1, "store")
        self._durable = 0
        self._wake = asyncio.Event()
        self._link: Link | None = None
        self._stalled = False
        self._asked = 0
        self._refresh_at = 0.0
        self._kept_up_at = clock.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, or until the ingest process goes away."""
        streams = await _connect(str(socket_path(self._site.data)), stop)
        if streams is None:
            return
        reader, writer = streams
        handlers = {
            "durable": self._on_durable,
            "carbon": self._carbon.answer,
            "forecast": ForecastAnswers(self._forecasts, self._site.limits).answer,
            "plans": self._plans.answer,
            "commands": self._commands.answer,
            "settings": self._on_settings,
            "storage": self._answers(lambda history, body: self._storage.answer(body)),
            "page": self._answers(pages.answer),
            "search": self._searcher.answer,
            "promql": self._answers(promql.answer),
            "snapshot": self._on_snapshot,
            "erasure": self._on_erasure,
            "newest": self._on_newest,
            "knows": self._on_knows,
            **{name: self._answers(question) for name, question in questions.QUESTIONS.items()},
            **self._sql.handlers(),
        }
        self._link = Link(reader, writer, handlers)
        self._link.note("checkpoint", self._progress())
        serving = asyncio.create_task(self._link.run())
        consuming = asyncio.create_task(self._consume())
        accounting = asyncio.create_task(self._carbon.run())
        forecasting = asyncio.create_task(self._forecasts.run())
        stopping = asyncio.create_task(stop.wait())
        tasks = (consuming, accounting, forecasting, stopping)
        await asyncio.wait({serving, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        self._sql.close()
        self._searcher.close()
        await self._carbon.stop()
        await self._forecasts.stop()
        try:
            await asyncio.get_running_loop().run_in_executor(self._store, self._history.close)
        except OSError as error:
            log.error("the history could not be written at the end (%s); the journal keeps what it lacks", error)
        self._carbon.close()
        self._forecasts.close()
        self._plans.close()
        self._commands.close()
        self._link.note("checkpoint", self._progress())
        self._link.note("leaving", None)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _on_durable(self, body: Any) -> None:
        self._durable = max(self._durable, body)
        self._wake.set()

    async def _on_settings(self, body: Any) -> None:
        renew(self._site.limits, msgspec.convert(body["limits"], Limits))
        set_logging("worker", msgspec.convert(body["log"], LogConfig))
        self._forecasts.configure(msgspec.convert(body["forecasts"], dict[str, list[ForecastConfig]]))
        self._carbon.configure(msgspec.convert(body["accounts"], dict[str, list[AccountConfig]]))
        self._plans.configure(msgspec.convert(body["plans"], list[Planned]))
        self._rules.use(body["retention"])

    async def _on_snapshot(self, body: int) -> None:
        self._scrubber.snapshot = body
        self._wake.set()

    async def _on_erasure(self, body: Any) -> dict[str, int | None]:
        """How far deletions have come."""
        return {number: self._history.erasure(number) for number in body["ids"]}

    async def _on_knows(self, body: Any) -> bool:
        """Whether there was ever a reading of a thing, and of a property of its kind."""
        return self._history.knows(body["project"], body["thing"], body["property"])

    async def _on_newest(self, body: Any) -> list[Any]:
        """The newest reading of each of a thing's properties."""

        def newest() -> list[Any]:
            now = self._clock.now_ns()
            found = [self._history.asof(body["project"], body["thing"], name, now) for name in body["properties"]]
            return [msgspec.to_builtins(reading) for reading in found if reading is not None]

        return await asyncio.get_running_loop().run_in_executor(self._threads, newest)

    def _plan(self, project: str, thing: str, definition: Property) -> Plan:
        """What a calculated property is worked out of, by the newest definitions and grants."""
        if self._definitions.refresh():
            self._calculations.forget()
        return self._calculations.plan(project, thing, definition)

    def _answers(self, question: questions.Question) -> Any:
        def as_json(body: Any, until: float) -> dict[str, bytes]:
            with self._history.within(until - self._clock.monotonic()):
                return {name: _encode(value) for name, value in question(self._history, body).items()}

        async def answer(body: Any) -> dict[str, bytes]:
            if self._asked >= _QUESTIONS_MAX:
                raise WorkerBusy(f"{self._asked} questions wait for an answer.", "Try again in a moment.")
            self._definitions.learn(body)
            self._asked += 1
            until = self._clock.monotonic() + self._site.limits.query_timeout_s * _PATIENCE
            try:
                return await asyncio.get_running_loop().run_in_executor(self._threads, as_json, body, until)
            finally:
                self._asked -= 1

        return answer

    async def _consume(self) -> None:
        """Follow the journal; between reads, let the history look after its files."""
        loop = asyncio.get_running_loop()
        position = self._history.checkpoint + 1
        while True:
            if position > self._durable and not self._history.erasing():
                self._wake.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_UPKEEP_S):
                        await self._wake.wait()
            position = await loop.run_in_executor(self._store, self._take, position)
            if self._stalled:
                await asyncio.sleep(_UPKEEP_S)
            if self._link is not None:
                self._link.note("checkpoint", self._progress())
                if (sizes := self._storage.news()) is not None:
                    self._link.note("storage", sizes)
                await self._scrub(self._link)

    async def _scrub(self, link: Link) -> None:
        """Take what was deleted out of one segment of the journal."""
        due = self._scrubber.due()
        if not due:
            return
        try:
            draft = await asyncio.get_running_loop().run_in_executor(self._store, self._scrubber.prepare, due)
            if draft is not None:
                first, size = draft
                if await link.call("replace", {"first": first, "size": size}, self._site.limits.query_timeout_s):
                    self._scrubber.replaced(first, due)
        except (OSError, TaihuError) as error:
            log.error("the journal cannot be rid of what was deleted (%s); it is tried again", error)
            await asyncio.sleep(_UPKEEP_S)

    def _progress(self) -> dict[str, int]:
        return {"position": self._history.checkpoint, "applied": self._history.applied}

    def _take(self, position: int) -> int:
        """Apply one read of the journal and do a step of upkeep; returns the next position, the same on a full disk."""
        try:
            position = self._advance(position)
        except OSError as error:
            if not self._stalled:
                log.error("the history cannot be written (%s); readings wait in the journal: free space", error)
            self._stalled = True
            return self._history.applied + 1
        if self._stalled:
            log.warning("the history can be written again")
        self._stalled = False
        return position

    def _advance(self, position: int) -> int:
        until = self._durable
        records = self._reader.read(position, until, _READ_BYTES)
        for record in records:
            self._take_over(record)
            position = record.position + 1
        if not records:
            position = max(position, until + 1)  # what is durable and not read is damaged, and reported as such
        self._commands.commit()  # before the checkpoint passes it
        self._history.pass_by(position - 1)
        if self._history.due():
            self._history.flush()
        if position > until or self._upkeep_waits():
            self._see_definitions()
            self._storage.step()
            self._commands.expire()
            self._history.maintain()
            self._kept_up_at = self._clock.monotonic()
        return position

    def _take_over(self, record: Record) -> None:
        """One record into the history, or aside."""
        if self._aside.gives_up(record):
            self._aside.put(record, "the worker died of it time and again")
            return
        try:
            if record.kind == KIND_BATCH:
                batch = decode_batch(record.payload)
                self._carbon.see(batch)
                self._storage.took(record.position, batch.project, len(record.payload))
                self._history.apply(record.position, batch)
            elif record.kind == KIND_CONTROL:
                self._commands.take(record.payload)
            elif record.kind == KIND_DELETION:
                deletion = decode_deletion(record.payload)
                self._aside.forget(record.position)
                self._carbon.deleted(deletion)
                self._plans.deleted(deletion)
                self._commands.deleted(deletion)
                self._history.delete(record.position, deletion)
                self._forecasts.deleted(deletion)
        except msgspec.DecodeError as error:
            self._aside.put(record, str(error))
        except OSError:  # a full disk is no fault of the record
            raise
        except Exception:
            self._aside.failed(record)
            raise

    def _upkeep_waits(self) -> bool:
        """Whether what was deleted or has expired must go now, although there is always more to read."""
        return self._clock.monotonic() - self._kept_up_at > _ERASE_S and self._history.waits()

    def _see_definitions(self) -> None:
        """Once a second, not once a turn: when things register by the thousand, each look reads them all."""
        now = self._clock.monotonic()
        if now >= self._refresh_at:
            self._definitions.refresh()
            self._refresh_at = now + _UPKEEP_S


async def _connect(path: str, stop: asyncio.Event) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    while not stop.is_set():
        try:
            return await asyncio.open_unix_connection(path)
        except (FileNotFoundError, ConnectionRefusedError):
            await asyncio.sleep(_CONNECT_RETRY_S)
    return None


def main(site: Site) -> None:
    """Run the worker until a signal."""
    start_logging("worker", site.log)
    clock = clock_of(site)
    run_until_signal(lambda stop: Worker(site, clock).run(stop), lambda: None)  # it is told by ingest
