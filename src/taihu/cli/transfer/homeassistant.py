"""What Home Assistant keeps: its database (`home-assistant_v2.db`), and the CSV that its history page downloads.

An entity is a thing. Its states are the property `state`; its long-term statistics are `mean`, `min` and `max`, or
`state` and `sum`, at the start of each hour. `unavailable` and `unknown` are no readings (§3).
"""

import sqlite3
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from taihu.cli.transfer.csvfile import Records, dictionary
from taihu.cli.transfer.rows import Item, Refused, Row, SourceRefused, Text
from taihu.cli.transfer.values import BadValue, moment
from taihu.kernel.clock import NS_PER_S
from taihu.kernel.units import alias
from taihu.things.property import Kind, Property, Thing

STATES, STATISTICS = "states", "statistics"
_NOTHING = {"unavailable", "unknown", ""}
_MEASURES = ("mean", "min", "max", "state", "sum")
_DAY_S = 86_400.0  # a state holds until it changes, and is recorded then only
_TWO_HOURS_S = 7_200.0

Names = Mapping[str, tuple[str, str]]
"""Another thing and property for an entity."""


def names_of(path: Path) -> Names:
    """A CSV file with the columns entity_id, thing and property."""
    things, properties = (dictionary(path, ("entity_id",), (column,)) for column in ("thing", "property"))
    return {entity: (thing, properties[entity]) for entity, thing in things.items()}


class _Database:
    """A database of Home Assistant 2023.4 or later; it is only read. `done` counts rows."""

    def __init__(self, path: Path, names: Names) -> None:
        self.skipped = 0
        self._done = 0
        self._names = names
        self._uri = f"{path.absolute().as_uri()}?mode=ro"
        try:
            with closing(sqlite3.connect(self._uri, uri=True)) as database:
                self.total = int(database.execute(f"SELECT count(*) FROM {self.table}").fetchone()[0])  # noqa: S608 (ours)
                self._known = self._things(database)
        except sqlite3.DatabaseError as error:
            raise SourceRefused(
                f"{path} is no database of Home Assistant 2023.4 or later ({error}):", "name home-assistant_v2.db."
            ) from None

    table: str
    query: str

    def about(self, thing: str) -> Thing | None:
        return self._known.get(thing)

    def items(self, after: int) -> Iterator[Item]:
        with closing(sqlite3.connect(self._uri, uri=True)) as database:
            for number, *record in database.execute(self.query, [after]):
                self._done += 1
                row = self._row(number, *record)
                if row is None or not row.values:
                    self.skipped += 1
                else:
                    yield row

    def done(self) -> int:
        return self._done

    @abstractmethod
    def _row(self, number: int, entity: str, seconds: float | None, *values: Any) -> Row | None:
        """A record as a row; None when it is no reading."""

    @abstractmethod
    def _things(self, database: sqlite3.Connection) -> dict[str, Thing]:
        """What is known of the entities."""


class States(_Database):
    """The table `states`."""

    table = STATES
    query = (
        "SELECT s.state_id, m.entity_id, s.last_updated_ts, s.state FROM states s "
        "JOIN states_meta m ON m.metadata_id = s.metadata_id WHERE s.state_id > ? ORDER BY s.state_id"
    )

    def _row(self, number: int, entity: str, seconds: float | None, *values: Any) -> Row | None:
        (state,) = values
        if seconds is None or state is None or state in _NOTHING:
            return None
        thing, name = self._names.get(entity, (entity, "state"))
        return Row(number, f"state {number}", thing, _ns(seconds), {name: Text(state)})

    def _things(self, database: sqlite3.Connection) -> dict[str, Thing]:
        query = (
            "SELECT m.entity_id, json_extract(a.shared_attrs, '$.friendly_name'), "
            "json_extract(a.shared_attrs, '$.unit_of_measurement'), json_extract(a.shared_attrs, '$.state_class') "
            "FROM (SELECT metadata_id, max(state_id) AS newest FROM states GROUP BY metadata_id) n "
            "JOIN states s ON s.state_id = n.newest JOIN states_meta m ON m.metadata_id = n.metadata_id "
            "JOIN state_attributes a ON a.attributes_id = s.attributes_id"
        )
        found: dict[str, Thing] = {}
        for entity, title, unit, state_class in database.execute(query):
            thing, name = self._names.get(entity, (entity, "state"))
            kind = Kind.COUNTER if state_class == "total_increasing" else Kind.GAUGE
            properties = [_property(name, unit, kind, _DAY_S)] if unit else []
            _add(found, thing, title, properties)
        return found


