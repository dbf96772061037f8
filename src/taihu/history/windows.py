"""What happened in windows of time, by kind of property (§2, §3), and how late readings change it (§5).

Readings are arrays sorted by `observed` (then by seq), times and lengths int64 nanoseconds. `edges` are rising; window
w is [edges[w], edges[w + 1]). Readings outside the edges are welcome as context: the last one before them carries its
value in, and a counter needs the first one after them to know what was counted up to the last edge. Every window ends
at `now_ns` at the latest, that nanosecond included: later readings are not seen yet. docs/semantics.md has examples.
"""

from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from taihu.kernel.clock import HOUR_NS, NS_PER_S
from taihu.kernel.errors import LocalError
from taihu.things.property import Kind

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

NO_STATE = -1  # `StateWindows.last` of a window without a reading
_VALUE_MAX = 1e280  # such values times a century of nanoseconds still add up to a number
_PIECES_MAX = 1 << 20  # bounds the memory that overlapping intervals take


class WindowMisuse(LocalError):
    """The arrays handed to a window function break its contract; the message says which rule."""

    code = "windows"


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows side by side. `covered` of `elapsed` ns are known; a result of a missing window is NaN, never 0."""

    start: Ints
    end: Ints
    elapsed: Ints
    covered: Ints

    @property
    def coverage(self) -> Floats:
        """The known part of the elapsed window, 0 to 1."""
        return self.covered / np.maximum(self.elapsed, 1)

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Whether nothing at all is known of the window."""
        return np.equal(self.covered, 0)

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True, slots=True)
class GaugeWindows(Windows):
    """Samples of a gauge. `total` is their sum, `weighted` the integral of the held value over covered ns."""

    count: Ints
    minimum: Floats
    maximum: Floats
    last: Floats
    total: Floats
    weighted: Floats

    @property
    def mean(self) -> Floats:
        """Mean of the samples; NaN without one."""
        mean = _known(self.total / np.maximum(self.count, 1), self.count)
        return np.clip(mean, self.minimum, self.maximum)  # a rounded sum may overstep

    @property
    def time_mean(self) -> Floats:
        """Mean over covered time of the value held; NaN where nothing is covered."""
        return _known(self.weighted / np.maximum(self.covered, 1), self.covered)


@dataclass(frozen=True, slots=True)
class CounterWindows(Windows):
    """How much a counter rose; NaN where unknown."""

    increase: Floats


@dataclass(frozen=True, slots=True)
class IntervalWindows(Windows):
    """The amount that falls into each window; NaN where unknown."""

    amount: Floats


@dataclass(frozen=True, slots=True)
class StateWindows(Windows):
    """Time in states: `held[w, s]` ns of window w in `states[s]`. `last` is an index into `states` or NO_STATE."""

    states: tuple[str, ...]
    held: Ints
    count: Ints
    changes: Ints
    last: Ints

    @property
    def seconds(self) -> Floats:
        """Seconds in each state, windows by states."""
        return self.held / NS_PER_S


@dataclass(frozen=True, slots=True)
class EventWindows(Windows):
    """How many events there were. Silence is an answer here: all elapsed time counts as covered."""

    count: Ints


W = TypeVar("W", bound=Windows)


def gauge(edges: Ints, observed: Ints, values: Floats, max_age_ns: int, now_ns: int) -> GaugeWindows:
    """Windows of a gauge whose value holds until the next reading, for at most `max_age_ns`. Values are finite."""
    clipped = _clip(edges, now_ns)
    observed = _check_readings(observed, now_ns, values, max_age_ns=max_age_ns)
    values = _check_finite(values[: len(observed)])
    spans = _Spans.lay(clipped, observed, _hold(observed, max_age_ns, clipped))
    bounds = spans.bounds
    return GaugeWindows(
        *_frame(edges, clipped),
        covered=spans.covered(),
        count=np.diff(bounds),
        minimum=_reduce(np.minimum, values, bounds, np.nan),
        maximum=_reduce(np.maximum, values, bounds, np.nan),
        last=_pick(values, bounds, np.nan),
        total=_reduce(np.add, values, bounds, 0.0),
        weighted=spans.integral(values, np.ones(1, dtype=np.int64)),
    )


