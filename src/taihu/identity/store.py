"""The metadata store: SQLite, one connection, every transaction durable when it returns (§4)."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from sqlite3 import Connection

from taihu.identity.rows import value
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
        self.version_found = 0
        self._begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"
        self._closing = ExitStack()
        try:
            if not read_only:
                self._closing.callback(os.close, _take_lock(path.with_name(path.name + ".lock")))
                # SQLite's own would be for all to read.
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            elif not path.exists():
                raise _nothing_yet(path)
            # The driver opens transactions by rules of its own; autocommit and our own BEGIN make migrations atomic.
            with _told():
                self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
                self._closing.callback(self._connection.close)
                _configure(self._connection)
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
        with _told():
            self._connection.execute(self._begin)
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # what failed may have ended it already
                    self._connection.execute("ROLLBACK")
                raise

    def version(self) -> int:
        """A number that changes when another process has committed."""
        with self.transaction() as connection:
            return int(value(connection.execute("PRAGMA data_version")))

    def generation(self) -> int:
        """A number that counts the transactions that readers have to know of."""
        with self.transaction() as connection:
            return int(value(connection.execute("PRAGMA user_version")))

    def set_generation(self, connection: Connection, number: int) -> None:
        """Count one more, with what the transaction of `connection` changes."""
        connection.execute(f"PRAGMA user_version = {number % 2**31}")

    def shrink(self) -> None:
        """Move what SQLite's log holds into the file and empty the log, so that nothing old is left in it.

        A reader in the middle of something, or a full disk, leaves it as it is.
        """
        with suppress(sqlite3.OperationalError):
            for pragma in ("busy_timeout = 0", "wal_checkpoint(TRUNCATE)", f"busy_timeout = {_BUSY_MS}"):
                self._connection.execute(f"PRAGMA {pragma}").fetchall()

    def close(self) -> None:
        """Close the file and let another process write it."""
        self._closing.close()

    def _check(self, path: Path, *, read_only: bool) -> None:
        with self.transaction() as connection:
            if not read_only:
                self.version_found = migrate(connection)
            elif stored_version(connection) == 0:
                raise _nothing_yet(path)


@contextmanager
def _told() -> Iterator[None]:
    """What SQLite raises for a disk or a file, as what it means to a user."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except sqlite3.OperationalError as error:
        raise StoreUnavailable(f"The metadata cannot be written or read: {error}.", "See the disk.") from None
    except sqlite3.DatabaseError as error:
        raise DamagedError(f"The metadata is damaged: {error}.", "Put a backup back: taihu restore.") from None


def _configure(connection: Connection) -> None:
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
