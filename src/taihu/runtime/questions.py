"""The questions the worker answers, and the shape of its answers (plain lists and dicts, missing as None)."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

import msgspec
import numpy as np

from taihu.history.calculated import LevelWindows
from taihu.history.history import History
from taihu.history.windows import (
    CounterWindows,
    EventWindows,
    GaugeWindows,
    IntervalWindows,
    StateWindows,
    Windows,
)
from taihu.identity.directory import Directory
from taihu.runtime.sheets import Span, last_states, seconds_held
from taihu.things.property import Property, Swap

Body = Mapping[str, Any]
Question = Callable[[History, Body], dict[str, Any]]


class Definitions:
    """What the history asks of things: from the directory, and newer still from the questions themselves."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._newer: dict[tuple[str, str], dict[str, Property]] = {}
        self.version = 0  # another after each change that was seen

    def learn(self, body: Body) -> None:
        """Take the definitions that a question carries; the directory may have them only a moment later."""
        for thing, given in body.get("definitions", ()):
            definition = msgspec.convert(given, Property)
            self._newer.setdefault((body["project"], thing), {})[definition.name] = definition

    def refresh(self) -> bool:
        """See what changed in the directory, and whether anything did; blocks while it is read."""
        newer, self._newer = self._newer, {}
        changed = self._directory.refresh()
        if changed:
            self.version += 1
        else:
            self._newer = newer | self._newer
        return changed

    def of(self, project: str, thing: str) -> Mapping[str, Property]:
        """A thing's properties."""
        known = self._directory.definitions(project, thing) or {}
        newer = self._newer.get((project, thing))
        return {**known, **newer} if newer else known

    def swaps(self, project: str, thing: str, name: str) -> Sequence[Swap]:
        """The meters a counter had before."""
        definition = self.of(project, thing).get(name)
        return definition.swaps if definition else ()


def asof(history: History, body: Body) -> dict[str, Any]:
    """The newest reading at or before a time."""
    reading = history.asof(body["project"], body["thing"], body["property"], body["at"])
    return {"reading": None if reading is None else msgspec.to_builtins(reading)}


def mark_gone(windows: list[dict[str, Any]], deleted: Sequence[Span]) -> None:
    """Where readings were deleted, let each window say whether some of its inputs are `gone` (§10)."""
    for window in windows if deleted else ():
        window["gone"] = any(low < window["end"] and high > window["start"] for low, high in deleted)


def window_rows(windows: Windows) -> list[dict[str, Any]]:
    """Windows as JSON shows them: what is missing is None and has coverage 0 (§3)."""
    columns: dict[str, list[Any]] = {
        "start": windows.start.tolist(),
        "end": windows.end.tolist(),
        "coverage": _numbers(windows.coverage),
    }
    columns |= _by_kind(windows)
    names = list(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def stats(history: History, body: Body) -> dict[str, Any]:
    """What the store holds."""
    return dict(history.stats())


QUESTIONS: dict[str, Question] = {"asof": asof, "stats": stats}


def _by_kind(windows: Windows) -> dict[str, list[Any]]:
    match windows:
        case LevelWindows():
            return {"time_mean": _numbers(windows.level)}
        case GaugeWindows():
            return {
                "count": windows.count.tolist(),
                "min": _numbers(windows.minimum),
                "max": _numbers(windows.maximum),
                "mean": _numbers(windows.mean),
                "last": _numbers(windows.last),
                "time_mean": _numbers(windows.time_mean),
            }
        case CounterWindows():
            return {"increase": _numbers(windows.increase)}
        case IntervalWindows():
            return {"sum": _numbers(windows.amount)}
        case StateWindows():
            return {
                "count": windows.count.tolist(),
                "changes": windows.changes.tolist(),
                "last": last_states(windows),
                "seconds": seconds_held(windows),
            }
        case EventWindows():
            return {"count": windows.count.tolist()}
    raise TypeError(type(windows).__name__)


def _numbers(values: Any) -> list[float | None]:
    return [value if isfinite(value) else None for value in np.asarray(values, np.float64).tolist()]
