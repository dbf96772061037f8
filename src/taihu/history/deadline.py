"""A bound on how long a question may keep DuckDB at work: whoever asked has given up by then."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import duckdb

from taihu.kernel.errors import LimitError

_AGAIN_S = 0.1  # an interrupt that falls between two statements stops neither


class Deadlines:
    """The deadlines of the threads that ask."""

    def __init__(self) -> None:
        self._own = threading.local()

    @contextmanager
    def within(self, seconds: float, limit: str) -> Iterator[None]:
        """Stop what this thread asks of DuckDB inside the block after `seconds`: LimitError, naming `limit`."""
        deadline = _Deadline(seconds, limit)
        self._own.deadline = deadline
        watcher = threading.Thread(target=deadline.watch, name="deadline", daemon=True)
        watcher.start()
        try:
            yield
        except duckdb.InterruptException:
            raise deadline.error() from None
        finally:
            self._own.deadline = None
            deadline.done.set()
            watcher.join()

    def watch(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Let this thread's deadline, if it has one, interrupt a connection; LimitError when it is past."""
        deadline: _Deadline | None = getattr(self._own, "deadline", None)
        if deadline is not None:
            deadline.take(cursor)


class _Deadline:
    def __init__(self, seconds: float, limit: str) -> None:
        self.done = threading.Event()
        self._seconds = seconds
        self._limit = limit
        self._past = seconds <= 0
        self._cursor: duckdb.DuckDBPyConnection | None = None

    def take(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor
        if self._past:
            raise self.error()

    def watch(self) -> None:
        left = max(self._seconds, 0.0)
        while not self.done.wait(left):
            self._past = True
            left = _AGAIN_S
            if self._cursor is not None:
                with suppress(duckdb.Error):  # it may just have been closed
                    self._cursor.interrupt()

    def error(self) -> LimitError:
        return LimitError(
            f"The answer took longer than it may ({self._limit}):",
            "ask for a shorter time, fewer things or longer windows.",
        )
