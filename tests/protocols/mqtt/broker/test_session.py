"""Sessions: what outlives a connection, a crash, and when it ends; wills."""

from typing import Any

import pytest

from taihu.kernel.errors import DamagedError
from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.packets import Disconnect, Puback, Pubcomp, Publish, Pubrec, Pubrel, Subscription, Will
from taihu.protocols.mqtt.reasons import Reason


def messages_of(peer: Any) -> list[Publish]:
    return [packet for packet in peer.early if isinstance(packet, Publish)]


def test_session_ends_with_its_connection_unless_asked(world: Any) -> None:
    """[MQTT-3.1.2-23]: expiry 0 or absent."""
    world.client().lose()
    assert not world.client(clean=False).connack.session_present
    world.client("old", 4, clean=True).lose()
    assert not world.client("old", 4, clean=False).connack.session_present


@pytest.mark.parametrize("crash", [False, True])
def test_session_expiry(world: Any, crash: bool) -> None:
    """[MQTT-4.1.0-2]: it lasts its interval from the end of the connection, restarts included."""
    for wait_s, present in ((4, True), (6, False)):
        peer = world.client(clean=False, session_expiry_interval=5)
        peer.subscribe("a")
        world.advance(60)
        peer.lose()
        world.advance(wait_s / 2)
        if crash:
            world.crash(down_s=wait_s / 2)
        else:
            world.advance(wait_s / 2)
        world.advance(0.5)
        again = world.client(clean=False, session_expiry_interval=5)
        assert again.connack.session_present is present
        again.lose()
    assert world.broker.counters.sessions_expired == 1


def test_expiry_is_capped_and_the_client_told(make_world: Any) -> None:
    """[MQTT-3.2.2-20], clause 3.2.2.3.2."""
    world = make_world(Limits(mqtt_session_expiry_max_s=100))
    assert world.client(session_expiry_interval=0xFFFF_FFFF).connack.properties["session_expiry_interval"] == 100
    assert "session_expiry_interval" not in world.client("d", session_expiry_interval=99).connack.properties
    old = world.client("old", 4, clean=False)
    old.lose()
    world.advance(99)
    world.client("old", 4, clean=False).lose()
    world.advance(101)
    assert not world.client("old", 4, clean=False).connack.session_present


def test_disconnect_may_change_the_expiry(world: Any) -> None:
    """Clause 3.14.2.2.2: but not prolong what ends with its connection."""
    peer = world.client(session_expiry_interval=1)
    peer.send(Disconnect(0, {"session_expiry_interval": 5}))
    world.advance(4)
    peer = world.client(clean=False, session_expiry_interval=1)
    assert peer.connack.session_present
    peer.send(Disconnect(0, {"session_expiry_interval": 0}))
    peer = world.client(clean=False)
    assert not peer.connack.session_present
    peer.send(Disconnect(0, {"session_expiry_interval": 5}))
    assert peer.got() == [Disconnect(Reason.PROTOCOL_ERROR)]


def test_session_that_becomes_transient(world: Any) -> None:
    """A reconnection without expiry goes on with the session, which then ends with it."""
    peer = world.client(clean=False, session_expiry_interval=50)
    peer.subscribe("a")
    peer.lose()
    peer = world.client(clean=False)
    assert peer.connack.session_present
    assert world.rebuilt().snapshot() == world.broker.snapshot()
    peer.publish("a", b"1")
    assert peer.payloads() == [b"1"]
    peer.lose()
    assert not world.client(clean=False).connack.session_present


def test_clean_start_discards(world: Any) -> None:
    """[MQTT-3.1.2-4]."""
    peer = world.client(session_expiry_interval=50)
    peer.subscribe("a")
    peer.lose()
    world.client("p").publish("a", b"1", 1)
    peer = world.client(clean=True, session_expiry_interval=50)
    assert not peer.connack.session_present and peer.early == []
    world.client("p").publish("a", b"2", 1)
    assert peer.messages() == []


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("version", [4, 5])
def test_messages_wait_for_an_absent_client(world: Any, version: int, crash: bool) -> None:
    """[MQTT-4.5.0-1]: QoS 1 and 2 in order, as first attempts; QoS 0 is not kept."""
    kept = {"session_expiry_interval": 1_000} if version == 5 else {}
    peer = world.client(version=version, clean=False, **kept)
    peer.subscribe("a/#")
    peer.lose()
    publisher = world.client("p")
    for number in range(9):
        publisher.publish(f"a/{number}", b"x", number % 3)
    if crash:
        world.crash()
    again = world.client(version=version, clean=False, **kept)
    assert again.connack.session_present
    got = messages_of(again)
    assert [(m.topic, m.qos, m.dup) for m in got] == [(f"a/{n}", n % 3, False) for n in range(9) if n % 3]


