"""PUBLISH at every quality of service, in and out; retained messages; properties; aliases."""

from typing import Any

import pytest

from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.packets import (
    Disconnect,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscription,
)
from taihu.protocols.mqtt.reasons import Reason


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("wanted", [0, 1, 2])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_delivery_at_the_lower_qos(world: Any, version: int, qos: int, wanted: int) -> None:
    """[MQTT-3.8.4-8]: the lower of published and granted."""
    subscriber, publisher = world.client("s", version), world.client("p", version)
    assert subscriber.subscribe("a/+", qos=wanted) == (wanted,)
    publisher.publish("a/b", b"1", qos)
    message = subscriber.messages()
    assert [(m.topic, m.payload, m.qos, m.retain, m.dup) for m in message] == [
        ("a/b", b"1", min(qos, wanted), False, False)
    ]


def test_qos_1_is_acknowledged(world: Any) -> None:
    """[MQTT-4.3.2-4]."""
    assert world.client().publish("a", qos=1, packet_id=7).got() == [Puback(7)]


def test_qos_2_is_taken_once(world: Any) -> None:
    """[MQTT-4.3.3-10]: a repetition before PUBREL is the same message, after it a new one."""
    subscriber, publisher = world.client("s"), world.client("p")
    subscriber.subscribe("a")
    publisher.publish("a", b"1", 2, packet_id=7)
    publisher.publish("a", b"1", 2, packet_id=7, dup=True)
    assert publisher.got() == [Pubrec(7), Pubrec(7)]
    assert publisher.send(Pubrel(7)).got() == [Pubcomp(7)]
    publisher.publish("a", b"2", 2, packet_id=7)
    assert subscriber.payloads() == [b"1", b"2"]


def test_pubrel_of_an_unknown_identifier(world: Any) -> None:
    """5.0, table 3-9: 0x92."""
    assert world.client().send(Pubrel(9)).got() == [Pubcomp(9, Reason.PACKET_IDENTIFIER_NOT_FOUND)]
    assert world.client("d", 4).send(Pubrel(9)).got() == [Pubcomp(9)]


def test_outgoing_qos_2_in_its_steps(world: Any) -> None:
    """[MQTT-4.3.3-1 to -7]."""
    subscriber = world.client("s")
    subscriber.subscribe("a")
    world.client("p").publish("a", b"1", 2)
    [message] = subscriber.got()
    assert subscriber.send(Pubrec(message.packet_id)).got() == [Pubrel(message.packet_id)]
    assert subscriber.send(Pubrec(message.packet_id)).got() == [Pubrel(message.packet_id)]
    assert subscriber.send(Pubcomp(message.packet_id)).got() == []
    assert subscriber.send(Pubrec(message.packet_id)).got() == [
        Pubrel(message.packet_id, Reason.PACKET_IDENTIFIER_NOT_FOUND)
    ]


def test_pubrec_with_an_error_ends_the_exchange(world: Any) -> None:
    """[MQTT-4.3.3-4]: no PUBREL follows, and the identifier is free."""
    subscriber = world.client("s", receive_maximum=1)
    subscriber.subscribe("a")
    world.client("p").publish("a", b"1", 2).publish("a", b"2", 2)
    [first] = subscriber.got()
    [second] = subscriber.send(Pubrec(first.packet_id, Reason.QUOTA_EXCEEDED)).got()
    assert second.payload == b"2"


def test_acknowledging_at_the_wrong_qos(world: Any) -> None:
    """5.0, clause 4.13.1: a protocol error."""
    subscriber = world.client("s")
    subscriber.subscribe("a")
    world.client("p").publish("a", b"1", 2)
    [message] = subscriber.got()
    assert subscriber.send(Puback(message.packet_id)).got() == [Disconnect(Reason.PROTOCOL_ERROR)]


def test_unauthorised_publishing(world: Any) -> None:
    """[MQTT-3.3.5-2]: 5.0 gets the reason; 3.1.1 gets an acknowledgement, and the message is dropped and counted."""
    watcher = world.client("w")
    watcher.subscribe("#")
    assert world.client("a").publish("forbidden/x", qos=1, packet_id=1).got() == [Puback(1, Reason.NOT_AUTHORIZED)]
    assert world.client("b").publish("forbidden/x", qos=2, packet_id=2).got() == [Pubrec(2, Reason.NOT_AUTHORIZED)]
    old = world.client("c", 4)
    assert old.publish("forbidden/x", qos=1, packet_id=3).got() == [Puback(3)]
    assert old.publish("forbidden/x", qos=2, packet_id=4).got() == [Pubrec(4)]
    assert old.send(Pubrel(4)).got() == [Pubcomp(4)]
    assert old.publish("forbidden/x").connection.closing is None
    assert watcher.messages() == []
    assert world.broker.counters.publishes_refused == 5


