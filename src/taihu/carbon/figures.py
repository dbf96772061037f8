"""Rows added up by the database: of parts of a period, hour by hour, and what was restated."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from taihu.carbon.account import FULL
from taihu.carbon.columns import WEEK_NS, Columns, columns_of, joined
from taihu.carbon.ended import ended
from taihu.carbon.ledger import CURRENT, NOW, Ledger
from taihu.carbon.rows import DIRECT, PARTS, Role, RowQuality, total
from taihu.kernel.arrays import Flags, Ints, Numbers
from taihu.kernel.clock import HOUR_NS


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Rows added up: kWh and kg of what is known, and how many intervals are measured, estimated and missing.

    `co2_kg`, `ch4_kg` and `n2o_kg` are masses of gases in scope 1, `gases_kg` the CO2 equivalent of all others in it.
    `estimated_kwh` is how much of the energies, drawn, given, made or burnt, was not metered in full in its interval.
    """

    import_kwh: float | None
    export_kwh: float | None
    generation_kwh: float | None
    fuel_kwh: float | None
    scope1_kg: float | None
    location_kg: float | None
    market_kg: float | None
    upstream_kg: float | None
    certified_kwh: float | None
    co2_kg: float | None
    ch4_kg: float | None
    n2o_kg: float | None
    gases_kg: float | None
    estimated_kwh: float | None
    measured: int
    estimated: int
    missing: int
    restated: int

    @property
    def coverage(self) -> float:
        """The share of intervals that are not missing; 0 when there is none."""
        whole = self.measured + self.estimated + self.missing
        return (self.measured + self.estimated) / whole if whole else 0.0


SUMMED, _COUNTED = Figures.__struct_fields__[:-4], Figures.__struct_fields__[-4:]
INVENTORY = f"rows.role != '{Role.AVOIDED}'"  # what avoided emissions are in no sum of (§8)
PERIOD = "project = :project AND start >= :start AND start < :end"
ENERGY = "iif(role = 'generation', generation_kwh, iif(role = 'fuel', fuel_kwh, import_kwh))"
UNSURE = f"coverage < {FULL}"
SUMS = ", ".join(
    [f"sum({name})" for name in SUMMED[:-1]]
    + [f"sum(iif({UNSURE}, {ENERGY} + ifnull(export_kwh, 0), NULL))"]
    + [f"sum(quality = '{quality}')" for quality in RowQuality]
    + ["sum(version > 1)"]
)
_WEEK = (
    "SELECT start, role, behind, import_kwh, export_kwh, generation_kwh, certified_kwh, carbon_free,"  # noqa: S608
    f' iif({ENERGY} IS NULL, 0, "end" - start), {UNSURE}'
    f" FROM rows WHERE {PERIOD} AND meter = :meter AND {CURRENT}"
    f" AND {INVENTORY} AND role NOT IN {tuple(map(str, DIRECT))!r}"
)
_ADDED_UP = f"max(written_at), {SUMS} FROM rows WHERE {PERIOD} AND meter = :meter AND {INVENTORY} AND {CURRENT}"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One meter in one part of the period, [start, end) (UTC ns); `written_at` is when the last of its rows was."""

    meter: str
    role: Role
    behind: str
    start: int
    end: int
    written_at: int
    figures: Figures


class Restated(msgspec.Struct, frozen=True, kw_only=True):
    """What was restated for one reason: how many intervals, when, and by how much the totals changed (kg)."""

    reason: str
    intervals: int
    first: int
    last: int
    scope1_kg: float
    location_kg: float
    market_kg: float
    upstream_kg: float


class MeterHours(msgspec.Struct, frozen=True, kw_only=True):
    """One electricity meter in one place hour by hour: kWh, NaN where an hour is not known in full.

    Of a generator only `generation` counts, of a storage `imported` went into it. Before its first row a meter was not
    there, and counts as zero: `first` is its hour. So does a meter while it is in another place, behind another meter
    or for another use, and in the hours that are `gone`: after its account has ended. `sure` says whose energy is
    measured in full.
    """

    meter: str
    role: Role
    behind: str
    first: int
    imported: Numbers
    exported: Numbers
    generation: Numbers
    certified: Numbers
    carbon_free: Numbers
    sure: Flags
    gone: Flags

    @property
    def net(self) -> Numbers:
        """What it draws from the meter before it, less what it gives."""
        return -self.generation if self.role is Role.GENERATION else self.imported - self.exported


def merge(figures: Sequence[Figures]) -> Figures:
    """The figures of several together."""
    sums: dict[str, Any] = {name: total([getattr(one, name) for one in figures]) for name in SUMMED}
    return Figures(**sums, **{name: sum(getattr(one, name) for one in figures) for name in _COUNTED})


def sums(ledger: Ledger, project: str, edges: Sequence[int], as_of: int = NOW) -> list[Line]:
    """The rows of each meter in each part of a period that has any; a row is of the part it begins in."""
    lines = []
    for meter in ledger.meters(project):
        for start, end in pairwise(edges):
            values = {"project": project, "meter": meter, "start": start, "end": end, "as_of": as_of}
            for role, behind, written_at, *figures in _by_place(ledger, values):
                found = Figures(**dict(zip(Figures.__struct_fields__, figures, strict=True)))
                lines.append(
                    Line(
                        meter=meter,
                        role=Role(role),
                        behind=behind,
                        start=start,
                        end=end,
                        written_at=written_at,
                        figures=found,
                    )
                )
    return lines


def _by_place(ledger: Ledger, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
    """A meter's rows added up in each of its places: nearly always one, and without groups that is twice as quick."""
    query = f"SELECT min(role), max(role), min(behind), max(behind), {_ADDED_UP}"
    ((role, other, behind, before, *found),) = ledger.ask(query, values)
    if role is None:
        return []
    if (role, behind) == (other, before):
        return [(role, behind, *found)]
    return ledger.ask(f"SELECT role, behind, {_ADDED_UP} GROUP BY 1, 2", values)


