"""The views of a project as SQL: a wide one for each table, `readings` with one row a value, `things`, `properties`.

A row of a wide view is one message of one thing; a value that a later message corrects is null there. `readings` is
what `History.read` says, of all things and properties at once. Helpers are in the schema `hidden`, which a question
cannot name.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from taihu.history.layout import check_column
from taihu.history.sql.sources import (
    Bounds,
    Source,
    joint_spans,
    outside,
    text_expression,
    value_expression,
    value_type,
    within,
)
from taihu.history.sql.text import quote
from taihu.history.store import Part
from taihu.things.batch import FLAG_STAMPED, FLAG_SUSPECT, ROW_BITS
from taihu.things.property import Kind, Quality

READINGS, CALCULATED, ROLLUPS, DELETIONS = "readings", "calculated", "rollups", "deletions"
THINGS, PROPERTIES = "things", "properties"
FIXED = (READINGS, CALCULATED, ROLLUPS, THINGS, PROPERTIES, DELETIONS)
_SYSTEM = {
    "thing": "VARCHAR",
    "observed_at": "TIMESTAMP_NS",
    "received_at": "TIMESTAMP_NS",
    "seq": "BIGINT",
    "quality": "VARCHAR",
}
_READINGS = {
    "thing": "VARCHAR", "property": "VARCHAR", "observed_at": "TIMESTAMP_NS", "received_at": "TIMESTAMP_NS",
    "value": "DOUBLE", "text": "VARCHAR", "quality": "VARCHAR", "unit": "VARCHAR", "kind": "VARCHAR", "seq": "BIGINT",
}  # fmt: skip
_SEQ = f"record << {ROW_BITS} | row AS seq"
_KEY = f"thing, observed_at, CASE WHEN flags & {FLAG_STAMPED} = {FLAG_STAMPED} THEN seq ELSE -1 END"
QUALITY = (
    f"CASE WHEN r.flags & {FLAG_SUSPECT} > 0 THEN '{Quality.SUSPECT}' "
    f"WHEN r.flags & {FLAG_STAMPED} > 0 THEN '{Quality.STAMPED}' ELSE '{Quality.GOOD}' END AS quality"
)
_HEADING = (
    "n.thing, make_timestamp_ns(r.observed_at) AS observed_at, make_timestamp_ns(r.received_at) AS received_at, "
    f"r.seq, {QUALITY}"
)
_NAMED = "JOIN hidden.names n ON n.id = r.thing"

Unit = tuple[str | None, str]  # the unit and kind of a property
Columns = dict[str, tuple[str, str]]  # of a wide view's values: their types and properties


class Column(msgspec.Struct, frozen=True, omit_defaults=True):
    """A column of a view, and the property whose values it holds."""

    name: str
    type: str
    property: str = ""


class View(msgspec.Struct, frozen=True):
    """A view, its columns and the statement that makes it."""

    name: str
    columns: tuple[Column, ...]
    sql: str


def view_names(parts: Iterable[Part]) -> dict[int, str]:
    """The name of each table's view: its model's in lower case with `_`; further tables of a model get a number."""
    names: dict[int, str] = {}
    for part in parts:
        base = re.sub(r"[^a-z0-9]+", "_", part.table.model.lower()).strip("_")[:60] or "untyped"
        if base[0].isdigit():
            base = f"m_{base}"
        name, number = base, 1
        while name in names.values() or name in FIXED:
            number += 1
            name = f"{base}_{number}"
        names[part.table.id] = name
    return names


def wide(name: str, source: Source, bounds: Bounds) -> View:
    """The view of one table."""
    columns = _value_columns(source)
    selects = _wide_rows(source, columns, f"{bounds.condition()} AND {outside(source.spans)}")
    if source.spans and columns and selects:
        met = _wide_rows(source, columns, f"{bounds.condition()} AND {within(source.spans)}")
        selects.append(_current_cells(met, columns))
    selects.append(f"SELECT {_nothing(columns)} WHERE false")
    shown = "".join(f', "{column}"' for column in columns)
    rows = " UNION ALL ".join(selects)
    return View(
        name,
        tuple(Column(column, kind) for column, kind in _SYSTEM.items())
        + tuple(Column(column, kind, of) for column, (kind, of) in columns.items()),
        f'CREATE VIEW "{name}" AS SELECT {_HEADING}{shown} FROM ({rows}) r {_NAMED}',  # noqa: S608 (checked names)
    )


def readings(sources: Sequence[Source], bounds: Bounds, units: Mapping[str, Unit | None]) -> View:
    """The view of all values, one a row.

    Args:
        sources: all tables.
        bounds: what is asked for.
        units: the unit and kind of each property; None where they differ from thing to thing.
    """
    names = sorted({name for source in sources for name in source.part.table.columns})
    selects = []
    for name in names:
        of = [source for source in sources if name in source.part.table.columns]
        rows = " UNION ALL ".join(_values_of(name, of, bounds))
        if rows:
            selects.append(_labelled(name, rows, units.get(name, (None, Kind.GAUGE))))
    nothing = ", ".join(f"CAST(NULL AS {kind})" for kind in _READINGS.values())
    rows = " UNION ALL ".join([*selects, f"SELECT {nothing} WHERE false"])
    columns = tuple(Column(column, kind) for column, kind in _READINGS.items())
    return View(READINGS, columns, f"CREATE VIEW readings({', '.join(_READINGS)}) AS {rows}")


def own_column(column: str) -> str:
    """A property's column in a wide view: that of the files, unless the view has one of that name."""
    return f"{column}_" if column in _SYSTEM else check_column(column)


