"""§13: any bytes from any client give answers or one disconnection, never an exception, and leave others unharmed."""

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.protocols.mqtt.codec import encode
from taihu.protocols.mqtt.packets import (
    Auth,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
    Subscription,
    Unsubscribe,
)

_IDS = st.integers(1, 4)
_TOPICS = st.sampled_from(["a", "a/b", "readings/1", "forbidden/x", "$SYS/x", "", "a+b"])
_ALIASES = st.sampled_from([{}, {}, {"topic_alias": 1}, {"topic_alias": 2}, {"topic_alias": 65}])
_PACKETS: st.SearchStrategy[Packet] = st.one_of(
    st.builds(Publish, _TOPICS, st.binary(max_size=9), st.just(0), st.booleans(), properties=_ALIASES),
    st.builds(Publish, _TOPICS, st.binary(max_size=9), st.integers(1, 2), st.booleans(), st.booleans(), _IDS),
    st.builds(Puback, _IDS),
    st.builds(Pubrec, _IDS, st.sampled_from([0, 0x80])),
    st.builds(Pubrel, _IDS),
    st.builds(Pubcomp, _IDS),
    st.builds(
        Subscribe, _IDS,
        st.lists(st.builds(Subscription, st.sampled_from(["#", "a/+", "$share/g/#", "forbidden/x"]), st.integers(0, 2)),
                 min_size=1, max_size=3).map(tuple),
    ),
    st.builds(Unsubscribe, _IDS, st.just(("#", "x"))),
    st.just(Pingreq()),
    st.just(Connect(5, "c", True, 0)),
    st.just(Auth()),
    st.builds(Disconnect, st.sampled_from([0, 4])),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([4, 5]), st.lists(_PACKETS, max_size=12), st.binary(max_size=30), st.integers(1, 50))
def test_packets_in_any_order_and_pieces(
    make_world: Callable[..., Any], version: int, packets: list[Packet], rest: bytes, size: int
) -> None:
    sendable = [packet for packet in packets if not isinstance(packet, Auth | Connect) or version == 5]
    data = b"".join(encode(packet, version) for packet in sendable) + rest
    outcomes = []
    for pieces in ([data], [data[at : at + size] for at in range(0, len(data), size)]):
        world = make_world()
        witness = world.client("witness")
        witness.subscribe("quiet")
        peer = world.client("c", version, clean=False, **({"session_expiry_interval": 9} if version == 5 else {}))
        for piece in pieces:
            peer.send_bytes(piece)
        answers = sorted(map(repr, peer.got())) if peer.connection.closing is None else []
        outcomes.append((world.readings, peer.connection.closing, world.broker.snapshot(), answers))
        world.broker.publish("default", "quiet", b"still here")
        assert witness.payloads() == [b"still here"]
        assert world.rebuilt().snapshot() == world.broker.snapshot()
    assert outcomes[0] == outcomes[1]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_before_any_connect(make_world: Callable[..., Any], data: bytes) -> None:
    world = make_world()
    peer = world.open()
    peer.send_bytes(data)
    peer.lose()
    assert world.broker.snapshot() == world.base
