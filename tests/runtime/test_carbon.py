"""The ledger of a running node: accounts from site.toml, reports by every door, nothing across a border (§11)."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taihu.cli.client import NodeClient, NodeRefused, connect
from taihu.cli.main import run

HOUR_MS = 3_600_000
START_MS = 1_651_363_200_000  # 2022-05-01T00:00:00Z
SITE = """
[mqtt]
port = 0
[http]
port = 0
[[project]]
name = "plant"
title = "A plant"
[[project.thing]]
name = "main"
model = "meter.tm.json"
[[project.thing]]
name = "pv"
model = "meter.tm.json"
[[project.account]]
meter = "main"
net = "energy"
region = "CN"
[[project.account]]
meter = "pv"
generation = "energy"
[[project]]
name = "neighbour"
"""
MODEL: dict[str, Any] = {
    "@context": ["https://www.w3.org/2022/wot/td/v1.1", {"taihu": "urn:taihu:ns#"}],
    "@type": "tm:ThingModel",
    "title": "Meter",
    "properties": {"energy": {"type": "number", "unit": "kW.h", "taihu:kind": "interval", "taihu:interval": 3600}},
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("plant")
    (folder / "site.toml").write_text(SITE)
    (folder / "meter.tm.json").write_text(json.dumps(MODEL))
    process = subprocess.Popen(
        [sys.executable, "-m", "taihu.cli.main", "run", str(folder)], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "API on" in line:
            break
    else:
        raise AssertionError("the node did not start")
    yield folder
    process.terminate()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


def client(folder: Path, project: str) -> NodeClient:
    owner = connect(None, None, folder)
    issued = owner.post("admin", "token-issue", body={"project": project, "kind": "operator"})
    return NodeClient(owner.url, issued["token"])


def send(plant: NodeClient, thing: str, hours: dict[int, float]) -> None:
    body = {thing: [{"ts": START_MS + hour * HOUR_MS, "values": {"energy": value}} for hour, value in hours.items()]}
    assert plant.post("projects", "plant", "readings", body=body)["accepted"] == len(hours)


def rows_when(plant: NodeClient, ready: Any) -> list[dict[str, Any]]:
    for _ in range(200):
        found: list[dict[str, Any]] = plant.get(
            "projects", "plant", "carbon", "rows", start="2022-05-01T00:00:00Z", end="2022-05-02T00:00:00Z"
        )["rows"]
        if ready(found):
            return found
        time.sleep(0.05)
    raise AssertionError(found)


@pytest.mark.timeout(60)
def test_hours_reports_certificates_and_the_border(node: Path, tmp_path: Path, capsys: Any) -> None:
    plant = client(node, "plant")
    send(plant, "main", {0: 2.0, 1: 1.0, 3: -1.0})
    send(plant, "pv", {0: 1.5, 1: 0.5, 3: 2.0})
    rows = rows_when(plant, lambda found: len({row["start"] for row in found}) == 24 and len(found) == 48)
    first = {(row["meter"], row["start"] // 10**6 - START_MS): row for row in rows}
    assert first["main", 0]["location_kg"] == 2 * 0.5366
    assert first["main", 2 * HOUR_MS]["quality"] == "missing"

    send(plant, "main", {2: 4.0})  # late (§5)
    rows = rows_when(plant, lambda found: any(row["version"] == 2 for row in found))
    assert [row["reason"] for row in rows if row["version"] == 2] == ["late readings"]

    period = {"start": "2022-05-01T00:00:00Z", "end": "2022-05-01T04:00:00Z"}
    report = plant.get("projects", "plant", "carbon", "report", **period)
    assert report["total"]["import_kwh"] == 7.0
    assert report["total"]["export_kwh"] == 1.0
    assert report["total"]["generation_kwh"] == 4.0
    for kind, head in (("html", b"<!doctype html>"), ("csv", b"project,"), ("pdf", b"%PDF-")):
        target = tmp_path / f"report.{kind}"
        place = ["--site", str(node), "plant", "--start", period["start"], "--end", period["end"]]
        assert run(["carbon", "report", *place, "--out", str(target)]) == 0
        assert target.read_bytes().startswith(head)

    found = plant.get("matching", project=["plant"], start=period["start"], end="2022-05-01T02:00:00Z")
    assert found["projects"]["plant"]["hourly"] == pytest.approx(2.0 / 5.0)

    start = START_MS * 10**6
    issue = {"type": "issue", "bundle": "b1", "device": "pv", "owner": "plant", "start": start,
             "end": start + 3_600 * 10**9, "amount_wh": 1_500}  # fmt: skip
    plant.post("projects", "plant", "carbon", "certificates", body=issue)
    cancel = {"type": "cancel", "bundle": "b1", "owner": "plant", "consumer": "main", "amount_wh": 1_000}
    plant.post("projects", "plant", "carbon", "certificates", body=cancel)
    with pytest.raises(NodeRefused, match="holds 500 Wh"):
        plant.post("projects", "plant", "carbon", "certificates", body=cancel)
    rows = rows_when(plant, lambda found: any(row["reason"] == "certificates" for row in found))
    row = next(row for row in rows if row["reason"] == "certificates")
    assert (row["market_kg"], row["location_kg"]) == (1 * 0.5856, 2 * 0.5366)
    assert plant.get("projects", "plant", "carbon", "certificates")["held"] == {"plant": {"b1": 500}}
    capsys.readouterr()
    assert run(["carbon", "certificates", "--site", str(node), "plant"]) == 0
    assert "b1" in capsys.readouterr().out

    neighbour = client(node, "neighbour")
    for path in (("projects", "plant", "carbon", name) for name in ("rows", "report", "certificates")):
        with pytest.raises(NodeRefused, match="There is no project"):
            neighbour.get(*path)
    with pytest.raises(NodeRefused, match="There is no project"):
        neighbour.get("matching", project=["neighbour", "plant"])
    with pytest.raises(NodeRefused):
        neighbour.post("projects", "plant", "carbon", "certificates", body=issue)
    assert any(one["id"] == "cn-2022-average" for one in neighbour.get("factors")["factors"])


def test_only_whoever_runs_the_node_reads_the_ledgers_file(node: Path) -> None:
    assert os.stat(node / "data" / "carbon.sqlite").st_mode & 0o077 == 0
