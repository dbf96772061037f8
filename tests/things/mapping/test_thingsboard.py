"""ThingsBoard's API as its own Python client speaks it: what it builds is read, what is answered it understands."""

import json
import logging
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import tb_device_mqtt
import tb_gateway_mqtt
from hypothesis import given
from hypothesis import strategies as st

from taihu.things.mapping import PayloadError, thingsboard
from taihu.things.mapping.matcher import Matcher
from taihu.things.mapping.rules import builtin_mappings
from taihu.things.ports import Row

MATCHER = Matcher(builtin_mappings(), "house-03")
AT_MS = 1_700_000_000_123
AT = AT_MS * 1_000_000


class Gateway:
    """A real gateway client, cut off at the socket: `sent` is what it would publish."""

    def __init__(self) -> None:
        self.client = tb_gateway_mqtt.TBGatewayMqttClient("127.0.0.1", 1883, "token")
        self.sent: list[tuple[str, bytes]] = []
        self.client._client.publish = self._publish
        self.client.is_connected = lambda: True

    def _publish(self, topic: str, payload: bytes, qos: int = 0) -> SimpleNamespace:
        self.sent.append((topic, payload))
        return SimpleNamespace(rc=0)

    def receive(self, topic: str, payload: bytes) -> None:
        """Let the client read a message as if the server had published it."""
        self.client._on_message(None, None, SimpleNamespace(topic=topic, payload=payload))

    def rows(self) -> list[Row]:
        """What the built-in mappings make of all that was sent."""
        found: list[Row] = []
        for topic, payload in self.sent:
            match = MATCHER.match(topic)
            assert match is not None
            found += [row for row in match.decoder(None)(payload, 0) if isinstance(row, Row)]
        return found


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    level = logging.getLogger("tb_connection").level
    gateway = Gateway()
    yield gateway
    gateway.client.stop()
    logging.getLogger("tb_connection").setLevel(level)


def test_topics_are_the_clients_own() -> None:
    device, gateway = tb_device_mqtt, tb_gateway_mqtt
    assert thingsboard.TELEMETRY == device.TELEMETRY_TOPIC
    assert thingsboard.ATTRIBUTES == device.ATTRIBUTES_TOPIC
    assert thingsboard.ATTRIBUTES_REQUEST == device.ATTRIBUTES_TOPIC_REQUEST
    assert thingsboard.ATTRIBUTES_RESPONSE == device.ATTRIBUTES_TOPIC_RESPONSE
    assert thingsboard.RPC_REQUEST == device.RPC_REQUEST_TOPIC
    assert thingsboard.RPC_RESPONSE == device.RPC_RESPONSE_TOPIC
    assert thingsboard.CLAIM == device.CLAIMING_TOPIC
    assert thingsboard.PROVISION_REQUEST == device.ProvisionClient.PROVISION_REQUEST_TOPIC
    assert thingsboard.PROVISION_RESPONSE == device.ProvisionClient.PROVISION_RESPONSE_TOPIC
    assert thingsboard.GATEWAY_TELEMETRY == gateway.GATEWAY_TELEMETRY_TOPIC
    assert thingsboard.GATEWAY_ATTRIBUTES == gateway.GATEWAY_ATTRIBUTES_TOPIC
    assert thingsboard.GATEWAY_ATTRIBUTES_REQUEST == gateway.GATEWAY_ATTRIBUTES_REQUEST_TOPIC
    assert thingsboard.GATEWAY_ATTRIBUTES_RESPONSE == gateway.GATEWAY_ATTRIBUTES_RESPONSE_TOPIC
    assert thingsboard.GATEWAY_CONNECT == gateway.GATEWAY_MAIN_TOPIC + "connect"
    assert thingsboard.GATEWAY_DISCONNECT == gateway.GATEWAY_DISCONNECT_TOPIC
    assert thingsboard.GATEWAY_CLAIM == gateway.GATEWAY_CLAIMING_TOPIC
    assert thingsboard.GATEWAY_RPC == gateway.GATEWAY_RPC_TOPIC


@pytest.mark.parametrize(
    ("telemetry", "expected"),
    [
        ({"temp": 21.5, "on": True, "mode": "eco"}, [Row({"temp": 21.5, "on": True, "mode": "eco"})]),
        ([{"a": 1}, {"b": 2}], [Row({"a": 1, "b": 2})]),
        ({"ts": AT_MS, "values": {"a": 1}}, [Row({"a": 1}, AT)]),
        (
            [{"ts": AT_MS, "values": {"a": 1}}, {"ts": AT_MS + 1, "values": {"a": 2}}],
            [Row({"a": 1}, AT), Row({"a": 2}, AT + 1_000_000)],
        ),
        ({"ts": AT_MS, "values": {"a": {"b": 1}}, "metadata": {"rack": "7"}}, [Row({"a.b": 1}, AT)]),
    ],
)
def test_telemetry(gateway: Gateway, telemetry: Any, expected: list[Row]) -> None:
    gateway.client.send_telemetry(telemetry)
    assert gateway.rows() == expected


