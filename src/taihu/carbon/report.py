"""Inventories as documents, and as tables of their lines: every figure leads to the rows that it is made of."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

from taihu.carbon.avoided_document import AVOIDED_COLUMNS, avoided_lines, avoided_sections
from taihu.carbon.balance import CLOSED_SHARE
from taihu.carbon.cells import (
    Addresses,
    Trail,
    apart,
    begin,
    csv_text,
    factor_value,
    factors_section,
    iso,
    mass,
    number,
    share,
)
from taihu.carbon.document import Cell, Document, Link, Phrase, Section, Table
from taihu.carbon.factors import FactorKind
from taihu.carbon.figures import SUMMED, Figures, Line, Restated, merge
from taihu.carbon.inventory import Category, Inventory, Lacking, MainBalance, Report
from taihu.carbon.rows import COUNTED, DIRECT, PARTS, Role
from taihu.carbon.selection import SOURCES, Figure, Selection
from taihu.carbon.words import METHOD, UNITS
from taihu.kernel.clock import HOUR_NS

_COLUMNS = {
    "import_kwh": "Drawn kWh",
    "export_kwh": "Given kWh",
    "generation_kwh": "Made kWh",
    "location_kg": "Location kg",
    "market_kg": "Market kg",
    "fuel_kwh": "Fuel kWh",
    "scope1_kg": "Scope 1 kg",
    "upstream_kg": "Scope 3 kg",
    "estimated_kwh": "Estimated kWh",
}
_GASES = {
    "co2_kg": "CO2 kg",
    "ch4_kg": "CH4 kg",
    "n2o_kg": "N2O kg",
    "gases_kg": "Other gases kg CO2e",
    "scope1_kg": "All kg CO2e",
}
_GRAM = 0.001
_SOURCES = {Role.FUEL: "combustion", Role.PROCESS: "process", Role.LEAK: "leak"}
QUALITY = ("Measured", "Estimated", "Missing")
_LEAD = "{} {} of all intervals are known: {} measured, {} estimated, {} missing. {} were restated."


def inventory_csv(report: Inventory, addresses: Addresses) -> str:
    """One line for each meter and part, and for each meter that is lacking; a missing figure is empty.

    The column `rows` is the address of the rows that a line's figures are made of.
    """
    zone = report.timezone
    names = (*SUMMED, "measured", "estimated", "missing", "restated", *AVOIDED_COLUMNS)
    absent: list[tuple[Any, ...]] = [
        (report.project, one.meter, "", "", iso(report.start, zone), iso(report.end, zone), *[""] * len(names), "")
        for one in report.lacking
    ]
    whole = _trail(report, addresses)
    lines = (
        (report.project, line.meter, line.role, line.behind, iso(line.start, zone), iso(line.end, zone),
         *(_cell(getattr(line.figures, name, "")) for name in names), addresses.of(_of_line(whole, line).selection))
        for line in report.parts
    )  # fmt: skip
    heads = ("project", "meter", "role", "behind", "start", "end", *names, "rows")
    return csv_text(heads, chain(lines, avoided_lines(report, whole, names), absent))


def inventory_document(report: Inventory, addresses: Addresses) -> Document:
    """The inventory: scopes, ISO 14064-1, balance, what was restated, factors."""
    total, trail = report.total, _trail(report, addresses)
    whole = trail.narrow(role=COUNTED)
    sections = [
        Section(
            heading="Scope 1, and scope 2 by both rules",
            table=_lines([*report.meters], trail, report.project, total),
            note=UNITS,
        ),
        *_gases(report, trail),
        Section(heading="ISO 14064-1 categories", table=_categories(report.iso_14064, report.meters, trail)),
    ]
    if report.lacking:
        sections.insert(0, _lacking(report.lacking))
    if report.inside:
        note = "Submeters and storages: their energy is in the lines above already."
        sections.append(Section(heading="Of which", table=_lines(report.inside, trail), note=note))
    sections += balances_sections(report.balances, report.timezone, trail)
    sections += _restated(report.restated, report.timezone, trail)
    if len(report.parts) > len(report.meters) + len(report.inside):
        table = _lines(report.parts, trail, zone=report.timezone)
        sections.append(Section(heading="By part of the period", table=table))
    sections += [factors_section(report.factors, trail), Section(heading="Method", note=METHOD)]
    sections += avoided_sections(report, trail)
    known, counts = whole.link(share(total.coverage), Figure.KNOWN), whole.counts(total)
    restated = whole.link(f"{total.restated:,}", Figure.ROWS, restated=True)
    figures = (
        ("Scope 1", Figure.SCOPE1),
        ("Scope 2, location-based", Figure.LOCATION),
        ("Scope 2, market-based", Figure.MARKET),
        ("Scope 3", Figure.UPSTREAM),
    )
    return Document(
        title=Phrase("Greenhouse gas inventory: {}", report.title),
        lead=Phrase(_LEAD, period(report), known, *counts, restated),
        figures=tuple(
            (words, trail.link(mass(getattr(total, name)), name, **SOURCES[name])) for words, name in figures
        ),
        sections=tuple(sections),
    )


def _cell(value: Any) -> Any:
    """A figure to the milligram and milliwatt-hour: what is beyond is of the way numbers are kept."""
    return round(value, 6) if isinstance(value, float) else value


def _trail(report: Inventory, addresses: Addresses) -> Trail:
    return Trail(addresses, Selection(start=report.start, end=report.end, as_of=report.known_at))


def _of_line(trail: Trail, line: Line) -> Trail:
    return trail.narrow(meter=(line.meter,), role=(line.role,), behind=line.behind, start=line.start, end=line.end)


def _lacking(meters: Sequence[Lacking]) -> Section:
    rows = [(one.meter, one.why) for one in meters]
    return Section(
        heading="Meters that are not accounted", table=Table(heads=("Meter", "Why"), rows=rows, texts=(0, 1))
    )


def _lines(
    lines: Sequence[Line], trail: Trail, name: str = "", whole: Figures | None = None, *, zone: str = ""
) -> Table:
    shown = [field for field in _COLUMNS if any(getattr(line.figures, field) is not None for line in lines)]
    found: list[tuple[Cell, ...]] = []
    for line in lines:
        words = line.meter
        if zone:
            words = f"{line.meter} {begin(line.start, zone)}"
        elif line.role in PARTS:
            words = Phrase(f"{{}} ({line.role} of {{}})", line.meter, line.behind)
        mine = _of_line(trail, line)
        name_cell = Link(words, mine.address(Figure.ROWS))
        found.append((name_cell, *mine.numbers(line.figures, shown), *mine.counts(line.figures)))
    if whole is not None:
        mine = trail.narrow(role=COUNTED)
        sums = (trail.link(number(getattr(whole, one), 2), Figure(one), **SOURCES[Figure(one)]) for one in shown)
        found.append((Link(name, mine.address(Figure.ROWS)), *sums, *mine.counts(whole)))
    heads = ("Meter, from" if zone else "Meter", *(_COLUMNS[field] for field in shown), *QUALITY)
    return Table(heads=heads, rows=found, total=whole is not None)


def _categories(categories: Sequence[Category], meters: Sequence[Line], trail: Trail) -> Table:
    """The categories; of what is direct, also by the kind of source."""
    shown = (Figure.SCOPE1, Figure.LOCATION, Figure.MARKET, Figure.UPSTREAM)
    direct, *others = [
        _kg(one.category, one.kg, one, trail.narrow(**SOURCES[figure]), figure)
        for one, figure in zip(categories, shown, strict=True)
    ]
    sources = []
    for role, words in _SOURCES.items():
        if found := [line.figures for line in meters if line.role is role]:
            whole = merge(found)
            named = Phrase("\u2003of which {}", words)
            sources.append(_kg(named, whole.scope1_kg, whole, trail.narrow(role=(role,)), Figure.SCOPE1))
    return Table(heads=("Category", "kg", *QUALITY), rows=[direct, *sources, *others])


def _kg(words: str, kg: float | None, counted: Figures | Category, trail: Trail, figure: Figure) -> tuple[Cell, ...]:
    return words, trail.link(number(kg, 2), figure), *trail.counts(counted)


def _gases(report: Inventory, trail: Trail) -> list[Section]:
    """What is direct, gas by gas."""
    lines = [line for line in report.meters if line.role in DIRECT]
    if not lines:
        return []
    found: list[tuple[Cell, ...]] = []
    for line in lines:
        mine = _of_line(trail, line)
        name = Link(line.meter, mine.address(Figure.ROWS))
        found.append((name, _SOURCES[line.role], *_of_gases(line.figures, mine)))
    mine = trail.narrow(role=DIRECT)
    whole = merge([line.figures for line in lines])
    found.append((Link(report.project, mine.address(Figure.ROWS)), "", *_of_gases(whole, mine)))
    potentials = [
        Phrase("{} {}", one.id, Link(factor_value(one), trail.addresses.factor(one.id, report.known_at)))
        for one in report.factors
        if one.kind == FactorKind.GWP and one.value
    ]
    heads = ("Source", "Kind", *_GASES.values())
    table = Table(heads=heads, rows=found, texts=(0, 1), total=True)
    note = Phrase(
        "kg of each gas; the last two in CO2 equivalent, over 100 years: {}.",
        Phrase(", ".join(["{}"] * len(potentials)), *potentials),
    )
    return [Section(heading="Scope 1 by gas", table=table, note=note if potentials else "")]


def _of_gases(figures: Figures, trail: Trail) -> tuple[Cell, ...]:
    return tuple(trail.link(_gas(getattr(figures, name)), Figure(name)) for name in _GASES)


def _gas(kg: float | None) -> str:
    """To the gram; what is less to three digits, as a gas of a few milligrams is not nothing."""
    return f"{kg:.3g}" if kg and abs(kg) < _GRAM else number(kg, 3)


def balances_sections(balances: Sequence[MainBalance], zone: str, trail: Trail) -> list[Section]:
    """Whether each main meter agrees with what is behind it, and where it does not most."""
    if not balances:
        return []
    heads = ("Meter", "Main kWh", "Parts kWh", "Residual kWh", "Apart", "Hours known", "Verdict")
    lines: list[tuple[Cell, ...]] = []
    for one in balances:
        period = {"start": one.start, "end": one.end, "since": one.start, "until": one.end}
        mine = trail.narrow(balance=one.meter, **period)
        lines.append(
            (
                one.meter,
                mine.link(number(one.main_kwh, 2), Figure.NET, meter=(one.meter,)),
                mine.link(number(one.main_kwh - one.residual_kwh, 2), Figure.PARTS),
                mine.link(number(one.residual_kwh, 3), Figure.RESIDUAL),
                mine.link(apart(one.share), Figure.APART),
                mine.link(share(one.coverage), Figure.BALANCED),
                _verdict(one.closed, one.share),
            )
        )
        lines += [
            (
                Phrase("\u2003of which {}", part),
                "",
                mine.link(number(kwh, 2), Figure.NET, meter=(part,)),
                "",
                "",
                "",
                "",
            )
            for part, kwh in one.parts_kwh.items()
        ]
        lines += [_worst(one, at, zone, mine) for at in one.worst]
    note = "Drawing is positive. Apart is counted hour by hour, a gap as one: errors hide no others."
    return [Section(heading="Energy balance", table=Table(heads=heads, rows=lines, texts=(0, 6)), note=note)]


def _worst(one: MainBalance, at: int, zone: str, trail: Trail) -> tuple[Cell, ...]:
    mine = trail.narrow(start=at, end=at + one.lengths[at] * HOUR_NS)
    residual = mine.link(number(one.worst[at], 3), Figure.RESIDUAL)
    return (Link(iso(at, zone), mine.address(Figure.RESIDUAL)), "", "", residual, "", "", "among the hours most apart")


def _verdict(closed: bool, share: float | None) -> str:
    """In words."""
    if closed:
        return "closes"
    return "not known" if share is None else "does not close" if share > CLOSED_SHARE else "closes where it is known"


def _restated(found: Sequence[Restated], zone: str, trail: Trail) -> list[Section]:
    if not found:
        return []
    rows = []
    for one in found:
        mine = trail.narrow(reason=one.reason)
        changes = (
            mine.link(f"{getattr(one, name):+,.2f}", name)
            for name in (Figure.SCOPE1, Figure.LOCATION, Figure.MARKET, Figure.UPSTREAM)
        )
        moments = (mine.link(iso(at, zone), Figure.ROWS) for at in (one.first, one.last))
        rows.append((one.reason, mine.link(f"{one.intervals:,}", Figure.ROWS), *moments, *changes))
    heads = (
        "Why",
        "Intervals",
        "First written",
        "Last written",
        "Scope 1 kg",
        "Location kg",
        "Market kg",
        "Scope 3 kg",
    )
    note = "What was reported before stays in the ledger: taihu carbon report PROJECT --as-of MOMENT."
    return [Section(heading="Restated", table=Table(heads=heads, rows=rows), note=note)]


def period(report: Report) -> Phrase:
    """Of when a report is, and as of when."""
    as_of = Phrase(" As the ledger knew it at {}.", iso(report.as_of, report.timezone)) if report.as_of else ""
    start, end, made = (iso(at, report.timezone) for at in (report.start, report.end, report.made_at))
    return Phrase("{} to {} ({}), made {}.{}", start, end, report.timezone, made, as_of)
