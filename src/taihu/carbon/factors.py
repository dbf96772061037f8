"""Emission factors as versioned data rows: looked up, never invented.

A row says what it is of (`kind`, `subject`), where (`region`: an ISO 3166 code, a grid, or for a global warming
potential the report it is of), for which time it was made, who published it and when. A row without a value is known
to exist and still to be provided: using it is refused. Rows are never changed; a correction is a new row with a later
`published`, and what was computed with the old one keeps its id (§10). A site's own rows are in a file of the same
columns (docs/carbon.md).
"""

import csv
import io
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import date
from enum import StrEnum
from importlib.resources import files
from pathlib import Path

import msgspec

from taihu.kernel.clock import parse_iso
from taihu.kernel.errors import ConfigError, RefusedError
from taihu.kernel.units import UnitError, commensurable, converter

ELECTRICITY = "electricity"
PER_KWH = "kg/(kW.h)"
PER_HEAT = "kg/TJ"
PER_MASS = "MJ/kg"  # of heat
PER_VOLUME = "MJ/m3"
DENSITY = "kg/m3"
# Sources of generation that burn nothing; biomass is left to a site's own judgement, and counts as not carbon-free.
CARBON_FREE = frozenset(
    ("hydro", "nuclear", "solar", "solar-rooftop", "csp", "wind", "wind-offshore", "geothermal", "ocean")
)
GWP_SET = "AR6"  # of the IPCC's assessment reports, the one whose potentials are used
IS_PROPERTY = "/"  # what a row names with it is a property of the grid, and no factor


class FactorKind(StrEnum):
    """What a factor is for."""

    AVERAGE = "average"  # all electricity of a grid: location-based
    RESIDUAL = "residual"  # what contracts leave over: market-based
    SUPPLIER = "supplier"  # what one supplier or contract delivers: market-based
    MARGINAL = "marginal"  # one more unit of demand: consequences, never an inventory
    LIFECYCLE = "lifecycle"  # generation from one source, all stages
    FUEL = "fuel"  # combustion, CO2 by lower heating value: scope 1
    FUEL_METHANE = "fuel-methane"  # combustion, CH4
    FUEL_NITROUS_OXIDE = "fuel-nitrous-oxide"  # combustion, N2O
    HEATING = "heating"  # lower heating value of a fuel, by mass or volume
    DENSITY = "density"  # of a fuel
    PROCESS = "process"  # CO2 of a mass of material: scope 1
    UPSTREAM = "upstream"  # scope 3
    GWP = "gwp"  # kg CO2 equivalent of one kg of a gas, 100 years


class Fit(StrEnum):
    """How well a factor fits what it was asked for."""

    EXACT = "exact"
    OLDER = "older"  # made for an earlier time; none is there yet for this one
    WIDER = "wider"  # made for the region around this one
    OLDER_WIDER = "older and wider"


class FactorMissing(RefusedError):
    """No usable factor: the remedy says which row to provide."""

    code = "factor-missing"


