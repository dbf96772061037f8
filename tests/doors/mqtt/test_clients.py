"""The door against paho-mqtt, aiomqtt and gmqtt, over TCP, TLS and WebSocket."""

import asyncio
import datetime
import ipaddress
import queue
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiomqtt
import gmqtt
import paho.mqtt.client as paho
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions
from tests.waiting import WAIT_S

BOTH = pytest.mark.parametrize("version", [paho.MQTTv311, paho.MQTTv5])


class Paho:
    """A paho client with a thread; `messages` is a queue of what came."""

    def __init__(self, port: int, name: str, version: int, *, transport: str = "tcp", tls: Any = None, **connect: Any):
        self.messages: queue.Queue[Any] = queue.Queue()
        self.done: queue.Queue[Any] = queue.Queue()
        self.gone: queue.Queue[Any] = queue.Queue()
        clean = {} if version == paho.MQTTv5 else {"clean_session": connect.pop("clean_start", True)}
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, name, protocol=version, transport=transport, **clean
        )
        self.client.on_connect = lambda client, data, flags, reason, properties: self.done.put((flags, reason))
        self.client.on_message = lambda client, data, message: self.messages.put(message)
        self.client.on_subscribe = lambda client, data, mid, reasons, properties: self.done.put(reasons)
        self.client.on_disconnect = lambda client, data, flags, reason, properties: self.gone.put(reason)
        if tls is not None:
            self.client.tls_set_context(tls)
        will = connect.pop("will", None)
        if will is not None:
            self.client.will_set(*will)
        self.client.connect("127.0.0.1", port, **connect)
        self.client.loop_start()
        self.flags, self.reason = self.done.get(timeout=WAIT_S)

    def subscribe(self, topic: str, **options: Any) -> list[Any]:
        self.client.subscribe(topic, **options)
        reasons: list[Any] = self.done.get(timeout=WAIT_S)
        return reasons

    def publish(self, topic: str, payload: bytes, qos: int = 0, **more: Any) -> None:
        self.client.publish(topic, payload, qos, **more).wait_for_publish(WAIT_S)

    def next(self) -> Any:
        return self.messages.get(timeout=WAIT_S)

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def properties(kind: int, **values: Any) -> Properties:
    result = Properties(kind)
    for name, value in values.items():
        setattr(result, name, value)
    return result


@BOTH
def test_paho_at_every_qos_and_takeover(running: Any, version: int) -> None:
    """Messages both ways, then a second client of the same name."""
    one = Paho(running.port, "one", version)
    assert [reason.value for reason in one.subscribe("t/+", qos=2)] == [2]
    for qos in (0, 1, 2):
        one.publish("t/x", b"%d" % qos, qos)
    assert sorted((m.payload, m.qos) for m in (one.next(), one.next(), one.next())) == [(b"0", 0), (b"1", 1), (b"2", 2)]
    assert [reason.value for reason in one.subscribe("nosubscribe")] == [0x80]
    one.client.reconnect_delay_set(60)
    two = Paho(running.port, "one", version)
    reason = one.gone.get(timeout=WAIT_S)
    assert reason.value == (0x8E if version == paho.MQTTv5 else 0x80)
    one.stop()
    two.stop()


@BOTH
def test_paho_persistent_session_and_will(running: Any, version: int) -> None:
    """Offline messages wait; a lost connection sends its will."""
    kept: dict[str, Any] = {"clean_start": False}
    if version == paho.MQTTv5:
        kept["properties"] = properties(PacketTypes.CONNECT, SessionExpiryInterval=100)
    sleeper = Paho(running.port, "sleeper", version, **kept)
    sleeper.subscribe("t/#", qos=1)
    sleeper.stop()
    mortal = Paho(running.port, "mortal", version, will=("t/will", b"gone", 1, False))
    mortal.publish("t/1", b"offline", 1)
    mortal.client.socket().shutdown(2)
    awake = Paho(running.port, "sleeper", version, **kept)
    assert awake.flags.session_present
    assert [awake.next().payload, awake.next().payload] == [b"offline", b"gone"]
    awake.stop()
    mortal.stop()


