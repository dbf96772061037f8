"""Device time to nanoseconds."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.kernel.clock import format_iso
from taihu.things.mapping import PayloadError
from taihu.things.mapping.times import NS_END, parse_time

SECONDS = st.integers(10**8, NS_END // 10**9 - 1)


@given(SECONDS, st.integers(0, 999_999_999))
def test_every_unit_and_iso_say_the_same_moment(seconds: int, rest: int) -> None:
    """§1: int64 nanoseconds, whatever the device counts in."""
    moment = seconds * 10**9 + rest
    assert parse_time(format_iso(moment)) == moment
    assert parse_time(Decimal(seconds) + Decimal(rest).scaleb(-9)) == moment
    assert parse_time(seconds) == seconds * 10**9
    assert parse_time(moment // 10**6) == moment // 10**6 * 10**6
    assert parse_time(moment // 10**3) == moment // 10**3 * 10**3
    assert parse_time(moment) == moment


@pytest.mark.parametrize(("low", "scale"), [(10**8, 10**9), (10**11, 10**6), (10**14, 10**3), (10**17, 1)])
def test_windows_begin_where_documented(low: int, scale: int) -> None:
    assert parse_time(low) == low * scale
    assert parse_time(float(low)) == low * scale
    with pytest.raises(PayloadError):
        parse_time(low - 1)  # below the first window, or past 2262 in the one before


def test_a_float_is_its_shortest_decimal() -> None:
    assert parse_time(1_700_000_000.123456) == 1_700_000_000_123_456_000


@pytest.mark.parametrize(
    "value",
    [0, -1, 99_999_999, NS_END, 10**400, -(10**30), True, None, [], {}, "", "now", "1700000000",
     "2026-01-31T12:00:00", "0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z", float("nan"), float("inf"), -1e300,
     Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("1E+999999"), Decimal("-1E+999999"),
     Decimal("1E-999999")],
)  # fmt: skip
def test_anything_else_is_refused(value: object) -> None:
    """§13: one typed error."""
    with pytest.raises(PayloadError) as caught:
        parse_time(value)
    assert caught.value.reason == "bad-time"


@given(st.one_of(st.text(), st.integers(), st.floats(), st.decimals(), st.booleans()))
def test_any_value_gives_a_time_or_the_error(value: object) -> None:
    """§13."""
    try:
        assert 0 <= parse_time(value) < NS_END
    except PayloadError as error:
        assert error.reason == "bad-time"
