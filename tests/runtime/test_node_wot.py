"""The W3C's reference client, node-wot, consumes a thing as its description says: a peer that others wrote."""

import json
import os
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faults.support import PROJECT, LiveNode
from tests.waiting import WAIT_S

PEER = Path(__file__).parents[1] / "peers" / "node-wot" / "consume.js"
paho = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")

MODULES = os.environ.get("TAIHU_NODE_WOT", "")

pytestmark = pytest.mark.skipif(
    not MODULES or shutil.which("node") is None,
    reason="node-wot is not installed: TAIHU_NODE_WOT names no folder with its node_modules, or there is no node",
)


class Consumer:
    """One node-wot process."""

    def __init__(self, address: str, thing_id: str, token: str, script: Path = PEER, modules: str = MODULES) -> None:
        self.told: deque[dict[str, Any]] = deque()
        self.process = subprocess.Popen(
            ["node", str(script), address, thing_id, token],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # hundreds of lines on schema formats its validator does not know
            text=True,
            env=os.environ | {"NODE_PATH": str(Path(modules) / "node_modules")},
        )

    def ask(self, command: str, argument: Any = None) -> Any:
        """The answer to a command."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([command, argument]) + "\n")
        self.process.stdin.flush()
        while "told" in (message := self._line()):
            self.told.append(message)
        assert "answer" in message, message
        return message["answer"]

    def next(self) -> dict[str, Any]:
        """What an observation is told next."""
        return self.told.popleft() if self.told else self._line()

    def _line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "node-wot has ended"
        return dict(json.loads(line))

    def close(self) -> None:
        self.process.kill()
        self.process.wait(WAIT_S)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def consumer(node: LiveNode) -> Iterator[Consumer]:
    address = f"http://127.0.0.1:{node.http_port}/api/v1/projects/{PROJECT}/things/boiler"
    one = Consumer(address, f"urn:taihu:{PROJECT}:boiler", node.operator)
    yield one
    one.close()


def test_it_reads_writes_observes_and_subscribes(node: LiveNode, consumer: Consumer) -> None:
    def send(**values: Any) -> None:
        path = f"/api/v1/projects/{PROJECT}/readings?thing=boiler"
        answer = node.ask("POST", path, json.dumps(values).encode(), Content_Type="application/json")
        assert answer.status == 200, answer

    everything = {
        "power_kw": 4,
        "energy_kwh": 5,
        "mode": "on",
        "setpoint": 21,
        "quiet": False,
        "trip": 1,
        "door": "shut",
    }
    send(**everything)
    assert set(consumer.ask("consume")) == set(everything)
    assert consumer.ask("read", "power_kw") == 4
    assert consumer.ask("readAll") == everything
    assert consumer.ask("readSome", ["mode", "setpoint"]) == {"mode": "on", "setpoint": 21}
    assert consumer.ask("write", ["setpoint", 22]) == "written"
    assert consumer.ask("writeSome", {"setpoint": 23}) == "written"
    desired = node.get(f"/projects/{PROJECT}/things/boiler/desired").body["desired"]
    assert desired["setpoint"]["value"] == 23
    assert consumer.ask("observe", "power_kw") == "observing"
    assert consumer.next() == {"told": "power_kw", "value": 4}
    assert consumer.ask("subscribe", "door") == "subscribed"
    send(power_kw=6)
    assert consumer.next() == {"told": "power_kw", "value": 6}
    send(door="open")
    assert consumer.next() == {"told": "door", "value": "open"}
    assert consumer.ask("stop", "power_kw") == "stopped"
    send(power_kw=7, door="shut")
    assert consumer.next() == {"told": "door", "value": "shut"}


def test_it_acts_on_a_device(node: LiveNode, consumer: Consumer) -> None:
    """An action and a write reach the device as commands, and what the device answers comes back (§7)."""
    got: list[Any] = []
    listening = threading.Event()

    def take(client: Any, _: Any, message: Any) -> None:
        command = json.loads(message.payload)
        got.append((command["affordance"], command["name"], command["input"]))
        body = {"id": command["id"], "state": "done", "result": command["input"] * 2}
        client.publish(f"taihu/{PROJECT}/boiler/$answer", json.dumps(body), 1)

    device = paho.Client(paho.CallbackAPIVersion.VERSION2)
    body = json.dumps({"project": PROJECT, "thing": "boiler"}).encode()
    device.username_pw_set(node.ask("POST", "/api/v1/admin/token-issue", body, node.operator).body["token"])
    device.on_message, device.on_subscribe = take, lambda *_: listening.set()
    device.connect("127.0.0.1", node.mqtt_port)
    device.subscribe(f"taihu/{PROJECT}/boiler/$command", 1)
    device.loop_start()
    try:
        assert listening.wait(WAIT_S)
        consumer.ask("consume")
        assert consumer.ask("invoke", ["blink", 3]) == 6
        assert consumer.ask("write", ["setpoint", 24]) == "written"
        assert got == [("action", "blink", 3), ("property", "setpoint", 24)]
    finally:
        device.disconnect()
        device.loop_stop()


def test_it_finds_the_things_from_the_well_known_address(node: LiveNode) -> None:
    """Knowing nothing but the node's address and a token."""
    one = Consumer(f"http://127.0.0.1:{node.http_port}/.well-known/wot", "urn:taihu-directory:own", node.viewer)
    try:
        things = node.get(f"/projects/{PROJECT}/things").body["things"]
        assert one.ask("introduce") == sorted(each["name"] for each in things)
    finally:
        one.close()
