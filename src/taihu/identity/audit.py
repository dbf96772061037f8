"""The audit: who did what when, each entry chained to the one before it, so that a change of any of them shows.

An entry's hash is SHA-256 over the hash before it and the entry as JSON. The newest entries are rows of the metadata
store, written in the transaction of what they tell of; older ones are sealed segments (`taihu.identity.segments`).
The last hash is also noted in a file of its own (`taihu.identity.heads`), so that a cut tail shows.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from sqlite3 import Connection
from typing import Any

import msgspec

from taihu.identity.rows import among, insert, select, value

GENESIS = bytes(32)
_ROWS_AT_ONCE = 1_000
_LAST = 2**62
# Texts as bytes: what somebody has spoiled must not keep the rest from being read.
_TEXTS = ", ".join(f"CAST({name} AS BLOB)" for name in ("who", "what", "detail", "project"))
_LINKS = f"number, at, {_TEXTS}, hash FROM audit"
_encode = msgspec.json.Encoder().encode


class AuditEntry(msgspec.Struct, frozen=True):
    """Who did what when; `at` is UTC nanoseconds, `who` a person, a credential id or a name such as `cli`.

    `project` is whose owners may read the entry; empty for those of the node alone.
    """

    at: int
    who: str
    what: str
    detail: str
    project: str = ""


class Link(msgspec.Struct, frozen=True):
    """An entry in its place in the chain."""

    number: int
    entry: AuditEntry
    hash: bytes


class Head(msgspec.Struct, frozen=True):
    """The last link of a chain: how many entries there have been, and the hash over all of them."""

    number: int = 0
    hash: bytes = GENESIS

    def __str__(self) -> str:
        return f"{self.number}:{self.hash.hex()}"


def chain_hash(before: bytes, number: int, entry: AuditEntry) -> bytes:
    """The hash of an entry that follows the hash `before`."""
    content = _encode((number, entry.at, entry.who, entry.what, entry.detail, entry.project))
    return hashlib.sha256(before + content).digest()


def append(connection: Connection, entries: Sequence[AuditEntry]) -> list[Head]:
    """Add entries after the last; returns the head after each."""
    heads: list[Head] = []
    if entries:
        head = head_of(connection)
        for number, entry in enumerate(entries, head.number + 1):
            head = Head(number, chain_hash(head.hash, number, entry))
            heads.append(head)
        rows = [
            msgspec.structs.asdict(entry) | {"number": head.number, "hash": head.hash}
            for entry, head in zip(entries, heads, strict=True)
        ]
        insert(connection, "audit", rows)
    return heads


def head_of(connection: Connection) -> Head:
    """The last link there is; the last entry is never sealed away, so it is a row."""
    row = connection.execute("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1").fetchone()
    return Head(*row) if row else Head()


def link_at(connection: Connection, number: int) -> bytes | None:
    """The hash of the row `number`; None when there is no such row."""
    found: bytes | None = value(select(connection, "hash FROM audit", {"number": number}))
    return found


def newest(connection: Connection, limit: int, before: int | None, projects: Iterable[str] | None) -> list[Link]:
    """At most `limit` links, newest first, below the number `before`, of all or of some projects."""
    names = None if projects is None else sorted(projects)
    these = "" if names is None else f"AND project {among(names)}"
    tail = f"AND number < ? {these} ORDER BY number DESC LIMIT ?"
    before = _LAST if before is None else before
    return [_link(row) for row in select(connection, _LINKS, {}, tail, before, *(names or ()), limit)]


def rows(connection: Connection, first: int = 0, last: int = _LAST) -> Iterator[Link]:
    """The links that are rows, from `first` to `last`, oldest first."""
    tail = "AND number BETWEEN ? AND ? ORDER BY number LIMIT ?"
    while True:
        found = select(connection, _LINKS, {}, tail, first, last, _ROWS_AT_ONCE).fetchall()
        yield from map(_link, found)
        if len(found) < _ROWS_AT_ONCE:
            return
        first = found[-1][0] + 1


def _link(row: tuple[Any, ...]) -> Link:
    number, at, who, what, detail, project, digest = row
    texts = (bytes(text).decode("utf-8", "replace") for text in (who, what, detail, project))
    return Link(number, AuditEntry(at, *texts), digest)
