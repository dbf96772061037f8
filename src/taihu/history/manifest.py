"""The manifest: which files are live, and how far into the journal they reach, in one SQLite database (§4, §14).

Files and checkpoint change in one transaction, so that a crash at any step leaves each reading there exactly once.
All of it is held in memory too; queries never touch SQLite.
"""

import json
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import Any

import msgspec

from taihu.kernel.errors import DamagedError, RefusedError, TransientError
from taihu.things.deletion import Deletion, decode_deletion, encode_deletion

_VERSION_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE things (project TEXT NOT NULL, id INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (project, id))
  STRICT, WITHOUT ROWID;
CREATE TABLE tables (id INTEGER PRIMARY KEY, project TEXT NOT NULL, model TEXT NOT NULL, folder TEXT NOT NULL) STRICT;
CREATE TABLE properties (table_id INTEGER NOT NULL REFERENCES tables, name TEXT NOT NULL, column_name TEXT NOT NULL,
  PRIMARY KEY (table_id, name)) STRICT, WITHOUT ROWID;
CREATE TABLE files (id INTEGER PRIMARY KEY AUTOINCREMENT, table_id INTEGER NOT NULL REFERENCES tables,
  path TEXT NOT NULL UNIQUE, level INTEGER NOT NULL, rows INTEGER NOT NULL, bytes INTEGER NOT NULL,
  observed_min INTEGER NOT NULL, observed_max INTEGER NOT NULL, thing_min INTEGER NOT NULL,
  thing_max INTEGER NOT NULL, record_max INTEGER NOT NULL,
  shapes INTEGER NOT NULL, late_min INTEGER, late_max INTEGER, forms TEXT NOT NULL) STRICT;
CREATE TABLE rolled (project TEXT NOT NULL, property TEXT NOT NULL, rule TEXT NOT NULL, step TEXT NOT NULL,
  reach_ns INTEGER NOT NULL, thing INTEGER NOT NULL, until INTEGER NOT NULL,
  PRIMARY KEY (project, property, rule, step, thing)) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('checkpoint', 0);
