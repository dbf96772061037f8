"""Standing permits that loops hold, remembered over a restart: who may no longer drive then gives them back.

A part of the pilot's store of decisions. What belongs to nobody any more is brought to rest as if its loop had ended.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

SCHEMA = """
CREATE TABLE IF NOT EXISTS held (
  project TEXT NOT NULL, thing TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (project, thing, name)) WITHOUT ROWID;
"""

Written = tuple[str, str, str]  # project, thing, and the name of a property or action


class Held(msgspec.Struct, frozen=True):
    """A permit by its id, until when it counts (UTC ns), its corridor, and what is told last when nobody drives."""

    standing: str
    until: int
    low: float
    high: float
    rest: float | None


class HeldPermits:
    """The permits of all loops, by what is written."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def keep(self, what: Written, held: Held) -> None:
        """It is held from now on."""
        self._db.execute("INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?)", (*what, msgspec.json.encode(held)))

    def drop(self, what: Written) -> None:
        """It was given back."""
        self._db.execute("DELETE FROM held WHERE project = ? AND thing = ? AND name = ?", what)

    def of(self, what: Written) -> Held | None:
        """What is held; None when nothing is."""
        row = self._db.execute("SELECT body FROM held WHERE project = ? AND thing = ? AND name = ?", what).fetchone()
        return msgspec.json.decode(row[0], type=Held) if row else None

    def all(self) -> dict[Written, Held]:
        """All that are held."""
        rows = self._db.execute("SELECT project, thing, name, body FROM held").fetchall()
        return {(row[0], row[1], row[2]): msgspec.json.decode(row[3], type=Held) for row in rows}


def any_held(path: Path) -> bool:
    """Whether a store of decisions remembers a permit: somebody has to give it back."""
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            return db.execute("SELECT 1 FROM held LIMIT 1").fetchone() is not None
    except sqlite3.Error:  # of an earlier release, which had no such table
        return False
