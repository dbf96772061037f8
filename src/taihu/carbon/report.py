"""Inventories and reports on hourly matching as documents, and as tables of their lines."""

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any
from zoneinfo import ZoneInfo

from taihu.carbon.balance import CLOSED_SHARE
from taihu.carbon.document import Bars, Cell, Document, Link, Section, Table
from taihu.carbon.factors import FactorKind
from taihu.carbon.figures import SUMMED, Figures, Line, Restated, merge
from taihu.carbon.hourly import HourlyReport
from taihu.carbon.inventory import HOUR_NS, Category, Inventory, Lacking, MainBalance, UsedFactor
from taihu.carbon.rows import DIRECT, PARTS, Role
from taihu.carbon.site import Score, SiteHours
from taihu.carbon.words import HOURLY_METHOD, METHOD, UNITS, Phrase
from taihu.kernel.clock import to_datetime

Rows = Callable[[str, int, int], str]  # where the rows of a meter in a period are
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
_QUALITY = ("Measured", "Estimated", "Missing")
_INVENTORY_LEAD = "{} {} of all intervals are known: {} measured, {} estimated, {} missing. {} were restated."
_HOURLY_LEAD = "{} {} of the hours are known, {} of them estimated.{}"
_IMPOSSIBLE = " In {} hours more was given than drawn and made: no load is known then."


def inventory_csv(report: Inventory) -> str:
    """One line for each meter and part, and for each meter that is lacking; times in UTC, a missing figure is empty."""
    names = (*SUMMED, "measured", "estimated", "missing", "restated")
    absent = (
        (report.project, one.meter, "", "", _iso(report.start), _iso(report.end), *[""] * len(names))
        for one in report.lacking
    )
    lines = (
        (report.project, line.meter, line.role, line.behind, _iso(line.start), _iso(line.end),
         *(_plain(getattr(line.figures, name)) for name in names))
        for line in report.parts
    )  # fmt: skip
    return _csv(("project", "meter", "role", "behind", "start", "end", *names), chain(lines, absent))


def hourly_csv(report: HourlyReport, found: SiteHours) -> str:
    """One line for each hour; an hour that is not known is empty."""
    names = ("load", "made", "drawn", "given", "stored", "certified", "matched", "carbon_free")
    columns = [getattr(found, name).tolist() for name in names]
    lines = (
        (
            report.project,
            _iso(report.start + place * HOUR_NS),
            *("" if value != value else value for value in row),
            _hour_quality(found, place),
        )
        for place, row in enumerate(zip(*columns, strict=True))
    )
    heads = (*(f"{name}_kwh" for name in names[:-1]), "grid_carbon_free", "quality")
    return _csv(("project", "start", *heads), lines)


def _hour_quality(found: SiteHours, place: int) -> str:
    if found.impossible[place]:
        return "impossible"
    if math.isnan(found.load[place] + found.made[place]):
        return "missing"
    return "measured" if found.sure[place] else "estimated"


def inventory_document(report: Inventory, rows: Rows) -> Document:
    """The inventory: scopes, ISO 14064-1, balance, what was restated, factors."""
    whole = report.total
    counts = (whole.measured, whole.estimated, whole.missing, whole.restated)
    sections = [
        Section(
            heading="Scope 1, and scope 2 by both rules",
            table=_lines([*report.meters], rows, report.project, whole),
            note=UNITS,
        ),
        *_gases(report, rows),
        Section(heading="ISO 14064-1 categories", table=_categories(report.iso_14064, report.meters)),
    ]
    if report.lacking:
        sections.insert(0, _lacking(report.lacking))
    if report.inside:
        note = "Submeters and storages: their energy is in the lines above already."
        sections.append(Section(heading="Of which", table=_lines(report.inside, rows), note=note))
    sections += _balances(report.balances, rows)
    sections += _restated(report.restated)
    if len(report.parts) > len(report.meters) + len(report.inside):
        sections.append(
            Section(heading="By part of the period", table=_lines(report.parts, rows, zone=report.timezone))
        )
    sections += [_factors(report.factors), Section(heading="Method", note=METHOD)]
    return Document(
        title=Phrase("Greenhouse gas inventory: {}", report.title),
        lead=Phrase(_INVENTORY_LEAD, _period(report), _share(whole.coverage), *counts),
        figures=(
            ("Scope 1", _mass(whole.scope1_kg)),
            ("Scope 2, location-based", _mass(whole.location_kg)),
            ("Scope 2, market-based", _mass(whole.market_kg)),
            ("Scope 3", _mass(whole.upstream_kg)),
        ),
        sections=tuple(sections),
    )


def _lacking(meters: Sequence[Lacking]) -> Section:
    rows = [(one.meter, one.why) for one in meters]
    return Section(
        heading="Meters that are not accounted", table=Table(heads=("Meter", "Why"), rows=rows, texts=(0, 1))
    )


