"""Where windows begin: edges in UTC nanoseconds, aligned to the calendar of a time zone.

Steps up to an hour lie on the local clock's round times and never last longer than the step: an hour that the clock
shows twice is two windows, and a clock that moves by half an hour leaves one short window. Longer steps begin at the
first instant of a local 00:00, 06:00, day, Monday, month or year, so a day has 23, 24 or 25 hours.
"""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from taihu.kernel.clock import DAY_NS, NS_PER_S, from_datetime, to_datetime
from taihu.kernel.errors import LimitError, RefusedError
from taihu.kernel.limits import DEFAULT


class StepRefused(RefusedError):
    """A window's length is not one of `Step`; the message lists them."""

    code = "step"


class ZoneRefused(RefusedError):
    """A name is not an IANA time zone; write one such as Europe/Berlin."""

    code = "time-zone"


class RangeRefused(RefusedError):
    """A time range is empty, reversed or out of bounds; give a start before its end."""

    code = "time-range"


class Step(StrEnum):
    """How long a window is."""

    SECOND = "1s"
    SECONDS_10 = "10s"
    MINUTE = "1m"
    MINUTES_5 = "5m"
    MINUTES_15 = "15m"
    MINUTES_30 = "30m"
    HOUR = "1h"
    HOURS_6 = "6h"
    DAY = "1d"
    WEEK = "1w"
    MONTH = "1mo"
    YEAR = "1y"


# The usual length of each step. Those up to CLOCK_STEP_MAX_S are never longer.
STEP_S = {
    Step.SECOND: 1,
    Step.SECONDS_10: 10,
    Step.MINUTE: 60,
    Step.MINUTES_5: 300,
    Step.MINUTES_15: 900,
    Step.MINUTES_30: 1_800,
    Step.HOUR: 3_600,
    Step.HOURS_6: 21_600,
    Step.DAY: 86_400,
    Step.WEEK: 7 * 86_400,
    Step.MONTH: 30 * 86_400,
    Step.YEAR: 365 * 86_400,
}
CLOCK_STEP_MAX_S = 3_600
_TIME_NS_MAX = 9_000_000_000_000_000_000  # year 2255; leaves two years of int64 for the windows at both ends


def parse_step(text: str) -> Step:
    """The step that `text` names; StepRefused lists them all.

    >>> parse_step("15m")
    <Step.MINUTES_15: '15m'>
    """
    try:
        return Step(text)
    except ValueError:
        raise StepRefused(f"{text[:40]!r} is no window length:", f"use one of {', '.join(Step)}.") from None


