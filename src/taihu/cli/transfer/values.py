"""Text of files as values and times. What is not plainly one or the other is refused, never guessed."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from taihu.kernel.clock import from_datetime
from taihu.things.mapping.errors import PayloadError
from taihu.things.mapping.times import parse_time
from taihu.things.property import DataType, Property

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_WHOLE = re.compile(r"[+-]?\d+")
_BOOLEANS = {"true": True, "false": False, "t": True, "f": False}
_FRACTION = re.compile(r"(\.\d+)")
_YEAR_FIRST = re.compile(r"(?P<y>\d{4})[-/.](?P<m>\d\d?)[-/.](?P<d>\d\d?)(?:[T ]+(?P<h>\d\d?)(?P<rest>:.*))?")
_DOTTED = re.compile(r"(?P<d>\d\d?)\.(?P<m>\d\d?)\.(?P<y>\d{4})(?:[T ]+(?P<h>\d\d?)(?P<rest>:.*))?")
_SLASHED = re.compile(r"\d\d?[/-]\d\d?[/-]\d{4}\b.*")
_ZONED = re.compile(r"[Tt ].*(?:[Zz]|[+-]\d\d:?\d\d|[+-]\d\d)\Z")


class BadValue(ValueError):
    """The text is not what is defined; the message says why."""


def plain_value(text: str) -> Any:
    """A number, a boolean, or the text itself.

    >>> plain_value("3.5"), plain_value("7"), plain_value("true"), plain_value("off")
    (3.5, 7, True, 'off')
    """
    if _NUMBER.fullmatch(text):
        return int(text) if _WHOLE.fullmatch(text) else float(text)
    return _BOOLEANS.get(text.lower(), str(text))


def defined_value(text: str, definition: Property) -> Any:
    """The value of a property's type that a text means. Raises BadValue.

    >>> defined_value("5", Property(name="x", data_type=DataType.STRING))
    '5'
    """
    match definition.data_type:
        case DataType.STRING:
            return str(text)
        case DataType.BOOLEAN:
            found = {**_BOOLEANS, "1": True, "0": False, "1.0": True, "0.0": False}.get(text.lower())
            if found is None:
                raise BadValue(f"{text[:40]!r} where true or false is defined")
            return found
        case DataType.OBJECT:
            try:
                return msgspec.json.decode(text)
            except msgspec.DecodeError:
                raise BadValue(f"{text[:40]!r} is no JSON") from None
    if not _NUMBER.fullmatch(text):
        raise BadValue(f"{text[:40]!r} where a number is defined")
    if definition.data_type is DataType.INTEGER and _WHOLE.fullmatch(text):
        return int(text)
    return float(text)


def moment(text: Any, zone: ZoneInfo | None, *, second: bool = False) -> int:
    """UTC nanoseconds of a time in a file: ISO 8601, or a number since 1970 in s, ms, us or ns. Raises BadValue.

    Args:
        text: what stands there; a `datetime` without a zone and text without an offset are in `zone`. Text may also be
            as spreadsheets write it, 2026/1/31 9:00 or 31.1.2026 9:00.
        zone: None refuses those.
        second: of an hour that the clock shows twice, the second is meant.

    >>> moment("2026-01-31 12:00:00.5+08:00", None), moment("1769860800000", None)
    (1769832000500000000, 1769860800000000000)
    """
    if isinstance(text, datetime):
        if text.tzinfo is None:
            text = text.replace(tzinfo=_known(zone, text), fold=second)
        return from_datetime(text)
    if isinstance(text, str):
        text = _iso(text.strip())
        if _NUMBER.fullmatch(text):
            text = int(text) if _WHOLE.fullmatch(text) else Decimal(text)
        elif len(text) > 10 and text[10] in "T t" and not _ZONED.search(text[10:]):
            return _local(text, zone, second)
        elif text[10:11] == " ":
            text = f"{text[:10]}T{text[11:]}"
    try:
        return parse_time(text)
    except PayloadError as error:
        raise BadValue(error.message) from None


def _iso(text: str) -> str:
    """A time as spreadsheets write it, in ISO 8601; other text as it is. BadValue where day and month may be either."""
    if found := _YEAR_FIRST.fullmatch(text) or _DOTTED.fullmatch(text):
        day = f"{found['y']}-{found['m']:0>2}-{found['d']:0>2}"
        return f"{day}T{found['h']:0>2}{found['rest']}" if found["h"] else f"{day}T00:00"
    if _SLASHED.fullmatch(text):
        raise BadValue(f"{text[:40]!r} does not say which is the day: write the year first, as in 2026-01-31 09:00")
    return text


def _local(text: str, zone: ZoneInfo | None, second: bool) -> int:
    """A time without an offset, to the nanosecond."""
    whole, *rest = _FRACTION.split(text)
    try:
        found = datetime.fromisoformat(whole)
    except ValueError:
        raise BadValue(f"{text[:40]!r} is not a time") from None
    fraction = int((rest[0][1:] + "000000000")[:9]) if rest else 0
    return from_datetime(found.replace(tzinfo=_known(zone, text), fold=second)) + fraction


def _known(zone: ZoneInfo | None, text: object) -> ZoneInfo:
    if zone is None:
        raise BadValue(f"{str(text)[:40]!r} has no offset: say its time zone with --tz")
    return zone
