"""PromQL over the history: every expression at all times of a query at once, by columns of numbers.

Selectors see a reading until its property's `max_age`. Counters are rated through their resets, wraps and meter swaps;
a property of another kind is rated as Prometheus rates it. A result that is no number is left out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from taihu.history.frame import Ints
from taihu.history.history import History
from taihu.history.windows import Floats
from taihu.kernel.clock import NS_PER_S
from taihu.kernel.errors import LimitError, RefusedError
from taihu.protocols.promql import (
    COMPARISONS,
    Aggregate,
    Binary,
    Call,
    Expression,
    Negation,
    Number,
    Selector,
    is_scalar,
    parse,
    selectors,
)
from taihu.runtime.questions import Body
from taihu.things.counter import increases
from taihu.things.property import Kind, Property

_WARNINGS_MAX = 10
Labels = dict[str, str]


class PromqlRefused(RefusedError):
    """A query that can be read has no answer, such as two series that would be told apart by nothing."""

    code = "promql-execution"


class Known(msgspec.Struct, frozen=True, array_like=True):
    """A series that a selector picks."""

    thing: str
    definition: Property
    labels: Labels


@dataclass(slots=True)
class Line:
    """One series of a result: a number at each time, NaN where there is none."""

    labels: Labels
    values: Floats


Vector = list[Line]


def answer(history: History, body: Body) -> dict[str, Any]:
    """The result of a query at some times, in Prometheus's own shape, and what it should be read with."""
    expression = parse(body["query"])
    known = [msgspec.convert(series, list[Known]) for series in body["series"]]
    start, end, step = body["start"], body["end"], body["step"]
    times = np.arange(start, end + 1, step, dtype=np.int64) if step else np.array([end], np.int64)
    warnings = _gone(history, body["project"], zip(selectors(expression), known, strict=True), int(times[0]), end)
    if isinstance(expression, Selector) and expression.range_ns:
        return {"data": _raw(history, body["project"], expression, known[0], end), "warnings": warnings}
    if len(times) * sum(map(len, known)) > history.limits.query_rows_max:
        raise LimitError("The query has more points than query_rows_max.", "Ask for a longer step or fewer series.")
    found = _Query(history, body["project"], times, known).of(expression)
    return {"data": _shown(found, times, ranged=bool(step)), "warnings": warnings}


def _gone(
    history: History, project: str, known: Iterable[tuple[Selector, Sequence[Known]]], start: int, end: int
) -> list[str]:
    """A warning for each series some of whose readings that the query is of were deleted (§10)."""
    found: dict[str, None] = {}
    for selector, series in known:
        for one in series:
            low = start - selector.offset_ns - max(selector.range_ns, hold_ns(one.definition))
            spans = history.lost(project, one.thing, one.definition.name)
            if any(begin <= end - selector.offset_ns and stop > low for begin, stop in spans):
                found[f"Readings of {one.thing}/{one.definition.name} in this time were deleted."] = None
    told = list(found)
    return [*told[:_WARNINGS_MAX], f"And {len(told) - _WARNINGS_MAX} more."] if len(told) > _WARNINGS_MAX else told


class _Query:
    """One query: works an expression out, selectors taking their series from left to right."""

    def __init__(self, history: History, project: str, times: Ints, known: Sequence[Sequence[Known]]) -> None:
        self._history = history
        self._project = project
        self._times = times
        self._known = iter(known)

    def of(self, expression: Expression) -> Any:
        """A number for each time, or a Vector."""
        match expression:
            case Number():
                return np.full(len(self._times), expression.value)
            case Selector():
                return self._newest(expression)
            case Call():
                return self._call(expression)
            case Aggregate():
                return _aggregate(expression, self.of(expression.expression))
            case Negation():
                found = self.of(expression.expression)
                return -found if is_scalar(expression.expression) else _unnamed(found, np.negative)
            case Binary():
                return _binary(expression, self.of(expression.left), self.of(expression.right))

    def _read(self, one: Known, low: int, high: int) -> tuple[Ints, Floats]:
        """Its readings in [low, high), the last of each time."""
        rows = self._history.read_columns(self._project, one.thing, one.definition.name, low, high)
        values = rows.values
        if isinstance(values, list):
            values = np.array([value if isinstance(value, int | float) else np.nan for value in values], np.float64)
        last = np.append(rows.observed[1:] != rows.observed[:-1], True)[: len(rows)] & ~np.isnan(values)
        return rows.observed[last], values[last]

    def _newest(self, selector: Selector) -> Vector:
        at = self._times - selector.offset_ns
        found = []
        for one in next(self._known):
            hold = hold_ns(one.definition)
            observed, values = self._read(one, int(at[0]) - hold, int(at[-1]) + 1)
            place = np.searchsorted(observed, at, side="right") - 1
            fresh = place >= 0
            fresh[fresh] &= observed[place[fresh]] > at[fresh] - hold
            line = np.full(len(at), np.nan)
            line[fresh] = values[place[fresh]]
            found.append(Line(one.labels, line))
        return _some(found)

    def _call(self, call: Call) -> Vector:
        selector, rating = call.selector, call.function in ("rate", "increase", "delta")
        at = self._times - selector.offset_ns
        found = []
        for one in next(self._known):
            counter = one.definition.kind is Kind.COUNTER and call.function in ("rate", "increase")
            reach = hold_ns(one.definition) if counter else 0
            observed, values = self._read(one, int(at[0]) - selector.range_ns - reach, int(at[-1]) + reach + 1)
            if counter:
                line = _counted(one.definition, observed, values, at, selector.range_ns, call.function == "rate")
            else:
                bounds = np.searchsorted(observed, np.stack([at - selector.range_ns, at], 1), side="right")
                line = (_rated if rating else _over_time)(
                    call.function, observed, values, at, selector.range_ns, bounds
                )
            named = call.function == "last_over_time"
            found.append(Line(one.labels if named else without_name(one.labels), line))
        return _unique(_some(found))


