"""Questions in SQL about one store: each in a process of its own that is gone when it is answered."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from taihu.history.sql.check import SqlForbidden, SqlRefused
from taihu.history.sql.child import Failure, Job, Outcome, Said, Setup, Uses
from taihu.history.sql.metadata import Known
from taihu.history.sql.outputs import Format
from taihu.history.sql.prepared import described, names_of, prepared
from taihu.history.sql.processes import Child, SqlEnded, Template
from taihu.history.sql.sources import Bounds
from taihu.history.sql.views import View
from taihu.history.store import Store
from taihu.kernel.clock import Clock
from taihu.kernel.errors import LimitError
from taihu.kernel.limits import Limits

_THREADS = 2
_IDLE_S = 600.0  # how long the template is kept when nobody asks
_ERRORS = {one.__name__: one for one in (SqlRefused, SqlForbidden, LimitError)}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: names and types of its columns, how many rows, and these in the format asked for."""

    columns: Sequence[tuple[str, str]]
    rows: int
    data: bytes


class SqlPool:
    """Answers questions about one store. Calls block, and may come from several threads."""

    def __init__(self, store: Store, known: Known, clock: Clock, limits: Limits) -> None:
        self._store = store
        self._known = known
        self._clock = clock
        self._limits = limits
        self._lock = threading.Lock()
        self._template: Template | None = None
        self._retirement: threading.Timer | None = None
        self._running = 0
        self._closed = False

    def views(self, project: str) -> list[View]:
        """The views of a project."""
        return described(self._store, project)

    def ask(self, project: str, sql: str, form: Format, bounds: Bounds, until: float) -> Answer:
        """The answer to one SELECT over a project's views.

        Args:
            project: the only one whose readings can be in the answer.
            sql: the statement.
            form: the format of the answer.
            bounds: which readings the views hold.
            until: monotonic seconds after which it is given up.

        Raises:
            SqlRefused, SqlForbidden: what is asked cannot or may not be answered.
            LimitError: it takes more time, memory, rows or bytes than it may; the message names the limit.
            SqlEnded: the process ended.
        """
        limits = self._limits
        if len(_utf8(sql)) > limits.sql_text_bytes_max:
            raise LimitError(
                f"The statement is longer than {limits.sql_text_bytes_max} bytes (sql_text_bytes_max):", "shorten it."
            )
        folder = self._store.folder / project
        self._store.files.make_folder(folder)  # it is all that the child will see, so it has to be there before
        job = Job(
            sql,
            names_of(self._store, project),
            str(folder),
            form,
            limits.sql_memory_bytes_max,
            max(1, round(limits.sql_timeout_s * _THREADS)),
            _THREADS,
            limits.sql_rows_max,
        )
        child = self._begin(until)
        try:
            child.send(job)
            used = child.hear()
            if not isinstance(used, Uses):
                raise _error(used)
            with prepared(self._store, self._known, project, set(used.views), bounds, limits.sql_rows_max) as ready:
                child.send(Setup(list(ready.statements), list(ready.paths), len(ready.descriptors)), ready.descriptors)
                outcome, data = child.finish()
            if not isinstance(outcome, Outcome):
                raise _error(outcome)
            return Answer(outcome.columns, outcome.rows, data)
        finally:
            child.end()
            self._leave()

    def close(self) -> None:
        """End all processes, and begin none."""
        with self._lock:
            self._closed = True
            self._stop()

    def _begin(self, until: float) -> Child:
        with self._lock:
            if self._closed:
                raise SqlEnded("The node is stopping.", "Ask again when it runs.")
            if self._retirement is not None:
                self._retirement.cancel()
            self._running += 1
            for _ in range(2):
                if self._template is None:
                    self._template = Template()
                with suppress(OSError):
                    return Child(self._template, self._clock.monotonic, until, self._limits)
                self._stop()  # somebody ended it
            self._running -= 1
        raise SqlEnded("No process can be started for the question.", "See the node's log, and try again.")

    def _leave(self) -> None:
        with self._lock:
            self._running -= 1
            if not self._running and not self._closed:
                self._retirement = threading.Timer(_IDLE_S, self._retire)
                self._retirement.daemon = True
                self._retirement.start()

    def _retire(self) -> None:
        with self._lock:
            if not self._running:
                self._stop()

    def _stop(self) -> None:
        if self._retirement is not None:
            self._retirement.cancel()
        if self._template is not None:
            self._template.close()
            self._template = None


def _utf8(sql: str) -> bytes:
    try:
        return sql.encode()
    except UnicodeEncodeError:
        raise SqlRefused("The statement is not Unicode text.", "Correct it.") from None


def _error(said: Said) -> Exception:
    if isinstance(said, Failure) and said.kind in _ERRORS:
        return _ERRORS[said.kind](said.message, said.remedy)
    return SqlEnded(f"The question's process answered out of turn: {said!r:.200}.", "Try again.")
