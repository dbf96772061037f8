"""Windows, queues and slow readers: bounded, and nobody waits for anybody (§6)."""

from typing import Any

from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.packets import Disconnect, Pingreq, Puback, Publish, Pubrec, Pubrel, Suback, Will
from taihu.protocols.mqtt.reasons import Reason


def publishes(packets: list[Any]) -> list[Publish]:
    return [packet for packet in packets if isinstance(packet, Publish)]


def test_receive_maximum_of_the_client(world: Any) -> None:
    """[MQTT-3.3.4-9]: no more than it takes; QoS 0 is not counted."""
    peer, publisher = world.client("s", receive_maximum=2), world.client("p")
    peer.subscribe("a")
    for number in range(5):
        publisher.publish("a", b"%d" % number, 1 + number % 2)
    publisher.publish("a", b"zero", 0)
    first = publishes(peer.got())
    assert [m.payload for m in first] == [b"0", b"1", b"zero"]
    peer.send(Puback(first[0].packet_id))
    assert [m.payload for m in publishes(peer.got())] == [b"2"]
    peer.send(Pubrec(first[1].packet_id))
    assert publishes(peer.got()) == []  # a QoS 2 message counts until its PUBCOMP


def test_receive_maximum_of_the_server(make_world: Any) -> None:
    """[MQTT-3.3.4-7], clause 4.9: 0x93 for a client that sends more."""
    world = make_world(Limits(mqtt_receive_maximum=3))
    peer = world.client()
    for _ in range(4):
        peer.publish("a", qos=2)
    packets = peer.got()
    assert [type(packet) for packet in packets] == [Pubrec] * 3 + [Disconnect]
    assert packets[-1].reason == Reason.RECEIVE_MAXIMUM_EXCEEDED


def test_receive_maximum_counts_what_waits_for_the_commit(make_world: Any) -> None:
    """The fast way keeps to it too, and commits make room."""
    world = make_world(Limits(mqtt_receive_maximum=3))
    peer = world.client()
    peer.publish("readings/1")
    world.commits = False
    for _ in range(3):
        peer.publish("readings/1", qos=1)
    world.commit()
    for _ in range(3):
        peer.publish("readings/1", qos=1)
    assert not peer.ended
    peer.publish("readings/1", qos=1)
    assert peer.ended
    old = world.client("old", 4)
    for _ in range(10):
        old.publish("readings/1", qos=1)
    assert old.connection.closing is None


def test_window_holds_on_resumption(world: Any) -> None:
    """[MQTT-3.3.4-9]: a smaller receive maximum binds the repetitions too."""
    peer, publisher = world.client("s", session_expiry_interval=100), world.client("p")
    peer.subscribe("a")
    for number in range(6):
        publisher.publish("a", b"%d" % number, 1)
    peer.got()
    peer.lose()
    peer = world.client("s", clean=False, session_expiry_interval=100, receive_maximum=2)
    got, seen = publishes(peer.early), []
    while got:
        assert len(got) <= 2
        seen += [message.payload for message in got]
        peer.send(*(Puback(message.packet_id) for message in got))
        got = publishes(peer.got())
    assert seen == [b"%d" % number for number in range(6)]


def test_slow_subscriber_loses_qos_0_only(make_world: Any) -> None:
    """§6: QoS 0 beyond the bound is dropped and counted; QoS 1 waits in the session."""
    world = make_world(Limits(mqtt_outbound_bytes_max=2_000))
    peer, publisher = world.client("s"), world.client("p")
    peer.subscribe("#")
    for _ in range(30):
        publisher.publish("zero", bytes(200))
    for number in range(5):
        publisher.publish("one", b"%d" % number, 1)
    assert len(peer.connection.output) <= 2_000
    assert world.broker.counters.dropped_slow == 21
    messages = peer.messages()
    assert [m.payload for m in messages if m.topic == "one"] == [b"%d" % number for number in range(5)]


def test_all_output_together_is_bounded(make_world: Any) -> None:
    """§6: many slow subscribers share one bound."""
    world = make_world(Limits(mqtt_outbound_total_bytes_max=10_000))
    peers = [world.client(f"s{number}") for number in range(10)]
    for peer in peers:
        peer.subscribe("#")
    publisher = world.client("p")
    for _ in range(100):
        publisher.publish("zero", bytes(200))
    assert sum(len(peer.connection.output) for peer in peers) < 12_000
    for peer in peers:
        peer.got()
    publisher.publish("zero", b"again")
    assert [peer.payloads() for peer in peers] == [[b"again"]] * 10


def test_full_queue_disconnects_its_session(make_world: Any) -> None:
    """§6: with the reason; the publisher and others go on."""
    world = make_world(Limits(mqtt_offline_queue_messages_max=10))
    slow, fast = world.client("slow", receive_maximum=1), world.client("fast")
    slow.subscribe("a")
    fast.subscribe("a")
    publisher = world.client("p")
    for number in range(20):
        publisher.publish("a", b"%d" % number, 1)
    assert publishes(slow.got())[0].payload == b"0"
    assert slow.connection.closing is not None
    assert len(fast.messages()) == 20
    assert len([packet for packet in publisher.got() if isinstance(packet, Puback)]) == 20
    assert world.broker.counters.quota_disconnects == 1
    assert world.broker.counters.dropped_queue_full == 1


