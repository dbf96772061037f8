"""InfluxDB line protocol to points; pure, and any bytes give points and bad lines, never an exception (§13).

    measurement[,tag=value...] field=value[,field=value...] [timestamp]

Handled: escapes, quoted strings (line breaks in them too), floats, integers `i` and `u`, booleans, comments, and times
in any of InfluxDB's precisions. Why a line is bad is said in InfluxDB's own words. A line without escapes and strings
takes a short way; both give the same.
"""

import re
from collections.abc import Iterator
from math import inf, isfinite
from typing import NamedTuple

Value = float | int | bool | str

PRECISIONS = {
    "n": 1, "ns": 1, "u": 1_000, "us": 1_000, "µ": 1_000, "ms": 1_000_000, "s": 1_000_000_000,
    "m": 60_000_000_000, "h": 3_600_000_000_000,
}  # fmt: skip
"""Nanoseconds of a time's unit, as the `precision` of InfluxDB's write endpoints names it."""

_SHOWN_MAX = 120
_INT64_END, _UINT64_END = 1 << 63, 1 << 64
_BOOLEANS = dict.fromkeys(("t", "T", "true", "True", "TRUE"), True) | dict.fromkeys(
    ("f", "F", "false", "False", "FALSE"), False
)
_NUMBER = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_FLOAT_LIKE = re.compile(r"-?[0-9]*\.?[0-9]+[eE][+-]?[0-9]*")
_WHOLE = re.compile(r"-?[0-9]{1,20}")
_MEASUREMENT = re.compile(r"[^\\, \n]*(?:\\[, ]?[^\\, \n]*)*")
_KEY = re.compile(r"[^\\,= \n]*(?:\\[,= ]?[^\\,= \n]*)*")
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BARE = re.compile(r"[^, \n]*")
_BLANKS = re.compile(r"[ \t\r\0]*")
_ESCAPED_KEY, _ESCAPED_TEXT = re.compile(r"\\([,= ])"), re.compile(r'\\(["\\])')
_PLAIN_LINE = re.compile(
    r"^([^ \n]+) ([^ ,=\n]+=[^ ,=\n]+(?:,[^ ,=\n]+=[^ ,=\n]+)*) ([0-9]{1,19})$", re.MULTILINE
)  # head, fields and time
_PLAIN = bytes({*range(32, 127), 10} - {*b'"\\#'})
_INTEGER_LENGTH_MAX = 21
_MANY = 32  # lines that are worth an expression of their own
_OF_FLOATS, _OF_INTEGERS = "-.0123456789eE", "-0123456789i"
_DIGITS = frozenset("0123456789.")
_INFINITE = {inf, -inf}


class Series(NamedTuple):
    """What a line's values belong to; `tags` in the order of the line."""

    measurement: str
    tags: tuple[tuple[str, str], ...]


class Point(NamedTuple):
    """The values of one line. `time` is UTC nanoseconds, None when the line has none."""

    series: Series
    fields: dict[str, Value]
    time: int | None


class Points(NamedTuple):
    """Points of one series with the same fields, column by column."""

    series: Series
    fields: tuple[str, ...]
    columns: list[list[Value]]
    times: list[int]


class BadLine(NamedTuple):
    """A line that is no point: its number from 1, its beginning, and what is wrong with it."""

    number: int
    text: str
    reason: str

    def __str__(self) -> str:
        return f"unable to parse '{self.text}': {self.reason}"


def parse_lines(payload: bytes, unit_ns: int = 1) -> Iterator[Point | BadLine]:
    """The points of a payload whose times count `unit_ns`, and its bad lines, in their order.

    >>> next(parse_lines(b"mem,host=a used=1.5,cached=7i 1700000000", 1_000_000_000)).fields
    {'used': 1.5, 'cached': 7}
    """
    text = payload.decode("utf-8", "surrogateescape")
    heads: dict[str, Series] = {}
    place = number = 0
    while place < len(text):
        end = text.find("\n", place)
        if end < 0:
            end = len(text)
        number += 1
        line = text[place:end]
        point = _short(line, heads, unit_ns)
        if point is None:
            start = _BLANKS.match(text, place).end()  # type: ignore[union-attr]  # it matches anywhere
            if start < end and text[start] != "#":
                try:
                    point, end = _Line(text, start, unit_ns).read()
                except _Bad as bad:
                    shown = text[start:end].rstrip().encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                    yield BadLine(number, shown[:_SHOWN_MAX], bad.reason)
                number += text.count("\n", place, end)
        if point is not None:
            yield point
        place = end + 1


