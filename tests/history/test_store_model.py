"""Whatever is applied, in whatever order, and however it is flushed, merged and reopened, reads are a plain dict's."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taihu.history.history import History
from taihu.kernel.clock import SimClock
from taihu.kernel.files import OsFiles
from taihu.kernel.limits import DEFAULT
from taihu.things.batch import FLAG_STAMPED, ROW_BITS, Batch

T0 = 1_700_000_000_000_000_000
THINGS = ("a", "b", "c")
PROPERTIES = ("power", "Power", "state")


class Row(NamedTuple):
    observed: int
    seq: int
    received: int
    flags: int
    value: Any


numbers = st.one_of(
    st.integers(-100_000, 100_000).map(lambda scaled: scaled / 100),
    st.floats(-1e100, 1e100),
)
any_value = st.one_of(
    numbers,
    st.integers(-(2**63), 2**64 - 1),
    st.booleans(),
    st.none(),
    st.text(max_size=3),
    st.lists(st.integers(0, 9)),
)
times = st.integers(0, 12).map(lambda step: T0 + step * 1_000_000_123)


@st.composite
def batches(draw: st.DrawFn) -> dict[str, Any]:
    chosen = draw(st.lists(st.sampled_from(PROPERTIES), min_size=1, max_size=3, unique=True))
    values = [
        draw(st.sampled_from([numbers, st.integers(-(2**63), 2**63 - 1), st.booleans(), any_value])) for _ in chosen
    ]
    rows = draw(st.lists(st.tuples(st.sampled_from(THINGS), times, st.tuples(*values)), min_size=1, max_size=8))
    return {
        "rows": rows,
        "properties": chosen,
        "model": draw(st.sampled_from(["meter", "meter", ""])),
        "received_at": T0 + draw(st.integers(0, 10**10)),
        "flags": draw(st.one_of(st.just([]), st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))),
    }


steps = st.lists(st.one_of(batches(), batches(), st.sampled_from(["flush", "merge", "reopen"])), max_size=12)


def remember(model: dict[tuple[str, str], list[Row]], position: int, spec: dict[str, Any]) -> None:
    for number, (thing, observed, values) in enumerate(spec["rows"]):
        for name, value in zip(spec["properties"], values, strict=True):
            if value is not None:
                flags = spec["flags"][number] if spec["flags"] else 0
                received = spec["received_at"] // 10**6 * 10**6
                row = Row(observed, position << ROW_BITS | number, received, flags, value)
                model.setdefault((thing, name), []).append(row)


def expected(rows: Sequence[Row], *, revisions: bool) -> list[Row]:
    """§1: stamped rows never collide; of the others the highest seq counts, and a repeated value is one reading."""
    kept: dict[tuple[int, int], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.seq):
        stamped = row.flags & FLAG_STAMPED
        same = kept.setdefault((row.observed, row.seq if stamped else -1), [])
        if not same or (type(same[-1].value), same[-1].value) != (type(row.value), row.value):
            same.append(row)
    chosen = [row for same in kept.values() for row in (same if revisions else same[-1:])]
    return sorted(chosen, key=lambda row: (row.observed, row.flags & FLAG_STAMPED, row.seq))


def answer(history: History, thing: str, name: str, **how: Any) -> list[Row]:
    readings = history.read("p", thing, name, **how)
    bits = {"good": 0, "stamped": FLAG_STAMPED}
    return [Row(r.observed_at, r.seq, r.received_at, bits.get(r.quality, 2), r.value) for r in readings]


def same_flags(rows: Sequence[Row]) -> list[Row]:
    return [row._replace(flags=2 if row.flags & 2 else row.flags) for row in rows]


def is_number(value: Any) -> bool:
    """An integer beyond 64 bits is kept as JSON text, and takes no part in sums."""
    return isinstance(value, float) or (isinstance(value, int) and -(2**63) <= value < 2**63)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps, cut=times, count=st.integers(1, 4))
def test_reads_equal_a_dict(make_batch: Any, steps: list[Any], cut: int, count: int) -> None:
    """§1, §3, §4, §5."""
    with tempfile.TemporaryDirectory() as folder:

        def opened() -> History:
            return History(Path(folder) / "h", OsFiles(), SimClock(T0 + 10**12), DEFAULT, lambda _p, _t: {})

        history = opened()
        model: dict[tuple[str, str], list[Row]] = {}
        for position, step in enumerate(steps, 1):
            if step == "flush":
                history.flush()
            elif step == "merge":
                history.compact()
            elif step == "reopen":
                history.close()
                history = opened()
            else:
                spec: Batch = make_batch(**step)
                history.apply(position, spec)
                history.apply(position, spec)  # replay is harmless
                remember(model, position, step)
        for thing in THINGS:
            for name in PROPERTIES:
                rows = model.get((thing, name), [])
                current = expected(rows, revisions=False)
                flagged = same_flags(current)
                assert answer(history, thing, name) == flagged
                assert answer(history, thing, name, revisions=True) == same_flags(expected(rows, revisions=True))
                assert answer(history, thing, name, order="desc", limit=count) == flagged[::-1][:count]
                assert answer(history, thing, name, limit=count) == flagged[:count]
                assert answer(history, thing, name, start=cut) == [row for row in flagged if row.observed >= cut]
                found = history.asof("p", thing, name, cut)
                before = [row for row in current if row.observed <= cut]
                assert (found and found.seq) == (before[-1].seq if before else None)
        for name in PROPERTIES:
            totals = history.aggregate("p", name)
            for thing in THINGS:
                current = expected(model.get((thing, name), []), revisions=False)
                values = [float(row.value) for row in current if is_number(row.value)]
                if values:
                    assert totals[thing].count == len(values)
                    assert (totals[thing].minimum, totals[thing].maximum) == (min(values), max(values))
                    assert totals[thing].total == pytest.approx(sum(values), rel=1e-6, abs=1e-6 * max(map(abs, values)))
                else:
                    assert thing not in totals
        history.close()
