"""A merged file as it stays: the rows that DuckDB sorted into a passing file, a row group at a time, packed tighter."""

from contextlib import closing
from typing import Any

import duckdb

from taihu.history.layout import SYSTEM_COLUMNS, check_column, is_float, places_of
from taihu.history.parquet import Field, ParquetWriter
from taihu.history.store import Store

ROW_GROUP = 61_440  # what one query of a short range reads at least
_TEXT_BYTES = 16 << 20  # about as much text is in memory at once
_ROW_GROUP_MIN = 1_024
_SYSTEM_KINDS = dict(zip(SYSTEM_COLUMNS, ("int32", "int64", "int64", "int64", "int32", "int8"), strict=True))


def repack(
    store: Store, cursor: duckdb.DuckDBPyConnection, source: str, target: str, forms: tuple[str, ...], rows: int
) -> tuple[int, int]:
    """Write the rows of one file into another, synced; returns its bytes and CRC-32. OSError when the disk is full."""
    fields = [Field(name, kind) for name, kind in _SYSTEM_KINDS.items()] + [_field(form) for form in forms]
    columns = ", ".join(map(_expression, fields))
    # Column names passed `check_column`; all else is bound.
    statement = f"SELECT {columns} FROM read_parquet(?, file_row_number = true) WHERE file_row_number BETWEEN ? AND ?"  # noqa: S608
    step = _rows_at_once(cursor, str(store.folder / source), fields, rows)
    path = store.folder / target
    try:
        with closing(store.files.append(path)) as file:
            writer = ParquetWriter(file, fields)
            for first in range(0, rows, step):
                place = [str(store.folder / source), first, first + step - 1]
                found: Any = cursor.execute(statement, place).fetchnumpy()
                writer.add([found[field.name] for field in fields])
            writer.close()
        store.files.sync(path)
    except BaseException:
        store.files.remove(path)
        raise
    return store.files.size(path), writer.crc32


def _rows_at_once(cursor: duckdb.DuckDBPyConnection, source: str, fields: list[Field], rows: int) -> int:
    """A row group, or fewer rows where they hold long texts."""
    texts = [f'coalesce(sum(strlen("{check_column(field.name)}")), 0)' for field in fields if field.kind == "text"]
    if not texts:
        return ROW_GROUP
    row = cursor.execute(f"SELECT {' + '.join(texts)} FROM read_parquet(?)", [source]).fetchone()  # noqa: S608 (checked names)
    assert row is not None  # an aggregate without GROUP BY has a row
    return max(_ROW_GROUP_MIN, min(ROW_GROUP, rows * _TEXT_BYTES // max(int(row[0]), 1)))


def _field(form: str) -> Field:
    for ending, kind in (("__int", "int64"), ("__bool", "bool"), ("__text", "text")):
        if form.endswith(ending):
            return Field(form, kind)
    if is_float(form) and "__d" in form[-4:]:
        return Field(form, "decimal", places_of(form))
    return Field(form, "double")


def _expression(field: Field) -> str:
    name = f'"{check_column(field.name)}"'
    if field.kind != "decimal":
        return name
    # As an integer; 38 digits hold the product.
    return f"CAST(CAST({name} AS DECIMAL(38, {field.places})) * {10**field.places} AS BIGINT) AS {name}"