@pytest.mark.parametrize("crash", [False, True])
def test_unacknowledged_messages_are_sent_again(world: Any, crash: bool) -> None:
    """[MQTT-4.4.0-1], [MQTT-3.3.1-1]: original identifiers and order, DUP set; PUBREL instead after PUBREC."""
    peer = world.client(clean=False, session_expiry_interval=100)
    peer.subscribe("a")
    publisher = world.client("p")
    for number, qos in enumerate((1, 2, 2, 1)):
        publisher.publish("a", b"%d" % number, qos)
    first = peer.got()
    peer.send(Pubrec(first[1].packet_id))
    peer.send(Puback(first[3].packet_id))
    if crash:
        world.crash()
    else:
        peer.lose()
    peer = world.client(clean=False, session_expiry_interval=100)
    assert [type(packet) for packet in peer.early] == [Publish, Pubrel, Publish]
    again = peer.early
    assert [p.packet_id for p in again] == [p.packet_id for p in first[:3]]
    assert again[0].dup and again[2].dup
    peer.send(Puback(again[0].packet_id), Pubcomp(again[1].packet_id), Pubrec(again[2].packet_id))
    assert peer.got() == [Pubrel(again[2].packet_id)]
    peer.send(Pubcomp(again[2].packet_id))
    peer.lose()
    assert world.client(clean=False).early == []


@pytest.mark.parametrize("crash", [False, True])
def test_qos_2_from_the_client_across_connections(world: Any, crash: bool) -> None:
    """[MQTT-4.3.3-10]: exactly once, also when the client repeats after a reconnection or a crash (§4)."""
    watcher = world.client("w", clean=False, session_expiry_interval=100)
    watcher.subscribe("a")
    peer = world.client(clean=False, session_expiry_interval=100)
    peer.publish("a", b"1", 2, packet_id=5)
    if crash:
        world.crash()
    else:
        peer.lose()
        watcher.lose()
    peer = world.client(clean=False, session_expiry_interval=100)
    peer.publish("a", b"1", 2, packet_id=5, dup=True)
    assert peer.got() == [Pubrec(5)]
    assert peer.send(Pubrel(5)).got() == [Pubcomp(5)]
    assert len(messages_of(world.client("w", clean=False, session_expiry_interval=100))) == 1


def test_retained_messages_survive_a_crash(world: Any) -> None:
    """§4."""
    world.client("p").publish("a", b"1", 1, retain=True, properties={"user_property": [("x", "y")]})
    world.client("p").publish("b", b"1", 1, retain=True).publish("b", b"", 1, retain=True)
    world.crash()
    peer = world.client()
    peer.subscribe("#")
    [message] = messages_of(peer)
    assert (message.topic, message.payload, message.qos) == ("a", b"1", 1)
    assert [tuple(pair) for pair in message.properties["user_property"]] == [("x", "y")]


def test_subscription_options_survive_a_crash(world: Any) -> None:
    """Clause 4.1: subscriptions with their options and identifiers are session state."""
    peer = world.client(clean=False, session_expiry_interval=100)
    peer.subscribe(Subscription("a", 1, no_local=True, retain_as_published=True), identifier=7)
    peer.subscribe("$share/g/b")
    world.crash()
    peer = world.client(clean=False, session_expiry_interval=100)
    peer.publish("a", b"mine").publish("b", b"shared")
    world.client("p").publish("a", b"1", 1, retain=True)
    messages = peer.messages()
    assert [(m.payload, m.retain, m.properties) for m in messages] == [
        (b"shared", False, {}),
        (b"1", True, {"subscription_identifier": [7]}),
    ]


def test_damaged_state_is_one_error(world: Any) -> None:
    """§13, §14."""
    for data in (b"", b"\x01", b"\x95\x07\0\x90\x90\x90", b"\x95\x01\0\x90\x91\x01\x90", bytes(range(200))):
        with pytest.raises(DamagedError):
            world.new_broker().restore(data)
    events: list[tuple[Any, ...]] = [
        ("nonsense",),
        ("sent", 9, [1]),
        ("subscribe", 1),
        ("retain", "a", 3),
        ("queue", []),
    ]
    for event in [(1, *event) for event in events] + [(), (1,), (2, "unretain", "a", "b")]:
        with pytest.raises(DamagedError):
            world.new_broker().apply([event])


# Wills


def test_will_is_published_when_the_connection_is_lost(world: Any) -> None:
    """[MQTT-3.1.2-8]: with its QoS, retain flag and properties."""
    watcher = world.client("w")
    watcher.subscribe("gone")
    properties = {"user_property": [("a", "2"), ("c", "3")], "content_type": "x", "message_expiry_interval": 9}
    world.client(will=Will("gone", b"1", 2, True, properties)).lose()
    [message] = watcher.messages()
    assert (message.payload, message.qos, message.retain, message.properties) == (b"1", 2, False, properties)
    late = world.client("late")
    late.subscribe("gone")
    assert [m.retain for m in messages_of(late)] == [True]


