"""Compaction: small files of a table become few large ones, so that queries open little and bytes are few.

Files climb levels: FAN_IN files of one level, in the order of their times, become one of the next, so that a row is
written again a few times only. No row is dropped but what is gone (`gone`); merged readings are the same readings.
DuckDB sorts the rows into a passing file, which `repack` writes again in less.
"""

from collections.abc import Sequence
from typing import Any

import duckdb

from taihu.history.delta import publish
from taihu.history.gone import visible_rows
from taihu.history.layout import (
    REST_SHARE,
    SYSTEM_COLUMNS,
    check_column,
    form_base,
    is_float,
    places_of,
    present_expression,
)
from taihu.history.manifest import DataFile, Table
from taihu.history.repack import repack
from taihu.history.store import Store
from taihu.things.batch import FLAG_STAMPED

FAN_IN = 8
ROWS_MAX = 4_000_000  # a file's rows, and so what one step holds in memory
LEVEL_ZSTD = 1  # of the passing file


def compact(store: Store, now_ns: int, *, everything: bool = False) -> bool:
    """Merge one group of files, if there is one that is due; True when one was. One thread at a time calls this.

    Args:
        store: where.
        now_ns: the time to note in the Delta log.
        everything: merge all that fits into one file, due or not.
    """
    for table in store.catalog.tables():
        group = _everything(table) if everything else _due(table)
        if group:
            store.replace(group, merged(store, table, group))
            try:
                publish(store, table, now_ns)
            finally:
                store.discard(group)
            return True
    return False


def _due(table: Table) -> tuple[DataFile, ...]:
    """FAN_IN or more files of one level, oldest first; empty when no level has as many."""
    for level in sorted({file.level for file in table.files}):
        files = [file for file in table.files if file.level == level and file.rows * FAN_IN <= ROWS_MAX * 4]
        if len(files) >= FAN_IN:
            return _fitting(files)
    return ()


def _everything(table: Table) -> tuple[DataFile, ...]:
    files = _fitting([file for file in table.files if file.rows * 2 <= ROWS_MAX])
    return files if len(files) > 1 else ()


def _fitting(files: Sequence[DataFile]) -> tuple[DataFile, ...]:
    """As many of the oldest files as one file may have rows."""
    taken: list[DataFile] = []
    rows = 0
    for file in sorted(files, key=lambda file: file.observed_min):
        rows += file.rows
        if rows > ROWS_MAX and len(taken) > 1:
            break
        taken.append(file)
    return tuple(taken)


def merged(store: Store, table: Table, group: Sequence[DataFile]) -> tuple[DataFile, ...]:
    """One file with the rows of a group, or none when all of them are gone."""
    paths = [str(store.folder / file.path) for file in group]
    gone, forms_of = store.gone_of(table, group), forms_by_property(table, group)
    file_id, path = store.new_path(table)
    _, passing = store.new_path(table)
    cursor = store.cursor()
    try:
        select = _select(cursor, paths, group)
        source = visible_rows(gone, forms_of, "read_parquet(?, union_by_name = true)")
        statement = _statement(select, source, forms_of, group)
        try:
            store.copy(cursor, passing, statement, [paths], LEVEL_ZSTD)
            about, forms = _about_group(group), tuple(select)
            if gone:
                about, forms = _about(cursor, str(store.folder / passing), forms)
                if not about["rows"]:
                    return ()
            size, crc32 = repack(store, cursor, passing, path, forms, about["rows"])
        finally:
            store.files.remove(store.folder / passing)
        late = _late(cursor, store, table, group, path)
    finally:
        cursor.close()
    file = DataFile(
        id=file_id,
        table_id=table.id,
        path=path,
        level=max(file.level for file in group) + (len(group) > 1),
        bytes=size,
        shapes=2 if _ragged(group) or any(one.property for one in gone) else 1,
        late_min=late[0],
        late_max=late[1],
        forms=forms,
        crc32=crc32,
        **about,
    )
    return (file,)


def forms_by_property(table: Table, group: Sequence[DataFile]) -> dict[str, list[str]]:
    """The columns that each property has in some file of a group."""
    forms: dict[str, list[str]] = {}
    for form in sorted({form for file in group for form in file.forms}):
        forms.setdefault(form_base(form), []).append(form)
    return {name: forms[base] for name, base in table.columns.items() if base in forms}


def _about_group(group: Sequence[DataFile]) -> dict[str, Any]:
    """What the manifest says of all rows of a group together."""
    return {
        "rows": sum(file.rows for file in group),
        "observed_min": min(file.observed_min for file in group),
        "observed_max": max(file.observed_max for file in group),
        "thing_min": min(file.thing_min for file in group),
        "thing_max": max(file.thing_max for file in group),
        "record_max": max(file.record_max for file in group),
    }


