"""Rollups: windows of a minute, an hour and a day, stored where they are far fewer than the readings they come from.

They are rows like any others, one for each window of a thing, in tables of their own, with a column for each field of
the window: `power/count`, `power/minimum` and so on. Windows rolled again supersede the older ones, as corrections do.
A rollup reaches `until`; a reading that comes late takes its thing's windows back to before it (§5), and queries go to
the readings there until a background step has rolled them again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import msgspec
import numpy as np

from taihu.history.frame import Cells, Frame, Ints
from taihu.history.windows import CounterWindows, GaugeWindows, IntervalWindows, Windows
from taihu.kernel.clock import DAY_NS, HOUR_NS, MINUTE_NS
from taihu.things.property import Kind, Property, Swap

STEPS_NS = {"1m": MINUTE_NS, "1h": HOUR_NS, "1d": DAY_NS}
CHUNKS_NS = {"1m": 6 * HOUR_NS, "1h": 2 * DAY_NS, "1d": 16 * DAY_NS}
READINGS_MAX = 500_000  # about what one step reads, while flushes wait
READINGS_MIN = 20  # a window, on average, for a rollup to pay
_TYPES: Mapping[Kind, type[Windows]] = {
    Kind.GAUGE: GaugeWindows,
    Kind.COUNTER: CounterWindows,
    Kind.INTERVAL: IntervalWindows,
}
_WHOLE = ("covered", "count")


def rolls(definition: Property) -> bool:
    """Whether windows of this kind are stored: states and events are few, and are rolled when asked for."""
    return definition.kind in _TYPES and not definition.formula


def rule_of(definition: Property, swaps: Sequence[Swap]) -> str:
    """What the windows depend on; windows made by another rule are not used."""
    return msgspec.json.encode(
        (
            definition.kind,
            definition.max_age_s,
            definition.interval_s or definition.period_s,
            definition.wrap,
            definition.ratio,
            swaps,
        )
    ).decode()


def field_names(definition: Property) -> tuple[str, ...]:
    """The columns that hold a property's windows; `covered` comes first and is in every row."""
    return tuple(f"{definition.name}/{name}" for name in _fields(definition))


def coarsest(bounds: Ints) -> list[str]:
    """The steps whose windows add up to those between `bounds`, the longest first."""
    return [step for step, length in reversed(STEPS_NS.items()) if not (bounds % length).any()]


def to_frame(definition: Property, found: Mapping[int, Windows]) -> Frame | None:
    """Rows of all windows of which something is known, by thing and start; None without any."""
    kept = {thing: np.flatnonzero(~rolled.missing) for thing, rolled in sorted(found.items())}
    count = sum(map(len, kept.values()))
    if not count:
        return None
    nothing = np.zeros(count, np.int64)

    def column(name: str) -> Any:
        return np.concatenate([getattr(found[thing], name)[index] for thing, index in kept.items()])

    return Frame(
        np.repeat(np.array(list(kept), np.int32), [len(index) for index in kept.values()]),
        column("start"),
        nothing,
        nothing,
        nothing.astype(np.int8),
        {
            f"{definition.name}/{name}": Cells(number=column(name).astype(np.float64) + 0.0)
            for name in _fields(definition)
        },
    )


def to_windows(definition: Property, step: str, frame: Frame) -> Windows:
    """One thing's stored windows, by start."""
    columns: dict[str, Any] = {}
    for name in _fields(definition):
        cells = frame.cells.get(f"{definition.name}/{name}") or Cells()  # without a row there is no column either
        values = cells.numbers(len(frame))
        columns[name] = values.astype(np.int64) if name in _WHOLE else values
    length = STEPS_NS[step]
    elapsed = np.full(len(frame), length, np.int64)
    return _TYPES[definition.kind](start=frame.observed, end=frame.observed + length, elapsed=elapsed, **columns)


def _fields(definition: Property) -> list[str]:
    names = [field.name for field in fields(_TYPES[definition.kind])]
    return ["covered", *(name for name in names if name not in ("start", "end", "elapsed", "covered"))]
