"""SQL through a real node's HTTP door: its answers, whose they are (§11), and ingestion beside a heavy question."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from tests.faults.support import CLOCK, PROJECT, LiveNode

from taihu.cli.main import EXIT_REFUSED, run
from taihu.kernel.clock import NS_PER_S

SQL = f"/api/v1/projects/{PROJECT}/sql"
ENDLESS = "SELECT count(*) FROM range(1000000) a, range(1000000) b"
MORE = """
[[project]]
name = "district"
[[project]]
name = "whole"
[[project]]
name = "stranger"
[[grant]]
from = "plant"
to = "district"
things = ["meter-*"]
[[grant]]
from = "plant"
to = "whole"
"""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    """Half of the readings in files, half in the head; some granted to others."""
    node = LiveNode(
        tmp_path_factory.mktemp("sql") / "site",
        ["meter-1", "meter-2", "fan"],
        {"flush_rows": 150, "sql_timeout_s": 5.0, "sql_rows_max": 10_000},
        more=MORE,
    )
    node.start()
    start = (CLOCK.now_ns() // NS_PER_S - 3_600) * 1_000
    for token in node.tokens.values():
        rows = [{"ts": start + 1_000 * n, "values": {"power": n / 4, "mode": "on"}} for n in range(100)]
        body = msgspec.json.encode(rows)
        answer = node.ask("POST", f"/api/v1/{token}/telemetry", body, Content_Type="application/json")
        assert answer.status == 200
    node.settle()
    yield node
    node.stop()


def ask(node: LiveNode, sql: Any, token: str | None = None, query: str = "", project: str = PROJECT) -> Any:
    path = SQL.replace(PROJECT, project) + query
    return node.ask("POST", path, msgspec.json.encode({"sql": sql}), token)


def test_an_answer_has_columns_and_rows(live: LiveNode) -> None:
    """What is in files and what is in the head, once."""
    answer = ask(live, "SELECT thing, count(*) AS n, max(power) AS most FROM untyped GROUP BY thing ORDER BY thing")
    assert (answer.status, answer.body) == (
        200,
        {
            "columns": [
                {"name": "thing", "type": "VARCHAR"},
                {"name": "n", "type": "BIGINT"},
                {"name": "most", "type": "DOUBLE"},
            ],
            "rows": [["fan", 100, 24.75], ["meter-1", 100, 24.75], ["meter-2", 100, 24.75]],
        },
    )
    assert live.status()["stored"] == ask(live, "SELECT count(*) FROM readings").body["rows"][0][0]
    assert ask(live, "SELECT 1 WHERE false").body["rows"] == []
    half = ask(live, "SELECT count(*) FROM untyped", query="?start=-1d&end=-3550s").body["rows"][0][0]
    assert 0 < half < 300


def test_formats(live: LiveNode) -> None:
    sql = "SELECT thing, power FROM untyped WHERE thing = 'fan' AND power < 0.5 ORDER BY observed_at"
    assert ask(live, sql, query="?format=csv").body == b"thing,power\nfan,0.0\nfan,0.25\n"
    assert ask(live, sql, query="?format=parquet").body[:4] == b"PAR1"
    assert pl.read_ipc_stream(ask(live, sql, query="?format=arrow").body).rows() == [("fan", 0.0), ("fan", 0.25)]
    assert ask(live, sql, query="?format=xml").status == 400


def test_arrow_has_the_values_and_types_of_sql(live: LiveNode) -> None:
    sql = (
        "SELECT i AS n, i - 1 AS n, i / 2 AS half, CASE WHEN i > 0 THEN i % 2 = 0 END AS even, "
        "CASE WHEN i > 0 THEN 'π' || i END AS name, make_timestamp_ns(1_700_000_000_123_456_789 + i) AS at, "
        "CAST(i AS DECIMAL(9, 2)) AS d, CAST(i AS HUGEINT) AS h, CAST('2026-01-02' AS DATE) AS day, [i, NULL] AS many, "
        "TIMESTAMP 'infinity' AS never FROM range(3) t(i)"
    )
    frame = pl.read_ipc_stream(ask(live, sql, query="?format=arrow").body)
    assert frame.columns == ["n", "n_2", "half", "even", "name", "at", "d", "h", "day", "many", "never"]
    assert frame.select("n", "n_2", "half", "even", "name", "d", "h", "day", "many", "never").rows() == [
        (0, -1, 0.0, None, None, 0.0, 0.0, "2026-01-02", "[0,null]", None),
        (1, 0, 0.5, False, "π1", 1.0, 1.0, "2026-01-02", "[1,null]", None),
        (2, 1, 1.0, True, "π2", 2.0, 2.0, "2026-01-02", "[2,null]", None),
    ]
    assert frame["at"].to_physical().to_list() == [1_700_000_000_123_456_789 + i for i in range(3)]
    empty = pl.read_ipc_stream(ask(live, "SELECT 1 AS one WHERE false", query="?format=arrow").body)
    assert (empty.columns, len(empty)) == (["one"], 0)


@pytest.mark.parametrize(
    ("sql", "status", "code"),
    [
        ("SELEC", 400, "sql"),
        ("SELECT nothing FROM untyped", 400, "sql"),
        ("SELECT * FROM nothing", 400, "sql"),
        ("COPY untyped TO '/tmp/x'", 400, "sql-forbidden"),
        ("SELECT * FROM read_text('/etc/passwd')", 400, "sql-forbidden"),
        ("SELECT * FROM range(10001)", 429, "limit"),
        (7, 400, "bad-request"),
        (None, 400, "bad-request"),
    ],
)
def test_problems(live: LiveNode, sql: Any, status: int, code: str) -> None:
    answer = ask(live, sql)
    assert (answer.status, answer.body["type"]) == (status, f"urn:taihu:problem:{code}")


def test_views_are_those_of_the_project(live: LiveNode) -> None:
    views = live.get(f"/projects/{PROJECT}/sql/views").body["views"]
    assert [view["name"] for view in views] == [
        "untyped", "readings", "calculated", "rollups", "things", "properties", "deletions",
    ]  # fmt: skip
    assert {"name": "power", "type": "DOUBLE", "property": "power"} in views[0]["columns"]
    assert live.get("/projects/stranger/sql/views", live.strangers["stranger"]).body["views"][0]["name"] == "readings"


def test_who_may_ask(live: LiveNode) -> None:
    """§11: the project's own people, and what a grant names and nothing beside it; a thing asks nothing."""
    things = (
        "SELECT DISTINCT thing FROM readings UNION SELECT thing FROM things UNION SELECT thing FROM untyped ORDER BY 1"
    )
    all_three = [["fan"], ["meter-1"], ["meter-2"]]
    assert ask(live, things, live.viewer).body["rows"] == all_three
    assert ask(live, things, live.strangers["whole"]).body["rows"] == all_three
    assert ask(live, things, live.strangers["district"]).body["rows"] == all_three[1:]
    secret = "SELECT count(*) FROM untyped WHERE thing = 'fan' OR seq >= 0 AND thing LIKE 'f%'"
    assert ask(live, secret, live.strangers["district"]).body["rows"] == [[0]]
    assert ask(live, "SELECT count(DISTINCT thing) FROM properties", live.strangers["district"]).body["rows"] == [[2]]
    assert ask(live, things, live.strangers["stranger"]).status == 404
    assert ask(live, things, live.tokens["fan"]).status == 404
    assert ask(live, things, "wrong").status == 401
    assert ask(live, things, project="stranger").status == 404
    assert ask(live, "SELECT * FROM untyped", live.strangers["stranger"], project="stranger").status == 400
    assert live.get(f"/projects/{PROJECT}/sql/views", live.strangers["stranger"]).status == 404