def hourly_document(report: HourlyReport, rows: Rows) -> Document:
    """Hourly matching: in sum, by the hour, by the time of day, and the emission of what is unmatched."""
    one = report.score
    impossible = Phrase(_IMPOSSIBLE, one.impossible) if one.impossible else ""
    lead = Phrase(_HOURLY_LEAD, _period(report), _share(one.coverage), one.estimated, impossible)
    return Document(
        title=Phrase("Hourly matching: {}", report.title),
        lead=lead,
        figures=(
            ("Matched in sum", _share(one.annual)),
            ("Matched by the hour", _share(one.hourly)),
            ("With certificates", _share(one.contracted)),
            ("With the grid's share (CFE)", _share(one.cfe)),
        ),
        sections=(
            _energies(report),
            _time_of_day(report),
            _by_part(report),
            _by_both_rules(report),
            *_balances(report.balances, rows),
            _factors(report.factors),
            Section(heading="Method", note=HOURLY_METHOD),
        ),
    )


def _energies(report: HourlyReport) -> Section:
    one = report.score
    energies = (
        ("Load", one.load_kwh),
        ("Made carbon-free", one.made_kwh),
        ("Matched in its hour", one.matched_kwh),
        ("Unmatched in its hour", one.load_kwh - one.matched_kwh),
        ("Unmatched in sum", max(0.0, one.load_kwh - one.made_kwh)),
        ("Drawn from the grid", report.drawn_kwh),
        ("Of that covered by certificates", report.certified_kwh),
    )
    table = Table(heads=("", "kWh"), rows=[(name, _number(value, 1)) for name, value in energies])
    return Section(heading="Load and carbon-free energy", table=table)


def _time_of_day(report: HourlyReport) -> Section:
    bars = Bars(
        labels=tuple(f"{hour.hour:02d}" for hour in report.by_hour),
        whole=tuple(hour.load_kwh for hour in report.by_hour),
        part=tuple(hour.matched_kwh for hour in report.by_hour),
        words="Load of each hour of the day, and how much of it was matched",
    )
    note = Phrase(
        "By the local time an hour begins at ({}): load, and in green what was matched in its own hour.",
        report.timezone,
    )
    return Section(heading="By the time of day", bars=bars, note=note)


def _by_part(report: HourlyReport) -> Section:
    heads = ("From", "Load kWh", "Made kWh", "In sum", "By the hour", "With certificates", "With the grid", "Known")
    rows = [(_day(part.start, report.timezone), *_scores(part.score)) for part in report.parts]
    table = Table(heads=heads, rows=[*rows, ("All", *_scores(report.score))], total=True)
    return Section(heading="By part of the period", table=table)


def _by_both_rules(report: HourlyReport) -> Section:
    names = ("Location-based", "Market-based, certificates by the hour")
    rows = [(name, _number(one.kg, 2), *_counts(one)) for name, one in zip(names, report.scope2, strict=True)]
    table = Table(heads=("Rule", "kg", *_QUALITY), rows=rows)
    note = "Market-based: an hour's certificates first, the rest by the factors below. The two are never added."
    return Section(heading="Scope 2 of the same period", table=table, note=note)


def _lines(lines: Sequence[Line], rows: Rows, name: str = "", whole: Figures | None = None, *, zone: str = "") -> Table:
    shown = [field for field in _COLUMNS if any(getattr(line.figures, field) is not None for line in lines)]
    found: list[tuple[Cell, ...]] = []
    for line in lines:
        words = line.meter
        if zone:
            words = f"{line.meter} {_day(line.start, zone)}"
        elif line.role in PARTS:
            words = Phrase(f"{{}} ({line.role} of {{}})", line.meter, line.behind)
        link = Link(words, rows(line.meter, line.start, line.end))
        found.append((link, *_cells(line.figures, shown)))
    if whole is not None:
        found.append((name, *_cells(whole, shown)))
    heads = ("Meter, from" if zone else "Meter", *(_COLUMNS[field] for field in shown), *_QUALITY)
    return Table(heads=heads, rows=found, total=whole is not None)


def _cells(figures: Figures, shown: Sequence[str]) -> tuple[str, ...]:
    return (*(_number(getattr(figures, name), 2) for name in shown), *_counts(figures))


def _counts(figures: Figures | Category) -> tuple[str, ...]:
    return tuple(f"{count:,}" for count in (figures.measured, figures.estimated, figures.missing))


def _categories(categories: Iterable[Category], meters: Sequence[Line]) -> Table:
    """The categories; of what is direct, also by the kind of source."""
    direct, *others = [(one.category, _number(one.kg, 2), *_counts(one)) for one in categories]
    sources = []
    for role, words in _SOURCES.items():
        if found := [line.figures for line in meters if line.role is role]:
            whole = merge(found)
            sources.append((Phrase("\u2003of which {}", words), _number(whole.scope1_kg, 2), *_counts(whole)))
    return Table(heads=("Category", "kg", *_QUALITY), rows=[direct, *sources, *others])


