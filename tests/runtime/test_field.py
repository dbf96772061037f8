"""A device behind a driver, from its address to its history and back by a command."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.drivers.conformance import Peer
from tests.runtime.test_node_wot import MODULES, Consumer
from tests.supervised import SupervisedNode
from tests.waiting import WAIT_S

from taihu.cli.client import NodeClient, NodeRefused, connect
from taihu.cli.main import EXIT_REFUSED, EXIT_TRY_AGAIN, run

PEER = Path(__file__).parents[1] / "drivers" / "modbus" / "peer.py"
SITE = '[mqtt]\nport = 0\n[http]\nport = 0\n[[project]]\nname = "roof"\n'


@pytest.fixture
def node(tmp_path: Path) -> Iterator[tuple[Path, NodeClient]]:
    node = SupervisedNode(tmp_path, SITE)
    yield tmp_path, node.operator("roof")
    node.stop()


def newest(roof: NodeClient, name: str) -> dict[str, Any] | None:
    found = roof.get("projects", "roof", "values", thing="inverter", property=name)["values"]
    return found[0] if found else None


def until(ready: Any, seconds: float = WAIT_S) -> Any:
    for _ in range(int(seconds / 0.05)):
        try:
            if found := ready():
                return found
        except Exception as error:  # noqa: BLE001 - the thing may not be there yet
            last = error
        time.sleep(0.05)
    raise AssertionError(locals().get("last"))


def test_a_device_is_added_by_its_address_read_and_commanded(node: tuple[Path, NodeClient], capsys: Any) -> None:
    site, roof = node
    peer = Peer(PEER, "1")
    try:
        place = ["--site", str(site)]
        url = f"modbus+tcp://127.0.0.1:{peer.port}/1"
        options = ["--project", "roof", "--name", "inverter", "--period", "0.1", "--option", "timeout_s=0.5"]
        assert run(["add", url, *options, *place, "--dry-run"]) == 0
        assert not (site / "connections").exists()
        assert run(["add", url, *options, *place]) == 0
        assert "inverter/W" in capsys.readouterr().out
        assert run(["add", url, *options, *place]) == EXIT_REFUSED

        power = until(lambda: newest(roof, "W"))
        assert (power["value"], power["unit"], power["quality"]) == (3500.0, "W", "good")
        until(lambda: roof.get("projects", "roof", "history", thing="inverter", property="A")["readings"])

        body = {"thing": "inverter", "property": "WChaMax", "input": 2500.0, "wait_s": 10}
        given = roof.post("projects", "roof", "commands", body=body)
        assert [step["state"] for step in given["steps"]] == ["queued", "permitted", "sent", "done"]
        until(lambda: (newest(roof, "WChaMax") or {}).get("value") == 2500.0)

        peer.stop()
        until(lambda: json.loads((site / "data" / "field.json").read_text())["connections"][0]["lost"])
        lost = newest(roof, "W")
        given = roof.post(
            "projects", "roof", "commands", body=body | {"input": 1000.0, "deadline_s": 60, "wait_s": 0.5}
        )
        assert given["state"] == "permitted"  # nobody is there, and nobody says so
        time.sleep(0.5)
        assert newest(roof, "W")["value"] == lost["value"] == 3500.0  # type: ignore[index]
        assert newest(roof, "W")["observed_at"] == lost["observed_at"]  # type: ignore[index]
        assert run(["connections", *place]) == 0
        assert "lost" in capsys.readouterr().out
        peer.start()
        found = until(lambda: _done(roof, given["id"]))
        assert found["steps"][-1]["state"] == "done"

        assert run(["disconnect", "inverter", *place]) == 0
        until(lambda: not json.loads((site / "data" / "field.json").read_text())["connections"])
        assert run(["add", "modbus+tcp://127.0.0.1:1/1", "--project", "roof", *place]) == EXIT_TRY_AGAIN
        assert run(["add", "gopher://127.0.0.1", "--project", "roof", *place]) == EXIT_REFUSED
        assert roof.get("projects", "roof", "things", "inverter")["title"] == "Wuxi Solar WX-5000"
    finally:
        peer.stop()


def _done(roof: NodeClient, number: str) -> dict[str, Any] | None:
    found: dict[str, Any] = roof.get("projects", "roof", "commands", number)
    return found if found["state"] == "done" else None


def test_secrets_are_in_the_keyring_alone(tmp_path: Path) -> None:
    from taihu.drivers.files import ConnectionFile, read_keyring, write_connection, write_keyring
    from taihu.drivers.port import Connection, Plan

    connection = Connection(name="plc", url="modbus+tcp://host/1", secrets={"password": "hunter2"})
    file = ConnectionFile(project="roof", driver="modbus", connection=connection, plan=Plan())
    path = write_connection(tmp_path, file)
    write_keyring(tmp_path, "plc", {"password": "hunter2"})
    assert "hunter2" not in path.read_text()
    assert "hunter2" not in repr(connection)
    assert (tmp_path / "keyring.json").stat().st_mode & 0o077 == 0
    assert read_keyring(tmp_path) == {"plc": {"password": "hunter2"}}


def test_methods_of_a_device_are_actions_that_a_stranger_invokes(node: tuple[Path, NodeClient]) -> None:
    """§7: node-wot finds a method in the Thing Description, and calls it with what its inputs are called."""
    pytest.importorskip("asyncua", reason="the extra opcua is not installed")
    if not MODULES:
        pytest.skip("node-wot is not installed: TAIHU_NODE_WOT names no folder with its node_modules")
    from tests.drivers.opcua.support import Peer as OpcuaPeer

    site, roof = node
    peer = OpcuaPeer()
    try:
        url = f"opc.tcp://127.0.0.1:{peer.port}/plant/"
        options = ["--project", "roof", "--name", "plant", "--option", "security=None", "--site", str(site)]
        assert run(["add", url, *options]) == 0
        path = ("projects", "roof", "things", "Boiler")
        description = until(lambda: (found := roof.get(*path)).get("actions") and found)
        assert description["actions"].keys() == {"Add", "Stop", "Refuse"}
        until(lambda: roof.get("projects", "roof", "values", thing="Boiler")["values"])
        names = list(description["actions"]["Add"]["input"]["properties"])
        with pytest.raises(NodeRefused, match="no action"):
            roof.post("projects", "roof", "commands", body={"thing": "Boiler", "action": "Explode"})
        with pytest.raises(NodeRefused, match=names[0]):
            roof.post("projects", "roof", "commands", body={"thing": "Boiler", "action": "Add", "input": {}})

        address = f"{roof.url}/api/v1/projects/roof/things/Boiler"
        consumer = Consumer(address, description["id"], issue(site))
        try:
            consumer.ask("consume")
            assert consumer.ask("invoke", ["Add", dict(zip(names, (2.5, 4.0), strict=True))]) == 6.5
            assert consumer.ask("write", ["Setpoint", 58.5]) == "written"
        finally:
            consumer.close()
        until(lambda: any(
            (one["property"], one["value"]) == ("Setpoint", 58.5)
            for one in roof.get("projects", "roof", "values", thing="Boiler")["values"]
        ))  # fmt: skip
    finally:
        peer.stop()


def issue(site: Path) -> str:
    token: str = connect(None, None, site).post("admin", "token-issue", body={"project": "roof", "kind": "operator"})[
        "token"
    ]
    return token