def test_ingestion_goes_on_beside_a_heavy_question(live: LiveNode) -> None:
    """§4, §6: while a question burns its time every reading is acknowledged, taken over and answered from."""
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(ask(live, ENDLESS)))
    asking.start()
    sent = 0
    while asking.is_alive():
        body = msgspec.json.encode({"beside": sent})
        answer = live.ask("POST", f"/api/v1/{live.tokens['fan']}/telemetry", body, Content_Type="application/json")
        assert answer.status == 200
        sent += 1
        if sent == 3:
            live.settle()
            counted = ask(live, "SELECT count(*) FROM readings WHERE property = 'beside'")
            assert counted.body["rows"] == [[3]] and not answers
    asking.join()
    assert answers[0].status == 429 and "sql_timeout_s" in answers[0].body["title"]
    assert sent >= 3
    live.settle()
    assert ask(live, "SELECT count(*) FROM readings WHERE property = 'beside'").body["rows"] == [[sent]]
    assert live.running("worker") and live.running("ingest")


def query(live: LiveNode, *words: str) -> int:
    where = ["--url", f"http://127.0.0.1:{live.http_port}", "--token", live.operator]
    return run(["query", PROJECT, *words, *where])


def test_the_command(live: LiveNode, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sql = "SELECT thing, max(power) AS most, NULL AS missing FROM untyped GROUP BY thing ORDER BY thing"
    assert query(live, sql) == 0
    assert capsys.readouterr().out.splitlines() == [
        "thing     most  missing",
        "fan      24.75  -",
        "meter-1  24.75  -",
        "meter-2  24.75  -",
    ]
    assert query(live, sql, "--json") == 0
    assert msgspec.json.decode(capsys.readouterr().out)["rows"][0] == ["fan", 24.75, None]
    assert query(live, sql, "--format", "csv", "--out", str(tmp_path / "x.csv")) == 0
    assert (tmp_path / "x.csv").read_text() == "thing,most,missing\nfan,24.75,\nmeter-1,24.75,\nmeter-2,24.75,\n"
    assert query(live) == 0
    assert "untyped     power        DOUBLE" in capsys.readouterr().out
    assert query(live, "DROP VIEW untyped") == EXIT_REFUSED
    assert "Only SELECT can be asked." in capsys.readouterr().err
