"""A folder in CityLearn's layout, as others make them: read whole, with a note on all that is not as it should be.

Read are the schema (which buildings, their files, the sizes of PV and battery, the hours that are played) and of its
tables the columns that a score needs, under the names of 2022, of 2023 or of later years. Single holes are filled with
what was measured before, and told; what a score cannot be made of is refused, by file, line and column.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from taihu.decide.battery import Battery
from taihu.kernel.arrays import Ints, Numbers
from taihu.sim.citylearn import Buildings, DataRefused
from taihu.sim.heat import electricity_kwh, known, needs_outdoors
from taihu.sim.storage import NO_BATTERY, battery_of, together

_LAYOUT = "Give a folder in CityLearn's layout (docs/score.md)."
_LOAD = ("equipment electric power", "non_shiftable_load")
_SOLAR = ("solar generation", "solar_generation")
_PRICE = ("electricity pricing", "electricity_pricing")
_INTENSITY = ("kg_co2/kwh", "carbon_intensity")
_HOUR = ("hour",)
_OUTDOORS = ("outdoor drybulb temperature", "outdoor_dry_bulb_temperature")
_HEAT = {
    "cooling": ("cooling load", "cooling_demand"),
    "heating": ("heating load", "heating_demand"),
    "dhw": ("dhw heating", "dhw_demand"),
}
_PREDICTION = re.compile(r"(\d+)h prediction electricity pricing")
_HOLES_MAX = 0.1  # of a column's hours
_ABSURD = 10.0  # times the dearest price: no prediction


def read_folder(folder: Path) -> Buildings:
    """Buildings of a folder in CityLearn's layout.

    Raises:
        DataRefused: a file or column is missing, has no numbers, or their hours differ.
    """
    return _Reader(folder).read()


class _Table:
    """A table by columns, with what its numbers look like: commas, or semicolons and perhaps decimal commas."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            raise DataRefused(f"{path} cannot be read: {why}.", _LAYOUT) from None
        marks = next((one for one in ",;\t" if lines and one in lines[0]), ",")
        self._decimal_comma = marks != ","
        self._rows = [row for row in csv.reader(lines, delimiter=marks) if any(cell.strip() for cell in row)]
        head = self._rows.pop(0) if self._rows else []
        self._names = {re.split(r"[\[(]", name)[0].strip().lower(): place for place, name in enumerate(head)}

    @property
    def predictions(self) -> dict[int, str]:
        """Columns of prices by how many hours ahead they tell."""
        return {int(found[1]): name for name in self._names if (found := _PREDICTION.fullmatch(name))}

    def find(self, names: Iterable[str]) -> Numbers | None:
        """A column, NaN where it is empty; None where there is none of these names."""
        place = next((self._names[name] for name in names if name in self._names), None)
        if place is None:
            return None
        return np.array([self._number(row, place, line) for line, row in enumerate(self._rows, 2)], np.float64)

    def column(self, names: tuple[str, ...]) -> Numbers:
        """A column that must be there."""
        found = self.find(names)
        if found is None:
            raise DataRefused(f"{self._path} has no column {names[0]!r}, but {', '.join(self._names)}.", _LAYOUT)
        return found

    def _number(self, row: list[str], place: int, line: int) -> float:
        text = row[place].strip() if place < len(row) else ""
        if self._decimal_comma:
            text = text.replace(",", ".")
        if not text:
            return np.nan
        try:
            value = float(text)
        except ValueError:
            where = f"{self._path}, line {line}, column {place + 1}"
            raise DataRefused(f"{where}: {text[:40]!r} is no number.", "Correct it, or leave it empty.") from None
        return value if np.isfinite(value) else np.nan