@pytest.mark.parametrize("version", [4, 5])
def test_will_is_discarded_by_disconnect(world: Any, version: int) -> None:
    """[MQTT-3.1.2-10], [MQTT-3.14.4-3]."""
    watcher = world.client("w")
    watcher.subscribe("gone")
    peer = world.client(version=version, will=Will("gone", b"1", 0, False))
    peer.send(Disconnect())
    peer.lose()
    assert watcher.messages() == []


def test_disconnect_with_will(world: Any) -> None:
    """Reason code 0x04 asks for it."""
    watcher = world.client("w")
    watcher.subscribe("gone")
    world.client(will=Will("gone", b"1", 0, False)).send(Disconnect(Reason.DISCONNECT_WITH_WILL_MESSAGE))
    assert watcher.payloads() == [b"1"]


@pytest.mark.parametrize(("delay_s", "expiry_s", "after_s"), [(3, 5, 3), (5, 0, 0), (5, 2, 2), (0, 5, 0)])
@pytest.mark.parametrize("crash", [False, True])
def test_will_delay(world: Any, delay_s: int, expiry_s: int, after_s: int, crash: bool) -> None:
    """[MQTT-3.1.3-9] and clause 3.1.3.2.2: after the delay or with the session's end, whichever comes first."""
    watcher = world.client("w", clean=False, session_expiry_interval=1_000)
    watcher.subscribe("gone")
    will = Will("gone", b"1", 1, False, {"will_delay_interval": delay_s})
    peer = world.client(session_expiry_interval=expiry_s, will=will)
    if crash and expiry_s:
        world.crash()
        watcher = world.client("w", clean=False, session_expiry_interval=1_000)
    else:
        peer.lose()
    if after_s:
        world.advance(after_s - 0.1)
        assert watcher.messages() + messages_of(watcher) == []
        world.advance(0.5)
    assert [m.payload for m in watcher.messages() + messages_of(watcher)] == [b"1"]


def test_reconnecting_stops_a_delayed_will(world: Any) -> None:
    """[MQTT-3.1.3-9]: also when another connection takes over."""
    watcher = world.client("w")
    watcher.subscribe("gone")
    will = Will("gone", b"1", 0, False, {"will_delay_interval": 3})
    world.client(session_expiry_interval=100, will=will).lose()
    world.advance(2)
    world.client(clean=False, session_expiry_interval=100, will=will)
    world.client(clean=False, session_expiry_interval=100)
    world.advance(60)
    assert watcher.messages() == []


def test_clean_start_ends_the_delay_of_a_will(world: Any) -> None:
    """[MQTT-3.1.2-8]: the old session ends, so its will is sent."""
    watcher = world.client("w")
    watcher.subscribe("gone")
    will = Will("gone", b"1", 0, False, {"will_delay_interval": 30})
    world.client(session_expiry_interval=100, will=will).lose()
    world.client(clean=True)
    assert watcher.payloads() == [b"1"]


def test_will_on_protocol_error_and_takeover(world: Any) -> None:
    """[MQTT-3.1.2-8]: any end without a DISCONNECT of the client's."""
    watcher = world.client("w")
    watcher.subscribe("gone")
    world.client("a", will=Will("gone", b"a", 0, False)).send_bytes(b"\x00\x00")
    world.client("b", will=Will("gone", b"b", 0, False))
    world.client("b")
    assert watcher.payloads() == [b"a", b"b"]


def test_forbidden_wills_are_refused(world: Any) -> None:
    """The right to publish is asked at the CONNECT."""
    for topic in ("forbidden/x", "$SYS/x"):
        assert world.client(will=Will(topic, b"", 0, False), ok=False).connack.reason >= 0x80


def test_wills_that_are_readings(world: Any) -> None:
    """A will on a claimed topic is journalled and routed; one of a client's own topic is only journalled (§11)."""
    watcher = world.client("w", user="p:w", clean=False, session_expiry_interval=1_000)
    watcher.subscribe("#", "me/#")
    world.client("a", user="p:a", will=Will("readings/1", b"off", 1, False)).lose()
    assert world.broker.pending
    assert watcher.payloads() == [b"off"]
    world.commit()
    assert world.readings == [("readings/1", b"off")]
    for topic in ("me/readings", "me/question"):
        world.client("b", user="p:b", session_expiry_interval=100, will=Will(topic, b"mine", 1, True)).lose()
    world.commit()
    assert world.readings[1:] == [("me/readings", b"mine")]
    world.client("c", user="p:c", session_expiry_interval=100, will=Will("me/question", b"mine", 1, True))
    world.crash()
    world.advance(200)
    assert watcher.messages() == []
    again = world.client("w", user="p:w", clean=False, session_expiry_interval=1_000)
    assert messages_of(again) == []
