"""ThingsBoard's own clients, unchanged: `tb-mqtt-client` as a device, a gateway and a newcomer."""

import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.interop.peer import Peer
from tests.interop.support import Site, wait_for
from tests.waiting import WAIT_S

device_module = pytest.importorskip("tb_device_mqtt", reason="tb-mqtt-client is not installed")
gateway_module = pytest.importorskip("tb_gateway_mqtt", reason="tb-mqtt-client is not installed")


@contextmanager
def connected(client: Any) -> Iterator[Any]:
    """The client, connected and subscribed to its topics.

    It says that it is connected before it subscribes. It asks for its limits afterwards, and is answered there.
    """
    client.connect()
    try:
        wait_for(lambda: client.rate_limits_received, "the client is subscribed")
        yield client
    finally:
        client.disconnect()
        client.stop()


@pytest.fixture
def device(site: Site) -> Iterator[Any]:
    """The thing plant/meter."""
    client = device_module.TBDeviceMqttClient("127.0.0.1", site.mqtt_port, site.tokens["plant/meter"])
    with connected(client):
        yield client


@pytest.fixture
def gateway(site: Site) -> Iterator[Any]:
    """The thing plant/gateway, whose role it is to speak for others."""
    client = gateway_module.TBGatewayMqttClient("127.0.0.1", site.mqtt_port, site.tokens["plant/gateway"])
    with connected(client):
        wait_for(lambda: not client.get_subscriptions_in_progress(), "the gateway is subscribed")
        yield client


def sent(info: Any) -> None:
    assert info.get() == 0, info.rc()


def test_telemetry_in_every_form(site: Site, device: Any) -> None:
    now_ms = time.time_ns() // 1_000_000
    sent(device.send_telemetry({"power": 3.2, "temperature": 21}))
    site.wait_value("plant/meter", "power", 3.2)
    sent(device.send_telemetry([{"power": 4.25}, {"temperature": 22}]))
    site.wait_value("plant/meter", "power", 4.25)
    sent(device.send_telemetry({"ts": now_ms + 5_000, "values": {"power": 5.5, "temperature": 23.5}}))
    found = site.wait_value("plant/meter", "power", 5.5)
    assert found["observed_at"] == (now_ms + 5_000) * 1_000_000 and found["quality"] == "good"
    many = [{"ts": now_ms + 10_000 + n, "values": {"power": n / 4, "temperature": 20}} for n in range(20)]
    sent(device.send_telemetry(many))
    site.wait_value("plant/meter", "power", 4.75)
    start = (now_ms + 10_000) * 1_000_000
    history = site.history("plant/meter", "power", start, start + 20_000_000)
    assert history == [(start + n * 1_000_000, n / 4) for n in range(20)]
    sent(device.send_telemetry({"power": 1.0}, quality_of_service=0))


def test_client_attributes_are_states(site: Site, device: Any) -> None:
    sent(device.send_attributes({"firmware": "1.4.2", "cells": 12, "sealed": True}))
    site.wait_value("plant/meter", "sealed", True)
    found = site.values("plant/meter")
    assert {name: (found[name]["value"], found[name]["kind"]) for name in ("firmware", "cells", "sealed")} == {
        "firmware": ("1.4.2", "state"),
        "cells": (12, "state"),
        "sealed": (True, "state"),
    }


def test_attributes_requested_and_pushed(site: Site, device: Any) -> None:
    """Shared attributes are the values wanted of the thing, client attributes its newest own."""
    answers: queue.Queue[Any] = queue.Queue()
    updates: queue.Queue[Any] = queue.Queue()
    sent(device.send_attributes({"firmware": "1.4.2"}))
    site.wait_value("plant/meter", "firmware", "1.4.2")
    wishes = {"setpoint": 21.5, "mode": "on"}
    assert site.send("PUT", "/projects/plant/things/meter/desired", "plant", wishes).status == 200
    device.request_attributes(["firmware"], ["setpoint", "mode"], callback=lambda content, error: answers.put(content))
    assert answers.get(timeout=WAIT_S) == {"client": {"firmware": "1.4.2"}, "shared": wishes}
    device.subscribe_to_attribute("setpoint", lambda content, error: updates.put(content))
    device.subscribe_to_all_attributes(lambda content, error: updates.put(content))
    assert site.send("PUT", "/projects/plant/things/meter/desired", "plant", {"setpoint": 19}).status == 200
    assert updates.get(timeout=WAIT_S) == updates.get(timeout=WAIT_S) == {"setpoint": 19}
    for wrong in ({"setpoint": 99}, {"power": 1}, {"mode": "maybe"}):
        assert site.send("PUT", "/projects/plant/things/meter/desired", "plant", wrong).status >= 400
    assert updates.empty()


def test_a_claim_and_a_call_are_answered(site: Site, device: Any) -> None:
    """Claiming is acknowledged; a call of a method nobody has is answered with an error."""
    answers: queue.Queue[Any] = queue.Queue()
    sent(device.claim("secret", 30_000))
    device.send_rpc_call("getTime", {}, lambda number, content, error: answers.put(content))
    assert "no method getTime" in answers.get(timeout=WAIT_S)["error"]


