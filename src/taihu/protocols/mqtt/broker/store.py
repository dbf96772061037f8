"""All spaces and sessions, the log of what changed in those that persist, and its replay.

Every change of what must survive goes through a method here, which makes the change and, for a persistent session,
logs it as an event: a tuple of its number, its kind and plain values. Replay calls the same methods with the logged
values, and passes over events that the state holds already: it may begin anywhere before the snapshot was taken.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import msgspec

from taihu.kernel.errors import DamagedError
from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.broker.message import Delivery, Message, as_message
from taihu.protocols.mqtt.broker.queue import Chunk, Queue, Spool, Usage, decode_chunk, encode_chunk
from taihu.protocols.mqtt.broker.session import Entry, Session
from taihu.protocols.mqtt.broker.space import Space
from taihu.protocols.mqtt.packets import Subscription, Will

Event = tuple[Any, ...]
_PART_BYTES_MIN = (
    8_192  # of a queue stays in memory, however many there are: smaller chunks would cost more than they save
)
_NONE: Mapping[int, list[Delivery]] = MappingProxyType({})


class Store:
    """The broker's state. `log` collects events until `Broker.take_log`; `sequence` is the number of the last one.

    Without a `spool` all queues stay in memory. `chunk_number` is that of the last chunk put there.
    """

    def __init__(self, limits: Limits, spool: Spool | None) -> None:
        self.limits = limits
        self.spool = spool
        self.chunk_number = 0
        self.spaces: dict[str, Space] = {}
        self.sessions: dict[int, Session] = {}
        self.log: list[Event] = []
        self.sequence = 0
        self._next_number = 1
        self._replaying = False

    def space(self, name: str) -> Space:
        """The space of that name, made when it is new."""
        found = self.spaces.get(name)
        if found is None:
            found = self.spaces[name] = Space(name)
        return found

    def open_session(self, space: str, owner: str, client_id: str, expiry_s: int, number: int = 0) -> Session:
        """A new session. There must be none of that owner and client identifier."""
        number = number or self._next_number
        self._next_number = max(self._next_number, number + 1)
        home = self.space(space)
        session = Session(number, space, owner, client_id, expiry_s, home.usage)
        self.sessions[number] = home.sessions[owner, client_id] = session
        self._log(session, "session", space, owner, client_id, expiry_s, number)
        return session

    def close_session(self, session: Session) -> None:
        """The session and all its state are gone."""
        home = self.spaces[session.space]
        for topic_filter in list(session.subscriptions):
            self._unsubscribe(session, topic_filter)
        if session.queue is not None:
            self._drop_chunks(session.queue.chunks)
        session.clear()
        del self.sessions[session.number], home.sessions[session.owner, session.client_id]
        self._log(session, "closed", session.number)

    def make_transient(self, session: Session) -> None:
        """The session will end with its connection: for the log it is gone now."""
        self._log(session, "closed", session.number)
        session.persistent = False
        session.expiry_s = 0

    def online(self, session: Session, expiry_s: int) -> None:
        """The session has a connection again."""
        session.expiry_s = expiry_s
        session.ended_ns = 0
        self._log(session, "online", session.number, expiry_s)

    def offline(self, session: Session, now_ns: int) -> None:
        """The session lost its connection at `now_ns`."""
        session.ended_ns = now_ns
        self._log(session, "offline", session.number, session.expiry_s, now_ns)

    def set_will(self, session: Session, will: Will | None, *, claim: object = None, private: bool = False) -> None:
        """The message to publish if its connection ends without a word, or later; None for no longer any."""
        logged = session.will if not session.will_private else None
        session.will, session.will_claim, session.will_private = will, claim, private
        to_log = will if not private else None
        if logged is not None or to_log is not None:
            self._log(session, "will", session.number, to_log and msgspec.structs.astuple(to_log))

    def subscribe(self, session: Session, options: Subscription, identifier: int) -> Entry:
        """Add or replace a subscription."""
        entry = Entry(session, options, identifier)
        known = session.subscriptions.get(options.filter)
        if known == entry:
            return known
        session.subscriptions[options.filter] = entry
        home = self.spaces[session.space]
        home.subscriptions.add(entry)
        home.changed()
        self._log(session, "subscribe", session.number, msgspec.structs.astuple(options), identifier)
        return entry

    def unsubscribe(self, session: Session, topic_filter: str) -> bool:
        """Remove a subscription; False when there was none."""
        if topic_filter not in session.subscriptions:
            return False
        self._unsubscribe(session, topic_filter)
        self._log(session, "unsubscribe", session.number, topic_filter)
        return True

    def retain(self, space: str, message: Message) -> None:
        """Keep `message` for subscribers to come. Topics of the server's own (`$...`) are not logged."""
        self.space(space).retained.put(message)
        if not message.topic.startswith("$"):
            self._append("retain", space, message)

    def unretain(self, space: str, topic: str) -> None:
        """Forget the retained message of a topic, if there is one."""
        home = self.space(space)
        if home.retained.get(topic) is not None:
            home.retained.remove(topic)
            self._append("unretain", space, topic)

    def queue(self, message: Message, receivers: Iterable[tuple[Session, Delivery]]) -> None:
        """Queue `message` for each of the sessions."""
        logged = []
        for session, delivery in receivers:
            session.push(delivery)
            if session.persistent:
                logged.append((session.number, delivery.qos, delivery.retain, delivery.identifiers))
        if logged:
            self._append("queue", message, logged)

    def spill(self, session: Session) -> int:
        """Put what is too much of a session's queue for memory into the spool; returns how many bytes in memory."""
        queue, spool, spilled = session.queue, self.spool, 0
        if queue is not None and spool is not None:
            for deliveries in queue.excess(self.part(session.usage)):
                chunk = self._put(session, spool, deliveries)
                queue.spilled(chunk)
                spilled += chunk.size
        return spilled

    def part(self, usage: Usage) -> int:
        """About how many bytes of a queue are in memory at its front, at its back, and in a chunk between them."""
        part = self.limits.mqtt_queue_memory_bytes_max // 4
        crowded = usage.held_bytes >= self.limits.mqtt_queue_memory_bytes_per_project_max
        return min(part, _PART_BYTES_MIN) if crowded else part

    def front(self, session: Session) -> deque[Delivery] | None:
        """The first of a session's queue; None when there is none, or it has to be read: the session is pumped then."""
        queue, spool = session.queue, self.spool
        if queue is None or queue.asked:
            return None
        if not queue.front:
            assert spool is not None
            number = queue.chunks[0].number
            queue.asked = True
            data = spool.get(number, partial(self._arrived, session, queue, number))
            if data is None:
                return None
            self._load(session, queue, data)
        return queue.front

    def sent(self, session: Session, packet_ids: Sequence[int]) -> None:
        """The oldest queued messages go out under these packet identifiers; 0 stands for one that is dropped."""
        for packet_id in packet_ids:
            front, queue = self.front(session), session.queue
            assert front and queue is not None
            delivery = queue.pop()
            if packet_id:
                session.send(packet_id, delivery)
            if not queue.count:
                session.queue = None
        if packet_ids:
            self._log(session, "sent", session.number, list(packet_ids))

    def withdraw(
        self,
        session: Session,
        queued: Sequence[int],
        packet_ids: Sequence[int],
        read: Mapping[int, list[Delivery]] = _NONE,
    ) -> None:
        """Take back the messages at these places of the queue, which rise, and those in flight under these identifiers.

        `read` has the content of chunks by their numbers; those that are not in it must be at hand.
        """
        queue = session.queue
        if queue is not None and queued:
            queue.drop(queued, partial(self._without, session, read))
            if not queue.count:
                session.queue = None
        for packet_id in packet_ids:
            delivery = session.inflight[packet_id]
            if delivery is not None and delivery.qos == 2:
                session.send(packet_id, None)
            else:
                session.done(packet_id)
        self._log(session, "withdrawn", session.number, list(queued), list(packet_ids))

    def half_acknowledged(self, session: Session, packet_id: int) -> None:
        """The client has the QoS 2 message and owes the PUBCOMP."""
        session.send(packet_id, None)
        self._log(session, "half", session.number, packet_id)

    def acknowledged(self, session: Session, packet_id: int) -> None:
        """The exchange of an outgoing message is over."""
        session.done(packet_id)
        self._log(session, "done", session.number, packet_id)

    def received(self, session: Session, packet_id: int) -> None:
        """A QoS 2 message came in; until its PUBREL the same identifier is the same message."""
        session.received[packet_id] = None
        self._log(session, "received", session.number, packet_id)

    def released(self, session: Session, packet_id: int) -> None:
        """The client released a QoS 2 message."""
        del session.received[packet_id]
        self._log(session, "released", session.number, packet_id)

    def apply(self, events: Iterable[Sequence[Any]]) -> None:
        """Replay logged events; raises DamagedError for one that does not fit the state, or when some are missing."""
        self._replaying = True
        try:
            for sequence, kind, *values in events:
                if sequence <= self.sequence:
                    continue
                if sequence != self.sequence + 1:
                    raise ValueError(f"event {sequence} follows {self.sequence}")
                _REPLAY[kind](self, *values)
                self.sequence = sequence
        except (KeyError, TypeError, ValueError, AssertionError, IndexError) as error:
            raise DamagedError(
                f"The broker's log does not fit its state: {error!r}.", "Put a backup back: taihu restore."
            ) from error
        finally:
            self._replaying = False

    def persistent_sessions(self) -> Iterator[Session]:
        """The sessions that survive a restart, in the order of their numbers."""
        return (session for _, session in sorted(self.sessions.items()) if session.persistent)

    def _put(self, session: Session, spool: Spool, deliveries: Sequence[Delivery]) -> Chunk:
        self.chunk_number += 1
        spool.put(self.chunk_number, encode_chunk((session.space, session.number), deliveries))
        return Chunk(self.chunk_number, len(deliveries), sum(delivery.message.size for delivery in deliveries))

    def _load(self, session: Session, queue: Queue, data: bytes) -> None:
        first = queue.chunks[0]
        queue.load(decode_chunk((session.space, session.number), first, data))
        self._drop_chunks([first])

    def _arrived(self, session: Session, queue: Queue, number: int, data: bytes) -> None:
        """A chunk was read; meanwhile the session may have ended or the chunk may be another."""
        if session.queue is queue and not queue.front and queue.chunks[0].number == number:
            self._load(session, queue, data)
            if session.connection is not None:
                session.connection.pump()

    def _without(
        self, session: Session, read: Mapping[int, list[Delivery]], chunk: Chunk, places: Sequence[int]
    ) -> Chunk:
        """What is left of a chunk without the messages at these places, as a chunk of its own."""
        spool = self.spool
        assert spool is not None
        deliveries = read.get(chunk.number)
        if deliveries is None:
            deliveries = decode_chunk((session.space, session.number), chunk, spool.get(chunk.number, _ignore) or b"")
        gone = frozenset(places)
        rest = [delivery for place, delivery in enumerate(deliveries) if place not in gone]
        self._drop_chunks([chunk])
        return self._put(session, spool, rest) if rest else Chunk(chunk.number, 0, 0)

    def _drop_chunks(self, chunks: Iterable[Chunk]) -> None:
        if self.spool is not None:
            for chunk in chunks:
                self.spool.drop(chunk.number)

    def _unsubscribe(self, session: Session, topic_filter: str) -> None:
        del session.subscriptions[topic_filter]
        home = self.spaces[session.space]
        home.subscriptions.remove(session, topic_filter)
        home.changed()

    def _log(self, session: Session, kind: str, *values: Any) -> None:
        if session.persistent:
            self._append(kind, *values)

    def _append(self, kind: str, *values: Any) -> None:
        if not self._replaying:
            self.sequence += 1
            self.log.append((self.sequence, kind, *values))