def used(ledger: Ledger, project: str, start: int, end: int, as_of: int = NOW, *, avoided: bool = False) -> list[str]:
    """The factors and properties that rows of a period were computed with, of the inventory or of what was avoided."""
    which = f"NOT {INVENTORY}" if avoided else INVENTORY
    query = f"SELECT DISTINCT factors FROM rows WHERE {PERIOD} AND {which} AND {CURRENT}"  # noqa: S608 - own names
    found = ledger.ask(query, {"project": project, "start": start, "end": end, "as_of": as_of})
    return sorted({name for (text,) in found for name in msgspec.json.decode(text)})


def restatements(ledger: Ledger, project: str, start: int, end: int, as_of: int = NOW) -> list[Restated]:
    """What was restated of a period, by reason; parts of what another meter counts change no total."""
    changes = ", ".join(
        f"sum(iif(rows.role IN {tuple(map(str, PARTS))!r}, 0, ifnull(rows.{name}, 0) - ifnull(old.{name}, 0)))"
        for name in ("scope1_kg", "location_kg", "market_kg", "upstream_kg")
    )
    found = ledger.ask(
        f"SELECT rows.reason, count(*), min(rows.written_at), max(rows.written_at), {changes}"  # noqa: S608 - own names
        " FROM rows INDEXED BY restated JOIN rows AS old ON old.project = rows.project AND old.meter = rows.meter"
        " AND old.start = rows.start AND old.version = rows.version - 1"
        f" WHERE rows.version > 1 AND rows.project = :project AND {INVENTORY}"
        " AND rows.start >= :start AND rows.start < :end AND rows.written_at <= :as_of GROUP BY rows.reason ORDER BY 3",
        {"project": project, "start": start, "end": end, "as_of": as_of},
    )
    return [Restated(**dict(zip(Restated.__struct_fields__, row, strict=True))) for row in found]


def hours(ledger: Ledger, project: str, start: int, count: int, as_of: int = NOW) -> list[MeterHours]:
    """All electricity meters of a project in each of their places, over `count` hours from `start` (UTC ns)."""
    found = []
    for meter, first in ledger.meters(project).items():
        rows = _columns(ledger, (project, meter, first), start, start + count * HOUR_NS, as_of)
        gone = ended(ledger, project, meter, start, count, as_of)
        found += _meter_hours(meter, rows, start, gone, max(0, (first - start) // HOUR_NS))
    return found


def _columns(ledger: Ledger, of: tuple[str, str, int], start: int, end: int, as_of: int) -> Columns:
    """A meter's rows that begin in [start, end): weeks of now as they are kept, of another time as they are read.

    `of` is the project, the meter and when its first row begins.
    """
    project, meter, first = of
    values = {"project": project, "meter": meter, "start": start, "end": end, "as_of": as_of}
    if as_of != NOW:
        return columns_of(ledger.ask(_WEEK, values))
    weeks = [columns_of([])]
    for number in range(max(start, first) // WEEK_NS, -(-min(end, ledger.accounted_to(project, meter)) // WEEK_NS)):
        key, changes = (project, meter, number), ledger.weeks.changes
        week = ledger.weeks.get(key)
        if week is None:
            week = columns_of(ledger.ask(_WEEK, values | {"start": number * WEEK_NS, "end": (number + 1) * WEEK_NS}))
            ledger.weeks.keep(key, week, changes)
        weeks.append(week)
    return joined(weeks, start, end)


def _meter_hours(meter: str, rows: Columns, start: int, ended: Flags, first: int) -> list[MeterHours]:
    at, count = (rows.start - start) // HOUR_NS, len(ended)
    gone = ended & (np.bincount(at, minlength=count) == 0)
    known = gone | (np.bincount(at, rows.known_ns, count) == HOUR_NS)
    sure = known & (np.bincount(at, rows.unsure, count) == 0)
    found = []
    for number, place in enumerate(rows.places):
        mine = rows.place == number
        if mine.any():
            found.append(_in_place(meter, place, at[mine], rows.figures[:, mine], known, sure, gone, first))
    return found


def _in_place(
    meter: str,
    place: tuple[str, str],
    at: Ints,
    table: Numbers,
    known: Flags,
    sure: Flags,
    gone: Flags,
    first: int,
) -> MeterHours:
    """A meter's rows in one place, by their hours `at`."""
    there = np.bincount(at, minlength=len(known)) > 0
    imported, exported, generation, certified, share = (_by_hour(at, values, len(known)) for values in table)
    for energies in (imported, exported, generation):
        energies[known & ~there] = 0.0
    certified[known & np.isnan(certified)] = 0.0
    shares = np.bincount(at, ~np.isnan(table[4]), len(known))
    for values in (imported, exported, generation, certified, share):
        values[~known] = np.nan
    for energies in (imported, exported, generation, certified):
        energies[:first] = 0.0
    return MeterHours(
        meter=meter,
        role=Role(place[0]),
        behind=place[1],
        first=first,
        imported=imported,
        exported=exported,
        generation=generation,
        certified=certified,
        carbon_free=share / np.maximum(shares, 1),
        sure=sure,
        gone=gone,
    )


def _by_hour(at: Ints, values: Numbers, count: int) -> Numbers:
    """What is known of each hour in sum; NaN where nothing is."""
    known = ~np.isnan(values)
    total = np.bincount(at, np.where(known, values, 0.0), count).astype(np.float64)
    total[np.bincount(at, known, count) == 0] = np.nan
    return total
