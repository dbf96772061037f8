"""Answers in SQL as an Arrow IPC stream, made of the lines of JSON in which they come from the process that asks.

A type that Arrow shares with SQL stays what it is: booleans, integers to 64 bits, floats, timestamps (ns, UTC).
Decimals and wider integers become floats; all else, such as dates, is the text that JSON has of it.
"""

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import msgspec
import nanoarrow as na
import numpy as np
from nanoarrow.ipc import StreamWriter

from taihu.history.sql.outputs import unique_names

_LINES = 20_000  # of a record batch: what is in memory as objects at once
_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_FLOATS = ("FLOAT", "DOUBLE", "HUGEINT", "UHUGEINT", "UBIGINT")
_TIME_MIN = -(1 << 63)  # NumPy's "not a time"
_encode = msgspec.json.Encoder().encode


def arrow_stream(columns: Sequence[tuple[str, str]], lines: bytes) -> bytes:
    """The stream of an answer: a JSON array a line; names that are there twice get a number."""
    names = unique_names([name for name, _ in columns])
    kinds = [_kind(kind) for _, kind in columns]
    schema = na.struct(dict(zip(names, kinds, strict=True)))
    out = BytesIO()
    with StreamWriter.from_writable(out) as writer:
        for rows in _batches(lines):
            cells = zip(*rows, strict=True) if rows else [()] * len(columns)
            children = [_column(kind, list(column)) for kind, column in zip(kinds, cells, strict=True)]
            writer.write_array(na.c_array_from_buffers(schema, len(rows), [None], children=children, null_count=0))
    return out.getvalue()


def _batches(lines: bytes) -> Iterator[list[list[Any]]]:
    """The rows, so many at a time; one batch without a row where there are none."""
    source = BytesIO(lines)
    while rows := [msgspec.json.decode(line) for line, _ in zip(source, range(_LINES), strict=False)]:
        yield rows
        if len(rows) < _LINES:
            return
    if not lines:
        yield []


def _kind(sql: str) -> Any:
    if sql == "BOOLEAN":
        return na.bool_()
    if sql in _INTEGERS:
        return na.int64()
    if sql in _FLOATS or (sql.startswith("DECIMAL") and "[" not in sql):
        return na.float64()
    if sql.startswith("TIMESTAMP") and "[" not in sql:
        return na.timestamp("ns", "UTC")
    return na.string()


def _column(kind: Any, cells: list[Any]) -> Any:
    if kind.type == na.Type.STRING:
        cells = [cell if cell is None or isinstance(cell, str) else _encode(cell).decode() for cell in cells]
    elif kind.type == na.Type.TIMESTAMP:
        cells = _moments(cells)
    return na.c_array(cells, kind)


def _moments(cells: list[Any]) -> list[int | None]:
    """UTC nanoseconds of ISO 8601 in UTC; None also for infinity and what 64 bits do not hold."""
    texts = ["NaT" if cell is None or "infinity" in cell or "BC" in cell else cell.split("+")[0] for cell in cells]
    times = np.array(texts, "datetime64[us]").astype("datetime64[s]").astype(np.int64)
    held = np.abs(times) < 9_223_372_036
    exact = np.array(
        [text if good else "NaT" for text, good in zip(texts, held.tolist(), strict=True)], "datetime64[ns]"
    )
    return [None if ns == _TIME_MIN else ns for ns in exact.astype(np.int64).tolist()]
