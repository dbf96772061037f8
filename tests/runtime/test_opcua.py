"""An OPC UA server, from its address to its history and back by commands, under its own security."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("asyncua", reason="asyncua is not installed: pip install 'taihu[opcua]'")

from tests.drivers.opcua.support import Peer
from tests.runtime.test_field import node, until

from taihu.cli.client import NodeClient
from taihu.cli.main import EXIT_REFUSED, run

__all__ = ["node"]


@pytest.mark.timeout(120)
def test_a_server_is_added_by_its_address_trusted_read_and_commanded(
    node: tuple[Path, NodeClient], capsys: pytest.CaptureFixture[str]
) -> None:
    site, roof = node
    peer = Peer()
    try:
        options = ["--project", "roof", "--name", "plant", "--period", "0.1", "--site", str(site)]
        assert run(["add", f"opc.tcp://127.0.0.1:{peer.port}", *options]) == 0
        shown = capsys.readouterr()
        assert "Boiler/Temperature" in shown.out and "fingerprint" in shown.err
        written = (site / "connections" / "plant.toml").read_text()
        assert 'trusted = "' in written and 'unit = "Cel"' in written
        assert (site / "connections" / "opcua" / "certificate.der").exists()

        def value(name: str) -> Any:
            found = roof.get("projects", "roof", "values", thing="Boiler", property=name)["values"]
            return found[0] if found else None

        warm = until(lambda: value("Temperature"))
        assert (warm["value"], warm["unit"], warm["quality"]) == (61.5, "Cel", "good")
        assert until(lambda: value("Mode"))["value"] == "heating"
        assert until(lambda: value("events"))["value"]["condition"] == "HighTemperature"
        assert value("Broken") is None

        def command(**body: Any) -> dict[str, Any]:
            found: dict[str, Any] = roof.post(
                "projects", "roof", "commands", body={"thing": "Boiler", "wait_s": 10, **body}
            )
            return found

        given = command(property="Setpoint", input=72.5)
        assert [step["state"] for step in given["steps"]] == ["queued", "permitted", "sent", "done"]
        until(lambda: value("Setpoint")["value"] == 72.5)
        given = command(action="Add", input={"argument1": 2, "argument2": 3})
        assert (given["state"], given["steps"][-1].get("result")) == ("done", 5.0)
        given = command(action="Refuse")
        assert given["state"] == "failed" and "BadInvalidState" in given["steps"][-1]["detail"]

        changed = written.replace('trusted = "', 'trusted = "00')
        (site / "connections" / "plant.toml").write_text(changed)
        until(lambda: "not the trusted one" in (site / "data" / "field.json").read_text())
        wrong = ["add", f"opc.tcp://127.0.0.1:{peer.port}", "--option", "trusted=00", *options]
        assert run([*wrong, "--name", "other"]) == EXIT_REFUSED
    finally:
        peer.stop()
