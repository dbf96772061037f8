"""Clock and the forms of time (§1)."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.kernel.clock import (
    NS_PER_S,
    ScaledClock,
    SimClock,
    SystemClock,
    format_iso,
    from_datetime,
    machine_ns,
    parse_iso,
    to_datetime,
)

times = st.integers(0, 4_000_000_000 * NS_PER_S)


@given(times)
def test_iso_keeps_every_nanosecond(ns: int) -> None:
    assert parse_iso(format_iso(ns)) == ns


@given(times)
def test_datetime_keeps_every_microsecond(ns: int) -> None:
    assert from_datetime(to_datetime(ns)) == ns - ns % 1000


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00.5Z", NS_PER_S // 2),
        ("1970-01-01T00:00:00.000000001+00:00", 1),
        ("1969-12-31T23:59:59Z", -NS_PER_S),
    ],
)
def test_parse_iso(text: str, ns: int) -> None:
    assert parse_iso(text) == ns


@pytest.mark.parametrize("text", ["", "now", "1970-01-01T00:00:00", "1970-01-01T00:00:00.1234567891Z", "1970-01-01.Z"])
def test_a_time_without_a_zone_or_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_iso(text)


def test_naive_datetime_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        from_datetime(datetime(2024, 1, 1, tzinfo=UTC).replace(tzinfo=None))


def test_sim_clock_moves_only_when_told() -> None:
    clock = SimClock(now_ns=100)
    assert (clock.now_ns(), clock.monotonic()) == (100, 0.0)
    clock.advance(1.5)
    assert (clock.now_ns(), clock.monotonic()) == (100 + 3 * NS_PER_S // 2, 1.5)
    clock.jump(-1.0)
    assert (clock.now_ns(), clock.monotonic()) == (100 + NS_PER_S // 2, 1.5)


def test_scaled_clock_runs_faster_from_its_origin() -> None:
    anchor = machine_ns() - NS_PER_S
    clock = ScaledClock(origin_ns=0, speed=600.0, anchor_ns=anchor)
    before = machine_ns()
    shown = clock.now_ns()
    after = machine_ns()
    assert (before - anchor) * 600 - 1000 <= shown <= (after - anchor) * 600 + 1000


def test_system_clock_is_the_machines() -> None:
    clock = SystemClock()
    before = machine_ns()
    assert before <= clock.now_ns() <= machine_ns()
    assert clock.monotonic() <= clock.monotonic()
