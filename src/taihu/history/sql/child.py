"""The process that runs one question and ends: it gives up its rights before it looks at the statement.

    worker                                child
      Job ──────────────────────────────▶   limits, Landlock, parse, check
      ◀──────────────────────── Uses
      Setup, descriptors of the sheets ─▶   views, then the question itself
      ◀══════════ the answer, through a pipe
      ◀──────────────────────── Outcome

The answer goes to standard output.
"""

import re
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from taihu.history.sql.channel import receive, send, take_descriptors
from taihu.history.sql.check import SqlRefused, check_tree
from taihu.history.sql.confine import forbid_writing, limit_resources, read_only_beneath
from taihu.history.sql.outputs import Format, answer_statement
from taihu.history.sql.sheets import FIRST
from taihu.history.sql.text import quote
from taihu.kernel.errors import LimitError, RefusedError, TaihuError

_ALLOCATIONS_BYTES = 536_870_912  # address space beside what DuckDB counts: threads, strings, Python
_OUT = "/dev/fd/1"
_CONFIG: dict[str, Any] = {
    "threads": 1,
    "async_threads": 0,  # started before the process gave up its rights, they would keep theirs
    "temp_directory": "",
    "python_enable_replacements": False,
    "python_scan_all_frames": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "allow_persistent_secrets": False,
}


class Job(msgspec.Struct, frozen=True):
    """A question and what it may take. `folder` is all of the disk that it will see."""

    sql: str
    views: list[str]
    folder: str
    format: Format
    memory_bytes: int
    cpu_s: int
    threads: int
    rows_max: int


class Setup(msgspec.Struct, frozen=True):
    """The statements that make the views, what they may read, and how many descriptors follow."""

    statements: list[str]
    paths: list[str]
    descriptors: int


class Uses(msgspec.Struct, frozen=True, tag=True):
    """The views that the question reads."""

    views: list[str]


class Outcome(msgspec.Struct, frozen=True, tag=True):
    """How it went: the columns and rows of the answer, all of which is in the pipe."""

    columns: list[tuple[str, str]]
    rows: int


class Failure(msgspec.Struct, frozen=True, tag=True):
    """Why there is no answer; `kind` is the error's class."""

    kind: str
    message: str
    remedy: str


Said = Uses | Outcome | Failure


def run(channel: socket.socket, database: duckdb.DuckDBPyConnection) -> None:
    """Answer the one question that comes, with an empty database that is nobody else's."""
    connection = database.cursor()
    job = msgspec.msgpack.decode(receive(channel), type=Job)
    try:
        send(channel, _answer(connection, channel, job))
    except TaihuError as error:
        send(channel, Failure(type(error).__name__, error.message, error.remedy))
    except (duckdb.Error, MemoryError) as error:
        told = _told(error, job)
        send(channel, Failure(type(told).__name__, told.message, told.remedy))


def open_database() -> duckdb.DuckDBPyConnection:
    """An empty database in memory, without a thread of its own, that has loaded what questions need."""
    database = duckdb.connect(":memory:", config=_CONFIG)
    database.execute("SELECT json_deserialize_sql(json_serialize_sql('SELECT 1'))").fetchall()
    return database


def give_up_rights(job: Job) -> None:
    """What this process will never do again, whatever it is told."""
    limit_resources(job.memory_bytes + _ALLOCATIONS_BYTES, job.cpu_s)
    read_only_beneath(Path(job.folder))
    forbid_writing()


def lock(connection: duckdb.DuckDBPyConnection, job: Job, paths: Iterable[str]) -> None:
    """Leave DuckDB these paths alone, and settings that cannot be changed."""
    connection.execute(f"SET memory_limit = '{job.memory_bytes}B'")
    connection.execute(f"SET threads = {job.threads}")
    connection.execute("SET parquet_metadata_cache = true")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET allowed_paths = [{', '.join(map(quote, [*paths, _OUT]))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _answer(connection: duckdb.DuckDBPyConnection, channel: socket.socket, job: Job) -> Outcome:
    give_up_rights(job)
    tree = _one(connection, "SELECT json_serialize_sql(?)", [job.sql])
    used = check_tree(tree, set(job.views))
    checked = _one(connection, "SELECT json_deserialize_sql(?)", [tree])
    send(channel, Uses(sorted(used)))
    setup = msgspec.msgpack.decode(receive(channel), type=Setup)
    take_descriptors(channel, range(FIRST, FIRST + setup.descriptors))
    sheets = [f"/dev/fd/{FIRST + number}" for number in range(setup.descriptors)]
    lock(connection, job, [*setup.paths, *sheets])
    for statement in setup.statements:
        connection.execute(statement)
    columns = [(str(name), str(kind)) for name, kind, *_ in connection.execute(f"DESCRIBE {checked}").fetchall()]
    rows = _one(connection, answer_statement(checked, columns, job.format, _OUT, job.rows_max))
    if rows > job.rows_max:
        raise LimitError(
            f"The answer has more than {job.rows_max} rows (sql_rows_max):",
            "ask for less, add LIMIT, or use taihu export for readings by the million.",
        )
    return Outcome(columns, rows)


def _one(connection: duckdb.DuckDBPyConnection, statement: str, values: list[Any] | None = None) -> Any:
    row = connection.execute(statement, values).fetchone()
    assert row is not None  # each of these has one row
    return row[0]


def _told(error: duckdb.Error | MemoryError, job: Job) -> RefusedError:
    """An error as one of ours, without the paths of this machine."""
    if isinstance(error, duckdb.OutOfMemoryException | MemoryError):
        return LimitError(
            f"The question takes more memory than {job.memory_bytes} bytes (sql_memory_bytes_max):",
            "ask for a shorter time, fewer things or larger groups.",
        )
    text = str(error).partition("\n\nLINE")[0].replace(job.folder, "").strip()
    text = re.sub(r"\s+", " ", text)[:500]
    return SqlRefused(f"The question cannot be answered: {text}", "Correct the statement.")
