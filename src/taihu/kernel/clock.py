"""All time comes from here, so that a whole system can run on demo or simulated time.

Wall time is int64 UTC nanoseconds (§1). Monotonic time is seconds and only measures durations.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

NS_PER_S = 1_000_000_000
MINUTE_NS, HOUR_NS, DAY_NS = 60 * NS_PER_S, 3_600 * NS_PER_S, 86_400 * NS_PER_S
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """The port through which everything reads time."""

    @property
    def speed(self) -> float:
        """How many seconds of wall time pass in one monotonic second."""
        ...

    def now_ns(self) -> int:
        """Wall time: UTC nanoseconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin; never goes back, never scaled."""
        ...


class SystemClock:
    """The machine's own clock."""

    speed = 1.0

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()


class ScaledClock:
    """Wall time that starts at `origin_ns` and runs `speed` times as fast as the machine's.

    Several processes share one demo clock by sharing `origin_ns`, `speed` and `anchor_ns`,
    the machine's wall time at which the demo clock showed `origin_ns`.
    """

    def __init__(self, origin_ns: int, speed: float, anchor_ns: int) -> None:
        self.origin_ns = origin_ns
        self.speed = speed
        self.anchor_ns = anchor_ns

    def now_ns(self) -> int:
        return self.origin_ns + int((time.time_ns() - self.anchor_ns) * self.speed)

    def monotonic(self) -> float:
        return time.monotonic()


class SimClock:
    """Time that moves only when told: for simulation and tests."""

    speed = 1.0

    def __init__(self, now_ns: int = 1_700_000_000 * NS_PER_S) -> None:
        self._now_ns = now_ns
        self._monotonic = 0.0

    def now_ns(self) -> int:
        return self._now_ns

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move both wall and monotonic time forward."""
        self._now_ns += round(seconds * NS_PER_S)
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Step the wall time alone, as a corrected clock does; may be negative."""
        self._now_ns += round(seconds * NS_PER_S)


class Steps:
    """How far the machine's wall time was set by leaps since this was made. What NTP slews is none, nor is a sleep."""

    def __init__(self) -> None:
        self._offset_ns = _offset_ns()

    def seconds(self) -> float:
        """The leaps together; positive when it was set forward."""
        return (_offset_ns() - self._offset_ns) / NS_PER_S


def _offset_ns() -> int:
    return time.time_ns() - time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def machine_ns() -> int:
    """The machine's own wall time, to anchor a `ScaledClock`; nothing else should need it."""
    return time.time_ns()


def to_datetime(ns: int) -> datetime:
    """UTC nanoseconds to an aware datetime (microseconds; the rest is cut).

    >>> to_datetime(1_700_000_000_000_000_000).isoformat()
    '2023-11-14T22:13:20+00:00'
    """
    return _EPOCH + timedelta(microseconds=ns // 1000)


def from_datetime(moment: datetime) -> int:
    """An aware datetime to UTC nanoseconds; a naive one is an error, not a guess.

    >>> from_datetime(datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC))
    1700000000000000000
    """
    if moment.tzinfo is None:
        raise ValueError("a time without a zone is ambiguous: give it an offset, such as Z")
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * NS_PER_S + delta.microseconds * 1000


def parse_iso(text: str) -> int:
    """An ISO 8601 time with an offset to UTC nanoseconds, keeping all nine digits.

    >>> parse_iso("2023-11-14T22:13:20.123456789Z")
    1700000000123456789
    """
    head, dot, tail = text.partition(".")
    if not dot:
        return from_datetime(datetime.fromisoformat(text))
    digits = len(tail) - len(tail.lstrip("0123456789"))
    if not 1 <= digits <= 9:
        raise ValueError(f"not a time of at most nine decimals: {text!r}")
    return from_datetime(datetime.fromisoformat(head + tail[digits:])) + int(tail[:digits].ljust(9, "0"))


def format_iso(ns: int) -> str:
    """UTC nanoseconds as ISO 8601 with as many decimals (0, 3, 6 or 9) as it needs.

    >>> format_iso(1_700_000_000_120_000_000)
    '2023-11-14T22:13:20.120Z'
    """
    seconds, rest = divmod(ns, NS_PER_S)
    base = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    if not rest:
        return base + "Z"
    digits = f"{rest:09d}"
    for keep in (3, 6):
        if not digits[keep:].strip("0"):
            return f"{base}.{digits[:keep]}Z"
    return f"{base}.{digits}Z"
