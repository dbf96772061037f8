"""Factors are listed with their sources whether or not a node runs, and it is said whose they are."""

import json
from pathlib import Path
from typing import Any

import pytest

from taihu.carbon.factors import Factor
from taihu.cli.main import EXIT_REFUSED, run

OWN = (
    ",".join(Factor.__struct_fields__)
    + "\nour-grid,CN-JS,2025,average,electricity,0.55,kg/(kW.h),a letter,2026-03-01,,\n"
)


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder without a site, with no node named."""
    monkeypatch.chdir(tmp_path)
    for name in ("TAIHU_URL", "TAIHU_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def listed(capsys: Any, *words: str) -> list[dict[str, Any]]:
    assert run(["factors", "--json", *words]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["factors"]
    return found


def test_without_a_node_those_that_come_with_taihu_are_listed(capsys: Any) -> None:
    assert run(["factors", "--region", "CN"]) == 0
    said = capsys.readouterr()
    assert "cn-2022-average" in said.out and "0.5366" in said.out and "Ministry of Ecology" in said.out
    assert "No node was asked" in said.err
    assert {one["own"] for one in listed(capsys)} == {False}


def test_a_site_that_does_not_run_has_its_own_as_its_file_says(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "site.toml").write_text('[carbon]\nfactors = "own.csv"\n[[project]]\nname = "plant"\n')
    (tmp_path / "own.csv").write_text(OWN)
    assert {one["id"]: one["own"] for one in listed(capsys, "--region", "CN-JS")}["our-grid"] is True
    assert run(["factors", "--site", str(tmp_path), "--region", "CN-JS"]) == 0
    said = capsys.readouterr()
    assert "the site's own" in said.out and "No node runs on" in said.err


def test_a_node_that_is_named_is_asked_and_nothing_stands_in_for_it(capsys: Any) -> None:
    assert run(["factors", "--url", "http://127.0.0.1:9", "--token", "x"]) != 0
    assert "No node answers" in capsys.readouterr().err
    assert run(["factors", "--url", "http://127.0.0.1:9"]) == EXIT_REFUSED
