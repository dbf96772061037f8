"""§4, §14: the state rebuilt from a snapshot and the log after it is the live persistent state, at any cut."""

from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.packets import Disconnect, Puback, Pubcomp, Pubrec, Pubrel, Subscription, Will

_NAMES = st.sampled_from(["a", "b"])
_TOPICS = st.sampled_from(["t/1", "t/2", "u"])
_FILTERS = st.sampled_from(["t/+", "#", "$share/g/t/#"])
_STEPS = st.one_of(
    st.tuples(st.just("connect"), _NAMES, st.booleans(), st.sampled_from([0, 5, 50]), st.booleans()),
    st.tuples(st.just("lose"), _NAMES),
    st.tuples(st.just("disconnect"), _NAMES, st.sampled_from([0, 3])),
    st.tuples(st.just("subscribe"), _NAMES, _FILTERS, st.integers(0, 2), st.integers(0, 2)),
    st.tuples(st.just("unsubscribe"), _NAMES, _FILTERS),
    st.tuples(st.just("publish"), _NAMES, _TOPICS, st.integers(0, 2), st.booleans(), st.sampled_from([0, 1, 9])),
    st.tuples(st.just("answer"), _NAMES, st.integers(1, 3)),
    st.tuples(st.just("release"), _NAMES),
    st.tuples(st.just("advance"), st.sampled_from([0.5, 2.0, 7.0])),
    st.tuples(st.just("snapshot"), st.booleans()),
    st.tuples(st.just("withdraw"), _TOPICS),
    st.tuples(st.just("remove_space")),
)