def test_clients_may_not_publish_to_server_topics(world: Any) -> None:
    """5.0, clause 4.7.2: `$` topics are the server's."""
    watcher = world.client("w")
    watcher.subscribe("$SYS/#", "#")
    assert world.client("p").publish("$SYS/x", qos=1, packet_id=1).got() == [Puback(1, Reason.NOT_AUTHORIZED)]
    assert watcher.messages() == []


def test_topic_depth_is_bounded(world: Any) -> None:
    """§6."""
    deep = "/".join("a" * 33)
    assert world.client().publish(deep, qos=1, packet_id=1).got() == [Puback(1, Reason.TOPIC_NAME_INVALID)]
    assert world.client().publish(deep[2:], qos=1, packet_id=1).got() == [Puback(1)]
    long = world.client("long")
    long.publish("a" * 1_025, qos=1, packet_id=1, properties={"topic_alias": 1})
    assert long.got() == [Puback(1, Reason.TOPIC_NAME_INVALID)]
    assert not long.connection.aliases_in
    assert long.subscribe("a" * 1_025, "a" * 1_024) == (Reason.TOPIC_FILTER_INVALID, 2)


def test_order_is_kept_by_topic_and_qos(world: Any) -> None:
    """[MQTT-4.6.0-6]."""
    subscriber, publisher = world.client("s", receive_maximum=3), world.client("p")
    subscriber.subscribe("a")
    for number in range(50):
        publisher.publish("a", b"%d" % number, 1)
    assert subscriber.payloads() == [b"%d" % number for number in range(50)]


def test_properties_are_forwarded_unaltered(world: Any) -> None:
    """[MQTT-3.3.2-4, -15, -16, -17, -18, -20]; a 3.1.1 subscriber gets the message without them."""
    five, four, publisher = world.client("five"), world.client("four", 4), world.client("p")
    five.subscribe("a")
    four.subscribe("a")
    sent = {
        "payload_format_indicator": 1,
        "content_type": "text/plain",
        "response_topic": "answers/p",
        "correlation_data": b"\0\1",
        "user_property": [("b", "2"), ("a", "1"), ("b", "2")],
    }
    for qos in (0, 1, 2):
        publisher.publish("a", b"1", qos, properties=sent)
    assert [message.properties for message in five.messages()] == [sent] * 3
    assert [message.properties for message in four.messages()] == [{}] * 3


def test_retained_messages(world: Any) -> None:
    """[MQTT-3.3.1-5, -6, -8]: kept with their QoS, sent as retained to new subscriptions, cleared by an empty one."""
    publisher = world.client("p")
    for qos in (0, 1, 2):
        publisher.publish(f"a/{qos}", b"%d" % qos, qos, retain=True)
    subscriber = world.client("s")
    subscriber.subscribe("a/+")
    got = [(m.topic, m.qos, m.retain) for m in subscriber.early if isinstance(m, Publish)]
    assert got == [("a/0", 0, True)] or ("a/0", 0, True) in got
    live = world.client("live")
    live.subscribe("a/1")
    live.messages()
    publisher.publish("a/1", b"", 1, retain=True)
    assert [(m.payload, m.retain) for m in live.messages()] == [(b"", False)]
    late = world.client("late")
    late.subscribe("a/#", qos=0)
    assert sorted(m.topic for m in late.early) == ["a/0", "a/2"]


def test_retained_message_is_replaced(world: Any) -> None:
    """[MQTT-3.3.1-5]: only the last one, with its own QoS."""
    publisher = world.client("p")
    publisher.publish("a", b"old", 0, retain=True).publish("a", b"new", 2, retain=True)
    subscriber = world.client("s")
    subscriber.subscribe("a")
    [message] = subscriber.early
    assert (message.payload, message.qos) == (b"new", 2)


def test_an_unretained_message_leaves_the_retained_one(world: Any) -> None:
    """[MQTT-3.3.1-8] of 5.0."""
    world.client("p").publish("a", b"kept", retain=True).publish("a", b"passing")
    subscriber = world.client("s")
    subscriber.subscribe("a")
    assert [m.payload for m in subscriber.early] == [b"kept"]


def test_retained_messages_expire(world: Any) -> None:
    """[MQTT-3.3.2-5], [MQTT-3.3.2-6]: deleted when their time is over, and what is left of it is told."""
    world.client("p").publish("a", b"1", 1, retain=True, properties={"message_expiry_interval": 10})
    world.advance(4)
    first = world.client("s1")
    first.subscribe("a")
    assert [m.properties for m in first.early] == [{"message_expiry_interval": 6}]
    world.advance(6)
    second = world.client("s2")
    second.subscribe("a")
    assert second.early == []