def _ignore(data: bytes) -> None:
    """A replay reads at once."""


def _replay_queue(store: Store, row: Any, receivers: Sequence[tuple[int, int, bool, Sequence[int]]]) -> None:
    message = as_message(row)
    store.queue(
        message,
        (
            (store.sessions[number], Delivery(message, qos, retain, tuple(identifiers)))
            for number, qos, retain, identifiers in receivers
        ),
    )
    for number, *_ in receivers:
        store.spill(store.sessions[number])


_REPLAY: dict[str, Callable[..., object]] = {
    "session": Store.open_session,
    "closed": lambda store, number: store.close_session(store.sessions[number]),
    "online": lambda store, number, expiry_s: store.online(store.sessions[number], expiry_s),
    "offline": lambda store, number, expiry_s, now_ns: (
        store.online(store.sessions[number], expiry_s),
        store.offline(store.sessions[number], now_ns),
    ),
    "will": lambda store, number, row: store.set_will(store.sessions[number], row and Will(*row)),
    "subscribe": lambda store, number, row, identifier: store.subscribe(
        store.sessions[number], Subscription(*row), identifier
    ),
    "unsubscribe": lambda store, number, topic_filter: store.unsubscribe(store.sessions[number], topic_filter),
    "retain": lambda store, space, row: store.retain(space, as_message(row)),
    "unretain": Store.unretain,
    "queue": _replay_queue,
    "sent": lambda store, number, packet_ids: store.sent(store.sessions[number], packet_ids),
    "withdrawn": lambda store, number, queued, packet_ids: store.withdraw(store.sessions[number], queued, packet_ids),
    "half": lambda store, number, packet_id: store.half_acknowledged(store.sessions[number], packet_id),
    "done": lambda store, number, packet_id: store.acknowledged(store.sessions[number], packet_id),
    "received": lambda store, number, packet_id: store.received(store.sessions[number], packet_id),
    "released": lambda store, number, packet_id: store.released(store.sessions[number], packet_id),
}
