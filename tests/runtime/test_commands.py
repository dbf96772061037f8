"""Commands through a running node: a native thing, a ThingsBoard device, restarts, borders (§7)."""

import json
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.supervised import SupervisedNode
from tests.waiting import WAIT_S

from taihu.cli.client import NodeClient, NodeRefused
from taihu.cli.main import EXIT_REFUSED, run

paho = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")

SITE = """
[mqtt]
port = 0
[http]
port = 0
[[project]]
name = "plant"
[[project.thing]]
name = "heater"
model = "heater.tm.json"
[[project.thing]]
name = "pump"
model = "heater.tm.json"
[[project.thing]]
name = "gate"
role = "gateway"
[[project.command]]
thing = "heater"
name = "power"
maximum = 6
only_while = ["pump/flow >= 0.5"]
[[project.command]]
name = "reset"
two_person = true
[[project]]
name = "neighbour"
"""
MODEL: dict[str, Any] = {
    "properties": {
        "power": {"type": "number", "unit": "kW", "readOnly": False},
        "flow": {"type": "number", "unit": "m3/h", "taihu:maxAge": 600},
    },
    "actions": {
        "blink": {"input": {"type": "object", "properties": {"times": {"type": "integer", "maximum": 5}}}},
        "reset": {},
    },
}


