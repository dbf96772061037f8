"""Calculated properties over the history: never stored, worked out of the windows and readings of their inputs.

So a reading that comes late, is corrected or is deleted changes what is calculated of it at the next question (§5).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from taihu.history import windows
from taihu.history.frame import Cells, Frame, Ints
from taihu.history.windowing import VALUE_MAX, interval_ns
from taihu.history.windowquery import Swaps, WindowQuery
from taihu.history.windows import CounterWindows, Floats, GaugeWindows, IntervalWindows, Windows
from taihu.kernel.clock import NS_PER_S, Clock
from taihu.kernel.errors import LimitError
from taihu.kernel.limits import Limits
from taihu.things.counter import increases
from taihu.things.deletion import TIME_MAX, TIME_MIN
from taihu.things.property import Kind, Property
from taihu.things.terms import (
    Arithmetic,
    Fixed,
    Input,
    Integral,
    Nature,
    Of,
    Plan,
    Quotient,
    Signal,
    Term,
    inputs_of,
    work_out,
)

Plans = Callable[[str, str, Property], Plan]
"""The plan of a calculated property of a thing of a project; one that cannot be worked out is lacking something."""

_WINDOWS_MIN = 256  # that a chunk has


@dataclass(frozen=True, slots=True)
class LevelWindows(Windows):
    """Of a calculated gauge: a mean over the covered time, or the ratio of what came in it; NaN where unknown."""

    level: Floats


class Rows(NamedTuple):
    """Values of a calculated property by time; received, seq and flags are those of its inputs.

    Each holds, or is of the time, from `observed` to `until`; `coverage` is the part of it that all inputs tell.
    """

    observed: Ints
    received: Ints
    seq: Ints
    flags: NDArray[np.int8]
    values: Floats
    until: Ints
    coverage: Floats

    def at(self, index: Any) -> "Rows":
        """Those at an index, slice or mask."""
        return Rows(*(column[index] for column in self))


class _Spans(NamedTuple):
    """An input's value from each begin to its end, disjoint and in order; an amount is given by the second."""

    begin: Ints
    end: Ints
    value: Floats
    received: Ints
    seq: Ints
    flags: NDArray[np.int8]


