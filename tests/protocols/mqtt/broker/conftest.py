"""A broker with simulated time, a group commit in memory, and clients that speak through the codec."""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest

from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.broker import Broker, Connection, Later, Lot
from taihu.protocols.mqtt.broker import Identity as IdentityPort
from taihu.protocols.mqtt.broker.message import Delivery
from taihu.protocols.mqtt.broker.ports import Answers
from taihu.protocols.mqtt.broker.queue import decode_chunk
from taihu.protocols.mqtt.broker.session import Session
from taihu.protocols.mqtt.codec import Decoder, encode
from taihu.protocols.mqtt.packets import (
    Connack,
    Connect,
    Packet,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Subscription,
    Unsubscribe,
    Will,
)
from taihu.protocols.mqtt.reasons import Reason

NS = 1_000_000_000


class Identity(NamedTuple):
    space: str
    key: str
    thing: str = ""


class Policy:
    """The user name `space:key` picks the identity; `readings/...` is claimed, `forbidden/...` is refused.

    What is asked for the user name `later` or on `me/later` waits in `waiting` until the test answers.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.waiting: list[Later[Any]] = []
        self.online: dict[str, int] = {}

    def authenticate(self, connect: Connect, peer: str, certificate: str | None) -> Any:
        if connect.username == "later":
            return self._later()
        if connect.username == "stranger":
            return Reason.BAD_USER_NAME_OR_PASSWORD
        if connect.username == "banned":
            return Reason.NOT_AUTHORIZED
        space, _, key = (connect.username or "default").partition(":")
        return Identity(space, key)

    def connected(self, identity: IdentityPort, up: bool) -> None:
        self.online[identity.key] = self.online.get(identity.key, 0) + (1 if up else -1)

    def may_publish(self, identity: IdentityPort, topic: str, retain: bool) -> int:
        self.asked += 1
        return Reason.NOT_AUTHORIZED if topic.startswith("forbidden/") else Reason.SUCCESS

    def may_subscribe(self, identity: IdentityPort, topic_filter: str) -> int:
        return Reason.NOT_AUTHORIZED if topic_filter.startswith("forbidden/") else Reason.SUCCESS

    def denied(self, space: str, topic: str) -> bool:
        return topic.startswith("silent/")

    def answer(self, identity: IdentityPort, topic: str, payload: bytes) -> Answers | Later[Answers] | None:
        if topic == "me/later":
            return self._later()
        if not topic.startswith("me/"):
            return None
        return [("me/answer", identity.key.encode() + payload)] if topic == "me/question" else []

    def claim(self, identity: IdentityPort, topic: str) -> object | None:
        return topic if topic.startswith(("readings/", "me/readings")) else None

    def _later(self) -> Later[Any]:
        self.waiting.append(Later())
        return self.waiting[-1]


class Peer:
    """A client: what it sends goes into the broker at once, what it gets is decoded when asked for."""

    def __init__(self, world: "World", version: int) -> None:
        self.world = world
        self.version = version
        self.connection: Connection = world.broker.open("test", world.now)
        self.decoder = Decoder(version)
        self.next_id = 0
        self.connack: Connack | None = None
        self.early: list[Packet] = []

    def send(self, *packets: Packet) -> "Peer":
        return self.send_bytes(b"".join(encode(packet, self.version) for packet in packets))

    def send_bytes(self, data: bytes) -> "Peer":
        self.world.broker.receive([(self.connection, data)], self.world.now, self.world.now_ns)
        if self.world.commits:
            self.world.commit()
        return self

    def got(self) -> list[Packet]:
        """All packets since the last call."""
        while data := self.connection.take_output():
            self.decoder.feed(data)
        return list(self.decoder.packets())

    @property
    def ended(self) -> bool:
        """Whether the broker is done with the connection."""
        return self.connection.closing is not None

    def messages(self) -> list[Publish]:
        """The messages since the last call, each acknowledged to its end."""
        found = []
        packets = self.got()
        while packets:
            for packet in packets:
                if isinstance(packet, Publish):
                    found.append(packet)
                    if packet.qos == 1:
                        self.send(Puback(packet.packet_id))
                    elif packet.qos == 2:
                        self.send(Pubrec(packet.packet_id))
                elif isinstance(packet, Pubrel):
                    self.send(Pubcomp(packet.packet_id))
            packets = self.got()
        return found

    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.messages()]

    def subscribe(self, *filters: str | Subscription, qos: int = 2, identifier: int = 0) -> tuple[int, ...]:
        """Subscribe and return the reason codes; other packets got meanwhile stay lost."""
        self.next_id += 1
        entries = tuple(each if isinstance(each, Subscription) else Subscription(each, qos) for each in filters)
        properties = {"subscription_identifier": [identifier]} if identifier else {}
        self.send(Subscribe(self.next_id, entries, properties))
        answers = []
        self.early = []
        for packet in self.got():
            if isinstance(packet, Suback):
                answers.append(packet)
            else:
                self.early.append(packet)
        assert [answer.packet_id for answer in answers] == [self.next_id]
        return answers[0].reasons

    def unsubscribe(self, *filters: str) -> Packet:
        self.next_id += 1
        self.send(Unsubscribe(self.next_id, filters))
        return self.got()[-1]

    def publish(self, topic: str, payload: bytes = b"x", qos: int = 0, **more: Any) -> "Peer":
        """Publish; QoS 2 is not released."""
        if qos:
            self.next_id += 1
            more.setdefault("packet_id", self.next_id)
        return self.send(Publish(topic, payload, qos, **more))

    def lose(self) -> None:
        self.connection.lost(self.world.now, self.world.now_ns)
        self.world.drain()


class Spool:
    """Chunks in memory; with `slow` each is handed over when the test calls `arrive`."""

    def __init__(self, slow: bool = False) -> None:
        self.slow = slow
        self.chunks: dict[int, bytes] = {}
        self.dropped: set[int] = set()
        self.asked: list[tuple[int, Callable[[bytes], None]]] = []
        self.pending = False

    def put(self, number: int, data: bytes) -> None:
        self.chunks[number] = data
        self.dropped.discard(number)

    def get(self, number: int, then: Callable[[bytes], None]) -> bytes | None:
        if self.slow:
            self.asked.append((number, then))
            return None
        return self.chunks.get(number, b"")

    def drop(self, number: int) -> None:
        """What a snapshot may need stays."""
        assert number in self.chunks and number not in self.dropped
        self.dropped.add(number)

    def arrive(self) -> None:
        """The disk has answered all that was asked."""
        asked, self.asked = self.asked, []
        for number, then in asked:
            then(self.chunks.get(number, b""))


class World:
    """One broker, its time and its durable log."""

    def __init__(self, limits: Limits | None = None, spool: Spool | None = None) -> None:
        self.limits = limits or Limits()
        self.spool = spool or Spool()
        self.policy = Policy()
        self.now = 100.0
        self.now_ns = 1_700_000_000 * NS
        self.commits = True
        self.broker = self.new_broker()
        self.base = self.broker.snapshot()
        self.log: list[bytes] = []
        self.readings: list[tuple[object, bytes]] = []
        self.lots: list[Lot] = []

    def new_broker(self) -> Broker:
        return Broker(self.policy, self.limits, iter(f"id{n}" for n in range(10_000)).__next__, self.spool)

    def queued(self, session: Session) -> list[Delivery]:
        """All that waits for a session, with what the spool has of it; what is counted fits."""
        queue, found = session.queue, list[Delivery]()
        if queue is not None:
            found += queue.front
            for chunk in queue.chunks:
                data = self.spool.chunks.get(chunk.number, b"")
                found += decode_chunk((session.space, session.number), chunk, data)
            found += queue.back
            assert found and queue.count == len(found)
            assert queue.size == sum(delivery.message.size for delivery in found)
        return found

    def open(self, version: int = 5) -> Peer:
        """A connection that has not sent its CONNECT."""
        return Peer(self, version)

    def client(
        self,
        client_id: str = "c",
        version: int = 5,
        *,
        clean: bool = True,
        keep_alive: int = 0,
        user: str | None = None,
        will: Will | None = None,
        ok: bool = True,
        **properties: Any,
    ) -> Peer:
        """A connected client; `properties` are of its CONNECT."""
        peer = Peer(self, version)
        peer.send(Connect(version, client_id, clean, keep_alive, user, None, will, properties))
        packets = peer.got()
        assert isinstance(packets[0], Connack)
        peer.connack = packets[0]
        peer.early = packets[1:]
        if ok:
            assert peer.connack.reason == 0, peer.connack
        return peer

    def commit(self) -> None:
        """Make durable what waits, and acknowledge."""
        self.take_lot()
        self.acknowledge()

    def take_lot(self) -> list[bytes]:
        """Begin a group commit; returns the payloads it takes."""
        lot = self.broker.take_lot()
        self.lots.append(lot)
        self.readings += lot.readings
        self.drain()
        return [payload for _, payload in lot.readings]

    def acknowledge(self) -> None:
        """The group commits that were begun are durable."""
        for lot in self.lots:
            for connection, data, _ in self.broker.committed(lot):
                if connection.closing is None:
                    connection.output += data
        self.lots.clear()

    def drain(self) -> None:
        self.log += [msgspec.msgpack.encode(event) for event in self.broker.take_log()]

    def advance(self, seconds: float) -> None:
        """Let time pass, with every timer in between."""
        end = self.now + seconds
        while (timer := self.broker.next_timer()) is not None and timer <= end:
            self._move(max(timer, self.now))
            self.broker.tick(self.now, self.now_ns)
        self._move(end)
        self.drain()

    def rebuilt(self, cut: int | None = None) -> Broker:
        """Another broker with the state of the base snapshot and the log, or the first `cut` events of it."""
        broker = self.new_broker()
        broker.restore(self.base)
        broker.apply([msgspec.msgpack.decode(event) for event in self.log[:cut]])
        return broker

    def crash(self, down_s: float = 0.0) -> None:
        """The process dies and starts again `down_s` later; every connection is gone."""
        self.broker = self.rebuilt()
        self._move(self.now + down_s)
        self.broker.resume(self.now, self.now_ns)
        self.drain()

    def _move(self, now: float) -> None:
        self.now_ns += round((now - self.now) * NS)
        self.now = now


@pytest.fixture(scope="session")
def make_world() -> Callable[..., World]:
    return World


@pytest.fixture(scope="session")
def make_spool() -> Callable[..., Spool]:
    return Spool


@pytest.fixture
def world() -> World:
    return World()