class Node(SupervisedNode):
    """A node whose ingest can be stopped hard, and tokens for it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, SITE, {"heater": MODEL})
        self.tokens = {
            "ann": self.token("plant"),
            "bo": self.token("plant"),
            "viewer": self.token("plant", "viewer"),
            "eve": self.token("neighbour"),
            **{name: self.token("plant", "thing", thing=name) for name in ("heater", "pump", "gate")},
        }

    def client(self, name: str) -> NodeClient:
        return NodeClient(self.owner.url, self.tokens[name])

    def crash(self) -> None:
        """`kill -9` of ingest; the supervisor starts it again."""
        before = self.addresses["pid"]
        subprocess.run(["kill", "-9", str(before)], check=True)
        for _ in range(1_200):
            time.sleep(0.05)
            try:
                if self.addresses["pid"] != before and self.addresses["worker"]:
                    return
            except (OSError, ValueError):
                continue
        raise AssertionError("ingest did not come back")


class Thing:
    """A native thing: takes commands on its own topic and answers as it is told."""

    def __init__(self, node: Node, name: str, answers: tuple[str, ...] = ("acknowledged", "done")) -> None:
        self.name = name
        self.answers = answers
        self.got: list[dict[str, Any]] = []
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=f"dev-{name}")
        self.client.username_pw_set(node.tokens[name])
        self.client.on_message = self._take
        self.listening, self.arrived = threading.Event(), threading.Event()
        self.client.on_subscribe = lambda *_: self.listening.set()
        self.client.connect(*node.addresses["mqtt"])
        self.client.subscribe(f"taihu/plant/{name}/$command", 1)
        self.client.loop_start()
        assert self.listening.wait(WAIT_S)

    def _take(self, client: Any, _: Any, message: Any) -> None:
        command = json.loads(message.payload)
        self.got.append(command)
        self.arrived.set()
        for state in self.answers:
            body = {"id": command["id"], "state": state, "result": {"power": command["input"]}}
            client.publish(f"taihu/plant/{self.name}/$answer", json.dumps(body), 1)

    def say(self, **values: Any) -> None:
        self.client.publish(f"taihu/plant/{self.name}", json.dumps(values), 1).wait_for_publish(WAIT_S)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node(tmp_path_factory.mktemp("plant"))
    yield node
    node.stop()


def give(who: NodeClient, thing: str, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = who.post("projects", "plant", "commands", body={"thing": thing} | fields)
    return found


def states(command: dict[str, Any]) -> list[str]:
    return [step["state"] for step in command["steps"]]


def until(who: NodeClient, number: str, state: str) -> dict[str, Any]:
    for _ in range(1_200):
        found: dict[str, Any] = who.get("projects", "plant", "commands", number)
        if found["state"] == state:
            return found
        time.sleep(0.05)
    raise AssertionError(found)


def test_a_thing_obeys_and_every_step_is_seen(node: Node, capsys: Any) -> None:
    ann, pump, heater = node.client("ann"), Thing(node, "pump"), Thing(node, "heater")
    try:
        refused = give(ann, "heater", property="power", input=3.0, wait_s=5)
        assert refused["state"] == "refused"
        assert "pump/flow" in refused["steps"][-1]["detail"]  # missing holds no condition (§3)
        pump.say(flow=1.0)
        done = give(ann, "heater", property="power", input=3.0, why="cold", wait_s=5)
        assert states(done) == ["queued", "permitted", "sent", "acknowledged", "done"]
        assert done["steps"][-1]["result"] == {"power": 3.0}
        assert [one["input"] for one in heater.got] == [3.0]
        assert give(ann, "heater", property="power", input=7.0)["state"] == "refused"
        with pytest.raises(NodeRefused, match="above 5"):
            give(ann, "heater", action="blink", input={"times": 9})
        with pytest.raises(NodeRefused, match="no action"):
            give(ann, "heater", action="explode")

        waiting = give(ann, "heater", action="reset")
        assert waiting["state"] == "queued"
        with pytest.raises(NodeRefused, match="second person"):
            ann.post("projects", "plant", "commands", waiting["id"], "approve", body={})
        node.client("bo").post("projects", "plant", "commands", waiting["id"], "approve", body={})
        assert until(ann, waiting["id"], "done")

        site = ["--url", ann.url, "--token", node.tokens["ann"]]
        capsys.readouterr()
        assert run(["command", "send", *site, "plant/heater/power", "2.5"]) == 0
        assert "done" in capsys.readouterr().out
        assert run(["command", "send", *site, "plant/heater/power", "99"]) == EXIT_REFUSED
        assert run(["command", "list", *site, "plant"]) == 0
        assert "plant/heater" not in capsys.readouterr().out  # names within the project

        output = ann.post("projects", "plant", "things", "heater", "actions", "blink", body={"times": 2})
        assert output == {"power": {"times": 2}}
        description = ann.get("projects", "plant", "things", "heater")
        assert description["actions"]["blink"]["forms"][0]["op"] == ["invokeaction"]
    finally:
        pump.close()
        heater.close()


def test_a_sleepy_thing_gets_the_last_wish_when_it_wakes_even_after_a_crash(node: Node) -> None:
    ann, pump = node.client("ann"), Thing(node, "pump")
    pump.say(flow=1.0)
    first = give(ann, "heater", property="power", input=1.0, deadline_s=300)
    last = give(ann, "heater", property="power", input=4.0, deadline_s=300, key="k")
    assert (first["state"], last["state"]) == ("permitted", "permitted")  # never delivered: nobody is there
    node.crash()
    ann = node.client("ann")
    assert give(ann, "heater", property="power", input=4.0, deadline_s=300, key="k")["id"] == last["id"]
    heater = Thing(node, "heater")
    try:
        until(ann, last["id"], "done")
        assert [one["input"] for one in heater.got] == [4.0]
        assert ann.get("projects", "plant", "commands", first["id"])["state"] == "expired"
    finally:
        pump.close()
        heater.close()


def test_no_answer_is_no_acknowledgement_and_no_second_blink(node: Node) -> None:
    ann, heater = node.client("ann"), Thing(node, "heater", answers=())
    try:
        blink = give(ann, "heater", action="blink", input={"times": 1}, deadline_s=300)
        assert blink["state"] == "sent"
        assert heater.arrived.wait(WAIT_S)
        node.crash()
        ann = node.client("ann")
        found = until(ann, blink["id"], "unconfirmed")
        assert "stopped before the device answered" in found["steps"][-1]["detail"]
        silent = give(ann, "pump", action="blink", input={}, deadline_s=0.3)
        assert until(ann, silent["id"], "expired")
        for _ in range(1_200):  # the log follows within a moment, through crashes too
            page = ann.get("projects", "plant", "commands", since="-1h", limit=1)
            rest = ann.get("projects", "plant", "commands", before=page["next"])
            logged = [(one["id"], one["state"]) for one in (*page["commands"], *rest["commands"])]
            if logged[:2] == [(silent["id"], "expired"), (blink["id"], "unconfirmed")]:
                break
            time.sleep(0.05)
        else:
            raise AssertionError(logged)
        assert run(["command", "list", "--url", ann.url, "--token", node.tokens["ann"], "plant", "--since", "-1h"]) == 0
    finally:
        heater.close()
    assert len(heater.got) == 1


def test_nobody_else_commands_or_answers(node: Node) -> None:
    """§7, §11."""
    heater = Thing(node, "heater", answers=())
    try:
        sent = give(node.client("ann"), "heater", action="blink", input={}, deadline_s=3)
        for name in ("eve", "viewer", "heater"):
            with pytest.raises(NodeRefused):
                give(node.client(name), "heater", action="blink", input={})
        for path in (("commands",), ("commands", sent["id"])):
            with pytest.raises(NodeRefused):
                node.client("eve").get("projects", "plant", *path)
        forger = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        forger.username_pw_set(node.tokens["pump"])
        refused = threading.Event()

        def published(client: Any, data: Any, mid: int, reason: Any, properties: Any) -> None:
            if reason.is_failure:
                refused.set()

        forger.on_publish = published
        forger.connect(*node.addresses["mqtt"])
        forger.loop_start()
        forger.publish("taihu/plant/heater/$answer", json.dumps({"id": sent["id"], "state": "done"}), 1)
        assert refused.wait(WAIT_S)
        refused.clear()
        forger.publish("taihu/plant/heater/$command", b"{}", 1)
        assert refused.wait(WAIT_S)
        forger.disconnect()
        forger.loop_stop()
        assert node.client("ann").get("projects", "plant", "commands", sent["id"])["state"] == "sent"
        until(node.client("ann"), sent["id"], "expired")  # a thing gets one command at a time
    finally:
        heater.close()


def test_operations_come_and_go_by_mqtt(node: Node) -> None:
    """The same life cycle by two topics of the thing; whoever may not command it is refused (§7)."""
    pump, heater = Thing(node, "pump"), Thing(node, "heater")
    ann = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    steps: list[dict[str, Any]] = []
    refused, ready = threading.Event(), threading.Event()
    ann.username_pw_set(node.tokens["ann"])
    ann.on_message = lambda client, data, message: steps.append(json.loads(message.payload))
    ann.on_subscribe = lambda *_: ready.set()
    try:
        pump.say(flow=1.0)
        ann.connect(*node.addresses["mqtt"])
        ann.subscribe("taihu/plant/heater/$steps", 1)
        ann.loop_start()
        assert ready.wait(WAIT_S)
        ann.publish("taihu/plant/heater/$set/power", "2.25", 1)
        ann.publish("taihu/plant/heater/$do/blink", '{"times": 2}', 1)
        ann.publish("taihu/plant/heater/$do/explode", "", 1)
        ann.publish("taihu/plant/heater/$set/power", "{no json", 1)
        seconds = 0
        while sum(step["state"] in ("done", "refused") for step in steps) < 4 and seconds < 1_200:
            time.sleep(0.05)
            seconds += 1
        told = {(one["name"], one["state"]) for one in steps}
        states = ("queued", "permitted", "sent", "acknowledged", "done")
        assert {(name, state) for name in ("power", "blink") for state in states[1:]} <= told
        assert {("explode", "refused"), ("power", "refused")} <= told
        assert [one["input"] for one in heater.got] == [2.25, {"times": 2}]
        given = node.client("ann").get("projects", "plant", "commands", thing="heater")["commands"]
        assert [one["name"] for one in given[:2]] == ["blink", "power"]

        def published(client: Any, data: Any, mid: int, reason: Any, properties: Any) -> None:
            if reason.is_failure:
                refused.set()

        for name in ("heater", "viewer", "eve"):
            other = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
            other.username_pw_set(node.tokens[name])
            other.on_publish = published
            other.connect(*node.addresses["mqtt"])
            other.loop_start()
            for topic in ("taihu/plant/heater/$set/power", "taihu/plant/heater/$steps", "taihu/plant/heater/$event/x"):
                refused.clear()
                other.publish(topic, "1", 1)
                assert refused.wait(WAIT_S), (name, topic)
            other.disconnect()
            other.loop_stop()
        assert len(heater.got) == 2
    finally:
        ann.disconnect()
        ann.loop_stop()
        pump.close()
        heater.close()


def put(node: Node, who: str, path: str, value: Any) -> tuple[int, str]:
    """The status of a write by the forms of a Thing Description, and where to look what becomes of it."""
    request = urllib.request.Request(
        f"{node.owner.url}/api/v1/projects/plant/things/{path}",
        json.dumps(value).encode(),
        {"Authorization": f"Bearer {node.tokens[who]}", "Content-Type": "application/json"},
        method="PUT",
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers.get("Location", "")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())["title"]


def test_writing_a_property_of_a_thing_that_listens_is_a_command(node: Node) -> None:
    """204 is the device's own word; without it 202 says where to look, and a no is no success (§7)."""
    pump, heater = Thing(node, "pump"), Thing(node, "heater")
    try:
        pump.say(flow=1.0)
        assert put(node, "ann", "heater/properties/power", 3.5) == (204, "")
        assert put(node, "ann", "heater/properties", {"power": 2.5}) == (204, "")
        assert [one["input"] for one in heater.got] == [3.5, 2.5]
        status, why = put(node, "ann", "heater/properties/power", 6.5)
        assert (status, "6" in why) == (403, True), why
        assert put(node, "viewer", "heater/properties/power", 1.0)[0] == 403
        heater.answers = ("failed",)
        status, why = put(node, "ann", "heater/properties/power", 1.5)
        assert (status, "device" in why) == (502, True), why
        heater.close()
        status, place = put(node, "ann", "heater/properties/power?wait_s=0", 4.0)
        assert status == 202
        waiting = node.client("ann").get(*place.removeprefix("/api/v1/").split("/"))
        assert (waiting["state"], waiting["input"]) == ("permitted", 4.0)
        node.client("ann").delete("projects", "plant", "commands", waiting["id"])
    finally:
        pump.close()
        heater.close()


