"""From one message to everybody who subscribed to it."""

from taihu.protocols.mqtt.broker.core import Core
from taihu.protocols.mqtt.broker.message import Delivery, Message
from taihu.protocols.mqtt.broker.session import Encoded, Entry, Session
from taihu.protocols.mqtt.broker.space import NOBODY, Space, merge
from taihu.protocols.mqtt.broker.trie import Group
from taihu.protocols.mqtt.reasons import Reason
from taihu.protocols.mqtt.topics import filter_covers


def retain_allowed(core: Core, space: Space, message: Message) -> bool:
    """Whether the space has room to retain `message`; expired ones make room."""
    if not message.payload or _fits(core, space, message):
        return True
    for old in [each for each in space.retained if each.expired(core.now_ns)]:
        core.store.unretain(space.name, old.topic)
    return _fits(core, space, message)


def retain(core: Core, space: Space, message: Message) -> None:
    """Retain `message`; an empty payload clears the topic [MQTT-3.3.1-6]."""
    if message.payload:
        core.store.retain(space.name, message)
    else:
        core.store.unretain(space.name, message.topic)


def route(core: Core, space: Space, message: Message, publisher: Session | None) -> None:
    """Deliver `message` to every matching subscription, once a session and once a share."""
    targets = space.targets(message.topic)
    if targets is NOBODY or core.policy.denied(space.name, message.topic):
        return
    encoded: Encoded = {}
    queued: list[tuple[Session, Delivery]] = []
    for target in targets.sessions:
        session = target.session
        if session is publisher and target.any_no_local:
            others = tuple(entry for entry in target.entries if not entry.options.no_local)
            if not others:
                continue
            target = merge(session, others)
        retain_flag = message.retain and target.retain_as_published
        delivery = Delivery(message, min(message.qos, target.qos), retain_flag, target.identifiers)
        _hand_over(core, session, delivery, encoded, queued)
    for group in targets.groups:
        entry = _choose(core, group, message.qos)
        if entry is not None:
            options = entry.options
            identifiers = (entry.identifier,) if entry.identifier else ()
            retain_flag = message.retain and options.retain_as_published
            delivery = Delivery(message, min(message.qos, options.qos), retain_flag, identifiers)
            _hand_over(core, entry.session, delivery, encoded, queued)
    if queued:
        _enqueue(core, message, queued)


def reply(core: Core, session: Session, message: Message) -> None:
    """Deliver `message` to one session alone, if it subscribed to it."""
    entries = tuple(
        entry for entry in session.subscriptions.values() if filter_covers(entry.options.filter, message.topic)
    )
    if not entries:
        return
    target = merge(session, entries)
    queued: list[tuple[Session, Delivery]] = []
    delivery = Delivery(message, min(message.qos, target.qos), False, target.identifiers)
    _hand_over(core, session, delivery, {}, queued)
    if queued:
        _enqueue(core, message, queued)


def may_queue(core: Core, session: Session, size: int) -> bool:
    """Whether the session's queue has room for one more message."""
    limits, queue, usage = core.limits, session.queue, session.usage
    return (
        (
            queue is None
            or (
                queue.count < limits.mqtt_offline_queue_messages_max
                and queue.size + size <= limits.mqtt_offline_queue_bytes_max
            )
        )
        and usage.queued < limits.mqtt_queued_messages_per_project_max
        and usage.queued_bytes + size <= limits.mqtt_queued_bytes_per_project_max
    )


def _enqueue(core: Core, message: Message, queued: list[tuple[Session, Delivery]]) -> None:
    """Queue a message for sessions; what can go out goes out, and what is too much for memory goes to the spool."""
    core.store.queue(message, queued)
    for session, _ in queued:
        if session.connection is not None:
            session.connection.pump()
        if session.queue is not None:
            core.spill(session)


def _hand_over(
    core: Core,
    session: Session,
    delivery: Delivery,
    encoded: Encoded,
    queued: list[tuple[Session, Delivery]],
) -> None:
    connection = session.connection
    if delivery.qos == 0:
        if connection is not None:
            connection.deliver(delivery, encoded)
    elif may_queue(core, session, delivery.message.size):
        queued.append((session, delivery))
    else:
        core.counters.dropped_queue_full += 1
        if connection is not None:
            core.doomed[connection] = (Reason.QUOTA_EXCEEDED, "it does not take its messages: its queue is full")


def _choose(core: Core, group: Group, qos: int) -> Entry | None:
    """Whose turn it is in a shared subscription: a connected member with room, else any that can queue."""
    members = list(group.members.values())
    group.turn = (group.turn + 1) % len(members)
    in_turn = members[group.turn :] + members[: group.turn]
    connected = [entry for entry in in_turn if entry.session.connection is not None]
    for entry in connected:
        if entry.session.queue is None:
            return entry
    for entry in connected or in_turn:
        if min(qos, entry.options.qos) and may_queue(core, entry.session, 0):
            return entry
    return connected[0] if connected else None


def _fits(core: Core, space: Space, message: Message) -> bool:
    old = space.retained.get(message.topic)
    count = space.retained.count + (old is None)
    size = space.retained.size_bytes + message.size - (old.size if old is not None else 0)
    limits = core.limits
    return count <= limits.mqtt_retained_per_project_max and size <= limits.mqtt_retained_bytes_per_project_max