def counter(edges: Ints, observed: Ints, increases: Floats, max_age_ns: int, now_ns: int) -> CounterWindows:
    """Windows of a counter from its increases (`things.counter` knows resets, wrap and ratio).

    `increases[i]` is what was counted from reading i - 1 to reading i, NaN when that is not known; the first is
    ignored, as the reading before it is not here. An increase is spread evenly over its gap when that is at most
    `max_age_ns`. A longer gap gives all of it to the window of the gap's last nanosecond and covers no more than that.
    """
    clipped = _clip(edges, now_ns)
    observed = _check_readings(observed, now_ns, increases, max_age_ns=max_age_ns)
    begin, end, amounts = gaps(observed, increases[: len(observed)], max_age_ns)
    spans = _Spans.lay(clipped, begin, end)
    covered = spans.covered()
    increase = spans.integral(_check_finite(amounts), end - begin)
    return CounterWindows(*_frame(edges, clipped), covered=covered, increase=_known(increase, covered))


def interval(edges: Ints, begin: Ints, end: Ints, amounts: Floats, now_ns: int) -> IntervalWindows:
    """Windows of amounts over [begin, end), sorted by `begin`: each shared out by time, overlaps summed."""
    clipped = _clip(edges, now_ns)
    begin = _check_readings(begin, now_ns, end, amounts)
    end, amounts = end[: len(begin)], _check_finite(amounts[: len(begin)])
    if np.any(end <= begin):
        raise WindowMisuse("An interval ends where or before it begins:", "give every interval a length.")
    reach = np.maximum.accumulate(end)
    fresh = begin.copy()
    fresh[1:] = np.maximum(begin[1:], reach[:-1])  # an overlap covers time once
    covered = _Spans.lay(clipped, fresh, np.maximum(end, fresh)).covered()
    amount = _share(clipped, begin, end, amounts)
    return IntervalWindows(*_frame(edges, clipped), covered=covered, amount=_known(amount, covered))


def state(
    edges: Ints, observed: Ints, codes: Ints, states: tuple[str, ...], max_age_ns: int, now_ns: int
) -> StateWindows:
    """Windows of a state, `codes` being indices into `states`, that holds as a gauge's value does.

    A change is a reading whose state differs from that of the reading before it, however long ago that was.
    """
    clipped = _clip(edges, now_ns)
    observed = _check_readings(observed, now_ns, codes, max_age_ns=max_age_ns)
    codes = codes[: len(observed)].astype(np.int64, copy=False)
    if len(codes) and (codes.min() < 0 or codes.max() >= len(states)):
        raise WindowMisuse("A state's code is no index into `states`:", "number the states from 0.")
    spans = _Spans.lay(clipped, observed, _hold(observed, max_age_ns, clipped))
    bounds = spans.bounds
    count = np.diff(bounds)
    held = np.zeros((len(count), len(states)), dtype=np.int64)
    inside = slice(bounds[0], bounds[-1])
    np.add.at(held, (np.repeat(np.arange(len(count)), count), codes[inside]), spans.inner[inside])
    entered = np.flatnonzero(spans.carry)
    held[entered, codes[bounds[entered] - 1]] += spans.carry[entered]
    changed = np.zeros(len(codes), dtype=np.int64)
    changed[1:] = codes[1:] != codes[:-1]
    return StateWindows(
        *_frame(edges, clipped),
        covered=spans.covered(),
        states=states,
        held=held,
        count=count,
        changes=_reduce(np.add, changed, bounds, 0),
        last=_pick(codes, bounds, NO_STATE),
    )


def event(edges: Ints, observed: Ints, now_ns: int) -> EventWindows:
    """Windows of events: how many."""
    start, end, elapsed = _frame(edges, clipped := _clip(edges, now_ns))
    bounds = np.searchsorted(_check_readings(observed, now_ns), clipped)
    return EventWindows(start, end, elapsed, elapsed, np.diff(bounds))


def merge(fine: W, edges: Ints, now_ns: int) -> W:
    """Coarser windows from finer ones, equal to those computed from the readings.

    Finer windows that are missing may be left out. Raises WindowMisuse when one crosses an edge (hours of UTC do not
    add up to days in Asia/Kolkata: take minutes), or when `now_ns` is before the one they were made with.
    """
    start, end, elapsed = _frame(edges, _clip(edges, now_ns))
    if np.any(fine.start[1:] < fine.end[:-1]):
        raise WindowMisuse("The finer windows overlap or are not in order:", "sort them by start, each once.")
    used = fine.start < edges[-1]
    if np.any(fine.end[used] > edges[np.searchsorted(edges, fine.start[used], side="right")]):
        raise WindowMisuse("A finer window crosses an edge:", "merge from a step that divides the coarser one.")
    bounds = np.searchsorted(fine.start, edges)
    covered = elapsed if isinstance(fine, EventWindows) else _reduce(np.add, fine.covered, bounds, 0)
    if np.any(covered > elapsed):
        raise WindowMisuse("The finer windows cover more time than has passed:", "merge with a later `now_ns`.")
    own = [field.name for field in fields(fine) if field.name not in Windows.__slots__]
    return type(fine)(start, end, elapsed, covered, **{name: _merge(fine, name, bounds, covered) for name in own})