def test_a_thingsboard_device_is_called(node: Node) -> None:
    """§7: its PUBACK acknowledges a call, its response ends it."""
    module = pytest.importorskip("tb_device_mqtt", reason="tb-mqtt-client is not installed")
    host, port = node.addresses["mqtt"]
    device = module.TBDeviceMqttClient(host, port, node.tokens["pump"])
    calls = []

    def on_call(number: str, body: Any) -> None:
        """Answer after the PUBACK, which the client sends when this has returned."""
        calls.append(body)
        threading.Timer(0.2, device.send_rpc_reply, (number, {"moved": body["params"]})).start()

    device.set_server_side_rpc_request_handler(on_call)
    device.connect()
    try:
        ann = node.client("ann")
        given = give(ann, "pump", action="blink", input={"times": 3}, wait_s=10, deadline_s=20)
        found = until(ann, given["id"], "done")
        assert found["steps"][-1]["result"] == {"moved": {"times": 3}}
        assert [one["state"] for one in found["steps"]] == ["queued", "permitted", "sent", "acknowledged", "done"]
        assert calls[0]["method"] == "blink"
        given = give(ann, "pump", property="power", input=2.0, wait_s=10)
        assert until(ann, given["id"], "done")
        assert calls[-1] == {"method": "setValue", "params": {"power": 2.0}}
    finally:
        device.disconnect()
        device.stop()


