"""Tables whose columns are told: which is the time, which names the thing, and which properties the others are."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from taihu.cli.transfer.rows import Refused, Row, SourceRefused, Text
from taihu.cli.transfer.values import BadValue, moment
from taihu.kernel.units import commensurable, spelled
from taihu.things.property import Kind, Property, Thing

TIMES = (
    "time", "timestamp", "ts", "observed_at", "datetime", "date", "_time", "date/time", "start", "zeit", "时间", "日期",
)  # fmt: skip
_COLUMN = re.compile(
    r"(?P<column>.+?)=(?:(?P<thing>[^:/]+)/)?(?P<property>[^:/]*)(?::(?P<unit>[^:]*))?(?::(?P<kind>[a-z]+))?\Z"
)
_COMMA = re.compile(r"[+-]?[\d.]*,\d+(?:[eE][+-]?\d+)?")


class Column(msgspec.Struct, frozen=True):
    """A column that is a property: of one thing that it names, else of the row's."""

    thing: str
    property: Property


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
    columns: Mapping[str, Column] = {}
    zone: ZoneInfo | None = None
    decimal: str = "."
    typed: bool = False

    def about(self, thing: str) -> Thing | None:
        """What the columns say of any thing's properties, the rest guessed; None when no unit or kind is named."""
        own = (one.property for one in self.columns.values() if one.thing in ("", thing))
        told = {one.name: one for one in own if one.unit or one.kind is not Kind.GAUGE}
        return Thing(name=thing, properties=told) if told else None

    def names_things(self) -> bool:
        """Whether every column that is a property says of which thing."""
        return bool(self.columns) and all(one.thing for one in self.columns.values())


def parse_column(text: str) -> tuple[str, Column]:
    """`HEADING=[THING/]PROPERTY[:UNIT[:KIND]]`, such as "P (kW)=power:kW" or "Hall 2=hall-2/energy:kWh:counter".

    An everyday spelling of a unit is taken for its UCUM code. Raises SourceRefused, also for energy without a kind:
    whether that is a register or an amount of each row cannot be told.

    >>> parse_column("kWh=meter/energy:kWh:counter")[1].property.unit
    'kW.h'
    """
    found = _COLUMN.fullmatch(text)
    if not found:
        raise SourceRefused(f"{text!r} is not HEADING=[THING/]PROPERTY[:UNIT[:KIND]]:", 'write "P (kW)=power:kW".')
    unit, kind = found["unit"] or None, found["kind"] or Kind.GAUGE
    if unit:
        unit = spelled(unit)
        if not found["kind"] and commensurable(unit, "kW.h"):
            remedy = ":interval for the energy of each row, :counter for a register, :gauge for what something holds."
            raise SourceRefused(f"{text!r} does not say what sort of energy it is:", f"end it with {remedy}")
    if kind not in list(Kind):
        raise SourceRefused(f"{kind!r} is no kind:", f"write one of {', '.join(Kind)}.")
    name = found["property"] or found["column"]
    return found["column"], Column(found["thing"] or "", Property(name=name, unit=unit, kind=Kind(kind), inferred=True))


class TableReader:
    """Makes rows of a table's records. SourceRefused when no column is the time, or nothing names the thing."""

    def __init__(self, headings: Sequence[str], layout: Layout) -> None:
        self._layout = layout
        self._places = {name: place for place, name in enumerate(headings)}
        self._width = len(headings)
        self._time = self._place(layout.time or self._usual_time(), "--time")
        heading = layout.thing_column or ("" if layout.thing or layout.names_things() else "thing")
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
        self._last: dict[str, tuple[int, bool]] = {}  # of each thing its last time, and whether its times rise
        self._columns: dict[str, list[tuple[int, str]]] = {}  # by the thing that they name; "" is the row's
        for heading, place in self._places.items():
            if place not in (self._time, self._thing) and (not layout.columns or heading in layout.columns):
                column = layout.columns.get(heading)
                of, name = (column.thing, column.property.name) if column else ("", heading)
                self._columns.setdefault(of, []).append((place, name))
        if not self._narrow and not self._columns:
            raise SourceRefused("No column holds a property:", "name them with --column.")

    def read(self, number: int, where: str, record: Sequence[Any]) -> list[Row | Refused]:
        """A record as a row of each thing that it is of, with nothing for an empty cell."""
        if len(record) != self._width:
            return [Refused(number, where, "", "", f"it has {len(record)} cells, the first line {self._width}")]
        thing = self._layout.thing or (str(record[self._thing]) if self._thing is not None else "")
        if not thing and (self._narrow or "" in self._columns):
            return [Refused(number, where, "", "", "it names no thing")]
        try:
            observed_at = self._moment(thing, record[self._time])
        except BadValue as error:
            return [Refused(number, where, thing, "", str(error))]
        if self._narrow:
            name, value = record[self._narrow[0]], record[self._narrow[1]]
            return [Row(number, where, thing, observed_at, dict(self._cells([(str(name), value)])))]
        return [
            Row(
                number, where, of or thing, observed_at, dict(self._cells((name, record[place]) for place, name in own))
            )
            for of, own in self._columns.items()
        ]

    def _moment(self, thing: str, text: Any) -> int:
        """A time; of an hour that the clock shows twice, the second when the thing's rows have come to it."""
        last, rising = self._last.get(thing, (0, True))
        found = moment(text, self._layout.zone)
        if rising and (found < last or (found == last and not self._narrow)):
            found = moment(text, self._layout.zone, second=True)
        self._last[thing] = (found, found >= last)
        return found

    def _usual_time(self) -> str:
        """The heading that usually is the time's, however it is written."""
        folded = {heading.casefold(): heading for heading in reversed(self._places)}
        return next((folded[name] for name in TIMES if name in folded), "")

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
            lacking = f"There is no column {heading!r}" if heading else "No column is called as times usually are"
            raise SourceRefused(
                f"{lacking}: there are {', '.join(map(repr, self._places))}.", f"Name it with {option}."
            )
        return self._places[heading]