def test_the_client_learns_that_no_rate_limits_hold(device: Any) -> None:
    """§6: senders are slowed, not refused; the call for limits is answered with none."""
    answers: queue.Queue[Any] = queue.Queue()
    device.request_service_configuration(lambda number, content, error: answers.put(content))
    answer = answers.get(timeout=WAIT_S)
    assert answer["maxPayloadSize"] > 65_535 and set(answer["rateLimits"].values()) == {""}


def test_a_gateway_speaks_for_its_devices(site: Site, gateway: Any) -> None:
    now_ms = time.time_ns() // 1_000_000
    sent(gateway.gw_connect_device("boiler", "heater"))
    sent(gateway.gw_connect_device("pump 7"))
    sent(gateway.gw_send_telemetry("boiler", {"ts": now_ms, "values": {"flow": 12.5, "return": 40}}))
    sent(gateway.gw_send_telemetry("pump 7", [{"speed": 1450}, {"ts": now_ms, "values": {"speed": 1455}}]))
    sent(gateway.gw_send_telemetry("never connected", {"x": 1}))
    sent(gateway.gw_send_attributes("boiler", {"serial": "B-11"}))
    assert site.wait_value("plant/boiler", "flow", 12.5)["observed_at"] == now_ms * 1_000_000
    site.wait_value("plant/boiler", "serial", "B-11")
    site.wait_value("plant/never connected", "x", 1)
    wait_for(lambda: len(site.history("plant/pump 7", "speed")) == 2, "both speeds are stored")
    things = {thing["name"]: thing for thing in site.get("/projects/plant/things", "plant").body["things"]}
    assert things["boiler"]["inferred"] and things["boiler"]["heard_at"]
    sent(gateway.gw_disconnect_device("boiler"))


def test_a_gateway_asks_for_attributes_and_gets_updates(site: Site, gateway: Any) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    sent(gateway.gw_connect_device("valve"))
    sent(gateway.gw_send_attributes("valve", {"serial": "V-3"}))
    site.wait_value("plant/valve", "serial", "V-3")
    assert site.send("PUT", "/projects/plant/things/valve/desired", "plant", {"setpoint": 30}).status == 200
    gateway.gw_request_shared_attributes("valve", ["setpoint"], lambda content, error: answers.put(content))
    assert answers.get(timeout=WAIT_S)["value"] == 30
    gateway.gw_request_client_attributes("valve", ["serial"], lambda content, error: answers.put(content))
    assert answers.get(timeout=WAIT_S)["value"] == "V-3"
    gateway.gw_subscribe_to_all_device_attributes("valve", answers.put)
    assert site.send("PUT", "/projects/plant/things/valve/desired", "plant", {"setpoint": 31}).status == 200
    assert answers.get(timeout=WAIT_S) == {"device": "valve", "data": {"setpoint": 31}}


@pytest.mark.filterwarnings("ignore:Callback API version 1:DeprecationWarning")
def test_provisioning_with_a_join_token(site: Site) -> None:
    """A newcomer gets a token of its own, with which it speaks; a wrong secret or a taken name fails."""

    def provision(secret: str, name: str) -> Any:
        return device_module.TBDeviceMqttClient.provision(
            "127.0.0.1", "any key", secret, port=site.mqtt_port, device_name=name
        )

    credentials = provision(site.join_token, "newcomer")
    assert (credentials["status"], credentials["credentialsType"]) == ("SUCCESS", "ACCESS_TOKEN")
    token = credentials["credentialsValue"]
    with connected(device_module.TBDeviceMqttClient("127.0.0.1", site.mqtt_port, token)) as client:
        sent(client.send_telemetry({"power": 7}))
        site.wait_value("plant/newcomer", "power", 7)
    assert provision(site.join_token, "newcomer") is None
    site.wait_refusal("plant/newcomer", "has a token of its own")
    with Peer(site.mqtt_port, "x", 4, username="provision") as peer:
        peer.subscribe("/provision/response")
        peer.publish("/provision/request", b'{"provisionDeviceKey":"k","provisionDeviceSecret":"wrong"}', 1)
        assert b"FAILURE" in peer.wait(1)[0].payload
        assert peer.publish("v1/devices/me/telemetry", b'{"a":1}') == 0
        assert peer.subscribe("#", "/provision/#", "v1/devices/me/attributes") == [0x80] * 3


def test_the_device_api_over_http(site: Site) -> None:
    path = f"/api/v1/{site.tokens['plant/press']}/telemetry"
    assert site.ask("POST", path, "", b'{"strokes": 41}', content_type="application/json").status == 200
    site.wait_value("plant/press", "strokes", 41)
    assert site.ask("POST", "/api/v1/wrong/telemetry", "", b'{"strokes": 42}').status == 401
