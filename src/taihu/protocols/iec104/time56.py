"""CP56Time2a: seven octets of binary time, to the millisecond (IEC 60870-5-4, clause 6.8).

What a station's clock shows is counted as if it were UTC; whoever knows the station's zone shifts it. Days are counted
by the civil calendar here, since this layer reads no clock and knows no zones.
"""

_NS_PER_MS = 1_000_000
_MS_PER_DAY = 86_400_000
_CENTURY = 2000


def decode_time(data: bytes) -> int | None:
    """Nanoseconds since 1970; None when the station calls it invalid or it is no time.

    >>> decode_time(encode_time(1_700_000_000_123_000_000))
    1700000000123000000
    """
    milliseconds = data[0] | data[1] << 8
    minute, hour = data[2] & 0x3F, data[3] & 0x1F
    day, month, year = data[4] & 0x1F, data[5] & 0x0F, _CENTURY + (data[6] & 0x7F)
    invalid = data[2] & 0x80
    if invalid or milliseconds > 59_999 or minute > 59 or hour > 23 or not 1 <= month <= 12:
        return None
    if not 1 <= day <= _days_in(year, month):
        return None
    days = _days_before(year, month, day)
    return ((days * 24 + hour) * 60 + minute) * 60_000 * _NS_PER_MS + milliseconds * _NS_PER_MS


def encode_time(time_ns: int) -> bytes:
    """The seven octets of a time from 2000 to 2127."""
    total = time_ns // _NS_PER_MS
    days, rest = divmod(total, _MS_PER_DAY)
    minutes, milliseconds = divmod(rest, 60_000)
    hour, minute = divmod(minutes, 60)
    year, month, day = _civil(days)
    weekday = (days + 3) % 7 + 1  # 1970-01-01 was a Thursday, the fourth
    return bytes(
        (milliseconds & 0xFF, milliseconds >> 8, minute, hour, day | weekday << 5, month, (year - _CENTURY) & 0x7F)
    )


def _days_in(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def _days_before(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a date of the Gregorian calendar."""
    year -= month <= 2
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


def _civil(days: int) -> tuple[int, int, int]:
    """Year, month and day of a number of days from 1970-01-01: the inverse of `_days_before`."""
    days += 719_468
    era = days // 146_097
    of_era = days - era * 146_097
    year_of_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + (3 if shifted < 10 else -9)
    return year_of_era + era * 400 + (month <= 2), month, day
