"""Rows of the descriptions by which things were registered."""

from collections.abc import Mapping, Sequence
from sqlite3 import Connection
from typing import Any

from taihu.identity.rows import among, delete, insert, select, value

_NAMES_MAX = 500  # in one SQL statement
_FIELDS = ("document", "created_at", "modified_at", "expires_at", "ttl_s")


def sizes(connection: Connection) -> dict[str, int]:
    """The bytes of all descriptions of each project."""
    return dict(connection.execute("SELECT project, sum(length(document)) FROM descriptions GROUP BY project"))


def load(connection: Connection, project: str, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The fields of the descriptions of things, by name; of a thing without one, none."""
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(names), _NAMES_MAX):
        chunk = names[start : start + _NAMES_MAX]
        what, these = f"thing, {', '.join(_FIELDS)} FROM descriptions", f"AND thing {among(chunk)}"
        for thing, *fields in select(connection, what, {"project": project}, these, *chunk):
            found[thing] = dict(zip(_FIELDS, fields, strict=True))
    return found


def put(connection: Connection, project: str, thing: str, fields: Mapping[str, Any]) -> None:
    """Insert a description, or replace it."""
    remove(connection, project, thing)
    insert(connection, "descriptions", [{"project": project, "thing": thing, **fields}])


def remove(connection: Connection, project: str, thing: str) -> int:
    """Delete a description; returns the bytes it had."""
    here = {"project": project, "thing": thing}
    size = value(select(connection, "length(document) FROM descriptions", here))
    delete(connection, "descriptions", here)
    return size or 0


def expired(connection: Connection, now_ns: int) -> list[tuple[str, str]]:
    """The things, as (project, name), whose registration ended before `now_ns`."""
    return connection.execute("SELECT project, thing FROM descriptions WHERE expires_at <= ?", (now_ns,)).fetchall()
