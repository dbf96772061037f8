"""The view `rollups` has windows that hold, each once, and says of them what the history's own windows say (§3, §5)."""

from typing import Any

import msgspec
import pytest
from tests.history.sql.support import known, views
from tests.history.test_rollup import T0, THINGS, H, S, raw, rows

from taihu.history.sql.sources import Bounds
from taihu.kernel.clock import SimClock
from taihu.things.deletion import Deletion
from taihu.things.property import Kind, Property, Thing

COLUMNS = {
    Kind.GAUGE: {"count": "count", "minimum": "minimum", "maximum": "maximum", "mean": "mean", "last": "last",
                 "time_mean": "time_mean"},
    Kind.COUNTER: {"increase": "increase"},
    Kind.INTERVAL: {"sum": "amount"},
}  # fmt: skip


@pytest.mark.parametrize("kind", list(COLUMNS))
def test_they_are_the_windows_of_the_history(open_history: Any, make_batch: Any, clock: SimClock, kind: Kind) -> None:
    """Also while late readings wait in the head, after these are in files, and after they were rolled again."""
    hours = 60
    clock.jump((T0 + (hours + 2) * H) / S - clock.now_ns() / S)
    properties = {"x": Property(name="x", kind=kind, max_age_s=400, interval_s=90)}
    about = known(*(Thing(name=name, model="meter") for name in THINGS), properties=properties)
    history = open_history(properties=properties)
    history.apply(1, make_batch(rows(hours, 60), ("x", "y")))
    history.flush()
    while history.maintain():
        pass
    assert check(history, about, kind, hours) > 60

    history.apply(2, make_batch([("a", T0 + 9 * H + 1, [5.0]), ("a", T0 + 17 * H, [3.0])], ("x",)))
    with_head = check(history, about, kind, hours)
    history.flush()
    assert check(history, about, kind, hours) == with_head
    while history.maintain():
        pass
    assert check(history, about, kind, hours) > with_head

    history.delete(3, Deletion(id="1", project="p", thing="b", start=T0 + 30 * H, end=T0 + 31 * H))
    check(history, about, kind, hours)
    other = {"x": msgspec.structs.replace(properties["x"], max_age_s=500, interval_s=91)}
    with views(history, known(*about.things("p"), properties=other)) as connection:
        assert connection.execute("SELECT count(*) FROM rollups").fetchone() == (0,)  # made by another rule
    with views(history, about, bounds=Bounds(T0 + 2 * H, T0 + 4 * H, frozenset("b"))) as connection:
        found = connection.execute("SELECT thing, count(*) FROM rollups WHERE step = '1h' GROUP BY thing").fetchall()
        assert found == [("b", 2)]
    history.close()


def check(history: Any, about: Any, kind: Kind, hours: int) -> int:
    """Every row is the window that the readings make; returns how many there are."""
    names = COLUMNS[kind]
    with views(history, about) as connection:
        count = connection.execute("SELECT count(*), count(DISTINCT (thing, step, start)) FROM rollups").fetchone()
        assert count is not None and count[0] == count[1]
        for step in ("1h", "1d"):
            expected = raw(history, "x", T0 // (24 * H) * 24 * H, T0 + (hours + 24) * H, step, "UTC")
            for thing in THINGS:
                windows = expected[thing]
                place = {start: number for number, start in enumerate(windows.start.tolist())}
                listed = ", ".join(["epoch_ns(start)", 'epoch_ns("end")', "coverage", *names])
                found = connection.execute(
                    f"SELECT {listed} FROM rollups WHERE thing = ? AND step = ? AND property = 'x'", [thing, step]
                ).fetchall()
                for start, end, coverage, *values in found:
                    number = place[start]
                    assert end == windows.end[number]
                    assert coverage == pytest.approx(float(windows.coverage[number]))
                    wanted = [float(getattr(windows, field)[number]) for field in names.values()]
                    shown = [float("nan") if value is None else value for value in values]
                    assert shown == pytest.approx(wanted, nan_ok=True), (thing, step, start)
    return int(count[0])
