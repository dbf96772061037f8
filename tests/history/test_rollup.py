"""Rollups change how quickly windows are answered, never what they say; late readings void and renew them (§5)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from taihu.history.history import History
from taihu.history.windows import Windows
from taihu.kernel.clock import SimClock
from taihu.things.property import Kind, Property

S = 1_000_000_000
H = 3_600 * S
T0 = 1_699_999_200 * S  # a round hour
THINGS = ("a", "b")


def same(found: Windows, expected: Windows) -> None:
    assert type(found) is type(expected)
    for name in ("start", "end", "elapsed", "covered", *type(found).__slots__):
        one, other = np.asarray(getattr(found, name)), np.asarray(getattr(expected, name))
        np.testing.assert_allclose(one, other, rtol=1e-9, err_msg=name)


def raw(history: History, name: str, start: int, end: int, every: str, tz: str) -> dict[str, Windows]:
    """What the readings alone say."""
    kept = dict(history._store.catalog.rolled)
    history._store.catalog.rolled.clear()
    found = history.window_many("p", THINGS, name, start, end, every, tz)
    history._store.catalog.rolled.update(kept)
    return found


def compare(history: History, name: str, hours: int) -> None:
    ranges = [(T0, T0 + hours * H, "1h", "UTC"), (T0 + 5 * H, T0 + 200 * H, "1d", "Asia/Shanghai"),
              (T0 + H, T0 + 30 * H, "15m", "UTC"), (T0, T0 + hours * H, "1d", "UTC")]  # fmt: skip
    for start, end, every, tz in ranges:
        expected = raw(history, name, start, end, every, tz)
        found = history.window_many("p", THINGS, name, start, end, every, tz)
        for thing in THINGS:
            same(found[thing], expected[thing])


def rows(hours: int, step_s: int, skip: Sequence[int] = ()) -> list[tuple[str, int, list[Any]]]:
    return [
        (thing, T0 + n * step_s * S + place * 7 * S, [float(n * 3 % 17), float(n + n // 50)])
        for n in range(hours * 3_600 // step_s)
        if n not in skip
        for place, thing in enumerate(THINGS)
    ]


@pytest.fixture
def properties() -> dict[str, Property]:
    return {
        "x": Property(name="x", max_age_s=600),
        "y": Property(name="y", kind=Kind.COUNTER, max_age_s=600),
    }


@pytest.mark.parametrize("kind", [Kind.GAUGE, Kind.COUNTER, Kind.INTERVAL])
def test_rolled_windows_equal_those_of_the_readings(
    open_history: Any, make_batch: Any, clock: SimClock, kind: Kind
) -> None:
    """§3, §5."""
    hours = 120
    clock.jump((T0 + (hours + 2) * H) / S - clock.now_ns() / S)
    definition = Property(name="x", kind=kind, max_age_s=400, interval_s=90)
    history = open_history(properties={"x": definition})
    all_rows = rows(hours, 120, skip=range(500, 560))
    for position, start in enumerate(range(0, len(all_rows), 1_000), 1):
        history.apply(position, make_batch(all_rows[start : start + 1_000], ("x", "y")))
        history.flush()
        while history.maintain():
            pass
    assert history.stats()["rollup_rows"] > 100
    compare(history, "x", hours + 2)
    late = [("a", T0 + 9 * H + 1, [5.0]), ("a", T0 + 17 * H, [3.0])]
    history.apply(position + 1, make_batch(late, ("x",)))
    compare(history, "x", hours + 2)  # from the head
    history.flush()
    compare(history, "x", hours + 2)  # voided
    while history.maintain():
        pass
    assert not any(rolled.late for rolled in history._store.catalog.rolled.values())
    compare(history, "x", hours + 2)  # rolled again
    history.compact()
    compare(history, "x", hours + 2)
    history.close()
    history = open_history(properties={"x": definition})
    assert history._store.catalog.rolled
    compare(history, "x", hours + 2)
    history.close()


def test_another_definition_uses_none_of_the_old_windows(
    open_history: Any, make_batch: Any, clock: SimClock, properties: dict[str, Property]
) -> None:
    clock.jump((T0 + 75 * H) / S - clock.now_ns() / S)
    history = open_history(properties=properties)
    history.apply(1, make_batch(rows(72, 120), ("x", "y")))
    history.flush()
    while history.maintain():
        pass
    history.close()
    properties["y"] = Property(name="y", kind=Kind.COUNTER, max_age_s=600, ratio=10.0)
    history = open_history(properties=properties)
    compare(history, "y", 72)
    history.close()


def test_sparse_readings_are_not_rolled(
    open_history: Any, make_batch: Any, clock: SimClock, properties: dict[str, Property]
) -> None:
    clock.jump((T0 + 400 * H) / S - clock.now_ns() / S)
    history = open_history(properties=properties)
    history.apply(1, make_batch(rows(300, 3 * 3_600), ("x", "y")))
    history.flush()
    while history.maintain():
        pass
    assert history.stats()["rollup_rows"] == 0
    history.close()


def test_steps_beside_each_other_are_told_apart(
    open_history: Any, make_batch: Any, clock: SimClock, properties: dict[str, Property]
) -> None:
    """Minutes and hours have the same columns, and an hour begins when its first minute does."""
    hours = 50
    clock.jump((T0 + (hours + 2) * H) / S - clock.now_ns() / S)
    history = open_history(properties=properties)
    all_rows = rows(hours, 2)
    for position, start in enumerate(range(0, len(all_rows), 20_000), 1):
        history.apply(position, make_batch(all_rows[start : start + 20_000], ("x", "y")))
    history.flush()
    while history.maintain():
        pass
    assert {rolled.step for rolled in history._store.catalog.rolled.values()} >= {"1m", "1h"}
    for name in ("x", "y"):
        for every in ("1m", "15m", "1h"):
            expected = raw(history, name, T0, T0 + 3 * H, every, "UTC")
            found = history.window_many("p", THINGS, name, T0, T0 + 3 * H, every, "UTC")
            for thing in THINGS:
                same(found[thing], expected[thing])
    history.close()


def test_a_property_that_spoke_late_is_missing_before(
    open_history: Any, make_batch: Any, clock: SimClock, properties: dict[str, Property]
) -> None:
    """§3: a rollup has no row where the property was silent: those windows are missing, and no error."""
    clock.jump((T0 + 200 * H) / S - clock.now_ns() / S)
    history = open_history(properties=properties)
    late = [
        (thing, at, [values[0] if at // H == T0 // H + 150 else None, values[1]])
        for thing, at, values in rows(160, 3_600)
    ]
    history.apply(1, make_batch(late, ("x", "y")))
    history.flush()
    while history.maintain():
        pass
    assert {rolled.property for rolled in history._store.catalog.rolled.values()} >= {"x"}
    for start, end in ((0, 24), (0, 160), (120, 155)):
        compare(history, "x", end)
        found = history.window_many("p", THINGS, "x", T0 + start * H, T0 + end * H, "1h", "UTC")
        assert [int((~found[thing].missing).sum()) for thing in THINGS] == [int(end > 150)] * len(THINGS)
    history.close()
