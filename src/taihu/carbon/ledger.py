"""The ledger's file: rows are added and never changed; a restatement is a further version of its interval (§10).

SQLite, one writer (the worker), durable when `append` returns. The database itself refuses to change a row.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from taihu.carbon.account import Role, Row, RowQuality
from taihu.carbon.inventory import SUMMED, Figures
from taihu.kernel.errors import DamagedError, RefusedError, TransientError

VERSION = 1
_TABLES = """
CREATE TABLE rows (
    project TEXT NOT NULL, meter TEXT NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL, role TEXT NOT NULL,
    import_kwh REAL, export_kwh REAL, generation_kwh REAL, fuel_kwh REAL,
    scope1_kg REAL, location_kg REAL, market_kg REAL, upstream_kg REAL,
    coverage REAL NOT NULL, quality TEXT NOT NULL, factors TEXT NOT NULL, inputs TEXT NOT NULL,
    version INTEGER NOT NULL, reason TEXT NOT NULL, written_at INTEGER NOT NULL,
    PRIMARY KEY (project, meter, start, version)) WITHOUT ROWID;
CREATE TABLE certificates (
    number INTEGER PRIMARY KEY, project TEXT NOT NULL, event TEXT NOT NULL, written_at INTEGER NOT NULL);
CREATE INDEX certificates_of_project ON certificates (project, number);
CREATE TABLE pending (
    project TEXT NOT NULL, meter TEXT NOT NULL, start INTEGER NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (project, meter)) WITHOUT ROWID;
CREATE TRIGGER rows_stay BEFORE UPDATE ON rows BEGIN SELECT RAISE(ABORT, 'a ledger row is never changed'); END;
CREATE TRIGGER certificates_stay BEFORE UPDATE ON certificates
    BEGIN SELECT RAISE(ABORT, 'a certificate''s event is never changed'); END;
