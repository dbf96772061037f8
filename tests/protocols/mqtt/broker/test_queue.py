"""§6: the middle of a long queue leaves memory and comes back; a plain list says what a client must get."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.kernel.errors import DamagedError
from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.broker.snapshot import chunks_of
from taihu.protocols.mqtt.packets import Puback, Pubcomp, Publish, Pubrec, Pubrel, Subscription
from taihu.protocols.mqtt.reasons import Reason

PART = 300  # two or three small messages
TIGHT = Limits(mqtt_queue_memory_bytes_max=4 * PART, mqtt_inflight_max=3)
SAMPLE = Path(__file__).parents[3] / "data" / "broker_v1" / "broker.snapshot"

_STEPS = st.one_of(
    st.tuples(st.just("publish"), st.integers(1, 12), st.integers(1, 2), st.sampled_from([1, 1, 1, 400])),
    st.tuples(st.just("publish"), st.integers(1, 12), st.integers(1, 2), st.sampled_from([1, 1, 1, 400])),
    st.tuples(st.just("come")),
    st.tuples(st.just("lose")),
    st.tuples(st.just("take"), st.integers(1, 6)),
    st.tuples(st.just("arrive")),
    st.tuples(st.just("withdraw"), st.integers(2, 5)),
    st.tuples(st.just("snapshot")),
    st.tuples(st.just("crash"), st.booleans()),
)


class Play:
    """A reader that is slow, away or back, a writer, and a node that dies; `due` is what the reader has yet to get."""

    def __init__(self, make_world: Callable[..., Any], make_spool: Callable[..., Any]) -> None:
        self.make_spool = make_spool
        self.world = make_world(TIGHT, make_spool(slow=True))
        self.due: list[bytes] = []
        self.seen: list[bytes] = []
        self.gone: set[bytes] = set()
        self.number = 0
        self.there = True
        self.reader = self.world.client("reader", session_expiry_interval=99)
        self.reader.subscribe(Subscription("a/#", 2))

    def come(self) -> None:
        """Also while it is connected: the new connection takes over."""
        self.there = True
        self.reader = self.world.client("reader", clean=False, session_expiry_interval=99)
        self.hear(self.reader.early)

    def lose(self) -> None:
        if self.there:
            self.reader.lose()

    def publish(self, count: int, qos: int, size: int) -> None:
        writer = self.world.client("writer")
        for _ in range(count):
            self.number += 1
            payload = b"%d " % self.number + bytes(size)
            writer.publish(f"a/{self.number % 5}", payload, qos)
            self.due.append(payload)

    def take(self, count: int) -> None:
        """Acknowledge the next steps of what came."""
        if not self.there:
            return
        self.hear(self.reader.got())
        session = self.reader.connection.session
        for packet_id, delivery in list(session.inflight.items())[:count] if session else ():
            if delivery is None:
                self.reader.send(Pubcomp(packet_id))
            else:
                self.reader.send(Puback(packet_id) if delivery.qos == 1 else Pubrec(packet_id))
            self.hear(self.reader.got())

    def hear(self, packets: list[Any]) -> None:
        for packet in packets:
            if isinstance(packet, Publish) and not (packet.dup and packet.payload in self.seen):
                self.seen.append(packet.payload)

    def arrive(self) -> None:
        self.world.spool.arrive()
        self.world.drain()

    def withdraw(self, modulus: int) -> None:
        """Some messages are taken back while chunks are read; those that were sent may be seen all the same."""

        def gone(payload: bytes) -> bool:
            return int(payload.split()[0]) % modulus == 0

        for _ in self.world.broker.withdraw("default", lambda message: gone(message.payload)):
            self.arrive()
        self.world.drain()
        self.gone |= {payload for payload in self.due if gone(payload)}

    def snapshot(self) -> None:
        """Only what it needs is left of the spool."""
        self.world.base, self.world.log = self.world.broker.snapshot(), []
        spool = self.world.spool
        for number in spool.dropped:
            del spool.chunks[number]
        spool.dropped.clear()
        assert set(chunks_of(self.world.base)) <= spool.chunks.keys()

    def crash(self, power: bool) -> None:
        """What no snapshot names may be there, or lost with the power."""
        self.there = False
        spool = self.make_spool()
        needed = set(chunks_of(self.world.base))
        spool.chunks = {
            number: data for number, data in self.world.spool.chunks.items() if not power or number in needed
        }
        self.world.spool = spool
        self.world.crash()
        spool.slow = True

    def check(self) -> None:
        """Memory is bounded, and what is counted is what there is."""
        usage = self.world.broker._core.store.space("default").usage
        held = queued = 0
        for session in self.world.broker._core.store.sessions.values():
            queued += len(self.world.queued(session))
            waiting = [*session.queue.front, *session.queue.back] if session.queue else []
            in_memory = sum(delivery.message.size for delivery in waiting)
            assert in_memory <= 4 * PART + 600
            in_flight = sum(each.message.size for each in session.inflight.values() if each)
            assert session.inflight_size == in_flight
            held += in_memory + in_flight
        assert (usage.held_bytes, usage.queued) == (held, queued)


@settings(max_examples=250, deadline=None)
@given(st.lists(_STEPS, max_size=30))
def test_a_queue_is_a_list_wherever_it_lies(
    make_world: Callable[..., Any], make_spool: Callable[..., Any], steps: list[tuple[Any, ...]]
) -> None:
    """Every message once and in order, whatever the reader does, through crashes, snapshots and deletions."""
    play = Play(make_world, make_spool)
    for name, *values in steps:
        getattr(play, name)(*values)
        play.check()
    play.come()
    while play.world.queued(play.reader.connection.session) or play.reader.connection.session.inflight:
        play.take(3)
        play.arrive()
        play.hear(play.reader.got())
    assert [payload for payload in play.seen if payload not in play.gone] == [
        payload for payload in play.due if payload not in play.gone
    ]
    play.check()


def test_many_messages_for_one_who_is_away(make_world: Callable[..., Any]) -> None:
    """A few are in memory; the rest comes back as there is room."""
    world = make_world(Limits(mqtt_queue_memory_bytes_max=40_000))
    reader = world.client("reader", session_expiry_interval=99)
    reader.subscribe("a")
    reader.lose()
    writer = world.client("writer")
    for number in range(4_000):
        writer.publish("a", b"%d" % number, 1)
    usage = world.broker._core.store.space("default").usage
    assert usage.queued == 4_000 and usage.held_bytes <= 40_000 and world.broker.counters.spilled_bytes > 350_000
    assert len(world.broker.snapshot()) < 40_000
    back = world.client("reader", clean=False, session_expiry_interval=99)
    found = [packet.payload for packet in back.early if isinstance(packet, Publish)]
    for packet in [packet for packet in back.early if isinstance(packet, Publish)]:
        back.send(Puback(packet.packet_id))
    assert found + back.payloads() == [b"%d" % number for number in range(4_000)]
    assert (usage.queued, usage.queued_bytes, usage.held_bytes) == (0, 0, 0)
    assert world.spool.chunks.keys() == world.spool.dropped


def test_a_crowd_of_long_queues_keeps_little_of_each_in_memory(make_world: Callable[..., Any]) -> None:
    """§6: beyond the project's share of memory only a little of each further queue stays there."""
    world = make_world(Limits(mqtt_queue_memory_bytes_per_project_max=500_000))
    for number in range(20):
        reader = world.client(f"r{number}", session_expiry_interval=99)
        reader.subscribe("a")
        reader.lose()
    writer = world.client("writer")
    for _ in range(600):
        writer.publish("a", bytes(400), 1)
    usage = world.broker._core.store.space("default").usage
    assert usage.queued == 12_000 and usage.held_bytes <= 500_000 + 20 * 3 * 8_192 + 20 * 501


