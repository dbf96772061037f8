"""Answers that need a disk: the client waits, nobody else does, and what it sends meanwhile keeps its place."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.codec import encode
from taihu.protocols.mqtt.packets import Connack, Connect, Publish, Subscribe, Subscription, Will
from taihu.protocols.mqtt.reasons import Reason

LATER, AT_ONCE = "later", "default:key"
STREAM = (
    Subscribe(1, (Subscription("a/#", 1),)),
    Publish("a/b", b"1", 1, packet_id=2),
    Publish("readings/x", b"2", 1, packet_id=3),
    Publish("a/c", b"3", 2, packet_id=4),
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([4, 5]), st.lists(st.integers(0, 200), max_size=4), st.integers(0, 5))
def test_a_client_that_sends_on_is_answered_as_if_it_was_known_at_once(
    make_world: Callable[..., Any], version: int, cuts: list[int], moment: int
) -> None:
    """Whatever the pieces its bytes come in, and whenever the answer comes between them."""
    outcomes = []
    for user in (AT_ONCE, LATER):
        world = make_world()
        connect = Connect(version, "c", True, 60, user)
        data = encode(connect, version) + b"".join(encode(packet, version) for packet in STREAM)
        edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
        peer = world.open(version)
        for number, (start, end) in enumerate(pairwise(edges)):
            peer.send_bytes(data[start:end])
            if number == moment:
                answer(world)
        assert world.policy.waiting == [] or peer.got() == []
        answer(world)
        world.commit()
        outcomes.append((sorted(map(repr, peer.got())), world.readings))
    assert outcomes[0] == outcomes[1]


def answer(world: Any) -> None:
    """Say who it is that waits, if somebody does."""
    for later in world.policy.waiting:
        later.give(world.policy.authenticate(Connect(5, "c", True, 0, AT_ONCE), "", None))
    world.policy.waiting.clear()


def test_others_are_served_while_one_waits(world: Any) -> None:
    waiting = world.open().send(Connect(5, "new", True, 0, LATER))
    other = world.client("other")
    other.subscribe("a")
    assert other.publish("a", b"on").payloads() == [b"on"]
    assert waiting.got() == [] and not waiting.ended
    answer(world)
    assert isinstance(waiting.got()[0], Connack) and waiting.connection in world.broker.dirty


def test_a_refusal_that_comes_later(world: Any) -> None:
    peer = world.open().send(Connect(5, "new", True, 0, LATER), Publish("a", b"x", 1, packet_id=1))
    world.policy.waiting.pop().give(Reason.NOT_AUTHORIZED)
    assert peer.got() == [Connack(False, Reason.NOT_AUTHORIZED)] and peer.ended
    will = Will("forbidden/x", b"", 0, False)
    peer = world.open().send(Connect(5, "new", True, 0, LATER, None, will))
    answer(world)
    assert peer.got() == [Connack(False, Reason.NOT_AUTHORIZED)] and peer.ended


def test_a_client_that_went_meanwhile(world: Any) -> None:
    peer = world.open().send(Connect(5, "new", False, 0, LATER))
    peer.lose()
    answer(world)
    assert peer.got() == [] and world.broker.counters.connected == 0
    asking = world.client("asks")
    asking.subscribe("me/answer")
    asking.publish("me/later", qos=1)
    asking.lose()
    world.policy.waiting.pop().give([("me/answer", b"nobody hears it")])


def test_too_much_before_the_answer_ends_the_connection(make_world: Callable[..., Any]) -> None:
    """§6: what waits is bounded."""
    world = make_world(Limits(mqtt_packet_bytes_max=1_000))
    peer = world.open().send(Connect(5, "new", True, 0, LATER))
    for _ in range(2):
        peer.send(Publish("a", b"x" * 400))
        assert not peer.ended
    peer.send(Publish("a", b"x" * 400))
    assert peer.ended and world.broker.counters.protocol_errors == 1


def test_an_answer_on_a_topic_that_comes_later(world: Any) -> None:
    """The message is acknowledged; its answer goes to the one who asked, and to nobody else."""
    asking, other = world.client("asks", user="default:one"), world.client("other", user="default:one")
    for peer in (asking, other):
        peer.subscribe("me/answer")
    asking.publish("me/later", qos=1)
    assert [type(packet).__name__ for packet in asking.got()] == ["Puback"]
    world.policy.waiting.pop().give([("me/answer", b"secret")])
    assert asking.payloads() == [b"secret"] and other.payloads() == []