def test_paho_five_features(running: Any) -> None:
    """Properties, identifiers, options, aliases, shares and flow control of MQTT 5.0."""
    five = paho.MQTTv5
    wishes = properties(PacketTypes.CONNECT, ReceiveMaximum=2, TopicAliasMaximum=3)
    one = Paho(running.port, "1", five, properties=wishes)
    two = Paho(running.port, "2", five)
    one.subscribe(
        "t",
        options=SubscribeOptions(2, noLocal=True),
        properties=properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=77),
    )
    two.subscribe("$share/g/s", qos=1)
    one.subscribe("$share/g/s", qos=1)
    sent = properties(
        PacketTypes.PUBLISH, ResponseTopic="answers", CorrelationData=b"\1", ContentType="x", PayloadFormatIndicator=1,
        UserProperty=("a", "b"), MessageExpiryInterval=100,
    )  # fmt: skip
    for number in range(9):
        two.publish("t", b"%d" % number, number % 3, properties=sent)
        one.publish("t", b"own", 1)
    for number in range(9):
        message = one.next()
        assert message.payload == b"%d" % number
        assert message.topic == ("" if number else "t") and message.properties.TopicAlias == 1
        got = message.properties
        assert got.SubscriptionIdentifier == [77] and got.ResponseTopic == "answers" and got.CorrelationData == b"\1"
        assert got.UserProperty == [("a", "b")] and got.MessageExpiryInterval <= 100
    for number in range(10):
        two.publish("s", b"%d" % number, 1)
    shared = [one.next().payload for _ in range(5)] + [two.next().payload for _ in range(5)]
    assert sorted(shared) == [b"%d" % number for number in range(10)]
    one.stop()
    two.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "meter-7")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36_500))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    plain = serialization.NoEncryption()
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@BOTH
def test_tls_with_a_client_certificate(start: Callable[..., Any], certificate: Path, version: int) -> None:
    """The certificate reaches the policy, which makes a space of its common name here."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    server.load_verify_locations(certificate)
    server.verify_mode = ssl.CERT_REQUIRED
    running = start(tls=server)
    client = ssl.create_default_context(cafile=str(certificate))
    client.load_cert_chain(certificate)
    one = Paho(running.tls_port, "one", version, tls=client)
    one.subscribe("t", qos=1)
    one.publish("t", bytes(300_000), 1)
    assert len(one.next().payload) == 300_000
    assert running.call(lambda: running.broker._core.store.spaces.keys()) >= {"meter-7"}
    one.stop()


@BOTH
def test_websocket(running: Any, version: int) -> None:
    """Clause 6: binary frames of subprotocol mqtt, across frame borders."""
    one = Paho(running.websocket_port, "one", version, transport="websockets")
    one.subscribe("t", qos=2)
    one.publish("t", bytes(200_000), 2)
    assert len(one.next().payload) == 200_000
    one.stop()


def test_aiomqtt(running: Any) -> None:
    """aiomqtt: retained, then live."""

    async def talk() -> list[bytes]:
        async with aiomqtt.Client("127.0.0.1", running.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
            await client.publish("t/kept", b"1", qos=1, retain=True)
            await client.subscribe("t/#", qos=1)
            await client.publish("t/live", b"2", qos=2)
            got = []
            async for message in client.messages:
                got.append(bytes(message.payload))
                if len(got) == 2:
                    return got
        return []

    assert asyncio.run(asyncio.wait_for(talk(), WAIT_S)) == [b"1", b"2"]


def test_gmqtt(running: Any) -> None:
    """gmqtt: its own codec, with user properties."""

    async def talk() -> tuple[bytes, Any]:
        got: asyncio.Future[tuple[bytes, Any]] = asyncio.get_running_loop().create_future()
        subscribed = asyncio.Event()
        client = gmqtt.Client("gm")
        client.on_subscribe = lambda *_: subscribed.set()

        def on_message(client: Any, topic: str, payload: bytes, qos: int, properties: Any) -> int:
            got.set_result((payload, properties))
            return 0

        client.on_message = on_message
        await client.connect("127.0.0.1", running.port)
        client.subscribe("t", qos=1)
        await subscribed.wait()
        client.publish("t", b"1", qos=1, user_property=("a", "b"))
        result = await got
        await client.disconnect()
        return result

    payload, found = asyncio.run(asyncio.wait_for(talk(), WAIT_S))
    assert payload == b"1" and ("a", "b") in found["user_property"]
