"""Training and forecasting in a process of their own, niced, with bounded memory and time: ingestion never waits.

The parent sends jobs and gets results in the same order; a job that takes too long costs the process, not the node.
"""

import asyncio
import importlib.metadata
import logging
import os
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import BinaryIO

import msgspec
import numpy as np

from taihu.insight.forecast.candidate import Candidate
from taihu.insight.forecast.series import Regressor, Series
from taihu.insight.forecast.trained import Forecast, ForecastRefused, Trained, candidates, forecast, readers, train
from taihu.kernel.errors import TransientError
from taihu.kernel.limits import Limits

log = logging.getLogger("taihu.forecast")

ENTRY_POINTS = "taihu.forecasters"
_IDLE_S = 60.0
_FRAME_BYTES_MAX = 1 << 30
_NICE = 10


class ForecasterBusy(TransientError):
    """The forecaster did not answer in time, or went away: it is started again; try again in a moment."""

    code = "forecaster-busy"


class Job(msgspec.Struct, array_like=True):
    """A series to forecast `horizon` steps of. Without a `model` one is trained first; `full`: by all candidates."""

    start_ns: int
    step_s: int
    zone: str
    values: bytes
    regressors: list[tuple[bytes, int]]
    horizon: int
    model: bytes = b""
    full: bool = False
    now_ns: int = 0


class Result(msgspec.Struct, array_like=True):
    """The model, when one was trained, and the forecast; or why there is none, with the remedy."""

    model: bytes = b""
    name: str = ""
    start_ns: int = 0
    quantiles: bytes = b""
    refusal: str = ""
    remedy: str = ""


def job_of(series: Series, horizon: int, model: bytes = b"", *, full: bool = False, now_ns: int = 0) -> Job:
    """A job as it is sent."""
    regressors = [(one.values.tobytes(), one.ahead) for one in series.regressors]
    return Job(
        series.start_ns, series.step_s, series.zone, series.values.tobytes(), regressors, horizon, model, full, now_ns
    )


class Forecaster:
    """The process as its parent sees it: started by the first job, ended when there are none for a while."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None

    async def run(self, jobs: Sequence[Job], within_s: float) -> list[Result]:
        """The results of jobs, in their order. Raises ForecasterBusy when they take longer than `within_s`."""
        try:
            async with asyncio.timeout(within_s), self._turn:
                return await self._ask(jobs)
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            await self.stop()
            raise ForecasterBusy("The forecast was not made in time.", "Try again in a moment.") from None

    def close(self) -> None:
        """Kill the process if there is one."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def stop(self) -> None:
        """Kill the process if there is one, and wait until it is gone."""
        if self._idle is not None:
            self._idle.cancel()
        self.close()
        process, self._process = self._process, None
        if process is not None:
            await process.wait()

    async def _ask(self, jobs: Sequence[Job]) -> list[Result]:
        if self._idle is not None:
            self._idle.cancel()
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "taihu.runtime.forecast.process", str(self._limits.forecast_memory_bytes_max)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_FRAME_BYTES_MAX,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        data = msgspec.msgpack.encode(jobs)
        self._process.stdin.write(len(data).to_bytes(4, "little") + data)
        await self._process.stdin.drain()
        size = int.from_bytes(await self._process.stdout.readexactly(4), "little")
        answer = msgspec.msgpack.decode(await self._process.stdout.readexactly(size), type=list[Result])
        self._idle = asyncio.get_running_loop().call_later(_IDLE_S, self.close)
        return answer


# What follows runs in the process itself.


def plug_ins() -> list[Candidate]:
    """The forecasters that other packages offer; one that cannot be loaded is told and left out."""
    found: list[Candidate] = []
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            found.append(entry.load()())
        except Exception:
            log.exception("the forecaster %s cannot be loaded", entry.name)
    return found


def do(job: Job, extra: Sequence[Candidate]) -> Result:
    """One job's result."""
    regressors = tuple(Regressor(np.frombuffer(values), ahead) for values, ahead in job.regressors)
    series = Series(job.start_ns, job.step_s, np.frombuffer(job.values), job.zone, regressors)
    try:
        if job.model:
            trained = msgspec.msgpack.decode(job.model, type=Trained)
            made, kept = forecast(trained, series, readers(extra), job.horizon), b""
        else:
            pool = candidates(extra if job.full else (), quick=not job.full)
            trained = train(series, job.horizon, pool, job.now_ns, quick=not job.full)
            made, kept = forecast(trained, series, pool), msgspec.msgpack.encode(trained)
    except ForecastRefused as refused:
        return Result(refusal=refused.message, remedy=refused.remedy)
    except Exception:
        log.exception("a series of %d steps cannot be forecast", len(series.values))
        return Result(refusal="The forecaster met a defect.", remedy="See the node's log.")
    return Result(kept, made.model, made.start_ns, made.quantiles.tobytes())


def serve(source: BinaryIO, target: BinaryIO) -> None:
    """Do jobs until there are no more."""
    extra = plug_ins()
    while size := source.read(4):
        jobs = msgspec.msgpack.decode(source.read(int.from_bytes(size, "little")), type=list[Job])
        data = msgspec.msgpack.encode([do(job, extra) for job in jobs])
        target.write(len(data).to_bytes(4, "little") + data)
        target.flush()


def main(memory_bytes_max: int) -> None:
    """Serve what comes on stdin."""
    os.nice(_NICE)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes_max, memory_bytes_max))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        serve(sys.stdin.buffer, sys.stdout.buffer)
    except MemoryError:
        os._exit(1)  # the parent says so


def forecast_of(result: Result, step_s: int, levels: int) -> Forecast:
    """The forecast that a result holds; ForecastRefused when it holds none."""
    if result.refusal:
        raise ForecastRefused(result.refusal, result.remedy)
    quantiles = np.frombuffer(result.quantiles).reshape(levels, -1)
    return Forecast(result.start_ns, step_s, result.name, quantiles)


if __name__ == "__main__":
    main(int(sys.argv[1]))
