"""The subscriptions of one topic space, found by topic.

A match visits only nodes that are prefixes of both the topic and some subscription, and every space remembers its last
matches (`Space.targets`), so thousands of `+/+/+` cost one walk for a topic, not one for a message.
"""

from collections.abc import Iterator, Sequence

from taihu.protocols.mqtt.broker.session import Entry, Session
from taihu.protocols.mqtt.topics import SHARE_PREFIX


class Group:
    """The members of one shared subscription (5.0, clause 4.8.2); `turn` is whose turn it is."""

    __slots__ = ("members", "turn")

    def __init__(self) -> None:
        self.members: dict[Session, Entry] = {}
        self.turn = 0


class Node:
    """One level of one or more filters."""

    __slots__ = ("children", "entries", "groups")

    def __init__(self) -> None:
        self.children: dict[str, Node] = {}
        self.entries: dict[Session, Entry] | None = None
        self.groups: dict[str, Group] | None = None


class SubscriptionTrie:
    """All subscriptions of a space; `size` counts them."""

    def __init__(self) -> None:
        self._root = Node()
        self.size = 0

    def add(self, entry: Entry) -> None:
        """Add a subscription, or replace the one of the same session and filter."""
        share, levels = split_filter(entry.options.filter)
        node = self._root
        for level in levels:
            following = node.children.get(level)
            if following is None:
                following = node.children[level] = Node()
            node = following
        if share:
            node.groups = {} if node.groups is None else node.groups
            members = node.groups.setdefault(share, Group()).members
        else:
            node.entries = members = {} if node.entries is None else node.entries
        self.size += entry.session not in members
        members[entry.session] = entry

    def remove(self, session: Session, topic_filter: str) -> None:
        """Remove a subscription and whatever nodes nobody needs any more."""
        share, levels = split_filter(topic_filter)
        path = [self._root]
        for level in levels:
            path.append(path[-1].children[level])
        node = path[-1]
        if share:
            assert node.groups is not None
            del node.groups[share].members[session]
            if not node.groups[share].members:
                del node.groups[share]
            node.groups = node.groups or None
        else:
            assert node.entries is not None
            del node.entries[session]
            node.entries = node.entries or None
        self.size -= 1
        for level, parent, child in zip(reversed(levels), reversed(path[:-1]), reversed(path[1:]), strict=True):
            if child.children or child.entries or child.groups:
                break
            del parent.children[level]

    def begins(self, levels: Sequence[str]) -> bool:
        """Whether a filter may match topics that begin with some levels, the first of which is no wildcard's."""
        reached = [self._root.children[levels[0]]] if levels[0] in self._root.children else []
        for level in levels[1:]:
            if any("#" in node.children for node in reached):
                return True
            reached = [node.children[each] for node in reached for each in (level, "+") if each in node.children]
        return bool(reached)

    def match(self, topic: str) -> Iterator[Node]:
        """Every node whose filter matches `topic`. A leading wildcard matches no `$` topic [MQTT-4.7.2-1]."""
        reached = [self._root]
        wild = not topic.startswith("$")
        for level in topic.split("/"):
            following = []
            for node in reached:
                children = node.children
                if (child := children.get(level)) is not None:
                    following.append(child)
                if wild:
                    if (child := children.get("+")) is not None:
                        following.append(child)
                    if (child := children.get("#")) is not None:
                        yield child
            reached = following
            wild = True
            if not reached:
                return
        for node in reached:
            yield node
            if (child := node.children.get("#")) is not None:
                yield child


def split_filter(topic_filter: str) -> tuple[str, list[str]]:
    """The share name ("" when not shared) and the levels of a filter.

    >>> split_filter("$share/workers/a/+")
    ('workers', ['a', '+'])
    """
    share, rest = split_share(topic_filter)
    return share, rest.split("/")


def split_share(topic_filter: str) -> tuple[str, str]:
    """The share name ("" when not shared) and the filter proper."""
    if not topic_filter.startswith(SHARE_PREFIX):
        return "", topic_filter
    share, _, rest = topic_filter[len(SHARE_PREFIX) :].partition("/")
    return share, rest