def hold_ns(definition: Property) -> int:
    """How long a selector sees a reading; an event for a second, since it holds for none."""
    if definition.kind is Kind.EVENT:
        return NS_PER_S
    return int(max(definition.max_age_s, definition.interval_s or 0.0) * NS_PER_S)


def without_name(labels: Labels) -> Labels:
    """What is left of a series' labels when something was worked out of it."""
    return {name: value for name, value in labels.items() if name != "__name__"}


def _over_time(function: str, observed: Ints, values: Floats, at: Ints, range_ns: int, bounds: Any) -> Floats:
    """One number of the readings in (at - range, at]."""
    count = (bounds[:, 1] - bounds[:, 0]).astype(np.float64)
    some = count > 0
    result = np.full(len(at), np.nan)
    if not some.any():
        return result
    match function:
        case "count_over_time":
            result[some] = count[some]
        case "last_over_time":
            result[some] = values[bounds[some, 1] - 1]
        case "min_over_time":
            result[some] = _reduced(np.minimum, values, bounds[some])
        case "max_over_time":
            result[some] = _reduced(np.maximum, values, bounds[some])
        case _:
            result[some] = _reduced(np.add, values, bounds[some])
            if function == "avg_over_time":
                result[some] /= count[some]
    return result


def _reduced(ufunc: np.ufunc, values: Floats, bounds: Any) -> Floats:
    """`ufunc` over values[low:high] of each pair of bounds, none of them empty."""
    padded = np.append(values, values[-1])
    return np.asarray(ufunc.reduceat(padded, bounds.ravel())[::2], np.float64)


def _rated(function: str, observed: Ints, values: Floats, at: Ints, range_ns: int, bounds: Any) -> Floats:
    """Prometheus's rate, increase and delta: what lies between the first and last reading, stretched to the edges."""
    low, high = bounds[:, 0], bounds[:, 1]
    result = np.full(len(at), np.nan)
    some = high - low >= 2
    if not some.any():
        return result
    first, last, times = low[some], high[some] - 1, at[some]
    grown = values[last] - values[first]
    if function != "delta":
        falls = np.where(values[1:] < values[:-1], values[:-1], 0.0)
        fallen = np.concatenate(([0.0], np.cumsum(falls)))
        grown = grown + fallen[last] - fallen[first]
    sampled = (observed[last] - observed[first]).astype(np.float64)
    to_start = (observed[first] - (times - range_ns)).astype(np.float64)
    to_end = (times - observed[last]).astype(np.float64)
    mean = sampled / (last - first)
    to_start = np.where(to_start >= mean * 1.1, mean / 2, to_start)
    to_end = np.where(to_end >= mean * 1.1, mean / 2, to_end)
    if function != "delta":  # a counter is not taken below zero
        with np.errstate(divide="ignore", invalid="ignore"):
            to_zero = np.where((grown > 0) & (values[first] >= 0), sampled * values[first] / grown, np.inf)
        to_start = np.minimum(to_start, to_zero)
    grown = grown * (sampled + to_start + to_end) / sampled
    result[some] = grown / (range_ns / NS_PER_S) if function == "rate" else grown
    return result


def _counted(definition: Property, observed: Ints, values: Floats, at: Ints, range_ns: int, rate: bool) -> Floats:
    """What a counter counted in (at - range, at]: each increase is spread over the time between its readings.

    Over a gap longer than `max_age` it counts where the gap ends. A rate is that of the time that is known.
    """
    result = np.full(len(at), np.nan)
    if len(observed) < 2:
        return result
    grown, _ = increases(observed, values, definition, definition.swaps)
    total = np.cumsum(grown)
    spans = np.diff(observed)
    close = spans <= hold_ns(definition)
    known = np.concatenate(([0], np.cumsum(np.where(close, spans, 0))))
    edge = observed[1:][~close] - 1  # just before a gap ends nothing of it has counted
    where = np.sort(np.concatenate((observed, edge)))
    place = np.searchsorted(observed, where, side="right") - 1
    amount, covered = total[place], known[place].astype(np.float64)
    low, high = at - range_ns, at
    counted = np.interp(high, where, amount) - np.interp(low, where, amount)
    time = np.interp(high, where, covered) - np.interp(low, where, covered)
    some = time > 0
    result[some] = counted[some] / (time[some] / NS_PER_S) if rate else counted[some]
    return result