class _Reader:
    """One folder, and what is to be said of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._notes: dict[str, list[str]] = {}  # what, and of which buildings; of none where it is of all
        self._tables: dict[str, _Table] = {}
        try:
            self._schema = msgspec.json.decode((folder / "schema.json").read_bytes().removeprefix(b"\xef\xbb\xbf"))
        except OSError as error:
            raise DataRefused(f"{folder / 'schema.json'} cannot be read: {error.strerror}.", _LAYOUT) from None
        except msgspec.DecodeError as error:
            raise DataRefused(f"{folder / 'schema.json'} is no JSON: {error}.", _LAYOUT) from None

    def read(self) -> Buildings:
        entries = self._entries()
        rows = [self._building(name, entry) for name, entry in entries.items()]
        first = next(iter(entries.values()))
        price, published = self._prices(first)
        intensity = self._named(first, "carbon_intensity", _INTENSITY)
        parts = {f"{name}'s table": load for name, (load, *_) in zip(entries, rows, strict=True)}
        parts |= {"the prices": price} if price is not None else {}
        parts |= {"the intensities": intensity} if intensity is not None else {}
        hours = self._same_hours(parts)
        if price is None:
            self._note("there are no prices: the score is that of emission and grid")
        if intensity is None:
            self._note("there are no carbon intensities: the score is that of price and grid")
        return Buildings(
            np.array([load for load, *_ in rows]),
            np.array([solar for _, solar, *_ in rows]),
            np.zeros(hours) if price is None else price,
            np.zeros(hours) if intensity is None else intensity,
            rows[0][2],
            {lead: made for lead, made in published.items() if len(made) == hours},
            together([battery for *_, battery in rows]),
            tuple(_told(what, names) for what, names in self._notes.items()),
        )

    def _note(self, what: str, *names: str) -> None:
        self._notes.setdefault(what, []).extend(names)

    def _entries(self) -> dict[str, dict[str, Any]]:
        """The schema's buildings that take part."""
        found = self._schema.get("buildings") if isinstance(self._schema, Mapping) else None
        if not isinstance(found, Mapping) or not all(isinstance(one, Mapping) for one in found.values()):
            raise DataRefused(f"{self._folder / 'schema.json'} names no buildings.", _LAYOUT)
        entries = {name: dict(one) for name, one in found.items() if one.get("include", True)}
        if not entries:
            raise DataRefused(f"{self._folder / 'schema.json'} includes no building.", _LAYOUT)
        if (seconds := self._schema.get("seconds_per_time_step") or 3_600) != 3_600:
            raise DataRefused(f"{self._folder} has steps of {seconds} s.", "Sum them up to hours.")
        return entries

    def _building(self, name: str, entry: Mapping[str, Any]) -> tuple[Numbers, Numbers, Ints, Battery]:
        """Load, PV, hours of the day and battery."""
        table = self._table(entry.get("energy_simulation"), f"{name}'s energy_simulation")
        load = self._whole(table.column(_LOAD), "of load", name)
        solar = np.zeros_like(load)
        if isinstance(entry.get("pv"), Mapping):
            kw = self._size(entry["pv"], "nominal_power", f"{name}'s pv")
            solar = self._whole(table.column(_SOLAR), "of PV", name) * kw / 1_000
        if below := int((load < 0).sum()):
            self._note(f"load is below zero in {below} hours: that is taken as generation", name)
        load = load + self._heat(table, name, entry)
        fed, taken = np.maximum(-load, 0), np.maximum(-solar, 0)
        load, solar = np.maximum(load, 0) + taken, np.maximum(solar, 0) + fed
        return load, solar, self._hours(table, len(load), name), self._battery(name, entry)

    def _heat(self, table: _Table, name: str, entry: Mapping[str, Any]) -> Numbers:
        """What the building's devices take for heat and cold."""
        taken = np.zeros_like(self._played(table.column(_LOAD)))
        for kind, names in _HEAT.items():
            demand, device = table.find(names), entry.get(f"{kind}_device")
            if demand is None or not np.nanmax(np.abs(demand), initial=0.0) > 0:
                continue
            outdoors = self._named(entry, "weather", _OUTDOORS) if known(device) and needs_outdoors(device) else taken
            if not known(device) or outdoors is None:
                self._note("heat or cold without a device, or temperatures outdoors: it is left out", name)
                continue
            demand = self._whole(demand, f"of {kind}", name)
            self._same_hours({f"{name}'s table": demand, "the weather": outdoors})
            try:
                taken = taken + electricity_kwh(device, demand, outdoors, cooling=kind == "cooling")
            except ValueError as error:
                raise DataRefused(f"{name}'s {kind}_device: {error}.", "Correct it in schema.json.") from None
        if any(entry.get(f"{kind}_storage") for kind in _HEAT):
            self._note("stores of heat and cold are not driven", name)
        return taken

    def _hours(self, table: _Table, count: int, name: str) -> Ints:
        """The hour of the day of each row, 1 to 24."""
        found = table.find(_HOUR)
        found = None if found is None else self._played(found)
        if found is None or not ((found >= 0) & (found <= 24) & (found % 1 == 0)).all():
            self._note("no hours of the day from 1 to 24: they are counted from the first row", name)
            return np.arange(count) % 24 + 1
        return np.asarray((found.astype(np.int64) + 23) % 24 + 1)

    def _battery(self, name: str, entry: Mapping[str, Any]) -> Battery:
        storage = entry.get("electrical_storage")
        if not isinstance(storage, Mapping):
            self._note("no battery", name)
            return NO_BATTERY
        attributes = storage.get("attributes") or {}
        if attributes.get("efficiency", 0.9) != 0.9 and not attributes.get("power_efficiency_curve"):
            self._note("an efficiency without its curve: the challenge's own curve is played, as CityLearn does", name)
        if attributes.get("initial_soc"):
            self._note("the battery begins empty, whatever its initial_soc", name)
        capacity, power = (self._size(storage, one, f"{name}'s battery") for one in ("capacity", "nominal_power"))
        try:
            return battery_of(capacity, power, attributes)
        except ValueError as error:
            raise DataRefused(f"{name}'s battery: {error}.", "Correct it in schema.json.") from None

    def _size(self, part: Mapping[str, Any], key: str, whose: str) -> float:
        value = (part.get("attributes") or {}).get(key)
        if not isinstance(value, int | float) or not 0 <= value < np.inf:
            raise DataRefused(f"{whose} has no {key} of zero or more: {value!r}.", "Give it in schema.json.")
        return float(value)

    def _prices(self, entry: Mapping[str, Any]) -> tuple[Numbers | None, dict[int, Numbers]]:
        """Prices, and what was published of them beforehand, by how many hours ahead."""
        price = self._named(entry, "pricing", _PRICE)
        if price is None:
            return None, {}
        table = self._table(self._file(entry, "pricing"), "")
        published = {lead: self._played(table.column((name,))) for lead, name in table.predictions.items()}
        if not published:
            self._note("no prices are published beforehand: those of the day before are planned with")
        most, absurd = _ABSURD * float(np.abs(price).max(initial=0.0)), 0
        for made in published.values():
            wrong = np.abs(made) > most
            absurd += int(wrong.sum())
            made[wrong] = np.nan
        if absurd:
            self._note(f"{absurd} published prices are over {most:g}: they are taken as not published")
        return price, published

    def _named(self, entry: Mapping[str, Any], key: str, names: tuple[str, ...]) -> Numbers | None:
        """A column for all buildings; None where the schema names no file, or the file it names is not there."""
        file = self._file(entry, key)
        if file is None or not (self._folder / file).is_file():
            return None
        return self._whole(self._table(file, key).column(names), f"of {file}")

    def _file(self, entry: Mapping[str, Any], key: str) -> str | None:
        """The file that a building, or the schema for all, names."""
        file = entry.get(key, self._schema.get(key, f"{key}.csv"))
        return file if isinstance(file, str) and file else None

    def _table(self, file: Any, what: str) -> _Table:
        if not isinstance(file, str) or not file:
            raise DataRefused(f"{self._folder / 'schema.json'} names no file as {what}.", _LAYOUT)
        if file not in self._tables:
            self._tables[file] = _Table(self._folder / file)
        return self._tables[file]

    def _played(self, values: Numbers) -> Numbers:
        """The hours that the schema wants played."""
        first, last = (self._schema.get(f"simulation_{one}_time_step") for one in ("start", "end"))
        start = first if isinstance(first, int) and first > 0 else 0
        return values[start : last + 1 if isinstance(last, int) and last >= start else None]

    def _whole(self, values: Numbers, what: str, *names: str) -> Numbers:
        """The played hours of a column, each hole filled with the value a day before, or else the last one known."""
        values = self._played(values)
        holes = np.flatnonzero(np.isnan(values))
        if len(holes) > _HOLES_MAX * len(values):
            where = " of ".join((str(self._folder), *names))
            missing = f"{len(holes)} of {len(values)} hours {what} are missing in {where}."
            raise DataRefused(missing, "A tenth may be; give the others.")
        if len(holes):
            self._note(f"{len(holes)} hours {what} are missing: the hour a day before, or the last, stands", *names)
        known = float(values[~np.isnan(values)][0]) if len(values) else 0.0
        for hole in holes:
            values[hole] = values[hole - 24] if hole >= 24 else values[hole - 1] if hole else known
        return values

    def _same_hours(self, parts: Mapping[str, Numbers]) -> int:
        lengths = {len(one) for one in parts.values()}
        if len(lengths) != 1 or lengths == {0}:
            each = ", ".join(f"{name} {len(one)}" for name, one in parts.items())
            raise DataRefused(f"{self._folder} has tables of different or no hours: {each}.", "All need the same.")
        return lengths.pop()


def _told(what: str, names: list[str]) -> str:
    if not names:
        return what
    others = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{others}: {what}"
