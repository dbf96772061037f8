"""Thousands of things from a CSV, claims, and changes of many, with and without a node that runs."""

import csv
import json
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.faults.support import LiveNode, wait_until
from tests.waiting import WAIT_S

from taihu.cli.main import EXIT_REFUSED, EXIT_USAGE, run
from taihu.cli.provision import read_table
from taihu.kernel.errors import RefusedError

SITE = '[[project]]\nname = "stock"\ndevice_claims = true\n[[project]]\nname = "home"\n'
HEAD = "project,thing,title,site,tags\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TAIHU_URL", "TAIHU_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "site.toml").write_text(SITE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    assert run([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def secrets(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {row["thing"]: row for row in csv.DictReader(file)}


def test_five_thousand_things_twice(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"stock,meter-{number},Meter {number},wuxi,electricity;new\n" for number in range(5_000))
    (site / "things.csv").write_text(HEAD + rows)
    words = ("provision", "things.csv", "--out", "secrets.csv", "--claim-codes")
    assert answer(capsys, *words) == {"rows": 5000, "things": 5000, "tokens": 5000, "out": "secrets.csv"}
    assert (site / "secrets.csv").stat().st_mode & 0o777 == 0o600
    before = (site / "secrets.csv").read_bytes()
    found = secrets(site / "secrets.csv")
    assert len({row["token"] for row in found.values()} | {row["claim_code"] for row in found.values()}) == 10_000
    again = answer(capsys, *words)
    assert (again["things"], again["tokens"]) == (0, 0)
    assert secrets(site / "secrets.csv") == found and (site / "secrets.csv").read_bytes() == before
    tokens = answer(capsys, "token", "list", "stock")["tokens"]
    assert len(tokens) == 5_000


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("project,thing,colour\n", "unknown column 'colour'"),
        ("thing\na\n", "no column project"),
        (HEAD + "stock,a,,,\nstock,a,,,\n", "csv:3: a is on line 2 already"),
        (HEAD + "stock,a/b,,,\nStock,c,,,\n", "csv:2: 'a/b' cannot name a thing"),
        (HEAD + "stock,a\n", "csv:2: it has not as many values"),
        (HEAD + 'stock,"a,,,\n', "csv:2: unexpected end of data"),
        (HEAD + "stock,a,,,,,\n", "csv:2: it has not as many"),
    ],
)
def test_a_table_is_checked_as_a_whole(site: Path, text: str, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "things.csv").write_text(text)
    assert run(["provision", "things.csv", "--out", "secrets.csv"]) == EXIT_REFUSED
    assert fault in capsys.readouterr().err and not (site / "secrets.csv").exists()


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: (HEAD + text).encode("utf-8", "replace")))
def test_any_bytes_are_a_table_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """§13."""
    path = tmp_path_factory.mktemp("any") / "things.csv"
    path.write_bytes(data)
    with suppress(RefusedError):
        assert all(row["project"] and row["thing"] for row in read_table(path))


def test_a_crash_between_file_and_node_loses_no_secret(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "things.csv").write_text(HEAD + "nowhere,a,,,\n")
    assert run(["provision", "things.csv", "--out", "secrets.csv"]) == EXIT_REFUSED
    token = secrets(site / "secrets.csv")["a"]["token"]
    assert answer(capsys, "project", "create", "nowhere")
    assert answer(capsys, "provision", "things.csv", "--out", "secrets.csv")["tokens"] == 1
    assert secrets(site / "secrets.csv")["a"]["token"] == token
    (site / "other.csv").write_text("a,b\n1,2\n")
    assert run(["provision", "things.csv", "--out", "other.csv"]) == EXIT_REFUSED


