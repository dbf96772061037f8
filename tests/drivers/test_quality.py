"""The quality scale of each driver: every rule is done, with what proves it, or says why not."""

import ast
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = (ROOT / "docs" / "drivers.md").read_text("utf-8")
RULES = [line.split("`")[1] for line in PAGE.splitlines() if line.startswith("| `")]
DRIVERS = {one.name: one.value.partition(":")[0] for one in entry_points(group="taihu.drivers")}
PROOFS = {"benchmark": "bench", "page": "page"}


def scale(driver: str) -> dict[str, dict[str, str]]:
    """A driver's quality scale, rule by rule."""
    module = find_spec(DRIVERS[driver].rpartition(".")[0])
    assert module is not None
    assert module.submodule_search_locations is not None
    path = Path(next(iter(module.submodule_search_locations))) / "quality.yaml"
    found: dict[str, dict[str, str]] = yaml.safe_load(path.read_text("utf-8"))
    return found


def names_in(path: Path) -> set[str]:
    """The names of test functions and classes of a file."""
    tree: Any = ast.walk(ast.parse(path.read_text("utf-8")))
    return {node.name for node in tree if isinstance(node, ast.FunctionDef | ast.ClassDef)}


@pytest.mark.parametrize("driver", sorted(DRIVERS))
def test_every_rule_is_proved_or_explained(driver: str) -> None:
    rules = scale(driver)
    assert list(rules) == RULES
    for rule, entry in rules.items():
        if entry["status"] != "done":
            assert set(entry) == {"status", "why"}, rule
            assert entry["status"] in ("missing", "exempt"), rule
            continue
        proof = PROOFS.get(rule, "test")
        assert set(entry) == {"status", proof}, rule
        if proof == "bench":
            assert (ROOT / "bench" / f"{entry['bench']}.py").exists(), rule
        elif proof == "page":
            text = (ROOT / "docs" / entry["page"]).read_text("utf-8").lower()
            assert "does not handle" in text, rule
            assert "## limits" in text, rule
        else:
            file, _, name = entry["test"].partition("::")
            assert name in names_in(HERE / file), f"{driver}, {rule}: there is no {entry['test']}"


@pytest.mark.parametrize("driver", sorted(DRIVERS))
def test_the_page_shows_the_scale(driver: str) -> None:
    done = sum(entry["status"] == "done" for entry in scale(driver).values())
    exempt = sum(entry["status"] == "exempt" for entry in scale(driver).values())
    line = next(line for line in PAGE.splitlines() if line.startswith(f"| {driver} |"))
    assert line.endswith(f"| {done} of {len(RULES) - exempt} |"), line