def test_attributes(gateway: Gateway) -> None:
    gateway.client.send_attributes({"firmware": "1.2", "gps": {"lat": 31.5}})
    assert gateway.rows() == [Row({"firmware": "1.2", "gps.lat": 31.5})]


def test_gateway_telemetry_and_attributes(gateway: Gateway) -> None:
    gateway.client.gw_send_telemetry("Device A", {"ts": AT_MS, "values": {"temp": 20}})
    gateway.client.gw_send_telemetry("Device B", [{"temp": 21}, {"ts": AT_MS, "values": {"temp": 22}}])
    gateway.client.gw_send_attributes("Device A", {"serial": "x1"})
    assert gateway.rows() == [
        Row({"temp": 20}, AT, "Device A"),
        Row({"temp": 21}, None, "Device B"),
        Row({"temp": 22}, AT, "Device B"),
        Row({"serial": "x1"}, None, "Device A"),
    ]


def test_attributes_request_and_response(gateway: Gateway) -> None:
    answers: list[Any] = []
    gateway.client.request_attributes(["a", "b"], ["c"], lambda *answer: answers.append(answer))
    ((topic, payload),) = gateway.sent
    number = thingsboard.parse_request_id(topic, thingsboard.ATTRIBUTES_REQUEST)
    assert thingsboard.parse_attributes_request(payload) == thingsboard.AttributesRequest(("a", "b"), ("c",))
    response = thingsboard.format_attributes_response({"a": 1}, {"c": 2})
    gateway.receive(f"{thingsboard.ATTRIBUTES_RESPONSE}{number}", response)
    assert answers == [({"client": {"a": 1}, "shared": {"c": 2}}, None)]


def test_attribute_updates(gateway: Gateway) -> None:
    seen: list[Any] = []
    gateway.client.subscribe_to_attribute("limit", lambda *update: seen.append(update))
    gateway.receive(thingsboard.ATTRIBUTES, thingsboard.format_attributes_update({"limit": 5}))
    gateway.client.gw_connect_device("A")
    gateway.client.gw_subscribe_to_attribute("A", "limit", seen.append)
    update = thingsboard.format_gateway_attributes_update("A", {"limit": 6})
    gateway.receive(thingsboard.GATEWAY_ATTRIBUTES, update)
    assert seen == [({"limit": 5}, None), {"device": "A", "data": {"limit": 6}}]


@pytest.mark.parametrize("keys", [["a"], ["a", "b"]])
def test_gateway_attributes_request_and_response(gateway: Gateway, keys: list[str]) -> None:
    answers: list[Any] = []
    gateway.client.gw_request_client_attributes("A", keys, lambda *answer: answers.append(answer))
    ((topic, payload),) = gateway.sent
    assert topic == thingsboard.GATEWAY_ATTRIBUTES_REQUEST
    request = thingsboard.parse_gateway_attributes_request(payload)
    assert request == thingsboard.GatewayAttributesRequest(1, "A", True, tuple(keys))
    response = thingsboard.format_gateway_attributes_response(request, {"a": 1})
    gateway.receive(thingsboard.GATEWAY_ATTRIBUTES_RESPONSE, response)
    value = {"value": 1} if len(keys) == 1 else {"values": {"a": 1}}
    assert answers == [({"id": 1, "device": "A"} | value, None)]


def test_gateway_connect_disconnect_and_claims(gateway: Gateway) -> None:
    gateway.client.gw_connect_device("A", "pump")
    gateway.client.gw_disconnect_device("A")
    gateway.client.claim("secret", 1000)
    gateway.client.gw_claim("A", "secret", 2000)
    connect, disconnect, claim, claims = gateway.sent
    assert connect[0] == thingsboard.GATEWAY_CONNECT
    assert thingsboard.parse_gateway_connect(connect[1]) == thingsboard.GatewayConnect("A", "pump")
    assert disconnect[0] == thingsboard.GATEWAY_DISCONNECT
    assert thingsboard.parse_gateway_connect(disconnect[1]).device == "A"
    assert thingsboard.parse_claim(claim[1]) == thingsboard.Claim("secret", 1000)
    assert thingsboard.parse_gateway_claim(claims[1]) == {"A": thingsboard.Claim("secret", 2000)}


