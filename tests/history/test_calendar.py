"""Window edges lie where the local calendar says, in any time zone."""

import doctest
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from taihu.history.calendar import STEP_S, RangeRefused, Step, StepRefused, ZoneRefused, edges, parse_step, parse_zone
from taihu.kernel.clock import NS_PER_S, parse_iso, to_datetime
from taihu.kernel.errors import LimitError

HOUR_NS = 3_600 * NS_PER_S
ZONES = [
    "UTC",
    "Europe/Berlin",
    "Asia/Shanghai",
    "Australia/Lord_Howe",  # moves by half an hour
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",  # 45 minutes
    "America/Havana",  # moves at midnight
    "America/St_Johns",  # moved at 00:01, half-hour offset
    "Pacific/Apia",  # skipped 2011-12-30
    "Africa/Casablanca",
]


def local(text: str, zone: str) -> int:
    """An ISO time with an offset, which must be the zone's own then."""
    ns = parse_iso(text)
    assert to_datetime(ns).astimezone(parse_zone(zone)).isoformat() == text
    return ns


def hours(start: str, end: str, step: Step, zone: str) -> list[float]:
    found = edges(parse_iso(start), parse_iso(end), step, parse_zone(zone))
    return [float(size) / HOUR_NS for size in np.diff(found)]


@pytest.mark.parametrize(
    ("zone", "day", "length"),
    [
        ("Europe/Berlin", "2024-03-31", 23),
        ("Europe/Berlin", "2024-10-27", 25),
        ("Europe/Berlin", "2024-10-28", 24),
        ("America/New_York", "2024-03-10", 23),
        ("America/New_York", "2024-11-03", 25),
        ("Asia/Shanghai", "2024-03-31", 24),
        ("Australia/Lord_Howe", "2024-10-06", 23.5),
        ("Australia/Lord_Howe", "2024-04-07", 24.5),
        ("America/Havana", "2024-03-10", 23),
        ("America/Havana", "2024-11-03", 25),
    ],
)
def test_a_day_has_the_hours_its_zone_gives_it(zone: str, day: str, length: float) -> None:
    noon = parse_iso(f"{day}T12:00:00+00:00")
    found = edges(noon - 24 * HOUR_NS, noon + 24 * HOUR_NS, Step.DAY, parse_zone(zone))
    by_date = {
        to_datetime(int(begin)).astimezone(parse_zone(zone)).date().isoformat(): size
        for begin, size in zip(found, np.diff(found) / HOUR_NS, strict=False)
    }
    assert by_date[day] == length


def test_an_hour_shown_twice_is_two_windows() -> None:
    start = local("2024-10-27T02:00:00+02:00", "Europe/Berlin")
    end = local("2024-10-27T03:00:00+01:00", "Europe/Berlin")
    assert edges(start, end, Step.HOUR, parse_zone("Europe/Berlin")).tolist() == [start, start + HOUR_NS, end]


def test_a_skipped_hour_is_no_window() -> None:
    assert hours("2024-03-31T00:00:00+01:00", "2024-04-01T00:00:00+02:00", Step.HOUR, "Europe/Berlin") == [1.0] * 23


def test_half_an_hour_of_change_leaves_one_short_hour() -> None:
    spring = hours("2024-10-06T01:00:00+10:30", "2024-10-06T04:00:00+11:00", Step.HOUR, "Australia/Lord_Howe")
    autumn = hours("2024-04-07T00:00:00+11:00", "2024-04-07T03:00:00+10:30", Step.HOUR, "Australia/Lord_Howe")
    assert (spring, autumn) == ([1, 0.5, 1], [1, 1, 0.5, 1])


def test_six_hours_follow_the_local_clock() -> None:
    assert hours("2024-03-31T00:00:00+01:00", "2024-04-01T00:00:00+02:00", Step.HOURS_6, "Europe/Berlin") == [
        5,
        6,
        6,
        6,
    ]


def test_hours_of_kolkata_begin_at_half_past_in_utc() -> None:
    found = edges(
        parse_iso("2024-01-01T00:00:00Z"), parse_iso("2024-01-01T02:00:00Z"), Step.HOUR, parse_zone("Asia/Kolkata")
    )
    assert [to_datetime(int(edge)).minute for edge in found] == [30, 30, 30, 30]


def test_weeks_begin_on_monday_months_on_the_first() -> None:
    zone = parse_zone("Asia/Shanghai")
    start, end = parse_iso("2024-01-31T12:00:00+08:00"), parse_iso("2024-03-02T12:00:00+08:00")
    weeks = [to_datetime(int(edge)).astimezone(zone) for edge in edges(start, end, Step.WEEK, zone)]
    months = [to_datetime(int(edge)).astimezone(zone).isoformat() for edge in edges(start, end, Step.MONTH, zone)]
    years = [to_datetime(int(edge)).astimezone(zone).year for edge in edges(start, end, Step.YEAR, zone)]
    assert {(week.weekday(), week.hour) for week in weeks} == {(0, 0)}
    assert months == [f"2024-0{month}-01T00:00:00+08:00" for month in (1, 2, 3, 4)]
    assert years == [2024, 2025]


def test_a_date_the_zone_skipped_has_no_window() -> None:
    zone = parse_zone("Pacific/Apia")
    found = edges(parse_iso("2011-12-29T12:00:00-10:00"), parse_iso("2011-12-31T12:00:00+14:00"), Step.DAY, zone)
    assert [to_datetime(int(edge)).astimezone(zone).day for edge in found] == [29, 31, 1]