class Factor(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `value` is None while it is to be provided; `valid_from` and `valid_to` are UTC ns, 0 when open."""

    id: str
    region: str
    year: int
    kind: FactorKind
    subject: str
    value: float | None
    unit: str
    source: str
    published: str
    valid_from: int = 0
    valid_to: int = 0

    def in_unit(self, unit: str) -> float:
        """The value in another unit; FactorMissing while it is to be provided."""
        if self.value is None:
            raise FactorMissing(
                f"The factor {self.id} is to be provided: {self.source}.",
                "Add its row to the site's factors file, with its source.",
            )
        factor, offset = converter(self.unit, unit)
        return self.value * factor + offset

    def covers(self, at: int) -> bool:
        """Whether the row was made for a moment (UTC ns)."""
        return self.valid_from <= at and (not self.valid_to or at < self.valid_to)


class Found(msgspec.Struct, frozen=True):
    """A factor and how it fits; anything but exact makes what is computed with it an estimate."""

    factor: Factor
    fit: Fit


class Factors:
    """All rows, by what they are of; of the global warming potentials those of one report, `gwp`."""

    def __init__(self, rows: Iterable[Factor], gwp: str = GWP_SET) -> None:
        self.gwp = gwp
        self._by_id: dict[str, Factor] = {}
        self._by_subject: dict[tuple[FactorKind, str, str], list[Factor]] = {}
        self._known: dict[tuple[FactorKind, str, str, str], _Answers] = {}
        for row in rows:
            if row.id in self._by_id:
                raise ConfigError(f"The factor {row.id} is there twice.", "Give a correction an id of its own.")
            if row.kind is FactorKind.GWP and row.region != gwp:
                continue
            self._by_id[row.id] = row
            self._by_subject.setdefault((row.kind, row.subject, row.region), []).append(row)

    def __iter__(self) -> Iterator[Factor]:
        return iter(self._by_id.values())

    def subjects(self, kind: FactorKind) -> set[str]:
        """What there are factors of."""
        return {subject for one, subject, _ in self._by_subject if one is kind}

    def get(self, name: str) -> Factor:
        """The row of an id; FactorMissing when there is none."""
        if name not in self._by_id:
            raise FactorMissing(f"There is no factor {name!r}.", "See: taihu factors")
        return self._by_id[name]

    def known(self, name: str) -> Factor | None:
        """The row of an id, or None."""
        return self._by_id.get(name)

    def find(self, kind: FactorKind, region: str, at: int, subject: str = ELECTRICITY, unit: str = "") -> Found:
        """The newest row with a value that was made for a moment, else for an earlier time, else for a wider region.

        With `unit`, only of those that can be given in it. Of fuels, materials and gases the widest region is the
        world, whose rows are what its own source calls a default, and fit.

        Raises:
            FactorMissing: none has a value; the remedy names the row to provide.
        """
        key = (kind, region, subject, unit)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Answers(self._candidates(kind, region, subject, unit))
        found = known.at(at)
        if found is None:
            missing = next((row.id for _, rows in known.candidates for row in rows if row.value is None), "")
            raise FactorMissing(
                f"There is no {kind} factor of {subject} for {region or 'any region'}.",
                f"Provide a value for {missing}." if missing else _ADD,
            )
        return found

    def has(self, kind: FactorKind, region: str, subject: str) -> bool:
        """Whether there are rows that may answer, be their values still to be provided."""
        return any(rows for _, rows in self._candidates(kind, region, subject, ""))

    def _candidates(self, kind: FactorKind, region: str, subject: str, unit: str) -> list[tuple[Fit, list[Factor]]]:
        """All rows that may answer, from the region outward."""
        found = []
        for place in [*outward(region), *([""] if region and kind in _OF_THE_WORLD else [])]:
            rows = self._by_subject.get((kind, subject, place), [])
            wider = place not in (region, "")
            if unit:
                rows = [row for row in rows if commensurable(row.unit, unit)]
            found.append((Fit.WIDER if wider else Fit.EXACT, rows))
        return found


class _Answers:
    """What is found for one question at any time: it changes only where a row begins or ends."""

    def __init__(self, candidates: list[tuple[Fit, list[Factor]]]) -> None:
        self.candidates = candidates
        bounds = {at for _, rows in candidates for row in rows for at in (row.valid_from, row.valid_to) if at}
        self._bounds = sorted(bounds)
        self._found = [self._search(at) for at in (0, *self._bounds)]

    def at(self, at: int) -> Found | None:
        """What is found for a moment (UTC ns, after 1970); None when nothing is."""
        return self._found[bisect_right(self._bounds, at)]

    def _search(self, at: int) -> Found | None:
        for fit, rows in self.candidates:
            usable = [row for row in rows if row.value is not None]
            exact = [row for row in usable if row.covers(at)]
            if exact:
                return Found(max(exact, key=_newest), fit)
            older = [row for row in usable if row.valid_to and row.valid_to <= at]
            if older:
                return Found(max(older, key=_newest), Fit.OLDER_WIDER if fit is Fit.WIDER else Fit.OLDER)
        return None


def load_factors(own: Path | None = None, gwp: str = GWP_SET) -> Factors:
    """The rows that come with Taihu, and a site's own, with the global warming potentials of one report.

    Raises:
        ConfigError: with file and line, and what to write instead.
    """
    text = files("taihu.carbon").joinpath("data/factors.csv").read_text("utf-8")
    rows = list(parse_factors(text, "factors.csv"))
    if own is not None:
        try:
            rows += parse_factors(own.read_text("utf-8"), own.name)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{own} cannot be read: {error}.", "Save it as UTF-8 CSV.") from None
    return Factors(rows, gwp)


def parse_factors(text: str, name: str) -> Iterator[Factor]:
    """The rows of a CSV text; ConfigError with `name` and line."""
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        if tuple(reader.fieldnames or ()) != Factor.__struct_fields__:
            raise ConfigError("The columns are not a factor's.", f"Write: {','.join(Factor.__struct_fields__)}", name)
        for row in reader:
            yield _factor(row, f"{name}, line {reader.line_num}")
    except csv.Error as error:
        raise ConfigError(f"{error}.", "Quote a text that holds a comma or a quote.", name) from None


def mix_intensity(generation_kwh: dict[str, float], factors: Factors, at: int) -> tuple[float, tuple[str, ...]]:
    """The average intensity (kg/kWh) of an hour's generation by source, and the life-cycle factors it was made with.

    Raises:
        FactorMissing: a source has no factor, or nothing was generated.
    """
    total = sum(generation_kwh.values())
    if not total > 0:
        raise FactorMissing("Nothing was generated, so that there is no intensity.", "Leave that hour missing.")
    used = {name: factors.find(FactorKind.LIFECYCLE, "", at, name).factor for name in generation_kwh}
    mass = sum(amount * used[name].in_unit(PER_KWH) for name, amount in generation_kwh.items())
    return mass / total, tuple(row.id for row in used.values())


def outward(region: str) -> list[str]:
    """A region and those around it: CN-JS is in CN."""
    parts = region.split("-")
    return ["-".join(parts[:size]) for size in range(len(parts), 0, -1)]


def _newest(row: Factor) -> tuple[int, str]:
    return row.year, row.published


def _factor(row: dict[str, str], where: str) -> Factor:
    try:
        if None in row or None in row.values():
            raise ValueError("the line has not as many cells as there are columns")
        if not row["id"] or not row["source"]:
            raise ValueError("a factor needs an id and a source")
        if IS_PROPERTY in row["id"]:
            raise ValueError(f"an id has no {IS_PROPERTY}")
        value = float(row["value"]) if row["value"] else None
        if value is not None and not 0 <= value < float("inf"):
            raise ValueError(f"{row['value']} is no emission factor")
        if row["kind"] == FactorKind.HEATING and commensurable(row["unit"], PER_VOLUME):
            pass  # by volume, or by mass as below
        elif row["kind"] != FactorKind.UPSTREAM:  # of anything, by any measure
            converter(row["unit"], _UNITS.get(row["kind"], PER_KWH))
        return Factor(
            id=row["id"],
            region=row["region"],
            year=int(row["year"] or 0),
            kind=FactorKind(row["kind"]),
            subject=row["subject"],
            value=value,
            unit=row["unit"],
            source=row["source"],
            published=row["published"],
            valid_from=_moment(row["valid_from"]),
            valid_to=_moment(row["valid_to"]),
        )
    except (ValueError, UnitError) as error:
        raise ConfigError(f"{error}.", "Correct the row.", where) from None


_ADD = "Add a row to the site's factors file, with its source."
_OF_THE_WORLD = (
    FactorKind.FUEL,
    FactorKind.FUEL_METHANE,
    FactorKind.FUEL_NITROUS_OXIDE,
    FactorKind.HEATING,
    FactorKind.DENSITY,
    FactorKind.PROCESS,
)
_UNITS: dict[str, str] = {
    FactorKind.FUEL: PER_HEAT,
    FactorKind.FUEL_METHANE: PER_HEAT,
    FactorKind.FUEL_NITROUS_OXIDE: PER_HEAT,
    FactorKind.HEATING: PER_MASS,
    FactorKind.DENSITY: DENSITY,
    FactorKind.PROCESS: "1",
    FactorKind.GWP: "1",
}


def _moment(text: str) -> int:
    return parse_iso(f"{date.fromisoformat(text).isoformat()}T00:00:00Z") if text else 0
