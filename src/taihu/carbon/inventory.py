"""An inventory: what a project emitted in a period, from the current rows of its ledger.

Scope 2 is reported twice, side by side and never added (GHG Protocol Scope 2 Guidance, chapter 7). The same figures in
the categories of ISO 14064-1:2018 clause 5.2.4: 1 direct, 2 imported energy, 3 to 6 other indirect.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from typing import Any

import msgspec

from taihu.carbon.account import Row, RowQuality, total
from taihu.carbon.factors import Factors


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Rows added up: kWh and kg of what is known, and how many intervals are measured, estimated and missing."""

    import_kwh: float | None
    export_kwh: float | None
    generation_kwh: float | None
    fuel_kwh: float | None
    scope1_kg: float | None
    location_kg: float | None
    market_kg: float | None
    upstream_kg: float | None
    measured: int
    estimated: int
    missing: int
    restated: int

    @property
    def coverage(self) -> float:
        """The share of intervals that are not missing; 0 when there is none."""
        whole = self.measured + self.estimated + self.missing
        return (self.measured + self.estimated) / whole if whole else 0.0


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One meter in one part of the period, [start, end) (UTC ns)."""

    meter: str
    start: int
    end: int
    figures: Figures


class UsedFactor(msgspec.Struct, frozen=True, kw_only=True):
    """What the emissions were computed with: a row, or a property that gave the intensity of each interval."""

    id: str
    value: float | None
    unit: str
    region: str
    year: int
    source: str
    published: str


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """All of a report. Every line leads to its rows: the ledger's of its meter in [start, end)."""

    project: str
    title: str
    timezone: str
    start: int
    end: int
    made_at: int
    total: Figures
    meters: tuple[Line, ...]
    parts: tuple[Line, ...]
    factors: tuple[UsedFactor, ...]
    iso_14064: dict[str, float | None]


def inventory(
    rows: Iterable[Row],
    edges: Sequence[int],
    factors: Factors,
    *,
    project: str,
    title: str,
    timezone: str,
    made_at: int,
) -> Inventory:
    """Add up a ledger's rows, which come by meter and time, in parts of the period given by `edges` (UTC ns)."""
    meters: list[Line] = []
    parts: list[Line] = []
    names: dict[str, None] = {}
    everything: list[Figures] = []
    for meter, of_meter in groupby(rows, key=lambda row: row.meter):
        figures = []
        for start, end, chunk in _parts(list(of_meter), edges):
            names.update(dict.fromkeys(name for row in chunk for name in row.factors))
            found = add_up(chunk)
            figures.append(found)
            parts.append(Line(meter=meter, start=start, end=end, figures=found))
        meters.append(Line(meter=meter, start=edges[0], end=edges[-1], figures=merge(figures)))
        everything += figures
    whole = merge(everything)
    return Inventory(
        project=project,
        title=title,
        timezone=timezone,
        start=edges[0],
        end=edges[-1],
        made_at=made_at,
        total=whole,
        meters=tuple(meters),
        parts=tuple(parts),
        factors=tuple(_used(name, factors) for name in names),
        iso_14064={
            "1 direct": whole.scope1_kg,
            "2 imported energy, location-based": whole.location_kg,
            "2 imported energy, market-based": whole.market_kg,
            "3 to 6 other indirect": whole.upstream_kg,
        },
    )


def add_up(rows: Sequence[Row]) -> Figures:
    """The figures of rows; None where no row has one (§3)."""
    sums: dict[str, Any] = {name: total([getattr(row, name) for row in rows]) for name in SUMMED}
    counts = {str(quality): sum(row.quality is quality for row in rows) for quality in RowQuality}
    return Figures(**sums, **counts, restated=sum(row.version > 1 for row in rows))


def merge(figures: Sequence[Figures]) -> Figures:
    """The figures of several together."""
    sums: dict[str, Any] = {name: total([getattr(one, name) for one in figures]) for name in SUMMED}
    return Figures(**sums, **{name: sum(getattr(one, name) for one in figures) for name in _COUNTED})


SUMMED = (
    "import_kwh",
    "export_kwh",
    "generation_kwh",
    "fuel_kwh",
    "scope1_kg",
    "location_kg",
    "market_kg",
    "upstream_kg",
)
_COUNTED = ("measured", "estimated", "missing", "restated")


def _parts(rows: Sequence[Row], edges: Sequence[int]) -> Iterable[tuple[int, int, list[Row]]]:
    """The rows of each part that has any; a row is of the part it begins in."""
    place = 0
    for start, end in pairwise(edges):
        chunk = []
        while place < len(rows) and rows[place].start < end:
            if rows[place].start >= start:
                chunk.append(rows[place])
            place += 1
        if chunk:
            yield start, end, chunk


def _used(name: str, factors: Factors) -> UsedFactor:
    row = factors.known(name)
    if row is None:
        source = "a property of the grid, interval by interval"
        return UsedFactor(id=name, value=None, unit="", region="", year=0, source=source, published="")
    return UsedFactor(**{field: getattr(row, field) for field in UsedFactor.__struct_fields__})
