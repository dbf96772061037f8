"""Questions through the processes of a pool: their answers, their limits, and that nothing of them stays."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from tests.history.conftest import batch
from tests.history.sql.support import CLOCK, Asked, known, pool
from tests.waiting import WAIT_S

from taihu.history.history import History
from taihu.history.sql.check import SqlForbidden, SqlRefused
from taihu.history.sql.processes import SqlEnded
from taihu.history.sql.sources import Bounds
from taihu.kernel.clock import SimClock
from taihu.kernel.errors import LimitError
from taihu.kernel.files import OsFiles
from taihu.kernel.limits import DEFAULT
from taihu.things.property import Thing

T0 = 1_700_000_000_000_000_000
S = 1_000_000_000
LIMITS = msgspec.structs.replace(
    DEFAULT, sql_rows_max=1_000, sql_answer_bytes_max=100_000, sql_memory_bytes_max=64 << 20
)
ENDLESS = "SELECT count(*) FROM range(1000000) a, range(1000000) b"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """Two projects: readings of `p` in a file and in the head, a secret in `q`."""
    OTHERS.update(below(os.getpid()))
    folder = tmp_path_factory.mktemp("pool") / "history"
    history = History(folder, OsFiles(), SimClock(), DEFAULT, lambda _p, _t: {})
    history.apply(1, batch([("a", T0 + n * S, (n / 4, "on")) for n in range(10)], ("power", "mode")))
    history.apply(2, batch([("vault", T0, (42.0,))], ("secret",), project="q", model="safe"))
    history.flush()
    history.apply(3, batch([("a", T0 + n * S, (n / 4, "off")) for n in range(10, 20)], ("power", "mode")))
    with pool(history, known(Thing(name="a", model="meter"), Thing(name="b")), LIMITS) as found:
        yield found
    assert children() == set()
    with pytest.raises(SqlEnded):
        found.rows("SELECT 1")
    history.close()


OTHERS: set[int] = set()
"""What earlier tests left running: none of it is the pool's."""


def children() -> set[int]:
    """The pool's processes."""
    return below(os.getpid()) - OTHERS


def below(pid: int) -> set[int]:
    found = set()
    with suppress(FileNotFoundError, ProcessLookupError):  # it may end meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found |= {child} | below(child)
    return found


def test_files_and_head_are_in_one_answer(asked: Asked) -> None:
    sql = "SELECT thing, count(*), max(power), min(observed_at), count(DISTINCT mode) FROM meter GROUP BY thing"
    assert asked.rows(sql) == [["a", 20, 4.75, "2023-11-14T22:13:20", 2]]
    assert asked.rows("SELECT count(*) FROM readings") == [[40]]
    assert asked.rows("SELECT count(*) FROM readings", Bounds(T0 + 5 * S, T0 + 15 * S)) == [[20]]
    assert asked.rows("SELECT thing FROM things ORDER BY 1") == [["a"], ["b"]]


def test_an_order_is_kept_in_every_format(asked: Asked) -> None:
    sql = 'SELECT observed_at, power AS "a ""b", power AS "a ""b" FROM meter WHERE power > 1 ORDER BY power DESC'
    rows = asked.rows(sql)
    assert [row[1] for row in rows] == sorted((row[1] for row in rows), reverse=True) and len(rows) == 15
    until = CLOCK.monotonic() + WAIT_S
    text = asked.pool.ask("p", sql, "csv", Bounds(), until).data.decode()
    assert text.startswith('observed_at,"a ""b","a ""b_2"\n2023-11-14T22:13:39,4.75,4.75\n')
    found = asked.pool.ask("p", sql, "parquet", Bounds(), until)
    assert found.columns == [("observed_at", "TIMESTAMP_NS"), ('a "b', "DOUBLE"), ('a "b', "DOUBLE")]
    assert [row[1] for row in read_parquet(found.data)] == [row[1] for row in rows]


def read_parquet(data: bytes) -> list[Any]:
    descriptor = os.memfd_create("answer")
    try:
        os.write(descriptor, data)
        return duckdb.execute(f"SELECT * FROM read_parquet('/dev/fd/{descriptor}')").fetchall()
    finally:
        os.close(descriptor)


def test_values_that_json_has_no_form_for(asked: Asked) -> None:
    """§3: NaN and infinity are null, never a number; times are ISO 8601; what is nested stays so."""
    sql = (
        "SELECT 'nan'::DOUBLE, '-inf'::FLOAT, 1 / 0, [1, NULL], {'a': 'x\"y'}, ['nan'::DOUBLE], make_timestamp_ns(1), "
        "TIMESTAMPTZ '2026-01-01 00:00:00+08', DATE '2026-01-02', INTERVAL 1 DAY, 3.40::DECIMAL(9, 2), true, NULL, "
        "9223372036854775807, 'line' || chr(10) || 'end' || chr(1), x'00ff'"
    )
    assert asked.rows(sql) == [
        [
            None, None, None, [1, None], {"a": 'x"y'}, "[nan]", "1970-01-01T00:00:00.000000001",
            "2025-12-31T16:00:00+00", "2026-01-02", "1 day", 3.4, True, None, 9223372036854775807, "line\nend\x01",
            "\\x00\\xFF",
        ]
    ]  # fmt: skip


