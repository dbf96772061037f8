"""Everything a question needs of a project: the statements that make its views, and the sheets they read.

It holds a snapshot: no reading is in it twice and none is missing, whatever is flushed or merged meanwhile.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from taihu.history.frame import concat
from taihu.history.layout import SYSTEM_COLUMNS, encode
from taihu.history.sql import views
from taihu.history.sql.metadata import Known, Metadata, Place, properties_view, things_view
from taihu.history.sql.sheets import Sheets
from taihu.history.sql.sources import Bounds, Group, sources
from taihu.history.sql.views import PROPERTIES, READINGS, THINGS, View
from taihu.history.store import Part, Store


@dataclass(frozen=True, slots=True)
class Prepared:
    """`statements` make the views, in this order; they read files at `paths`, some of them `descriptors` of sheets."""

    statements: tuple[str, ...]
    descriptors: tuple[int, ...]
    paths: tuple[str, ...]


def names_of(store: Store, project: str) -> list[str]:
    """The views a project has."""
    with store.snapshot(project) as parts:
        return [*views.view_names(parts).values(), READINGS, THINGS, PROPERTIES]


def described(store: Store, project: str) -> list[View]:
    """The views a project has, with their columns."""
    bounds = Bounds()
    with store.snapshot(project) as parts:
        names = views.view_names(parts)
        found = [
            views.wide(names[one.part.table.id], one, bounds) for one in sources(store, project, parts, {}, bounds)
        ]
    return [*found, views.readings([], bounds, {}), things_view(""), properties_view("", "")]


@contextmanager
def prepared(store: Store, known: Known, project: str, used: set[str], bounds: Bounds) -> Iterator[Prepared]:
    """What the views `used` need; the files stay as they are while it is open."""
    cursor = store.cursor()
    sheets = Sheets(cursor)
    try:
        with store.snapshot(project) as parts:
            names = views.view_names(parts)
            wanted = [part for part in parts if READINGS in used or names[part.table.id] in used]
            heads = {part.table.id: head for part in wanted if (head := _head(part, sheets, bounds))}
            found = sources(store, project, wanted, heads, bounds)
            statements = ["CREATE SCHEMA hidden", _names(store, project, bounds, sheets)]
            for source in found:
                if names[source.part.table.id] in used:
                    statements.append(views.wide(names[source.part.table.id], source, bounds).sql)
            if used & {READINGS, THINGS, PROPERTIES}:
                metadata = Metadata(known, project, bounds.things)
                if READINGS in used:
                    units, mixed = metadata.units(sheets, store.catalog.ids(project))
                    statements.append(f"CREATE TABLE hidden.units AS FROM read_parquet('{mixed}')")
                    statements.append(views.readings(found, bounds, units).sql)
                if THINGS in used:
                    statements.append(metadata.things(sheets).sql)
                if PROPERTIES in used:
                    statements.append(metadata.properties(sheets, _places(parts, names)).sql)
            paths = [path for source in found for group in source.groups for path in group.paths]
            yield Prepared(tuple(statements), tuple(sheets.descriptors), tuple(paths))
    finally:
        sheets.close()
        cursor.close()


def _head(part: Part, sheets: Sheets, bounds: Bounds) -> Group | None:
    """The rows of a table that are in no file, as a sheet laid out like one."""
    frame = concat(part.frames)
    inside = (frame.observed >= bounds.start) & (frame.observed < bounds.end)
    if not inside.any():
        return None
    arrays, select = encode(frame if inside.all() else frame.take(inside), part.table.columns)
    return Group((sheets.add(arrays, select),), tuple(name for name in select if name not in SYSTEM_COLUMNS))


def _names(store: Store, project: str, bounds: Bounds, sheets: Sheets) -> str:
    """The table of the things' numbers and names. Only those in it can be seen in any view."""
    shown = [
        (number, name)
        for number, name in enumerate(list(store.catalog.names(project)))
        if bounds.things is None or name in bounds.things
    ]
    path = sheets.add(
        {
            "id": np.array([number for number, _ in shown], np.int32),
            "thing": np.array([name for _, name in shown], np.object_),
        },
        {"id": "id", "thing": "CAST(thing AS VARCHAR)"},
    )
    return f"CREATE TABLE hidden.names AS FROM read_parquet('{path}')"


def _places(parts: list[Part], names: Mapping[int, str]) -> dict[tuple[str, str], Place]:
    return {
        (part.table.model, name): (names[part.table.id], views.own_column(column))
        for part in parts
        for name, column in part.table.columns.items()
    }
