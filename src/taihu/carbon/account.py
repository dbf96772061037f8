"""From a meter's intervals to rows of the ledger: which energy, which factor, how sure.

An interval whose energy is fully known is measured. One that is known for at least `ESTIMATE_FROM` of its length is
scaled up to the whole and marked estimated; below that it is missing, and so is one without an intensity (§3): nothing
is filled in silently. An emission computed with a factor that does not fit exactly is an estimate, too.

Market-based (GHG Protocol Scope 2 Guidance, table 6.3): certificates cancelled for the interval come first, with
nothing emitted; the rest has the supplier's factor, else the residual mix, else the grid's average; the row says which.
"""

from collections.abc import Sequence
from enum import StrEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from taihu.carbon.factors import PER_KWH, FactorKind, FactorMissing, Factors, Fit
from taihu.carbon.quantity import AverageIntensity, Direct, Energy, MarketIntensity, Numbers

ESTIMATE_FROM = 0.5
_FULL = 0.999_999
_KWH_PER_TJ = 1e12 / 3.6e6


class RowQuality(StrEnum):
    """How sure a row is."""

    MEASURED = "measured"
    ESTIMATED = "estimated"
    MISSING = "missing"


class Role(StrEnum):
    """What a meter counts."""

    GRID = "grid"  # electricity drawn from the grid and given to it: scope 2
    GENERATION = "generation"  # carbon-free electricity made on site
    FUEL = "fuel"  # what is burnt on site: scope 1


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One meter over [start, end) (UTC ns). Energies are kWh, emissions kg CO2 equivalent; None is missing.

    Imports and exports are electricity; what a fuel held, by lower heating value, is a figure of its own.

    `factors` are the ids of factor rows, or the names of properties that gave an intensity; `inputs` say which
    readings the energies came from. `version` counts restatements of the same interval, `reason` says why.
    """

    project: str
    meter: str
    start: int
    end: int
    role: Role
    import_kwh: float | None
    export_kwh: float | None
    generation_kwh: float | None
    fuel_kwh: float | None
    scope1_kg: float | None
    location_kg: float | None
    market_kg: float | None
    upstream_kg: float | None
    coverage: float
    quality: RowQuality
    factors: tuple[str, ...]
    inputs: tuple[str, ...]
    version: int = 1
    reason: str = ""
    written_at: int = 0

    def same(self, other: "Row") -> bool:
        """Whether both say the same of the same interval, whenever and why they were written."""
        plain = {"version": 0, "reason": "", "written_at": 0}
        return msgspec.structs.replace(self, **plain) == msgspec.structs.replace(other, **plain)


class Metered(msgspec.Struct, frozen=True, kw_only=True):
    """What a meter's history says of consecutive intervals: `edges` (UTC ns, one more than there are intervals).

    Energies are sums of what is known; `coverage` is the share of each interval that they cover.
    """

    project: str
    meter: str
    edges: NDArray[np.int64]
    imported: Energy
    exported: Energy
    coverage: Numbers
    inputs: tuple[str, ...]


class Hourly(msgspec.Struct, frozen=True):
    """An average intensity by interval, and the property it came from."""

    intensity: AverageIntensity
    name: str


class Supply(msgspec.Struct, frozen=True, kw_only=True):
    """Where a meter's electricity comes from: its grid's region, its supplier's factor, certificates by interval."""

    region: str
    supplier: str = ""
    cancelled: Energy | None = None


def electricity_rows(metered: Metered, supply: Supply, factors: Factors, hourly: Hourly | None = None) -> list[Row]:
    """Rows of an electricity meter: what it drew from the grid, by both rules of scope 2."""
    whole, quality = _settled(metered)
    drawn, given = Energy(metered.imported.values * whole), Energy(metered.exported.values * whole)
    average, average_names, average_sure = _average(metered, supply, factors, hourly)
    rest, rest_names, rest_sure = _rest_of_market(metered, supply, factors, (average, average_names, average_sure))
    cancelled = np.zeros(len(drawn)) if supply.cancelled is None else np.nan_to_num(supply.cancelled.values)
    unmatched = Energy(drawn.values - np.minimum(cancelled, drawn.values))
    location, market = drawn.times(average), unmatched.times(rest)
    rows = []
    for place in range(len(drawn)):
        row_quality = quality[place]
        if row_quality is RowQuality.MEASURED and not (average_sure[place] and rest_sure[place]):
            row_quality = RowQuality.ESTIMATED
        if np.isnan(average.values[place]) and np.isnan(rest.values[place]):
            row_quality = RowQuality.MISSING
        names = dict.fromkeys(name for name in (average_names[place], rest_names[place]) if name)
        rows.append(
            _row(
                metered,
                place,
                Role.GRID,
                row_quality,
                tuple(names),
                imported=drawn.values,
                exported=given.values,
                location=location.values,
                market=market.values,
            )
        )
    return rows


