"""The worker's forecasts: which series are kept forecast, trained in the background, issued at the end of each step.

What is heavy happens in two processes of their own (`forecaster`): one trains, the other answers. Here the history is
read, on a thread, and what comes back is stored under its issue time.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from taihu.history.history import History
from taihu.identity.directory import Directory
from taihu.insight.forecast.candidate import LEVELS
from taihu.insight.forecast.series import Series
from taihu.insight.forecast.store import ForecastStore, Key, summary_of
from taihu.insight.forecast.trained import Forecast, Summary
from taihu.kernel.clock import DAY_NS, HOUR_NS, NS_PER_S, Clock
from taihu.kernel.errors import TaihuError
from taihu.kernel.sections import ForecastConfig, Site
from taihu.runtime.forecast.kept import Kept, kept_of
from taihu.runtime.forecast.process import Forecaster, ForecasterBusy, Job, Result, forecast_of, job_of
from taihu.runtime.forecast.reading import ForecastReading
from taihu.runtime.forecast.steps import last_end
from taihu.runtime.paths import Paths
from taihu.runtime.questions import Definitions
from taihu.things.deletion import Deletion

log = logging.getLogger("taihu.forecast")

_REST_S = 1.0
_LOOK_EVERY_S = 60.0  # so often the things are looked through for what is to be kept
_SETTLE_S = 30.0  # after the end of a step its readings are waited for ...
_DELAY_S = 1.0  # ... and this long on the machine's clock, in which they are on their way
_BATCH = 100
_REFRESH_S = 300.0
_TRAIN_EVERY_NS = 7 * DAY_NS
_GROWN = 1.5  # times as many values known: what was learned of little is learned again
_GROWN_UNTIL_DAYS = 60
_RETRY_NS = HOUR_NS
_PAUSE_NS = 2 * NS_PER_S  # before a series without a reading is looked at again; twice as long each time

Settings = Mapping[str, Sequence[ForecastConfig]]


class ForecastDesk:
    """One site's forecasts. Without any kept, nothing is done until somebody asks."""

    def __init__(
        self, site: Site, history: History, directory: Directory, definitions: Definitions, clock: Clock
    ) -> None:
        self._limits = site.limits
        self._directory = directory
        self._definitions = definitions
        self._clock = clock
        self._settings: Settings = {one.name: one.forecasts for one in site.projects}
        self._store = ForecastStore(Paths(site.data).forecasts)
        self._thread = ThreadPoolExecutor(1, "forecast")
        self._answerer, self._trainer = Forecaster(site.limits), Forecaster(site.limits)
        self._summaries = self._store.summaries()
        self.reading = ForecastReading(history, directory, site.limits)
        self._kept: list[Kept] = []
        self.left_out = Counter[str]()
        """By project how many series are not kept forecast, for there are too many (§6)."""
        self._looked_at = -_LOOK_EVERY_S
        self._issued: dict[Key, int] = {}
        self._resting: dict[Key, int] = {}
        self._pauses: dict[Key, int] = {}
        self._deletions = 0
        self._complaint = ""

    @property
    def store(self) -> ForecastStore:
        """What was trained and issued."""
        return self._store

    @property
    def summaries(self) -> Mapping[Key, Summary]:
        """What was trained, of all series."""
        return self._summaries

    def configure(self, settings: Settings) -> None:
        """Take over changed settings."""
        self._settings = settings
        self._looked_at = -_LOOK_EVERY_S

    def deleted(self, deletion: Deletion) -> None:
        """What was derived from readings that are deleted goes with them (§10), and all that is of calculated ones."""
        self._deletions += 1
        self._store.forget(deletion.project, deletion.thing, deletion.property)
        self.reading.forget()
        for key in list(self._summaries):
            ours = key.project == deletion.project and deletion.names(key.thing, key.property)
            if ours or self._is_calculated(key):
                self._store.forget(key.project, key.thing, key.property)
                self._summaries.pop(key, None)
                self._issued.pop(key, None)

    def _is_calculated(self, key: Key) -> bool:
        definition = self._definitions.of(key.project, key.thing).get(key.property)
        return definition is not None and bool(definition.formula)

    async def run(self) -> None:
        """Issue and train what is due, until cancelled. What cannot be read or written now is tried again."""
        while True:
            issued = await self._try(self._issue)
            trained = await self._try(self._train)
            await asyncio.sleep(0 if issued or trained else _REST_S)

    def kept(self, project: str) -> list[Kept]:
        """The series of a project that are kept forecast."""
        return [one for one in self._kept if one.key.project == project]

    async def made(self, kept: Kept) -> Forecast:
        """The forecast of now, as it was issued; else by what was trained, or what is learned at once.

        Raises ForecastRefused, and ForecasterBusy when it takes longer than `query_timeout_s`.
        """
        end, fits = self._end(kept), self._fits(kept)
        if fits and self._issued.get(kept.key) == end:
            issued: Forecast | None = await self._call(self._store.newest, kept.key, end)
            if issued is not None and issued.start_ns == end and issued.quantiles.shape[1] >= kept.horizon:
                return issued
        [job] = await self._call(self._jobs, [kept], end, fits)
        [result] = await self._answerer.run([job], self._limits.query_timeout_s)
        return forecast_of(result, kept.key.step_s, len(LEVELS))

    async def stop(self) -> None:
        """End the processes and the step in hand: after it, nothing is asked of the history any more."""
        await self._answerer.stop()
        await self._trainer.stop()
        await asyncio.to_thread(self._thread.shutdown)

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    async def _try(self, work: Callable[[], Awaitable[bool]]) -> bool:
        try:
            done = await work()
        except Exception as error:  # a defect here is no reason for the history to stop
            said, defect = str(error) or repr(error), not isinstance(error, TaihuError | OSError)
            if said != self._complaint:  # once, not once a second
                log.error("forecasts do not go on: %s", said, exc_info=defect)
            self._complaint = said
            return False
        if done and self._complaint:
            log.warning("forecasts go on")
            self._complaint = ""
        return done

    async def _issue(self) -> bool:
        """Issue the forecasts of one batch of series whose step is over; False when all are issued."""
        await self._call(self._look)
        due = [
            one for one in self._kept if one.key in self._summaries and self._issued.get(one.key, 0) < self._end(one)
        ]
        if not due:
            return False
        due.sort(key=lambda one: self._issued.get(one.key, 0))  # none starves where time is short
        batch = [one for one in due if one.every == due[0].every][:_BATCH]
        end, deletions = self._end(batch[0]), self._deletions
        jobs = await self._call(self._jobs, batch, end, True)
        results = await self._answerer.run(jobs, _REFRESH_S)
        await self._call(self._keep, batch, end, results, deletions)
        return True

    async def _train(self) -> bool:
        """Train the series that needs it most: quickly what has no model yet, many at a time, else one thoroughly."""
        now = self._clock.now_ns()
        wanting = [one for one in self._kept if self._resting.get(one.key, 0) <= now]
        fresh = [one for one in wanting if not self._fits(one)]
        if fresh:
            batch = [one for one in fresh if _alike(one, fresh[0])][: _BATCH // 2]
        else:
            batch = [one for one in wanting if self._is_stale(one, now)][:1]
        if not batch:
            return False
        end, deletions = self._end(batch[0]), self._deletions
        jobs = await self._call(self._jobs, batch, end, False, not fresh)
        try:
            results = await self._trainer.run(jobs, self._limits.forecast_training_s)
        except ForecasterBusy:
            log.error("training of %s takes more than %g s", batch[0].key, self._limits.forecast_training_s)
            self._resting |= {one.key: now + _RETRY_NS for one in batch}
            return True
        await self._call(self._keep, batch, end, results, deletions)
        for one, result in zip(batch, results, strict=True):
            if not result.refusal:
                self._pauses.pop(one.key, None)
                continue
            pause = min(self._pauses.get(one.key, _PAUSE_NS), one.key.step_s * NS_PER_S)
            self._pauses[one.key], self._resting[one.key] = 2 * pause, now + pause
        return True

    def _fits(self, kept: Kept) -> bool:
        """Whether what was trained serves what is wanted."""
        summary = self._summaries.get(kept.key)
        return summary is not None and summary.horizon >= kept.horizon and summary.regressors == len(kept.regressors)

    def _is_stale(self, kept: Kept, now: int) -> bool:
        summary = self._summaries[kept.key]
        if summary.quick or now - summary.trained_at >= _TRAIN_EVERY_NS:
            return True
        day = 86_400 // kept.key.step_s
        grown = self.reading.known(kept.key) >= _GROWN * summary.known
        return grown and summary.known < _GROWN_UNTIL_DAYS * day

    def _look(self) -> None:
        """See which series there are, now and then, and let old forecasts go."""
        if self._clock.monotonic() - self._looked_at < _LOOK_EVERY_S:
            return
        self._looked_at = self._clock.monotonic()
        most = self._limits.forecast_series_max
        self._kept, left_out = kept_of(self._settings, self._directory, most)
        if left_out and left_out != self.left_out:
            log.warning("%d series are not kept forecast: forecast_series_max is %d", left_out.total(), most)
        self.left_out = left_out
        self._store.drop_before(self._clock.now_ns() - self._limits.forecast_retention_s * NS_PER_S)

    def _end(self, kept: Kept) -> int:
        settle_s = min(max(_SETTLE_S, _DELAY_S * self._clock.speed), kept.key.step_s / 2)
        return last_end(self._clock.now_ns() - int(settle_s * NS_PER_S), kept.every)

    def _jobs(self, batch: Sequence[Kept], end: int, trained: bool, full: bool = False) -> list[Job]:
        """What is to be done for series of the same steps; those that are alike are read with one query."""
        found: dict[Key, Series] = {}
        for one in batch:
            if one.key not in found:
                alike = [other for other in batch if _alike(other, one)]
                read = self.reading.series(alike, end, anew=not trained)
                found |= {other.key: series for other, series in zip(alike, read, strict=True)}
        now = self._clock.now_ns()
        return [
            job_of(found[one.key], one.horizon, self._store.model(one.key) if trained else b"", full=full, now_ns=now)
            for one in batch
        ]

    def _keep(self, batch: Sequence[Kept], end: int, results: Sequence[Result], deletions: int) -> None:
        """Store what came back, unless something was deleted meanwhile: it is made anew without it."""
        if deletions != self._deletions:
            return
        issued = []
        for one, result in zip(batch, results, strict=True):
            if result.model:
                self._store.keep_model(one.key, result.model)
                self._summaries[one.key] = summary_of(result.model)
            if not result.refusal:
                issued.append((one.key, forecast_of(result, one.key.step_s, len(LEVELS))))
            self._issued[one.key] = end
        self._store.keep(issued)

    async def _call(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


def _alike(one: Kept, other: Kept) -> bool:
    """Whether two series are read with one query: the same property of the same project, in the same steps."""
    return msgspec.structs.replace(one, key=msgspec.structs.replace(one.key, thing=other.key.thing)) == other