def test_retained_messages_are_bounded(make_world: Any) -> None:
    """§6: by number and bytes; expired ones make room; the refusal has its reason."""
    world = make_world(Limits(mqtt_retained_per_project_max=2, mqtt_retained_bytes_per_project_max=1_000))
    publisher = world.client()
    publisher.publish("a", b"1", 1, retain=True, properties={"message_expiry_interval": 10})
    publisher.publish("b", b"1", 1, retain=True)
    publisher.got()
    assert publisher.publish("c", b"1", 1, retain=True, packet_id=9).got() == [Puback(9, Reason.QUOTA_EXCEEDED)]
    assert publisher.publish("b", b"2", 1, retain=True, packet_id=9).got() == [Puback(9)]
    assert publisher.publish("b", bytes(900), 1, retain=True, packet_id=9).got()[0].reason == Reason.QUOTA_EXCEEDED
    world.advance(11)
    assert publisher.publish("c", b"1", 1, retain=True, packet_id=9).got() == [Puback(9)]
    assert world.broker.counters.retained_refused == 2


def test_message_expiry_of_queued_messages(world: Any) -> None:
    """[MQTT-3.3.2-5]: an expired message is not begun; else the time it waited is taken off."""
    sleeper = world.client("s", session_expiry_interval=1_000)
    sleeper.subscribe("a")
    sleeper.lose()
    publisher = world.client("p")
    for payload, expiry in ((b"short", 1), (b"long", 6)):
        for qos in (1, 2):
            publisher.publish("a", payload, qos, properties={"message_expiry_interval": expiry})
    world.advance(3)
    again = world.client("s", clean=False, session_expiry_interval=1_000)
    messages = [packet for packet in again.early if isinstance(packet, Publish)]
    assert [(m.payload, m.properties) for m in messages] == [(b"long", {"message_expiry_interval": 3})] * 2
    assert world.broker.counters.dropped_expired == 2


def test_client_topic_aliases(world: Any) -> None:
    """[MQTT-3.3.2-9, -10, -12]: set, used, changed, and gone with the connection."""
    subscriber, publisher = world.client("s"), world.client("p")
    subscriber.subscribe("#")
    one = {"topic_alias": 1}
    publisher.publish("a", b"1", properties=one).publish("", b"2", properties=one)
    publisher.publish("b", b"3", properties=one).publish("", b"4", properties=one)
    messages = subscriber.messages()
    assert [(m.topic, m.payload) for m in messages] == [("a", b"1"), ("a", b"2"), ("b", b"3"), ("b", b"4")]
    again = world.client("p")
    again.publish("", b"5", properties=one)
    assert again.got() == [Disconnect(Reason.TOPIC_ALIAS_INVALID)]


@pytest.mark.parametrize("alias", [65, 65_535])
def test_topic_alias_over_the_maximum(world: Any, alias: int) -> None:
    """[MQTT-3.3.2-9]."""
    peer = world.client()
    peer.publish("a", properties={"topic_alias": alias})
    assert peer.got() == [Disconnect(Reason.TOPIC_ALIAS_INVALID)]


def test_server_topic_aliases(world: Any) -> None:
    """[MQTT-3.1.2-26, -27]: at most as many as the client takes, at any QoS."""
    subscriber, publisher = world.client("s", topic_alias_maximum=1), world.client("p")
    subscriber.subscribe("#")
    for qos in (0, 1, 2):
        publisher.publish("a", b"1", qos).publish("b", b"1", qos)
    messages = subscriber.messages()
    assert [(m.topic, m.properties.get("topic_alias")) for m in messages] == [
        ("a", 1), ("b", None), ("", 1), ("b", None), ("", 1), ("b", None),
    ]  # fmt: skip


def test_no_server_aliases_unless_asked_for(world: Any) -> None:
    """[MQTT-3.1.2-27]."""
    subscriber = world.client("s", topic_alias_maximum=0)
    subscriber.subscribe("a")
    world.client("p").publish("a").publish("a")
    assert [m.properties for m in subscriber.messages()] == [{}, {}]


def test_too_large_for_the_client(world: Any) -> None:
    """[MQTT-3.1.2-24], [MQTT-3.1.2-25]: not sent, and as if it had been; also no alias is left half set."""
    subscriber = world.client("s", maximum_packet_size=60, topic_alias_maximum=5, receive_maximum=1)
    other = world.client("o")
    subscriber.subscribe("a")
    other.subscribe("a")
    publisher = world.client("p")
    for qos in (0, 1, 2):
        publisher.publish("a", bytes(100), qos)
    publisher.publish("a", b"fits", 1)
    assert [(m.topic, m.payload) for m in subscriber.messages()] == [("a", b"fits")]
    assert len(other.messages()) == 4
    assert world.broker.counters.dropped_too_large == 3


