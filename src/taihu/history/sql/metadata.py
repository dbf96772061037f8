"""What is known of a project's things beside their readings, as sheets and the views over them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec

from taihu.history.calculated import Rows
from taihu.history.sql.sheets import Sheets
from taihu.history.sql.sources import Bounds
from taihu.history.sql.views import PROPERTIES, THINGS, Column, Unit, View
from taihu.things.property import Property, Thing

_TEXT, _NUMBER, _TEXTS = "VARCHAR", "DOUBLE", "VARCHAR[]"
_OF_THING = {
    "thing": _TEXT, "title": _TEXT, "model": _TEXT, "site": _TEXT, "building": _TEXT, "parent": _TEXT, "role": _TEXT,
    "tags": _TEXTS, "groups": _TEXTS,
}  # fmt: skip
_OF_PROPERTY = {
    "property": _TEXT, "view": _TEXT, "column": _TEXT, "kind": _TEXT, "unit": _TEXT, "data_type": _TEXT,
    "title": _TEXT, "minimum": _NUMBER, "maximum": _NUMBER, "resolution": _NUMBER, "max_age_s": _NUMBER,
    "period_s": _NUMBER, "interval_s": _NUMBER, "definition": _TEXT,
}  # fmt: skip

Place = tuple[str, str]  # the view and column of a property


WorkOut = Callable[[str, str, Property, int, int, int], tuple[Rows, Sequence[tuple[int, int]]]]
"""At most so many values of a thing's calculated property over [start, end), and the times of which inputs are gone."""


class Known(msgspec.Struct, frozen=True):
    """Who knows a project's things, the properties of each, and what is worked out of others."""

    things: Callable[[str], Sequence[Thing]]
    definitions: Callable[[str, str], Mapping[str, Property]]
    work_out: WorkOut


class Metadata:
    """The metadata of those things of a project that may be seen."""

    def __init__(self, known: Known, project: str, allowed: frozenset[str] | None) -> None:
        self._known = known
        self._project = project
        self._allowed = allowed

    @cached_property
    def _things(self) -> list[Thing]:
        found = self._known.things(self._project)
        return [thing for thing in found if self._allowed is None or thing.name in self._allowed]

    def alike(self) -> Iterator[tuple[str, Mapping[str, Property], list[str]]]:
        """Things of one model that share their definitions: the model, these, and the names of the things."""
        groups: dict[tuple[str, int], tuple[Mapping[str, Property], list[str]]] = {}
        for thing in self._things:
            definitions = self._known.definitions(self._project, thing.name)
            groups.setdefault((thing.model, id(definitions)), (definitions, []))[1].append(thing.name)
        for (model, _), (definitions, things) in groups.items():
            yield model, definitions, things

    def calculated(self) -> Iterator[tuple[str, Property]]:
        """The things' calculated properties, by thing."""
        for _, definitions, things in self.alike():
            made = [one for one in definitions.values() if one.formula]
            yield from ((thing, one) for thing in things for one in made)

    def work_out(
        self, thing: str, definition: Property, bounds: Bounds, limit: int
    ) -> tuple[Rows, Sequence[tuple[int, int]]]:
        """At most so many values of a calculated property, and the times of which some of its inputs are gone."""
        return self._known.work_out(self._project, thing, definition, bounds.start, bounds.end, limit)

    def units(self, sheets: Sheets, ids: Mapping[str, int]) -> tuple[dict[str, Unit | None], str]:
        """The unit and kind of each property, None where things differ, and the sheet of those that do."""
        found: dict[str, dict[Unit, list[str]]] = {}
        for _, definitions, things in self.alike():
            for name, one in definitions.items():
                found.setdefault(name, {}).setdefault((one.unit, str(one.kind)), []).extend(things)
        rows = [
            (ids[thing], name, *unit)
            for name, units in found.items()
            if len(units) > 1
            for unit, things in units.items()
            for thing in things
            if thing in ids
        ]
        kinds = {"id": "INTEGER", "property": _TEXT, "unit": _TEXT, "kind": _TEXT}
        alike = {name: next(iter(units)) if len(units) == 1 else None for name, units in found.items()}
        return alike, sheets.add_rows(kinds, rows)

    def things(self, sheets: Sheets) -> View:
        """The view `things`."""
        rows = [tuple(_cell(getattr(thing, _field(name))) for name in _OF_THING) for thing in self._things]
        stored = {name: _TEXT if kind == _TEXTS else kind for name, kind in _OF_THING.items()}  # lists as JSON
        return things_view(sheets.add_rows(stored, rows))

    def properties(self, sheets: Sheets, places: Mapping[tuple[str, str], Place]) -> View:
        """The view `properties`.

        Args:
            sheets: where its rows go.
            places: where the values of a model's property are.
        """
        members: list[tuple[Any, ...]] = []
        sets: list[tuple[Any, ...]] = []
        for number, (model, definitions, things) in enumerate(self.alike()):
            members += [(name, number) for name in things]
            for name, one in definitions.items():
                values = msgspec.structs.asdict(one)
                place = dict(zip(("view", "column"), places.get((model, name), (None, None)), strict=True))
                row = {field: values[field] for field in _OF_PROPERTY if field in values} | place
                row |= {"property": name, "definition": msgspec.json.encode(one).decode()}
                sets.append((number, *(_cell(row[field]) for field in _OF_PROPERTY)))
        return properties_view(
            sheets.add_rows({"thing": _TEXT, "number": "INTEGER"}, members),
            sheets.add_rows({"number": "INTEGER"} | _OF_PROPERTY, sets),
        )


def things_view(path: str) -> View:
    """The view `things` over its sheet."""
    columns = tuple(Column(name, kind) for name, kind in _OF_THING.items())
    return View(THINGS, columns, f"CREATE VIEW things AS {_select(_OF_THING, path)}")


def properties_view(members: str, sets: str) -> View:
    """The view `properties` over its two sheets."""
    columns = (Column("thing", _TEXT), *(Column(name, kind) for name, kind in _OF_PROPERTY.items()))
    shown = ", ".join(f'p."{name}"' for name in _OF_PROPERTY)
    return View(
        PROPERTIES,
        columns,
        f"CREATE VIEW properties AS SELECT m.thing, {shown} FROM read_parquet('{members}') m "  # noqa: S608 (our own names)
        f"JOIN read_parquet('{sets}') p USING (number)",
    )


def _select(kinds: Mapping[str, str], path: str) -> str:
    shown = [
        f'CAST(CAST("{name}" AS JSON) AS VARCHAR[]) AS "{name}"' if kind == _TEXTS else f'"{name}"'
        for name, kind in kinds.items()
    ]
    return f"SELECT {', '.join(shown)} FROM read_parquet('{path}')"  # noqa: S608 (our own names)


def _cell(value: Any) -> Any:
    if isinstance(value, tuple):
        return msgspec.json.encode(value).decode()
    if isinstance(value, str):
        return str(value) or None
    return value


def _field(column: str) -> str:
    return "name" if column == "thing" else column