def test_a_chunk_that_is_gone_costs_its_messages_alone(make_world: Callable[..., Any]) -> None:
    """So does one that another session wrote (§11); the rest comes, and they are counted."""
    for broken in (b"", b"no msgpack", "other"):
        world = make_world(TIGHT)
        reader = world.client("reader", session_expiry_interval=99)
        reader.subscribe("a")
        session = reader.connection.session
        reader.lose()
        world.client("other", session_expiry_interval=99).subscribe("b")
        writer = world.client("writer")
        for number in range(20):
            writer.publish("a", b"%d" % number, 1)
        first = session.queue.chunks[0]
        if isinstance(broken, bytes):
            world.spool.chunks[first.number] = broken
        else:
            data = world.spool.chunks[first.number]
            world.spool.chunks[first.number] = data.replace(b"\x92\xa7default\x01", b"\x92\xa7default\x02")
            assert world.spool.chunks[first.number] != data
        front = len(session.queue.front)
        world.base, world.log = world.broker.snapshot(), []
        world.crash()
        back = world.client("reader", clean=False, session_expiry_interval=99)
        found = [packet.payload for packet in back.early if isinstance(packet, Publish)]
        for packet in [packet for packet in back.early if isinstance(packet, Publish)]:
            back.send(Puback(packet.packet_id))
        found += back.payloads()
        lost = {b"%d" % number for number in range(front, front + first.length)}
        assert found == [b"%d" % number for number in range(20) if b"%d" % number not in lost]
        assert world.broker.counters.dropped_lost == first.length