def test_offline_queue_is_bounded_by_number_and_bytes(make_world: Any) -> None:
    """§6: what does not fit is dropped and counted; the space's total is bounded too."""
    limits = Limits(
        mqtt_offline_queue_messages_max=10,
        mqtt_offline_queue_bytes_max=5_000,
        mqtt_queued_bytes_per_project_max=6_000,
    )
    world = make_world(limits)
    for name in ("a", "b", "c"):
        peer = world.client(name, session_expiry_interval=100)
        peer.subscribe(name)
        peer.lose()
    publisher = world.client("p")
    for _ in range(20):
        publisher.publish("a", b"1", 1)
    for _ in range(20):
        publisher.publish("b", bytes(900), 1)
    assert world.broker.counters.dropped_queue_full == 10 + 16
    sessions = world.broker._core.store.spaces["default"].sessions
    assert [len(world.queued(sessions["", name])) for name in "abc"] == [10, 4, 0]
    publisher.publish("c", bytes(4_000), 1)
    assert world.broker.counters.dropped_queue_full == 27
    for name in ("a", "b"):
        world.client(name, clean=True)
    assert world.broker._core.store.spaces["default"].usage.queued_bytes == 0


def test_many_retained_messages_arrive_whole(make_world: Any) -> None:
    """A new subscription gets all that is retained as room allows, however small the queue."""
    world = make_world(Limits(mqtt_offline_queue_messages_max=20, mqtt_outbound_bytes_max=4_000))
    publisher = world.client("p")
    for number in range(200):
        publisher.publish(f"r/{number}", bytes(100), number % 3, retain=True)
    peer = world.client("s", receive_maximum=5)
    peer.next_id = 1
    assert peer.subscribe("r/#") == (2,)
    early = publishes(peer.early)
    for message in early:
        if message.qos == 1:
            peer.send(Puback(message.packet_id))
        elif message.qos == 2:
            peer.send(Pubrec(message.packet_id))
    topics = {message.topic for message in early + peer.messages()}
    assert len(topics) == 200
    assert world.broker.counters.dropped_slow == 0


def test_unsubscribing_stops_what_is_retained(make_world: Any) -> None:
    """[MQTT-3.10.4-2]: no new message is begun."""
    world = make_world(Limits(mqtt_offline_queue_messages_max=4))
    publisher = world.client("p")
    for number in range(50):
        publisher.publish(f"r/{number}", b"1", 1, retain=True)
    peer = world.client("s", receive_maximum=1)
    peer.subscribe("r/#")
    peer.unsubscribe("r/#")
    assert len(peer.messages()) < 5


def test_a_client_that_never_reads_holds_little(make_world: Any) -> None:
    """§6: ten thousand pings are answered into a bounded buffer once the shell stops reading."""
    world = make_world(Limits(mqtt_outbound_bytes_max=1_000))
    peer, publisher = world.client("s"), world.client("p")
    peer.subscribe("a")
    for _ in range(3_000):
        publisher.publish("a", bytes(100), 1)
    assert len(peer.connection.output) < 1_200
    assert publisher.send(Pingreq()).connection.closing is None


def test_wills_of_disconnected_sessions_do_not_nest(make_world: Any) -> None:
    """A full queue whose disconnection sends a will that fills the next queue, a thousand times over."""
    world = make_world(Limits(mqtt_offline_queue_messages_max=1))
    peers = []
    for number in range(1_200):
        will = Will(f"t/{number + 1}", b"w", 1, False)
        peer = world.client(f"c{number}", receive_maximum=1, will=will)
        peer.subscribe(f"t/{number}")
        peers.append(peer)
    publisher = world.client("p")
    for number in range(1_200):
        publisher.publish(f"t/{number}", b"1", 1).publish(f"t/{number}", b"2", 1)
    publisher.publish("t/0", b"3", 1)
    assert all(peer.connection.closing for peer in peers)
    assert world.broker.counters.quota_disconnects == 1_200


def test_answers_come_in_one_packet_order(world: Any) -> None:
    """[MQTT-4.6.0-2, -3, -4]: acknowledgements in the order of what they acknowledge."""
    peer = world.client()
    for number in range(1, 6):
        peer.publish("a", qos=1 + number % 2, packet_id=number)
    assert [packet.packet_id for packet in peer.got()] == [1, 2, 3, 4, 5]
    peer.send(Pubrel(3), Pubrel(1), Pubrel(5))
    assert [packet.packet_id for packet in peer.got()] == [3, 1, 5]
    assert not any(isinstance(packet, Suback) for packet in peer.got())