def _value_columns(source: Source) -> Columns:
    """The columns of a wide view's values: their type and property. Texts among numbers get a column of their own."""
    found: dict[str, tuple[str, str]] = {}
    for name, column in source.part.table.columns.items():
        forms = source.forms(column)
        own = own_column(column)
        found[own] = (value_type(forms), name)
        if f"{column}__text" in forms and found[own][0] != "VARCHAR":
            found[f"{own}__text"] = ("VARCHAR", name)
    return found


def _wide_rows(source: Source, columns: Columns, condition: str) -> list[str]:
    """A SELECT for each group of files."""
    selects = []
    for group in source.groups:
        cells = [
            f'{value_expression(group.forms_of(source.part.table.columns[name]), kind)} AS "{own}"'
            for own, (kind, name) in columns.items()
        ]
        row = ", ".join(["thing, observed_at, received_at", _SEQ, "flags", *cells])
        rows = f"FROM {group.rows(source.part.table.columns)} AND {condition}"
        selects.append(f"SELECT {row} {rows}")
    return selects


def _current_cells(met: Sequence[str], columns: Columns) -> str:
    """Of rows that may meet others: each cell in the newest of those that say anything of its property."""
    current = ", ".join(
        f'CASE WHEN seq = max(CASE WHEN {_held(columns, of)} THEN seq END) OVER k THEN "{column}" END AS "{column}"'
        for column, (_, of) in columns.items()
    )
    said = " OR ".join(f'"{column}" IS NOT NULL' for column in columns)
    return (
        f"SELECT * FROM (SELECT thing, observed_at, received_at, seq, flags, {current} "  # noqa: S608 (checked names)
        f"FROM ({' UNION ALL '.join(met)}) WINDOW k AS (PARTITION BY {_KEY})) WHERE {said}"
    )


def _held(columns: Columns, name: str) -> str:
    """SQL that says whether a row says anything of a property."""
    return " OR ".join(f'"{column}" IS NOT NULL' for column, (_, of) in columns.items() if of == name)


def _values_of(name: str, of: Sequence[Source], bounds: Bounds) -> list[str]:
    """SELECTs of one property's values: those that meet no other, and the current ones of those that do."""
    spans = joint_spans(of)
    plain, met = [], []
    for source in of:
        for group in source.groups:
            forms = group.forms_of(source.part.table.columns[name])
            if not forms:
                continue
            cell = f"{value_expression(forms, 'DOUBLE')} AS value, {text_expression(forms)} AS text"
            row = f"SELECT thing, observed_at, received_at, {_SEQ}, flags, {cell}"
            rows = f"FROM {group.values(name, source.part.table.columns[name])} AND {bounds.condition()}"
            plain.append(f"{row} {rows} AND {outside(spans)}")
            met.append(f"{row}, {_identity(forms)} AS said {rows} AND {within(spans)}")
    if not spans or not met:
        return plain
    # As `resolve`: what repeats the value before it is the same reading again; of the others the last counts.
    again = f"said IS NOT DISTINCT FROM lag(said) OVER (PARTITION BY {_KEY} ORDER BY seq)"
    fresh = f"SELECT * FROM ({' UNION ALL '.join(met)}) QUALIFY NOT ({again})"  # noqa: S608
    last = f"row_number() OVER (PARTITION BY {_KEY} ORDER BY seq DESC) = 1"
    return [*plain, f"SELECT * EXCLUDE (said) FROM ({fresh}) QUALIFY {last}"]  # noqa: S608


def _identity(forms: Sequence[str]) -> str:
    """A cell as text that is equal where the cells are, in value and in form."""
    terms = []
    for ending, mark in (("__int", "i"), ("__bool", "b"), ("__text", "t")):
        terms += [f"'{mark}' || \"{check_column(form)}\"" for form in forms if form.endswith(ending)]
    number = [form for form in forms if not form.endswith(("__int", "__bool", "__text"))]
    if number:
        terms.append(f"'n' || CAST({value_expression(number, 'DOUBLE')} AS VARCHAR)")
    return f"coalesce({', '.join(terms)})" if len(terms) > 1 else terms[0]


def _labelled(name: str, rows: str, unit: Unit | None) -> str:
    """The values of one property with their names, units and kinds."""
    own = quote(name)
    if unit is not None:
        code, kind = unit
        label = f"{'CAST(NULL AS VARCHAR)' if code is None else quote(code)}, {quote(kind)}"
        known = ""
    else:
        label, known = "u.unit, u.kind", f"LEFT JOIN hidden.units u ON u.id = r.thing AND u.property = {own}"
    return (
        "SELECT n.thing, "  # noqa: S608 (quoted or checked)
        f"{own}, make_timestamp_ns(r.observed_at), make_timestamp_ns(r.received_at), r.value, r.text, "
        f"{QUALITY.removesuffix(' AS quality')}, {label}, r.seq FROM ({rows}) r {_NAMED} {known}"
    )


def _nothing(columns: Columns) -> str:
    """A row of nulls that tells the names and types of a wide view's rows."""
    kinds = {"thing": "INTEGER", "observed_at": "BIGINT", "received_at": "BIGINT", "seq": "BIGINT", "flags": "TINYINT"}
    kinds |= {column: kind for column, (kind, _) in columns.items()}
    return ", ".join(f'CAST(NULL AS {kind}) AS "{name}"' for name, kind in kinds.items())
