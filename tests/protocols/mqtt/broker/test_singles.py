"""Chunks of many connections taken at once give what each connection alone would have given (§4, §13)."""

import itertools
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.codec import encode
from taihu.protocols.mqtt.packets import Packet, Pingreq, Puback, Publish, Pubrel, Subscribe, Subscription
from taihu.protocols.mqtt.wire import text

VERSIONS = (4, 5)
RECEIVE_MAXIMUM = 2


def topic_of(number: int) -> str:
    return f"readings/{number}"


def plain(
    number: int,
    first: int,
    body: bytes,
    packet_id: int = 1,
    properties: int = 0,
    odd: int = 0,
    *,
    overlong: bool = False,
) -> bytes:
    """A PUBLISH of a client's readings by hand: each of its parts can be wrong; `odd` is added to its length."""
    rest = text(topic_of(number))
    rest += packet_id.to_bytes(2, "big") if first & 0x06 else b""
    rest += bytes([properties]) if VERSIONS[number] == 5 else b""
    rest += body
    size = max(0, len(rest) + odd)
    short = size < 0x80 and not overlong
    return bytes([first]) + (bytes([size]) if short else bytes([size & 0x7F | 0x80, size >> 7])) + rest


_BODIES = st.one_of(st.binary(max_size=9), st.integers(90, 400).map(bytes))
_PACKETS: list[Packet] = [
    Pingreq(),
    Puback(7),
    Pubrel(8),
    Publish("free", b"x", 1, packet_id=4),
    Publish("free", b"x", 2, packet_id=8),
    Publish("forbidden/x", b"x"),
]
_SUBSCRIBE = [encode(Subscribe(3, (Subscription("readings/+", 0),)), version) for version in VERSIONS]


def sent_by(number: int) -> st.SearchStrategy[tuple[int, bytes]]:
    """A client and something it sends: mostly readings, some of them odd."""
    client = st.just(number)
    good = st.builds(plain, client, st.sampled_from((0x32, 0x32, 0x3A, 0x30)), _BODIES, st.integers(1, 65_535))
    odd = st.builds(
        plain,
        client,
        st.sampled_from((0x30, 0x32, 0x31, 0x33, 0x34, 0x36, 0x38, 0x3A)),
        _BODIES,
        st.sampled_from((0, 1, 2)),
        st.sampled_from((0, 0, 1, 2)),
        st.sampled_from((0, 0, 1, -1, -3)),
        overlong=st.booleans(),
    )
    other = st.sampled_from([_SUBSCRIBE[number], *(encode(packet, VERSIONS[number]) for packet in _PACKETS)])
    return st.tuples(client, st.one_of(good, good, good, odd, other))


_STEPS = st.lists(
    st.tuples(
        st.one_of([sent_by(number) for number in range(len(VERSIONS))]),
        st.sampled_from((None, None, None, 1, 2, 12, 40)),  # where to cut it in two
        st.booleans(),  # whether what was sent is heard now
        st.sampled_from((False, False, True)),  # and whether a group commit ends now
    ),
    min_size=4,
    max_size=20,
)


class Side:
    """A world with one client of each version, heard together or one by one."""

    def __init__(self, world: Any, together: bool) -> None:
        self.world = world
        self.together = together
        self.peers = [world.client(f"c{number}", version) for number, version in enumerate(VERSIONS)]
        for number, peer in enumerate(self.peers):
            peer.publish(topic_of(number), b"known")
        world.commits = False

    def hear(self, arrived: dict[int, bytes]) -> None:
        world = self.world
        chunks = [(self.peers[number].connection, data) for number, data in arrived.items()]
        if self.together:
            world.broker.receive(chunks, world.now, world.now_ns)
        else:
            for connection, data in chunks:
                connection.receive(data, world.now, world.now_ns)

    def outcome(self) -> list[Any]:
        lot = self.world.broker.lot
        readings = self.world.readings + lot.readings
        of_each = [
            (
                [payload for topic, payload in readings if topic == topic_of(number)],
                peer.connection.take_output(),
                peer.connection.closing,
                peer.connection.acks_pending,
            )
            for number, peer in enumerate(self.peers)
        ]
        return [of_each, self.world.broker.counters, lot.size, len(lot.acks)]


@settings(max_examples=120, deadline=None)
@given(_STEPS)
def test_together_is_as_one_by_one(make_world: Callable[..., Any], steps: list[Any]) -> None:
    sides = [Side(make_world(Limits(mqtt_receive_maximum=RECEIVE_MAXIMUM)), together) for together in (True, False)]
    arrived: dict[int, bytes] = {}

    def hear() -> None:
        for side in sides:
            side.hear(arrived)
        arrived.clear()

    for (number, data), cut, heard, commits in steps:
        for piece in (data,) if cut is None else (data[:cut], data[cut:]):
            if number in arrived or data == _SUBSCRIBE[number]:  # of each connection one chunk a turn; and who comes
                hear()  # in the same turn as a subscription may be taken before it or after
            if piece:
                arrived[number] = piece
        if heard or data == _SUBSCRIBE[number]:
            hear()
        if commits:
            for side in sides:
                side.world.commit()
        assert sides[0].outcome() == sides[1].outcome()


def test_plain_messages_go_the_short_way(make_world: Callable[..., Any]) -> None:
    """A test of the test: what it compares is not the long way twice."""
    side = Side(make_world(), together=True)
    for peer in side.peers:
        peer.connection.decoder.feed = None  # the long way would fail
    firsts, sizes = (0x30, 0x32, 0x3A), (0, 50, 300)
    for number, size, first in itertools.product(range(len(VERSIONS)), sizes, firsts):
        side.hear({number: plain(number, first, bytes(size))})
    assert len(side.world.take_lot()) == len(VERSIONS) * len(firsts) * len(sizes)


def test_a_defect_ends_its_own_connection_alone(make_world: Callable[..., Any], caplog: Any) -> None:
    """§13: who comes after it in the same turn is served."""
    side = Side(make_world(), together=True)
    side.world.policy.may_publish = None
    side.hear({0: encode(Publish("free", b"x", 1, packet_id=1), 4), 1: encode(Pingreq(), 5)})
    assert [peer.ended for peer in side.peers] == [True, False]
    assert side.peers[1].connection.take_output() == b"\xd0\0"
    assert "defect" in caplog.text