def _aggregate(node: Aggregate, vector: Vector) -> Vector:
    groups: dict[tuple[tuple[str, str], ...], list[Floats]] = {}
    for line in vector:
        if node.without:
            kept = {name: value for name, value in without_name(line.labels).items() if name not in node.labels}
        else:
            kept = {name: line.labels[name] for name in node.labels if line.labels.get(name)}
        groups.setdefault(tuple(sorted(kept.items())), []).append(line.values)
    reduce = _AGGREGATES[node.operator]
    found = []
    for labels, lines in groups.items():
        stacked = np.stack(lines)
        count = (~np.isnan(stacked)).sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append(Line(dict(labels), np.where(count > 0, reduce(stacked, count), np.nan)))
    return found


_AGGREGATES: Mapping[str, Callable[[Any, Any], Any]] = {
    "sum": lambda stacked, count: np.nansum(stacked, axis=0),
    "avg": lambda stacked, count: np.nansum(stacked, axis=0) / np.maximum(count, 1),
    "min": lambda stacked, count: np.fmin.reduce(stacked, axis=0),
    "max": lambda stacked, count: np.fmax.reduce(stacked, axis=0),
    "count": lambda stacked, count: count.astype(np.float64),
}
_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "%": np.fmod, "^": np.power, "==": np.equal,
    "!=": np.not_equal, ">": np.greater, "<": np.less, ">=": np.greater_equal, "<=": np.less_equal,
}  # fmt: skip


def _binary(node: Binary, left: Any, right: Any) -> Any:
    work = _OPERATORS[node.operator]
    with np.errstate(all="ignore"):
        if is_scalar(node.left) and is_scalar(node.right):
            return work(left, right).astype(np.float64)
        vector: Vector = right if is_scalar(node.left) else left
        found = []
        for line in vector:
            pair = (left, line.values) if is_scalar(node.left) else (line.values, right)
            result = work(*pair)
            if node.operator not in COMPARISONS:
                found.append(Line(without_name(line.labels), result))
            elif node.as_bool:
                there = ~np.isnan(line.values)
                found.append(Line(without_name(line.labels), np.where(there, result.astype(np.float64), np.nan)))
            else:
                found.append(Line(line.labels, np.where(result, line.values, np.nan)))
    return _unique(_some(found))


def _unnamed(vector: Vector, work: Callable[[Any], Any]) -> Vector:
    return _unique([Line(without_name(line.labels), work(line.values)) for line in vector])


def _some(lines: Vector) -> Vector:
    return [line for line in lines if not np.isnan(line.values).all()]


def _unique(vector: Vector) -> Vector:
    seen: set[tuple[tuple[str, str], ...]] = set()
    for line in vector:
        key = tuple(sorted(line.labels.items()))
        if key in seen:
            raise PromqlRefused("vector cannot contain metrics with the same labelset", "Name one metric.")
        seen.add(key)
    return vector


def _raw(history: History, project: str, selector: Selector, known: Sequence[Known], end: int) -> dict[str, Any]:
    """The readings of a range selector by itself."""
    high = end - selector.offset_ns + 1
    query = _Query(history, project, np.array([end], np.int64), [])
    result = []
    for one in known:
        observed, values = query._read(one, high - selector.range_ns, high)
        if len(observed):
            result.append({"metric": one.labels, "values": _points(observed, values)})
    return {"resultType": "matrix", "result": _sorted(result)}


def _shown(found: Any, times: Ints, ranged: bool) -> dict[str, Any]:
    if not isinstance(found, list):
        if not ranged:
            return {"resultType": "scalar", "result": [int(times[0]) / NS_PER_S, _text(float(found[0]))]}
        return {"resultType": "matrix", "result": [{"metric": {}, "values": _points(times, found)}]}
    if ranged:
        lines = [{"metric": line.labels, "values": _points(times, line.values)} for line in found]
        return {"resultType": "matrix", "result": _sorted([line for line in lines if line["values"]])}
    when = int(times[0]) / NS_PER_S
    lines = [
        {"metric": line.labels, "value": [when, _text(float(line.values[0]))]}
        for line in found
        if not np.isnan(line.values[0])
    ]
    return {"resultType": "vector", "result": _sorted(lines)}


def _sorted(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(lines, key=lambda line: sorted(line["metric"].items()))


def _points(times: Ints, values: Floats) -> list[list[Any]]:
    return [
        [time / NS_PER_S, _text(value)]
        for time, value in zip(times.tolist(), values.tolist(), strict=True)
        if value == value
    ]


def _text(value: float) -> str:
    """A number as Prometheus writes it.

    >>> _text(2.0), _text(0.1), _text(float("-inf"))
    ('2', '0.1', '-Inf')
    """
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
