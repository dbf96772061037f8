"""A node's things told as a Sparkplug edge node, and heard by a Sparkplug host, both over the node's own broker."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.supervised import SupervisedNode
from tests.waiting import WAIT_S

from taihu.cli.client import NodeClient
from taihu.cli.main import run

SITE = '[mqtt]\nport = 0\n[http]\nport = 0\n[[project]]\nname = "roof"\n[[project]]\nname = "copy"\n'


@pytest.fixture
def node(tmp_path: Path) -> Iterator[tuple[Path, NodeClient, NodeClient, str]]:
    node = SupervisedNode(tmp_path, SITE)
    pump = {"speed": {"name": "speed", "unit": "m/s", "data_type": "number"}}
    node.owner.post("admin", "thing-create", body={"project": "roof", "name": "pump", "properties": pump})
    yield tmp_path, node.operator("roof"), node.operator("copy"), node.token("roof")
    node.stop()


def until(ready: Any, seconds: float = WAIT_S) -> Any:
    for _ in range(int(seconds / 0.1)):
        if found := ready():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come")


def newest(client: NodeClient, project: str, thing: str) -> dict[str, Any] | None:
    found = client.get("projects", project, "values", property="speed")["values"]
    return next((one for one in found if one["thing"] == thing), None)


def test_what_one_project_tells_another_hears_with_unit_and_time(node: Any, capsys: Any, monkeypatch: Any) -> None:
    site, roof, copy, token = node
    monkeypatch.setattr("click.prompt", lambda *_, **__: token)
    roof.post("projects", "roof", "readings", body={"speed": 1.5}, thing="pump")
    until(lambda: newest(roof, "roof", "pump"))
    _, port = json.loads((site / "data" / "node.json").read_text())["mqtt"]
    address, place = f"127.0.0.1:{port}", ["--secret", "username", "--site", str(site)]
    edge = ["add", f"sparkplug-edge+mqtt://{address}/plant/centre", "--project", "roof", "--name", "teller"]
    assert run([*edge, "--period", "0.2", "--option", 'things=["pu*"]', *place]) == 0
    assert "lets it in" in capsys.readouterr().err
    until(lambda: (site / "data" / "teller-teller.json").exists())
    host = ["add", f"sparkplug+mqtt://{address}/plant", "--project", "copy", "--name", "host"]
    options = ["--option", "discover_s=3", "--option", "host_id=finder"]
    waker = threading.Timer(1.0, lambda: roof.post("projects", "roof", "readings", body={"speed": 2.5}, thing="pump"))
    waker.start()
    assert run([*host, *options, *place]) == 0
    waker.join()
    assert "centre-pump/speed" in capsys.readouterr().out
    heard = until(lambda: newest(copy, "copy", "centre-pump"))
    assert (heard["value"], heard["unit"], heard["quality"]) == (2.5, "m/s", "good")
    roof.post("projects", "roof", "readings", body={"speed": 3.5}, thing="pump")
    until(lambda: (newest(copy, "copy", "centre-pump") or {}).get("value") == 3.5)
    assert run(["connections", "--json", *place[2:]]) == 0
    states = {one["name"]: one["state"] for one in json.loads(capsys.readouterr().out)["connections"]}
    assert states == {"teller": "running", "host": "running"}