def test_a_session_that_ends_leaves_nothing_in_the_spool(make_world: Callable[..., Any]) -> None:
    """By expiry, by a clean start, with its project; a chunk that arrives afterwards is nobody's."""
    for how in ("expire", "clean", "remove"):
        world = make_world(TIGHT)
        reader = world.client("reader", session_expiry_interval=9)
        reader.subscribe("a")
        reader.lose()
        for _ in range(50):
            world.client("writer").publish("a", b"x", 1)
        world.spool.slow = True
        again = world.client("reader", clean=False, session_expiry_interval=9)
        again.payloads()
        assert world.spool.asked
        if how == "remove":
            world.broker.remove_space("default")
        elif how == "clean":
            world.client("reader", session_expiry_interval=9)
        else:
            again.lose()
            world.advance(10)
        world.spool.arrive()
        assert world.spool.chunks.keys() == world.spool.dropped
        assert world.broker._core.store.space("default").usage.held_bytes == 0


def test_a_full_project_refuses_by_messages_too(make_world: Callable[..., Any]) -> None:
    """§6: what a limit refuses is counted; who does not take its messages is disconnected with its reason."""
    world = make_world(Limits(mqtt_queued_messages_per_project_max=5, mqtt_inflight_max=1))
    reader = world.client("reader", session_expiry_interval=99)
    reader.subscribe("a")
    for _ in range(7):
        world.client("writer").publish("a", b"x", 1)
    assert reader.ended and world.broker.counters.dropped_queue_full == 1
    assert reader.got()[-1].reason == Reason.QUOTA_EXCEEDED


def test_large_messages_in_flight_are_bounded_by_their_bytes(make_world: Callable[..., Any]) -> None:
    """At least one is, however large."""
    world = make_world(Limits(mqtt_inflight_bytes_max=2_500))
    reader = world.client("reader", session_expiry_interval=99)
    reader.subscribe("a")
    for size in (1_000, 1_000, 1_000, 9_000, 1_000):
        world.client("writer").publish("a", bytes(size), 2)
    counts = []
    for _ in range(5):
        packets = [packet for packet in reader.got() if isinstance(packet, Publish)]
        counts.append(len(packets))
        for packet in packets:
            reader.send(Pubrec(packet.packet_id))
            reader.send(Pubcomp(packet.packet_id))
        assert all(isinstance(packet, Publish | Pubrel) for packet in packets)
    assert counts[0] == 2 and sum(counts) == 5


def test_a_snapshot_of_the_first_format_opens(make_world: Callable[..., Any]) -> None:
    """§14: its queues go to the spool as far as they are too long for memory."""
    world = make_world(Limits(mqtt_queue_memory_bytes_max=400))
    world.base, world.log = SAMPLE.read_bytes(), []
    assert msgspec.msgpack.decode(world.base)[0] == 1 and chunks_of(world.base) == []
    world.crash()
    back = world.client("reader", clean=False, session_expiry_interval=99)
    assert next(packet.payload for packet in back.early if isinstance(packet, Publish)) == b"in flight"
    with pytest.raises(DamagedError):
        chunks_of(b"\x91\x09")
