"""Readings and windows as tables with the same columns whatever they hold, for CSV and Arrow."""

from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple

import msgspec
import numpy as np

from taihu.history.calculated import LevelWindows
from taihu.history.history import Series
from taihu.history.windows import (
    CounterWindows,
    EventWindows,
    GaugeWindows,
    IntervalWindows,
    StateWindows,
    Windows,
)
from taihu.kernel.clock import NS_PER_S
from taihu.things.batch import FLAG_STAMPED, FLAG_SUSPECT

_EXACT_MAX = 2**53  # beyond it a float may not hold an integer
_encode = msgspec.json.Encoder(enc_hook=str).encode


class Type(Enum):
    """What a column holds."""

    TEXT = "text"  # a list of text and None
    TIME = "time"  # int64 UTC ns
    NUMBER = "number"  # float64; NaN is missing
    COUNT = "count"  # int64; -1 is missing
    FLAG = "flag"  # bool


class Label(NamedTuple):
    """Whose a series is."""

    thing: str
    property: str
    unit: str | None
    kind: str


Span = tuple[int, int]  # [start, end), UTC nanoseconds
Sheet = dict[str, Any]
"""Columns by name: each as its Type says."""

READINGS = {
    "thing": Type.TEXT, "property": Type.TEXT, "unit": Type.TEXT, "observed_at": Type.TIME, "received_at": Type.TIME,
    "value": Type.NUMBER, "text": Type.TEXT, "quality": Type.TEXT, "seq": Type.COUNT,
}  # fmt: skip
WINDOWS = {
    "thing": Type.TEXT, "property": Type.TEXT, "unit": Type.TEXT, "start": Type.TIME, "end": Type.TIME,
    "coverage": Type.NUMBER, "count": Type.COUNT, "min": Type.NUMBER, "max": Type.NUMBER, "mean": Type.NUMBER,
    "last": Type.NUMBER, "time_mean": Type.NUMBER, "increase": Type.NUMBER, "sum": Type.NUMBER, "changes": Type.COUNT,
    "state": Type.TEXT, "seconds": Type.TEXT, "gone": Type.FLAG,
}  # fmt: skip


def readings_sheet(label: Label, rows: Series) -> Sheet:
    """Readings: numbers in `value`; anything else, and an integer that a float cannot hold, in `text`.

    A boolean is in both, as 0 or 1 and as `false` or `true`.
    """
    values = rows.values
    text: list[str | None] = [None] * len(rows)
    if isinstance(values, list):
        text = [_text_of(value) for value in values]
        values = np.array([_number_of(value) for value in values], np.float64)
    columns = {
        "observed_at": rows.observed, "received_at": rows.received, "value": values, "text": text,
        "quality": qualities(rows.flags), "seq": rows.seq,
    }  # fmt: skip
    return _named(label, len(rows)) | columns


def windows_sheet(label: Label, rows: Windows, deleted: Sequence[Span] = ()) -> Sheet:
    """Windows of any kind; what a kind does not say is missing. `gone` are those that meet a `deleted` span (§10)."""
    count = len(rows)
    blank: dict[Type, Any] = {
        Type.TEXT: [None] * count, Type.NUMBER: np.full(count, np.nan), Type.COUNT: np.full(count, -1),
    }  # fmt: skip
    sheet = {name: blank.get(kind) for name, kind in WINDOWS.items()} | _named(label, count)
    sheet |= {"start": rows.start, "end": rows.end, "coverage": rows.coverage}
    gone = [(rows.end > low) & (rows.start < high) for low, high in deleted]
    sheet["gone"] = np.logical_or.reduce(gone) if gone else np.zeros(count, np.bool_)
    match rows:
        case LevelWindows():
            sheet["time_mean"] = rows.level
        case GaugeWindows():
            sheet |= {"count": rows.count, "min": rows.minimum, "max": rows.maximum, "mean": rows.mean}
            sheet |= {"last": rows.last, "time_mean": rows.time_mean}
        case CounterWindows():
            sheet["increase"] = rows.increase
        case IntervalWindows():
            sheet["sum"] = rows.amount
        case StateWindows():
            sheet |= {"count": rows.count, "changes": rows.changes, "state": last_states(rows)}
            sheet["seconds"] = [_encode(held).decode() for held in seconds_held(rows)]
        case EventWindows():
            sheet["count"] = rows.count
    return sheet


def last_states(rows: StateWindows) -> list[str | None]:
    """The last state of each window."""
    return [rows.states[code] if code >= 0 else None for code in rows.last.tolist()]


def seconds_held(rows: StateWindows) -> list[dict[str, float]]:
    """How long each window was in each state that it was in."""
    return [
        {state: held / NS_PER_S for state, held in zip(rows.states, row, strict=True) if held}
        for row in rows.held.tolist()
    ]


def qualities(flags: Any) -> list[str]:
    """The quality of each reading, as the API names it."""
    return [
        "suspect" if flag & FLAG_SUSPECT else "stamped" if flag & FLAG_STAMPED else "good" for flag in flags.tolist()
    ]


def _named(label: Label, count: int) -> Sheet:
    return {"thing": [label.thing] * count, "property": [label.property] * count, "unit": [label.unit] * count}


def _number_of(value: Any) -> float:
    if isinstance(value, bool | float):
        return float(value)
    return float(value) if isinstance(value, int) and abs(value) <= _EXACT_MAX else float("nan")


def _text_of(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, float) or (type(value) is int and abs(value) <= _EXACT_MAX):
        return None
    return _encode(value).decode()
