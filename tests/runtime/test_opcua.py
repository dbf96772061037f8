"""A node between OPC UA and OPC UA: a server as its device, and itself a server of its things.

What is written at the node's own server becomes a command, reaches the device by the driver, and comes back with the
device's own status.
"""

import asyncio
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from tests.waiting import WAIT_S

pytest.importorskip("asyncua", reason="asyncua is not installed: pip install 'taihu[opcua]'")

from asyncua import Client, ua
from tests.drivers.opcua.support import Peer
from tests.runtime.test_field import until

from taihu.cli.client import NodeClient, connect
from taihu.cli.main import EXIT_REFUSED, run

NODE_OPCUA = os.environ.get("TAIHU_NODE_OPCUA", "")
CLIENT = Path(__file__).parents[1] / "peers" / "node-opcua" / "client.js"
PASSWORD = "a donkey rides home late"
NUMBER = {"type": "number"}
MODEL = {
    "@context": "https://www.w3.org/2022/wot/td/v1.1",
    "@type": "tm:ThingModel",
    "title": "Boiler",
    "actions": {
        "Add": {
            "input": {"type": "object", "properties": {"argument1": NUMBER, "argument2": NUMBER}},
            "output": NUMBER,
        },
        "Refuse": {},
    },
}
SITE = """
[mqtt]
port = 0
[http]
port = 0
[opcua]
port = 0
interval_s = 0.2
[[project]]
name = "roof"
[[project.thing]]
name = "Boiler"
model = "boiler.json"
[[project]]
name = "secret"
[[project.thing]]
name = "safe"
model = "safe.json"
"""
SAFE = {
    "@context": "https://www.w3.org/2022/wot/td/v1.1",
    "@type": "tm:ThingModel",
    "title": "Safe",
    "properties": {"code": {"type": "number", "readOnly": False}},
    "actions": {"open": {}},
}


