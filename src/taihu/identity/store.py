"""The metadata store: SQLAlchemy Core on SQLite, one connection, every transaction durable when it returns (§4)."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import StaticPool

from taihu.identity.schema import migrate, stored_version
from taihu.kernel.errors import DamagedError, RefusedError, TransientError

_BUSY_MS = 5_000


class StoreBusy(TransientError):
    """Another process writes this store: ask the running node, or stop it first."""

    code = "store-busy"


class StoreUnavailable(TransientError):
    """The disk refuses (full, read-only, failing): the change was not made; try again when it has room."""

    code = "store-unavailable"


class Store:
    """One SQLite file. A writer holds `PATH.lock` as long as it lives; readers hold nothing.

    `version_found` is the version that a writer found and migrated from.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._lock = -1
        self.version_found = 0
        if not read_only:
            self._lock = _take_lock(path.with_name(path.name + ".lock"))
            os.close(
                os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            )  # SQLite's own would be for all to read
        elif not path.exists():
            raise _nothing_yet(path)
        self._begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"
        # Drivers open transactions by rules of their own; autocommit and our own BEGIN make migrations atomic too.
        self._engine = create_engine(
            f"sqlite+pysqlite:///{path}",
            poolclass=StaticPool,
            connect_args={"check_same_thread": False, "isolation_level": None},
        )
        event.listen(self._engine, "connect", _configure)
        event.listen(self._engine, "begin", lambda connection: connection.exec_driver_sql(self._begin))
        try:
            self._check(path, read_only=read_only)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction; durable when the block ends without an error, otherwise as if it had not begun.

        Raises:
            StoreUnavailable: the disk refuses.
            DamagedError: the file is not a sound SQLite database.
        """
        try:
            with self._engine.begin() as connection:
                yield connection
        except OperationalError as error:
            raise StoreUnavailable(f"The metadata cannot be written or read: {error.orig}.", "See the disk.") from None
        except DatabaseError as error:
            if isinstance(error.orig, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                raise
            raise DamagedError(f"The metadata is damaged: {error.orig}.", "Put a backup back: taihu restore.") from None

    def version(self) -> int:
        """A number that changes when another process has committed."""
        with self.transaction() as connection:
            return int(connection.exec_driver_sql("PRAGMA data_version").scalar_one())

    def generation(self) -> int:
        """A number that counts the transactions that readers have to know of."""
        with self.transaction() as connection:
            return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())

    def set_generation(self, connection: Connection, number: int) -> None:
        """Count one more, with what the transaction of `connection` changes."""
        connection.exec_driver_sql(f"PRAGMA user_version = {number % 2**31}")

    def shrink(self) -> None:
        """Move what SQLite's log holds into the file and empty the log, so that nothing old is left in it.

        A reader in the middle of something, or a full disk, leaves it as it is.
        """
        with suppress(sqlite3.OperationalError):
            raw = self._engine.raw_connection()
            try:
                cursor = raw.cursor()
                for pragma in ("busy_timeout = 0", "wal_checkpoint(TRUNCATE)", f"busy_timeout = {_BUSY_MS}"):
                    cursor.execute(f"PRAGMA {pragma}").fetchall()
            finally:
                raw.close()

    def close(self) -> None:
        """Close the file and let another process write it."""
        self._engine.dispose()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _check(self, path: Path, *, read_only: bool) -> None:
        with self.transaction() as connection:
            if not read_only:
                self.version_found = migrate(connection)
            elif stored_version(connection) == 0:
                raise _nothing_yet(path)


def _configure(connection: sqlite3.Connection, _: object) -> None:
    pragmas = ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", f"busy_timeout = {_BUSY_MS}")
    for pragma in (*pragmas, "secure_delete = ON"):  # what is deleted is overwritten
        connection.execute(f"PRAGMA {pragma}").close()


def _nothing_yet(path: Path) -> RefusedError:
    return RefusedError(f"There is no metadata in {path} yet.", "Start the node first.")


def _take_lock(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StoreBusy(f"A running node holds {path}.", "Ask that node, or stop it first.") from None
    return descriptor