def test_many_are_changed_after_a_look(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "stock,m1,,wuxi,a\nstock,m2,,wuxi,a;b\nstock,m3,,beijing,a\n"
    (site / "things.csv").write_text(HEAD + rows)
    answer(capsys, "provision", "things.csv", "--out", "s.csv", "--credential", "none")
    words = (
        "things",
        "edit",
        "stock",
        "--where",
        "site=wux*",
        "--set",
        "building=A",
        "--add",
        "tag=c",
        "--remove",
        "tag=a",
    )
    shown = answer(capsys, *words)
    assert (shown["matched"], shown["changed"], shown["applied"]) == (2, 2, False)
    assert {"thing": "m2", "field": "tags", "before": "a, b", "after": "b, c"} in shown["changes"]
    assert run([*words, "--apply"]) == 0
    assert "2 of 2 things changed" in capsys.readouterr().err
    assert answer(capsys, *words)["changed"] == 0, "it is so already"
    assert run(["things", "edit", "stock", "--set", "colour=red"]) == EXIT_REFUSED
    assert run(["things", "edit", "stock", "--where", "site=wuxi"]) == EXIT_REFUSED
    assert run(["things", "edit", "stock", "--set", "nonsense"]) == EXIT_USAGE
    assert run(["things", "edit", "stock", "--set", "model=none"]) in (0, EXIT_REFUSED)
    assert run(["things", "edit", "stock", "--set", "model=none", "--apply"]) == EXIT_REFUSED


def test_a_preview_counts_while_nothing_has_changed(site: Path) -> None:
    from taihu.cli.admin import StoreAdministration
    from taihu.runtime.admin.things import ChangedMeanwhile

    (site / "things.csv").write_text(HEAD + "stock,m1,,wuxi,a\n")
    assert run(["provision", "things.csv", "--out", "s.csv"]) == 0
    store = StoreAdministration(site)
    try:
        wanted = {"project": "stock", "where": [("name", "m1")], "set": [("title", "One")]}
        preview = store.act("things-edit", **wanted)["preview"]
        store.act("things-edit", project="stock", set=[("title", "Other")], preview=store.act(
            "things-edit", project="stock", set=[("title", "Other")])["preview"])  # fmt: skip
        with pytest.raises(ChangedMeanwhile):
            store.act("things-edit", **wanted, preview=preview)
    finally:
        store.directory.close()


@pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="mosquitto_pub is not installed")
def test_devices_arrive_and_are_claimed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the code on the label, and by what the device itself says, as ThingsBoard's do; the device changes nothing."""
    node = LiveNode(tmp_path / "site", [], project="device_claims = true", more='[[project]]\nname = "home"\n')
    node.start()
    try:
        there = ("--site", str(node.folder))
        (tmp_path / "things.csv").write_text("project,thing\nplant,pump\nplant,fan\n")
        out = str(tmp_path / "secrets.csv")
        assert run(["provision", str(tmp_path / "things.csv"), "--out", out, "--claim-codes", *there]) == 0
        found = secrets(tmp_path / "secrets.csv")

        def publish(thing: str, topic: str, message: str) -> int:
            command = ["mosquitto_pub", "-p", str(node.mqtt_port), "-u", found[thing]["token"], "-q", "1", "-V", "5"]
            return subprocess.run([*command, "-t", topic, "-m", message], check=False, timeout=WAIT_S).returncode

        assert publish("pump", "v1/devices/me/telemetry", '{"power": 1}') == 0
        assert run(["claim", "home", found["pump"]["claim_code"].lower(), *there]) == 0
        assert "home/pump is yours" in capsys.readouterr().out
        assert run(["claim", "home", found["pump"]["claim_code"], *there]) == EXIT_REFUSED
        assert publish("pump", "v1/devices/me/telemetry", '{"power": 2}') == 0
        token = node.strangers["home"]
        wait_until(
            lambda: node.get("/projects/home/things/pump/properties/power", token).body == 2, "it speaks at home"
        )
        assert node.get("/projects/plant/things/pump/properties/power").body == 1

        assert publish("fan", "v1/devices/me/claim", '{"secretKey": "blue", "durationMs": 60000}') == 0
        assert run(["claim", "home", "blue", "--thing", "fan", "--name", "my fan", *there]) == 0
        assert publish("fan", "v1/devices/me/telemetry", '{"speed": 3}') == 0
        assert node.get("/projects/home/things/my%20fan/properties/speed", token).body == 3
        log = node.log("ingest")
        opens = [row[name] for row in found.values() for name in ("token", "claim_code")]
        assert not any(secret in log for secret in opens)
    finally:
        node.stop()