def parse_zone(name: str) -> ZoneInfo:
    """The IANA time zone called `name`; ZoneRefused when there is none.

    >>> parse_zone("Asia/Shanghai").key
    'Asia/Shanghai'
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder, such as America
        raise ZoneRefused(
            f"{name[:60]!r} is no time zone:", "use an IANA name such as Europe/Berlin, Asia/Shanghai or UTC."
        ) from None


def edges(
    start_ns: int, end_ns: int, step: Step, tz: ZoneInfo, windows_max: int = DEFAULT.query_rows_max
) -> NDArray[np.int64]:
    """The edges of all windows that overlap [start_ns, end_ns): int64 UTC ns, rising, one more than there are windows.

    The first edge is at or before `start_ns`, the last at or after `end_ns`. Raises RangeRefused, and LimitError when
    there would be more than `windows_max` windows.

    >>> day = edges(1_711_839_600 * 10**9, 1_711_839_601 * 10**9, Step.DAY, parse_zone("Europe/Berlin"))
    >>> int(day[1] - day[0]) // (3600 * 10**9)
    23
    """
    if not -_TIME_NS_MAX <= start_ns < end_ns <= _TIME_NS_MAX:
        raise RangeRefused("The time range is empty, reversed or beyond the years 1684 to 2255:", "give start < end.")
    if (end_ns - start_ns) // (STEP_S[step] * NS_PER_S) > windows_max:
        raise _too_many(step, windows_max)
    if STEP_S[step] <= CLOCK_STEP_MAX_S:
        found = _clock_edges(start_ns, end_ns, STEP_S[step] * NS_PER_S, tz)
    else:
        found = _calendar_edges(start_ns, end_ns, step, tz)
    first = int(np.searchsorted(found, start_ns, side="right")) - 1
    stop = int(np.searchsorted(found, end_ns, side="left")) + 1
    if stop - first - 1 > windows_max:
        raise _too_many(step, windows_max)
    return found[first:stop]


def _too_many(step: Step, windows_max: int) -> LimitError:
    return LimitError(
        f"The time range has more than {windows_max} windows of {step} (limit query_rows_max):",
        "take a longer step or a shorter range.",
    )


def _clock_edges(start_ns: int, end_ns: int, step_ns: int, tz: ZoneInfo) -> NDArray[np.int64]:
    """The round times of the local clock, and the changes of its offset, from before `start_ns` to after `end_ns`."""
    parts: list[NDArray[np.int64]] = []
    for begin, end, offset_ns in _stretches(start_ns - step_ns, end_ns + step_ns, tz):
        rounded = -(-(begin + offset_ns) // step_ns) * step_ns - offset_ns
        if rounded != begin and parts:
            parts.append(np.array([begin], dtype=np.int64))
        parts.append(np.arange(rounded, end, step_ns, dtype=np.int64))
    return np.concatenate(parts)


def _stretches(start_ns: int, end_ns: int, tz: ZoneInfo) -> Iterator[tuple[int, int, int]]:
    """(begin, end, offset from UTC), all ns, of each stretch in which the offset does not change."""
    begin, offset, seen = start_ns, _offset_ns(start_ns, tz), start_ns
    while seen < end_ns:
        ahead = min(seen + DAY_NS, end_ns)
        if _offset_ns(ahead, tz) != offset:
            change = _change(seen, ahead, tz)
            yield begin, change, offset
            begin, offset, seen = change, _offset_ns(change, tz), change
        else:
            seen = ahead
    yield begin, end_ns + 1, offset


def _change(before_ns: int, after_ns: int, tz: ZoneInfo) -> int:
    """The first whole second in (before_ns, after_ns] with another offset than `before_ns` has."""
    offset = _offset_ns(before_ns, tz)
    low, high = before_ns // NS_PER_S, -(-after_ns // NS_PER_S)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset_ns(middle * NS_PER_S, tz) == offset:
            low = middle
        else:
            high = middle
    return high * NS_PER_S


def _offset_ns(ns: int, tz: ZoneInfo) -> int:
    offset = to_datetime(ns).astimezone(tz).utcoffset()
    assert offset is not None  # a ZoneInfo always knows it
    return (offset.days * 86_400 + offset.seconds) * NS_PER_S


def _calendar_edges(start_ns: int, end_ns: int, step: Step, tz: ZoneInfo) -> NDArray[np.int64]:
    """The first instants of local wall times, from before `start_ns` to after `end_ns`."""
    first = to_datetime(start_ns).astimezone(tz).date() - timedelta(days=1)
    last = to_datetime(end_ns).astimezone(tz).date() + timedelta(days=2)
    found = [_first_instant(wall, tz) for wall in _wall_times(first, last, step)]
    return np.unique(np.array(found, dtype=np.int64))  # a date that a zone skipped has no window


def _wall_times(first: date, last: date, step: Step) -> Iterator[datetime]:
    """The local times at which windows begin, the first at or before `first`, the last at or after `last`."""
    match step:
        case Step.WEEK:
            day = first - timedelta(days=first.weekday())
        case Step.MONTH:
            day = first.replace(day=1)
        case Step.YEAR:
            day = first.replace(month=1, day=1)
        case _:
            day = first
    hours = (0, 6, 12, 18) if step is Step.HOURS_6 else (0,)
    while True:
        for hour in hours:
            yield datetime.combine(day, time(hour))  # naive on purpose: a wall time, not an instant
        if day >= last:
            return
        match step:
            case Step.WEEK:
                day += timedelta(days=7)
            case Step.MONTH:
                day = (day + timedelta(days=31)).replace(day=1)
            case Step.YEAR:
                day = day.replace(year=day.year + 1)
            case _:
                day += timedelta(days=1)


def _first_instant(wall: datetime, tz: ZoneInfo) -> int:
    """The first instant at which the local clock shows `wall`, or the one at which it jumps over it."""
    early = from_datetime(wall.replace(tzinfo=tz, fold=0))
    late = from_datetime(wall.replace(tzinfo=tz, fold=1))
    return early if early <= late else _change(late, early, tz)
