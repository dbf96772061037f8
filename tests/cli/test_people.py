"""`taihu user`, `sessions` and `token personal` on a site that does not run: so the first owner is made."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from taihu.cli.main import EXIT_REFUSED, EXIT_USAGE, run
from taihu.identity.directory import Directory
from taihu.identity.principal import Role
from taihu.kernel.clock import SystemClock

PASSWORD = "a donkey rides home late"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "site.toml").write_text('[console]\nurl = "https://site.example/"\n[[project]]\nname = "house"\n')
    for name in ("TAIHU_URL", "TAIHU_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def directory(site: Path) -> Directory:
    return Directory(site / "data" / "metadata.db", SystemClock())


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    assert run([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_the_first_owner_is_made_with_a_password(
    site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, PASSWORD + "\n")
    assert run(["user", "add", "mei", "--owner", "--title", "Mei Lin", "--stdin"]) == 0
    assert "Added mei." in capsys.readouterr().out
    found = directory(site)
    person = found.person("mei")
    assert person and person.owns_node and person.title == "Mei Lin"
    assert found.passwords.check(found.password_of("mei"), PASSWORD)
    found.close()
    assert run(["user", "list"]) == 0
    shown = capsys.readouterr().out
    assert "owner of the node" in shown and "Mei Lin" in shown and PASSWORD not in shown


def test_a_password_is_asked_for_twice(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "")
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda prompt: PASSWORD)
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda prompt: PASSWORD)
    assert run(["user", "add", "mei"]) == 0


def test_a_link_leads_to_the_console(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = answer(capsys, "user", "add", "mei", "--role", "house=operator", "--link")["code"]
    assert run(["user", "password", "mei", "--link"]) == 0
    shown = capsys.readouterr().out
    assert "https://site.example/welcome#" in shown and code not in shown
    found = directory(site)
    assert found.redeem(code, "hash").roles == {"house": Role.OPERATOR}
    found.close()


def test_roles_standing_and_removal(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer(capsys, "user", "add", "mei", "--link")
    assert "owner of house" in _shown(capsys, "user", "role", "mei", "owner", "house")
    assert answer(capsys, "user", "list", "house")["users"][0]["roles"] == {"house": "owner"}
    assert "nothing of house" in _shown(capsys, "user", "role", "mei", "none", "house")
    assert run(["user", "role", "mei", "viewer"]) == EXIT_REFUSED  # of the whole node one is owner or nothing
    assert answer(capsys, "user", "disable", "mei")["disabled"]
    assert not answer(capsys, "user", "enable", "mei")["disabled"]
    assert run(["user", "role", "nobody", "viewer", "house"]) == EXIT_REFUSED
    assert "Removed" in _shown(capsys, "user", "remove", "mei")
    assert answer(capsys, "user", "list")["users"] == []


def test_what_makes_no_password_is_refused(
    site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("short\n", "", "\n"):
        typed(monkeypatch, text)
        assert run(["user", "add", "mei", "--stdin"]) == EXIT_REFUSED
    assert run(["user", "add", "mei", "--role", "house", "--link"]) == EXIT_USAGE
    assert run(["user", "add", "Mei", "--link"]) == EXIT_REFUSED
    assert answer(capsys, "user", "list")["users"] == []


def test_tokens_and_sessions_of_a_person(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer(capsys, "user", "add", "mei", "--role", "house=owner", "--link")
    terms = ("--scope", "read", "--only", "meter*", "--expires", "2099-01-01T00:00:00Z", "--label", "notebook")
    made = answer(capsys, "token", "personal", "mei", "--project", "house", *terms)
    found = directory(site)
    principal = found.principal(made["token"])
    assert principal and (principal.user, principal.project, principal.credential_id) == ("mei", "house", made["id"])
    session, _ = found.open_session("mei", "password", address="192.0.2.7")
    found.open_session("mei", "password")
    found.close()
    assert "192.0.2.7" in _shown(capsys, "sessions", "list")
    assert len(answer(capsys, "sessions", "list", "mei")["sessions"]) == 2
    assert answer(capsys, "sessions", "end", session.id)["ended"] == [session.id]
    assert "Ended 1 " in _shown(capsys, "sessions", "end", "--user", "mei")
    assert run(["sessions", "end"]) == EXIT_USAGE


def _shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert run(words) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("words", [("token", "list"), ("user", "list")])
def test_a_project_that_is_not_there_is_not_an_empty_one(
    site: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words, "hause"]) == EXIT_REFUSED
    assert "There is no project 'hause'" in capsys.readouterr().err
