"""Rows priced again with other factors: their energies stand, so that it needs no reading (§10).

What a property of the grid said of an interval is no factor, and stands too.
"""

from collections.abc import Sequence
from math import isclose

import msgspec
import numpy as np

from taihu.carbon.account import Hourly, Settled, Supply, electricity_rows, measured
from taihu.carbon.direct import Emitter, direct_rows, used_of
from taihu.carbon.factors import IS_PROPERTY, FactorKind, Factors
from taihu.carbon.quantity import AverageIntensity, Energy
from taihu.carbon.rows import Role, Row, RowQuality
from taihu.kernel.arrays import Numbers


def restated(rows: Sequence[Row], supply: Supply | Emitter, factors: Factors) -> list[Row]:
    """Rows of one meter and role as they are by the factors there are now; the same length."""
    first = rows[0]
    if isinstance(supply, Emitter):
        return [row for used in used_of(rows) for row in direct_rows(used, supply, factors)]
    if first.role in (Role.GENERATION, Role.STORAGE, Role.AVOIDED):
        return list(rows)
    own = [_of_the_grid(row, factors) for row in rows]
    hourly = Hourly(AverageIntensity(_intensities(rows, own)), own, _column(rows, "carbon_free"))
    found = electricity_rows(_settled(rows), supply, factors, hourly)
    return [_unrounded(new, old) if names else new for new, old, names in zip(found, rows, own, strict=True)]


def _of_the_grid(row: Row, factors: Factors) -> tuple[str, ...]:
    """What gave a row an intensity of its interval: a property, or a mix with the factors of its sources."""
    if not any(IS_PROPERTY in name for name in row.factors):
        return ()
    known = {name: factors.known(name) for name in row.factors}
    return tuple(
        name for name, one in known.items() if IS_PROPERTY in name or (one and one.kind is FactorKind.LIFECYCLE)
    )


def _unrounded(new: Row, old: Row) -> Row:
    """A row whose intensity was divided out of the old one: what differs by rounding alone is as it was."""
    market = old.market_kg
    if market is None or new.market_kg is None or not isclose(market, new.market_kg, rel_tol=1e-12):
        market = new.market_kg
    return msgspec.structs.replace(new, location_kg=old.location_kg, market_kg=market)


def _intensities(rows: Sequence[Row], own: Sequence[tuple[str, ...]]) -> Numbers:
    """What properties said of each interval; NaN where a factor did."""
    values = np.full(len(rows), np.nan)
    for place, (row, names) in enumerate(zip(rows, own, strict=True)):
        if names and row.location_kg is not None and row.import_kwh is not None:
            values[place] = row.location_kg / row.import_kwh if row.import_kwh else 0.0
    return values


def _settled(rows: Sequence[Row]) -> Settled:
    coverage = np.array([row.coverage for row in rows])
    imported = _column(rows, "import_kwh")
    return Settled(
        project=rows[0].project,
        meter=rows[0].meter,
        role=rows[0].role,
        behind=rows[0].behind,
        starts=[row.start for row in rows],
        ends=[row.end for row in rows],
        imported=Energy(imported),
        exported=Energy(_column(rows, "export_kwh")),
        coverage=coverage,
        quality=[measured(row.coverage) if row.import_kwh is not None else RowQuality.MISSING for row in rows],
        inputs=[row.inputs for row in rows],
    )


def _column(rows: Sequence[Row], name: str) -> Numbers:
    return np.array([np.nan if (value := getattr(row, name)) is None else value for row in rows], np.float64)