def test_midnight_inside_a_jump_begins_the_day_at_the_jump() -> None:
    zone = parse_zone("America/Toronto")  # 1919-03-30 23:30 became 00:30 of the 31st
    found = edges(parse_iso("1919-03-30T12:00:00-05:00"), parse_iso("1919-03-31T12:00:00-04:00"), Step.DAY, zone)
    assert to_datetime(int(found[1])).astimezone(zone).isoformat() == "1919-03-31T00:30:00-04:00"


@given(
    zone=st.sampled_from(ZONES),
    start=st.integers(0, 2_145_916_800),
    length=st.integers(1, 3 * 86_400),
    step=st.sampled_from([step for step in Step if 60 <= STEP_S[step] <= 86_400]),
)
@example(zone="America/Havana", start=1_730_600_000, length=86_400, step=Step.DAY)
@example(zone="America/St_Johns", start=1_162_000_000, length=200_000, step=Step.DAY)
@example(zone="Australia/Lord_Howe", start=1_728_100_000, length=200_000, step=Step.MINUTES_15)
@example(zone="Pacific/Apia", start=1_325_200_000, length=100_000, step=Step.HOURS_6)
@settings(max_examples=60, deadline=None)
def test_edges_are_where_a_walk_along_the_clock_finds_them(zone: str, start: int, length: int, step: Step) -> None:
    found = edges(start * NS_PER_S, (start + length) * NS_PER_S, step, parse_zone(zone)) // NS_PER_S
    walked = walk(start - 3 * 86_400, start + length + 3 * 86_400, step, zone)
    first = max(edge for edge in walked if edge <= start)
    last = min(edge for edge in walked if edge >= start + length)
    assert found.tolist() == [edge for edge in walked if first <= edge <= last]


def walk(start: int, end: int, step: Step, zone: str) -> list[int]:
    """The edges found by looking at the local clock every minute."""
    label = clock_label(step) if STEP_S[step] <= 3_600 else calendar_label(step)
    tz, start = parse_zone(zone), start - start % 60
    found, highest = [], label(to_datetime(start * NS_PER_S).astimezone(tz))
    for second in range(start + 60, end, 60):
        seen = label(to_datetime(second * NS_PER_S).astimezone(tz))
        if seen > highest or (STEP_S[step] <= 3_600 and seen != highest):
            found.append(second)
            highest = seen
    return found


def clock_label(step: Step) -> Callable[[Any], Any]:
    return lambda moment: (moment.utcoffset(), (moment.replace(tzinfo=None) - EPOCH) // timedelta(seconds=STEP_S[step]))


def calendar_label(step: Step) -> Callable[[Any], Any]:
    return lambda moment: (moment.date(), moment.hour // 6 if step is Step.HOURS_6 else 0)


EPOCH = to_datetime(0).replace(tzinfo=None)


@given(st.sampled_from(list(Step)), st.sampled_from(ZONES), st.integers(-(10**18), 4 * 10**18), st.integers(1, 10**14))
@settings(max_examples=100, deadline=None)
def test_edges_rise_and_enclose_the_range(step: Step, zone: str, start_ns: int, length_ns: int) -> None:
    end_ns = start_ns + min(length_ns, 1_000 * STEP_S[step] * NS_PER_S)
    found = edges(start_ns, end_ns, step, parse_zone(zone))
    assert np.all(np.diff(found) > 0)
    assert found[0] <= start_ns < found[1] and found[-2] < end_ns <= found[-1]
    if STEP_S[step] <= 3_600:
        assert np.diff(found).max() <= STEP_S[step] * NS_PER_S


def test_steps_parse_by_their_names() -> None:
    assert [parse_step(step.value) for step in Step] == list(Step)


@pytest.mark.parametrize("text", ["", "2h", "1M", "1 m", "1H", "x" * 1_000])
def test_any_other_step_is_refused_with_the_list(text: str) -> None:
    with pytest.raises(StepRefused, match="use one of 1s, 10s, 1m"):
        parse_step(text)


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../etc/passwd", "America", "/etc", "x\0y", "Europe/Berlin "])
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(ZoneRefused, match="IANA"):
        parse_zone(name)


@pytest.mark.parametrize(("start", "end"), [(5, 5), (6, 5), (-(2**63), 0), (0, 2**63 - 1)])
def test_an_empty_reversed_or_endless_range_is_refused(start: int, end: int) -> None:
    with pytest.raises(RangeRefused):
        edges(start, end, Step.YEAR, parse_zone("UTC"))


def test_windows_are_bounded() -> None:
    """§6"""
    utc = parse_zone("UTC")
    assert len(edges(0, 100 * NS_PER_S, Step.SECOND, utc, windows_max=100)) == 101
    for end in (100 * NS_PER_S + 1, 8 * 10**18):
        with pytest.raises(LimitError, match="longer step"):
            edges(0, end, Step.SECOND, utc, windows_max=100)


def test_the_examples_of_the_semantics_page_run() -> None:
    page = Path(__file__).parents[2] / "docs" / "semantics.md"
    failed, tried = doctest.testfile(str(page), module_relative=False)
    assert failed == 0 and tried > 10


def test_the_outermost_years_still_have_edges() -> None:
    utc = parse_zone("UTC")
    for start in (-9 * 10**18, 9 * 10**18 - 1):
        for step in Step:
            assert len(edges(start, start + 1, step, utc)) == 2
