"""A merged file as it stays: the rows that DuckDB sorted into a passing file, a row group at a time, packed tighter."""

from typing import Any

import duckdb

from taihu.history.layout import SYSTEM_COLUMNS, check_column, is_float, places_of
from taihu.history.parquet import Field, ParquetWriter
from taihu.history.store import Store

ROW_GROUP = 61_440  # what one query of a short range reads at least
_SYSTEM_KINDS = dict(zip(SYSTEM_COLUMNS, ("int32", "int64", "int64", "int64", "int32", "int8"), strict=True))


def repack(
    store: Store, cursor: duckdb.DuckDBPyConnection, source: str, target: str, forms: tuple[str, ...], rows: int
) -> int:
    """Write the rows of one file into another, synced, and return its bytes. OSError when the disk is full."""
    fields = [Field(name, kind) for name, kind in _SYSTEM_KINDS.items()] + [_field(form) for form in forms]
    columns = ", ".join(map(_expression, fields))
    # Column names passed `check_column`; all else is bound.
    statement = f"SELECT {columns} FROM read_parquet(?, file_row_number = true) WHERE file_row_number BETWEEN ? AND ?"  # noqa: S608
    path = store.folder / target
    file = store.files.append(path)
    try:
        writer = ParquetWriter(file, fields)
        for first in range(0, rows, ROW_GROUP):
            found: Any = cursor.execute(
                statement, [str(store.folder / source), first, first + ROW_GROUP - 1]
            ).fetchnumpy()
            writer.add([found[field.name] for field in fields])
        writer.close()
    except BaseException:
        store.files.remove(path)
        raise
    finally:
        file.close()
    store.files.sync(path)
    return store.files.size(path)


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
