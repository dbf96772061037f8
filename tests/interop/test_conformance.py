"""What the public interoperability suite of Eclipse Paho expects of a server, in both versions, on free topics.

The node is as an operator would set it up for that suite: an anonymous project with every topic free, one filter
denied, and keep alives of at most 60 s, which the suite looks for.
"""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from tests.interop.peer import Gone, Peer, payloads
from tests.interop.support import Site
from tests.waiting import WAIT_S

from taihu.protocols.mqtt.packets import Connect, Disconnect, Puback, Publish, Pubrec, Will

BOTH = pytest.mark.parametrize("version", [4, 5])
A, AB, C, AC, SLASH = "t/TopicA", "t/TopicA/B", "t/Topic/C", "t/TopicA/C", "t//TopicA"
LONG_S = 99_999


@pytest.fixture
def port(site: Site) -> Iterator[int]:
    """The door, with nothing retained and no sessions left by the test before."""
    yield site.mqtt_port
    for version, name in ((4, "one"), (4, "two"), (5, "one"), (5, "two")):
        Peer(site.mqtt_port, name, version).disconnect()
    with Peer(site.mqtt_port) as peer:
        peer.subscribe("#", qos=0)
        for message in list(peer.quiet(0.1)):
            peer.publish(message.topic, b"", 1, retain=True)


def kept(version: int) -> dict[str, Any]:
    """The properties of a CONNECT whose session is to stay."""
    return {"session_expiry_interval": LONG_S} if version == 5 else {}


@BOTH
def test_basic(port: int, version: int) -> None:
    Peer(port, "one", version).disconnect()
    with Peer(port, "one", version) as one:
        assert (one.connack.reason, one.connack.session_present) == (0, False)
        assert one.subscribe(A) == [2]
        for qos in (0, 1, 2):
            assert one.publish(A, b"qos %d" % qos, qos) == 0
        assert sorted((m.payload, m.qos) for m in one.wait(3)) == [(b"qos 0", 0), (b"qos 1", 1), (b"qos 2", 2)]
        one.send(Connect(version, "one", True, 0))
        assert one.gone() == (0x82 if version == 5 else None)


