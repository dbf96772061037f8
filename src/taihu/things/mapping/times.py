"""Device time: numbers in seconds, milliseconds, microseconds or nanoseconds, and ISO 8601 text, to UTC nanoseconds.

The unit of a number follows from its size, value by value: from 1e8 seconds (1973), from 1e11 milliseconds, from 1e14
microseconds, from 1e17 nanoseconds. No two windows can mean the same moment after 1973, so nothing is guessed.
"""

from decimal import Decimal
from typing import Any

from taihu.kernel.clock import NS_PER_S, parse_iso
from taihu.things.mapping.errors import PayloadError

NS_END = 1 << 63
_SCALES = ((10**17, 1), (10**14, 1_000), (10**11, 1_000_000), (10**8, NS_PER_S))
_REMEDY = "Send the time since 1970 in s, ms, us or ns, or ISO 8601 with an offset such as 2026-01-31T12:00:00Z."


def parse_time(value: Any) -> int:
    """UTC nanoseconds of a time as a device writes it; exact to the nanosecond for int, Decimal and text.

    A float counts as the shortest decimal that reads back as it. Raises PayloadError (`bad-time`) for anything else
    than a time from 1973 to 2262.

    >>> parse_time(1_700_000_000), parse_time(1_700_000_000_120), parse_time("2023-11-14T22:13:20Z")
    (1700000000000000000, 1700000000120000000, 1700000000000000000)
    """
    if type(value) is int and value < NS_END:
        for low, scale in _SCALES:
            if value >= low:
                return _bounded(value * scale, value)
    if isinstance(value, str):
        try:
            return _bounded(parse_iso(value), value)
        except (ValueError, OverflowError):
            raise _bad(value) from None
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal) and value.is_finite() and value < NS_END:
        for low, scale in _SCALES:
            if value >= low:
                return _bounded(round(value * scale), value)
    raise _bad(value)


def unit_of(value: int) -> int:
    """The nanoseconds of the unit that a whole number counts as a time; 0 when it is none.

    >>> unit_of(1_700_000_000), unit_of(1_700_000_000_000), unit_of(7)
    (1000000000, 1000000, 0)
    """
    if value < NS_END:
        for low, scale in _SCALES:
            if value >= low:
                return scale
    return 0


def _bounded(ns: int, value: Any) -> int:
    if 0 <= ns < NS_END:
        return ns
    raise _bad(value)


def _bad(value: Any) -> PayloadError:
    if isinstance(value, Decimal):
        shown = f"{value:.6g}"
    elif isinstance(value, int) and value.bit_length() > 64:
        shown = f"A number of {value.bit_length()} bits"
    else:
        shown = repr(value)[:60]
    return PayloadError("bad-time", f"{shown} is not a time.", _REMEDY)