class Calculated:
    """Answers of what is worked out of others."""

    def __init__(self, query: WindowQuery, plans: Plans, swaps: Swaps, clock: Clock, limits: Limits) -> None:
        self._query = query
        self._plans = plans
        self._swaps = swaps
        self._clock = clock
        self._limits = limits

    def inputs(self, project: str, thing: str, definition: Property) -> tuple[Input, ...]:
        """What a calculated property is worked out of in the end."""
        return self._plans(project, thing, definition).inputs

    def windows(self, project: str, thing: str, definition: Property, bounds: Ints) -> Windows:
        """Windows between `bounds`: IntervalWindows of an interval, LevelWindows of a gauge."""
        return self._rolled(self._plans(project, thing, definition), bounds)

    def rows(
        self, project: str, thing: str, definition: Property, low: int, high: int, limit: int | None,
        *, newest: bool = False, whole: bool = True,
    ) -> Rows:  # fmt: skip
        """Its values over [low, high), by time: at most `limit` from the first end, from the last when `newest`.

        A level has one whenever an input has, while all hold; an amount one for each interval of its own that is over
        and covered, wholly if `whole` says so; a ratio of amounts one for each `period_s`, if it has one. LimitError
        without a limit when its inputs have more than `query_rows_max` readings.
        """
        plan = self._plans(project, thing, definition)
        if plan.lacking:
            return _none()
        high = min(high, self._clock.now_ns() + 1)
        if low == TIME_MIN and (plan.nature is not Nature.LEVEL or not newest):
            since = [self._first(one) for one in plan.inputs]
            low = max(high if moment is None else moment for moment in since)
        if plan.nature is Nature.LEVEL:
            chunks = self._levels(plan, low, high, limit, newest=newest)
        else:
            length_s = definition.interval_s if plan.nature is Nature.AMOUNT else definition.period_s
            chunks = self._amounts(plan, round((length_s or 0) * NS_PER_S), low, high, limit, newest, whole)
        return _gathered(chunks, limit, newest=newest)

    def _rolled(self, plan: Plan, bounds: Ints) -> IntervalWindows | LevelWindows:
        figures = _Figures(self, plan, bounds)
        values, covered = figures.of(plan.root), figures.covered(plan.root)
        frame = windows.event(bounds, np.empty(0, np.int64), self._clock.now_ns())
        values = np.broadcast_to(np.asarray(values, np.float64), len(frame))
        known = (np.abs(values) < VALUE_MAX) & (covered > 0)
        values, covered = np.where(known, values, np.nan), np.where(known, covered, 0)
        columns = (frame.start, frame.end, frame.elapsed, covered)
        return IntervalWindows(*columns, values) if plan.nature is Nature.AMOUNT else LevelWindows(*columns, values)

    def of_inputs(self, plan: Plan, indices: Iterable[int], bounds: Ints) -> dict[int, Windows]:
        """Windows of some inputs, those of one name together."""
        groups: dict[tuple[str, str], dict[str, int]] = {}
        for index in indices:
            one = plan.inputs[index]
            groups.setdefault((one.project, one.definition.name), {})[one.thing] = index
        found: dict[int, Windows] = {}
        for (project, name), things in groups.items():
            answers = self._query.windows(project, list(things), name, bounds)
            found |= {index: answers[thing] for thing, index in things.items()}
        return found

    def signal(self, plan: Plan, term: Signal, bounds: Ints) -> tuple[Floats, Ints]:
        """A signal's means or amounts in windows, and what they cover; in halves where there are too many readings."""
        try:
            begin, end, values = self._cells(plan, term.of, int(bounds[0]), int(bounds[-1]))[:3]
        except LimitError:
            if len(bounds) <= 2:
                raise
            half = len(bounds) // 2
            parts = [self.signal(plan, term, part) for part in (bounds[: half + 1], bounds[half:])]
            return np.concatenate([parts[0][0], parts[1][0]]), np.concatenate([parts[0][1], parts[1][1]])
        amounts = values * ((end - begin) / NS_PER_S)
        rolled = windows.interval(bounds, begin, end, amounts, self._clock.now_ns())
        if term.amount:
            return rolled.amount, rolled.covered
        return rolled.amount / np.maximum(rolled.covered / NS_PER_S, 1e-9), rolled.covered

    def _cells(self, plan: Plan, term: Term, low: int, high: int) -> _Spans:
        """Where all inputs of a term are known: its value from each change to the next, around [low, high)."""
        spans = self._spans_of(plan, sorted(inputs_of(term)), low, high)
        grid = np.unique(np.concatenate([edge for one in spans.values() for edge in (one.begin, one.end)]))
        begin, end = grid[:-1], grid[1:]
        place = {index: np.searchsorted(one.begin, begin, side="right") - 1 for index, one in spans.items()}
        known = np.ones(len(begin), np.bool_)
        for index, one in spans.items():
            at = place[index]
            known &= (at >= 0) & (begin < one.end[at] if len(one.end) else False)
        begin, end = begin[known], end[known]
        place = {index: at[known] for index, at in place.items()}

        def leaf(inner: Any) -> Any:
            match inner:
                case Of():
                    return spans[inner.index].value[place[inner.index]]
                case Signal() | Integral():  # the rate of an integral is its level
                    return work_out(inner.of, leaf, COLUMNS)
            raise TypeError(type(inner).__name__)

        with np.errstate(all="ignore"):
            values = np.broadcast_to(np.asarray(work_out(term, leaf, COLUMNS), np.float64), len(begin))
        good = np.abs(values) < VALUE_MAX

        def of_all(name: str, work: Any, dtype: Any) -> Any:
            columns = [getattr(one, name)[place[index][good]] for index, one in spans.items()]
            return work.reduce(columns).astype(dtype)

        return _Spans(
            begin[good],
            end[good],
            values[good],
            of_all("received", np.maximum, np.int64),
            of_all("seq", np.maximum, np.int64),
            of_all("flags", np.bitwise_or, np.int8),
        )

    def _spans_of(self, plan: Plan, indices: Sequence[int], low: int, high: int) -> dict[int, _Spans]:
        """What some inputs' readings around [low, high) say of time; LimitError when they are too many at once."""
        groups: dict[tuple[str, Property], dict[str, int]] = {}
        for index in indices:
            one = plan.inputs[index]
            groups.setdefault((one.project, one.definition), {})[one.thing] = index
        found: dict[int, _Spans] = {}
        room = self._limits.query_rows_max
        for (project, definition), things in groups.items():
            frames = self._query.around_each(project, list(things), definition, low, high)
            room -= sum(map(len, frames.values()))
            if room < 0:
                raise LimitError("The inputs have more than query_rows_max readings.", "Ask for a shorter time.")
            found |= {index: self._spans(plan.inputs[index], frames[thing]) for thing, index in things.items()}
        return found

    def _spans(self, one: Input, frame: Frame) -> _Spans:
        """An input's readings as what they say of time."""
        definition = one.definition
        values = frame.cells.get(definition.name, Cells()).numbers(len(frame))
        last = np.append(frame.observed[1:] > frame.observed[:-1], True)[: len(frame)]  # one value at one instant
        frame, values = frame.take(last & np.isfinite(values)), values[last & np.isfinite(values)]
        columns = (frame.received, frame.seq, frame.flags)
        begin = frame.observed
        to_next = np.append(begin[1:], TIME_MAX)[: len(begin)] - begin
        if definition.kind is Kind.COUNTER:
            grown, _ = increases(begin, values, definition, self._swaps(*one.key))
            start, end, amounts = windows.gaps(begin, grown, _hold_ns(definition))
            at = np.searchsorted(begin, end)
            rates = amounts / ((end - start) / NS_PER_S)
            return _Spans(start, end, rates, frame.received[at], frame.seq[at], frame.flags[at])
        if definition.kind is Kind.INTERVAL:
            length = interval_ns(definition)
            return _Spans(begin, begin + np.minimum(to_next, length), values / (length / NS_PER_S), *columns)
        return _Spans(begin, begin + np.minimum(to_next, _hold_ns(definition)), values, *columns)

    def _levels(self, plan: Plan, low: int, high: int, limit: int | None, *, newest: bool) -> Iterator[Rows]:
        """Values at the times of its inputs' readings, chunk by chunk from one end; chunks grow while they give few."""
        span = high - low if limit is None else max(_hold_ns(one.definition) for one in plan.inputs)
        while low < high:
            start, end = (max(low, high - span), high) if newest else (low, min(high, low + span))
            try:
                found = self._cells(plan, plan.root, start, end)
            except LimitError:
                if limit is None or span < NS_PER_S:
                    raise
                span //= 4
                continue
            inside = (found.begin >= start) & (found.begin < end)
            yield Rows(found.begin, *found[3:], found.value, found.end, np.ones(len(inside))).at(inside)
            low, high = (low, start) if newest else (end, high)
            span *= 1 if int(inside.sum()) > (limit or 0) // 4 else 4

    def _first(self, one: Input) -> int | None:
        """When an input has its first reading; None when there is none."""
        frame = self._query.edge(one.project, one.thing, one.definition.name, TIME_MIN, TIME_MAX, 1, newest=False)
        return int(frame.observed[0]) if len(frame) else None

    def _amounts(
        self, plan: Plan, length: int, low: int, high: int, limit: int | None, newest: bool, whole: bool
    ) -> Iterator[Rows]:
        """Windows of its own length that are covered, chunk by chunk from one end."""
        if not length:
            return
        first, stop = -(-low // length), min(-(-high // length), self._clock.now_ns() // length)  # those that are over
        if limit is None and stop - first > self._limits.query_rows_max:
            raise LimitError("These are more than query_rows_max intervals.", "Ask for a shorter time.")
        while first < stop:
            count = min(stop - first, max(_WINDOWS_MIN, limit or self._limits.query_rows_max))
            begin = stop - count if newest else first
            found = self._rolled(plan, np.arange(begin, begin + count + 1, dtype=np.int64) * length)
            values = found.amount if isinstance(found, IntervalWindows) else found.level
            nothing = np.zeros(count, np.int64)
            rows = Rows(found.start, found.end, nothing, nothing.astype(np.int8), values, found.end, found.coverage)
            yield rows.at(found.covered >= (length if whole else 1))
            first, stop = (first, begin) if newest else (begin + count, stop)


class _Figures:
    """A plan in windows: each term's values, and the time of each window that they cover."""

    def __init__(self, source: Calculated, plan: Plan, bounds: Ints) -> None:
        self._source = source
        self._plan = plan
        self._bounds = bounds
        self._elapsed = windows.event(bounds, np.empty(0, np.int64), source._clock.now_ns()).elapsed
        self._inputs = source.of_inputs(plan, _plain_inputs(plan.root), bounds)
        self._signals: dict[int, tuple[Floats, Ints]] = {}

    def of(self, term: Term) -> Any:
        with np.errstate(all="ignore"):
            return work_out(term, self._leaf, COLUMNS)

    def covered(self, term: Term) -> Ints:
        """The least of what its inputs cover."""
        match term:
            case Fixed():
                return self._elapsed
            case Of():
                return self._inputs[term.index].covered
            case Signal():
                return self._signal(term)[1]
            case _:
                return reduce(np.minimum, map(self.covered, parts_of(term)))

    def _leaf(self, term: Any) -> Any:
        match term:
            case Of():
                return _figure(self._inputs[term.index])
            case Signal():
                return self._signal(term)[0]
            case Integral():
                return self.of(term.of) * (self.covered(term.of) / NS_PER_S)
        raise TypeError(type(term).__name__)

    def _signal(self, term: Signal) -> tuple[Floats, Ints]:
        found = self._signals.get(id(term))
        if found is None:
            found = self._signals[id(term)] = self._source.signal(self._plan, term, self._bounds)
        return found


def parts_of(term: Any) -> tuple[Term, ...]:
    """The terms directly in a term."""
    if isinstance(term, Quotient):
        return term.above, term.below
    return term.of if isinstance(term.of, tuple) else (term.of,)


def _plain_inputs(term: Term) -> set[int]:
    """The inputs that are not only parts of signals."""
    match term:
        case Fixed() | Signal():
            return set()
        case Of():
            return {term.index}
        case _:
            return set().union(*map(_plain_inputs, parts_of(term)))


def _figure(found: Windows) -> Floats:
    """What a window of an input stands for in a formula."""
    match found:
        case GaugeWindows():
            return found.time_mean
        case CounterWindows():
            return found.increase
        case IntervalWindows():
            return found.amount
    raise TypeError(type(found).__name__)


def _hold_ns(definition: Property) -> int:
    return max(1, round(definition.max_age_s * NS_PER_S))


def _gathered(chunks: Iterator[Rows], limit: int | None, *, newest: bool) -> Rows:
    """The rows of chunks in the order of time, as many as the limit says."""
    parts: list[Rows] = []
    count = 0
    for rows in chunks:
        parts.append(rows)
        count += len(rows.observed)
        if limit is not None and count >= limit:
            break
    if not parts:
        return _none()
    if newest:
        parts.reverse()
    whole = Rows(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    if limit is None:
        return whole
    return whole.at(slice(max(0, count - limit), None) if newest else slice(limit))


def _none() -> Rows:
    ints = np.empty(0, np.int64)
    return Rows(ints, ints, ints, np.empty(0, np.int8), np.empty(0), ints, np.empty(0))


def _divide(one: Any, other: Any) -> Any:
    return np.where(np.equal(other, 0), np.nan, np.divide(one, other))


COLUMNS = Arithmetic(_divide, np.minimum, np.maximum, np.abs)
"""Of arrays, alone or with numbers."""