def _gases(report: Inventory, rows: Rows) -> list[Section]:
    """What is direct, gas by gas."""
    lines = [line for line in report.meters if line.role in DIRECT]
    if not lines:
        return []
    found: list[tuple[Cell, ...]] = [
        (Link(line.meter, rows(line.meter, line.start, line.end)), _SOURCES[line.role], *_of_gases(line.figures))
        for line in lines
    ]
    found.append((report.project, "", *_of_gases(merge([line.figures for line in lines]))))
    potentials = [f"{one.id} {one.value:g}" for one in report.factors if one.kind == FactorKind.GWP and one.value]
    heads = ("Source", "Kind", *_GASES.values())
    table = Table(heads=heads, rows=found, texts=(0, 1), total=True)
    note = Phrase("kg of each gas; the last two in CO2 equivalent, over 100 years: {}.", ", ".join(potentials))
    return [Section(heading="Scope 1 by gas", table=table, note=note if potentials else "")]


def _of_gases(figures: Figures) -> tuple[str, ...]:
    return tuple(_gas(getattr(figures, name)) for name in _GASES)


def _gas(kg: float | None) -> str:
    """To the gram; what is less to three digits, as a gas of a few milligrams is not nothing."""
    return f"{kg:.3g}" if kg and abs(kg) < _GRAM else _number(kg, 3)


def _balances(balances: Sequence[MainBalance], rows: Rows) -> list[Section]:
    """Whether each main meter agrees with what is behind it, and where it does not most."""
    if not balances:
        return []
    heads = ("Meter", "Main kWh", "Parts kWh", "Residual kWh", "Apart", "Hours known", "Verdict")
    lines: list[tuple[Cell, ...]] = []
    notes = []
    for one in balances:
        parts = one.main_kwh - one.residual_kwh
        lines.append(
            (one.meter, _number(one.main_kwh, 2), _number(parts, 2), _number(one.residual_kwh, 3), _apart(one.share),
             f"{100 * one.coverage:.1f} %", _verdict(one.closed, one.share))
        )  # fmt: skip
        notes += [f"{meter} {_number(energy, 2)} kWh" for meter, energy in one.parts_kwh.items()]
        lines += [
            (
                Link(_iso(at), rows("", at, at + HOUR_NS)),
                "",
                "",
                _number(residual, 3),
                "",
                "",
                "among the hours most apart",
            )
            for at, residual in one.worst.items()
        ]
    note = Phrase(
        "Behind it: {}; drawing is positive. Apart is counted hour by hour, a gap as one: errors hide no others.",
        ", ".join(notes),
    )
    table = Table(heads=heads, rows=lines, texts=(0, 6))
    return [Section(heading="Energy balance", table=table, note=note)]


def _verdict(closed: bool, share: float | None) -> str:
    """In words."""
    if closed:
        return "closes"
    return "not known" if share is None else "does not close" if share > CLOSED_SHARE else "closes where it is known"


def _restated(found: Sequence[Restated]) -> list[Section]:
    if not found:
        return []
    rows = [
        (one.reason, f"{one.intervals:,}", _iso(one.first), _iso(one.last),
         *(f"{value:+,.2f}" for value in (one.scope1_kg, one.location_kg, one.market_kg, one.upstream_kg)))
        for one in found
    ]  # fmt: skip
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


def _factors(factors: Sequence[UsedFactor]) -> Section:
    rows = [
        (
            one.id,
            one.kind,
            "by interval" if one.value is None else f"{one.value:.10g} {one.unit.removeprefix('1')}".strip(),
            f"{one.region} {one.year or ''}".strip(),
            f"{one.source}, {one.published}" if one.published else one.source,
        )
        for one in factors
    ]
    heads = ("Row", "Kind", "Value", "Region, year", "Source")
    return Section(heading="Factors", table=Table(heads=heads, rows=rows, texts=(0, 1, 3, 4)))


def _scores(one: Score) -> tuple[str, ...]:
    shares = (one.annual, one.hourly, one.contracted, one.cfe, one.coverage)
    return (_number(one.load_kwh, 1), _number(one.made_kwh, 1), *map(_share, shares))


def _period(report: Inventory | HourlyReport) -> str:
    as_of = Phrase(" As the ledger knew it at {}.", _iso(report.as_of)) if report.as_of else ""
    start, end, made = map(_iso, (report.start, report.end, report.made_at))
    return Phrase("{} to {} ({}), made {}.{}", start, end, report.timezone, made, as_of)


def _share(value: float | None) -> str:
    return "-" if value is None or value != value else f"{100 * value:.1f} %"


def _apart(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.3f} %"


def _mass(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f} kg"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _plain(value: Any) -> Any:
    return "" if value is None else value


def _csv(heads: tuple[str, ...], lines: Iterable[tuple[Any, ...]]) -> str:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(heads)
    table.writerows(lines)
    return out.getvalue()


def _day(at: int, zone: str) -> str:
    return to_datetime(at).astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d")


def _iso(at: int) -> str:
    return to_datetime(at).strftime("%Y-%m-%d %H:%M UTC")
