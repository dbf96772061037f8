"""What controllers decided and what came of it: one SQLite file, written by the pilot and read by the worker."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from taihu.carbon.driven import Driven
from taihu.decide.guard import DAYS
from taihu.kernel.clock import DAY_NS
from taihu.kernel.errors import TransientError
from taihu.runtime.pilot import held

_SCHEMA = """
CREATE TABLE IF NOT EXISTS decision (
  project TEXT NOT NULL, controller TEXT NOT NULL, at INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (project, controller, at)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hour (
  project TEXT NOT NULL, controller TEXT NOT NULL, start INTEGER NOT NULL, real_kg REAL NOT NULL,
  without_kg REAL NOT NULL, estimated INTEGER NOT NULL, PRIMARY KEY (project, controller, start)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS driven (
  project TEXT NOT NULL, controller TEXT NOT NULL, start INTEGER NOT NULL, with_kwh REAL NOT NULL,
  without_kwh REAL NOT NULL, estimated INTEGER NOT NULL, source TEXT NOT NULL,
  PRIMARY KEY (project, controller, start)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS day (
  project TEXT NOT NULL, controller TEXT NOT NULL, date TEXT NOT NULL, saving REAL NOT NULL,
  PRIMARY KEY (project, controller, date)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outlook (
  project TEXT NOT NULL, controller TEXT NOT NULL, start INTEGER NOT NULL, net REAL, low REAL, high REAL, came REAL,
  PRIMARY KEY (project, controller, start)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS guard (
  project TEXT NOT NULL, controller TEXT NOT NULL, setup TEXT NOT NULL, report BLOB NOT NULL,
  PRIMARY KEY (project, controller)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS memory (
  project TEXT NOT NULL, controller TEXT NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (project, controller)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS waiting (
  project TEXT NOT NULL, controller TEXT NOT NULL, why TEXT NOT NULL,
  PRIMARY KEY (project, controller)) WITHOUT ROWID;
"""
_OF = "project = ? AND controller = ?"
_VERSION = 1
_OUTLOOK_NS = 31 * DAY_NS  # so long it is kept


class DecisionsUnkept(TransientError):
    """The disk refuses what a controller decided (full, read-only, failing): what runs goes on, it is tried again."""

    code = "decisions-unkept"


class _Database(sqlite3.Connection):
    """Raises DecisionsUnkept when the disk refuses what is asked of it."""

    def execute(self, *asked: Any) -> sqlite3.Cursor:
        """As of any connection."""
        with _told():
            return super().execute(*asked)

    def executemany(self, *asked: Any) -> sqlite3.Cursor:
        """As of any connection."""
        with _told():
            return super().executemany(*asked)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise DecisionsUnkept(f"Decisions cannot be kept: {error}.", "Make room on the disk.") from None


class Errors(msgspec.Struct, frozen=True):
    """The stated errors, as shares: of a meter, and of the intensity factor."""

    meter: float
    factor: float


class Saved(msgspec.Struct, frozen=True):
    """kg saved in the hours that a controller drove, and what the stated errors make of it.

    Meters err on their own, each by a share of all it counted; the factor errs for both alike.
    """

    hours: int
    kg: float
    meter_kg: float
    factor_kg: float
    estimated: bool
    since: int

    @property
    def error_kg(self) -> float:
        """Half the width of the interval."""
        return float((self.meter_kg**2 + self.factor_kg**2) ** 0.5)


class ExpectedHour(msgspec.Struct, frozen=True):
    """An hour's load less generation: as expected before it began (50, 10 and 90 % quantiles), and as it came (kWh)."""

    start: int
    net_kwh: float
    low_kwh: float
    high_kwh: float
    came_kwh: float | None = None


class Decisions:
    """The store. `keep` is how many decisions of a controller stay; hours stay all."""

    def __init__(self, path: Path, keep: int = 1_000) -> None:
        self._keep = keep
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=_Database)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA + held.SCHEMA)
        if self._db.execute("PRAGMA user_version").fetchone() != (_VERSION,):
            self._db.execute(f"PRAGMA user_version={_VERSION}")
        self.permits = held.HeldPermits(self._db)
        """What loops hold."""

    def add(self, project: str, controller: str, at: int, body: Mapping[str, Any]) -> None:
        """Keep a decision; the oldest beyond `keep` go."""
        row = (project, controller, at, msgspec.json.encode(body))
        self._db.execute("INSERT OR REPLACE INTO decision VALUES (?, ?, ?, ?)", row)
        self._db.execute(
            "DELETE FROM decision WHERE project = ? AND controller = ? AND at < (SELECT at FROM decision WHERE "
            "project = ? AND controller = ? ORDER BY at DESC LIMIT 1 OFFSET ?)",
            (project, controller, project, controller, self._keep - 1),
        )

    def account(self, project: str, controller: str, hour: Driven, intensity: float | None) -> None:
        """Keep an hour that was driven, and what it emitted by the average intensity with control and without.

        Feeding in emits nothing. Again for the same hour replaces it.
        """
        key = (project, controller, hour.start)
        driven = (*key, hour.with_kwh, hour.without_kwh, hour.estimated, hour.source)
        self._db.execute("INSERT OR REPLACE INTO driven VALUES (?, ?, ?, ?, ?, ?, ?)", driven)
        if intensity is not None:
            kg = (intensity * max(0.0, kwh) for kwh in (hour.with_kwh, hour.without_kwh))
            self._db.execute("INSERT OR REPLACE INTO hour VALUES (?, ?, ?, ?, ?, ?)", (*key, *kg, hour.estimated))

    def driven(self, project: str, controller: str, start: int, limit: int) -> list[Driven]:
        """The hours that were driven from `start` (UTC ns) on, at most so many."""
        found = self._db.execute(
            "SELECT start, with_kwh, without_kwh, estimated, source FROM driven WHERE project = ? AND controller = ? "
            "AND start >= ? ORDER BY start LIMIT ?",
            (project, controller, start, limit),
        )
        return [Driven(at, real, without, bool(estimated), source) for at, real, without, estimated, source in found]

    def add_day(self, project: str, controller: str, date: str, saving: float) -> None:
        """Keep what a local day would have saved, as the guard's twins came to."""
        self._db.execute("INSERT OR REPLACE INTO day VALUES (?, ?, ?, ?)", (project, controller, date, saving))

    def days(self, project: str, controller: str, since: str = "") -> dict[str, float]:
        """The savings of the last days since a date, by date, the newest last."""
        found = self._db.execute(
            "SELECT date, saving FROM day WHERE project = ? AND controller = ? AND date >= ? "
            "ORDER BY date DESC LIMIT ?",
            (project, controller, since, DAYS),
        )
        return dict(list(found)[::-1])

    def set_up(self, project: str, controller: str, setup: str) -> bool:
        """Days belong to the settings they were reckoned with: other settings begin anew, and True says so."""
        known = self._one("guard", "setup", project, controller)
        if known == setup:
            return False
        if known is not None:
            self._db.execute(f"DELETE FROM day WHERE {_OF}", (project, controller))  # noqa: S608 - our own names
        self._db.execute("INSERT OR REPLACE INTO guard VALUES (?, ?, ?, ?)", (project, controller, setup, b"{}"))
        return known is not None

    def report(self, project: str, controller: str, body: Mapping[str, Any]) -> None:
        """Keep what the guard of a scheduler has to say; the last word counts."""
        self._db.execute(
            "UPDATE guard SET report = ? WHERE project = ? AND controller = ?",
            (msgspec.json.encode(body), project, controller),
        )

    def reported(self, project: str, controller: str) -> dict[str, Any]:
        """What the guard of a scheduler said last; empty when nothing."""
        return dict(msgspec.json.decode(self._one("guard", "report", project, controller) or b"{}"))

    def expect(self, project: str, controller: str, hours: Sequence[ExpectedHour]) -> None:
        """Keep what hours to come are expected to be; what was expected before, and is to come, is replaced."""
        self._db.executemany(
            "INSERT OR REPLACE INTO outlook VALUES (?, ?, ?, ?, ?, ?, NULL)",
            [(project, controller, one.start, one.net_kwh, one.low_kwh, one.high_kwh) for one in hours],
        )
        old = min((one.start for one in hours), default=0) - _OUTLOOK_NS
        self._db.execute(
            "DELETE FROM outlook WHERE project = ? AND controller = ? AND start < ?", (project, controller, old)
        )

    def came(self, project: str, controller: str, start: int, net_kwh: float) -> None:
        """Keep what an hour came to, beside what was expected of it before it began."""
        self._db.execute(
            "UPDATE outlook SET came = ? WHERE project = ? AND controller = ? AND start = ?",
            (net_kwh, project, controller, start),
        )

    def outlook(self, project: str, controller: str, start: int, end: int) -> list[ExpectedHour]:
        """What was and is expected of the hours that begin in [start, end), and what came."""
        found = self._db.execute(
            "SELECT start, net, low, high, came FROM outlook WHERE project = ? AND controller = ? AND start >= ? AND "
            "start < ? ORDER BY start",
            (project, controller, start, end),
        )
        return [ExpectedHour(*row) for row in found]

    def wait(self, project: str, controller: str, why: str) -> None:
        """Keep why a controller has no turn now; nothing when it has."""
        self._db.execute("INSERT OR REPLACE INTO waiting VALUES (?, ?, ?)", (project, controller, why))

    def waits(self, project: str, controller: str) -> str:
        """Why a controller has no turn now; empty when it has, or was never seen."""
        return self._one("waiting", "why", project, controller) or ""

    def remember(self, project: str, controller: str, body: Mapping[str, Any]) -> None:
        """Keep what a controller must know after a restart."""
        self._db.execute(
            "INSERT OR REPLACE INTO memory VALUES (?, ?, ?)", (project, controller, msgspec.json.encode(body))
        )

    def recall(self, project: str, controller: str) -> dict[str, Any]:
        """What it kept; empty when nothing."""
        return dict(msgspec.json.decode(self._one("memory", "body", project, controller) or b"{}"))

    def last(self, project: str, controller: str, count: int = 1) -> list[dict[str, Any]]:
        """The last decisions, the newest first."""
        found = self._db.execute(
            "SELECT body FROM decision WHERE project = ? AND controller = ? ORDER BY at DESC LIMIT ?",
            (project, controller, count),
        )
        return [msgspec.json.decode(body) for (body,) in found]

    def controllers(self, project: str) -> list[str]:
        """The controllers of a project that ever decided."""
        found = self._db.execute("SELECT DISTINCT controller FROM decision WHERE project = ? ORDER BY 1", (project,))
        return [name for (name,) in found]

    def saved(self, project: str, controller: str, errors: Errors) -> Saved:
        """What was saved so far."""
        hours, real, without, estimated, since = self._db.execute(
            "SELECT count(*), total(real_kg), total(without_kg), coalesce(max(estimated), 0), coalesce(min(start), 0) "
            "FROM hour WHERE project = ? AND controller = ?",
            (project, controller),
        ).fetchone()
        meter = errors.meter * float((real**2 + without**2) ** 0.5)
        return Saved(hours, without - real, meter, errors.factor * abs(without - real), bool(estimated), since)

    def forget(self, project: str) -> None:
        """What is known of a project goes with it."""
        for table in ("decision", "hour", "driven", "day", "outlook", "guard", "memory", "waiting", "held"):
            self._db.execute(f"DELETE FROM {table} WHERE project = ?", (project,))  # noqa: S608 - our own names

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _one(self, table: str, column: str, project: str, controller: str) -> Any:
        """What a table with one row for each controller has of one; None where it has none."""
        query = f"SELECT {column} FROM {table} WHERE {_OF}"  # noqa: S608 - our own names
        row = self._db.execute(query, (project, controller)).fetchone()
        return row[0] if row else None
