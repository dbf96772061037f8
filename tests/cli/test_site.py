"""The commands against a real node: what is changed while it stands still, and what is asked while it runs."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import WAIT_S

from taihu.cli.client import NodeClient, connect
from taihu.cli.main import EXIT_REFUSED, EXIT_TRY_AGAIN, run

SITE = """
[mqtt]
port = 0
[http]
port = 0
[[project]]
name = "house"
title = "House"
[[project]]
name = "district"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    (folder / "site.toml").write_text(SITE)
    return folder


@pytest.fixture(scope="module")
def device_token(folder: Path) -> str:
    """Issued before the node first runs, straight on the store."""
    return issue(folder, "house", "meter", "--create")


@pytest.fixture(scope="module")
def node(folder: Path, device_token: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "taihu.cli.main", "run", str(folder)], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    log = []
    for line in process.stderr:
        log.append(line)
        if "API on" in line:
            break
    else:
        raise AssertionError("".join(log))
    yield process
    process.terminate()
    process.communicate(timeout=WAIT_S)
    assert process.returncode == 0


@pytest.fixture(autouse=True)
def in_site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for name in ("TAIHU_URL", "TAIHU_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def issue(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "taihu.cli.main", "token", "issue", *words, "--site", str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    assert run([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert run(words) == 0
    return capsys.readouterr().out


def send(folder: Path, token: str, body: bytes) -> int:
    """One message by ThingsBoard's HTTP device API; back when it is durable (§4)."""
    host, port = json.loads((folder / "data" / "node.json").read_text())["http"]
    connection = http.client.HTTPConnection(host, port, timeout=WAIT_S)
    connection.request("POST", f"/api/v1/{token}/telemetry", body, {"Content-Type": "application/json"})
    status = connection.getresponse().status
    connection.close()
    return status


def wait_for_history() -> None:
    """Until the worker has taken over what is acknowledged; the test's own timeout bounds it."""
    client = connect(None, None, None)
    while True:
        status = client.get("node")
        if status["worker"] == "running" and status["history_position"] >= status["journal_position"]:
            return


def test_before_it_runs_the_store_is_changed_and_nothing_is_read(
    capsys: pytest.CaptureFixture[str], device_token: str
) -> None:
    assert run(["things"]) == EXIT_TRY_AGAIN
    assert "taihu run" in capsys.readouterr().err
    tokens = answer(capsys, "token", "list", "house")["tokens"]
    assert [one["thing"] for one in tokens] == ["meter"]
    names = [one["name"] for one in answer(capsys, "project", "list")["projects"]]
    assert names == ["district", "house"]


def test_readings_are_shown(node: object, folder: Path, device_token: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert send(folder, device_token, b'{"power": 3.25, "mode": "on"}') == 200
    assert "house/meter" in shown(capsys, "things")
    value = answer(capsys, "read", "house/meter/power")["values"][0]
    assert (value["thing"], value["property"], value["value"]) == ("meter", "power", 3.25)
    assert "meter/mode" in shown(capsys, "read", "house/meter")
    wait_for_history()
    readings = answer(capsys, "history", "house/meter/power", "--start", "-1h", "--limit", "10")["readings"]
    assert [one["value"] for one in readings] == [3.25]
    assert "3.25" in shown(capsys, "history", "house/meter/power")
    windows = answer(capsys, "history", "house/meter/power", "--start", "-2h", "--every", "1h")["windows"]
    assert sum(window["count"] for window in windows) == 1
    assert "coverage" in shown(capsys, "history", "house/meter/power", "--every", "1h", "--tz", "Asia/Shanghai")
    assert run(["read", "house/meter/volt"]) == EXIT_REFUSED
    assert run(["read", "nowhere"]) == EXIT_REFUSED
    assert "not-found" not in capsys.readouterr().err


def test_what_a_property_is_can_be_said(node: object, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An everyday spelling of the unit is taken, and what was said before stays said."""
    assert run(["declare", "house/meter/flow", "m³/h", "--maximum", "9", "--writable", "--site", str(folder)]) == 0
    assert "unit = m3/h" in capsys.readouterr().out
    assert run(["declare", "house/meter/flow", "--title", "What's drawn", "--site", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["unit"], told["maximum"], told["writable"], told["title"]) == ("m3/h", 9.0, True, "What's drawn")
    assert run(["declare", "house/meter/flow", "parsecs", "--site", str(folder)]) != 0
    assert run(["declare", "house/meter", "kW", "--site", str(folder)]) == EXIT_REFUSED
    assert run(["reload", str(folder)]) == run(["status", str(folder)]) == 0


def test_the_tail_says_what_comes_in(node: object, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    operator = answer(capsys, "token", "issue", "house", "--kind", "operator")["token"]
    device = answer(capsys, "token", "issue", "house", "second", "--create")["token"]
    host, port = json.loads((folder / "data" / "node.json").read_text())["http"]
    with_tail = subprocess.Popen(
        [sys.executable, "-m", "taihu.cli.main", "tail", "house", "--limit", "1", "--json"],
        env=os.environ | {"TAIHU_URL": f"http://{host}:{port}", "TAIHU_TOKEN": operator},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert with_tail.stdout is not None
    try:
        while with_tail.poll() is None:  # the tail shows what comes after it began, so something must keep coming
            assert send(folder, device, b'{"power": 1}') == 200
        event = json.loads(with_tail.stdout.readline())
    finally:
        with_tail.kill()
        with_tail.communicate()
    assert event["event"] == "accepted" and event["things"] == ["second"]


def test_administration_of_a_running_node(node: object, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Created cabin" in shown(capsys, "project", "create", "cabin", "--title", "Cabin")
    assert run(["project", "create", "cabin"]) == EXIT_REFUSED
    assert "already" in capsys.readouterr().err
    assert answer(capsys, "grant", "add", "cabin", "district", "--thing", "m*")
    assert "cabin" in shown(capsys, "grant", "list") and "m*" in shown(capsys, "grant", "list")
    assert "Ended" in shown(capsys, "grant", "remove", "cabin", "district")
    assert [one["what"] for one in answer(capsys, "audit", "show", "cabin", "--limit", "2")["entries"]] == [
        "grant revoked",
        "granted",
    ]
    assert "entries checked" in shown(capsys, "audit", "verify")
    issued = answer(capsys, "token", "issue", "cabin", "m1", "--create", "--label", "roof")
    assert send(folder, issued["token"], b'{"power": 1}') == 200
    assert "roof" in shown(capsys, "token", "list", "cabin")
    assert "Revoked" in shown(capsys, "token", "revoke", "cabin", issued["id"])
    assert "revoked" in shown(capsys, "token", "list", "cabin")
    assert send(folder, issued["token"], b'{"power": 1}') == 401
    again = answer(capsys, "token", "issue", "cabin", "m1", "--create", "--expires", "2099-01-01T00:00:00Z")
    assert answer(capsys, "token", "list", "cabin")["tokens"] and again["token"] != issued["token"]


def test_a_token_sees_its_project_alone(node: object, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """§11."""
    viewer = answer(capsys, "token", "issue", "district", "--kind", "viewer")["token"]
    host, port = json.loads((folder / "data" / "node.json").read_text())["http"]
    client = NodeClient(f"http://{host}:{port}", viewer)
    assert [one["name"] for one in client.get("projects")["projects"]] == ["district"]
    there = ("--url", f"http://{host}:{port}", "--token", viewer)
    assert run(["read", "house/meter", *there]) == EXIT_REFUSED
    assert run(["project", "create", "mine", *there]) == EXIT_REFUSED
    assert run(["token", "list", "house", *there]) == EXIT_REFUSED
