"""Each test that the page of security names is there, and can be run."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()


def test_every_attack_names_tests_that_there_are() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "where it is tried" not in line]
    assert len(rows) > 20
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named and len(named) == row.count("`tests/"), row
        for path, name in named:
            tree = ast.parse((ROOT / path).read_text())
            found = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
            assert name in found, f"{path}::{name}"
