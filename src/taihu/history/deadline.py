"""A bound on how long a question may keep DuckDB at work: whoever asked has given up by then."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import duckdb

from taihu.kernel.clock import SystemClock
from taihu.kernel.errors import LimitError

_LOOK_S = 0.1


class Deadlines:
    """The deadlines of the threads that ask.

    One thread more watches all of them while somebody asks DuckDB: one for each question would cost more than most
    questions do. It looks again and again, for an interrupt that falls between two statements stops neither.
    """

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._own = threading.local()
        self._lock = threading.Lock()
        self._open: dict[_Deadline, duckdb.DuckDBPyConnection] = {}
        self._watched = False

    @contextmanager
    def within(self, seconds: float, limit: str) -> Iterator[None]:
        """Stop what this thread asks of DuckDB inside the block after `seconds`: LimitError, naming `limit`."""
        deadline = self._own.deadline = _Deadline(self._clock.monotonic() + seconds, limit)
        try:
            yield
        except duckdb.InterruptException:
            raise deadline.error() from None
        finally:
            self._own.deadline = None
            with self._lock:
                self._open.pop(deadline, None)

    def watch(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Let this thread's deadline, if it has one, interrupt a connection; LimitError when it is past."""
        deadline: _Deadline | None = getattr(self._own, "deadline", None)
        if deadline is None:
            return
        if self._clock.monotonic() >= deadline.at:
            raise deadline.error()
        with self._lock:
            self._open[deadline] = cursor
            if not self._watched:
                self._watched = True
                threading.Thread(target=self._look, name="deadline", daemon=True).start()

    def _look(self) -> None:
        """Interrupt what is late, until there is nothing to watch."""
        pause = threading.Event()
        while not pause.wait(_LOOK_S):
            with self._lock:
                if not self._open:
                    self._watched = False
                    return
                now = self._clock.monotonic()
                late = [cursor for deadline, cursor in self._open.items() if now >= deadline.at]
            for cursor in late:
                with suppress(duckdb.Error):  # it may just have been closed
                    cursor.interrupt()


class _Deadline:
    """When a question must have its answer (monotonic seconds)."""

    def __init__(self, at: float, limit: str) -> None:
        self.at = at
        self._limit = limit

    def error(self) -> LimitError:
        return LimitError(
            f"The answer took longer than it may ({self._limit}):",
            "ask for a shorter time, fewer things or longer windows.",
        )
