"""The walls around a question hold without the check: for DuckDB, and for any code that took its process over."""

import subprocess
import sys
from pathlib import Path

import duckdb
import msgspec
import pytest
from tests.waiting import WAIT_S

from taihu.history.sql import confine

HERE = Path(__file__).parent


TRY = """
from pathlib import Path
from taihu.history.sql.confine import read_only_beneath
raise SystemExit(not read_only_beneath(Path("/")))
"""


def landlock() -> bool:
    return subprocess.run([sys.executable, "-c", TRY], check=False).returncode == 0


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each attempt came to; the files are as they were afterwards."""
    if not landlock():
        pytest.skip("this kernel has no Landlock")
    folder = tmp_path_factory.mktemp("confined")
    inside, outside = folder / "project" / "1.parquet", folder / "other" / "secret.csv"
    inside.parent.mkdir()
    outside.parent.mkdir()
    duckdb.execute(f"COPY (SELECT 42 AS answer) TO '{inside}'")
    outside.write_text("secret\n")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = subprocess.run(
        [sys.executable, HERE / "confined.py", inside.parent, inside, outside],
        capture_output=True,
        env={"TAIHU_SECRET_OF_PARENT": "x"},
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    return msgspec.json.decode(done.stdout, type=dict[str, str])


def test_it_reads_what_it_may(outcomes: dict[str, str]) -> None:
    assert outcomes.pop("reads what it may") == "DONE [(42,)]"
    assert outcomes["threads"] == "1"


def test_all_else_fails(outcomes: dict[str, str]) -> None:
    """§11: nothing was read, written, started or reached, before DuckDB's settings were locked and after."""
    harmless = ("SET temp_directory", "SET secret_directory")
    for attempt, came_to in outcomes.items():
        if attempt in ("threads", "reads what it may") or attempt.startswith(
            tuple(f"before the lock: {statement}" for statement in harmless)
        ):
            continue
        assert not came_to.startswith("DONE"), (attempt, came_to)


def test_memory_is_bounded(outcomes: dict[str, str]) -> None:
    memory = [came_to for attempt, came_to in outcomes.items() if "repeat('" in attempt or "list(i)" in attempt]
    assert len(memory) == 3
    assert all(came_to.startswith(("OutOfMemoryException", "MemoryError")) for came_to in memory), memory


def test_without_landlock_the_limits_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(confine, "_libc", None)
    assert confine.read_only_beneath(tmp_path) is False
