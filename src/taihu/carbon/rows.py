"""Rows of the ledger: one meter over one interval, with all its figures and how sure they are."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from taihu.kernel.arrays import Numbers


class RowQuality(StrEnum):
    """How sure a row is."""

    MEASURED = "measured"
    ESTIMATED = "estimated"
    MISSING = "missing"


class Role(StrEnum):
    """What a meter counts."""

    GRID = "grid"  # electricity drawn from the grid and given to it: scope 2
    SUBMETER = "submeter"  # a part of what the meter before it counts: in no total
    GENERATION = "generation"  # carbon-free electricity made on site
    STORAGE = "storage"  # into a battery, and out of it: in no total
    FUEL = "fuel"  # what is burnt on site: scope 1
    PROCESS = "process"  # material whose carbon is set free: scope 1
    LEAK = "leak"  # gas that escapes: scope 1
    AVOIDED = "avoided"  # what a controller changed at its meter: in no inventory


DIRECT = (Role.FUEL, Role.PROCESS, Role.LEAK)
DRAWS = (Role.GRID, Role.SUBMETER)
PARTS = (Role.SUBMETER, Role.STORAGE)  # what they count is in another meter's rows already
COUNTED = tuple(role for role in Role if role not in (*PARTS, Role.AVOIDED))  # what is in a project's total


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One meter over [start, end) (UTC ns). Energies are kWh, emissions kg CO2 equivalent; None is missing.

    Imports and exports are electricity, of a storage what went into it and came out; what a fuel held, by lower heating
    value, is a figure of its own. Of scope 1, `amount` in `unit` is what was metered where that is no energy, and its
    gases stand apart: kg of CO2, CH4 and N2O, and of others in CO2 equivalent. `behind` is the meter that counts the
    same electricity before this one.
    `certified_kwh` is how much of the import certificates cover, `carbon_free` the share of the rest that the grid says
    is carbon-free.
    Of what a controller changed: what its meter drew less gave `with_kwh` and would have `without_kwh`, and what that
    avoided at the marginal intensity; negative is caused.

    `factors` are the ids of factor rows, or the names of properties that gave an intensity; `inputs` say which
    readings the energies came from. `version` counts restatements of the same interval, `reason` says why.
    """

    project: str
    meter: str
    start: int
    end: int
    role: Role
    import_kwh: float | None = None
    export_kwh: float | None = None
    generation_kwh: float | None = None
    fuel_kwh: float | None = None
    scope1_kg: float | None = None
    location_kg: float | None = None
    market_kg: float | None = None
    upstream_kg: float | None = None
    coverage: float
    quality: RowQuality
    factors: tuple[str, ...]
    inputs: tuple[str, ...]
    version: int = 1
    reason: str = ""
    written_at: int = 0
    behind: str = ""
    certified_kwh: float | None = None
    carbon_free: float | None = None
    amount: float | None = None
    unit: str = ""
    co2_kg: float | None = None
    ch4_kg: float | None = None
    n2o_kg: float | None = None
    gases_kg: float | None = None
    with_kwh: float | None = None
    without_kwh: float | None = None
    avoided_kg: float | None = None

    @property
    def counted(self) -> float | None:
        """The one energy or amount that the row is of; None is missing."""
        if self.unit:
            return self.amount
        own = {Role.GENERATION: self.generation_kwh, Role.FUEL: self.fuel_kwh, Role.AVOIDED: self.with_kwh}
        return own.get(self.role, self.import_kwh)

    def same(self, other: "Row") -> bool:
        """Whether both say the same of the same interval, whenever and why they were written."""
        plain: dict[str, Any] = {"version": 0, "reason": "", "written_at": 0}
        if not (self.behind and other.behind):  # the first release did not know it
            plain["behind"] = ""
        return msgspec.structs.replace(self, **plain) == msgspec.structs.replace(other, **plain)


class Intervals(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive intervals of one meter: what share of each is known, how sure that is, and what says so."""

    project: str
    meter: str
    role: Role
    behind: str = ""
    starts: Sequence[int]
    ends: Sequence[int]
    coverage: Numbers
    quality: Sequence[RowQuality]
    inputs: Sequence[tuple[str, ...]]

    def rows(
        self, figures: Mapping[str, Numbers | None], quality: Sequence[RowQuality], factors: Sequence[tuple[str, ...]],
        unit: str = "",
    ) -> list[Row]:  # fmt: skip
        """A row for each interval; of `figures` what is NaN is missing. `quality` is that of the row as a whole."""
        known = {name: values.tolist() for name, values in figures.items() if values is not None}
        return [
            Row(
                project=self.project,
                meter=self.meter,
                start=start,
                end=self.ends[place],
                role=self.role,
                coverage=float(self.coverage[place]),
                quality=quality[place],
                factors=factors[place],
                inputs=self.inputs[place],
                behind=self.behind,
                unit=unit,
                **{name: values[place] for name, values in known.items() if values[place] == values[place]},
            )
            for place, start in enumerate(self.starts)
        ]


def total(values: Sequence[float | None]) -> float | None:
    """The sum of what is known; None when nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
