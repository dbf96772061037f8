"""Values checked against their property and packed (§2, §3, §13)."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.kernel.clock import NS_PER_S
from taihu.kernel.limits import Limits
from taihu.things.property import DataType, Kind, OnBad, Property
from taihu.things.validate import check_time, check_times, check_value, pack_column

NUMBER = Property(name="x")
RANGED = Property(name="x", minimum=0, maximum=100)
FLAGGED = Property(name="x", minimum=0, maximum=100, on_bad=OnBad.FLAG)
INTEGER = Property(name="x", data_type=DataType.INTEGER)
BOOLEAN = Property(name="x", data_type=DataType.BOOLEAN, kind=Kind.STATE)
STRING = Property(name="x", data_type=DataType.STRING, kind=Kind.STATE)
MODE = Property(name="x", data_type=DataType.STRING, kind=Kind.STATE, enum=("on", "off"))
OBJECT = Property(name="x", data_type=DataType.OBJECT, kind=Kind.EVENT)
WRAPPING = Property(name="x", kind=Kind.COUNTER, wrap=1000)
ALL = [NUMBER, RANGED, FLAGGED, INTEGER, BOOLEAN, STRING, MODE, OBJECT, WRAPPING]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary(max_size=4)
    | st.sampled_from(["on", "off", "\ud800", 2**63, 10**400, -(2**63), 50, 99.5, True])
)
anything = st.recursive(
    scalars, lambda below: st.lists(below, max_size=3) | st.dictionaries(scalars, below, max_size=3), max_leaves=6
)


@pytest.mark.parametrize(
    ("definition", "values", "code", "packed"),
    [
        (NUMBER, [1.5, 2, -0.0], "d", [1.5, 2.0, -0.0]),
        (NUMBER, [1e308, 1e308], "d", [1e308, 1e308]),
        (NUMBER, [2**70], "d", [float(2**70)]),
        (NUMBER, [10**308, 1.5], "d", [1e308, 1.5]),
        (RANGED, [0, 100.0], "d", [0.0, 100.0]),
        (INTEGER, [1, -(2**63), 2**63 - 1], "q", [1, -(2**63), 2**63 - 1]),
        (INTEGER, [1, 20.0], "q", [1, 20]),
        (BOOLEAN, [True, False], "b", [True, False]),
        (STRING, ["a", ""], "o", ["a", ""]),
        (MODE, ["on", "off"], "o", ["on", "off"]),
        (OBJECT, [{"a": [1, None]}, []], "o", [{"a": [1, None]}, []]),
        (WRAPPING, [1000], "d", [1000.0]),
        *[
            (definition, [], code, [])
            for definition, code in [(NUMBER, "d"), (INTEGER, "q"), (BOOLEAN, "b"), (STRING, "o")]
        ],
    ],
)
def test_good_columns(definition: Property, values: list[Any], code: str, packed: list[Any]) -> None:
    column, refused, suspect = pack_column(definition, values)
    assert (column.code, list(column.values()), refused, suspect) == (code, packed, [], [])


@pytest.mark.parametrize(
    ("definition", "value", "reason"),
    [
        (NUMBER, True, "a boolean where a number"),
        (NUMBER, "3.5", "the string '3.5' where a number"),
        (NUMBER, None, "null where a number"),
        (NUMBER, [1], "an array where a number"),
        (NUMBER, {}, "an object where a number"),
        (NUMBER, math.nan, "not a finite number"),
        (NUMBER, -math.inf, "not a finite number"),
        (NUMBER, 10**400, "too large"),
        (RANGED, -0.5, "below the minimum 0"),
        (RANGED, 101, "above the maximum 100"),
        (WRAPPING, 1001.0, "above the maximum 1000"),
        (INTEGER, 1.5, "not an integer"),
        (INTEGER, math.nan, "not a finite number"),
        (INTEGER, True, "a boolean where an integer"),
        (INTEGER, 2**63, "64 bits"),
        (INTEGER, 1e300, "64 bits"),
        (BOOLEAN, 1, "a number where a boolean"),
        (STRING, 1, "a number where a string"),
        (STRING, "\ud800", "Unicode"),
        (MODE, "auto", "'auto' is not one of on, off"),
        (OBJECT, "x", "the string 'x' where an object or array"),
        (OBJECT, {"a": math.nan}, "not a finite number"),
        (OBJECT, {"a": 2**64}, "64 bits"),
        (OBJECT, {1: 2}, "key that is not a string"),
        (OBJECT, [b"x"], "a bytes where plain JSON"),
        (OBJECT, ["\udc00"], "Unicode"),
    ],
)
def test_bad_values(definition: Property, value: Any, reason: str) -> None:
    good: Any = {"number": 50, "integer": 3, "boolean": True, "string": "on", "object": []}[definition.data_type]
    column, refused, suspect = pack_column(definition, [good, value, good])
    assert list(column.values()) == [good, good]
    assert [row for row, _ in refused] == [1]
    assert reason in refused[0][1]
    assert suspect == []
    assert check_value(definition, value) == refused[0][1]
    assert check_value(definition, good) is None


def test_flagged_rows_stay_in_the_column_unless_it_cannot_hold_them() -> None:
    column, refused, suspect = pack_column(FLAGGED, [1.0, 250, "x", math.inf, -5])
    assert list(column.values()) == [1.0, 250.0, -5.0]
    assert [row for row, _ in suspect] == [1, 4]
    assert [row for row, _ in refused] == [2, 3]


def test_deep_wide_and_shared_objects_are_bounded() -> None:
    """§13: CBOR can name one list many times; 2**40 items fit a few bytes."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    shared: Any = ["x"]
    for _ in range(30):
        shared = [shared, shared]
    column, refused, _ = pack_column(OBJECT, [deep, shared])
    assert column.values() == []
    assert "deeper" in refused[0][1]
    assert "more than" in refused[1][1]
    while deep:
        deep = deep.pop()