def test_readings_and_routing(world: Any) -> None:
    """Claimed messages go to the journal, whoever else gets them; free topics are only routed."""
    publisher = world.client("p")
    publisher.publish("readings/1", b"a").publish("readings/1", b"b", 1).publish("free", b"-", 1)
    watcher = world.client("w")
    watcher.subscribe(Subscription("readings/+", 0))
    publisher.publish("readings/1", b"c", 2).publish("readings/1", b"d", 1, retain=True)
    world.broker.open("x", world.now)
    assert [payload for _, payload in world.readings] == [b"a", b"b", b"c", b"d"]
    assert watcher.payloads() == [b"c", b"d"]
    late = world.client("late")
    late.subscribe("readings/1")
    assert [m.payload for m in late.early] == [b"d"]


def test_fast_way_is_taken_and_left(world: Any) -> None:
    """Known claimed topics without subscribers skip the decoder, until somebody subscribes or rights change."""
    publisher = world.client("p", 4)
    publisher.publish("readings/1", b"0")
    asked = world.policy.asked
    for number in range(1, 5):
        publisher.publish("readings/1", b"%d" % number, number % 2)
    assert world.policy.asked == asked
    assert len([packet for packet in publisher.got() if isinstance(packet, Puback)]) == 2
    watcher = world.client("w")
    watcher.subscribe("readings/#")
    publisher.publish("readings/1", b"5", 1)
    assert watcher.payloads() == [b"5"]
    watcher.unsubscribe("readings/#")
    publisher.publish("readings/1", b"6").publish("readings/1", b"7")
    asked = world.policy.asked
    world.broker.invalidate("default")
    publisher.publish("readings/1", b"8")
    assert world.policy.asked == asked + 1
    assert [payload for _, payload in world.readings] == [b"%d" % number for number in range(9)]
    assert world.broker.counters.publishes_received == 9


def test_acknowledgements_wait_for_the_commit(world: Any) -> None:
    """§4: PUBACK, PUBREC and PUBCOMP come after the sync, in order; PINGRESP does not wait."""
    world.commits = False
    publisher = world.client("p")
    publisher.publish("readings/1", b"1", 1, packet_id=1).publish("readings/1", b"2", 2, packet_id=2)
    publisher.publish("free", b"3", 1, packet_id=3)
    assert world.broker.pending
    assert publisher.got() == []
    assert world.take_lot() == [b"1", b"2"]
    publisher.send(Pubrel(2)).send(Pingreq())
    assert publisher.got() == [Pingresp()]
    world.acknowledge()
    assert publisher.got() == [Puback(1), Pubrec(2), Puback(3)]
    world.commit()
    assert publisher.got() == [Pubcomp(2)]
    assert not world.broker.pending


def test_nothing_waits_without_need(world: Any) -> None:
    """A message for nobody's journal or queue is acknowledged at once."""
    world.commits = False
    publisher = world.client("p")
    publisher.publish("free", b"1", 1, packet_id=1)
    assert not world.broker.pending
    assert publisher.got() == [Puback(1)]


def test_server_messages(world: Any) -> None:
    """The server publishes into one space, retained if asked."""
    here, there = world.client("h", user="one"), world.client("t", user="two")
    here.subscribe("#", "$SYS/#")
    there.subscribe("#")
    assert world.broker.publish("one", "news", b"1", 1, True, {"user_property": [("a", "b")]})
    world.broker.publish_status()
    messages = here.messages()
    assert messages[0].payload == b"1" and messages[0].properties == {"user_property": [("a", "b")]}
    assert {m.topic: m.payload for m in messages[1:]}["$SYS/broker/clients/connected"] == b"1"
    assert there.messages() == []


def test_topics_of_each_client_alone(world: Any) -> None:
    """§11: what means something else for each client goes to nobody else, is not retained, and is answered to it."""
    one, two = world.client("1", user="p:one"), world.client("2", user="p:two")
    for peer in (one, two):
        peer.subscribe("#", "me/answer")
    one.publish("me/question", b"?", 1, retain=True)
    assert one.payloads() == [b"one?"]
    for _ in range(2):
        one.publish("me/readings", b"5", 1)
    assert two.messages() == []
    late = world.client("3", user="p:three")
    late.subscribe("#")
    assert late.early == []
    assert world.readings == [("me/readings", b"5")] * 2
    one.publish("me/readings", b"5", 1)
    asked = world.policy.asked
    one.publish("me/readings", b"6", 1)
    assert world.policy.asked == asked
