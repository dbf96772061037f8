"""A node lets readings expire while others come in: acknowledgements go on, and what expired is nowhere."""

import time
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from tests.faults.support import CLOCK, Answer, LiveNode, wait_until

from taihu.cli.main import run
from taihu.kernel.clock import Clock
from taihu.runtime.process import clock_of

LIMITS = {"flush_rows": 2_000, "flush_s": 0.3, "snapshot_s": 0.5}
RULES = '[clock]\nspeed = 4000\nstart = 2026-01-01T00:00:00Z\n[retention]\nraw = "1h"\n1h = "forever"\n'
HOUR = 3_600 * 10**9


def test_readings_expire_while_others_come(tmp_path: Path) -> None:
    """§3, §4, §5: an hour passes in a second here."""
    node = LiveNode(tmp_path / "site", ["old", "pump"], LIMITS, more=RULES)
    node.start()
    try:
        clock = clock_of(node.site)
        sent = clock.now_ns()
        assert send(node, "old", sent).body["accepted"] == 30
        late = send(node, "old", sent - 2 * HOUR)
        assert late.status == 400 and "before what is kept: readings of 1h" in late.body["refused"][0]
        wait_while_others_come(node, clock, lambda: clock.now_ns() > sent + HOUR + 10**9, "an hour went by")
        assert readings(node) == []
        assert "old" not in {each["thing"] for each in node.get("/projects/plant/values").body["values"]}
        wait_while_others_come(node, clock, lambda: clock.now_ns() > sent + 3 * HOUR, "they were flushed")
        node.settle()
        wait_while_others_come(node, clock, lambda: not rows_in_files(node), "their bytes left the files")
    finally:
        node.stop()


def send(node: LiveNode, thing: str, at: int) -> Answer:
    rows = [{"ts": at // 10**6 + n, "values": {f"of_{thing}": float(n)}} for n in range(30)]
    path = f"/api/v1/{node.tokens[thing]}/telemetry"
    return node.ask("POST", path, msgspec.json.encode(rows), Content_Type="application/json")


def wait_while_others_come(node: LiveNode, clock: Clock, condition: Any, what: str) -> None:
    def step() -> bool:
        assert send(node, "pump", clock.now_ns()).body["accepted"] == 30
        time.sleep(0.1)
        return bool(condition())

    wait_until(step, what)


def readings(node: LiveNode) -> list[Any]:
    found = node.get("/projects/plant/history", thing="old", property="of_old")
    assert found.status == 200, found
    return list(found.body["readings"])


def rows_in_files(node: LiveNode) -> int:
    """How many readings of the thing `old` are in files."""
    found = 0
    for path in (node.site.data / "history" / "plant").glob("untyped-*/*.parquet"):
        try:
            row = duckdb.execute("SELECT count(COLUMNS('of_old.*')) FROM read_parquet(?)", [str(path)]).fetchone()
            found += sum(row or ())
        except (duckdb.IOException, duckdb.BinderException):
            continue  # merged meanwhile, or of other properties
        except duckdb.InvalidInputException:
            found += 1  # it is being written: nobody knows yet
    return found


def test_a_changed_age_counts_after_a_reload(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the site, then of the project: what is older is in no answer and refused; a longer age takes it again."""
    node = LiveNode(tmp_path / "site", ["old", "pump"])
    path = node.folder / "site.toml"
    text = path.read_text()

    def reload(changed: str) -> list[str]:
        path.write_text(changed)
        capsys.readouterr()
        assert run(["reload", "--json", "--site", str(node.folder)]) == 0
        return list(msgspec.json.decode(capsys.readouterr().out)["applied"])

    try:
        node.start()
        now = CLOCK.now_ns()
        for age in (0, 3, 20):
            assert send(node, "old", now - age * HOUR - HOUR // 60).status == 200
        node.settle()
        assert len(readings(node)) == 90
        assert reload(text + '\n[retention]\nraw = "10h"\n') == ["retention.raw"]
        wait_until(lambda: len(readings(node)) == 60, "the site's age counts")
        assert "before what is kept" in send(node, "old", now - 20 * HOUR).body["refused"][0]
        project = text.replace(
            'name = "plant"\n', 'name = "plant"\n[project.retention]\nraw = "2h"\n[[project.thing]]\nname = "x"\n', 1
        )
        assert reload(project + '\n[retention]\nraw = "10h"\n') == ["project"]
        wait_until(lambda: len(readings(node)) == 30, "the project's age counts")
        assert reload(text) == ["retention.raw", "project"]
        wait_until(lambda: send(node, "old", now - 40 * HOUR).status == 200, "older ones are taken again")
    finally:
        node.stop()
