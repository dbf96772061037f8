"""A store asked in SQL: by its views alone in this process, or through a pool as a node does."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb
import msgspec

from taihu.history.calculated import Rows
from taihu.history.history import History
from taihu.history.sql.metadata import Known
from taihu.history.sql.pool import SqlPool
from taihu.history.sql.prepared import names_of, prepared
from taihu.history.sql.sheets import FIRST
from taihu.history.sql.sources import Bounds
from taihu.kernel.clock import SystemClock
from taihu.kernel.limits import DEFAULT, Limits
from taihu.things.property import Property, Thing

CLOCK = SystemClock()


def known(*things: Thing, properties: Mapping[str, Property] | None = None) -> Known:
    """Things that all have the same properties."""
    shared = dict(properties or {})
    return Known(lambda _project: things, lambda _project, _thing: shared, _nothing)


def working_out(history: History, about: Known) -> Known:
    """With the calculated properties of a store, as a node has them."""

    def work_out(
        project: str, thing: str, definition: Property, start: int, end: int, limit: int
    ) -> tuple[Rows, Sequence[tuple[int, int]]]:
        rows = history.calculated.rows(project, thing, definition, start, end, limit, whole=False)
        return rows, history.lost(project, thing, definition.name)

    return msgspec.structs.replace(about, work_out=work_out)


def _nothing(*_wanted: Any) -> Any:
    raise AssertionError("no property here is calculated")


@contextmanager
def views(
    history: History,
    about: Known | None = None,
    project: str = "p",
    bounds: Bounds | None = None,
    rows_max: int = DEFAULT.sql_rows_max,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that has the views of a project, without the processes around them."""
    connection = duckdb.connect()
    try:
        names = set(names_of(history.store, project))
        with prepared(history.store, about or known(), project, names, bounds or Bounds(), rows_max) as ready:
            for statement in ready.statements:
                for number, descriptor in reversed(list(enumerate(ready.descriptors))):
                    statement = statement.replace(f"'/dev/fd/{FIRST + number}'", f"'/dev/fd/{descriptor}'")
                connection.execute(statement)
            yield connection
    finally:
        connection.close()


@contextmanager
def pool(history: History, about: Known | None = None, limits: Limits = DEFAULT) -> Iterator["Asked"]:
    """A pool over a store."""
    found = SqlPool(history.store, about or known(), CLOCK, limits)
    try:
        yield Asked(found)
    finally:
        found.close()


class Asked:
    """Asks a pool about the project `p`."""

    def __init__(self, of: SqlPool) -> None:
        self.pool = of

    def rows(self, sql: str, bounds: Bounds | None = None, *, project: str = "p", within_s: float = 60.0) -> list[Any]:
        """The rows of the answer."""
        answer = self.pool.ask(project, sql, "json", bounds or Bounds(), CLOCK.monotonic() + within_s)
        found = [msgspec.json.decode(line) for line in answer.data.splitlines()]
        assert len(found) == answer.rows
        return found


def row_of(rows: Sequence[Any]) -> Any:
    """The only row."""
    (row,) = rows
    return row
