"""Rows of the descriptions by which things were registered."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from taihu.identity.schema import descriptions

_NAMES_MAX = 500  # in one SQL statement
_FIELDS = ("document", "created_at", "modified_at", "expires_at", "ttl_s")
_table = descriptions.c


def sizes(connection: Connection) -> dict[str, int]:
    """The bytes of all descriptions of each project."""
    query = select(_table.project, func.sum(func.length(_table.document))).group_by(_table.project)
    return {project: int(size) for project, size in connection.execute(query)}


def load(connection: Connection, project: str, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The fields of the descriptions of things, by name; of a thing without one, none."""
    found: dict[str, dict[str, Any]] = {}
    columns = [_table[name] for name in _FIELDS]
    for start in range(0, len(names), _NAMES_MAX):
        here = (_table.project == project) & _table.thing.in_(names[start : start + _NAMES_MAX])
        for thing, *fields in connection.execute(select(_table.thing, *columns).where(here)):
            found[thing] = dict(zip(_FIELDS, fields, strict=True))
    return found


def put(connection: Connection, project: str, thing: str, fields: Mapping[str, Any]) -> None:
    """Insert a description, or replace it."""
    remove(connection, project, thing)
    connection.execute(descriptions.insert().values(project=project, thing=thing, **fields))


def remove(connection: Connection, project: str, thing: str) -> int:
    """Delete a description; returns the bytes it had."""
    here = (_table.project == project) & (_table.thing == thing)
    size = connection.execute(select(func.length(_table.document)).where(here)).scalar_one_or_none()
    connection.execute(descriptions.delete().where(here))
    return size or 0


def expired(connection: Connection, now_ns: int) -> list[tuple[str, str]]:
    """The things, as (project, name), whose registration ended before `now_ns`."""
    query = select(_table.project, _table.thing).where(_table.expires_at <= now_ns)
    return [(project, thing) for project, thing in connection.execute(query)]