def energy_kwh(power: GaugeWindows) -> Floats:
    """The energy of a power gauge in kW (§9): its time-weighted mean times the covered hours, NaN where none is.

    Uncovered time adds nothing and is not guessed: read the result beside its coverage.
    """
    return _known(power.weighted / HOUR_NS, power.covered)


def touched(kind: Kind, edges: Ints, observed: Ints, reach_ns: int, following: Ints | None = None) -> Ints:
    """Indices, rising, of the windows that new, late or corrected readings can change (§5).

    `reach_ns` is `max_age` of a gauge, state or counter, and the length of an interval. A counter and a state also
    need, for each reading, the time of the reading that follows it (its own time when there is none), however far.
    """
    begin = observed - reach_ns if kind is Kind.COUNTER else observed
    end = observed + (1 if kind is Kind.EVENT else reach_ns)
    if kind in (Kind.COUNTER, Kind.STATE):
        if following is None:
            raise WindowMisuse(f"A late reading of a {kind} changes what the next one says:", "pass `following`.")
        then = following - 1 if kind is Kind.COUNTER else following  # where a long gap's increase, or a change, counts
        begin, end = np.concatenate((begin, then)), np.concatenate((end, then + 1))
    first = np.clip(np.searchsorted(edges, begin, side="right") - 1, 0, len(edges) - 1)
    stop = np.maximum(np.minimum(np.searchsorted(edges, end), len(edges) - 1), first)
    depth = np.bincount(first, minlength=len(edges)) - np.bincount(stop, minlength=len(edges))
    return np.flatnonzero(np.cumsum(depth[:-1])).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Spans:
    """Disjoint spans of time, in order, laid over windows: at most one of them carries into each window.

    Spans `bounds[w]` to `bounds[w + 1]` begin in window w, each with `inner` ns inside it; span `bounds[w] - 1`
    carries in for `carry[w]` ns.
    """

    bounds: Ints
    inner: Ints
    carry: Ints

    @classmethod
    def lay(cls, edges: Ints, begin: Ints, end: Ints) -> "_Spans":
        bounds = np.searchsorted(begin, edges)
        inner = end - begin
        filled = np.flatnonzero(bounds[1:] > bounds[:-1])
        final = bounds[filled + 1] - 1  # only the last span of a window can reach over its end
        inner[final] = np.minimum(end[final], edges[filled + 1]) - begin[final]
        carry = np.zeros(len(edges) - 1, dtype=np.int64)
        entered = np.flatnonzero(bounds[:-1])
        over = np.minimum(end[bounds[entered] - 1], edges[entered + 1]) - edges[entered]
        carry[entered] = np.maximum(over, 0)
        return cls(bounds, inner, carry)

    def covered(self) -> Ints:
        """Nanoseconds of each window that lie in a span."""
        return _reduce(np.add, self.inner, self.bounds, 0) + self.carry

    def integral(self, amounts: Floats, length: Ints) -> Floats:
        """Per window, the sum of each span's amount times its share, overlap / length. A lone length serves all."""
        result = _reduce(np.add, amounts * (self.inner / length), self.bounds, 0.0)
        entered = np.flatnonzero(self.carry)
        span = self.bounds[entered] - 1
        result[entered] += amounts[span] * (self.carry[entered] / (length if len(length) == 1 else length[span]))
        return result


def _clip(edges: Ints, now_ns: int) -> Ints:
    """The edges as far as time has come."""
    if len(edges) < 2 or np.any(edges[1:] <= edges[:-1]):
        raise WindowMisuse("Edges do not rise:", "pass at least two, each later than the one before.")
    return np.minimum(edges, now_ns + 1)


def _frame(edges: Ints, clipped: Ints) -> tuple[Ints, Ints, Ints]:
    return edges[:-1], edges[1:], np.diff(clipped)


def _check_readings(observed: Ints, now_ns: int, *columns: NDArray[Any], max_age_ns: int = 1) -> Ints:
    """The times that are not after now, once order and lengths are known to be right."""
    if max_age_ns <= 0:
        raise WindowMisuse("A value that holds for no time covers none:", "give a max_age above 0.")
    if any(len(column) != len(observed) for column in columns):
        raise WindowMisuse("The arrays of one reading differ in length:", "pass one entry per reading in each.")
    if np.any(observed[1:] < observed[:-1]):
        raise WindowMisuse("Readings are out of order:", "sort them by time, then by seq.")
    return observed[: np.searchsorted(observed, now_ns, side="right")]


