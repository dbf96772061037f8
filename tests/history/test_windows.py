"""Windows equal what a walk nanosecond by nanosecond finds; finer ones merge into coarser ones."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.history import windows as w
from taihu.history.calendar import Step, edges, parse_zone
from taihu.kernel.clock import NS_PER_S, parse_iso
from taihu.things.counter import increases
from taihu.things.property import Kind, Property

STATES = ("off", "on", "fault")
FAR = 10**6


class Case(NamedTuple):
    edges: list[int]
    readings: list[tuple[int, int]]  # time and value
    max_age: int
    now: int


times = st.lists(st.integers(0, 60), max_size=12).map(sorted)
rising = st.lists(st.integers(0, 60), min_size=2, max_size=8, unique=True).map(sorted)
cases = st.builds(
    lambda cut, seen, values, max_age, now: Case(cut, list(zip(seen, values, strict=False)), max_age, now),
    rising,
    times,
    st.lists(st.integers(-3, 3), min_size=12, max_size=12),
    st.one_of(st.integers(1, 20), st.just(2**62)),
    st.one_of(st.integers(-1, 70), st.just(FAR)),
)


def ints(values: Any) -> w.Ints:
    return np.array(list(values), dtype=np.int64)


def floats(values: Any) -> w.Floats:
    return np.array(list(values), dtype=np.float64)


def gauge(case: Case) -> w.GaugeWindows:
    observed, values = ints(t for t, _ in case.readings), floats(v for _, v in case.readings)
    return w.gauge(ints(case.edges), observed, values, case.max_age, case.now)


def counter(case: Case) -> w.CounterWindows:
    observed = ints(t for t, _ in case.readings)
    increases = floats(np.nan if v < -1 else abs(v) for _, v in case.readings)
    return w.counter(ints(case.edges), observed, increases, case.max_age, case.now)


def interval(case: Case) -> w.IntervalWindows:
    begin, amounts = ints(t for t, _ in case.readings), floats(v for _, v in case.readings)
    end = begin + 1 + np.arange(len(begin)) * 7 % 11
    return w.interval(ints(case.edges), begin, end, amounts, case.now)


def state(case: Case) -> w.StateWindows:
    observed, codes = ints(t for t, _ in case.readings), ints(abs(v) % 3 for _, v in case.readings)
    return w.state(ints(case.edges), observed, codes, STATES, case.max_age, case.now)


def event(case: Case) -> w.EventWindows:
    return w.event(ints(case.edges), ints(t for t, _ in case.readings), case.now)


KINDS: dict[Kind, Callable[[Case], w.Windows]] = {
    Kind.GAUGE: gauge,
    Kind.COUNTER: counter,
    Kind.INTERVAL: interval,
    Kind.STATE: state,
    Kind.EVENT: event,
}


def held(case: Case) -> dict[int, int]:
    """The index of the reading that holds, for each nanosecond up to now that has one."""
    found = {}
    for tick in range(min(61, case.now + 1)):
        before = [i for i, (t, _) in enumerate(case.readings) if t <= tick]
        if before and tick - case.readings[before[-1]][0] < case.max_age:
            found[tick] = before[-1]
    return found


def inside(case: Case, index: int) -> list[int]:
    """The readings of a window, as indices."""
    begin, end = case.edges[index : index + 2]
    return [i for i, (t, _) in enumerate(case.readings) if begin <= t < end and t <= case.now]


def check_frame(found: w.Windows, case: Case, covered: set[int]) -> None:
    for i, (begin, end) in enumerate(zip(case.edges, case.edges[1:], strict=False)):
        assert (found.start[i], found.end[i]) == (begin, end)
        assert found.elapsed[i] == sum(tick <= case.now for tick in range(begin, end))
        assert found.covered[i] == len(covered.intersection(range(begin, end)))
    assert np.all((found.coverage >= 0) & (found.coverage <= 1))
    assert np.array_equal(found.missing, found.coverage == 0)


def same(found: float, expected: float | Fraction | None) -> bool:
    return bool(np.isnan(found)) if expected is None else found == pytest.approx(float(expected), rel=1e-12, abs=1e-18)


@given(cases)
def test_gauge_equals_a_walk(case: Case) -> None:
    """§3"""
    found, holds = gauge(case), held(case)
    check_frame(found, case, set(holds))
    for i, (begin, end) in enumerate(zip(case.edges, case.edges[1:], strict=False)):
        values = [case.readings[j][1] for j in inside(case, i)]
        over_time = [case.readings[holds[tick]][1] for tick in range(begin, end) if tick in holds]
        assert found.count[i] == len(values)
        assert same(found.minimum[i], min(values, default=None))
        assert same(found.maximum[i], max(values, default=None))
        assert same(found.last[i], values[-1] if values else None)
        assert same(found.mean[i], Fraction(sum(values), len(values)) if values else None)
        assert same(found.time_mean[i], Fraction(sum(over_time), len(over_time)) if over_time else None)
        assert same(w.energy_kwh(found)[i], Fraction(sum(over_time), 3600 * NS_PER_S) if over_time else None)


@given(cases)
def test_what_is_counted_is_never_missing(case: Case) -> None:
    """§3"""
    found = gauge(case)
    counted = found.count > 0
    assert not np.any(found.missing & counted)
    for values in (found.minimum, found.maximum, found.last, found.mean):
        assert np.array_equal(np.isnan(values), ~counted)
    assert np.array_equal(np.isnan(found.time_mean), found.missing)


@given(cases)
def test_counter_equals_a_walk(case: Case) -> None:
    """§3"""
    at: dict[int, list[float | None]] = {}
    for i, (t, v) in enumerate(case.readings):
        if t <= case.now:
            at.setdefault(t, []).append(None if i == 0 or v < -1 else abs(v))
    ticks: dict[int, Fraction] = {}
    previous = None
    for t, parts in at.items():
        known = [Fraction(part) for part in parts if part is not None]
        even = previous is not None and t - previous <= case.max_age and len(known) == len(parts)
        span = range(previous, t) if even and previous is not None else range(t - 1, t)
        if known:
            ticks |= {tick: sum(known, Fraction(0)) / len(span) for tick in span}
        previous = t
    found = counter(case)
    check_frame(found, case, set(ticks))
    for i, (begin, end) in enumerate(zip(case.edges, case.edges[1:], strict=False)):
        shares = [ticks[tick] for tick in range(begin, end) if tick in ticks]
        assert same(found.increase[i], sum(shares, Fraction(0)) if shares else None)


@given(cases)
def test_adjacent_increases_add_up_to_the_whole(case: Case) -> None:
    whole = case._replace(edges=[-1, 100], now=FAR)
    parts = case._replace(edges=sorted({-1, 100, *case.edges}), now=FAR)
    total = np.nansum(counter(whole).increase)
    assert np.nansum(counter(parts).increase) == pytest.approx(total)
    known = [abs(v) for _, v in case.readings[1:] if v >= -1]
    assert total == pytest.approx(sum(known))


@given(cases)
def test_interval_equals_a_walk(case: Case) -> None:
    """§3"""
    found = interval(case)
    covered: set[int] = set()
    sums: dict[int, Fraction] = {}
    for i, (begin, amount) in enumerate(case.readings):
        span = range(begin, begin + 1 + i * 7 % 11)
        for tick in span:
            if begin <= case.now and tick <= case.now:
                covered.add(tick)
                sums[tick] = sums.get(tick, Fraction(0)) + Fraction(amount, len(span))
    check_frame(found, case, covered)
    for i, (begin, end) in enumerate(zip(case.edges, case.edges[1:], strict=False)):
        shares = [sums[tick] for tick in range(begin, end) if tick in sums]
        assert same(found.amount[i], sum(shares, Fraction(0)) if shares else None)


@given(cases)
def test_interval_is_shared_out_block_by_block(case: Case) -> None:
    whole = interval(case)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(w, "_PIECES_MAX", 3)
        np.testing.assert_allclose(interval(case).amount, whole.amount, rtol=1e-12, atol=1e-12)


@given(cases)
def test_state_equals_a_walk(case: Case) -> None:
    """§3"""
    found, holds = state(case), held(case)
    codes = [abs(v) % 3 for _, v in case.readings]
    check_frame(found, case, set(holds))
    for i, (begin, end) in enumerate(zip(case.edges, case.edges[1:], strict=False)):
        for code in range(3):
            ns = sum(codes[holds[tick]] == code for tick in range(begin, end) if tick in holds)
            assert (found.held[i, code], found.seconds[i, code]) == (ns, ns / NS_PER_S)
        own = inside(case, i)
        assert found.count[i] == len(own)
        assert found.changes[i] == sum(j > 0 and codes[j] != codes[j - 1] for j in own)
        assert found.last[i] == (codes[own[-1]] if own else w.NO_STATE)


@given(cases)
def test_event_equals_a_walk(case: Case) -> None:
    found = event(case)
    check_frame(found, case, set(range(min(61, case.now + 1))))
    assert found.count.tolist() == [len(inside(case, i)) for i in range(len(found))]


@pytest.mark.parametrize("kind", list(Kind))
@given(case=cases, data=st.data())
def test_finer_windows_merge_into_coarser_ones(kind: Kind, case: Case, data: st.DataObject) -> None:
    """Equal to the direct computation, also when missing windows were not stored."""
    coarse = sorted(data.draw(st.sets(st.sampled_from(case.edges), min_size=2)))
    fine, direct = KINDS[kind](case), KINDS[kind](case._replace(edges=coarse))
    columns: dict[str, Any] = {name: getattr(fine, name) for name in field_names(fine)}
    known = {name: value if name == "states" else value[~fine.missing] for name, value in columns.items()}
    sparse = type(fine)(**known)
    for stored in (fine, sparse):
        merged = w.merge(stored, ints(coarse), case.now)
        for name in [*field_names(direct), "coverage", *(["mean", "time_mean"] if kind is Kind.GAUGE else [])]:
            found, expected = getattr(merged, name), getattr(direct, name)
            if isinstance(expected, tuple):
                assert found == expected
            else:
                assert found.dtype == expected.dtype
                np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-18)


def field_names(windows: w.Windows) -> list[str]:
    return [*w.Windows.__slots__, *type(windows).__slots__]


@pytest.mark.parametrize("kind", list(Kind))
@given(case=cases, late=st.integers(0, 60), value=st.integers(-3, 3))
def test_a_late_reading_changes_only_the_windows_touched(kind: Kind, case: Case, late: int, value: int) -> None:
    """§5"""
    reach = min(case.max_age, 100)
    case = case._replace(max_age=reach)
    after = sorted([*case.readings, (late, value)], key=lambda reading: reading[0])
    following = min((t for t, _ in case.readings if t > late), default=late)
    if kind is Kind.INTERVAL:
        reach = 11
        case = case._replace(readings=[])  # the lengths of `interval` above go by index
        after = [(late, value)]
    found = w.touched(kind, ints(case.edges), ints([late]), reach, ints([following])).tolist()
    old, new = KINDS[kind](case), KINDS[kind](case._replace(readings=after))
    changed: set[int] = set()
    for name in field_names(old):
        one, other = getattr(old, name), getattr(new, name)
        if not isinstance(one, tuple):
            differ = ~np.isclose(one, other, rtol=1e-12, atol=1e-18, equal_nan=True)
            changed.update(np.flatnonzero(differ.reshape(len(old), -1).any(axis=1)).tolist())
    assert changed <= set(found)
    assert found == sorted(set(found))
    near = (late - reach, late + reach)
    for i in found:
        begin, end = case.edges[i : i + 2]
        assert (begin < near[1] and end > near[0]) or begin <= following <= end


def test_touched_joins_the_windows_of_many_readings() -> None:
    found = w.touched(Kind.GAUGE, ints(range(0, 101, 10)), ints([-5, 3, 41, 44, 99, 200]), 10)
    assert found.tolist() == [0, 1, 4, 5, 9]


@pytest.mark.parametrize(
    ("zone", "day", "length"),
    [
        ("Europe/Berlin", "2024-03-31T00:00:00+01:00", 23),
        ("Europe/Berlin", "2024-10-27T00:00:00+02:00", 25),
        ("Asia/Shanghai", "2024-03-31T00:00:00+08:00", 24),
        ("Australia/Lord_Howe", "2024-04-07T00:00:00+11:00", 24.5),
        ("America/New_York", "2024-11-03T00:00:00-04:00", 25),
    ],
)
def test_a_constant_load_uses_energy_by_the_true_length_of_the_day(zone: str, day: str, length: float) -> None:
    """§9: 2 kW all day, through minutes, hours and the day."""
    tz, start = parse_zone(zone), parse_iso(day)
    days = edges(start, start + 1, Step.DAY, tz)
    observed = np.arange(start - 30 * NS_PER_S, days[-1], 60 * NS_PER_S, dtype=np.int64)
    minutes = edges(start, int(days[-1]), Step.MINUTE, tz)
    fine = w.gauge(minutes, observed, np.full(len(observed), 2.0), 900 * NS_PER_S, int(days[-1]))
    hours = w.merge(fine, edges(start, int(days[-1]), Step.HOUR, tz), int(days[-1]))
    day_long = w.merge(hours, days, int(days[-1]))
    assert w.energy_kwh(day_long) == pytest.approx([2 * length])
    assert day_long.coverage.tolist() == [1.0]
    assert day_long.count.tolist() == [length * 60]


def test_uncovered_time_adds_no_energy() -> None:
    """§9: 6 kW for the 15 minutes it holds, then silence."""
    found = w.gauge(ints([0, 3600 * NS_PER_S]), ints([0]), floats([6]), 900 * NS_PER_S, FAR * NS_PER_S)
    assert (w.energy_kwh(found).tolist(), found.coverage.tolist()) == ([1.5], [0.25])


def test_a_reading_on_an_edge_belongs_to_the_window_it_opens() -> None:
    found = w.gauge(ints([0, 10, 20]), ints([10, 10]), floats([1, 2]), 5, FAR)
    assert (found.count.tolist(), found.covered.tolist(), found.last[1]) == ([0, 2], [0, 5], 2)


def test_a_value_before_the_windows_carries_in() -> None:
    found = w.gauge(ints([10, 20]), ints([2, 4]), floats([7, 8]), 10, FAR)
    assert (found.count[0], found.covered[0], found.time_mean[0]) == (0, 4, 8)
    assert np.isnan(found.mean[0])


def test_a_long_gap_gives_its_increase_to_the_window_of_its_end() -> None:
    found = w.counter(ints([0, 10, 20, 30]), ints([5, 30]), floats([np.nan, 4]), 20, FAR)
    assert found.missing.tolist() == [True, True, False]
    assert (found.increase[2], found.covered[2]) == (4, 1)


def test_a_short_gap_is_shared_out_by_time() -> None:
    found = w.counter(ints([0, 10, 20]), ints([5, 15]), floats([np.nan, 4]), 20, FAR)
    assert (found.increase.tolist(), found.coverage.tolist()) == ([2, 2], [0.5, 0.5])


def test_counter_takes_what_a_register_counted() -> None:
    """A register that is reset between 10 and 20, with a transformer ratio of 40."""
    definition = Property(name="energy", kind=Kind.COUNTER, ratio=40.0)
    observed = ints([0, 10, 20, 30])
    grown, _ = increases(observed, floats([100, 103, 1, 2]), definition)
    assert w.counter(observed, observed, grown, 10, FAR).increase.tolist() == [120, 40, 40]


def test_large_values_do_not_hide_small_ones_elsewhere() -> None:
    found = w.gauge(ints([0, 10, 20]), ints([0, 10]), floats([1e18, 1e-3]), 10, FAR)
    assert found.time_mean.tolist() == [1e18, 1e-3]


def test_integers_are_values_too() -> None:
    found = w.gauge(ints([0, 10, 20]), ints([5]), np.array([7]), 5, FAR)
    assert (found.mean[0], found.time_mean[0], found.missing.tolist()) == (7, 7, [False, True])


def test_a_mean_lies_between_minimum_and_maximum() -> None:
    found = w.gauge(ints([0, 10]), ints(range(10)), floats([0.1] * 10), 5, FAR)
    assert found.mean.tolist() == [0.1]


EDGES = ints([0, 10])


@pytest.mark.parametrize(
    "misuse",
    [
        lambda: w.gauge(ints([0]), EDGES, floats([1, 2]), 5, 9),
        lambda: w.gauge(ints([5, 5]), EDGES, floats([1, 2]), 5, 9),
        lambda: w.gauge(EDGES, ints([2, 1]), floats([1, 2]), 5, 9),
        lambda: w.gauge(EDGES, EDGES, floats([1]), 5, 9),
        lambda: w.gauge(EDGES, EDGES, floats([1, np.nan]), 5, 19),
        lambda: w.gauge(EDGES, EDGES, floats([1, -1e300]), 5, 19),
        lambda: w.gauge(EDGES, EDGES, floats([1, 2]), 0, 9),
        lambda: w.counter(EDGES, EDGES, floats([1, np.inf]), 5, 19),
        lambda: w.interval(EDGES, ints([1]), ints([1]), floats([1]), 9),
        lambda: w.state(EDGES, ints([1]), ints([3]), STATES, 5, 9),
        lambda: w.state(EDGES, ints([1]), ints([-1]), STATES, 5, 9),
        lambda: w.touched(Kind.COUNTER, EDGES, ints([1]), 5),
        lambda: w.touched(Kind.STATE, EDGES, ints([1]), 5),
        lambda: w.merge(w.event(ints([0, 7, 12]), ints([1]), 20), EDGES, 20),
        lambda: w.merge(w.event(ints([-1, 5, 10]), ints([1]), 20), EDGES, 20),
        lambda: w.merge(w.gauge(EDGES, ints([1]), floats([1]), 9, 9), EDGES, 0),
        lambda: w.merge(w.EventWindows(EDGES, EDGES + 15, EDGES, EDGES, EDGES), EDGES, 20),
    ],
)
def test_what_breaks_the_contract_is_refused(misuse: Callable[[], object]) -> None:
    with pytest.raises(w.WindowMisuse, match=": "):
        misuse()
