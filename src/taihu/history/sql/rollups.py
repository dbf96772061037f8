"""The view `rollups`: windows of a minute, an hour and a day, as far as they are stored and still hold.

They are stored where they pay, as `history.rollup` says, and a late reading voids those it reaches. The view has no
other windows, and each of them once: what is not in it is told by the readings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from taihu.history.catalog import ROLLUP
from taihu.history.layout import number_expression
from taihu.history.manifest import Rolled, RolledKey
from taihu.history.rollup import STEPS_NS, rule_of
from taihu.history.sql.metadata import Metadata
from taihu.history.sql.sheets import Sheets
from taihu.history.sql.sources import Bounds, Source
from taihu.history.sql.text import quote
from taihu.history.sql.views import ROLLUPS, Column, View
from taihu.history.store import Part, Store
from taihu.things.batch import ROW_BITS

_COLUMNS = {
    "thing": "VARCHAR", "property": "VARCHAR", "step": "VARCHAR", "start": "TIMESTAMP_NS", "end": "TIMESTAMP_NS",
    "coverage": "DOUBLE", "count": "BIGINT", "minimum": "DOUBLE", "maximum": "DOUBLE", "mean": "DOUBLE",
    "last": "DOUBLE", "time_mean": "DOUBLE", "increase": "DOUBLE", "sum": "DOUBLE",
}  # fmt: skip
# What the view says, of what is stored: the fields of `history.windows`.
_VALUES = {
    "count": "CAST({count} AS BIGINT)",
    "minimum": "{minimum}",
    "maximum": "{maximum}",
    "mean": "CASE WHEN {count} > 0 THEN greatest({minimum}, least({maximum}, {total} / {count})) END",
    "last": "{last}",
    "time_mean": "{weighted} / {covered}",
    "increase": "{increase}",
    "sum": "{amount}",
}
_FIELDS = ("covered", "count", "minimum", "maximum", "last", "total", "weighted", "increase", "amount")


@dataclass(frozen=True, slots=True)
class Rollup:
    """One property's windows of one step, and up to when they hold of each thing (by number)."""

    name: str
    step: str
    source: Source
    until: Mapping[int, int]


def rolled_now(store: Store, project: str, parts: Sequence[Part]) -> dict[RolledKey, Rolled]:
    """How far each rollup reaches, with what the head brought late; call it while no writer is at work."""
    frames = [frame.take(frame.thing.argsort(kind="stable")) for part in parts for frame in part.frames]
    late = store.catalog.overtaken((project, frame) for frame in frames)
    rolled = store.catalog.rolled | {(one.project, one.property, one.rule, one.step): one for one in late}
    return {key: one for key, one in rolled.items() if one.project == project}


def rollups_of(
    metadata: Metadata, rolled: Mapping[RolledKey, Rolled], stored: Sequence[Source], ids: Mapping[str, int]
) -> list[Rollup]:
    """The rollups that hold, by the definitions that things have now.

    Args:
        metadata: of the things that may be seen.
        rolled: how far each reaches.
        stored: the tables of rollups.
        ids: the numbers of things.
    """
    until: dict[tuple[str, str], dict[int, int]] = {}  # by property and step
    rules = {(one.property, one.step, one.rule): one for one in rolled.values()}
    for _, definitions, things in metadata.alike():
        numbers = [ids[thing] for thing in things if thing in ids]
        for name, definition in definitions.items():
            rule = rule_of(definition, definition.swaps)
            for step in STEPS_NS:
                if one := rules.get((name, step, rule)):
                    holds = {number: one.late.get(number, one.until) for number in numbers}
                    until.setdefault((name, step), {}).update(holds)
    return [
        Rollup(name, step, source, holds)
        for source in stored
        for (name, step), holds in until.items()
        if source.part.table.model == ROLLUP + step and f"{name}/covered" in source.part.table.columns
    ]


def reach_table(found: Sequence[Rollup], sheets: Sheets) -> str:
    """The table that says up to when each rollup holds."""
    rows = [(number, one.name, one.step, until) for one in found for number, until in one.until.items()]
    kinds = {"id": "INTEGER", "property": "VARCHAR", "step": "VARCHAR", "until": "BIGINT"}
    return f"CREATE TABLE hidden.reach AS FROM read_parquet('{sheets.add_rows(kinds, rows)}')"


def rollups_view(found: Sequence[Rollup], bounds: Bounds) -> View:
    """The view over rollups."""
    selects = [windows for one in found if (windows := _windows(one, bounds))]
    selects.append(f"SELECT {', '.join(f'CAST(NULL AS {kind})' for kind in _COLUMNS.values())} WHERE false")
    names = ", ".join(f'"{name}"' for name in _COLUMNS)
    columns = tuple(Column(name, kind) for name, kind in _COLUMNS.items())
    return View(ROLLUPS, columns, f"CREATE VIEW rollups({names}) AS {' UNION ALL '.join(selects)}")


def _windows(one: Rollup, bounds: Bounds) -> str:
    """The windows of one rollup; one that was rolled again supersedes what it was. Empty without a file."""
    columns, length = one.source.part.table.columns, STEPS_NS[one.step]
    stored = {field: columns[f"{one.name}/{field}"] for field in _FIELDS if f"{one.name}/{field}" in columns}
    # A file holds the windows of one property.
    groups = [group for group in one.source.groups if group.forms_of(stored["covered"])]
    if not groups:
        return ""
    rows = " UNION ALL ".join(
        f"SELECT thing, observed_at, record << {ROW_BITS} | row AS seq, "  # noqa: S608 (checked names)
        + ", ".join(f"{number_expression(group.forms_of(column))} AS {field}" for field, column in stored.items())
        + f" FROM {group.values(f'{one.name}/covered', stored['covered'])} AND {bounds.condition()}"
        for group in groups
    )
    newest = ", ".join(f"arg_max_null({field}, seq) AS {field}" for field in stored)
    fields = {field: f"r.{field}" if field in stored else "CAST(NULL AS DOUBLE)" for field in _FIELDS}
    values = ", ".join(value.format(**fields) for value in _VALUES.values())
    return (
        f"SELECT n.thing, {quote(one.name)}, '{one.step}', make_timestamp_ns(r.observed_at), "  # noqa: S608 (quoted)
        f"make_timestamp_ns(r.observed_at + {length}), r.covered / {length}, {values} "
        f"FROM (SELECT thing, observed_at, {newest} FROM ({rows}) GROUP BY thing, observed_at) r "
        f"JOIN hidden.reach v ON v.id = r.thing AND v.property = {quote(one.name)} AND v.step = '{one.step}' "
        f"AND r.observed_at + {length} <= v.until JOIN hidden.names n ON n.id = r.thing"
    )
