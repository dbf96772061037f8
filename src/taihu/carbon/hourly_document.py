"""A report on hourly matching as a document, and as a table of its hours: every figure leads to its rows."""

import math

from taihu.carbon.cells import Addresses, Trail, begin, csv_text, factors_section, iso, number, share
from taihu.carbon.document import Bars, Cell, Document, Link, Phrase, Section, Table
from taihu.carbon.hourly import HourlyReport
from taihu.carbon.report import QUALITY, balances_sections, period
from taihu.carbon.rows import Role
from taihu.carbon.selection import Figure, Selection
from taihu.carbon.site import Score, SiteHours
from taihu.carbon.words import HOURLY_METHOD
from taihu.kernel.clock import HOUR_NS

_LEAD = "{} {} of the hours are known, {} of them estimated.{}"
_IMPOSSIBLE = " In {} hours more was given than drawn and made: no load is known then."
_ELECTRIC = (Role.GRID, Role.GENERATION, Role.STORAGE)


def hourly_csv(report: HourlyReport, found: SiteHours, addresses: Addresses) -> str:
    """One line for each hour; an hour that is not known is empty. `rows` is the address of its rows."""
    names = ("load", "made", "drawn", "given", "stored", "certified", "matched", "carbon_free")
    columns = [getattr(found, name).tolist() for name in names]
    hour = Selection(start=0, end=0, role=_ELECTRIC, as_of=report.known_at)
    lines = (
        (
            report.project,
            iso(start := report.start + place * HOUR_NS, report.timezone),
            *("" if value != value else value for value in row),
            _hour_quality(found, place),
            addresses.of(hour.of(Figure.ROWS, start=start, end=start + HOUR_NS)),
        )
        for place, row in enumerate(zip(*columns, strict=True))
    )
    heads = (*(f"{name}_kwh" for name in names[:-1]), "grid_carbon_free", "quality", "rows")
    return csv_text(("project", "start", *heads), lines)


def _hour_quality(found: SiteHours, place: int) -> str:
    if found.impossible[place]:
        return "impossible"
    if math.isnan(found.load[place] + found.made[place]):
        return "missing"
    return "measured" if found.sure[place] else "estimated"


def hourly_document(report: HourlyReport, addresses: Addresses) -> Document:
    """Hourly matching: in sum, by the hour, by the time of day, and the emission of what is unmatched."""
    one = report.score
    rows = Trail(addresses, Selection(start=report.start, end=report.end, as_of=report.known_at))
    trail = rows.narrow(since=report.start, until=report.end)
    impossible = trail.link(f"{one.impossible:,}", Figure.HOURS_IMPOSSIBLE)
    known = trail.link(share(one.coverage), Figure.HOURS)
    estimated = trail.link(f"{one.estimated:,}", Figure.HOURS_ESTIMATED)
    figures = (
        ("Matched in sum", Figure.IN_SUM),
        ("Matched by the hour", Figure.BY_THE_HOUR),
        ("With certificates", Figure.CONTRACTED),
        ("With the grid's share (CFE)", Figure.CFE),
    )
    return Document(
        title=Phrase("Hourly matching: {}", report.title),
        lead=Phrase(_LEAD, period(report), known, estimated, Phrase(_IMPOSSIBLE, impossible) if one.impossible else ""),
        figures=tuple((words, trail.link(share(getattr(one, name)), name)) for words, name in figures),
        sections=(
            _energies(report, trail, rows.narrow(role=(Role.GRID,))),
            _time_of_day(report, trail),
            _by_part(report, trail),
            _by_both_rules(report, rows.narrow(role=(Role.GRID,))),
            *balances_sections(report.balances, report.timezone, rows),
            factors_section(report.factors, rows),
            Section(heading="Method", note=HOURLY_METHOD),
        ),
    )


def _energies(report: HourlyReport, trail: Trail, grid: Trail) -> Section:
    one = report.score
    energies = (
        ("Load", one.load_kwh, trail, Figure.LOAD),
        ("Made carbon-free", one.made_kwh, trail, Figure.MADE),
        ("Matched in its hour", one.matched_kwh, trail, Figure.MATCHED),
        ("Unmatched in its hour", one.load_kwh - one.matched_kwh, trail, Figure.UNMATCHED),
        ("Unmatched in sum", max(0.0, one.load_kwh - one.made_kwh), trail, Figure.UNMATCHED_IN_SUM),
        ("Drawn from the grid", report.drawn_kwh, grid, Figure.IMPORT),
        ("Of that covered by certificates", report.certified_kwh, grid, Figure.CERTIFIED),
    )
    rows = [(name, where.link(number(value, 1), figure)) for name, value, where, figure in energies]
    return Section(heading="Load and carbon-free energy", table=Table(heads=("", "kWh"), rows=rows))


def _time_of_day(report: HourlyReport, trail: Trail) -> Section:
    def links(name: Figure) -> tuple[Link, ...]:
        return tuple(Link(number(getattr(one, name), 1), trail.address(name, hour=one.hour)) for one in report.by_hour)

    bars = Bars(
        labels=tuple(f"{hour.hour:02d}" for hour in report.by_hour),
        whole=links(Figure.LOAD),
        part=links(Figure.MATCHED),
        words="Load of each hour of the day, and how much of it was matched",
    )
    note = Phrase(
        "By the local time an hour begins at ({}): load, and in green what was matched in its own hour.",
        report.timezone,
    )
    return Section(heading="By the time of day", bars=bars, note=note)


def _by_part(report: HourlyReport, trail: Trail) -> Section:
    heads = ("From", "Load kWh", "Made kWh", "In sum", "By the hour", "With certificates", "With the grid", "Known")
    rows = [
        (begin(part.start, report.timezone), *_scores(part.score, trail.narrow(start=part.start, end=part.end)))
        for part in report.parts
    ]
    return Section(
        heading="By part of the period",
        table=Table(heads=heads, rows=[*rows, ("All", *_scores(report.score, trail))], total=True),
    )


def _by_both_rules(report: HourlyReport, trail: Trail) -> Section:
    rules = (
        ("Location-based", Figure.LOCATION),
        ("Market-based, certificates by the hour", Figure.MARKET),
    )
    rows: list[tuple[Cell, ...]] = [
        (words, trail.link(number(one.kg, 2), figure), *trail.counts(one))
        for (words, figure), one in zip(rules, report.scope2, strict=True)
    ]
    table = Table(heads=("Rule", "kg", *QUALITY), rows=rows)
    note = "Market-based: an hour's certificates first, the rest by the factors below. The two are never added."
    return Section(heading="Scope 2 of the same period", table=table, note=note)


def _scores(one: Score, trail: Trail) -> tuple[Cell, ...]:
    energies = (Figure.LOAD, Figure.MADE)
    shares = (Figure.IN_SUM, Figure.BY_THE_HOUR, Figure.CONTRACTED, Figure.CFE)
    return (
        *(trail.link(number(getattr(one, name), 1), name) for name in energies),
        *(trail.link(share(getattr(one, name)), name) for name in shares),
        trail.link(share(one.coverage), Figure.HOURS),
    )
