"""Codes that are good once and for a short time: kept as a hash, and gone when they are used."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec
from sqlalchemy import Connection, bindparam

from taihu.identity.schema import codes


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
    table = codes.c
    connection.execute(codes.delete().where(table.expires_at <= wanted[0].created_at))
    same = (table.project == bindparam("p")) & (table.thing == bindparam("t")) & (table.purpose == bindparam("o"))
    connection.execute(
        codes.delete().where(same), [{"p": one.project, "t": one.thing, "o": one.purpose} for one in wanted]
    )
    connection.execute(
        codes.insert(),
        [msgspec.structs.asdict(one) | {"purpose": str(one.purpose), "code_hash": one.hash} for one in wanted],
    )


def take(connection: Connection, purpose: Purpose, digest: bytes, now_ns: int) -> Code | None:
    """Use a code up; None when there is none of that purpose, or it has expired."""
    table = codes.c
    here = (table.code_hash == digest) & (table.purpose == str(purpose)) & (table.expires_at > now_ns)
    row = connection.execute(codes.select().where(here)).one_or_none()
    if row is None:
        return None
    connection.execute(codes.delete().where(table.code_hash == digest))
    return Code(
        hash=digest,
        purpose=purpose,
        project=row.project,
        thing=row.thing,
        issued_by=row.issued_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