def test_a_thing_behind_a_thingsboard_gateway_is_called_through_it(node: Node) -> None:
    """One that the gateway does not speak for gets nothing; what waited goes out when it does."""
    module = pytest.importorskip("tb_gateway_mqtt", reason="tb-mqtt-client is not installed")
    host, port = node.addresses["mqtt"]
    gateway = module.TBGatewayMqttClient(host, port, node.tokens["gate"])
    calls = []

    def on_call(client: Any, body: Any) -> None:
        calls.append((body["device"], body["data"]["method"], body["data"]["params"]))
        gateway.gw_send_rpc_reply(body["device"], body["data"]["id"], {"moved": body["data"]["params"]})

    gateway.gw_set_server_side_rpc_request_handler(on_call)
    gateway.connect()
    ann = node.client("ann")
    try:
        ann.post("projects", "plant", "readings", body={"level": 1}, thing="valve")
        waiting = give(ann, "valve", action="open", input={"percent": 40}, deadline_s=30)
        assert waiting["state"] == "permitted"
        gateway.gw_connect_device("valve", "default")
        done = until(ann, waiting["id"], "done")
        assert done["steps"][-1]["result"] == {"moved": {"percent": 40}}
        assert "acknowledged" not in [one["state"] for one in done["steps"]]  # that was the gateway, not the thing
        assert calls == [("valve", "open", {"percent": 40})]
        gateway.gw_disconnect_device("valve")
        gateway.gw_send_telemetry("valve", {"level": 2})  # on the same line: what came before it has been heard
        for _ in range(1_200):
            if ann.get("projects", "plant", "things", "valve", "properties", "level") == 2:
                break
            time.sleep(0.05)
        later = give(ann, "valve", action="open", input={}, deadline_s=1)
        assert until(ann, later["id"], "expired")["steps"][-1]["detail"] == "the device made no contact"
    finally:
        gateway.disconnect()
        gateway.stop()


