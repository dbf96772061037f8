"""Every statement that Sparkplug 3.0 marks as testable has a test by its name, or is told where it is nobody's here."""

import ast
import tomllib
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
FOLDERS = {"drivers": HERE.parents[1] / "drivers" / "sparkplug", "broker": HERE.parent / "mqtt" / "broker"}


def test_every_statement_has_its_place() -> None:
    wanted = (HERE / "statements.txt").read_text().split()
    assert len(wanted) == len(set(wanted)) == 299
    content = tomllib.loads((HERE / "statements.toml").read_text())
    kept = {statement for statements in content["kept"].values() for statement in statements.split()}
    others = Counter([*content["not_claimed"].split(), *content["for_the_site"].split()])
    assert kept | set(others) == set(wanted)
    assert not kept & set(others) and max(others.values()) == 1


def test_every_test_named_there_is_one() -> None:
    for name in tomllib.loads((HERE / "statements.toml").read_text())["kept"]:
        *folder, module, function = name.split(".")
        path = (FOLDERS[folder[0]] if folder else HERE) / f"{module}.py"
        functions = {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}
        assert function in functions, name