"""
_COLUMNS = Row.__struct_fields__
_NAMES = ", ".join(f'"{name}"' for name in _COLUMNS)
_INSERT = f"INSERT INTO rows ({_NAMES}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - own names
# The newest version of an interval is the last in the order of the key.
_CURRENT = (
    "NOT EXISTS (SELECT 1 FROM rows AS later WHERE later.project = rows.project AND later.meter = rows.meter"
    " AND later.start = rows.start AND later.version > rows.version)"
)


class Ledger:
    """One ledger file. A reader sees what was durable when it asks."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path = path
        self._lock = threading.Lock()
        if read_only and not path.exists():
            raise RefusedError("There is no carbon ledger yet.", "Declare an account in site.toml: docs/carbon.md.")
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._prepare(read_only)
        except sqlite3.DatabaseError as error:
            raise DamagedError(
                f"The ledger {path.name} cannot be read: {error}.", "Put a backup back: taihu restore."
            ) from None

    def append(self, rows: Iterable[Row], reason: str, now_ns: int) -> int:
        """Add what is new and restate what differs from the ledger; durable at return. Returns the rows written.

        A row that says what the ledger says already is left out, so that doing the same twice changes nothing.
        """
        added = []
        with self._transaction():
            for row in rows:
                known = self.current_row(row.project, row.meter, row.start)
                if known is not None and known.same(row):
                    continue
                version = 1 if known is None else known.version + 1
                why = "" if known is None else reason
                added.append(msgspec.structs.replace(row, version=version, reason=why, written_at=now_ns))
            self._connection.executemany(_INSERT, map(_stored, added))
        return len(added)

    def current_row(self, project: str, meter: str, start: int) -> Row | None:
        """What the ledger says of an interval now."""
        where = "project = ? AND meter = ? AND start = ? ORDER BY version DESC LIMIT 1"
        found = self._rows(where, (project, meter, start))
        return next(found, None)

    def rows(self, project: str, start: int, end: int, meter: str = "", *, versions: bool = False) -> Iterator[Row]:
        """Rows of intervals that begin in [start, end), by meter and time; with `versions` also what was restated."""
        where, values = "project = ? AND start >= ? AND start < ?", [project, start, end]
        if meter:
            where, values = f"{where} AND meter = ?", [*values, meter]
        if not versions:
            where += f" AND {_CURRENT}"
        return self._rows(f"{where} ORDER BY project, meter, start, version", values)

    def sums(self, project: str, start: int, end: int) -> dict[str, Figures]:
        """The current rows of [start, end) added up, by meter."""
        figures = ", ".join(f"sum({name})" for name in SUMMED)
        counts = ", ".join(f"sum(quality = '{quality}')" for quality in RowQuality)
        found = self._connection.execute(
            f"SELECT meter, {figures}, {counts}, sum(version > 1) FROM rows"  # noqa: S608 - own names
            f" WHERE project = ? AND start >= ? AND start < ? AND {_CURRENT} GROUP BY meter ORDER BY meter",
            (project, start, end),
        )
        return {meter: Figures(**dict(zip(Figures.__struct_fields__, row, strict=True))) for meter, *row in found}

    def series(self, project: str, meter: str, name: str, start: int, end: int) -> tuple[NDArray[np.int64], Any]:
        """Starts and one figure (NaN where missing) of a meter's current rows."""
        if name not in SUMMED:
            raise RefusedError(f"The ledger has no figure {name!r}.", f"There are: {', '.join(SUMMED)}.")
        found = self._connection.execute(
            f"SELECT start, {name} FROM rows WHERE project = ? AND meter = ? AND start >= ? AND start < ?"  # noqa: S608
            f" AND {_CURRENT} ORDER BY start",
            (project, meter, start, end),
        ).fetchall()
        values = np.array([np.nan if value is None else value for _, value in found], np.float64)
        return np.array([at for at, _ in found], np.int64), values

    def accounted_to(self, project: str, meter: str) -> int:
        """The end of the last interval of a meter; 0 when it has none."""
        query = 'SELECT "end" FROM rows WHERE project = ? AND meter = ? ORDER BY start DESC LIMIT 1'
        found = self._connection.execute(query, (project, meter)).fetchone()
        return int(found[0]) if found else 0

    def mark(self, project: str, meter: str, start: int, reason: str) -> None:
        """What is known of a meter from `start` on has changed: it is to be accounted again; durable at return."""
        with self._transaction():
            self._connection.execute(
                "INSERT INTO pending VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET start = excluded.start, reason = excluded.reason"
                " WHERE excluded.start < pending.start",
                (project, meter, start, reason),
            )

    def pending(self, project: str, meter: str) -> tuple[int, str] | None:
        """From when on a meter is to be accounted again, and why."""
        query = "SELECT start, reason FROM pending WHERE project = ? AND meter = ?"
        found = self._connection.execute(query, (project, meter)).fetchone()
        return (int(found[0]), str(found[1])) if found else None

    def settle(self, project: str, meter: str, start: int, end: int, last: int) -> None:
        """[start, end) was accounted again; the mark moves on, and is gone when it has reached `last`."""
        where, key = "project = ? AND meter = ? AND start = ?", (project, meter, start)
        with self._transaction():
            if end >= last:
                self._connection.execute(f"DELETE FROM pending WHERE {where}", key)  # noqa: S608 - own words
            else:
                self._connection.execute(f"UPDATE pending SET start = ? WHERE {where}", (end, *key))  # noqa: S608

    def add_events(self, project: str, events: Sequence[bytes], now_ns: int) -> None:
        """Keep events of the project's certificates; durable at return."""
        rows = [(project, event.decode(), now_ns) for event in events]
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
            for table in ("rows", "certificates", "pending"):
                self._connection.execute(f"DELETE FROM {table} WHERE project = ?", (project,))  # noqa: S608 - own names
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _prepare(self, read_only: bool) -> None:
        connection = self._connection
        if read_only:
            connection.execute("PRAGMA query_only = ON")
        else:
            self._path.chmod(0o600)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
        connection.execute("PRAGMA busy_timeout = 5000")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise RefusedError(f"The ledger has version {version}, this release knows {VERSION}.", "Upgrade Taihu.")
        if version == 0 and not read_only:
            connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._connection, self._lock)

    def _rows(self, where: str, values: Sequence[Any]) -> Iterator[Row]:
        with closing(self._connection.execute(f"SELECT {_NAMES} FROM rows WHERE {where}", values)) as found:  # noqa: S608
            for row in found:
                fields = dict(zip(_COLUMNS, row, strict=True))
                for name in ("factors", "inputs"):
                    fields[name] = tuple(msgspec.json.decode(fields[name]))
                yield Row(**fields | {"role": Role(fields["role"]), "quality": RowQuality(fields["quality"])})


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


def _stored(row: Row) -> tuple[Any, ...]:
    fields = msgspec.structs.asdict(row)
    for name in ("factors", "inputs"):
        fields[name] = msgspec.json.encode(fields[name]).decode()
    return tuple(fields.values())