class Play:
    """Two clients doing anything in any order."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.peers: dict[str, Any] = {}

    def connect(self, name: str, clean: bool, expiry_s: int, has_will: bool) -> None:
        will = Will("t/1", b"will", 1, True, {"will_delay_interval": 4}) if has_will else None
        self.peers[name] = self.world.client(
            name, clean=clean, will=will, session_expiry_interval=expiry_s, receive_maximum=2
        )

    def peer(self, name: str) -> Any:
        if name not in self.peers or self.peers[name].connection.closing is not None:
            self.connect(name, False, 50, False)
        return self.peers[name]

    def lose(self, name: str) -> None:
        self.peer(name).lose()

    def disconnect(self, name: str, expiry_s: int) -> None:
        self.peer(name).send(Disconnect(0, {"session_expiry_interval": expiry_s}))

    def subscribe(self, name: str, topic_filter: str, qos: int, identifier: int) -> None:
        self.peer(name).subscribe(Subscription(topic_filter, qos), identifier=identifier)

    def unsubscribe(self, name: str, topic_filter: str) -> None:
        self.peer(name).unsubscribe(topic_filter)

    def publish(self, name: str, topic: str, qos: int, retain: bool, expiry_s: int) -> None:
        properties = {"message_expiry_interval": expiry_s, "user_property": [("k", "v")]} if expiry_s else {}
        self.peer(name).publish(topic, b"" if expiry_s == 9 else b"x", qos, retain=retain, properties=properties)

    def answer(self, name: str, count: int) -> None:
        """Acknowledge what is in flight, one step each."""
        peer = self.peer(name)
        for packet_id, delivery in list(peer.connection.session.inflight.items())[:count]:
            if delivery is None:
                peer.send(Pubcomp(packet_id))
            else:
                peer.send(Puback(packet_id) if delivery.qos == 1 else Pubrec(packet_id))

    def release(self, name: str) -> None:
        peer = self.peer(name)
        for packet_id in list(peer.connection.session.received)[:1]:
            peer.send(Pubrel(packet_id))

    def advance(self, seconds: float) -> None:
        self.world.advance(seconds)

    def withdraw(self, topic: str) -> None:
        """Messages of a topic are nowhere any more."""
        for _ in self.world.broker.withdraw("default", lambda message: message.topic == topic):
            self.world.drain()
        self.world.drain()
        for session in self.world.broker._core.store.sessions.values():
            held = [*self.world.queued(session), *filter(None, session.inflight.values())]
            assert all(delivery.message.topic != topic for delivery in held)

    def remove_space(self) -> None:
        self.world.broker.remove_space("default")
        self.world.drain()
        assert not self.world.broker._core.store.sessions
        self.peers.clear()

    def snapshot(self, forget: bool) -> None:
        """A new snapshot; the events before it may or may not be gone when it is used."""
        self.world.base = self.world.broker.snapshot()
        if forget:
            self.world.log = []


@settings(max_examples=200, deadline=None)
@given(st.lists(_STEPS, max_size=40))
def test_rebuilt_state_is_the_live_state(make_world: Callable[..., Any], steps: list[tuple[Any, ...]]) -> None:
    world = make_world(Limits(mqtt_offline_queue_messages_max=4))
    play = Play(world)
    play.subscribe("a", "t/+", 2, 0)
    play.publish("b", "t/1", 2, False, 0)
    for name, *values in steps:
        getattr(play, name)(*values)
        assert world.rebuilt().snapshot() == world.broker.snapshot()
    for cut in range(len(world.log)):
        world.rebuilt(cut)
    world.crash()
    assert world.rebuilt().snapshot() == world.broker.snapshot()


def test_events_and_snapshots_are_plain_msgpack(world: Any) -> None:
    """§14: what is stored can be read without this code; the snapshot names its format."""
    peer = world.client(session_expiry_interval=9, will=Will("w", b"", 0, False))
    peer.subscribe("a")
    peer.publish("a", b"1", 2)
    kinds = [msgspec.msgpack.decode(event)[1] for event in world.log]
    assert kinds == ["session", "online", "will", "subscribe", "queue", "sent", "received"]
    assert msgspec.msgpack.decode(world.broker.snapshot())[0] == 2


def test_one_event_for_a_message_of_many_sessions(world: Any) -> None:
    """A fan-out logs the message once."""
    for number in range(50):
        peer = world.client(f"c{number}", session_expiry_interval=9)
        peer.subscribe("a")
        peer.lose()
    before = len(world.log)
    world.client("p").publish("a", bytes(1_000), 1)
    assert len(world.log) - before == 1
    assert len(world.broker.snapshot()) < 10_000


def test_transient_sessions_log_nothing(world: Any) -> None:
    """Only sessions that outlive their connection are worth a disk."""
    peer = world.client()
    peer.subscribe("a")
    peer.publish("a", b"1", 2)
    peer.messages()
    peer.lose()
    assert world.log == []


def test_a_message_taken_back_is_not_sent_again(world: Any) -> None:
    """At QoS 1 it is forgotten, at QoS 2 the exchange is ended; what is retained is not sent to who comes."""
    peer = world.client("reader", session_expiry_interval=99)
    peer.subscribe("a/#")
    writer = world.client("writer")
    for qos in (1, 2):
        writer.publish("a/secret", b"secret", qos, retain=True)
        writer.publish("a/public", b"public", qos, retain=True)
    assert peer.connection.session.inflight
    for _ in world.broker.withdraw("default", lambda message: message.payload == b"secret"):
        pass
    world.drain()
    peer.lose()
    again = world.client("reader", clean=False, session_expiry_interval=99)
    assert {packet.payload for packet in again.messages()} <= {b"public"}
    fresh = world.client("fresh")
    fresh.subscribe("a/#")
    assert [packet.payload for packet in fresh.early] == [b"public"]


def test_a_log_with_a_gap_begins_anew(world: Any) -> None:
    """What comes after it counts; the numbers go on, so that the next start can replay it."""
    world.client("c", session_expiry_interval=99).subscribe("a")
    events = [msgspec.msgpack.decode(event) for event in world.log]
    broker = world.new_broker()
    broker.begin_anew(events)
    assert broker.snapshot() == msgspec.msgpack.encode((2, events[-1][0], 0, [], [], []))
