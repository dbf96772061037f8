"""What the history answers: windows by kind from head and files together, sums, limits and refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taihu.history.calendar import StepRefused
from taihu.history.windows import CounterWindows, GaugeWindows, IntervalWindows, StateWindows
from taihu.kernel.clock import SimClock
from taihu.kernel.errors import LimitError
from taihu.kernel.limits import Limits
from taihu.things.batch import FLAG_SUSPECT
from taihu.things.property import Kind, Property

S = 1_000_000_000
M = 60 * S
T0 = 1_700_000_040 * S  # a round minute


def fill(history: Any, make_batch: Any, rows: list[tuple[str, int, list[Any]]], names: tuple[str, ...]) -> None:
    """Half of the rows in files, half in the head."""
    half = len(rows) // 2
    history.apply(1, make_batch(rows[:half], names))
    history.flush()
    history.apply(2, make_batch(rows[half:], names))


def test_gauge_windows_over_files_and_head(open_history: Any, make_batch: Any, clock: SimClock) -> None:
    """§3: a window without readings is missing, and every window tells its coverage."""
    clock.jump((T0 + 10 * M) / S - clock.now_ns() / S)
    history = open_history(properties={"power": Property(name="power", max_age_s=60)})
    rows = [("a", T0 + n * 30 * S, [float(n)]) for n in range(6)]  # three minutes
    fill(history, make_batch, rows, ("power",))
    found = history.window("p", "a", "power", T0, T0 + 5 * M, "1m")
    assert isinstance(found, GaugeWindows)
    assert found.count.tolist() == [2, 2, 2, 0, 0]
    assert found.mean[:3].tolist() == [0.5, 2.5, 4.5]
    assert found.coverage.tolist() == [1.0, 1.0, 1.0, 0.5, 0.0]
    assert found.missing.tolist() == [False, False, False, False, True]
    assert np.isnan(found.time_mean[4])
    unknown = history.window("p", "nobody", "power", T0, T0 + 5 * M, "1m")
    assert unknown.missing.all()
    history.close()


def test_a_late_reading_changes_its_window(open_history: Any, make_batch: Any, clock: SimClock) -> None:
    """§5."""
    clock.jump((T0 + 10 * M) / S - clock.now_ns() / S)
    history = open_history()
    fill(history, make_batch, [("a", T0 + n * M, [1.0]) for n in range(4)], ("power",))
    history.flush()
    history.apply(3, make_batch([("a", T0 + M + S, [7.0]), ("a", T0 + 2 * M, [5.0])]))
    found = history.window("p", "a", "power", T0, T0 + 4 * M, "1m")
    assert isinstance(found, GaugeWindows)
    assert found.maximum.tolist() == [1.0, 7.0, 5.0, 1.0]
    assert history.aggregate("p", "power")["a"].count == 5
    history.flush()
    assert history.aggregate("p", "power")["a"].total == 15.0
    history.close()


def test_counter_windows_know_the_readings_around_them(open_history: Any, make_batch: Any, clock: SimClock) -> None:
    clock.jump((T0 + 20 * M) / S - clock.now_ns() / S)
    properties = {"energy": Property(name="energy", kind=Kind.COUNTER, max_age_s=180)}
    history = open_history(properties=properties)
    fill(history, make_batch, [("a", T0 + n * 2 * M, [100 + 4 * n]) for n in range(5)], ("energy",))
    found = history.window("p", "a", "energy", T0 + M, T0 + 7 * M, "1m")
    assert isinstance(found, CounterWindows)
    assert found.increase.tolist() == pytest.approx([2.0] * 6)
    history.close()


def test_interval_and_state_windows(open_history: Any, make_batch: Any, clock: SimClock) -> None:
    clock.jump((T0 + 20 * M) / S - clock.now_ns() / S)
    properties = {
        "energy": Property(name="energy", kind=Kind.INTERVAL, interval_s=120),
        "mode": Property(name="mode", kind=Kind.STATE, max_age_s=3600, enum=("off", "on")),
    }
    history = open_history(properties=properties)
    rows = [("a", T0 + n * 2 * M, [6.0, ["on", "off", "error", "on"][n]]) for n in range(4)]
    fill(history, make_batch, rows, ("energy", "mode"))
    energy = history.window("p", "a", "energy", T0, T0 + 4 * M, "1m")
    assert isinstance(energy, IntervalWindows)
    assert energy.amount.tolist() == [3.0] * 4
    mode = history.window("p", "a", "mode", T0, T0 + 8 * M, "5m")
    assert isinstance(mode, StateWindows)
    assert mode.states == ("off", "on", "error")
    assert mode.seconds.sum(axis=1).tolist() == (mode.covered / S).tolist()
    history.close()


@pytest.mark.parametrize("kind", list(Kind))
def test_windows_of_more_readings_than_fit_are_the_same(
    open_history: Any, make_batch: Any, clock: SimClock, kind: Kind, tmp_path: Path
) -> None:
    """§6: what does not fit at once is rolled in halves."""
    clock.jump((T0 + 200 * M) / S - clock.now_ns() / S)
    properties = {"x": Property(name="x", kind=kind, max_age_s=90, interval_s=30)}
    rows = [(name, T0 + n * 20 * S, [float(n % 7)]) for n in range(200) for name in ("a", "b")]
    results = []
    for folder, limits in (("one", Limits()), ("two", Limits(query_rows_max=60))):
        history = open_history(tmp_path / folder, limits, properties)
        fill(history, make_batch, rows, ("x",))
        results.append(history.window_many("p", ["a", "b"], "x", T0, T0 + 60 * M, "5m"))
        history.close()
    for thing in ("a", "b"):
        one, two = results[0][thing], results[1][thing]
        assert type(one) is type(two)
        for name in ("start", "end", "elapsed", "covered", *type(one).__slots__):
            if name != "states":
                np.testing.assert_allclose(np.asarray(getattr(one, name)), np.asarray(getattr(two, name)))


def test_answers_are_bounded(open_history: Any, make_batch: Any) -> None:
    """§6."""
    history = open_history(limits=Limits(query_rows_max=10))
    fill(history, make_batch, [("a", T0 + n, [1.0]) for n in range(30)], ("power",))
    with pytest.raises(LimitError, match="query_rows_max"):
        history.read("p", "a", "power")
    assert len(history.read("p", "a", "power", limit=99)) == 10
    assert [r.observed_at - T0 for r in history.read("p", "a", "power", limit=3, order="desc")] == [29, 28, 27]
    with pytest.raises(StepRefused):
        history.window("p", "a", "power", T0, T0 + M, "7m")
    history.close()


def test_quality_and_many_things(open_history: Any, make_batch: Any) -> None:
    history = open_history()
    history.apply(1, make_batch([("a", T0, [1.0]), ("b", T0, [2.0])], flags=[0, FLAG_SUSPECT]))
    history.flush()
    assert [history.read("p", thing, "power")[0].quality for thing in "ab"] == ["good", "suspect"]
    many = history.read_many("p", ["a", "b", "nobody"], "power")
    assert {thing: series.values.tolist() for thing, series in many.items()} == {"a": [1.0], "b": [2.0]}
    history.close()