def parse_columns(payload: bytes, unit_ns: int = 1) -> list[Points]:
    r"""The points of a payload of plain lines with times; none when it has to be read line by line.

    >>> parse_columns(b"mem,host=a used=1.5,cached=7i 17\nmem,host=a used=2,cached=8i 18")[0].columns
    [[1.5, 2.0], [7, 8]]
    """
    if payload.translate(None, _PLAIN):
        return []
    text = payload.decode("ascii").removesuffix("\n")
    try:
        return _alike(text, unit_ns) or _mixed(text, unit_ns)
    except (_Bad, ValueError):
        return []


def _alike(text: str, unit_ns: int) -> list[Points]:
    """The points of many plain lines of one series with the same fields; none of others."""
    first, count = _PLAIN_LINE.match(text), text.count("\n") + 1
    if first is None or count < _MANY:
        return []
    names = first[2].replace(",", "=").split("=")[::2]
    fields = ",".join([f"{re.escape(name)}=([^ ,=\n]+)" for name in names])
    lines = re.findall(f"^{re.escape(first[1])} {fields} ([0-9]{{1,19}})$", text, re.MULTILINE)
    if len(lines) != count:
        return []
    *columns, times = zip(*lines, strict=True)
    return [_points(first[1], names, columns, times, unit_ns)]


def _mixed(text: str, unit_ns: int) -> list[Points]:
    """The points of plain lines; none when one of them is not plain."""
    lines = _PLAIN_LINE.findall(text)
    if len(lines) != text.count("\n") + 1:
        return []
    rows: dict[tuple[str, ...], list[list[str]]] = {}
    for head, fields, time in lines:
        cells = fields.replace(",", "=").split("=")
        rows.setdefault((head, *cells[::2]), []).append([*cells[1::2], time])
    found = []
    for (head, *names), alike in rows.items():
        *columns, times = zip(*alike, strict=True)
        found.append(_points(head, names, columns, times, unit_ns))
    return found


def _points(
    head: str, fields: list[str], columns: list[tuple[str, ...]], times: tuple[str, ...], unit_ns: int
) -> Points:
    """The points of some lines; ValueError or _Bad when one of them is not plain."""
    moments = [int(time) * unit_ns for time in times]
    if len(set(fields)) < len(fields) or max(moments) >= _INT64_END:
        raise _Bad("")
    return Points(_series(head), tuple(fields), list(map(_column, columns)), moments)


def _column(texts: tuple[str, ...]) -> list[Value]:
    """The values of one field; ValueError or _Bad when one of them is not plain."""
    together = "".join(texts)
    if not together.strip(_OF_FLOATS):
        numbers = list(map(float, texts))
        if not isfinite(sum(numbers)):
            raise _Bad("")
        return list[Value](numbers)
    if not together.strip(_OF_INTEGERS):
        if together.count("i") < len(texts) or max(map(len, texts)) > _INTEGER_LENGTH_MAX:
            raise _Bad("")
        counts = [int(text[:-1]) for text in texts]
        if max(counts) >= _INT64_END or min(counts) < -_INT64_END:
            raise _Bad("")
        return list[Value](counts)
    if any(text[-1] == "u" for text in texts):
        raise _Bad("")  # it may have more than 63 bits
    return list(map(_value, texts))


