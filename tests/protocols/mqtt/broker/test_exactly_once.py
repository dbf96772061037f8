"""QoS 2 to a session that persists: each message once, wherever a crash cuts the exchange (4.3.3)."""

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.packets import Packet, Pubcomp, Publish, Pubrec, Pubrel

_STEPS = st.one_of(
    st.tuples(st.just("publish"), st.integers(1, 3)),
    st.tuples(st.just("commit")),
    st.tuples(st.just("hear"), st.integers(1, 4)),
    st.tuples(st.just("come")),
    st.tuples(st.just("crash"), st.booleans()),
)


class Play:
    """A receiver as the standard has it, on a node whose process may die before and after each group commit."""

    def __init__(self, make_world: Callable[..., Any]) -> None:
        self.world = make_world(Limits(mqtt_inflight_max=3))
        self.known: set[int] = set()
        self.waiting: list[Packet] = []
        self.got: list[bytes] = []
        self.number = 0
        self.durable: list[bytes] = []
        self.fresh: list[bytes] = []
        self.reader = self.world.client("reader", session_expiry_interval=99)
        self.reader.subscribe("a")
        self.world.commits = False

    def come(self) -> None:
        self.reader = self.world.client("reader", clean=False, session_expiry_interval=99)
        self.waiting = list(self.reader.early)

    def publish(self, count: int) -> None:
        writer = self.world.client("writer")
        for _ in range(count):
            self.number += 1
            self.fresh.append(b"%d" % self.number)
            writer.publish("a", self.fresh[-1], 2)

    def commit(self) -> None:
        self.world.commit()
        self.durable += self.fresh
        self.fresh = []

    def hear(self, count: int) -> None:
        """Take some of what came, and answer it."""
        self.waiting += self.reader.got()
        for _ in range(min(count, len(self.waiting))):
            packet = self.waiting.pop(0)
            if isinstance(packet, Publish):
                if packet.packet_id not in self.known:
                    self.got.append(packet.payload)
                    self.known.add(packet.packet_id)
                self.reader.send(Pubrec(packet.packet_id))
            elif isinstance(packet, Pubrel):
                self.known.discard(packet.packet_id)
                self.reader.send(Pubcomp(packet.packet_id))

    def crash(self, durable: bool) -> None:
        """Before a group is durable, or after it and before anybody is told."""
        if durable:
            self.world.take_lot()
            self.durable += self.fresh
        self.fresh = []
        self.world.lots.clear()
        self.world.broker.take_log()
        self.world.crash()
        self.come()


@settings(max_examples=200, deadline=None)
@given(st.lists(_STEPS, max_size=40))
def test_every_message_comes_once(make_world: Callable[..., Any], steps: list[tuple[Any, ...]]) -> None:
    play = Play(make_world)
    for name, *values in steps:
        getattr(play, name)(*values)
    for _ in range(10 * play.number + 10):
        play.commit()
        play.hear(9)
    assert play.got == play.durable


def test_sessions_that_end_with_their_connection_wait_for_nothing(world: Any) -> None:
    reader = world.client("reader")
    reader.subscribe("a")
    world.commits = False
    world.client("writer").publish("a", b"now", 2)
    assert [packet.payload for packet in reader.got() if isinstance(packet, Publish)] == [b"now"]
