"""`taihu audit` and `taihu grant` on a site that does not run: what was done is shown, what was changed is found."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from taihu.cli.main import EXIT_DAMAGED, EXIT_REFUSED, run


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "site.toml").write_text('[[project]]\nname = "house"\n[[project]]\nname = "district"\n')
    for name in ("TAIHU_URL", "TAIHU_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    assert run(["project", "list"]) == 0
    return tmp_path


def answer(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert run([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_what_was_done_is_shown(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scoped = ("--scope", "read", "--scope", "ingest", "--only", "meter*")
    number = answer(capsys, "token", "issue", "house", *scoped)["id"]
    assert run(["token", "list", "house"]) == 0
    shown = capsys.readouterr().out
    assert "meter*" in shown and "read, ingest" in shown
    assert run(["audit", "show", "house"]) == 0
    shown = capsys.readouterr().out
    assert f"operator {number} house for read, ingest of meter*" in shown and "district" not in shown
    entries = answer(capsys, "audit", "show", "--limit", "2")["entries"]
    assert [one["number"] for one in entries] == sorted((one["number"] for one in entries), reverse=True)
    page = answer(capsys, "audit", "show", "--before", str(entries[-1]["number"]))["entries"]
    assert page[0]["number"] == entries[-1]["number"] - 1


def test_a_sound_audit_is_told_with_its_head(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = answer(capsys, "audit", "verify")["head"]
    answer(capsys, "token", "issue", "house")
    later = answer(capsys, "audit", "verify", "--head", head)
    assert later["faults"] == [] and later["head"] != head
    assert run(["audit", "verify"]) == 0 and later["head"] in capsys.readouterr().out
    assert run(["audit", "verify", "--head", "7:none"]) == EXIT_REFUSED


def test_a_changed_audit_is_told_and_looking_changes_nothing(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    connection = sqlite3.connect(site / "data" / "metadata.db")
    connection.execute("UPDATE audit SET detail = 'x' WHERE number = 2")
    connection.execute("DELETE FROM audit WHERE number = (SELECT max(number) FROM audit)")
    connection.commit()
    connection.close()
    for _ in range(2):
        assert len(answer(capsys, "audit", "verify", code=EXIT_DAMAGED)["faults"]) == 2
    assert run(["audit", "verify"]) == EXIT_DAMAGED
    shown = capsys.readouterr()
    assert "Entry 2 " in shown.out and "not what was written" in shown.err


def test_grants_with_all_their_terms(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = ("--begins", "2027-01-01T00:00:00+08:00", "--ends", "2099-01-01T00:00:00Z")
    terms = ("--right", "read", "--right", "write", "--thing", "m*", "--property", "p*", *times)
    made = answer(capsys, "grant", "request", "house", "district", *terms)
    assert (made["rights"], made["things"], made["properties"]) == (["read", "write"], ["m*"], ["p*"])
    assert made["state"] == "waiting" and made["ends_at"] == 4_070_908_800_000_000_000
    assert run(["grant", "list"]) == 0
    assert made["id"] in capsys.readouterr().out
    assert run(["grant", "add", "house", "district", "--ends", "soon"]) == 2
    assert answer(capsys, "grant", "remove", made["id"])["removed"] == [made["id"]]
    assert run(["grant", "remove", "house", "district"]) == EXIT_REFUSED
