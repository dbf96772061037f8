"""A backup is made while the node runs, and a fresh node has all of it; what was deleted since does not come back."""

import asyncio
import copy
import json
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.faults.support import CLOCK, LiveNode, Sender, wait_until
from tests.ports import free_port
from tests.runtime.people import PASSWORDS, Browser, add_people

from taihu.cli.main import EXIT_DAMAGED, EXIT_REFUSED, EXIT_TRY_AGAIN, run
from taihu.kernel.config import load_site
from taihu.kernel.files import OsFiles
from taihu.runtime.backup.repository import Manifest, Repository

LIMITS = {
    "flush_rows": 2_000,
    "flush_s": 0.5,
    "snapshot_s": 0.5,
    "journal_segment_bytes": 100_000,
    "journal_retention_bytes": 200_000,
}
MODEL: dict[str, Any] = {
    "@context": ["https://www.w3.org/2022/wot/td/v1.1", {"taihu": "urn:taihu:ns#"}],
    "@type": "tm:ThingModel",
    "title": "Meter",
    "properties": {
        "energy": {"type": "number", "unit": "kW.h", "taihu:kind": "interval", "taihu:interval": 3600},
        "limit": {"type": "number", "unit": "kW", "readOnly": False},
    },
}
THINGS = '[[project.thing]]\nname = "main"\nmodel = "meter.tm.json"\n'
ACCOUNT = '[[project.account]]\nmeter = "main"\nnet = "energy"\nregion = "CN"\n[[project]]\nname = "other"\n'
HOUR_MS = 3_600_000
BEGIN_MS = (CLOCK.now_ns() // 1_000_000 // HOUR_MS - 30) * HOUR_MS
DAY: dict[str, Any] = {"start": BEGIN_MS * 10**6, "end": (BEGIN_MS + 24 * HOUR_MS) * 10**6}
SECRET = "GEHEIM-94171"


def asked(capsys: pytest.CaptureFixture[str], *arguments: Any, code: int = 0) -> Any:
    """What a command says as JSON."""
    capsys.readouterr()
    assert run([*map(str, arguments), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def revived(node: LiveNode, folder: Path) -> LiveNode:
    """The node of a restored site, at ports of its own."""
    other = copy.copy(node)
    other.folder, other.processes = folder, {}
    other.mqtt_port, other.http_port = free_port(), free_port()
    text = (folder / "site.toml").read_text()
    text = text.replace(f"port = {node.mqtt_port}", f"port = {other.mqtt_port}")
    (folder / "site.toml").write_text(text.replace(f"port = {node.http_port}", f"port = {other.http_port}"))
    other.site = load_site(folder)
    return other


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    folder = tmp_path_factory.mktemp("backed-up") / "site"
    folder.mkdir()
    (folder / "meter.tm.json").write_text(json.dumps(MODEL))
    live = LiveNode(folder, ["pump", "fan", "annas-flat"], LIMITS, things=THINGS, project="", more=ACCOUNT)
    live.start()
    yield live
    live.stop()


def report(node: LiveNode, thing: str, rows: list[dict[str, Any]]) -> None:
    body = msgspec.json.encode({thing: rows})
    answer = node.ask("POST", "/api/v1/projects/plant/readings", body, Content_Type="application/json")
    assert (answer.status, answer.body["accepted"]) == (200, len(rows)), answer


def told(node: LiveNode) -> dict[str, Any]:
    """What a node says of carbon, commands, people and things."""
    browser = Browser(node)
    assert browser.sign_in("vera").status == 200
    commands = node.get("/projects/plant/commands").body["commands"]
    return {
        "carbon": node.get("/projects/plant/carbon/rows", **DAY).body["rows"],
        "commands": [(one["id"], one["thing"], one["input"], one["why"]) for one in commands],
        "people": sorted(PASSWORDS),
        "things": [one["name"] for one in node.get("/projects/plant/things").body["things"]],
    }


def check(node: LiveNode, sender: Sender, acked: frozenset[int]) -> None:
    """§4: what had been acknowledged is there exactly once, and nothing that was not sent."""
    node.settle()
    readings = node.history(sender.thing, "id", sender.start_ns, sender.end_ns)
    counts = Counter(int(reading["value"]) for reading in readings)
    assert not acked - counts.keys(), f"{len(acked - counts.keys())} of {len(acked)} are lost"
    assert not [number for number, count in counts.items() if count > 1]
    assert counts.keys() <= set(range(sender.sent))


def test_a_flood_goes_on_while_backups_are_made_and_each_is_whole(
    node: LiveNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """§4: one in a chain of backups restores all that was acknowledged before it, and carbon, commands, people."""
    add_people(node)
    hours = [{"ts": BEGIN_MS + hour * HOUR_MS, "values": {"energy": hour + 1.0}} for hour in range(24)]
    report(node, "main", hours)
    wait_until(lambda: len(node.get("/projects/plant/carbon/rows", **DAY).body["rows"]) == 24, "accounted")
    wish = {"thing": "main", "property": "limit", "input": 3.0, "why": "a test"}
    answer = node.ask("POST", "/api/v1/projects/plant/commands", msgspec.json.encode(wish))
    assert answer.status in (200, 201, 202), answer
    before = told(node)

    sender, stop = Sender(node, "pump"), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(flood(sender, stop)))
    thread.start()
    made: list[tuple[dict[str, Any], frozenset[int]]] = []
    try:
        for count in range(3):
            wait_until(lambda least=count: len(sender.acked) > 1_000 * (least + 1), "acknowledged")
            acked = frozenset(sender.acked.copy())
            made.append((asked(capsys, "backup", "create", tmp_path / "backups", "--site", node.folder), acked))
    finally:
        stop.set()
        thread.join()
    assert [one["name"] for one, _ in made] == [one["name"] for one in listed(capsys, tmp_path)]
    verified = asked(capsys, "backup", "verify", tmp_path / "backups")
    assert verified == {"backups": [one["name"] for one, _ in made], "faults": []}
    assert made[0][0]["position"] < made[1][0]["position"] < made[2][0]["position"]

    one, acked = made[1]
    done = asked(capsys, "restore", tmp_path / "backups", tmp_path / "new", "--backup", one["name"])
    assert done["position"] == one["position"]
    other = revived(node, tmp_path / "new")
    other.start()
    try:
        check(other, sender, acked)
        assert told(other) == before
    finally:
        other.stop()
    assert "Traceback" not in other.log("ingest") + other.log("worker")


async def flood(sender: Sender, stop: threading.Event) -> None:
    over = asyncio.Event()
    running = asyncio.create_task(sender.run(over))
    await asyncio.to_thread(stop.wait)
    over.set()
    await running


def listed(capsys: pytest.CaptureFixture[str], folder: Path) -> Any:
    return asked(capsys, "backup", "list", folder / "backups")["backups"]


def test_what_did_not_change_is_not_written_again(
    node: LiveNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report(node, "fan", [{"ts": BEGIN_MS, "values": {"power": 1.0}}])
    wait_until(lambda: list((node.site.data / "history").rglob("*.parquet")), "written")
    first = asked(capsys, "backup", "create", tmp_path / "backups", "--site", node.folder)
    second = asked(capsys, "backup", "create", tmp_path / "backups", "--site", node.folder)
    one, two = (Repository(OsFiles(), tmp_path / "backups").manifest(each["name"]) for each in (first, second))
    again = {entry.path for entry in two.entries} - {entry.path for entry in one.entries if entry in two.entries}
    assert first["added"] and second["added"] <= sum(entry.size for entry in two.entries if entry.path in again)
    kept = parquet(one).keys() & parquet(two).keys()
    assert kept and all(parquet(one)[name] == parquet(two)[name] for name in kept)


def parquet(manifest: Manifest) -> dict[str, Any]:
    return {entry.path: entry for entry in manifest.entries if entry.path.endswith(".parquet")}


def test_what_was_deleted_since_does_not_come_back(
    node: LiveNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """§10: before a door opens no answer has it, and soon no file; what came beside it stays. §11: nor do sessions."""
    browser = Browser(node)
    assert browser.sign_in("vera").status == 200
    start = 1_700_000_000_000
    report(node, "fan", [{"ts": start + n, "values": {"words": SECRET if n == 1 else "plain"}} for n in range(3)])
    report(node, "annas-flat", [{"ts": start, "values": {"level": 1}}])
    node.settle()
    backups = tmp_path / "backups"
    old = asked(capsys, "backup", "create", backups, "--site", node.folder)
    where = f"thing=fan&property=words&start={(start + 1) * 10**6}&end={(start + 2) * 10**6}"
    receipt = node.ask("DELETE", f"/api/v1/projects/plant/readings?{where}").body
    assert node.ask("DELETE", "/api/v1/projects/plant/things/annas-flat").status == 202
    done = asked(capsys, "restore", backups, tmp_path / "a", "--backup", old["name"])
    assert done["deletions"] == 0, "nothing told of them"
    done = asked(
        capsys, "restore", backups, tmp_path / "b", "--tombstones", node.folder, "--tombstones", node.site.data
    )
    assert done["deletions"] == 2
    token = (node.site.data / "admin.token").read_text()
    url = f"http://127.0.0.1:{node.http_port}"
    (tmp_path / "deletions.json").write_text(
        json.dumps(asked(capsys, "deletions", "--url", url, "--token", token)["deletions"][:1])
    )
    told = ["--tombstones", str(tmp_path / "deletions.json")]
    assert run(["restore", str(backups), str(tmp_path / "c"), *told]) == EXIT_REFUSED, "a list is not what it tells"
    body = asked(capsys, "deletions", "--url", url, "--token", token)
    (tmp_path / "deletions.json").write_text(json.dumps(body))
    assert asked(capsys, "restore", backups, tmp_path / "c", *told)["deletions"] == 2
    asked(capsys, "backup", "create", backups, "--site", node.folder)
    done = asked(capsys, "restore", backups, tmp_path / "new", "--backup", old["name"])
    assert done["deletions"] == 2, "a later backup told of them"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if browser.cookie.encode() in path.read_bytes()]
    ours = [path for path in files if path.parent != tmp_path]
    assert {path.stat().st_mode & 0o777 for path in ours} == {0o600}

    other = revived(node, tmp_path / "new")
    other.start()
    try:
        refused = other.ask("POST", f"/api/v1/{node.tokens['annas-flat']}/telemetry", b'{"level": 2}')
        assert refused.status == 401
        other.settle()
        words = [one["value"] for one in other.history("fan", "words", start * 10**6, (start + 9) * 10**6)]
        assert words == ["plain", "plain"]
        gone = other.get("/projects/plant/history", thing="annas-flat", property="level", start=0, end=2**62)
        assert gone.status == 404
        browser.node = other
        assert browser.ask("GET", "/session").status == 401
        assert browser.sign_in("vera").status == 200
        wait_until(lambda: other.get(f"/deletions/{receipt['id']}").body["state"] == "erased", "erased")
        held = [path for path in (tmp_path / "new").rglob("*") if path.is_file() and SECRET.encode() in read(path)]
        assert held == []
    finally:
        other.stop()


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""  # merged meanwhile


def test_one_that_was_killed_in_the_middle_is_none(
    node: LiveNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what it wrote is of use to the next one."""
    node.settle()
    folder = tmp_path / "backups"
    command = [sys.executable, "-c", _KILLED, str(folder), str(node.folder)]
    assert subprocess.run(command, check=False).returncode == -9
    assert len(list((folder / "pieces").rglob("*"))) > 3
    assert listed(capsys, tmp_path) == []
    assert run(["restore", str(folder), str(tmp_path / "new")]) == EXIT_REFUSED
    made = asked(capsys, "backup", "create", folder, "--site", node.folder)
    assert made["added"] < made["bytes"]
    asked(capsys, "restore", folder, tmp_path / "new")


_KILLED = """
import os, signal, sys
from taihu.cli.main import run
from taihu.runtime.backup.repository import Repository
put, count = Repository.put, 0
def few(self, data):
    global count
    count += 1
    if count == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return put(self, data)
Repository.put = few
run(["backup", "create", sys.argv[1], "--site", sys.argv[2]])
"""


def test_a_flipped_byte_is_found_and_named(node: LiveNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """§14: nothing damaged is put back, and no half of a site is left."""
    made = asked(capsys, "backup", "create", tmp_path / "backups", "--site", node.folder)
    manifest = Repository(OsFiles(), tmp_path / "backups").manifest(made["name"])
    entry = max(manifest.entries, key=lambda one: one.path == "data/metadata.db")
    piece = tmp_path / "backups" / "pieces" / entry.pieces[0][:2] / entry.pieces[0]
    data = bytearray(piece.read_bytes())
    data[len(data) // 2] ^= 1
    piece.write_bytes(data)
    found = asked(capsys, "backup", "verify", tmp_path / "backups", code=EXIT_DAMAGED)
    assert [(fault["file"], Path(fault["piece"]).name) for fault in found["faults"]] == [(entry.path, piece.name)]
    assert run(["restore", str(tmp_path / "backups"), str(tmp_path / "new")]) == EXIT_DAMAGED
    assert "data/metadata.db" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    piece.unlink()  # the remedy
    asked(capsys, "backup", "create", tmp_path / "backups", "--site", node.folder)
    asked(capsys, "restore", tmp_path / "backups", tmp_path / "new")


def test_only_a_new_or_empty_folder_is_written_to(
    node: LiveNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked(capsys, "backup", "create", tmp_path / "backups", "--site", node.folder)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "letter.txt").write_text("mine")
    assert run(["restore", str(tmp_path / "backups"), str(tmp_path / "taken")]) == EXIT_REFUSED
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["letter.txt"]
    assert run(["backup", "create", str(tmp_path / "taken"), "--site", str(node.folder)]) == EXIT_REFUSED
    inside = node.site.data / "backups"
    assert run(["backup", "create", str(inside), "--site", str(node.folder)]) == EXIT_REFUSED
    shutil.rmtree(inside)
    with Repository(OsFiles(), tmp_path / "backups").held(alone=True):
        for command in (["backup", "prune"], ["backup", "verify"]):
            assert run([*command, str(tmp_path / "backups")]) == EXIT_TRY_AGAIN
