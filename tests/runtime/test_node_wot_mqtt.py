"""node-wot acts on a thing over MQTT alone, as its description says: a peer that others wrote."""

import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faults.support import PROJECT, LiveNode, wait_until
from tests.runtime.conftest import MODEL
from tests.runtime.test_node_wot import Consumer
from tests.waiting import WAIT_S

paho = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")

PEER = Path(__file__).parents[1] / "peers" / "node-wot-mqtt" / "operate.js"
MODULES = os.environ.get("TAIHU_NODE_WOT_MQTT", "")

pytestmark = pytest.mark.skipif(
    not MODULES or shutil.which("node") is None,
    reason="node-wot's MQTT binding is not installed: TAIHU_NODE_WOT_MQTT names no folder with its node_modules",
)


@pytest.fixture
def public(tmp_path: Path) -> Iterator[LiveNode]:
    """A node whose descriptions say where it is by MQTT."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "meter.tm.json").write_text(MODEL)
    live = LiveNode(
        tmp_path / "site",
        ["fan"],
        mqtt='public = "mqtt://127.0.0.1:$PORT"',
        things='[[project.thing]]\nname = "boiler"\nmodel = "meter.tm.json"\n',
    )
    live.start()
    yield live
    live.stop()


def test_it_writes_invokes_and_subscribes_by_mqtt(public: LiveNode) -> None:
    body = json.dumps({"project": PROJECT, "thing": "boiler"}).encode()
    token = public.ask("POST", "/api/v1/admin/token-issue", body, public.operator).body["token"]
    got: list[Any] = []
    listening = threading.Event()

    def take(client: Any, _: Any, message: Any) -> None:
        command = json.loads(message.payload)
        got.append((command["affordance"], command["name"], command["input"]))
        client.publish(f"taihu/{PROJECT}/boiler/$answer", json.dumps({"id": command["id"], "state": "done"}), 1)

    device = paho.Client(paho.CallbackAPIVersion.VERSION2)
    device.username_pw_set(token)
    device.on_message, device.on_subscribe = take, lambda *_: listening.set()
    device.connect("127.0.0.1", public.mqtt_port)
    device.subscribe(f"taihu/{PROJECT}/boiler/$command", 1)
    device.loop_start()
    address = f"http://127.0.0.1:{public.http_port}/api/v1/projects/{PROJECT}/things/boiler"
    consumer = Consumer(address, f"urn:taihu:{PROJECT}:boiler", public.operator, PEER, MODULES)
    try:
        assert listening.wait(WAIT_S)
        assert consumer.ask("consume") == ["blink"]
        assert consumer.ask("write", ["setpoint", 24]) == "written"
        wait_until(lambda: len(got) == 1, "the write")
        assert consumer.ask("invoke", ["blink", 3]) == "invoked"
        wait_until(lambda: len(got) == 2, "the action")
        assert got == [("property", "setpoint", 24), ("action", "blink", 3)]
        commands = public.get(f"/projects/{PROJECT}/commands").body["commands"]
        assert [one["state"] for one in commands] == ["done", "done"]
        assert consumer.ask("subscribe", "trip") == "subscribed"
        device.publish(f"taihu/{PROJECT}/boiler", '{"trip": 7, "power_kw": 1}', 1)
        assert consumer.next() == {"told": "trip", "value": 7}
    finally:
        consumer.close()
        device.disconnect()
        device.loop_stop()