def test_remote_calls(gateway: Gateway) -> None:
    calls: list[Any] = []
    gateway.client.set_server_side_rpc_request_handler(lambda *call: calls.append(call))
    gateway.client.gw_set_server_side_rpc_request_handler(lambda _, call: calls.append(call))
    gateway.receive(thingsboard.RPC_REQUEST + "3", thingsboard.format_rpc_request("set", {"x": 1}))
    gateway.receive(thingsboard.GATEWAY_RPC, thingsboard.format_gateway_rpc_request("A", 4, "get", None))
    gateway.client.send_rpc_reply("3", {"done": True}, 1)
    gateway.client.gw_send_rpc_reply("A", 4, [1])
    gateway.client.send_rpc_call("now", {}, lambda *answer: calls.append(answer[:2]))
    reply, gateway_reply, call = gateway.sent
    assert thingsboard.parse_request_id(reply[0], thingsboard.RPC_RESPONSE) == 3
    assert thingsboard.parse_rpc_response(reply[1]) == {"done": True}
    assert thingsboard.parse_gateway_rpc_response(gateway_reply[1]) == thingsboard.GatewayRpcResponse("A", 4, [1])
    assert thingsboard.parse_rpc_request(call[1]) == thingsboard.RpcRequest("now", {})
    number = thingsboard.parse_request_id(call[0], thingsboard.RPC_REQUEST)
    gateway.receive(f"{thingsboard.RPC_RESPONSE}{number}", thingsboard.format_rpc_response(5))
    assert calls == [
        ("3", {"method": "set", "params": {"x": 1}}),
        {"device": "A", "data": {"id": 4, "method": "get", "params": None}},
        (number, 5),
    ]


def test_session_limits_lift_the_clients_own(gateway: Gateway) -> None:
    """§6: senders are slowed by the transport, never cut off by a rate."""
    rate = gateway.client._telemetry_rate_limit
    gateway.client.on_service_configuration(None, json.loads(thingsboard.format_session_limits(1_000_000, 100)))
    assert not rate.has_limit()
    assert gateway.client.max_payload_size == 800_000


@pytest.mark.filterwarnings("ignore:Callback API version 1:DeprecationWarning")
def test_provisioning() -> None:
    asked = {"provisionDeviceKey": "k", "provisionDeviceSecret": "s", "deviceName": "A", "gateway": True}
    client = tb_device_mqtt.ProvisionClient("127.0.0.1", 1883, asked)
    sent: list[tuple[str, bytes]] = []
    client.subscribe = lambda topic: None
    client.publish = lambda topic, payload: sent.append((topic, payload))
    client.on_connect(client, None, None, 0)
    ((topic, payload),) = sent
    assert topic == thingsboard.PROVISION_REQUEST
    request = thingsboard.parse_provision_request(payload)
    assert request == thingsboard.ProvisionRequest("k", "s", "A", True)
    answer = SimpleNamespace(payload=thingsboard.format_provision_failure("no such key"))
    client.on_message(client, None, answer)
    assert client.get_credentials() is None
    answer.payload = thingsboard.format_provision_success("token-1")
    client.on_message(client, None, answer)
    assert client.get_credentials()["credentialsValue"] == "token-1"


@pytest.mark.parametrize("number", ["", "x", "-1", "1/2", "²", "9" * 20])
def test_a_bad_request_number(number: str) -> None:
    with pytest.raises(PayloadError, match="bad-request"):
        thingsboard.parse_request_id(thingsboard.ATTRIBUTES_REQUEST + number, thingsboard.ATTRIBUTES_REQUEST)


PARSERS: list[Callable[[bytes], Any]] = [
    thingsboard.parse_attributes_request, thingsboard.parse_gateway_connect, thingsboard.parse_claim,
    thingsboard.parse_gateway_attributes_request, thingsboard.parse_gateway_claim, thingsboard.parse_rpc_request,
    thingsboard.parse_provision_request, thingsboard.parse_rpc_response, thingsboard.parse_gateway_rpc_response,
]  # fmt: skip


@given(
    st.sampled_from(PARSERS),
    st.binary()
    | st.dictionaries(
        st.sampled_from(["device", "id", "keys", "key", "client", "clientKeys", "secretKey", "method", "data"]),
        st.none() | st.integers() | st.text() | st.booleans() | st.lists(st.text()),
    ).map(lambda document: json.dumps(document).encode())
    | st.just(b'{"a":' * 100_000),
)
def test_any_bytes_give_a_request_or_the_error(parse: Callable[[bytes], Any], payload: bytes) -> None:
    """§13."""
    try:
        parse(payload)
    except PayloadError as error:
        assert error.reason in ("bad-request", "not-json", "bad-value", "too-deep")
