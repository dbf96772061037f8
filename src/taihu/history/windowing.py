"""Windows of a property's readings by its kind, with the readings around them that the kind needs."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from taihu.history import windows
from taihu.history.frame import Cells, Frame, Ints, known_text
from taihu.history.windows import NO_STATE, StateWindows, Windows
from taihu.kernel.clock import NS_PER_S
from taihu.kernel.errors import LimitError
from taihu.things.counter import increases
from taihu.things.property import Kind, Property, Swap

VALUE_MAX = 1e200  # far enough below what windows take
_STATE_CELLS_MAX = 1 << 23  # of windows by states: 64 MB


def context_ns(definition: Property) -> tuple[int, int]:
    """How far before and after a range the readings lie that its windows need; a prior one beyond that may matter."""
    if definition.kind is Kind.EVENT:
        return 0, 0
    if definition.kind is Kind.INTERVAL:
        return interval_ns(definition), 0
    hold = round(definition.max_age_s * NS_PER_S)
    return hold, hold if definition.kind is Kind.COUNTER else 0


def needs_prior(definition: Property) -> bool:
    """Whether the reading before a range matters however old it is: a counter and a state are told by changes."""
    return definition.kind in (Kind.COUNTER, Kind.STATE)


def interval_ns(definition: Property) -> int:
    """The length of an interval property's [start, end)."""
    return round((definition.interval_s or definition.period_s or definition.max_age_s) * NS_PER_S)


def roll(
    definition: Property, edges: Ints, observed: Ints, cells: Cells, now_ns: int, swaps: Sequence[Swap] = ()
) -> Windows:
    """Windows of one thing's readings, sorted by time.

    Values that the kind cannot use are left out, and so are numbers beyond `VALUE_MAX`, which do not add up (§3).
    """
    count = len(observed)
    max_age_ns = max(1, round(definition.max_age_s * NS_PER_S))
    if definition.kind is Kind.EVENT:
        return windows.event(edges, observed, now_ns)
    if definition.kind is Kind.STATE:
        codes, states = state_codes(definition, cells, count)
        if len(states) * len(edges) > _STATE_CELLS_MAX:
            raise LimitError(
                f"{definition.name} has had {len(states)} states: too many to tell the time in each.",
                "Ask for fewer windows, or declare it an event.",
            )
        return windows.state(edges, observed, codes, states, max_age_ns, now_ns)
    values = cells.numbers(count)
    usable = np.abs(values) < VALUE_MAX
    if not usable.all():
        observed, values = observed[usable], values[usable]
    if definition.kind is Kind.INTERVAL:
        return windows.interval(edges, observed, observed + interval_ns(definition), values, now_ns)
    if definition.kind is Kind.COUNTER:
        last = np.append(observed[1:] > observed[:-1], True)[: len(observed)]  # one register value for one instant
        observed, values = observed[last], values[last]
        grown, _ = increases(observed, values, definition, swaps)
        return windows.counter(edges, observed, grown, max_age_ns, now_ns)
    return windows.gauge(edges, observed, values, max_age_ns, now_ns)


def state_codes(definition: Property, cells: Cells, count: int) -> tuple[Ints, tuple[str, ...]]:
    """Each value's index among the states: those of the definition first, then the others that occur."""
    labels = np.full(count, "", np.object_)
    if cells.number is not None:
        _label(labels, ~np.isnan(cells.number), cells.number, str)
    if cells.integer is not None:
        _label(labels, ~np.ma.getmaskarray(cells.integer), cells.integer.data, str)
    if cells.boolean is not None:
        _label(labels, ~np.ma.getmaskarray(cells.boolean), cells.boolean.data, lambda flag: "true" if flag else "false")
    if cells.text is not None:
        _label(labels, known_text(cells.text), cells.text, _text_label)
    found, codes = np.unique(labels.astype(np.str_), return_inverse=True)
    states = tuple(dict.fromkeys((*definition.enum, *found.tolist())))
    place = np.array([states.index(name) for name in found.tolist()], np.int64)
    return (place[codes] if count else np.empty(0, np.int64)), states


def join(first: Windows, second: Windows) -> Windows:
    """Windows of two ranges, the second after the first, as one."""
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(first, name), getattr(second, name)])
        for name in (field.name for field in fields(first))
        if name not in ("states", "held")
    }
    if isinstance(first, StateWindows) and isinstance(second, StateWindows):
        states = tuple(dict.fromkeys((*first.states, *second.states)))
        held = np.zeros((len(first) + len(second), len(states)), np.int64)
        held[: len(first), : len(first.states)] = first.held
        places = np.array([states.index(name) for name in second.states], np.int64)
        held[len(first) :, places] = second.held
        last = second.last.copy()
        last[last != NO_STATE] = places[last[last != NO_STATE]]
        columns |= {"states": states, "held": held, "last": np.concatenate([first.last, last])}
    return type(first)(**columns)


def by_thing(frame: Frame) -> dict[int, slice]:
    """Where each thing's rows lie in a frame sorted by thing."""
    if not len(frame):
        return {}
    starts = np.flatnonzero(np.diff(frame.thing, prepend=-1))
    stops = np.append(starts[1:], len(frame))
    return {
        thing: slice(start, stop)
        for thing, start, stop in zip(frame.thing[starts].tolist(), starts.tolist(), stops.tolist(), strict=True)
    }


def _label(labels: NDArray[np.object_], known: NDArray[np.bool_], values: Any, text: Callable[[Any], str]) -> None:
    found, index = np.unique(values[known], return_inverse=True)
    labels[known] = np.array([text(value) for value in found.tolist()], np.object_)[index] if len(found) else ""


def _text_label(encoded: str) -> str:
    value = msgspec.json.decode(encoded)
    return value if isinstance(value, str) else encoded
