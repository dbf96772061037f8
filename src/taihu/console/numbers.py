"""Numbers, ages and times as people read them; what is missing is a dash."""

import math
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from taihu.console.texts import MONTHS, WEEKDAYS, Language, text
from taihu.kernel.clock import to_datetime

MISSING = "—"
_MINUS = "\u2212"
_VALUE_LENGTH_MAX = 60
_SMALLEST, _LARGEST = 1e-6, 1e15


def number(value: float | None, decimals: int = 2) -> str:
    """A number with a true minus sign and grouped thousands; it never shows a negative zero.

    >>> number(-1234.5), number(-0.001), number(None)
    ('−1,234.50', '0.00', '—')
    """
    if value is None:
        return MISSING
    shown = f"{abs(value):,.{decimals}f}"
    return _MINUS + shown if value < 0 and any(digit in "123456789" for digit in shown) else shown


def signed(value: float | None, decimals: int = 2) -> str:
    """As `number`, with a plus sign above zero.

    >>> signed(1.5), signed(-1.5), signed(0.0)
    ('+1.50', '−1.50', '0.00')
    """
    shown = number(value, decimals)
    positive = value is not None and value > 0 and any(digit in "123456789" for digit in shown)
    return f"+{shown}" if positive else shown


def span(language: Language, seconds: float) -> str:
    """A length of time in its largest whole unit.

    >>> span("en", 7_300)
    '2 h'
    """
    for key, size in (("span_d", 86_400), ("span_h", 3_600), ("span_min", 60)):
        if seconds >= size:
            return text(language, key, count=f"{int(seconds // size):,}")
    return text(language, "span_s", count=max(0, int(seconds)))


def age(language: Language, seconds: float | None) -> str:
    """How long ago; a dash when never.

    >>> age("zh", 190.0), age("en", 0.4)
    ('3 分钟前', 'just now')
    """
    if seconds is None:
        return MISSING
    return text(language, "age_now") if seconds < 1 else text(language, "age", span=span(language, seconds))


def local(ns: int, timezone: str) -> datetime:
    """UTC nanoseconds on the clock of a time zone; of UTC when the zone is not known here."""
    try:
        return to_datetime(ns).astimezone(ZoneInfo(timezone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return to_datetime(ns)


def date(language: Language, moment: datetime) -> str:
    """Weekday and date.

    >>> date("zh", datetime.fromisoformat("2016-08-01T12:00:00Z"))
    '2016年8月1日 周一'
    """
    weekday = WEEKDAYS[language][moment.weekday()]
    if language == "zh":
        return f"{moment.year}年{moment.month}月{moment.day}日 {weekday}"
    return f"{weekday} {moment.day} {MONTHS[moment.month - 1]} {moment.year}"


def unit(code: str | None) -> str:
    """A UCUM code as people write the unit.

    >>> unit("kg/(kW.h)"), unit("Cel"), unit("{USD}/(kW.h)")
    ('kg/kWh', '°C', 'USD/kWh')
    """
    if not code:
        return ""
    plain = {"Cel": "°C", "[degF]": "°F", "Ohm": "Ω", "1": ""}.get(code, code)
    for old, new in (("W.h", "Wh"), ("VA.h", "VAh"), ("(", ""), (")", ""), ("{", ""), ("}", "")):
        plain = plain.replace(old, new)
    return plain


def value(given: Any) -> str:
    """Any value of a property, cut at a length that fits a row.

    >>> value(3.14159265), value(0.000251), value(True), value({"a": 1})
    ('3.1416', '0.000251', 'true', '{"a":1}')
    """
    if given is None:
        return MISSING
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, int):
        return number(given, 0)
    if isinstance(given, float):
        return _float(given)
    shown = given if isinstance(given, str) else msgspec.json.encode(given).decode()
    return shown if len(shown) <= _VALUE_LENGTH_MAX else shown[: _VALUE_LENGTH_MAX - 1] + "…"


def _float(given: float) -> str:
    """Four digits at the least, so that what is small is not shown as 0; powers of ten where it would get too long."""
    size = abs(given)
    if size and not _SMALLEST <= size < _LARGEST:
        return f"{given:.4g}".replace("-", _MINUS)
    decimals = 3 if size >= 1_000 else 4 if size >= 1 or not size else 3 - math.floor(math.log10(size))
    return number(given, decimals).rstrip("0").rstrip(".")
