"""Runs statements in a process that has given up its rights as a child does, past the check: what is left is walls.

Arguments: a folder to read, a file in it, a file outside. Prints one JSON object: what each attempt came to.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from taihu.history.sql.child import Job, give_up_rights, lock, open_database


def main() -> None:
    folder, inside, outside = sys.argv[1:4]
    job = Job("", [], folder, "json", 64 << 20, 20, 2, 1000)
    listener = socket.create_server(("127.0.0.1", 0))
    parent = os.getppid()
    connection = open_database()
    give_up_rights(job)
    found: dict[str, str] = {"threads": str(threading.active_count())}
    found |= python_attempts(Path(inside), Path(outside), listener.getsockname()[1], parent)
    for sql in raw_statements(inside, outside):
        found[f"before the lock: {sql}"] = outcome(partial(rows, connection, sql))
    lock(connection, job, [inside])
    found["reads what it may"] = outcome(partial(rows, connection, f"SELECT * FROM read_parquet('{inside}')"))
    for sql in raw_statements(inside, outside):
        found[sql] = outcome(partial(rows, connection, sql))
    for sql in ("SELECT repeat('x', 2000000000)", "SELECT list(i) FROM range(100000000) t(i)", MANY):
        found[sql] = outcome(partial(rows, connection, sql))
    sys.stdout.buffer.write(msgspec.json.encode(found))


MANY = "SELECT string_agg(i::VARCHAR || repeat('y', 1000), '') FROM range(10000000) t(i)"


def raw_statements(inside: str, outside: str) -> list[str]:
    return [
        f"COPY (SELECT 1) TO '{inside}'",
        f"COPY (SELECT 1) TO '{inside}' (FORMAT parquet, USE_TMP_FILE false)",
        f"COPY (SELECT 1) TO '{inside}.new'",
        f"COPY (SELECT 1) TO '{outside}'",
        f"COPY (SELECT 1) TO '{outside}.new' (USE_TMP_FILE false)",
        f"SELECT * FROM read_text('{outside}')",
        f"SELECT * FROM read_blob('{outside}')",
        f"SELECT * FROM read_csv('{outside}')",
        "SELECT * FROM read_text('/proc/self/environ')",
        f"SELECT * FROM read_text('/proc/{os.getppid()}/environ')",
        "SELECT * FROM read_text('/etc/passwd')",
        f"ATTACH '{outside}.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SELECT * FROM 'http://127.0.0.1:9/x.csv'",
        f"EXPORT DATABASE '{outside}.folder'",
        f"SET temp_directory = '{outside}.tmp'",
        f"SET secret_directory = '{outside}.secrets'",
        "CREATE PERSISTENT SECRET s (TYPE http, BEARER_TOKEN 'x')",
        "SELECT getenv('TAIHU_SECRET')",
    ]


def python_attempts(inside: Path, outside: Path, port: int, parent: int) -> dict[str, str]:
    """The same as any code would try that took the process over."""
    attempts: dict[str, Callable[[], Any]] = {
        "python reads outside": lambda: os.open(outside, os.O_RDONLY),
        "python lists outside": lambda: os.listdir(outside.parent),
        "python writes inside": lambda: os.open(inside, os.O_WRONLY),
        "python truncates inside": lambda: os.truncate(inside, 0),
        "python removes inside": lambda: os.unlink(inside),
        "python renames inside": lambda: os.rename(inside, f"{inside}.2"),
        "python creates inside": lambda: os.open(f"{inside}.new", os.O_WRONLY | os.O_CREAT),
        "python creates outside": lambda: os.open(f"{outside}.new", os.O_WRONLY | os.O_CREAT),
        "python connects": lambda: socket.socket().connect(("127.0.0.1", port)),
        "python listens": lambda: socket.socket().bind(("127.0.0.1", 0)),
        "python runs a program": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "python signals its parent": lambda: os.kill(parent, signal.SIGCONT),
        "python raises a limit": lambda: __import__("resource").setrlimit(7, (1 << 20, 1 << 20)),
        "python sees a secret": lambda: os.environ["TAIHU_SECRET"],
    }
    return {name: outcome(attempt) for name, attempt in attempts.items()}


def rows(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    return connection.execute(sql).fetchall()


def outcome(attempt: Callable[[], Any]) -> str:
    try:
        return f"DONE {attempt()!r:.80}"
    except (duckdb.Error, OSError, MemoryError, KeyError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
