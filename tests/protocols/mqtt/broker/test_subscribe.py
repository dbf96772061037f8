"""SUBSCRIBE, UNSUBSCRIBE, their options, shared subscriptions and the border between projects."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.broker.message import Message
from taihu.protocols.mqtt.broker.queue import Usage
from taihu.protocols.mqtt.broker.retained import RetainedMessages
from taihu.protocols.mqtt.broker.session import Entry, Session
from taihu.protocols.mqtt.broker.trie import SubscriptionTrie
from taihu.protocols.mqtt.packets import Disconnect, Subscription, Unsuback
from taihu.protocols.mqtt.reasons import Reason

_LEVELS = st.sampled_from(["", "a", "b", "$x", "é"])
_TOPICS = st.lists(_LEVELS, min_size=1, max_size=4).map("/".join).filter(bool)


@st.composite
def filters(draw: st.DrawFn) -> str:
    levels = draw(st.lists(st.sampled_from(["", "a", "b", "$x", "+"]), min_size=0, max_size=4))
    if draw(st.booleans()) or not levels:
        levels.append("#")
    return "/".join(levels) or "+"


def matches(topic_filter: str, topic: str) -> bool:
    """Clause 4.7, read literally."""
    if topic.startswith("$") and topic_filter[:1] in ("+", "#"):
        return False
    wanted, given_ = topic_filter.split("/"), topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(given_) or level not in ("+", given_[index]):
            return False
    return len(wanted) == len(given_)


def matches_or_parent(topic_filter: str, topic: str) -> bool:
    return matches(topic_filter, topic) or (topic_filter.endswith("/#") and matches(topic_filter[:-2], topic))


@given(st.lists(filters(), max_size=12), st.lists(_TOPICS, max_size=8), st.data())
def test_trie_and_retained_match_as_the_standard_says(names: list[str], topics: list[str], data: st.DataObject) -> None:
    """[MQTT-4.7.1-2], [MQTT-4.7.1-3], [MQTT-4.7.2-1]; what is removed leaves nothing behind."""
    session = Session(1, "", "", "", 0, Usage())
    trie, retained = SubscriptionTrie(), RetainedMessages()
    for name in names:
        trie.add(Entry(session, Subscription(name), 0))
    for topic in topics:
        retained.put(Message(topic, b"1"))
    kept = set(names)
    for name in data.draw(st.sets(st.sampled_from(names)) if names else st.just(set())):
        trie.remove(session, name)
        kept.remove(name)
    assert trie.size == len(kept)
    for topic in topics:
        found = [node.entries[session].options.filter for node in trie.match(topic) if node.entries]
        assert sorted(found) == sorted(name for name in kept if matches_or_parent(name, topic))
    for name in names:
        found = [message.topic for message in retained.match(name.split("/"))]
        assert sorted(found) == sorted(topic for topic in set(topics) if matches_or_parent(name, topic))
    for topic in topics:
        retained.remove(topic)
    for name in kept:
        trie.remove(session, name)
    assert (trie.size, trie._root.children, retained.count, retained.size_bytes) == (0, {}, 0, 0)
    assert retained._root.children == {}


def test_wildcards_leave_server_topics_alone(world: Any) -> None:
    """[MQTT-4.7.2-1]."""
    peer = world.client()
    peer.subscribe("#", "+/x")
    world.broker.publish("default", "$SYS/x", b"1")
    assert peer.messages() == []
    peer.subscribe("$SYS/#")
    world.broker.publish("default", "$SYS/x", b"1")
    assert peer.payloads() == [b"1"]


@pytest.mark.parametrize(("version", "code"), [(4, 0x80), (5, 0x87)])
def test_denied_filters_are_refused_and_others_granted(world: Any, version: int, code: int) -> None:
    """[MQTT-3.9.3-1]: one code for each filter, in order."""
    assert world.client(version=version).subscribe("a", "forbidden/x", "b", qos=1) == (1, code, 1)
    assert world.client(version=version).subscribe("$share/s/forbidden/x") == (code,)
    assert world.broker.counters.subscriptions_refused == 2


def test_same_filter_replaces(world: Any) -> None:
    """[MQTT-3.8.4-3], [MQTT-3.8.4-4]: new options, retained messages again."""
    publisher, peer = world.client("p"), world.client()
    publisher.publish("a", b"kept", retain=True)
    peer.subscribe("a", qos=0)
    assert len(peer.early) == 1
    peer.subscribe("a", qos=2)
    assert len(peer.early) == 1
    peer.messages()
    publisher.publish("a", b"1", 2)
    assert [m.qos for m in peer.messages()] == [2]


def test_overlapping_subscriptions(world: Any) -> None:
    """[MQTT-3.3.4-2], [MQTT-3.3.4-3]: one message, at the highest QoS, with every identifier."""
    peer = world.client()
    peer.subscribe("a/#", qos=2, identifier=456_789)
    peer.subscribe("a/+", qos=1, identifier=3)
    peer.subscribe("+/b", qos=0)
    world.client("p").publish("a/b", b"1", 2)
    [message] = peer.messages()
    assert message.qos == 2
    assert sorted(message.properties["subscription_identifier"]) == [3, 456_789]


def test_no_local(world: Any) -> None:
    """[MQTT-3.8.3-3]; another subscription of the same client still delivers."""
    one, two = world.client("1"), world.client("2")
    for peer in (one, two):
        peer.subscribe(Subscription("a", 1, no_local=True))
    one.publish("a", b"x", 1)
    assert [p.payload for p in one.messages()] == []
    assert two.payloads() == [b"x"]
    one.subscribe("+", qos=0, identifier=5)
    one.publish("a", b"y", 1)
    [message] = one.messages()
    assert (message.qos, message.properties) == (0, {"subscription_identifier": [5]})


def test_retain_as_published(world: Any) -> None:
    """[MQTT-3.3.1-12], [MQTT-3.3.1-13]."""
    plain, exact = world.client("1"), world.client("2")
    plain.subscribe("a")
    exact.subscribe(Subscription("a", 2, retain_as_published=True))
    world.client("p").publish("a", b"1", 1, retain=True).publish("a", b"2", 1)
    assert [m.retain for m in plain.messages()] == [False, False]
    assert [m.retain for m in exact.messages()] == [True, False]


def test_retain_handling(world: Any) -> None:
    """[MQTT-3.3.1-9, -10, -11]: always, only when new, never."""
    world.client("p").publish("a", b"1", 1, retain=True)
    counts: dict[int, list[int]] = {}
    for handling in (0, 1, 2):
        peer = world.client(f"c{handling}")
        counts[handling] = []
        for _ in range(2):
            peer.subscribe(Subscription("a", 1, retain_handling=handling))
            counts[handling].append(len(peer.early))
            peer.messages()
    assert counts == {0: [1, 1], 1: [1, 0], 2: [0, 0]}


def test_unsubscribe(world: Any) -> None:
    """[MQTT-3.10.4-1, -4, -5], [MQTT-3.11.3-1]: a code for each filter in 5.0, and no message any more."""
    peer, publisher = world.client(), world.client("p")
    peer.subscribe("a", "b")
    answer = peer.unsubscribe("a", "c")
    assert answer == Unsuback(answer.packet_id, (Reason.SUCCESS, Reason.NO_SUBSCRIPTION_EXISTED))
    publisher.publish("a", b"1").publish("b", b"2")
    assert peer.payloads() == [b"2"]
    old = world.client("old", 4)
    old.subscribe("a")
    assert old.unsubscribe("a", "c").reasons == ()


def test_shared_subscription(world: Any) -> None:
    """Clause 4.8.2: each message to one member, plain subscriptions unaffected, members take turns."""
    members = [world.client(f"m{n}") for n in range(3)]
    for member in members:
        assert member.subscribe("$share/g/a/+", qos=1) == (1,)
    plain, publisher = world.client("plain"), world.client("p")
    plain.subscribe("a/#")
    for number in range(30):
        publisher.publish("a/b", b"%d" % number, 1)
    got = [member.payloads() for member in members]
    assert sorted(int(p) for each in got for p in each) == list(range(30))
    assert [len(each) for each in got] == [10, 10, 10]
    assert len(plain.payloads()) == 30


def test_shares_of_other_names_each_get_all(world: Any) -> None:
    """[MQTT-4.8.2-2]."""
    one, two = world.client("1"), world.client("2")
    one.subscribe("$share/x/a")
    two.subscribe("$share/y/a")
    world.client("p").publish("a", b"1")
    assert one.payloads() == two.payloads() == [b"1"]


def test_a_share_skips_who_is_away_or_gone(world: Any) -> None:
    """[MQTT-4.8.2-6]: messages go to whoever is there."""
    stays = world.client("stays")
    away = world.client("away", session_expiry_interval=100)
    for peer in (stays, away):
        peer.subscribe("$share/g/a")
    away.lose()
    publisher = world.client("p")
    for number in range(4):
        publisher.publish("a", b"%d" % number, 1)
    assert len(stays.payloads()) == 4
    stays.lose()
    publisher.publish("a", b"waits", 1)
    again = world.client("away", clean=False, session_expiry_interval=100)
    assert again.payloads() == [] and [p.payload for p in again.early] == [b"waits"]
    again.unsubscribe("$share/g/a")
    publisher.publish("a", b"nobody", 1)
    assert again.messages() == []


def test_shared_subscriptions_get_no_retained_messages(world: Any) -> None:
    """Clause 3.8.4."""
    world.client("p").publish("a", b"1", retain=True)
    peer = world.client()
    peer.subscribe("$share/g/a")
    assert peer.early == []


def test_a_share_is_never_no_local(world: Any) -> None:
    """[MQTT-3.8.3-4]."""
    peer = world.client()
    peer.send_bytes(b"\x82\x10\0\1\0\0\x0a$share/g/a\x05")
    assert peer.got() == [Disconnect(Reason.PROTOCOL_ERROR)]


def test_spaces_never_meet(world: Any) -> None:
    """§11: the same client, topic, retained message and share of two projects are strangers."""
    peers = {}
    for project in ("one", "two"):
        peers[project] = world.client("same", user=project, clean=False, session_expiry_interval=9)
        peers[project].subscribe("#", "$share/g/a")
    assert all(peer.connection.closing is None for peer in peers.values())
    world.client("p", user="one").publish("a", b"1", 1, retain=True)
    assert len(peers["one"].messages()) == 2
    assert peers["two"].messages() == []
    late = world.client("late", user="two")
    late.subscribe("#")
    assert late.early == []


def test_subscriptions_are_bounded(make_world: Any) -> None:
    """§6: by session, by project and in depth; a replacement needs no room."""
    world = make_world(Limits(mqtt_subscriptions_per_session_max=3, mqtt_subscriptions_per_project_max=5))
    first, second = world.client("1"), world.client("2")
    assert first.subscribe("a", "b", "c", "d") == (2, 2, 2, Reason.QUOTA_EXCEEDED)
    assert first.subscribe("a", qos=0) == (0,)
    assert second.subscribe("a", "b", "c") == (2, 2, Reason.QUOTA_EXCEEDED)
    assert world.client("4", 4).subscribe("x") == (0x80,)
    first.unsubscribe("a")
    assert second.subscribe("c") == (2,)
    assert world.client("5").subscribe("/".join("a" * 33)) == (Reason.TOPIC_FILTER_INVALID,)


def test_subscription_bomb(make_world: Any) -> None:
    """§6: thousands of wildcard filters cost one walk of the trie for a topic, and one message for each session."""
    world = make_world(Limits(mqtt_subscriptions_per_session_max=2_000))
    bomber = world.client("b")
    combinations = ["/".join("+ab"[number // 3**level % 3] for level in range(6)) for number in range(3**6)]
    bomber.subscribe(*combinations, *(f"{each}/#" for each in combinations), "#")
    publisher = world.client("p")
    space = world.broker._core.store.space("default")
    nodes = list(space.subscriptions.match("a/a/a/a/a/a"))
    assert len(nodes) == 2 * 2**6 + 1
    walks = 0
    original = space._match

    def counted(topic: str) -> Any:
        nonlocal walks
        walks += 1
        return original(topic)

    space._match = counted
    for _ in range(100):
        publisher.publish("a/a/a/a/a/a", b"1")
    assert walks == 1
    assert len(bomber.messages()) == 100


def test_denied_topics_reach_no_wider_filter(world: Any) -> None:
    """A topic denied to all is heard by nobody: live, retained, queued or shared."""
    watcher = world.client("w", session_expiry_interval=100)
    watcher.subscribe("#", "$share/g/+/x", qos=1)
    publisher = world.client("p")
    publisher.publish("silent/x", b"1", 1, retain=True).publish("loud/x", b"2")
    assert set(watcher.payloads()) == {b"2"}
    late = world.client("late")
    late.subscribe("#")
    assert late.early == []
