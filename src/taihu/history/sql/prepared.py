"""Everything a question needs of a project: the statements that make its views, and the sheets they read.

It holds a snapshot: no reading is in it twice and none is missing, whatever is flushed or merged meanwhile.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace

import numpy as np

from taihu.history.catalog import ROLLUP
from taihu.history.frame import concat
from taihu.history.layout import SYSTEM_COLUMNS, encode
from taihu.history.manifest import Rolled, RolledKey
from taihu.history.sql import views
from taihu.history.sql.calculated import calculated_sheets, calculated_view
from taihu.history.sql.deleted import deletions_sheet, deletions_view
from taihu.history.sql.metadata import Known, Metadata, Place, properties_view, things_view
from taihu.history.sql.rollups import reach_table, rolled_now, rollups_of, rollups_view
from taihu.history.sql.sheets import Sheets
from taihu.history.sql.sources import Bounds, Group, source_of, sources
from taihu.history.sql.views import CALCULATED, DELETIONS, FIXED, PROPERTIES, READINGS, ROLLUPS, THINGS, View
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
        return [*views.view_names(parts).values(), *FIXED]


def described(store: Store, project: str) -> list[View]:
    """The views a project has, with their columns."""
    bounds = Bounds()
    fixed = [
        calculated_view("", ""),
        rollups_view([], bounds),
        things_view(""),
        properties_view("", ""),
        deletions_view(""),
    ]
    with store.snapshot(project) as parts:
        names = views.view_names(parts)
        tables = sources(store, project, parts, {}, bounds)
        found = [views.wide(names[source.part.table.id], source, bounds) for source in tables]
    return [*found, views.readings([], bounds, {}), *fixed]


@contextmanager
def prepared(
    store: Store, known: Known, project: str, used: set[str], bounds: Bounds, rows_max: int
) -> Iterator[Prepared]:
    """What the views `used` need; the files stay as they are while it is open.

    LimitError when the view `calculated` would have more than `rows_max` values.
    """
    with ExitStack() as stack:
        cursor = stack.enter_context(closing(store.cursor()))
        sheets = stack.enter_context(closing(Sheets(cursor)))
        if ROLLUPS in used:
            with store.writing():  # how far they reach and what they hold, of one moment
                parts = stack.enter_context(store.snapshot(project, rollups=True))
                rolled = rolled_now(store, project, parts)
        else:
            parts, rolled = stack.enter_context(store.snapshot(project)), {}
        metadata = Metadata(known, project, bounds.things)
        statements = []
        if CALCULATED in used:
            statements.append(calculated_view(*calculated_sheets(metadata, bounds, sheets, rows_max)).sql)
        ready = _prepare(store, metadata, project, used, bounds, parts, rolled, sheets)
        yield replace(ready, statements=(*ready.statements, *statements))


def _prepare(
    store: Store,
    metadata: Metadata,
    project: str,
    used: set[str],
    bounds: Bounds,
    parts: list[Part],
    rolled: Mapping[RolledKey, Rolled],
    sheets: Sheets,
) -> Prepared:
    tables = [part for part in parts if not part.table.model.startswith(ROLLUP)]
    names, ids = views.view_names(tables), store.catalog.ids(project)
    wanted = [part for part in tables if READINGS in used or names[part.table.id] in used]
    heads = {part.table.id: head for part in wanted if (head := _head(part, sheets, bounds))}
    found = sources(store, project, wanted, heads, bounds)
    stored = [source_of(store, part, bounds) for part in parts if part not in tables]
    statements = ["CREATE SCHEMA hidden", _names(store, project, bounds, sheets)]
    for source in found:
        if names[source.part.table.id] in used:
            statements.append(views.wide(names[source.part.table.id], source, bounds).sql)
    if READINGS in used:
        units, mixed = metadata.units(sheets, ids)
        statements.append(f"CREATE TABLE hidden.units AS FROM read_parquet('{mixed}')")
        statements.append(views.readings(found, bounds, units).sql)
    if ROLLUPS in used:
        valid = rollups_of(metadata, rolled, stored, ids)
        statements += [reach_table(valid, sheets), rollups_view(valid, bounds).sql]
    if THINGS in used:
        statements.append(metadata.things(sheets).sql)
    if PROPERTIES in used:
        statements.append(metadata.properties(sheets, _places(tables, names)).sql)
    if DELETIONS in used:
        statements.append(deletions_view(deletions_sheet(store.deletions(), project, bounds, sheets)).sql)
    paths = [path for source in (*found, *stored) for group in source.groups for path in group.paths]
    return Prepared(tuple(statements), tuple(sheets.descriptors), tuple(paths))


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
