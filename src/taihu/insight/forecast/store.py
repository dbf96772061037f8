"""What was trained, and every forecast as it was issued, so that it can be judged by what came after it.

SQLite, one writer (the worker). A forecast is kept under its issue time: the end of the last step it knew.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import numpy as np

from taihu.insight.forecast.candidate import LEVELS
from taihu.insight.forecast.trained import Forecast, Summary
from taihu.kernel.errors import DamagedError, RefusedError

VERSION = 1
_TABLES = """
CREATE TABLE models (
    project TEXT NOT NULL, thing TEXT NOT NULL, property TEXT NOT NULL, step_s INTEGER NOT NULL, model BLOB NOT NULL,
    PRIMARY KEY (project, thing, property, step_s)) WITHOUT ROWID;
CREATE TABLE issued (
    project TEXT NOT NULL, thing TEXT NOT NULL, property TEXT NOT NULL, step_s INTEGER NOT NULL,
    issued_at INTEGER NOT NULL, model TEXT NOT NULL, quantiles BLOB NOT NULL,
    PRIMARY KEY (project, thing, property, step_s, issued_at)) WITHOUT ROWID;
CREATE INDEX issued_by_time ON issued (issued_at);
"""
_KEY = "project = ? AND thing = ? AND property = ? AND step_s = ?"


class Key(msgspec.Struct, frozen=True):
    """A series that is forecast: a property, in steps of a length."""

    project: str
    thing: str
    property: str
    step_s: int

    def columns(self) -> tuple[str, str, str, int]:
        """As the tables have it."""
        return self.project, self.thing, self.property, self.step_s


def summary_of(model: bytes) -> Summary:
    """What a trained model says of itself."""
    return msgspec.msgpack.decode(model, type=Summary)


class ForecastStore:
    """One file of models and forecasts; each call is one transaction."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            with ExitStack() as refused:
                self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
                refused.callback(self._connection.close)
                self._prepare(path)
                refused.pop_all()
        except sqlite3.DatabaseError as error:
            raise DamagedError(
                f"The forecasts {path.name} cannot be read: {error}.", "Remove the file: they are made anew."
            ) from None

    def _prepare(self, path: Path) -> None:
        path.chmod(0o600)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise RefusedError(f"The forecasts have version {version}, this release knows {VERSION}.", "Upgrade Taihu.")
        if version == 0:
            self._connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")

    def summaries(self) -> dict[Key, Summary]:
        """What was trained, without what it takes to forecast."""
        with self._lock:
            found = self._connection.execute("SELECT project, thing, property, step_s, model FROM models").fetchall()
        return {Key(*columns): summary_of(model) for *columns, model in found}

    def model(self, key: Key) -> bytes:
        """What was trained of a series, as `Trained` in msgpack; empty when nothing was."""
        with self._lock:
            query = f"SELECT model FROM models WHERE {_KEY}"  # noqa: S608 - own names
            found = self._connection.execute(query, key.columns()).fetchone()
        return found[0] if found else b""

    def keep_model(self, key: Key, model: bytes) -> None:
        """Keep what was trained, as `model` gives it, in place of what was before."""
        with self._lock:
            self._connection.execute("INSERT OR REPLACE INTO models VALUES (?, ?, ?, ?, ?)", (*key.columns(), model))

    def keep(self, forecasts: Iterable[tuple[Key, Forecast]]) -> None:
        """Keep forecasts as issued; one of the same time is replaced."""
        rows = [(*key.columns(), one.start_ns, one.model, one.quantiles.tobytes()) for key, one in forecasts]
        with self._lock, self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany("INSERT OR REPLACE INTO issued VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def newest(self, key: Key, at: int) -> Forecast | None:
        """The forecast of a series that stood at a time."""
        return next(
            self._forecasts(f"{_KEY} AND issued_at <= ? ORDER BY issued_at DESC LIMIT 1", (*key.columns(), at)), None
        )

    def issued(self, key: Key, start: int, end: int) -> list[Forecast]:
        """The forecasts of a series that were issued in [start, end), by time."""
        where = f"{_KEY} AND issued_at >= ? AND issued_at < ? ORDER BY issued_at"
        return list(self._forecasts(where, (*key.columns(), start, end)))

    def drop_before(self, time_ns: int) -> None:
        """Let forecasts go that were issued before a time."""
        with self._lock:
            self._connection.execute("DELETE FROM issued WHERE issued_at < ?", (time_ns,))

    def forget(self, project: str, thing: str = "", name: str = "") -> None:
        """Delete all that was derived from what is deleted: of a project, a thing or a property."""
        where, values = "project = ?", [project]
        for column, value in (("thing", thing), ("property", name)):
            if value:
                where, values = f"{where} AND {column} = ?", [*values, value]
        with self._lock, self._connection:
            self._connection.execute("BEGIN")
            for table in ("models", "issued"):
                self._connection.execute(f"DELETE FROM {table} WHERE {where}", values)  # noqa: S608 - own names
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _forecasts(self, where: str, values: tuple[str | int, ...]) -> Iterator[Forecast]:
        query = f"SELECT step_s, issued_at, model, quantiles FROM issued WHERE {where}"  # noqa: S608 - own names
        with self._lock:
            found = self._connection.execute(query, values).fetchall()
        for step_s, issued_at, model, data in found:
            yield Forecast(issued_at, step_s, model, np.frombuffer(data).reshape(len(LEVELS), -1))
