"""From a meter's intervals to rows of the ledger: which energy, which factor, how sure.

An interval whose energy is fully known is measured. One that is known for at least `ESTIMATE_FROM` of its length is
scaled up to the whole and marked estimated; below that it is missing, and so is one without an intensity (§3): nothing
is filled in silently. A counter's increase is never scaled: what rose in a gap is shared out evenly over it, so that
all together are what the register rose; an interval of a gap is estimated, and its inputs say `SPREAD`. An emission
computed with a factor that does not fit exactly is an estimate, too.

Market-based (GHG Protocol Scope 2 Guidance, table 6.3): certificates cancelled for the interval come first, with
nothing emitted; the rest has the supplier's factor, else the residual mix, else the grid's average; the row says which.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from taihu.carbon.factors import PER_KWH, FactorKind, FactorMissing, Factors, Fit
from taihu.carbon.quantity import AverageIntensity, Energy, MarketIntensity
from taihu.carbon.rows import Intervals, Role, Row, RowQuality
from taihu.kernel.arrays import Flags, Ints, Numbers

ESTIMATE_FROM = 0.5
FULL = 0.999_999
BELOW = "below zero"  # among the inputs of what is missing because no meter can have counted it ...
BEYOND = "beyond power_kw_max"
SPREAD = "spread evenly over its gaps"  # among the inputs of what a register rose while it was not read


class Metered(msgspec.Struct, frozen=True, kw_only=True):
    """What a meter's history says of consecutive intervals: `edges` (UTC ns, one more than there are intervals).

    Energies are sums of what is known; `coverage` is the share of each interval that they cover. `counted`: they are
    increases of registers. `odd` says why an interval is missing whose energy cannot be.
    """

    project: str
    meter: str
    edges: Ints
    imported: Energy
    exported: Energy
    coverage: Numbers
    inputs: tuple[str, ...]
    counted: bool = False
    odd: Mapping[int, str] = {}
    role: Role = Role.GRID
    behind: str = ""


class Settled(Intervals, frozen=True, kw_only=True):
    """Whole intervals: energies scaled up to them, NaN where they are missing."""

    imported: Energy
    exported: Energy


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
    odd = metered.odd
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
        inputs=[
            (*names, odd[at]) if at in odd else names
            for at, names in enumerate(inputs_of(metered.inputs, quality, counted=metered.counted))
        ],
    )


def scale(known: Flags, coverage: Numbers, *, counted: bool = False) -> tuple[Numbers, list[RowQuality]]:
    """By how much what is known of each interval is scaled up, NaN where it is missing, and how sure that is."""
    enough = known if counted else known & (coverage >= ESTIMATE_FROM)
    whole = np.full(len(coverage), np.nan)
    whole[enough] = 1.0 if counted else np.where(coverage[enough] >= FULL, 1.0, 1.0 / coverage[enough])
    words = zip(enough.tolist(), coverage.tolist(), strict=True)
    return whole, [measured(share) if there else RowQuality.MISSING for there, share in words]


def inputs_of(inputs: tuple[str, ...], quality: Sequence[RowQuality], *, counted: bool) -> list[tuple[str, ...]]:
    """The inputs of each interval: of a register's that is an estimate also what makes it one."""
    spread = (*inputs, SPREAD) if counted else inputs
    return [spread if word is RowQuality.ESTIMATED else inputs for word in quality]


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
    nothing = np.isnan(average.values) & np.isnan(rest.values)
    extra = (supply.upstream,) if supply.upstream else ()
    names = [tuple(dict.fromkeys((*one, *other, *extra))) for one, other in zip(average.names, rest.names, strict=True)]
    sure = [all(each) for each in zip(average.sure, rest.sure, upstream_sure, strict=True)]
    quality = [
        RowQuality.MISSING if lacks else RowQuality.ESTIMATED if word is RowQuality.MEASURED and not fits else word
        for word, fits, lacks in zip(settled.quality, sure, nothing.tolist(), strict=True)
    ]
    figures = {
        "import_kwh": drawn.values,
        "export_kwh": settled.exported.values,
        "location_kg": location.values,
        "market_kg": market.values,
        "upstream_kg": upstream,
        "certified_kwh": np.where(certified > 0, certified, np.nan),
        "carbon_free": hourly.carbon_free if hourly else None,
    }
    return settled.rows(figures, quality, names)


def energy_rows(settled: Settled) -> list[Row]:
    """Rows of what emits nothing itself: carbon-free generation on site, and storage."""
    figures: dict[str, Numbers | None] = {"generation_kwh": settled.imported.values}
    if settled.role is Role.STORAGE:
        figures = {"import_kwh": settled.imported.values, "export_kwh": settled.exported.values}
    return settled.rows(figures, settled.quality, [()] * len(settled.coverage))


class Priced(msgspec.Struct, frozen=True):
    """Kg per kWh by interval, what says so, and whether that fits exactly."""

    values: Numbers
    names: Sequence[tuple[str, ...]]
    sure: Sequence[bool]


def _average(settled: Settled, supply: Supply, factors: Factors, hourly: Hourly | None) -> Priced:
    """The grid's average: the hour's own where there is one, else the newest factor of the region."""
    found = by_factor(settled.starts, FactorKind.AVERAGE, supply.region, factors)
    if hourly is None:
        return found
    own = hourly.intensity.known
    values = np.where(own, hourly.intensity.values, found.values)
    names = [mine if has else other for has, mine, other in zip(own, hourly.names, found.names, strict=True)]
    return Priced(values, names, [bool(has) for has in own])


def _rest_of_market(settled: Settled, supply: Supply, factors: Factors, average: Priced) -> Priced:
    """What certificates leave: the supplier's factor, else the residual mix, else the grid's average."""
    if supply.supplier:
        row = factors.get(supply.supplier)
        count = len(settled.coverage)
        covers = [row.covers(start) for start in settled.starts]
        return Priced(np.full(count, row.in_unit(PER_KWH)), [(row.id,)] * count, covers)
    found = by_factor(settled.starts, FactorKind.RESIDUAL, supply.region, factors)
    lacks = np.isnan(found.values)
    names = [other if lack else name for lack, name, other in zip(lacks, found.names, average.names, strict=True)]
    # where no residual mix is published the grid's average is the standard's own next choice: no estimate by itself
    sure = [bool(known or lack) for known, lack in zip(found.sure, lacks, strict=True)]
    return Priced(np.where(lacks, average.values, found.values), names, sure)


def _upstream(settled: Settled, supply: Supply, factors: Factors) -> tuple[Numbers | None, list[bool]]:
    """Scope 3 of what was drawn or burnt (category 3), where a factor is given."""
    if not supply.upstream:
        return None, [True] * len(settled.coverage)
    row = factors.get(supply.upstream)
    return settled.imported.values * row.in_unit(PER_KWH), [row.covers(start) for start in settled.starts]


def by_factor(starts: Sequence[int], kind: FactorKind, region: str, factors: Factors) -> Priced:
    """What the newest factor of a kind for a region says of intervals that begin at `starts` (UTC ns)."""
    values: list[float] = []
    names: list[tuple[str, ...]] = []
    sure: list[bool] = []
    for start in starts:
        try:
            found = factors.find(kind, region, start) if region else None
        except FactorMissing:
            found = None
        values.append(np.nan if found is None else found.factor.in_unit(PER_KWH))
        names.append(() if found is None else (found.factor.id,))
        sure.append(found is not None and found.fit is Fit.EXACT)
    return Priced(np.array(values, np.float64), names, sure)
