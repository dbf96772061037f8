"""The rows that a figure is made of, and factors, as a page for whoever follows a link of a report, and as CSV."""

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from taihu.carbon.cells import UNKNOWN, Addresses, apart, csv_text, factor_value, iso, number, share
from taihu.carbon.document import Cell, Document, Link, Phrase, Section, Table
from taihu.carbon.factors import Factor
from taihu.carbon.figures import SUMMED
from taihu.carbon.rows import Row
from taihu.carbon.selection import COLUMNS, COUNTS, OF_HOURS, SHARES, Figure, Selection
from taihu.carbon.site import APART
from taihu.carbon.tracing import Traced
from taihu.kernel.clock import HOUR_NS, to_datetime

PAGE_ROWS = 500
_SHOWN = {
    "import_kwh": "Drawn kWh",
    "export_kwh": "Given kWh",
    "generation_kwh": "Made kWh",
    "certified_kwh": "Certified kWh",
    "amount": "Amount",
    "fuel_kwh": "Fuel kWh",
    "location_kg": "Location kg",
    "market_kg": "Market kg",
    "scope1_kg": "Scope 1 kg",
    "co2_kg": "CO2 kg",
    "ch4_kg": "CH4 kg",
    "n2o_kg": "N2O kg",
    "gases_kg": "Other gases kg CO2e",
    "upstream_kg": "Scope 3 kg",
    "carbon_free": "Grid carbon-free",
    "without_kwh": "Without control kWh",
    "with_kwh": "With control kWh",
    "avoided_kg": "Avoided kg",
}
FIGURES = {name: words for name, words in _SHOWN.items() if name in COLUMNS} | {
    Figure.ESTIMATED: "Estimated kWh",
    Figure.ROWS: "Intervals",
    Figure.KNOWN: "Known",
    Figure.NET: "Drawn less given kWh",
    Figure.PARTS: "Parts kWh",
    Figure.RESIDUAL: "Residual kWh",
    Figure.APART: "Apart",
    Figure.BALANCED: "Hours known",
    Figure.LOAD: "Load kWh",
    Figure.MADE: "Made kWh",
    Figure.MATCHED: "Matched in its hour kWh",
    Figure.UNMATCHED: "Unmatched in its hour kWh",
    Figure.UNMATCHED_IN_SUM: "Unmatched in sum kWh",
    Figure.IN_SUM: "Matched in sum",
    Figure.BY_THE_HOUR: "Matched by the hour",
    Figure.CONTRACTED: "With certificates",
    Figure.CFE: "With the grid's share (CFE)",
    Figure.HOURS: "Hours known",
    Figure.HOURS_ESTIMATED: "Hours estimated",
    Figure.HOURS_IMPOSSIBLE: "Hours in which more was given than there was",
}
HOUR_PARTS = {
    "drawn": "Drawn kWh",
    "certified": "Certified kWh",
    "given": "Given kWh",
    "inside": "Made on site kWh",
    "made": "Made kWh",
    "load": "Load kWh",
    "contracted": "Carbon-free kWh",
    "matched": "Matched kWh",
    "carbon_free": "Grid carbon-free",
    "main": "Main kWh",
    "parts": "Parts kWh",
    "residual": "Residual kWh",
    "apart": "Apart kWh",
}
_SHARES = ("carbon_free",)
_DIGITS = 3


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a reader is: which selection of which project, at which page, in whose time."""

    project: str
    title: str
    zone: ZoneInfo
    selection: Selection
    addresses: Addresses
    page: int = 1

    def at(self, page: int, form: str = "") -> str:
        """Where another page of the same is, or all of it in another form."""
        address = self.addresses.of(self.selection)
        return address + (f"&format={form}" if form else f"&page={page}" if page > 1 else "")


def rows_csv(found: Traced) -> str:
    """The rows as CSV, each column of a row, and what the row is of the figure."""
    names = Row.__struct_fields__
    lines = (
        (*(" ".join(value) if isinstance(value := getattr(row, name), tuple) else value for name in names), part)
        for row, part in zip(found.rows, found.values or [None] * len(found.rows), strict=True)
    )
    return csv_text((*names, "figure"), lines)


def rows_document(found: Traced, place: Place, more: Sequence[Section] = ()) -> Document:
    """One page of what a figure is made of, and what else is to be said of that."""
    wanted = place.selection
    figure = wanted.figure or Figure.ROWS
    pages = max(1, -(-found.count // PAGE_ROWS))
    hourly = figure in OF_HOURS
    table = _hours(found, place) if hourly else _rows(found, place)
    figures: list[tuple[str, Cell]] = [(FIGURES[figure], figure_text(figure, found.value))]
    if figure is not Figure.ROWS:
        figures.append(("Hours" if hourly else "Intervals", f"{found.count:,}"))
    if found.total:
        counts = (("Measured", found.total.measured), ("Estimated", found.total.estimated))
        figures += [(words, f"{count:,}") for words, count in (*counts, ("Missing", found.total.missing))]
    empty = "There are no such rows."
    return Document(
        title=Phrase("{}: {}", FIGURES[figure], place.title),
        lead=_lead(wanted, place),
        figures=tuple(figures),
        links=_links(place, pages),
        sections=(
            Section(
                heading=Phrase("Page {} of {}", place.page, pages) if pages > 1 else _HEADINGS[hourly],
                table=table if found.count else None,
                note=_NOTES[hourly] if found.count else empty,
            ),
            *more,
        ),
    )


def figure_text(figure: Figure, value: float | None) -> str:
    """A figure by itself, to one digit more than reports give it."""
    if value is None or figure in COUNTS:
        return UNKNOWN if value is None else f"{value:,.0f}"
    if figure is Figure.APART:
        return apart(value)
    return share(value) if figure in SHARES else number(value, _DIGITS)


_HEADINGS = ("Rows of the ledger", "Hours")
_NOTES = (
    "Each row is one interval of one meter, in the version that the ledger had then. A dash is missing, not zero.",
    "Each hour leads to the rows of all meters that take part in it. A dash is missing, not zero.",
)


def _lead(wanted: Selection, place: Place) -> Phrase:
    """What is selected, in words."""
    parts: list[Phrase] = []
    if wanted.meter:
        parts.append(Phrase(" Meter {}.", ", ".join(wanted.meter)))
    if wanted.balance:
        parts.append(Phrase(" Balance of {}.", wanted.balance))
    if wanted.role:
        parts.append(
            Phrase(" Meters that count: {}.", Phrase(", ".join(["{}"] * len(wanted.role)), *map(str, wanted.role)))
        )
    if wanted.quality:
        parts.append(Phrase(" Only what is {}.", str(wanted.quality)))
    if wanted.restated:
        parts.append(Phrase(" Only what was restated."))
    if wanted.reason is not None:
        parts.append(Phrase(" Restated for: {}.", wanted.reason))
    if wanted.factor:
        parts.append(Phrase(" Computed with {}.", wanted.factor))
    if wanted.hour is not None:
        parts.append(Phrase(" Hours that begin at {}:00.", f"{wanted.hour:02d}"))
    if wanted.as_of:
        parts.append(Phrase(" As the ledger knew it at {}.", iso(wanted.as_of, place.zone.key)))
    period = (_local(wanted.start, place.zone), _local(wanted.end, place.zone), place.zone.key)
    return Phrase("{} to {} ({}).{}", *period, Phrase("{}" * len(parts), *parts))


def _links(place: Place, pages: int) -> tuple[Link, ...]:
    found = []
    if place.page > 1:
        found.append(Link("Previous page", place.at(place.page - 1)))
    if place.page < pages:
        found.append(Link("Next page", place.at(place.page + 1)))
    return (*found, Link("All of it as CSV", place.at(1, "csv")), Link("as JSON", place.at(1, "json")))


def _rows(found: Traced, place: Place) -> Table:
    """The rows: first what each is of the figure, then all that it has."""
    figure, restated = place.selection.figure, bool(found.before)
    own = figure is not None and (restated or figure not in _SHOWN) and figure not in (Figure.ROWS, Figure.KNOWN)
    shown = [name for name in _SHOWN if any(getattr(row, name) is not None for row in found.rows)]
    shown.sort(key=lambda name: name != figure)
    rows: list[tuple[Cell, ...]] = []
    for row, value in zip(found.rows, found.values, strict=True):
        parts = (number(value, _DIGITS),) if own else ()
        known = (str(row.quality), share(row.coverage), str(row.version), row.reason or UNKNOWN)
        factors = ", ".join(["{}"] * len(row.factors))
        named = Phrase(factors, *(_factor_link(name, place) for name in row.factors)) if row.factors else UNKNOWN
        figures = (_figure(row, name) for name in shown)
        behind = row.behind.removeprefix(APART)
        role = Phrase("{} of {}", str(row.role), behind) if behind else str(row.role)
        start, end = _local(row.start, place.zone), _local(row.end, place.zone)
        rows.append((row.meter, start, end, role, *parts, *figures, *known, named, ", ".join(row.inputs) or UNKNOWN))
    if own or found.total:
        sums = (number(found.value, _DIGITS),) if own else ()
        figures = (number(getattr(found.total, name, None), _DIGITS) if name in SUMMED else "" for name in shown)
        rows.append((Phrase("All {}", f"{found.count:,}"), "", "", "", *sums, *figures, *[""] * 6))
    heads = [Phrase("Change: {}", FIGURES[figure]) if restated else FIGURES[figure]] if own and figure else []
    heads += [_SHOWN[name] for name in shown]
    first = 4 + len(heads)
    return Table(
        heads=(
            "Meter",
            "From",
            "To",
            "Counts",
            *heads,
            "Quality",
            "Known",
            "Version",
            "Restated for",
            "Factors",
            "Inputs",
        ),
        rows=rows,
        texts=(0, 1, 2, 3, first, first + 3, first + 4, first + 5),
        total=bool(own or found.total),
    )


def _figure(row: Row, name: str) -> str:
    value = getattr(row, name)
    if name in _SHARES:
        return share(value)
    return number(value, _DIGITS) + (f" {row.unit}" if name == "amount" and value is not None else "")


def _factor_link(name: str, place: Place) -> Link:
    """A factor leads to where it comes from, a property of the grid to the rows that it priced."""
    if "/" in name:
        wanted = place.selection
        same = Selection(start=wanted.start, end=wanted.end, factor=name, as_of=wanted.as_of)
        return Link(name, place.addresses.of(same))
    return Link(name, place.addresses.factor(name, place.selection.as_of))


def _hours(found: Traced, place: Place) -> Table:
    """Hours, and what each is worked out of; each leads to its rows."""
    shown = [name for name in HOUR_PARTS if any(name in hour.parts for hour in found.hours)]
    rows: list[tuple[Cell, ...]] = []
    for hour in found.hours:
        end, meters = hour.start + HOUR_NS, tuple(dict.fromkeys(row.meter for row in found.rows))
        same = Selection(start=hour.start, end=end, meter=meters, as_of=place.selection.as_of)
        parts = (share(value) if name in _SHARES else number(value, _DIGITS) for name, value in hour.parts.items())
        rows.append((Link(_local(hour.start, place.zone), place.addresses.of(same)), *parts))
    sums = ("" if name in _SHARES else number(found.whole.get(name), _DIGITS) for name in shown)
    rows.append((Phrase("All {}", f"{found.count:,}"), *sums))
    return Table(heads=("From", *(HOUR_PARTS[name] for name in shown)), rows=rows, total=True)


def _local(at: int, zone: ZoneInfo) -> str:
    return to_datetime(at).astimezone(zone).strftime("%Y-%m-%d\u00a0%H:%M")


def factors_document(factors: Sequence[tuple[Factor, bool]]) -> Document:
    """Factors, each with its source, and whether it is the site's own."""
    rows: list[tuple[Cell, ...]] = [
        (
            one.id,
            str(one.kind),
            one.subject,
            f"{one.region} {one.year or ''}".strip(),
            factor_value(one),
            _valid(one),
            one.published,
            "the site's own" if own else "comes with Taihu",
            one.source,
        )
        for one, own in factors
    ]
    heads = ("Row", "Kind", "Of", "Region, year", "Value", "Valid", "Published", "Whose", "Source")
    table = Table(heads=heads, rows=rows, texts=(0, 1, 2, 3, 5, 6, 7, 8))
    names: Any = factors[0][0].id if len(factors) == 1 else f"{len(factors):,}"
    return Document(
        title=Phrase("Factors: {}", names),
        lead="A hyphen in place of a value is still to be provided.",
        figures=(),
        sections=(Section(heading="Factors", table=table),),
    )


def _valid(one: Factor) -> str:
    if not one.valid_from and not one.valid_to:
        return UNKNOWN
    return f"{iso(one.valid_from)[:10] if one.valid_from else ''} … {iso(one.valid_to)[:10] if one.valid_to else ''}"
