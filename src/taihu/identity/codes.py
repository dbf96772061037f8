"""Codes that are good once and for a short time: kept as a hash, and gone when they are used."""

from collections.abc import Sequence
from enum import StrEnum
from sqlite3 import Connection
from typing import Any

import msgspec

from taihu.identity.rows import as_dicts, delete, insert, select


class Purpose(StrEnum):
    """What a code is good for."""

    ENROL = "enrol"  # a first certificate of a thing
    CLAIM = "claim"  # a thing's move into the project of whoever has the code


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """A code and the thing it is for; times are UTC nanoseconds."""

    hash: bytes
    purpose: Purpose
    project: str
    thing: str
    issued_by: str = ""
    created_at: int = 0
    expires_at: int


def put(connection: Connection, wanted: Sequence[Code]) -> None:
    """Store codes, each in the place of what its thing had for the same purpose; forgets what has expired."""
    if not wanted:
        return
    connection.execute("DELETE FROM codes WHERE expires_at <= ?", (wanted[0].created_at,))
    connection.executemany(
        "DELETE FROM codes WHERE project = ? AND thing = ? AND purpose = ?",
        [(one.project, one.thing, one.purpose) for one in wanted],
    )
    insert(connection, "codes", [_row(one) for one in wanted])


def take(connection: Connection, purpose: Purpose, digest: bytes, now_ns: int) -> Code | None:
    """Use a code up; None when there is none of that purpose, or it has expired."""
    key = {"code_hash": digest, "purpose": purpose}
    what = "project, thing, issued_by, created_at, expires_at FROM codes"
    for fields in as_dicts(select(connection, what, key, "AND expires_at > ?", now_ns)):
        delete(connection, "codes", key)
        return Code(hash=digest, purpose=purpose, **fields)
    return None


def _row(code: Code) -> dict[str, Any]:
    fields = msgspec.structs.asdict(code)
    return {"code_hash": fields.pop("hash"), **fields}
