"""The ledger's file: rows are added and never changed; a restatement is a further version of its interval (§10).

SQLite, one writer (the worker), durable when `append` returns. The database itself refuses to change a row, and keeps
every factor as it was known over time: what the ledger said at any moment, and by which factors, can be read again.
"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from taihu.carbon.columns import WEEK_NS, Weeks
from taihu.carbon.factors import Factor
from taihu.carbon.rows import Role, Row, RowQuality
from taihu.carbon.schema import prepare
from taihu.kernel.errors import DamagedError, TransientError

_KEPT = 1_024
NOW = 2**63 - 1  # as of now: whatever has been written
_COLUMNS = Row.__struct_fields__
_NAMES = ", ".join(f'"{name}"' for name in _COLUMNS)
_NAMES_OF_ROWS = ", ".join(f'rows."{name}"' for name in _COLUMNS)
_INSERT = f"INSERT INTO rows ({_NAMES}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - own names
# What was the newest version of an interval at :as_of.
CURRENT = (
    "rows.written_at <= :as_of AND NOT EXISTS (SELECT 1 FROM rows AS later INDEXED BY restated"
    " WHERE later.project = rows.project AND later.meter = rows.meter AND later.start = rows.start"
    " AND later.version > 1 AND later.version > rows.version AND later.written_at <= :as_of)"
)


class Cause(StrEnum):
    """Why intervals are to be accounted again."""

    READINGS = "readings"
    CERTIFICATES = "certificates"
    FACTORS = "factors"
    ACCOUNTS = "accounts"


class Mark(msgspec.Struct, frozen=True):
    """From `start` (UTC ns) on a meter is to be accounted again; `reason` goes into the rows that differ then."""

    cause: Cause
    start: int
    reason: str


class Ledger:
    """One ledger file. A reader sees what was durable when it asks; `weeks` are kept of what was read."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self.weeks = Weeks()
        try:
            with ExitStack() as refused:
                self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
                refused.callback(self._connection.close)
                path.chmod(0o600)
                for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 5000"):
                    self._connection.execute(f"PRAGMA {pragma}")
                self._connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
                prepare(self._connection)
                refused.pop_all()
        except sqlite3.DatabaseError as error:
            raise DamagedError(
                f"The ledger {path.name} cannot be read: {error}.", "Put a backup back: taihu restore."
            ) from None

    def append(self, rows: Sequence[Row], reason: str, now_ns: int) -> int:
        """Add what is new and restate what differs from the ledger; durable at return. Returns the rows written.

        A row that says what the ledger says already is left out, so that doing the same twice changes nothing.
        """
        added: list[Row] = []
        if not rows:
            return 0
        with self._transaction():
            there = self._there(rows)
            for row in rows:
                known = there.get((row.project, row.meter, row.start))
                if known is not None and known.same(row):
                    continue
                version = 1 if known is None else known.version + 1
                why = "" if known is None else reason
                added.append(msgspec.structs.replace(row, version=version, reason=why, written_at=now_ns))
            self._connection.executemany(_INSERT, map(_stored, added))
        self.weeks.changed((row.project, row.meter, row.start // WEEK_NS) for row in added)
        return len(added)

    def _there(self, rows: Sequence[Row]) -> dict[tuple[str, str, int], Row]:
        """What the ledger says now of the time that rows are of, meter by meter."""
        spans: dict[tuple[str, str], tuple[int, int]] = {}
        for row in rows:
            first, last = spans.get((row.project, row.meter), (row.start, row.start))
            spans[row.project, row.meter] = min(first, row.start), max(last, row.start)
        found = (self.rows(project, first, last + 1, meter) for (project, meter), (first, last) in spans.items())
        return {(row.project, row.meter, row.start): row for rows in found for row in rows}

    def current_row(self, project: str, meter: str, start: int) -> Row | None:
        """What the ledger says of an interval now."""
        where = "project = :project AND meter = :meter AND start = :start ORDER BY version DESC LIMIT 1"
        return next(self._rows(where, {"project": project, "meter": meter, "start": start}), None)

    def last_row(self, project: str, meter: str) -> Row | None:
        """What the ledger says now of the last interval of a meter."""
        where = "project = :project AND meter = :meter ORDER BY start DESC, version DESC LIMIT 1"
        return next(self._rows(where, {"project": project, "meter": meter}), None)

    def rows(
        self, project: str, start: int, end: int, meter: str = "", *, versions: bool = False, as_of: int = NOW
    ) -> Iterator[Row]:
        """Rows of intervals that begin in [start, end), by meter and time, as they were known at `as_of` (UTC ns).

        With `versions` also what was restated until then.
        """
        where = "project = :project AND start >= :start AND start < :end"
        if meter:
            where += " AND meter = :meter"
        where += " AND written_at <= :as_of" if versions else f" AND {CURRENT}"
        values = {"project": project, "start": start, "end": end, "meter": meter, "as_of": as_of}
        return self._rows(f"{where} ORDER BY project, meter, start, version", values)

    def traced(
        self, value: str, table: str, where: str, values: Mapping[str, Any]
    ) -> Iterator[tuple[Row, float | None]]:
        """Rows that a figure is made of and what each is of it; texts are own SQL, `values` what is asked."""
        ordered = "ORDER BY rows.project, rows.meter, rows.start, rows.version LIMIT :limit OFFSET :place"
        query = f"SELECT {_NAMES_OF_ROWS}, {value} FROM {table} WHERE {where} {ordered}"  # noqa: S608 - own words
        with closing(self._connection.execute(query, values)) as found:
            for *row, part in found:
                yield _row(row), part

    def meters(self, project: str) -> dict[str, int]:
        """All meters a project has rows of, and when each begins."""
        found: dict[str, int] = {}
        name = ""
        query = "SELECT meter, start FROM rows WHERE project = ? AND meter > ? ORDER BY meter, start LIMIT 1"
        while (row := self._connection.execute(query, (project, name)).fetchone()) is not None:
            name = str(row[0])
            found[name] = int(row[1])
        return found

    def ask(self, query: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The answer of a query that reads."""
        return self._connection.execute(query, values).fetchall()

    def begins(self, project: str, meter: str) -> int:
        """The start of the first interval of a meter; 0 when it has none."""
        query = "SELECT start FROM rows WHERE project = ? AND meter = ? ORDER BY start LIMIT 1"
        found = self._connection.execute(query, (project, meter)).fetchone()
        return int(found[0]) if found else 0

    def accounted_to(self, project: str, meter: str) -> int:
        """The end of the last interval of a meter; 0 when it has none."""
        query = 'SELECT "end" FROM rows WHERE project = ? AND meter = ? ORDER BY start DESC LIMIT 1'
        found = self._connection.execute(query, (project, meter)).fetchone()
        return int(found[0]) if found else 0

    def mark(self, project: str, meter: str, mark: Mark) -> None:
        """What is known of a meter has changed; durable at return. Of one cause the earliest start counts."""
        with self._transaction():
            self._mark(project, meter, mark)

    def marks(self, project: str, meter: str) -> list[Mark]:
        """From when on a meter is to be accounted again, and why."""
        query = "SELECT cause, start, reason FROM marks WHERE project = ? AND meter = ? ORDER BY start"
        found = self._connection.execute(query, (project, meter)).fetchall()
        return [Mark(Cause(cause), int(start), str(reason)) for cause, start, reason in found]

    def settle(self, project: str, meter: str, mark: Mark, end: int, last: int) -> None:
        """All up to `end` was accounted again; the mark moves on, and is gone when it has reached `last`."""
        where = "project = ? AND meter = ? AND cause = ? AND start = ?"
        key = (project, meter, mark.cause, mark.start)
        with self._transaction():
            if end >= last:
                self._connection.execute(f"DELETE FROM marks WHERE {where}", key)  # noqa: S608 - own words
            else:
                self._connection.execute(f"UPDATE marks SET start = ? WHERE {where}", (end, *key))  # noqa: S608

    def see_factors(
        self, changed: Mapping[str, Factor | None], marks: Mapping[tuple[str, str], Mark], now: int
    ) -> None:
        """Keep factors as they are from now on, None for one that is gone, and what is to be accounted again for them.

        Both are durable at return, or neither.
        """
        encoded = [
            (name, now, "" if one is None else msgspec.json.encode(one).decode()) for name, one in changed.items()
        ]
        with self._transaction():
            self._connection.executemany(
                "INSERT OR IGNORE INTO factors (id, seen_at, factor) VALUES (?, ?, ?)", encoded
            )
            for (project, meter), mark in marks.items():
                self._mark(project, meter, mark)

    def factors(self, as_of: int = NOW) -> list[Factor]:
        """All factors as they were known at a moment."""
        query = "SELECT factor, max(seen_at) FROM factors WHERE seen_at <= ? GROUP BY id"  # of the row with the maximum
        return [_factor.decode(text) for text, _ in self._connection.execute(query, (as_of,)) if text]

    def accounts(self, project: str, meter: str, as_of: int = NOW) -> bytes:
        """The parts of a meter's account as they were known at a moment; empty when none were."""
        where = "project = ? AND meter = ? AND seen_at <= ?"
        query = f"SELECT parts FROM accounts WHERE {where} ORDER BY seen_at DESC LIMIT 1"  # noqa: S608 - own words
        found = self._connection.execute(query, (project, meter, as_of)).fetchone()
        return found[0].encode() if found else b""

    def see_accounts(self, project: str, meter: str, parts: bytes, mark: Mark | None, now: int) -> None:
        """Keep the parts of a meter's account, and what is to be accounted again for them; both durable, or neither."""
        with self._transaction():
            row = (project, meter, now, parts.decode())
            self._connection.execute("INSERT OR REPLACE INTO accounts VALUES (?, ?, ?, ?)", row)
            if mark is not None:
                self._mark(project, meter, mark)

    def add_events(self, events: Sequence[tuple[str, bytes]], now_ns: int) -> None:
        """Keep events of projects' certificates; all of them are durable at return, or none."""
        rows = [(project, event.decode(), now_ns) for project, event in events]
        with self._transaction():
            self._connection.executemany("INSERT INTO certificates (project, event, written_at) VALUES (?, ?, ?)", rows)

    def events(self, project: str) -> Iterator[bytes]:
        """The events of the project's certificates, oldest first."""
        query = "SELECT event FROM certificates WHERE project = ? ORDER BY number"
        for (event,) in self._connection.execute(query, (project,)):
            yield event.encode()

    def forget(self, project: str) -> None:
        """Delete all that is known of a project that was deleted."""
        with self._transaction():
            for table in ("rows", "certificates", "marks", "accounts"):
                self._connection.execute(f"DELETE FROM {table} WHERE project = ?", (project,))  # noqa: S608 - own names
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.weeks.forget(project)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _mark(self, project: str, meter: str, mark: Mark) -> None:
        self._connection.execute(
            "INSERT INTO marks VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET start = min(start, excluded.start),"
            " reason = iif(instr(reason, excluded.reason), reason, substr(reason || '; ' || excluded.reason, 1, 500))"
            " WHERE excluded.start < start OR NOT instr(reason, excluded.reason)",
            (project, meter, mark.cause, mark.start, mark.reason),
        )

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._connection, self._lock)

    def _rows(self, where: str, values: Mapping[str, Any]) -> Iterator[Row]:
        with closing(self._connection.execute(f"SELECT {_NAMES} FROM rows WHERE {where}", values)) as found:  # noqa: S608
            for row in found:
                yield _row(row)


class _Transaction:
    """One transaction of one thread at a time."""

    def __init__(self, connection: sqlite3.Connection, lock: threading.Lock) -> None:
        self._connection = connection
        self._lock = lock

    def __enter__(self) -> None:
        self._lock.acquire()
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self._connection.execute("COMMIT" if kind is None else "ROLLBACK")
        except sqlite3.OperationalError as failed:
            raise TransientError(f"The ledger cannot be written: {failed}.", "Free space.") from None
        finally:
            self._lock.release()


_factor = msgspec.json.Decoder(Factor)


_ROLES = {str(role): role for role in Role}
_QUALITIES = {str(quality): quality for quality in RowQuality}


def _row(cells: Sequence[Any]) -> Row:
    fields = dict(zip(_COLUMNS, cells, strict=True))
    fields["role"], fields["quality"] = _ROLES[fields["role"]], _QUALITIES[fields["quality"]]
    fields["factors"], fields["inputs"] = _names(fields["factors"]), _names(fields["inputs"])
    return Row(**fields)


def _stored(row: Row) -> tuple[Any, ...]:
    fields = msgspec.structs.asdict(row)
    fields["factors"], fields["inputs"] = _text(fields["factors"]), _text(fields["inputs"])
    return tuple(fields.values())


@lru_cache(maxsize=_KEPT)  # many rows name the same few
def _names(text: str) -> tuple[str, ...]:
    return tuple(msgspec.json.decode(text))


@lru_cache(maxsize=_KEPT)
def _text(names: tuple[str, ...]) -> str:
    return msgspec.json.encode(names).decode()
