"""Rows of the metadata store by the names of their columns: names are our own, and values are never part of the SQL.

A key is what some columns have; None there is no value, as in the rows. An empty one is any row's.
"""

from collections.abc import Mapping, Sequence
from sqlite3 import Connection, Cursor
from typing import Any


def select(connection: Connection, what: str, key: Mapping[str, Any], more: str = "", *values: Any) -> Cursor:
    """Rows of `what`, such as "id FROM users"; `more` is the rest of the SQL, with `values`."""
    return connection.execute(f"SELECT {what} WHERE {_equal(key)} {more}", (*key.values(), *values))


def value(found: Cursor) -> Any:
    """What stands in the first column of the first row; None when there is no row."""
    row = found.fetchone()
    return None if row is None else row[0]


def as_dicts(found: Cursor) -> list[dict[str, Any]]:
    """All rows, by column."""
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found]


def insert(connection: Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows, all with the columns of the first."""
    if rows:
        names = list(rows[0])
        places = ", ".join(f":{name}" for name in names)
        connection.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})", rows)  # noqa: S608


def update(connection: Connection, table: str, key: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Give some columns of rows other values."""
    changes = ", ".join(f"{name} = ?" for name in fields)
    query = f"UPDATE {table} SET {changes} WHERE {_equal(key)}"  # noqa: S608
    connection.execute(query, (*fields.values(), *key.values()))


def delete(connection: Connection, table: str, key: Mapping[str, Any], more: str = "") -> None:
    """Remove rows; `more` is the rest of the SQL."""
    connection.execute(f"DELETE FROM {table} WHERE {_equal(key)} {more}", tuple(key.values()))  # noqa: S608


def among(values: Sequence[Any]) -> str:
    """The SQL that asks whether a column has one of so many values."""
    return f"IN ({', '.join('?' * len(values))})"


def _equal(key: Mapping[str, Any]) -> str:
    return " AND ".join(f"{name} IS ?" for name in key) or "TRUE"