@BOTH
def test_other_protocol_names_are_refused(port: int, version: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as peer:
        body = b"\x00\x02hj" + bytes([version, 2, 0, 0]) + (b"\x00" if version == 5 else b"") + b"\x00\x03one"
        peer.sendall(bytes([0x10, len(body)]) + body)
        answer = peer.recv(100)
        assert answer == b"" or answer[3] >= 0x80 or answer[3] == 1


@BOTH
def test_retained_messages(port: int, version: int) -> None:
    extra = {"user_property": [("a", "2"), ("c", "3")]} if version == 5 else {}
    with Peer(port, "one", version) as one:
        for topic, qos in ((AB, 0), (C, 1), (AC, 2)):
            one.publish(topic, b"qos %d" % qos, qos, retain=True, **extra)
        one.subscribe("t/+/+")
        found = one.wait(3)
        assert sorted((m.qos, m.payload, m.retain) for m in found) == [(q, b"qos %d" % q, True) for q in range(3)]
        assert all(m.properties == extra for m in found)
        for topic, qos in ((AB, 0), (C, 1), (AC, 2)):
            one.publish(topic, b"", qos, retain=True)
        one.wait(6)
    with Peer(port, "one", version) as again:
        again.subscribe("t/+/+")
        assert again.quiet() == []


@BOTH
def test_offline_messages_wait(port: int, version: int) -> None:
    with Peer(port, "one", version, clean=version == 5, **kept(version)) as one:
        one.subscribe("t/+/+")
        one.disconnect()
    with Peer(port, "two", version) as two:
        for topic, qos in ((AB, 0), (C, 1), (AC, 2)):
            two.publish(topic, b"qos %d" % qos, qos)
    with Peer(port, "one", version, clean=False) as one:
        assert one.connack.session_present
        assert payloads(one.wait(2)) == [b"qos 1", b"qos 2"]


@BOTH
def test_overlapping_subscriptions(port: int, version: int) -> None:
    with Peer(port, "one", version) as one:
        one.subscribe("t/TopicA/#", qos=2)
        one.subscribe("t/TopicA/+", qos=1)
        one.publish(AC, b"overlapping", 2)
        assert [m.qos for m in one.wait(1)] == [2]


@BOTH
def test_keep_alive_and_will(port: int, version: int) -> None:
    extra = {"user_property": [("a", "2"), ("c", "3")]} if version == 5 else {}
    will = Will(C, b"keep alive expired", 2, False, extra)
    with Peer(port, "two", version) as two, Peer(port, "one", version, keep_alive=1, will=will) as one:
        two.subscribe(C)
        assert one.gone(5) == (0x8D if version == 5 else None)
        (message,) = two.wait(1)
        assert (message.payload, message.properties) == (b"keep alive expired", extra)


@BOTH
def test_a_lost_connection_sends_the_will(port: int, version: int) -> None:
    with Peer(port, "two", version) as two:
        two.subscribe(C)
        Peer(port, "one", version, will=Will(C, b"lost", 1, False)).close()
        assert payloads(two.wait(1)) == [b"lost"]
        Peer(port, "one", version, will=Will(C, b"not lost", 1, False)).disconnect()
        assert payloads(two.quiet()) == [b"lost"]


@BOTH
def test_redelivery_on_reconnect(port: int, version: int) -> None:
    with Peer(port, "two", version, clean=False, **kept(version)) as two:
        two.subscribe("t/TopicA/#")
        two.mute = True
        two.publish(AB, b"one", 1)
        two.publish(AC, b"two", 2)
        two.wait(2)
    with Peer(port, "two", version, clean=False, **kept(version)) as two:
        assert [(m.payload, m.dup) for m in two.wait(2)] == [(b"one", True), (b"two", True)]


@BOTH
def test_a_denied_subscription(port: int, version: int) -> None:
    with Peer(port, "one", version) as one:
        assert one.subscribe("test/nosubscribe") == [0x80]
        assert one.subscribe("t/a", "test/nosubscribe", "t/b") == [2, 0x80, 2]


@BOTH
def test_dollar_topics(port: int, version: int) -> None:
    with Peer(port, "two", version) as two:
        two.subscribe("+/+", "#", "t/+/+")
        before = len(two.quiet())
        assert two.publish("$" + AB, b"", 1) == (0x87 if version == 5 else 0)
        assert len(two.quiet()) == before


@BOTH
def test_unsubscribe(port: int, version: int) -> None:
    with Peer(port, "two", version) as two, Peer(port, "one", version) as one:
        for topic in (A, AB, C):
            two.subscribe(topic)
        two.unsubscribe(A)
        for topic in (A, AB, C):
            one.publish(topic, topic.encode(), 1)
        assert sorted(payloads(two.wait(2))) == sorted([AB.encode(), C.encode()])


def test_empty_client_identifiers(port: int) -> None:
    with Peer(port, "", 4, clean=False) as peer:
        assert peer.connack.reason == 2
    for version, clean in ((4, True), (5, True), (5, False)):
        with Peer(port, "", version, clean=clean) as peer:
            assert peer.connack.reason == 0
            assert bool(peer.connack.properties.get("assigned_client_identifier")) == (version == 5)


def test_session_expiry(port: int) -> None:
    def connect(expiry_s: int, clean: bool = False) -> Peer:
        return Peer(port, "one", clean=clean, session_expiry_interval=expiry_s)

    with connect(0, clean=True) as one:
        one.subscribe(A)
        one.disconnect()
    with connect(0) as one:
        assert not one.connack.session_present
        one.disconnect()
    with connect(1) as one:
        one.subscribe(A)
        one.disconnect(session_expiry_interval=LONG_S)
    with connect(1) as one:
        assert one.connack.session_present
        one.disconnect(session_expiry_interval=0)
    with connect(1) as one:
        assert not one.connack.session_present
        one.subscribe(A)
        one.disconnect()
    with Peer(port, "two") as two:
        two.quiet(1.8)
    with connect(0) as one:
        assert not one.connack.session_present


def test_properties_of_messages_are_passed_on(port: int) -> None:
    given: dict[str, Any] = {
        "user_property": [("a", "2"), ("c", "3")],
        "payload_format_indicator": 1,
        "content_type": "My name",
        "response_topic": AB,
        "correlation_data": b"334",
    }
    with Peer(port, "one") as one:
        one.subscribe(A)
        for qos in (0, 1, 2):
            one.publish(A, b"", qos, **given)
        found = one.wait(3)
        assert sorted(m.qos for m in found) == [0, 1, 2]
        assert [m.properties for m in found] == [given] * 3


def test_message_expiry(port: int) -> None:
    with Peer(port, "two", session_expiry_interval=LONG_S) as two:
        two.subscribe(A)
        two.disconnect(session_expiry_interval=999_999_999)
    with Peer(port, "one") as one:
        for qos in (1, 2):
            one.publish(A, b"expires", qos, message_expiry_interval=1)
            one.publish(A, b"stays", qos, message_expiry_interval=6)
        one.quiet(1.3)
    with Peer(port, "two", clean=False) as two:
        found = two.wait(2)
        assert payloads(found) == [b"stays", b"stays"]
        assert all(0 < m.properties["message_expiry_interval"] < 6 for m in found)


def test_subscribe_options(port: int) -> None:
    with Peer(port, "one") as one, Peer(port, "two") as two:
        one.subscribe(A, no_local=True)
        two.subscribe(A, no_local=True)
        one.publish(A, b"no local", 1)
        assert payloads(two.wait(1)) == [b"no local"]
        assert one.quiet() == []
        one.subscribe(AB, retain_as_published=True)
        one.publish(AB, b"no", 1)
        one.publish(AB, b"yes", 1, retain=True)
        assert [(m.payload, m.retain) for m in one.wait(2)] == [(b"no", False), (b"yes", True)]
        one.messages.clear()
        one.unsubscribe(AB)
        one.subscribe(AB, retain_handling=2)
        assert one.quiet() == []
        one.unsubscribe(AB)
        one.subscribe(AB, retain_handling=1)
        assert payloads(one.wait(1)) == [b"yes"]
        one.subscribe(AB, retain_handling=1)
        assert len(one.quiet()) == 1
        one.subscribe(AB, retain_handling=0)
        assert len(one.wait(2)) == 2


def test_subscription_identifiers(port: int) -> None:
    with Peer(port, "one") as one, Peer(port, "two") as two:
        one.subscribe(A, identifier=456_789)
        two.subscribe(A, identifier=2)
        two.subscribe(A + "/#", identifier=3)
        two.publish(A, b"", 1)
        assert [m.properties["subscription_identifier"] for m in one.wait(1)] == [[456_789]]
        assert [sorted(m.properties["subscription_identifier"]) for m in two.wait(1)] == [[2, 3]]


def test_aliases_of_the_client(port: int) -> None:
    with Peer(port, "one") as one:
        one.send_bytes(b"\x32\x0d\x00\x05topic\x00\x01\x03\x23\x00\x00")  # a PUBLISH with the alias 0
        assert one.gone() in (0x82, 0x94)
    with Peer(port, "one", session_expiry_interval=LONG_S) as one:
        assert one.connack.properties["topic_alias_maximum"] > 0
        one.subscribe(A)
        one.publish(A, b"1", 1, topic_alias=1)
        one.publish("", b"2", 1, topic_alias=1)
        assert [(m.topic, m.payload) for m in one.wait(2)] == [(A, b"1"), (A, b"2")]
        assert all("topic_alias" not in m.properties for m in one.messages)
        one.disconnect()
    with Peer(port, "one", clean=False, session_expiry_interval=LONG_S) as one:
        one.publish(A, b"3", 1)
        assert payloads(one.wait(1)) == [b"3"]
        one.send(Publish("", b"4", 1, packet_id=9, properties={"topic_alias": 1}))
        assert one.gone() in (0x82, 0x94)


def test_aliases_of_the_server(port: int) -> None:
    with Peer(port, "one", topic_alias_maximum=1) as one:
        one.subscribe(A)
        for qos in (0, 1, 2):
            one.publish(A, b"x", qos)
        assert [(m.topic, m.properties["topic_alias"]) for m in one.wait(3)] == [(A, 1), ("", 1), ("", 1)]
    without: list[dict[str, Any]] = [{}, {"topic_alias_maximum": 0}]
    for given in without:
        with Peer(port, "one", **given) as one:
            one.subscribe(A)
            for qos in (0, 1, 2):
                one.publish(A, b"x", qos)
            assert all("topic_alias" not in m.properties and m.topic == A for m in one.wait(3))


def test_maximum_packet_size(port: int) -> None:
    with Peer(port, "one", maximum_packet_size=64) as one:
        one.subscribe(A)
        one.publish(A, b"." * 32)
        assert one.publish(A, b"." * 64, 1) == 0
        assert payloads(one.wait(1)) == [b"." * 32]
        largest = one.connack.properties["maximum_packet_size"]
        one.send_bytes(b"\x30" + b"\xff\xff\xff\x7f")
        assert largest >= 65_535 and one.gone() == 0x95


def test_server_keep_alive(port: int) -> None:
    """A client that asks for 120 s is told 60 s; one that asks for less keeps its own."""
    with Peer(port, "one", keep_alive=120) as one:
        assert one.connack.properties["server_keep_alive"] == 60
    with Peer(port, "one", keep_alive=30) as one:
        assert "server_keep_alive" not in one.connack.properties


def test_flow_control_towards_the_client(port: int) -> None:
    with Peer(port, "one", receive_maximum=2) as one:
        one.subscribe(A)
        one.mute = True
        one.send(*(Publish(A, b"%d" % number, 1, packet_id=10 + number) for number in range(3)))
        for _ in range(3):
            one.next(Puback)
        first, second = one.wait(2)
        one.send(Puback(first.packet_id))
        assert payloads(one.wait(3)) == [b"0", b"1", b"2"]
        one.send(Puback(second.packet_id))


def test_flow_control_towards_the_server(port: int) -> None:
    """One QoS 2 message more than the server's receive maximum ends the connection with 0x93."""
    with Peer(port, "one") as one:
        most = one.connack.properties["receive_maximum"]
        one.send(*(Publish(A, b"", 2, packet_id=number) for number in range(1, most + 1)))
        for _ in range(most):
            assert one.next(Pubrec).reason == 0
        one.send(Publish(A, b"", 2, packet_id=most + 1))
        assert one.gone() == 0x93


@pytest.mark.parametrize(("delay_s", "expiry_s"), [(1, 99), (99, 1), (99, 0)])
def test_delayed_wills(port: int, delay_s: int, expiry_s: int) -> None:
    """A will comes after its delay, or when its session ends if that is sooner; not for who comes back."""
    will = Will(A, b"will", 1, False, {"will_delay_interval": delay_s})
    with Peer(port, "two") as two:
        two.subscribe(A)
        Peer(port, "one", will=will, session_expiry_interval=expiry_s).close()
        if expiry_s:
            assert two.quiet(0.5) == []
        assert payloads(two.wait(1, 3)) == [b"will"]


def test_who_comes_back_sends_no_delayed_will(port: int) -> None:
    will = Will(A, b"will", 1, False, {"will_delay_interval": 1})
    with Peer(port, "two") as two:
        two.subscribe(A)
        Peer(port, "one", will=will, session_expiry_interval=99).close()
        with Peer(port, "one", clean=False):
            assert two.quiet(1.5) == []


def test_shared_subscriptions(port: int) -> None:
    with Peer(port, "one") as one, Peer(port, "two") as two:
        for peer in (one, two):
            peer.subscribe("$share/name/t/x", A)
        two.publish(A, b"to both")
        assert payloads(one.wait(1)) == payloads(two.wait(1)) == [b"to both"]
        one.messages.clear()
        two.messages.clear()
        for number in range(10):
            two.publish("t/x", b"%d" % number, 1)
        found = payloads(one.quiet()) + payloads(two.quiet())
        assert sorted(found) == [b"%d" % number for number in range(10)]
        assert one.messages and two.messages


def test_request_and_response(port: int) -> None:
    with Peer(port, "one") as one, Peer(port, "two") as two:
        one.subscribe(A, no_local=True)
        two.subscribe(A, no_local=True)
        one.publish(A, b"request", 1, response_topic=A, correlation_data=b"334")
        (request,) = two.wait(1)
        two.publish(request.properties["response_topic"], b"response", 1, **dict(request.properties))
        (response,) = one.wait(1)
        assert (response.payload, response.properties["correlation_data"]) == (b"response", b"334")


@BOTH
def test_takeover(port: int, version: int) -> None:
    one = Peer(port, "one", version)
    with Peer(port, "one", version) as again:
        assert one.gone() == (0x8E if version == 5 else None)
        assert again.publish(A, b"", 1) == 0


@BOTH
def test_a_disconnect_is_the_last_packet(port: int, version: int) -> None:
    one = Peer(port, "one", version)
    one.send(Disconnect(), Publish(A, b"too late"))
    with pytest.raises(Gone):
        one.next(Puback, 5)
    one.close()
