"""One topic space: the sessions, subscriptions and retained messages of one project (§11)."""

from typing import Any, NamedTuple

from taihu.protocols.mqtt.broker.queue import Usage
from taihu.protocols.mqtt.broker.retained import RetainedMessages
from taihu.protocols.mqtt.broker.session import Entry, Session
from taihu.protocols.mqtt.broker.trie import Group, SubscriptionTrie

_CACHED_TOPICS_MAX = 4_096


class Target(NamedTuple):
    """A session to which a topic goes, once, however many of its subscriptions match [MQTT-3.3.4-2]."""

    session: Session
    qos: int
    retain_as_published: bool
    identifiers: tuple[int, ...]
    entries: tuple[Entry, ...]
    any_no_local: bool


class Targets(NamedTuple):
    """Where messages of one topic go."""

    sessions: tuple[Target, ...]
    groups: tuple[Group, ...]


class Space:
    """What the clients of one project share. `epoch` changes with every change of what subscriptions there are."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sessions: dict[tuple[str, str], Session] = {}
        self.subscriptions = SubscriptionTrie()
        self.retained = RetainedMessages()
        self.usage = Usage()
        self.connected = 0
        self.received = 0
        self.sent = 0
        self.epoch = 0
        self._speakers: dict[str, dict[Any, None]] = {}  # connections by the thing that they are
        self._targets: dict[str, Targets] = {}

    def changed(self) -> None:
        """Subscriptions or rights changed: forget what was remembered of topics."""
        self.epoch += 1
        self._targets.clear()

    def come(self, connection: Any, thing: str) -> None:
        """A connection of a thing has a session now."""
        if thing:
            self._speakers.setdefault(thing, {})[connection] = None

    def go(self, connection: Any, thing: str) -> None:
        """It has none any more."""
        if (found := self._speakers.get(thing)) is not None:
            found.pop(connection, None)
            if not found:
                del self._speakers[thing]

    def connections_of(self, thing: str) -> tuple[Any, ...]:
        """The connections of a thing that have a session."""
        return tuple(self._speakers.get(thing, ()))

    def targets(self, topic: str) -> Targets:
        """Who gets messages of `topic`."""
        found = self._targets.get(topic)
        if found is None:
            if len(self._targets) >= _CACHED_TOPICS_MAX:
                self._targets.clear()
            found = self._targets[topic] = self._match(topic)
        return found

    def _match(self, topic: str) -> Targets:
        entries: dict[Session, list[Entry]] = {}
        groups: list[Group] = []
        for node in self.subscriptions.match(topic):
            if node.entries:
                for session, entry in node.entries.items():
                    entries.setdefault(session, []).append(entry)
            if node.groups:
                groups.extend(node.groups.values())
        if not entries and not groups:
            return NOBODY
        return Targets(tuple(merge(session, tuple(found)) for session, found in entries.items()), tuple(groups))


def merge(session: Session, entries: tuple[Entry, ...]) -> Target:
    """All matching subscriptions of a session as one: the highest QoS, every identifier [MQTT-3.3.4-3]."""
    return Target(
        session,
        max(entry.options.qos for entry in entries),
        any(entry.options.retain_as_published for entry in entries),
        tuple(entry.identifier for entry in entries if entry.identifier),
        entries,
        any(entry.options.no_local for entry in entries),
    )


NOBODY = Targets((), ())