class _Bad(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _short(line: str, heads: dict[str, Series], unit_ns: int) -> Point | None:
    """The point of a line in its plainest form; None for any other."""
    parts = line.split(" ")
    if len(parts) == 3:
        moment = parts[2]
        if not (moment.isdigit() and moment.isascii() and len(moment) < 20):
            return None
        time: int | None = int(moment) * unit_ns
        if time >= _INT64_END:  # type: ignore[operator]  # it was set just now
            return None
    elif len(parts) == 2:
        time = None
    else:
        return None
    body = parts[1]
    if "\\" in line or '"' in line or not body.isascii() or not body.isprintable():
        return None
    series = heads.get(parts[0])
    if series is None:
        if parts[0][:1] in ("#", "\t", "\r", "\0", ""):
            return None
        try:
            series = heads[parts[0]] = _series(parts[0])
        except _Bad:
            return None
    fields: dict[str, Value] = {}
    try:
        for field in body.split(","):
            key, value = field.split("=")
            if value[-1] in _DIGITS and "_" not in value and value[0] != "+":
                fields[key] = float(value)
            else:
                fields[key] = _value(value)
    except (_Bad, ValueError, IndexError):
        return None
    if "" in fields or _INFINITE & set(fields.values()):
        return None
    return Point(series, fields, time)


def _series(head: str) -> Series:
    measurement, *pairs = head.split(",")
    tags = []
    for pair in pairs:
        key, _, value = pair.partition("=")
        if not key or not value or "=" in value:
            raise _Bad("")
        tags.append((key, value))
    if not measurement or len(dict(tags)) < len(tags) or not _is_text(head):
        raise _Bad("")
    return Series(measurement, tuple(tags))


class _Line:
    """Reads the line that begins at a place of a text, character class by character class."""

    def __init__(self, text: str, place: int, unit_ns: int) -> None:
        self._text = text
        self._place = place
        self._unit_ns = unit_ns

    def read(self) -> tuple[Point, int]:
        """The point, and where its line ends; raises _Bad."""
        start = self._place
        series = self._head()
        fields = self._fields()
        time = self._time()
        if not _is_text(self._text[start : self._place]):
            raise _Bad("invalid UTF-8")
        return Point(series, fields, time), self._place

    def _head(self) -> Series:
        measurement = _ESCAPED_KEY.sub(r"\1", self._take(_MEASUREMENT))
        if not measurement:
            raise _Bad("missing measurement")
        tags: dict[str, str] = {}
        while self._next() == ",":
            self._place += 1
            key = self._key()
            if not key:
                raise _Bad("missing tag key")
            if self._next() != "=":
                raise _Bad("missing tag value")
            self._place += 1
            value = self._key()
            if not value:
                raise _Bad("missing tag value")
            if self._next() == "=":
                raise _Bad("invalid tag format")
            if key in tags:
                raise _Bad("duplicate tags")
            tags[key] = value
        return Series(measurement, tuple(tags.items()))

    def _fields(self) -> dict[str, Value]:
        self._skip_blanks()
        if self._next() in ("", "\n"):
            raise _Bad("missing fields")
        fields: dict[str, Value] = {}
        while True:
            key = self._key()
            if self._next() != "=":
                raise _Bad("invalid field format")
            if not key:
                raise _Bad("missing field key")
            self._place += 1
            fields[key] = self._field_value()
            if self._next() != ",":
                return fields
            self._place += 1

    def _field_value(self) -> Value:
        if self._next() != '"':
            return _value(self._bare())
        found = _STRING.match(self._text, self._place)
        if found is None:
            raise _Bad("unbalanced quotes")
        self._place = found.end()
        if self._next() not in ("", ",", " ", "\n", "\r"):
            raise _Bad("invalid field format")
        return _ESCAPED_TEXT.sub(r"\1", found[0][1:-1])

    def _time(self) -> int | None:
        self._skip_blanks()
        if self._next() in ("", "\n"):
            return None
        moment = self._bare()
        self._skip_blanks()
        if not _WHOLE.fullmatch(moment) or self._next() not in ("", "\n"):
            raise _Bad("bad timestamp")
        time = int(moment) * self._unit_ns
        if not -_INT64_END <= time < _INT64_END:
            raise _Bad("time outside range")
        return time

    def _key(self) -> str:
        return _ESCAPED_KEY.sub(r"\1", self._take(_KEY))

    def _bare(self) -> str:
        text = self._take(_BARE)
        return text.rstrip("\r") if self._next() in ("", "\n") else text

    def _skip_blanks(self) -> None:
        self._take(_BLANKS)

    def _take(self, what: re.Pattern[str]) -> str:
        found = what.match(self._text, self._place)
        assert found is not None  # each of them matches nothing, too
        self._place = found.end()
        return found[0]

    def _next(self) -> str:
        return self._text[self._place : self._place + 1]


def _value(text: str) -> Value:
    """A value that is no string; raises _Bad."""
    if not text:
        raise _Bad("missing field value")
    last = text[-1]
    if last in _DIGITS:
        number = float(text) if _NUMBER.fullmatch(text) else inf
        if isfinite(number):
            return number
        raise _Bad(_fault(text))
    if last in ("i", "u"):
        whole = text[:-1]
        if _WHOLE.fullmatch(whole):
            count = int(whole)
            if -_INT64_END <= count < _INT64_END if last == "i" else 0 <= count < _UINT64_END:
                return count
        raise _Bad("invalid number" if whole else "invalid boolean")
    truth = _BOOLEANS.get(text)
    if truth is None:
        raise _Bad(_fault(text))
    return truth


def _fault(text: str) -> str:
    if text[0] not in "0123456789-.Nn":
        return "invalid boolean"
    return "invalid float" if _FLOAT_LIKE.fullmatch(text) else "invalid number"


def _is_text(line: str) -> bool:
    """Whether all of it was UTF-8."""
    if line.isascii():
        return True
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True