def test_a_loop_acts_under_a_standing_permit(node: Node) -> None:
    ann, pump, heater = node.client("ann"), Thing(node, "pump"), Thing(node, "heater")
    try:
        pump.say(flow=1.0)
        body = {"things": "heat*", "name": "power", "low": 0, "high": 5, "per_minute": 10, "hours": 1, "rest": 0.5}
        standing = ann.post("projects", "plant", "standing", body=body)
        given = give(ann, "heater", property="power", input=4.5, standing=standing["id"], wait_s=5)
        assert given["state"] == "done"
        outside = give(ann, "heater", property="power", input=5.5, standing=standing["id"])
        assert "corridor" in outside["steps"][-1]["detail"]
        together(node, ann, standing["id"])
        permits_together(node, ann, body)
        assert standing["rest"] == 0.5
        with pytest.raises(NodeRefused, match="outside the corridor"):
            ann.post("projects", "plant", "standing", body=body | {"rest": 6})
        ann.delete("projects", "plant", "standing", standing["id"])  # by its holder, who has told what he will
        assert not [one for one in ann.get("projects", "plant", "commands")["commands"] if one.get("last")]
        lets_go(node, ann, body | {"holder": standing["holder"]})
        ended = give(ann, "heater", property="power", input=4.5, standing=standing["id"])
        assert "no standing permit" in ended["steps"][-1]["detail"]
    finally:
        pump.close()
        heater.close()


def lets_go(node: Node, ann: NodeClient, permit: dict[str, Any]) -> None:
    """Another withdraws a permit: what it drove is told its `rest`, in his name, and does it."""
    number = ann.post("projects", "plant", "standing", body=permit)["id"]
    assert give(ann, "heater", property="power", input=4.5, standing=number, wait_s=5)["state"] == "done"
    node.client("bo").delete("projects", "plant", "standing", number)
    (said,) = [one for one in ann.get("projects", "plant", "commands")["commands"] if one.get("last")]
    assert (said["input"], said["standing"], said["who"] != permit["holder"]) == (0.5, number, True)
    assert until(ann, said["id"], "done")["why"] == f"the standing permit {number} was withdrawn"


