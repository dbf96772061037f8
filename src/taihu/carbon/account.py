"""From a meter's intervals to rows of the ledger: which energy, which factor, how sure.

An interval whose energy is fully known is measured. One that is known for at least `ESTIMATE_FROM` of its length is
scaled up to the whole and marked estimated; below that it is missing, and so is one without an intensity (§3): nothing
is filled in silently. A counter's increase is never scaled: what rose in a gap is in the interval in which the gap
ended, so that all together are what the register rose. An emission computed with a factor that does not fit exactly is
an estimate, too.

Market-based (GHG Protocol Scope 2 Guidance, table 6.3): certificates cancelled for the interval come first, with
nothing emitted; the rest has the supplier's factor, else the residual mix, else the grid's average; the row says which.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from taihu.carbon.factors import PER_KWH, FactorKind, FactorMissing, Factors, Fit
from taihu.carbon.quantity import AverageIntensity, Energy, MarketIntensity, Numbers
from taihu.carbon.rows import Role, Row, RowQuality

ESTIMATE_FROM = 0.5
FULL = 0.999_999


class Metered(msgspec.Struct, frozen=True, kw_only=True):
    """What a meter's history says of consecutive intervals: `edges` (UTC ns, one more than there are intervals).

    Energies are sums of what is known; `coverage` is the share of each interval that they cover. `counted`: they are
    increases of registers.
    """

    project: str
    meter: str
    edges: NDArray[np.int64]
    imported: Energy
    exported: Energy
    coverage: Numbers
    inputs: tuple[str, ...]
    counted: bool = False
    role: Role = Role.GRID
    behind: str = ""


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """Whole intervals: energies scaled up to them, NaN where they are missing, and how sure they are."""

    project: str
    meter: str
    role: Role
    behind: str
    starts: Sequence[int]
    ends: Sequence[int]
    imported: Energy
    exported: Energy
    coverage: Numbers
    quality: list[RowQuality]
    inputs: Sequence[tuple[str, ...]]


class Hourly(msgspec.Struct, frozen=True):
    """The grid's own average intensity by interval, what it came from, and the grid's carbon-free share if known."""

    intensity: AverageIntensity
    names: Sequence[tuple[str, ...]]
    carbon_free: Numbers | None = None


class Supply(msgspec.Struct, frozen=True, kw_only=True):
    """Where a meter's energy comes from: its grid's region, factors by id, certificates by interval."""

    region: str = ""
    supplier: str = ""
    upstream: str = ""
    cancelled: Energy | None = None


def settle(metered: Metered) -> Settled:
    """Scale up what is known for most of an interval, and leave out what is not."""
    coverage = metered.coverage
    whole, quality = scale(metered.imported.known & metered.exported.known, coverage, counted=metered.counted)
    return Settled(
        project=metered.project,
        meter=metered.meter,
        role=metered.role,
        behind=metered.behind,
        starts=metered.edges[:-1].tolist(),
        ends=metered.edges[1:].tolist(),
        imported=Energy(metered.imported.values * whole),
        exported=Energy(metered.exported.values * whole),
        coverage=coverage,
        quality=quality,
        inputs=[metered.inputs] * len(coverage),
    )


def scale(known: NDArray[np.bool_], coverage: Numbers, *, counted: bool = False) -> tuple[Numbers, list[RowQuality]]:
    """By how much what is known of each interval is scaled up, NaN where it is missing, and how sure that is."""
    enough = known if counted else known & (coverage >= ESTIMATE_FROM)
    whole = np.full(len(coverage), np.nan)
    whole[enough] = 1.0 if counted else np.where(coverage[enough] >= FULL, 1.0, 1.0 / coverage[enough])
    words = zip(enough.tolist(), coverage.tolist(), strict=True)
    return whole, [measured(share) if there else RowQuality.MISSING for there, share in words]


def measured(coverage: float) -> RowQuality:
    """How sure an interval is that is known for that share of its length."""
    return RowQuality.MEASURED if coverage >= FULL else RowQuality.ESTIMATED


def electricity_rows(settled: Settled, supply: Supply, factors: Factors, hourly: Hourly | None = None) -> list[Row]:
    """Rows of an electricity meter: what it drew, by both rules of scope 2."""
    drawn = settled.imported
    average = _average(settled, supply, factors, hourly)
    rest = _rest_of_market(settled, supply, factors, average)
    upstream, upstream_sure = _upstream(settled, supply, factors)
    cancelled = np.zeros(len(drawn)) if supply.cancelled is None else np.nan_to_num(supply.cancelled.values)
    certified = np.minimum(cancelled, drawn.values)
    location = drawn.times(AverageIntensity(average.values))
    market = Energy(drawn.values - certified).times(MarketIntensity(rest.values))
    rows = []
    for place in range(len(drawn)):
        quality = settled.quality[place]
        if quality is RowQuality.MEASURED and not (average.sure[place] and rest.sure[place] and upstream_sure[place]):
            quality = RowQuality.ESTIMATED
        if np.isnan(average.values[place]) and np.isnan(rest.values[place]):
            quality = RowQuality.MISSING
        names = dict.fromkeys((*average.names[place], *rest.names[place], *([supply.upstream] * bool(supply.upstream))))
        rows.append(
            _row(
                settled,
                place,
                quality,
                tuple(names),
                imported=drawn.values,
                exported=settled.exported.values,
                location=location.values,
                market=market.values,
                upstream=upstream,
                certified=np.where(certified > 0, certified, np.nan),
                carbon_free=hourly.carbon_free if hourly else None,
            )
        )
    return rows


def energy_rows(settled: Settled) -> list[Row]:
    """Rows of what emits nothing itself: carbon-free generation on site, and storage."""
    energies: dict[str, Numbers] = {"generation": settled.imported.values}
    if settled.role is Role.STORAGE:
        energies = {"imported": settled.imported.values, "exported": settled.exported.values}
    return [_row(settled, place, settled.quality[place], (), **energies) for place in range(len(settled.coverage))]


class _Priced(msgspec.Struct, frozen=True):
    """Kg per kWh by interval, what says so, and whether that fits exactly."""

    values: Numbers
    names: Sequence[tuple[str, ...]]
    sure: Sequence[bool]


def _average(settled: Settled, supply: Supply, factors: Factors, hourly: Hourly | None) -> _Priced:
    """The grid's average: the hour's own where there is one, else the newest factor of the region."""
    found = _by_factor(settled, FactorKind.AVERAGE, supply.region, factors)
    if hourly is None:
        return found
    own = hourly.intensity.known
    values = np.where(own, hourly.intensity.values, found.values)
    names = [mine if has else other for has, mine, other in zip(own, hourly.names, found.names, strict=True)]
    return _Priced(values, names, [bool(has) for has in own])


def _rest_of_market(settled: Settled, supply: Supply, factors: Factors, average: _Priced) -> _Priced:
    """What certificates leave: the supplier's factor, else the residual mix, else the grid's average."""
    if supply.supplier:
        row = factors.get(supply.supplier)
        count = len(settled.coverage)
        covers = [row.covers(start) for start in settled.starts]
        return _Priced(np.full(count, row.in_unit(PER_KWH)), [(row.id,)] * count, covers)
    found = _by_factor(settled, FactorKind.RESIDUAL, supply.region, factors)
    lacks = np.isnan(found.values)
    names = [other if lack else name for lack, name, other in zip(lacks, found.names, average.names, strict=True)]
    # where no residual mix is published the grid's average is the standard's own next choice: no estimate by itself
    sure = [bool(known or lack) for known, lack in zip(found.sure, lacks, strict=True)]
    return _Priced(np.where(lacks, average.values, found.values), names, sure)


def _upstream(settled: Settled, supply: Supply, factors: Factors) -> tuple[Numbers | None, list[bool]]:
    """Scope 3 of what was drawn or burnt (category 3), where a factor is given."""
    if not supply.upstream:
        return None, [True] * len(settled.coverage)
    row = factors.get(supply.upstream)
    return settled.imported.values * row.in_unit(PER_KWH), [row.covers(start) for start in settled.starts]


def _by_factor(settled: Settled, kind: FactorKind, region: str, factors: Factors) -> _Priced:
    values: list[float] = []
    names: list[tuple[str, ...]] = []
    sure: list[bool] = []
    for start in settled.starts:
        try:
            found = factors.find(kind, region, start) if region else None
        except FactorMissing:
            found = None
        values.append(np.nan if found is None else found.factor.in_unit(PER_KWH))
        names.append(() if found is None else (found.factor.id,))
        sure.append(found is not None and found.fit is Fit.EXACT)
    return _Priced(np.array(values, np.float64), names, sure)


def _row(
    settled: Settled,
    place: int,
    quality: RowQuality,
    factors: tuple[str, ...],
    *,
    imported: Numbers | None = None,
    exported: Numbers | None = None,
    generation: Numbers | None = None,
    location: Numbers | None = None,
    market: Numbers | None = None,
    upstream: Numbers | None = None,
    certified: Numbers | None = None,
    carbon_free: Numbers | None = None,
) -> Row:
    return Row(
        project=settled.project,
        meter=settled.meter,
        start=settled.starts[place],
        end=settled.ends[place],
        role=settled.role,
        import_kwh=_at(imported, place),
        export_kwh=_at(exported, place),
        generation_kwh=_at(generation, place),
        fuel_kwh=None,
        scope1_kg=None,
        location_kg=_at(location, place),
        market_kg=_at(market, place),
        upstream_kg=_at(upstream, place),
        coverage=float(settled.coverage[place]),
        quality=quality,
        factors=factors,
        inputs=settled.inputs[place],
        behind=settled.behind,
        certified_kwh=_at(certified, place),
        carbon_free=_at(carbon_free, place),
    )


def _at(values: Numbers | None, place: int) -> float | None:
    if values is None or np.isnan(values[place]):
        return None
    return float(values[place])