def test_no_question_leaves_its_project(asked: Asked) -> None:
    """§11: not by name, by path, by a helper's name or by what an error says."""
    inside = asked.pool._store.folder
    other = next((inside / "q").rglob("*.parquet"))
    assert asked.rows("SELECT value FROM readings", project="q") == [[42.0]]
    for sql in (
        "SELECT * FROM safe",
        f"SELECT * FROM '{other}'",
        f"SELECT * FROM read_parquet('{other}')",
        f"WITH s AS (FROM parquet_scan('{other}')) SELECT * FROM s",
        "SELECT * FROM hidden.names",
        "SELECT value FROM readings WHERE thing = 'vault'",
        "SELECT content FROM read_text('/dev/fd/100')",
    ):
        try:
            assert asked.rows(sql) == []
        except (SqlRefused, SqlForbidden) as refused:
            assert "42" not in str(refused) and "vault" not in str(refused).replace("'vault'", "")
            assert str(inside) not in str(refused).replace(str(other)[:80], "")
    assert asked.rows("SELECT thing FROM readings UNION SELECT thing FROM things", Bounds(things=frozenset({"b"}))) == [
        ["b"]
    ]
    assert asked.rows("SELECT thing FROM meter", Bounds(things=frozenset())) == []


@pytest.mark.parametrize(
    ("sql", "limit"),
    [
        ("SELECT * FROM range(1001)", "sql_rows_max"),
        ("SELECT repeat('x', 90000) FROM range(9)", "sql_answer_bytes_max"),
        ("SELECT repeat('x', 2000000000)", "sql_memory_bytes_max"),
        ("SELECT list(a.range ORDER BY hash(a.range)) FROM range(30000000) a", "sql_memory_bytes_max"),
        (ENDLESS, "sql_timeout_s"),
        (f"SELECT 1 + {'1 + ' * 40_000} 1", "sql_text_bytes_max"),
    ],
)
def test_limits_end_a_question(asked: Asked, sql: str, limit: str) -> None:
    """§6: each says which limit it was, and the next question is answered."""
    with pytest.raises(LimitError, match=limit):
        asked.rows(sql, within_s=1.0 if sql == ENDLESS else 60.0)
    assert asked.rows("SELECT 1") == [[1]]
    assert len(children()) == 1  # the template alone


def test_depth_is_bounded(asked: Asked) -> None:
    """§13: whatever nesting does to DuckDB, it does it to a process of its own."""
    for sql in ("(" * 5000 + "SELECT 1" + ")" * 5000, f"SELECT {'[' * 3000}1{']' * 3000}", f"SELECT {'NOT ' * 9000} 1"):
        with suppress(SqlRefused, SqlEnded, LimitError):
            assert len(asked.rows(sql)) == 1
    with pytest.raises(SqlRefused):
        asked.rows("SELECT '\ud800'")
    assert asked.rows("SELECT 1") == [[1]]


def test_a_killed_process_is_a_lost_question_and_no_more(asked: Asked) -> None:
    assert asked.rows("SELECT 1") == [[1]]
    template = children()
    result: list[BaseException] = []

    def ask() -> None:
        try:
            asked.rows(ENDLESS)
        except SqlEnded as error:
            result.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    while not (running := children() - template):
        time.sleep(0.01)
    os.kill(running.pop(), signal.SIGKILL)
    asking.join(WAIT_S)
    assert "status -9" in str(result[0])
    os.kill(template.pop(), signal.SIGKILL)
    assert asked.rows("SELECT 2") == [[2]]


def test_nothing_stays_of_a_question(asked: Asked) -> None:
    """Neither a process, nor a descriptor, nor a file; and no question sees one before it."""
    asked.rows("SELECT count(*) FROM readings")
    before = len(os.listdir("/proc/self/fd"))
    for sql in ("SELECT count(*) FROM readings, things, properties, meter", "SELEC", "SELECT nothing FROM meter"):
        with suppress(SqlRefused):
            asked.rows(sql)
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(children()) == 1
    assert list(asked.pool._store.folder.rglob("*.new")) == []


def test_several_at_once(asked: Asked) -> None:
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(asked.rows(f"SELECT {n}, count(*) FROM readings")))
        for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert sorted(found) == [[[n, 40]] for n in range(6)]