def permits_together(node: Node, ann: NodeClient, permit: dict[str, Any]) -> None:
    """Many standing permits in one request: one that is none does not hold up the others, and none is of another's."""
    path = ("projects", "plant", "standing", "batch")
    wrong = [permit | {"low": 6}, permit | {"per_minute": 0}, permit | {"hours": 10_000}]
    outcomes = ann.post(*path, body={"standing": [permit, *wrong, permit | {"name": "flow"}]})["outcomes"]
    first, *refused, last = outcomes
    assert [one["problem"]["status"] for one in refused] == [400] * 3
    assert first["id"] != last["id"] and first["expires_at"] == last["expires_at"]
    assert give(ann, "heater", property="power", input=4.5, standing=first["id"], wait_s=5)["state"] == "done"
    assert "is for" in give(ann, "heater", property="power", input=4.5, standing=last["id"])["steps"][-1]["detail"]
    for who, says in (("viewer", "may not give"), ("eve", "There is no project")):
        with pytest.raises(NodeRefused, match=says):
            node.client(who).post(*path, body={"standing": [permit], "withdraw": [first["id"]]})
    with pytest.raises(NodeRefused, match="too many at once"):
        ann.post(*path, body={"withdraw": ["x"] * 1_001})
    with pytest.raises(NodeRefused, match="unknown field"):
        ann.post(*path, body={"standing": [permit | {"issued_by": "eve"}]})
    given = ann.post(*path, body={"standing": [permit], "withdraw": [first["id"], "gone", last["id"]]})["outcomes"]
    assert (
        "no standing permit"
        in give(ann, "heater", property="power", input=1, standing=first["id"])["steps"][-1]["detail"]
    )
    kept = [one["id"] for one in ann.get("projects", "plant", "standing")["standing"]]
    assert given[0]["id"] in kept and not {first["id"], last["id"]} & set(kept)
    assert ann.post(*path, body={"withdraw": [given[0]["id"]]})["outcomes"] == []


def together(node: Node, ann: NodeClient, standing: str) -> None:
    """Many commands in one request: each is as if it were given alone, and is found afterwards (§7)."""
    wanted: list[dict[str, Any]] = [
        {"thing": "heater", "property": "power", "input": 3.5, "key": "same"},
        {"thing": "heater", "property": "power", "input": 5.5, "standing": standing},
        {"thing": "nobody", "property": "power", "input": 1},
        {"thing": "pump", "action": "reset"},
        {"thing": "pump", "property": "flow", "action": "reset"},
        {"thing": "heater", "property": "power", "input": 3.5, "key": "same"},
    ]
    path = ("projects", "plant", "commands", "batch")
    body = {"commands": wanted, "why": "together", "wait_s": 5}
    first, outside, unknown, waits, two, again = ann.post(*path, body=body)["outcomes"]
    assert (first["state"], outside["state"], waits["state"]) == ("done", "refused", "queued")
    assert "corridor" in outside["detail"]
    assert again["id"] == first["id"]
    assert [one["problem"]["status"] for one in (unknown, two)] == [403, 400]
    kept = [ann.get("projects", "plant", "commands", one["id"]) for one in (first, outside, waits)]
    assert [(one["why"], one["who"] != "") for one in kept] == [("together", True)] * 3
    assert states(kept[0])[:3] == ["queued", "permitted", "sent"]
    with pytest.raises(NodeRefused, match="too many at once"):
        ann.post(*path, body={"commands": wanted[:1] * 1_001})
    with pytest.raises(NodeRefused, match="may not give"):
        node.client("viewer").post(*path, body=body)
    with pytest.raises(NodeRefused, match="There is no project"):
        node.client("eve").post(*path, body=body)
