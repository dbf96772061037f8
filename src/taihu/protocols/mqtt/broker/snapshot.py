"""The persistent state as bytes, and back; versioned (§14)."""

from collections.abc import Sequence
from typing import Any

import msgspec

from taihu.kernel.errors import DamagedError
from taihu.protocols.mqtt.broker.message import Delivery, Message, as_message
from taihu.protocols.mqtt.broker.queue import Chunk, Queue
from taihu.protocols.mqtt.broker.session import Session
from taihu.protocols.mqtt.broker.store import Store
from taihu.protocols.mqtt.packets import Subscription, Will

FORMAT = 2
_QUEUE = 4  # its place in a session's row
_WRONG = (msgspec.DecodeError, ValueError, TypeError, IndexError, KeyError)


def take_snapshot(store: Store) -> bytes:
    """All that must survive a restart. Messages queued for many sessions are held once."""
    by_object: dict[int, int] = {}
    by_content: dict[bytes, int] = {}
    messages: list[Message] = []

    def row(delivery: Delivery | None) -> Any:
        if delivery is None:
            return None
        message = delivery.message
        index = by_object.get(id(message))
        if index is None:
            index = by_content.setdefault(msgspec.msgpack.encode(message), len(messages))
            by_object[id(message)] = index
            if index == len(messages):
                messages.append(message)
        return index, delivery.qos, delivery.retain, delivery.identifiers

    sessions = [_session_row(session, row) for session in store.persistent_sessions()]
    retained = [
        (name, sorted((message for message in space.retained if message.topic[0] != "$"), key=lambda each: each.topic))
        for name, space in sorted(store.spaces.items())
        if space.retained.count
    ]
    return msgspec.msgpack.encode((FORMAT, store.sequence, store.chunk_number, messages, sessions, retained))


def chunks_of(data: bytes) -> list[int]:
    """The numbers of the chunks that a snapshot needs; raises DamagedError."""
    try:
        return [int(chunk[0]) for row in _decode(data)[2] for chunk in row[_QUEUE][1]]
    except _WRONG as error:
        raise _damaged(error) from error


def restore_snapshot(store: Store, data: bytes) -> None:
    """Fill an empty store; raises DamagedError for anything `take_snapshot` did not write."""
    try:
        sequence, store.chunk_number, sessions, messages, retained = _decode(data)
        shared = [as_message(row) for row in messages]
        for row in sessions:
            _restore_session(store, row, shared)
        for space, rows in retained:
            for row in rows:
                store.retain(space, as_message(row))
        store.sequence = int(sequence)
    except _WRONG as error:
        raise _damaged(error) from error
    finally:
        store.log.clear()


def _decode(data: bytes) -> tuple[Any, ...]:
    """Sequence, number of the last chunk, sessions, messages and what is retained, of either format."""
    version, *rows = msgspec.msgpack.decode(data)
    if version == 1:  # whose queues are in memory, all of them
        sequence, messages, sessions, retained = rows
        for row in sessions:
            row[_QUEUE] = (row[_QUEUE], (), ())
        return sequence, 0, sessions, messages, retained
    if version != FORMAT:
        raise ValueError(f"format {version} is unknown")
    sequence, chunk_number, messages, sessions, retained = rows
    return sequence, chunk_number, sessions, messages, retained


def _damaged(error: Exception) -> DamagedError:
    return DamagedError(f"The broker's snapshot cannot be read: {error}.", "Put a backup back: taihu restore.")


def _session_row(session: Session, row: Any) -> tuple[Any, ...]:
    return (
        (session.space, session.owner, session.client_id, session.expiry_s, session.number),
        session.ended_ns,
        None if session.will is None or session.will_private else msgspec.structs.astuple(session.will),
        [(msgspec.structs.astuple(entry.options), entry.identifier) for entry in session.subscriptions.values()],
        _queue_rows(session.queue, row),
        [(packet_id, row(delivery)) for packet_id, delivery in session.inflight.items()],
        list(session.received),
    )


def _restore_session(store: Store, row: Sequence[Any], messages: Sequence[Message]) -> None:
    identity, ended_ns, will, subscriptions, queue, inflight, received = row
    session = store.open_session(*identity)
    session.ended_ns = ended_ns
    session.will = will and Will(*will)
    for options, identifier in subscriptions:
        store.subscribe(session, Subscription(*options), identifier)
    _restore_queue(session, queue, messages)
    for packet_id, each in inflight:
        session.send(packet_id, each and _delivery(each, messages))
    session.received = dict.fromkeys(received)
    store.spill(session)


def _queue_rows(queue: Queue | None, row: Any) -> tuple[Any, ...]:
    if queue is None:
        return (), (), ()
    return [row(delivery) for delivery in queue.front], list(queue.chunks), [row(delivery) for delivery in queue.back]


def _restore_queue(session: Session, rows: Sequence[Any], messages: Sequence[Message]) -> None:
    front, chunks, back = rows
    for each in front:
        session.push(_delivery(each, messages))
    if chunks:
        session.queue = session.queue or Queue(session.usage)
        for chunk in chunks:
            session.queue.adopt(Chunk(*chunk))
    for each in back:
        session.push(_delivery(each, messages))


def _delivery(row: Sequence[Any], messages: Sequence[Message]) -> Delivery:
    index, qos, retain, identifiers = row
    return Delivery(messages[index], qos, retain, tuple(identifiers))
