"""House rules that linters cannot say. `ratchet.toml` holds the declared exceptions; it may only shrink."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
CLOCK_CALLS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns"}


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def ratchet(kind: str) -> dict[str, int]:
    entries = tomllib.loads((ROOT / "tests" / "ratchet.toml").read_text()).get(kind, [])
    assert all(entry["reason"] for entry in entries)
    return {entry["where"]: entry["limit"] for entry in entries}


def over(found: dict[str, int], limit: int, allowed: dict[str, int]) -> dict[str, int]:
    return {where: size for where, size in found.items() if size > allowed.get(where, limit)}


def test_files_are_short() -> None:
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources("src")}
    assert over(sizes, FILE_LINES_MAX, ratchet("file")) == {}


def test_functions_are_short() -> None:
    sizes = {}
    for path in sources("src", "bench", "tools"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                where = f"{path.relative_to(ROOT)}:{node.name}"
                sizes[where] = (node.end_lineno or 0) - node.lineno + 1
    assert over(sizes, FUNCTION_LINES_MAX, ratchet("function")) == {}


def test_only_the_clock_reads_time() -> None:
    found = []
    for path in sources("src"):
        if path.parts[-2:] == ("kernel", "clock.py"):
            continue
        text = path.read_text()
        if not any(call in text for call in CLOCK_CALLS):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).removeprefix("datetime.") in CLOCK_CALLS:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found == []


def test_ratchet_has_no_dead_entries() -> None:
    for kind in ("file", "function"):
        for where in ratchet(kind):
            assert (ROOT / where.split(":")[0]).exists(), where


def test_every_change_has_a_fragment_that_towncrier_reads() -> None:
    kinds = {"breaking", "added", "changed", "fixed", "removed"}
    for path in (ROOT / "changelog.d").glob("*.md"):
        assert path.name.split(".")[-2] in kinds, path.name