class Plant(NamedTuple):
    """A node, its device, and who may come in."""

    site: Path
    roof: NodeClient
    owner: NodeClient
    port: int
    operator: str
    viewer: str
    device: int
    shown: tuple[str, str]


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    site, device = tmp_path_factory.mktemp("opcua"), Peer()
    (site / "site.toml").write_text(SITE)
    (site / "boiler.json").write_text(json.dumps(MODEL))
    (site / "safe.json").write_text(json.dumps(SAFE))
    shown, told = io.StringIO(), io.StringIO()
    with redirect_stdout(shown), redirect_stderr(told):
        address = f"opc.tcp://127.0.0.1:{device.port}"
        options = ["--project", "roof", "--name", "plant", "--period", "0.1", "--site", str(site)]
        assert run(["add", address, *options]) == 0
    command = [sys.executable, "-m", "taihu.cli.main", "run", str(site)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    rest: list[str] = []
    reader = threading.Thread(target=lambda: rest.extend(process.stderr or ()), daemon=True)
    reader.start()
    state = until(lambda: json.loads((site / "data" / "opcua.json").read_text()), 60)
    owner = connect(None, None, site)

    def issued(project: str, kind: str) -> str:
        return str(owner.post("admin", "token-issue", body={"project": project, "kind": kind})["token"])

    operator, viewer = issued("roof", "operator"), issued("roof", "viewer")
    roof = NodeClient(owner.url, operator)
    yield Plant(site, roof, owner, state["port"], operator, viewer, device.port, (shown.getvalue(), told.getvalue()))
    process.terminate()
    assert process.wait(WAIT_S) == 0
    reader.join(WAIT_S)
    process.stderr.close()
    device.stop()
    assert not [line for line in rest if "Traceback" in line], "".join(rest)


def value(plant: Plant, name: str) -> Any:
    found = plant.roof.get("projects", "roof", "values", thing="Boiler", property=name)["values"]
    return found[0] if found else None


def command(plant: Plant, **body: Any) -> dict[str, Any]:
    body = {"thing": "Boiler", "wait_s": 10, **body}
    found: dict[str, Any] = plant.roof.post("projects", "roof", "commands", body=body)
    return found


class Visit:
    """A client of the node's server, as somebody."""

    def __init__(self, plant: Plant, password: str = "", user: str = "program") -> None:
        self.client = Client(f"opc.tcp://127.0.0.1:{plant.port}", timeout=WAIT_S)
        if password:
            self.client.set_user(user)
            self.client.set_password(password)
        self.index = 0

    async def __aenter__(self) -> "Visit":
        await self.client.connect()
        self.index = await self.client.get_namespace_index("urn:taihu:things")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.disconnect()

    def node(self, identifier: str) -> Any:
        return self.client.get_node(ua.NodeId(identifier, self.index))


def test_a_server_is_added_by_its_address_and_its_things_are_known(plant: Plant) -> None:
    out, told = plant.shown
    assert "Boiler/Temperature" in out and "fingerprint" in told
    written = (plant.site / "connections" / "plant.toml").read_text()
    assert 'trusted = "' in written and 'unit = "Cel"' in written
    assert (plant.site / "connections" / "opcua" / "certificate.der").exists()
    warm = until(lambda: value(plant, "Temperature"))
    assert (warm["value"], warm["unit"], warm["quality"]) == (61.5, "Cel", "good")
    assert until(lambda: value(plant, "Mode"))["value"] == "heating"
    assert until(lambda: value(plant, "events"))["value"]["condition"] == "HighTemperature"
    assert value(plant, "Broken") is None


def test_commands_end_as_the_device_says(plant: Plant) -> None:
    until(lambda: value(plant, "Temperature"))
    given = command(plant, property="Setpoint", input=72.5)
    assert [step["state"] for step in given["steps"]] == ["queued", "permitted", "sent", "done"]
    until(lambda: value(plant, "Setpoint")["value"] == 72.5)
    given = command(plant, action="Add", input={"argument1": 2, "argument2": 3})
    assert (given["state"], given["steps"][-1].get("result")) == ("done", 5.0)
    given = command(plant, action="Refuse")
    assert given["state"] == "failed" and "BadInvalidState" in given["steps"][-1]["detail"]


def test_a_visitor_sees_its_own_project_alone_and_acts_by_its_role_11(plant: Plant) -> None:
    until(lambda: value(plant, "Temperature"))

    async def body() -> None:
        async with Visit(plant, (plant.site / "data" / "admin.token").read_text().strip()) as visit:
            assert (
                await visit.node("secret/safe/code").read_browse_name() is not None
            )  # the owner sees that it is there
        async with Visit(plant, plant.operator) as visit:
            shown = [(await one.read_browse_name()).Name for one in await visit.client.nodes.objects.get_children()]
            assert "roof" in shown and "secret" not in shown
            hidden = visit.node("secret/safe/code")
            assert await hidden.get_children() == []
            for doing in (hidden.read_value(), hidden.read_browse_name(), hidden.write_value(1.0)):
                with pytest.raises(ua.UaStatusCodeError, match="BadNodeIdUnknown"):
                    await doing
            with pytest.raises(ua.UaStatusCodeError, match="BadMethodInvalid"):
                await visit.node("secret/safe").call_method(visit.node("secret/safe/open()").nodeid)
            subscription = await visit.client.create_subscription(100, _Heard())
            with pytest.raises(ua.UaStatusCodeError, match="BadNodeIdUnknown"):
                await subscription.subscribe_data_change(hidden)
            temperature = await visit.node("roof/Boiler/Temperature").read_data_value()
            assert temperature.Value.Value == 61.5 and temperature.SourceTimestamp is not None
            setpoint = visit.node("roof/Boiler/Setpoint")
            assert ua.AccessLevel.CurrentWrite in await setpoint.get_user_access_level()
            await setpoint.write_value(66.0)
            with pytest.raises(ua.UaStatusCodeError, match="BadNotWritable"):
                await visit.node("roof/Boiler/Temperature").write_value(1.0)
            with pytest.raises(ua.UaStatusCodeError, match="BadTypeMismatch"):
                await setpoint.write_value("hot")
            boiler = visit.node("roof/Boiler")
            assert await boiler.call_method(visit.node("roof/Boiler/Add()").nodeid, 1.5, 2.0) == 3.5
            with pytest.raises(ua.UaStatusCodeError, match="BadDeviceFailure"):
                await boiler.call_method(visit.node("roof/Boiler/Refuse()").nodeid)
            with pytest.raises(ua.UaStatusCodeError):
                await boiler.add_object(visit.index, "mine")
            with pytest.raises(ua.UaStatusCodeError):
                await visit.client.delete_nodes([boiler])
        async with Visit(plant, plant.viewer) as visit:
            setpoint = visit.node("roof/Boiler/Setpoint")
            until_value = await setpoint.read_value()
            assert ua.AccessLevel.CurrentWrite not in await setpoint.get_user_access_level()
            with pytest.raises(ua.UaStatusCodeError, match="BadUserAccessDenied"):
                await setpoint.write_value(1.0)
            assert await setpoint.read_value() == until_value

    asyncio.run(body())


def test_who_is_nobody_stays_out_and_who_is_somebody_comes_in_by_password(plant: Plant) -> None:
    plant.owner.post("users", body={"name": "mei", "password": PASSWORD, "roles": {"roof": "viewer"}})

    async def body() -> None:
        for user, password in (("program", "x" * 43), ("mei", "wrong"), ("", "")):
            with pytest.raises((ua.UaError, ConnectionError, TimeoutError)):
                async with Visit(plant, password, user):
                    raise AssertionError("it was let in")
        async with Visit(plant, PASSWORD, "mei") as visit:
            assert await visit.node("roof/Boiler/Temperature").read_value() == 61.5
            with pytest.raises(ua.UaStatusCodeError, match="BadUserAccessDenied"):
                await visit.node("roof/Boiler/Setpoint").write_value(1.0)

    asyncio.run(body())
    assert plant.owner.get("sessions", user="mei")["sessions"] == []  # signed out when the client left


def test_a_session_touches_no_other_sessions_subscriptions(plant: Plant) -> None:
    async def body() -> None:
        async with Visit(plant, plant.operator) as one, Visit(plant, plant.viewer) as other:
            heard = _Heard()
            subscription = await one.client.create_subscription(50, heard)
            await subscription.subscribe_data_change(one.node("roof/Boiler/Ticks"))
            number = subscription.subscription_id
            session = other.client.uaclient
            with pytest.raises(ua.UaStatusCodeError, match="BadSubscriptionIdInvalid"):
                await session.delete_subscriptions([number])
            transfer = ua.TransferSubscriptionsParameters(SubscriptionIds=[number])
            with pytest.raises(ua.UaStatusCodeError, match="BadServiceUnsupported"):
                await session.transfer_subscriptions(transfer)
            before = len(heard.values)
            async with asyncio.timeout(WAIT_S):
                while len(heard.values) < before + 3:
                    await asyncio.sleep(0.05)

    asyncio.run(body())


def test_a_revoked_token_ends_its_session(plant: Plant) -> None:
    issued = plant.owner.post("admin", "token-issue", body={"project": "roof", "kind": "viewer"})

    async def body() -> None:
        async with Visit(plant, issued["token"]) as visit:
            assert await visit.node("roof/Boiler/Temperature").read_value() == 61.5
            plant.owner.post("admin", "token-revoke", body={"project": "roof", "id": issued["id"]})
            async with asyncio.timeout(WAIT_S):
                with pytest.raises((ua.UaError, ConnectionError)):
                    while True:
                        await visit.node("roof/Boiler/Temperature").read_value()
                        await asyncio.sleep(0.2)

    asyncio.run(body())


def test_things_come_and_go_while_it_runs(plant: Plant) -> None:
    async def body() -> None:
        async with Visit(plant, (plant.site / "data" / "admin.token").read_text().strip()) as visit:
            lamp = visit.node("roof/lamp/level")
            with pytest.raises(ua.UaStatusCodeError, match="BadNodeIdUnknown"):
                await lamp.read_value()
            level = {"level": {"name": "level", "unit": "%"}}
            plant.owner.post("admin", "thing-create", body={"project": "roof", "name": "lamp", "properties": level})
            async with asyncio.timeout(WAIT_S):
                while True:
                    found = await lamp.read_data_value(raise_on_bad_status=False)
                    if found.StatusCode.name == "BadWaitingForInitialData":
                        break
                    await asyncio.sleep(0.2)
            plant.owner.delete("projects", "roof", "things", "lamp")
            async with asyncio.timeout(WAIT_S):
                while (await lamp.read_data_value(raise_on_bad_status=False)).StatusCode.name != "BadNodeIdUnknown":
                    await asyncio.sleep(0.2)

    asyncio.run(body())


def test_what_is_larger_than_a_message_may_be_is_cut_off_6(plant: Plant) -> None:
    async def body() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", plant.port)
        writer.write(b"HELF" + (2**31 - 1).to_bytes(4, "little"))
        with pytest.raises(ConnectionError):
            for _ in range(100):
                writer.write(bytes(65_536))
                await writer.drain()
                await asyncio.sleep(0.001)
            assert await reader.read(1) == b""
            raise ConnectionError
        writer.close()

    asyncio.run(body())


def test_any_bytes_end_only_their_own_connection_13(plant: Plant) -> None:
    random = Random(4840)
    hello = b"HELF" + struct.pack("<I6I", 32 + 5, 0, 65_536, 65_536, 0, 0, 5) + b"opc.t"
    starts = (
        b"",
        b"HELF",
        b"OPNF" + struct.pack("<I", 200),
        b"MSGF" + struct.pack("<I", 60),
        hello,
        hello + b"OPNF" * 30,
    )

    async def body() -> None:
        async with Visit(plant, plant.viewer) as visit:
            for number in range(60):
                reader, writer = await asyncio.open_connection("127.0.0.1", plant.port)
                with suppress(ConnectionError):
                    writer.write(starts[number % len(starts)] + random.randbytes(random.randrange(400)))
                    writer.write_eof()
                    async with asyncio.timeout(WAIT_S):
                        await reader.read(65_536)
                writer.close()
            assert await visit.node("roof/Boiler/Temperature").read_value() == 61.5

    asyncio.run(body())


@pytest.mark.skipif(
    not NODE_OPCUA or shutil.which("node") is None,
    reason="node-opcua is not installed: TAIHU_NODE_OPCUA names no folder with its node_modules, or there is no node",
)
def test_node_opcuas_client_browses_reads_subscribes_writes_and_calls(plant: Plant, tmp_path: Path) -> None:
    until(lambda: value(plant, "Temperature"))
    done = subprocess.run(
        ["node", str(CLIENT), f"opc.tcp://127.0.0.1:{plant.port}", str(tmp_path), "program", plant.operator],
        capture_output=True, text=True, timeout=3 * WAIT_S, check=False,
        env=os.environ | {"NODE_PATH": str(Path(NODE_OPCUA) / "node_modules")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert "roof" in found["objects"] and "secret" not in found["objects"]
    assert found["things"] == ["Boiler", "Press1", "Press2", "plant"]
    assert {"Add", "Refuse", "Setpoint", "Temperature"} <= set(found["members"])
    assert found["temperature"] == [61.5, "Good", True]
    assert (found["range"], found["unit"]) == ([-20.0, 120.0], [4408652, "Cel"])
    assert found["hidden"] == "BadNodeIdUnknown"
    assert (found["wrote"], found["fixed"], found["seen"]) == ("Good", "BadNotWritable", True)
    assert (found["called"], found["refused"]) == (["Good", 3.5], "BadDeviceFailure")


def test_another_certificate_than_the_trusted_one_is_refused(plant: Plant) -> None:
    """The last test: the device is lost afterwards."""
    path = plant.site / "connections" / "plant.toml"
    path.write_text(path.read_text().replace('trusted = "', 'trusted = "00'))
    until(lambda: "not the trusted one" in (plant.site / "data" / "field.json").read_text())
    again = ["add", f"opc.tcp://127.0.0.1:{plant.device}", "--project", "roof", "--site", str(plant.site)]
    assert run([*again, "--name", "other", "--option", "trusted=00"]) == EXIT_REFUSED


class _Heard:
    def __init__(self) -> None:
        self.values: list[Any] = []

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        self.values.append(value)