def _about(
    cursor: duckdb.DuckDBPyConnection, path: str, forms: tuple[str, ...]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The same of a file's rows, from the file, and those of its property columns that hold anything."""
    columns = {
        "rows": "count(*)",
        "observed_min": "min(observed_at)",
        "observed_max": "max(observed_at)",
        "thing_min": "min(thing)",
        "thing_max": "max(thing)",
        "record_max": "max(record)",
    }
    counts = [f'count("{check_column(form)}")' for form in forms]
    statement = f"SELECT {', '.join([*columns.values(), *counts])} FROM read_parquet(?)"  # noqa: S608 (checked names)
    row = cursor.execute(statement, [path]).fetchone()
    assert row is not None  # an aggregate without GROUP BY has a row
    held = tuple(form for form, count in zip(forms, row[len(columns) :], strict=True) if count)
    return dict(zip(columns, row, strict=False)), held


def _ragged(group: Sequence[DataFile]) -> bool:
    """Whether a row may be silent on a property that another row has."""
    properties = {frozenset(map(form_base, file.forms)) for file in group}
    return len(properties) > 1 or any(file.shapes > 1 for file in group)


def _statement(select: dict[str, str], source: str, forms_of: dict[str, list[str]], group: Sequence[DataFile]) -> str:
    columns = ", ".join([*SYSTEM_COLUMNS, *(f'{expression} AS "{name}"' for name, expression in select.items())])
    order = "thing, observed_at, record, row"
    if _ragged(group):
        bits = [
            f"(CASE WHEN {present_expression(forms)} THEN {1 << bit} ELSE 0 END)"
            for bit, forms in enumerate(forms_of.values())
        ]
        order = f"thing, {' + '.join(bits)}, observed_at, record, row"
    # Column names passed `check_column`; the paths are bound.
    return f"SELECT {columns} FROM {source} ORDER BY {order}"  # noqa: S608


def _select(cursor: duckdb.DuckDBPyConnection, paths: list[str], group: Sequence[DataFile]) -> dict[str, str]:
    """The merged file's property columns; floats of several forms come together in the one that suits most."""
    forms = sorted({form for file in group for form in file.forms})
    floats: dict[str, list[str]] = {}
    select: dict[str, str] = {}
    for form in forms:
        if is_float(form):
            floats.setdefault(form_base(form), []).append(form)
        else:
            select[form] = f'"{check_column(form)}"'
    for base, own in floats.items():
        if len(own) == 1:
            select[own[0]] = f'"{check_column(own[0])}"'
        else:
            select |= _united(cursor, paths, base, own)
    return dict(sorted(select.items()))


def _united(cursor: duckdb.DuckDBPyConnection, paths: list[str], base: str, forms: list[str]) -> dict[str, str]:
    """One DECIMAL form for all values but at most one in REST_SHARE; the rest as DOUBLE."""
    counts = ", ".join(f'count("{check_column(form)}")' for form in forms)
    statement = f"SELECT {counts} FROM read_parquet(?, union_by_name = true)"  # noqa: S608 (checked names)
    row = cursor.execute(statement, [paths]).fetchone()
    assert row is not None  # an aggregate without GROUP BY has a row
    number = dict(zip(forms, row, strict=True))
    decimals = sorted((form for form in forms if form != base), key=places_of)
    rest = number.get(base, 0)
    while len(decimals) > 1 and (rest + number[decimals[-1]]) * REST_SHARE <= sum(row):
        rest += number[decimals.pop()]
    target = decimals[-1]
    places = places_of(target)
    # Below this bound a value keeps its double when it gets more places: both integers are exact.
    bound = 9e15 / 10**places
    fine, coarse = [], [f'"{base}"'] if base in forms else []
    for form in forms:
        quoted = f'"{check_column(form)}"'
        if form in decimals:
            small = f"abs(CAST({quoted} AS DOUBLE)) < {bound!r}"
            fine.append(
                f"CASE WHEN {small} THEN CAST({quoted} AS DECIMAL(18, {places})) END" if form != target else quoted
            )
            if form != target:
                coarse.append(f"CASE WHEN NOT {small} THEN CAST({quoted} AS DOUBLE) END")
        elif form != base:
            coarse.append(f"CAST({quoted} AS DOUBLE)")
    select = {target: f"coalesce({', '.join(fine)})"}
    if coarse:
        select[base] = f"coalesce({', '.join(coarse)})"
    return select


def _late(
    cursor: duckdb.DuckDBPyConnection, store: Store, table: Table, group: Sequence[DataFile], path: str
) -> tuple[int | None, int | None]:
    """The span of late rows, narrowed to where keys do repeat when no other file can hold their older rows."""
    lows = [file.late_min for file in group if file.late_min is not None]
    highs = [file.late_max for file in group if file.late_max is not None]
    if not lows:
        return None, None
    low, high = min(lows), max(highs)
    merged = {file.id for file in group}
    others = [file for other in store.catalog.tables(table.project) for file in other.files if file.id not in merged]
    if any(file.observed_min <= high and file.observed_max >= low for file in others):
        return low, high
    found: Any = cursor.execute(
        "SELECT min(observed_at), max(observed_at) FROM (SELECT thing, observed_at FROM read_parquet(?) "
        "WHERE observed_at BETWEEN ? AND ? AND flags & ? = 0 GROUP BY thing, observed_at HAVING count(*) > 1)",
        [str(store.folder / path), low, high, FLAG_STAMPED],
    ).fetchone()
    return found[0], found[1]
