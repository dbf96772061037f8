"""Tables whose columns are told: which is the time, which names the thing, and which properties the others are."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from taihu.cli.transfer.rows import Refused, Row, SourceRefused, Text
from taihu.cli.transfer.values import BadValue, moment
from taihu.kernel.units import parse_unit
from taihu.things.property import Kind, Property, Thing

TIMES = ("time", "timestamp", "ts", "observed_at", "datetime", "date", "_time")
_COLUMN = re.compile(r"(?P<column>.+?)=(?P<property>[^:]*)(?::(?P<unit>[^:]*))?(?::(?P<kind>[a-z]+))?\Z")
_COMMA = re.compile(r"[+-]?[\d.]*,\d+(?:[eE][+-]?\d+)?")


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """How to read a table.

    `columns` are the headings that are properties, all but time and thing when it is empty. A narrow table has
    `property_column` and `value_column` in place of them. `zone` is that of times without an offset; None refuses
    these. With `decimal` "," numbers are written 3,5. Text of a `typed` table is text, of another whatever is defined.
    """

    time: str = ""
    thing: str = ""
    thing_column: str = ""
    property_column: str = ""
    value_column: str = ""
    columns: Mapping[str, Property] = {}
    zone: ZoneInfo | None = None
    decimal: str = "."
    typed: bool = False

    def about(self, thing: str) -> Thing | None:
        """What the columns say of any thing's properties, the rest guessed; None when no unit or kind is named."""
        told = {one.name: one for one in self.columns.values() if one.unit or one.kind is not Kind.GAUGE}
        return Thing(name=thing, properties=told) if told else None


def parse_column(text: str) -> tuple[str, Property]:
    """`HEADING=PROPERTY[:UNIT[:KIND]]`, such as "P (kW)=power:kW" or "kWh=energy:kW.h:counter". Raises SourceRefused.

    >>> parse_column("kWh=energy:kW.h:counter")[1].kind
    <Kind.COUNTER: 'counter'>
    """
    found = _COLUMN.fullmatch(text)
    if not found:
        raise SourceRefused(f"{text!r} is not HEADING=PROPERTY[:UNIT[:KIND]]:", 'write "P (kW)=power:kW".')
    unit, kind = found["unit"] or None, found["kind"] or Kind.GAUGE
    if unit:
        parse_unit(unit)
    if kind not in list(Kind):
        raise SourceRefused(f"{kind!r} is no kind:", f"write one of {', '.join(Kind)}.")
    name = found["property"] or found["column"]
    return found["column"], Property(name=name, unit=unit, kind=Kind(kind), inferred=True)


class TableReader:
    """Makes rows of a table's records. SourceRefused when no column is the time, or nothing names the thing."""

    def __init__(self, headings: Sequence[str], layout: Layout) -> None:
        self._layout = layout
        self._places = {name: place for place, name in enumerate(headings)}
        self._width = len(headings)
        self._time = self._place(layout.time or next((name for name in TIMES if name in self._places), ""), "--time")
        heading = layout.thing_column or ("" if layout.thing else "thing")
        self._thing = self._place(heading, "--thing or --thing-column") if heading else None
        if bool(layout.property_column) != bool(layout.value_column):
            raise SourceRefused("A narrow table has both:", "use --property-column and --value-column.")
        self._narrow = (
            (
                self._place(layout.property_column, "--property-column"),
                self._place(layout.value_column, "--value-column"),
            )
            if layout.property_column
            else None
        )
        for heading in layout.columns:
            self._place(heading, "--column")
        self._columns = [
            (place, layout.columns[heading].name if heading in layout.columns else heading)
            for heading, place in self._places.items()
            if place not in (self._time, self._thing) and (not layout.columns or heading in layout.columns)
        ]
        if not self._narrow and not self._columns:
            raise SourceRefused("No column holds a property:", "name them with --column.")

    def read(self, number: int, where: str, record: Sequence[Any]) -> Row | Refused:
        """A record as a row, with nothing for an empty cell."""
        if len(record) != self._width:
            return Refused(number, where, "", "", f"it has {len(record)} cells, the first line {self._width}")
        thing = self._layout.thing or str(record[self._thing or 0])
        if not thing:
            return Refused(number, where, "", "", "it names no thing")
        try:
            observed_at = moment(record[self._time], self._layout.zone)
        except BadValue as error:
            return Refused(number, where, thing, "", str(error))
        if self._narrow:
            name, value = record[self._narrow[0]], record[self._narrow[1]]
            return Row(number, where, thing, observed_at, dict(self._cells([(str(name), value)])))
        cells = ((name, record[place]) for place, name in self._columns)
        return Row(number, where, thing, observed_at, dict(self._cells(cells)))

    def _cells(self, cells: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
        for name, value in cells:
            if value is None or value == "":
                continue
            if isinstance(value, str) and not self._layout.typed:
                comma = self._layout.decimal == "," and _COMMA.fullmatch(value)
                value = Text(value.replace(".", "").replace(",", ".") if comma else value)
            yield name, value

    def _place(self, heading: str, option: str) -> int:
        if heading not in self._places:
            raise SourceRefused(
                f"There is no column {heading!r}: there are {', '.join(map(repr, self._places))}."
                if heading
                else "No column is the time.",
                f"Name it with {option}.",
            )
        return self._places[heading]