def _check_finite(values: Floats) -> Floats:
    if not np.all(np.abs(values) < _VALUE_MAX):
        raise WindowMisuse(f"A value is NaN, infinite or beyond {_VALUE_MAX}:", "leave out what is no reading (§3).")
    return values.astype(np.float64, copy=False)


def _hold(observed: Ints, max_age_ns: int, edges: Ints) -> Ints:
    """When each reading stops holding: at the next one or at its `max_age`; the last edge is late enough."""
    final = np.maximum(observed[-1:], edges[-1])
    return observed + np.minimum(np.diff(observed, append=final), max_age_ns)


def gaps(observed: Ints, increases: Floats, max_age_ns: int) -> tuple[Ints, Ints, Floats]:
    """Begin, end and increase of each span that a counter's readings know; readings of one instant count as one."""
    known = ~np.isnan(increases)
    known[:1] = False
    fresh = np.flatnonzero(np.diff(observed, prepend=observed[:1] - 1))
    end, amounts, whole = observed[fresh], np.where(known, increases, 0.0), known
    if len(fresh) < len(observed):
        amounts = np.add.reduceat(amounts, fresh)
        whole = np.logical_and.reduceat(known, fresh)
        known = np.logical_or.reduceat(known, fresh)
    begin = np.concatenate((end[:1] - 1, end[:-1]))
    begin = np.where(whole & (end - begin <= max_age_ns), begin, end - 1)
    return begin[known], end[known], amounts[known]


def _share(edges: Ints, begin: Ints, end: Ints, amounts: Floats) -> Floats:
    """Each amount shared out over the windows it overlaps, by time; a block of pieces at a time."""
    count = len(edges) - 1
    first = np.maximum(np.searchsorted(edges, begin, side="right") - 1, 0)
    pieces = np.maximum(np.minimum(np.searchsorted(edges, end), count) - first, 0)
    done = np.concatenate(([0], np.cumsum(pieces)))
    result = np.zeros(count)
    low = 0
    while low < len(begin):
        high = max(int(np.searchsorted(done, done[low] + _PIECES_MAX, side="right")) - 1, low + 1)
        owner = np.repeat(np.arange(low, high), pieces[low:high])
        window = np.arange(done[low], done[high]) - done[owner] + first[owner]
        overlap = np.minimum(end[owner], edges[window + 1]) - np.maximum(begin[owner], edges[window])
        weights = amounts[owner] * (overlap / (end[owner] - begin[owner]))
        result += np.bincount(window, weights=weights, minlength=count)
        low = high
    return result


def _merge(fine: Any, name: str, bounds: Ints, covered: Ints) -> Any:
    """One field of the coarser windows, by the field's own rule."""
    values = getattr(fine, name)
    match name:
        case "states":
            return values
        case "minimum":
            return _reduce(np.fmin, values, bounds, np.nan)
        case "maximum":
            return _reduce(np.fmax, values, bounds, np.nan)
        case "last":
            filled = np.flatnonzero(fine.count)
            nothing = NO_STATE if isinstance(fine, StateWindows) else np.nan
            return _pick(values[filled], np.searchsorted(filled, bounds), nothing)
        case "increase" | "amount":
            return _known(_reduce(np.add, np.where(fine.covered > 0, values, 0.0), bounds, 0.0), covered)
        case _:
            return _reduce(np.add, values, bounds, 0)


def _reduce(ufunc: np.ufunc, values: NDArray[Any], bounds: Ints, nothing: float) -> NDArray[Any]:
    """`ufunc` over values[bounds[w]:bounds[w + 1]] for each window w; `nothing` where that is empty."""
    result = np.full((len(bounds) - 1, *values.shape[1:]), nothing, dtype=values.dtype)
    filled = np.flatnonzero(bounds[1:] > bounds[:-1])
    if len(filled):
        result[filled] = ufunc.reduceat(values[: bounds[-1]], bounds[filled], axis=0)
    return result


def _pick(values: NDArray[Any], bounds: Ints, nothing: float) -> NDArray[Any]:
    """The last of values[bounds[w]:bounds[w + 1]] for each window w; `nothing` where that is empty."""
    result = np.full(len(bounds) - 1, nothing, dtype=values.dtype)
    filled = np.flatnonzero(bounds[1:] > bounds[:-1])
    result[filled] = values[bounds[filled + 1] - 1]
    return result


def _known(values: Floats, weight: Ints) -> Floats:
    return np.where(weight > 0, values, np.nan)