def fuel_rows(metered: Metered, fuel: str, factors: Factors) -> list[Row]:
    """Rows of a fuel meter, whose energy is by lower heating value: scope 1."""
    whole, quality = _settled(metered)
    burnt = Energy(metered.imported.values * whole)
    found = [factors.find(FactorKind.FUEL, "", int(start), fuel) for start in metered.edges[:-1]]
    per_kwh = np.array([one.factor.in_unit("kg/TJ") / _KWH_PER_TJ for one in found])
    direct = Direct(burnt.values * per_kwh)
    return [
        _row(metered, place, Role.FUEL, quality[place], (one.factor.id,), fuel=burnt.values, direct=direct.values)
        for place, one in enumerate(found)
    ]


def generation_rows(metered: Metered) -> list[Row]:
    """Rows of a meter of carbon-free generation on site: nothing is emitted, and the energy can be matched."""
    whole, quality = _settled(metered)
    made = metered.imported.values * whole
    return [_row(metered, place, Role.GENERATION, quality[place], (), generation=made) for place in range(len(made))]


def _settled(metered: Metered) -> tuple[Numbers, list[RowQuality]]:
    """What to multiply each interval's known energy by (NaN where it is missing), and how sure that is."""
    coverage = metered.coverage
    known = metered.imported.known & metered.exported.known & (coverage >= ESTIMATE_FROM)
    full = known & (coverage >= _FULL)
    factor = np.full(len(coverage), np.nan)
    factor[known] = 1.0 / coverage[known]
    factor[full] = 1.0
    words = np.where(full, RowQuality.MEASURED, np.where(known, RowQuality.ESTIMATED, RowQuality.MISSING))
    return factor, [RowQuality(word) for word in words.tolist()]


_Priced = tuple[Numbers, list[str], list[bool]]


def _average(
    metered: Metered, supply: Supply, factors: Factors, hourly: Hourly | None
) -> tuple[AverageIntensity, list[str], list[bool]]:
    """The grid's average: the hour's own where there is one, else the newest factor of the region."""
    values, names, sure = _by_factor(metered, FactorKind.AVERAGE, supply.region, factors)
    if hourly is not None:
        own = hourly.intensity.known
        values = np.where(own, hourly.intensity.values, values)
        names = [hourly.name if has else name for has, name in zip(own, names, strict=True)]
        sure = [bool(has) for has in own]
    return AverageIntensity(values), names, sure


def _rest_of_market(
    metered: Metered, supply: Supply, factors: Factors, average: tuple[AverageIntensity, list[str], list[bool]]
) -> tuple[MarketIntensity, list[str], list[bool]]:
    """What certificates leave: the supplier's factor, else the residual mix, else the grid's average."""
    if supply.supplier:
        found = factors.get(supply.supplier)
        count = len(metered.coverage)
        covers = [found.covers(int(start)) for start in metered.edges[:-1]]
        return MarketIntensity(np.full(count, found.in_unit(PER_KWH))), [found.id] * count, covers
    values, names, sure = _by_factor(metered, FactorKind.RESIDUAL, supply.region, factors)
    instead, instead_names, _ = average
    lacks = np.isnan(values)
    values = np.where(lacks, instead.values, values)
    names = [other if lack else name for lack, name, other in zip(lacks, names, instead_names, strict=True)]
    # where no residual mix is published the grid's average is the standard's own next choice: no estimate by itself
    sure = [bool(known or lack) for known, lack in zip(sure, lacks, strict=True)]
    return MarketIntensity(values), names, sure


def _by_factor(metered: Metered, kind: FactorKind, region: str, factors: Factors) -> _Priced:
    values: list[float] = []
    names: list[str] = []
    sure: list[bool] = []
    for start in metered.edges[:-1]:
        try:
            found = factors.find(kind, region, int(start)) if region else None
        except FactorMissing:
            found = None
        values.append(np.nan if found is None else found.factor.in_unit(PER_KWH))
        names.append("" if found is None else found.factor.id)
        sure.append(found is not None and found.fit is Fit.EXACT)
    return np.array(values, np.float64), names, sure


def _row(
    metered: Metered,
    place: int,
    role: Role,
    quality: RowQuality,
    factors: tuple[str, ...],
    *,
    imported: Numbers | None = None,
    exported: Numbers | None = None,
    generation: Numbers | None = None,
    fuel: Numbers | None = None,
    direct: Numbers | None = None,
    location: Numbers | None = None,
    market: Numbers | None = None,
) -> Row:
    return Row(
        project=metered.project,
        meter=metered.meter,
        start=int(metered.edges[place]),
        end=int(metered.edges[place + 1]),
        role=role,
        import_kwh=_at(imported, place),
        export_kwh=_at(exported, place),
        generation_kwh=_at(generation, place),
        fuel_kwh=_at(fuel, place),
        scope1_kg=_at(direct, place),
        location_kg=_at(location, place),
        market_kg=_at(market, place),
        upstream_kg=None,
        coverage=float(metered.coverage[place]),
        quality=quality,
        factors=factors,
        inputs=metered.inputs,
    )


def _at(values: Numbers | None, place: int) -> float | None:
    if values is None or np.isnan(values[place]):
        return None
    return float(values[place])


def total(values: Sequence[float | None]) -> float | None:
    """The sum of what is known; None when nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
