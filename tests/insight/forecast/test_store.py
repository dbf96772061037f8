"""What is stored of forecasts, and how they are judged by what came after them."""

import sqlite3
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.insight.forecast.support import START, household, series

from taihu.insight.forecast.candidate import LEVELS
from taihu.insight.forecast.judge import judge
from taihu.insight.forecast.store import VERSION, ForecastStore, Key
from taihu.insight.forecast.trained import Forecast, candidates, forecast, train
from taihu.kernel.errors import DamagedError, RefusedError

HOUR_NS = 3_600 * 10**9
KEY = Key("plant", "meter", "power", 3_600)


def issued(at: int, median: list[float], width: float = 1.0) -> Forecast:
    offsets = np.linspace(-width, width, len(LEVELS))[:, None]
    return Forecast(START + at * HOUR_NS, 3_600, "week-mean", np.array(median) + offsets)


def test_models_and_forecasts_survive_a_restart(tmp_path: Path) -> None:
    pool = candidates(quick=True)
    one = series(household(20))
    trained = train(one, 24, pool, now_ns=7)
    store = ForecastStore(tmp_path / "forecasts.sqlite")
    store.keep_model(KEY, msgspec.msgpack.encode(trained))
    made = forecast(trained, one, pool)
    store.keep([(KEY, made), (KEY, made)])
    store.close()
    store = ForecastStore(tmp_path / "forecasts.sqlite")
    summary = store.summaries()[KEY]
    assert (summary.champion, summary.trained_at, summary.horizon) == (trained.champion, 7, 24)
    assert summary.errors == trained.errors
    assert store.model(KEY) == msgspec.msgpack.encode(trained)
    [again] = store.issued(KEY, made.start_ns, made.start_ns + 1)
    assert again.model == made.model and np.array_equal(again.quantiles, made.quantiles)
    assert store.newest(KEY, made.start_ns - 1) is None
    assert store.newest(KEY, made.start_ns + 99) is not None
    store.close()


def test_old_forecasts_go_and_deleted_ones_at_once(tmp_path: Path) -> None:
    store = ForecastStore(tmp_path / "forecasts.sqlite")
    other = Key("plant", "pump", "power", 3_600)
    for key in (KEY, other):
        store.keep_model(key, msgspec.msgpack.encode(train(series(household(3)), 24, candidates(quick=True))))
        store.keep([(key, issued(at, [1.0])) for at in range(5)])
    store.drop_before(START + 2 * HOUR_NS)
    assert len(store.issued(KEY, 0, 1 << 62)) == 3
    store.forget("plant", "meter", "energy")
    assert len(store.issued(KEY, 0, 1 << 62)) == 3
    store.forget("plant", "meter")
    assert store.issued(KEY, 0, 1 << 62) == [] and store.model(KEY) == b""
    assert len(store.issued(other, 0, 1 << 62)) == 3
    store.forget("plant")
    assert store.summaries() == {}
    store.close()


def test_a_file_of_a_later_release_or_a_damaged_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "forecasts.sqlite"
    ForecastStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(RefusedError, match="Upgrade"):
        ForecastStore(path)
    broken = tmp_path / "broken.sqlite"
    broken.write_bytes(b"no database at all" * 100)
    with pytest.raises(DamagedError, match="Remove the file"):
        ForecastStore(broken)


def test_forecasts_are_judged_by_what_came() -> None:
    values = np.arange(60, dtype=np.float64)  # rises by 1 an hour
    forecasts = [issued(at, [values[at] + 0.5, values[at + 1] - 0.5, values[at + 2] + 2.0]) for at in range(30, 40)]
    rows = judge(forecasts, START, values)
    assert [(row.lead_s, row.count) for row in rows] == [(3_600, 10), (3 * 3_600, 20)]
    first, second = rows
    assert first.mae == pytest.approx(0.5) and first.bias == pytest.approx(0.5) and first.held == 1.0
    assert first.persistence_mae == 1.0 and first.naive_mae == 24.0
    assert second.mae == pytest.approx(1.25) and second.bias == pytest.approx(0.75) and second.held == 0.5
    assert second.persistence_mae == pytest.approx(2.5)


def test_what_is_not_known_yet_is_not_judged() -> None:
    values = np.full(40, np.nan)
    values[:32] = 1.0
    [row] = judge([issued(31, [1.0])], START, values)
    assert row.count == 1 and row.held == 1.0
    [row] = judge([issued(35, [1.0])], START, values)
    assert row.count == 0 and row.mae is None and row.held is None
    assert judge([], START, values) == []
