"""The forecaster's process: jobs in, results out, bounded in time; plug-ins by their entry point."""

import asyncio
import importlib.metadata
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.insight.forecast.support import household, series

from taihu.insight.forecast.candidate import LEVELS, Asked, Candidate, same
from taihu.insight.forecast.table import Table
from taihu.insight.forecast.trained import Trained, candidates, forecast, train
from taihu.kernel.arrays import Numbers
from taihu.kernel.limits import Limits
from taihu.runtime.forecast import process as forecaster
from taihu.runtime.forecast.process import Forecaster, ForecasterBusy, do, forecast_of, job_of, plug_ins


class Stranger:
    """A forecaster that another package offers, too good to be true: it looks what came."""

    name = "stranger"
    days_min = 0.0

    def learn(self, table: Table, until: int, horizon: int) -> Any:
        return None

    def predict(self, learned: Any, table: Table, asked: Asked) -> Numbers:
        return same(table.at(asked.at[1]))


class Torn(Stranger):
    """One that cannot even be made."""

    def __init__(self) -> None:
        raise ImportError("no weights here")


def test_a_job_done_in_the_process_is_the_forecast_made_here() -> None:
    one, pool = series(household(20)), candidates(quick=True)
    trained = train(one, 24, pool)
    empty = series(np.full(5, np.nan))

    async def ask() -> Sequence[Any]:
        process = Forecaster(Limits())
        try:
            first = await process.run([job_of(one, 24, msgspec.msgpack.encode(trained)), job_of(empty, 24)], 60)
            return [*first, *await process.run([job_of(one, 24)], 60)]
        finally:
            await process.stop()

    made, refused, quick = asyncio.run(ask())
    here = forecast(trained, one, pool)
    assert np.array_equal(forecast_of(made, 3_600, len(LEVELS)).quantiles, here.quantiles)
    assert refused.refusal and refused.remedy
    assert msgspec.msgpack.decode(quick.model, type=Trained).quick


def test_a_job_that_takes_too_long_costs_the_process_and_the_next_gets_another() -> None:
    one = series(household(100))

    async def ask() -> int:
        process = Forecaster(Limits())
        try:
            with pytest.raises(ForecasterBusy):
                await process.run([job_of(one, 168, full=True)] * 50, 0.5)
            return len(await process.run([job_of(series(household(2)), 24)], 60))
        finally:
            await process.stop()

    assert asyncio.run(ask()) == 1


def test_plug_ins_come_by_their_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        importlib.metadata.EntryPoint(name, f"{__name__}:{kind}", forecaster.ENTRY_POINTS)
        for name, kind in (("stranger", "Stranger"), ("torn", "Torn"))
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points)
    monkeypatch.setattr(
        importlib.metadata.EntryPoint, "load", lambda point: {"stranger": Stranger, "torn": Torn}[point.name]
    )
    found: list[Candidate] = plug_ins()
    assert [one.name for one in found] == ["stranger"]
    values = household(15)
    result = do(job_of(series(values), 24, full=True), found)
    trained = msgspec.msgpack.decode(result.model, type=Trained)
    assert trained.champion == "stranger" and trained.errors["stranger"].mae == 0.0
    again = job_of(series(values), 24, result.model)
    assert len(do(again, found).quantiles) == 8 * 24 * len(LEVELS)
    assert "not installed" in do(again, []).refusal