@given(st.sampled_from(ALL), st.lists(anything, max_size=6))
def test_any_values_are_packed_or_refused_row_by_row(definition: Property, values: list[Any]) -> None:
    """§13; the fast way and the slow way agree."""
    column, refused, suspect = pack_column(definition, values)
    refused_rows = {row for row, _ in refused}
    kept = [value for row, value in enumerate(values) if row not in refused_rows]
    assert len(column.values()) == len(kept)
    assert all(reason and len(reason) < 400 for _, reason in refused + suspect)
    for row, value in enumerate(values):
        reason = dict(refused).get(row) or dict(suspect).get(row)
        assert check_value(definition, value) == reason
    assert pack_column(definition, kept).refused == []
    if definition.data_type is DataType.OBJECT:
        assert column.values() == kept


LIMITS = Limits(future_tolerance_s=300.0)
NOW = 1_700_000_000 * NS_PER_S


def test_times_beyond_drift_and_before_the_device_are_bad() -> None:
    created = NOW - 3600 * NS_PER_S
    rows = [NOW, NOW + 300 * NS_PER_S, NOW + 301 * NS_PER_S, created, created - 1]
    bad = check_times(rows, NOW, created, LIMITS)
    assert [row for row, _ in bad] == [2, 4]
    assert "301 s in the future" in bad[0][1]
    assert "before the device existed (2023-11-14T21:13:20Z)" in bad[1][1]
    assert check_times(rows[:2], NOW, created, LIMITS) == []
    assert check_times([], NOW, created, LIMITS) == []


@given(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, NOW - 1, NOW + 1]))
def test_one_time_is_judged_as_a_column_is(observed_at: int, created_at: int) -> None:
    reason = check_time(observed_at, NOW, created_at, LIMITS)
    assert check_times([NOW + 1, observed_at], NOW, created_at, LIMITS) == ([(1, reason)] if reason else [])