"""
_VERSION_2 = """
CREATE TABLE deletions (id TEXT PRIMARY KEY, position INTEGER NOT NULL, mark INTEGER NOT NULL, state INTEGER NOT NULL,
  document BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE floors (project TEXT NOT NULL, step TEXT NOT NULL, property TEXT NOT NULL, thing INTEGER NOT NULL,
  until INTEGER NOT NULL, mark INTEGER NOT NULL, PRIMARY KEY (project, step, property, thing)) STRICT, WITHOUT ROWID;
"""
_VERSION_3 = """
ALTER TABLE files ADD COLUMN crc32 INTEGER;
ALTER TABLE deletions ADD COLUMN floor INTEGER;
DROP TABLE floors;
CREATE TABLE journalled (position INTEGER NOT NULL, project TEXT NOT NULL, bytes INTEGER NOT NULL,
  PRIMARY KEY (position, project)) STRICT, WITHOUT ROWID;
CREATE TABLE sizes (at INTEGER NOT NULL, project TEXT NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (at, project))
  STRICT, WITHOUT ROWID;
"""
_VERSIONS = (_VERSION_1, _VERSION_2, _VERSION_3)  # a released one stays as it was
SCHEMA_VERSION = len(_VERSIONS)
ALL_THINGS = -1


class ManifestDamaged(DamagedError):
    """The manifest cannot be read: restore the history folder from a backup."""

    code = "manifest-damaged"


class ManifestTooNew(RefusedError):
    """A later release wrote the store: open it with that release or a later one."""

    code = "manifest-version"


class DataFile(msgspec.Struct, frozen=True, kw_only=True):
    """One live Parquet file.

    `path` is relative to the history folder. `shapes` is how many sets of properties its rows have. Rows observed from
    `late_min` to `late_max` may share thing and time with an older row, here or in another file; None when none do.
    `forms` are its property columns. `crc32` is of all its bytes; None when a release wrote it that took none.
    """

    id: int
    table_id: int
    path: str
    level: int
    rows: int
    bytes: int
    observed_min: int
    observed_max: int
    thing_min: int
    thing_max: int
    record_max: int
    shapes: int
    late_min: int | None
    late_max: int | None
    forms: tuple[str, ...]
    crc32: int | None = None


class Table(msgspec.Struct, kw_only=True):
    """Things of one project and model. A table takes at most `COLUMNS_MAX` properties, the next ones get another."""

    id: int
    project: str
    model: str
    folder: str
    columns: dict[str, str]  # property -> column
    files: tuple[DataFile, ...] = ()


class Rolled(msgspec.Struct, kw_only=True):
    """How far one property's rollup of one step reaches, for things whose definition comes to `rule`.

    Windows that end by `until` are stored, except that a thing in `late` has them only up to its own time. A reading
    can change windows up to `reach_ns` before and after itself.
    """

    project: str
    property: str
    rule: str
    step: str
    reach_ns: int
    until: int
    late: dict[int, int]


RolledKey = tuple[str, str, str, str]  # project, property, rule and step


class Erasure(IntEnum):
    """How far a deletion has come."""

    HIDDEN = 0  # no query returns it
    UNFILED = 1  # and no file of the history holds it
    ERASED = 2  # nor does the journal


class Tombstone(msgspec.Struct, frozen=True, kw_only=True):
    """A deletion as the history keeps it: of the journal's records up to `position`.

    Only files with an id below `mark` may still hold what it is of. Readings from before `floor` had expired by then:
    the windows of those that are left stand, for they cannot be rolled up again.
    """

    deletion: Deletion
    position: int
    mark: int
    floor: int | None = None
    state: Erasure = Erasure.HIDDEN


class Change(msgspec.Struct, kw_only=True):
    """What one transaction does."""

    checkpoint: int | None = None
    add: tuple[DataFile, ...] = ()
    drop: tuple[DataFile, ...] = ()
    things: tuple[tuple[str, int, str], ...] = ()
    tables: tuple[Table, ...] = ()  # new, or with new columns
    rolled: tuple[Rolled, ...] = ()  # as they are from now on
    unrolled: tuple[RolledKey, ...] = ()
    tombstones: tuple[Tombstone, ...] = ()  # new, or as they are from now on
    renamed: tuple[tuple[str, int, str], ...] = ()  # things: project, id, name from now on
    dropped: tuple[str, ...] = ()  # projects without files
    journalled: tuple[tuple[int, str, int], ...] = ()  # position, project and bytes of the records up to it
    journalled_from: int = 0  # what is of records before goes
    sizes: tuple[tuple[int, str, int], ...] = ()  # time, project and the bytes of its files then
    sizes_from: int = -(1 << 63)  # what is of times before goes


class Manifest:
    """The database. One process writes; calls come from one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open or create; raises ManifestDamaged or ManifestTooNew, and TransientError when the disk is full."""
        self._path = path
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA secure_delete = ON")  # names of what was deleted are overwritten
            self._open()
        except sqlite3.DatabaseError as error:
            self._db.close()
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise TransientError(f"{path.name} cannot be opened ({error}).", "Free space on the disk.") from error
            raise ManifestDamaged(
                f"{path.name} cannot be read ({error}):", "put a backup back: taihu restore."
            ) from error
        except RefusedError:
            self._db.close()
            raise

    def checkpoint(self) -> int:
        """The journal position up to which every record is in the files."""
        return int(self._db.execute("SELECT value FROM meta WHERE key = 'checkpoint'").fetchone()[0])

    def things(self) -> Iterable[tuple[str, int, str]]:
        """(project, id, name) of every thing, by project and id."""
        return self._db.execute("SELECT project, id, name FROM things ORDER BY project, id")

    def tables(self) -> list[Table]:
        """All tables with their live files."""
        tables = {
            row[0]: Table(id=row[0], project=row[1], model=row[2], folder=row[3], columns={})
            for row in self._db.execute("SELECT id, project, model, folder FROM tables ORDER BY id")
        }
        for table_id, name, column in self._db.execute("SELECT table_id, name, column_name FROM properties"):
            tables[table_id].columns[name] = column
        for row in self._db.execute(f"SELECT {', '.join(DataFile.__struct_fields__)} FROM files ORDER BY id"):  # noqa: S608 (our own field names)
            values: dict[str, Any] = dict(zip(DataFile.__struct_fields__, row, strict=True))
            values["forms"] = tuple(json.loads(values["forms"]))
            tables[values["table_id"]].files += (DataFile(**values),)
        return list(tables.values())

    def rolled(self) -> list[Rolled]:
        """How far each rollup reaches."""
        found: dict[tuple[str, ...], Rolled] = {}
        query = "SELECT project, property, rule, step, reach_ns, thing, until FROM rolled ORDER BY thing"
        for *key, reach_ns, thing, until in self._db.execute(query):
            if thing == ALL_THINGS:
                project, name, rule, step = key
                found[tuple(key)] = Rolled(
                    project=project, property=name, rule=rule, step=step, reach_ns=reach_ns, until=until, late={}
                )
            else:
                found[tuple(key)].late[thing] = until
        return list(found.values())

    def tombstones(self) -> list[Tombstone]:
        """Every deletion, in the order of the journal."""
        return [
            Tombstone(
                deletion=decode_deletion(document), position=position, mark=mark, floor=floor, state=Erasure(state)
            )
            for position, mark, floor, state, document in self._db.execute(
                "SELECT position, mark, floor, state, document FROM deletions ORDER BY position, id"
            )
        ]

    def journalled(self) -> list[tuple[int, str, int]]:
        """Position, project and bytes of the records between flushes, in the journal's order."""
        return self._db.execute("SELECT position, project, bytes FROM journalled ORDER BY position").fetchall()

    def sizes(self) -> list[tuple[int, str, int]]:
        """Time, project and the bytes of its files then, the oldest first."""
        return self._db.execute("SELECT at, project, bytes FROM sizes ORDER BY at").fetchall()

    def next_file_id(self) -> int:
        """One more than any file ever had."""
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'files'").fetchone()
        return int(row[0]) + 1 if row else 1

    def commit(self, change: Change) -> None:
        """Apply a change wholly or not at all; durable when this returns. OSError when the disk is full."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._apply(change)
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            raise OSError(f"the manifest cannot be written: {error}") from error

    def shrink(self) -> None:
        """Move what SQLite's log holds into the database and empty the log; a full disk leaves it as it is."""
        with suppress(sqlite3.OperationalError):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def _open(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise ManifestTooNew(
                f"{self._path.name} has version {version}, this release knows up to {SCHEMA_VERSION}:",
                "run the release that wrote it, or a later one.",
            )
        if version < SCHEMA_VERSION:
            steps = "".join(_VERSIONS[version:])
            self._db.executescript(f"BEGIN; {steps} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")

    def _apply(self, change: Change) -> None:
        db = self._db
        if change.checkpoint is not None:
            db.execute("UPDATE meta SET value = ? WHERE key = 'checkpoint'", (change.checkpoint,))
        db.executemany("INSERT INTO things VALUES (?, ?, ?)", change.things)
        for table in change.tables:
            db.execute(
                "INSERT OR IGNORE INTO tables VALUES (?, ?, ?, ?)",
                (table.id, table.project, table.model, table.folder),
            )
            db.executemany(
                "INSERT OR IGNORE INTO properties VALUES (?, ?, ?)",
                [(table.id, name, column) for name, column in table.columns.items()],
            )
        keys = [*change.unrolled, *((one.project, one.property, one.rule, one.step) for one in change.rolled)]
        db.executemany("DELETE FROM rolled WHERE project = ? AND property = ? AND rule = ? AND step = ?", keys)
        for rolled in change.rolled:
            key = (rolled.project, rolled.property, rolled.rule, rolled.step)
            rows = [(*key, rolled.reach_ns, *entry) for entry in ((ALL_THINGS, rolled.until), *rolled.late.items())]
            db.executemany("INSERT INTO rolled VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        db.executemany(
            "INSERT OR REPLACE INTO deletions VALUES (?, ?, ?, ?, ?, ?)",
            [
                (one.deletion.id, one.position, one.mark, one.state, encode_deletion(one.deletion), one.floor)
                for one in change.tombstones
            ],
        )
        db.executemany(
            "UPDATE things SET name = ? WHERE project = ? AND id = ?",
            [(name, project, number) for project, number, name in change.renamed],
        )
        db.executemany("INSERT OR REPLACE INTO journalled VALUES (?, ?, ?)", change.journalled)
        db.execute("DELETE FROM journalled WHERE position < ?", (change.journalled_from,))
        db.executemany("INSERT OR REPLACE INTO sizes VALUES (?, ?, ?)", change.sizes)
        db.execute("DELETE FROM sizes WHERE at < ?", (change.sizes_from,))
        for project in change.dropped:
            db.execute("DELETE FROM properties WHERE table_id IN (SELECT id FROM tables WHERE project = ?)", (project,))
            for name in ("tables", "things", "rolled", "journalled", "sizes"):
                db.execute(f"DELETE FROM {name} WHERE project = ?", (project,))  # noqa: S608 (our own names)
        db.executemany("DELETE FROM files WHERE id = ?", [(file.id,) for file in change.drop])
        holes = ", ".join("?" * len(DataFile.__struct_fields__))
        db.executemany(f"INSERT INTO files VALUES ({holes})", [_row(file) for file in change.add])  # noqa: S608 (only holes)


def _row(file: DataFile) -> tuple[Any, ...]:
    values = msgspec.structs.asdict(file) | {"forms": json.dumps(file.forms)}
    return tuple(values[name] for name in DataFile.__struct_fields__)