class Statistics(_Database):
    """The table `statistics`: one row an hour for each entity that has a state class."""

    table = STATISTICS
    query = (
        f"SELECT s.id, m.statistic_id, s.start_ts, {', '.join(f's.{name}' for name in _MEASURES)} FROM statistics s "  # noqa: S608
        "JOIN statistics_meta m ON m.id = s.metadata_id WHERE s.id > ? ORDER BY s.id"
    )

    def _row(self, number: int, entity: str, seconds: float | None, *values: Any) -> Row | None:
        if seconds is None:
            return None
        thing = self._names.get(entity, (entity, ""))[0]
        measures = {self._name(entity, name): value for name, value in zip(_MEASURES, values, strict=True)}
        known = {name: float(value) for name, value in measures.items() if value is not None}
        return Row(number, f"statistic {number}", thing, _ns(seconds), known)

    def _things(self, database: sqlite3.Connection) -> dict[str, Thing]:
        found: dict[str, Thing] = {}
        query = "SELECT statistic_id, name, unit_of_measurement, has_sum FROM statistics_meta"
        for entity, title, unit, has_sum in database.execute(query):
            names, kind = (("state", "sum"), Kind.COUNTER) if has_sum else (("mean", "min", "max"), Kind.GAUGE)
            properties = [_property(self._name(entity, name), unit, kind, _TWO_HOURS_S) for name in names]
            _add(found, self._names.get(entity, (entity, ""))[0], title, properties)
        return found

    def _name(self, entity: str, measure: str) -> str:
        prefix = self._names.get(entity, ("", ""))[1]
        return f"{prefix}_{measure}" if prefix else measure


class HistoryCsv(Records):
    """The download of the history page: entity_id, state, last_changed."""

    def __init__(self, path: Path, names: Names) -> None:
        super().__init__(path)
        self._names = names
        try:
            self._places = [self.headings.index(name) for name in ("entity_id", "state", "last_changed")]
        except ValueError:
            raise SourceRefused(f"{path} is no history of Home Assistant:", "its columns are entity_id, …") from None

    def read(self, number: int, where: str, record: Sequence[str]) -> list[Item]:
        if len(record) != len(self.headings):
            return [Refused(number, where, "", "", f"it has {len(record)} cells, the first line {len(self.headings)}")]
        entity, state, changed = (record[place] for place in self._places)
        thing, name = self._names.get(entity, (entity, "state"))
        if state in _NOTHING:
            return []
        try:
            return [Row(number, where, thing, moment(changed, None), {name: Text(state)})]
        except BadValue as error:
            return [Refused(number, where, thing, name, str(error))]


def _ns(seconds: float) -> int:
    """Home Assistant keeps microseconds, in a float of seconds."""
    return round(seconds * 1_000_000) * (NS_PER_S // 1_000_000)


def _property(name: str, unit: str | None, kind: Kind, max_age_s: float) -> Property:
    return Property(name=name, unit=alias(unit) if unit else None, kind=kind, max_age_s=max_age_s)


def _add(found: dict[str, Thing], name: str, title: str | None, properties: Sequence[Property]) -> None:
    """Several entities may be one thing."""
    known = found.get(name, Thing(name=name, title=title or ""))
    both = known.properties | {one.name: one for one in properties}
    found[name] = Thing(name=name, title=known.title, properties=both)
