"""The retained messages of one topic space, found by filter."""

from collections.abc import Iterator

from taihu.protocols.mqtt.broker.message import Message


class _Node:
    __slots__ = ("children", "message")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.message: Message | None = None


class RetainedMessages:
    """One message a topic; `count` and `size_bytes` are of all."""

    def __init__(self) -> None:
        self._root = _Node()
        self.count = 0
        self.size_bytes = 0

    def get(self, topic: str) -> Message | None:
        """The message retained at exactly `topic`."""
        node = self._root
        for level in topic.split("/"):
            following = node.children.get(level)
            if following is None:
                return None
            node = following
        return node.message

    def put(self, message: Message) -> None:
        """Retain `message` instead of what its topic had."""
        self.remove(message.topic)
        node = self._root
        for level in message.topic.split("/"):
            following = node.children.get(level)
            if following is None:
                following = node.children[level] = _Node()
            node = following
        node.message = message
        self.count += 1
        self.size_bytes += message.size

    def remove(self, topic: str) -> None:
        """Forget the message of `topic`, if it has one."""
        path = [self._root]
        levels = topic.split("/")
        for level in levels:
            following = path[-1].children.get(level)
            if following is None:
                return
            path.append(following)
        message = path[-1].message
        if message is None:
            return
        path[-1].message = None
        self.count -= 1
        self.size_bytes -= message.size
        for level, parent, child in zip(reversed(levels), reversed(path[:-1]), reversed(path[1:]), strict=True):
            if child.children or child.message is not None:
                return
            del parent.children[level]

    def match(self, levels: list[str]) -> list[Message]:
        """The messages whose topics match a filter's levels; a leading wildcard matches no `$` topic."""
        reached = [self._root]
        found: list[Message] = []
        for index, level in enumerate(levels):
            if level == "#":
                for node in reached:
                    found.extend(_below(node, skip_dollar=index == 0))
                return found
            if level == "+":
                reached = [
                    child
                    for node in reached
                    for name, child in node.children.items()
                    if index or not name.startswith("$")
                ]
            else:
                reached = [child for node in reached if (child := node.children.get(level)) is not None]
        found.extend(node.message for node in reached if node.message is not None)
        return found

    def __iter__(self) -> Iterator[Message]:
        return _below(self._root, skip_dollar=False)


def _below(node: _Node, *, skip_dollar: bool) -> Iterator[Message]:
    """The message of `node` (as `a/#` matches `a`) and of all below it."""
    if node.message is not None:
        yield node.message
    stack = [child for name, child in node.children.items() if not (skip_dollar and name.startswith("$"))]
    while stack:
        node = stack.pop()
        if node.message is not None:
            yield node.message
        stack.extend(node.children.values())
