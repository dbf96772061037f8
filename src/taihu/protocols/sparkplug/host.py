"""The host application as a state machine without I/O: births, order, rebirths, deaths, STATE and commands.

The shell takes `will` for its CONNECT, subscribes to `filters`, calls `connected` once the subscriptions are
confirmed, feeds `receive`, publishes `take_output` after every call, and calls `handle_timer` at `next_timer`.
Times ending in `_ms` are UTC milliseconds, all others monotonic seconds.
"""

from typing import NamedTuple

from taihu.kernel.limits import DEFAULT
from taihu.protocols.sparkplug.births import Births
from taihu.protocols.sparkplug.decode import decode
from taihu.protocols.sparkplug.encode import encode
from taihu.protocols.sparkplug.errors import SparkplugError
from taihu.protocols.sparkplug.kinds import DataType
from taihu.protocols.sparkplug.messages import (
    BD_SEQ,
    NUMBERS,
    REBIRTH,
    HostState,
    Publication,
    decode_state,
    state_publication,
)
from taihu.protocols.sparkplug.payload import Metric, Payload
from taihu.protocols.sparkplug.topics import NAMESPACE, Source, Topic, Verb, parse_topic, topic_of

REORDER_S = 5.0
REBIRTH_S = 5.0  # between two requests for the same node's rebirth


class Born(NamedTuple):
    """A source told all that it has; `at_ms` is the time of the message."""

    source: Source
    at_ms: int
    metrics: tuple[Metric, ...]


class Told(NamedTuple):
    """A source told changes: all named and typed."""

    source: Source
    at_ms: int
    metrics: tuple[Metric, ...]


class Died(NamedTuple):
    """A source is gone: what it told before is stale since `at_ms`."""

    source: Source
    at_ms: int


class HostSeen(NamedTuple):
    """Another host application told its state."""

    host_id: str
    state: HostState


Event = Born | Told | Died | HostSeen


class _Node:
    """What is known of an edge node: what it and its devices were born with, and where its messages are."""

    def __init__(self) -> None:
        self.births: dict[str, Births] = {}  # by device, "" for the node itself
        self.online: set[str] = set()
        self.bd_seq: int | None = None
        self.expected: int | None = None  # the next sequence number; None until a birth says it
        self.waiting: dict[int, tuple[Topic, Payload]] = {}
        self.until: float | None = None  # when what is missing is missed
        self.asked: float | None = None  # when its rebirth was asked for last
        self.says_kinds = True


class Host:
    """A host application, over connections to one MQTT server one after the other.

    Args:
        host_id: its identifier, unique among hosts.
        reorder_s: how long a message that is missing is waited for before the node's rebirth is asked for; 0 asks
            at once.
        groups: the groups to hear; none for all.
        announces: whether it tells its STATE; a plain listener does not.
        nodes_max, metrics_max: how many edge nodes, and metrics of all together, it keeps in mind.
    """

    def __init__(
        self,
        host_id: str,
        reorder_s: float = REORDER_S,
        groups: tuple[str, ...] = (),
        announces: bool = True,
        nodes_max: int = DEFAULT.sparkplug_nodes_max,
        metrics_max: int = DEFAULT.sparkplug_metrics_max,
    ) -> None:
        self.dropped = 0
        """Messages that said nothing that could be understood: before a birth, or after a gap."""
        self._host_id = host_id
        self._state_topic = topic_of(Verb.STATE, Source("", host_id))
        self._reorder_s = reorder_s
        self._groups = groups
        self._announces = announces
        self._nodes_max = nodes_max
        self._metrics_max = metrics_max
        self._nodes: dict[Source, _Node] = {}
        self._waiting: set[Source] = set()
        self._known = 0
        self._output: list[Publication] = []
        self._connected_ms: int | None = None
        self._announced = False

    def will(self, now_ms: int) -> Publication:
        """The death certificate to leave in the CONNECT that is sent now."""
        self._connected_ms = now_ms
        self._announced = False
        return state_publication(self._host_id, False, now_ms)

    def filters(self) -> list[tuple[str, int]]:
        """What to subscribe to, and at which QoS."""
        groups = [f"{NAMESPACE}/{group}/#" for group in self._groups] or [f"{NAMESPACE}/#"]
        return [(self._state_topic, 1), *((one, 0) for one in groups)]

    def connected(self) -> None:
        """The subscriptions stand: tell that the host is there."""
        assert self._connected_ms is not None
        self._announced = True
        if self._announces:
            self._output.append(state_publication(self._host_id, True, self._connected_ms))

    def goodbye(self, now_ms: int) -> None:
        """Tell that the host goes, before the connection is closed on purpose."""
        if self._announced and self._announces:
            self._output.append(state_publication(self._host_id, False, now_ms))
        self._announced = False

    def connection_lost(self, now_ms: int) -> list[Event]:
        """Nothing is heard any more: everything that was there is stale."""
        self._announced = False
        events = [event for place, node in self._nodes.items() for event in _deaths(place, node, now_ms)]
        self._nodes.clear()
        self._known = 0
        self._waiting.clear()
        self._output.clear()
        return events

    def receive(self, topic: str, payload: bytes, now: float, now_ms: int) -> list[Event]:
        """Take a message; raises SparkplugError for one that breaks the standard, and goes on with the next."""
        parsed = parse_topic(topic)
        if parsed.verb is Verb.STATE:
            return self._state(parsed.source.node, decode_state(payload))
        if parsed.verb in (Verb.NCMD, Verb.DCMD):
            return []
        place = Source(*parsed.source[:2])
        content = decode(payload)
        node = self._nodes.get(place)
        if node is None:
            if len(self._nodes) >= self._nodes_max:
                raise SparkplugError(f"There are more than {self._nodes_max} edge nodes.")
            node = self._nodes[place] = _Node()
        if parsed.verb is Verb.NBIRTH:
            return self._node_birth(place, node, content, now_ms)
        if parsed.verb is Verb.NDEATH:
            return self._node_death(place, node, content, now_ms)
        return self._in_order(place, node, parsed, content, now, now_ms)

    def ask_rebirth(self, node: Source, now: float, now_ms: int) -> None:
        """Ask an edge node to tell all that it has; not again within REBIRTH_S."""
        node = Source(node.group, node.node)
        known = self._nodes.setdefault(node, _Node())
        if known.asked is not None and now - known.asked < REBIRTH_S:
            return
        known.asked = now
        metric = Metric(name=REBIRTH, timestamp=now_ms, kind=DataType.BOOLEAN, value=True)
        data = encode(Payload(timestamp=now_ms, metrics=(metric,)), with_kinds=known.says_kinds)
        self._output.append(Publication(topic_of(Verb.NCMD, node), data))

    def command(self, source: Source, name: str, value: object, now_ms: int) -> object:
        """Command a metric of the last birth; returns the value that the source tells when it has obeyed.

        Raises SparkplugError when the source is not there, has no such metric, or the metric cannot have the value.
        """
        node = self._nodes.get(Source(*source[:2]))
        births = None if node is None or source.device not in node.online else node.births.get(source.device)
        if node is None or births is None:
            raise SparkplugError(f"{source} is not there.")
        known = births.names.get(name)
        if known is None:
            raise SparkplugError(f"{source} was born without {name!r}.")
        metric = Metric(None if known.alias is not None else name, known.alias, now_ms, known.kind, value)
        data = encode(Payload(timestamp=now_ms, metrics=(metric,)), with_kinds=node.says_kinds)
        self._output.append(Publication(topic_of(Verb.DCMD if source.device else Verb.NCMD, source), data))
        return decode(encode(Payload(metrics=(metric,)))).metrics[0].value

    def take_output(self) -> list[Publication]:
        """What to publish now."""
        output, self._output = self._output, []
        return output

    def next_timer(self) -> float | None:
        """When `handle_timer` has something to do."""
        return min((until for place in self._waiting if (until := self._nodes[place].until) is not None), default=None)

    def handle_timer(self, now: float, now_ms: int) -> None:
        """Ask for the rebirth of nodes whose missing messages did not come in time."""
        for place in list(self._waiting):
            node = self._nodes[place]
            if node.until is not None and now >= node.until:
                self._give_up(place, node, now, now_ms)

    def _state(self, host_id: str, state: HostState) -> list[Event]:
        if host_id != self._host_id:
            return [HostSeen(host_id, state)]
        if self._announced and self._announces and not state.online:
            assert self._connected_ms is not None
            self._output.append(state_publication(self._host_id, True, self._connected_ms))
        return []

    def _node_birth(self, place: Source, node: _Node, content: Payload, now_ms: int) -> list[Event]:
        number = _sequence(content)
        births = Births(content.metrics)
        bd_seq = next((one.value for one in content.metrics if one.name == BD_SEQ), None)
        events = _deaths(place, node, now_ms) if node.bd_seq is not None and bd_seq != node.bd_seq else []
        self._forget(node)
        self._remember(node, "", births)
        node.bd_seq = bd_seq if isinstance(bd_seq, int) else None
        node.expected = (number + 1) % NUMBERS
        self._stop_waiting(place, node)  # what waits is older than this birth
        return [*events, Born(place, _time(content, now_ms), content.metrics)]

    def _node_death(self, place: Source, node: _Node, content: Payload, now_ms: int) -> list[Event]:
        """A death that belongs to another birth than the last is old: it is left out."""
        bd_seq = next((one.value for one in content.metrics if one.name == BD_SEQ), None)
        if node.bd_seq is not None and bd_seq != node.bd_seq:
            self.dropped += 1
            return []
        events = _deaths(place, node, now_ms)
        self._forget(node)
        self._stop_waiting(place, node)
        del self._nodes[place]
        return events

    def _in_order(
        self, place: Source, node: _Node, topic: Topic, content: Payload, now: float, now_ms: int
    ) -> list[Event]:
        number = _sequence(content)
        if node.expected is None:
            self.dropped += 1
            self.ask_rebirth(place, now, now_ms)
            return []
        if number != node.expected:
            node.waiting[number] = (topic, content)
            if node.until is None:
                node.until = now + self._reorder_s
                self._waiting.add(place)
            if not self._reorder_s:
                self._give_up(place, node, now, now_ms)
            return []
        node.expected = (number + 1) % NUMBERS
        events = self._apply(place, node, topic, content, now, now_ms)
        return events + self._waited(place, node, now, now_ms) if node.until is not None else events

    def _waited(self, place: Source, node: _Node, now: float, now_ms: int) -> list[Event]:
        """Take what waited for the message that came; what still waits has its time anew."""
        events: list[Event] = []
        while node.expected is not None and (found := node.waiting.pop(node.expected, None)) is not None:
            node.expected = (node.expected + 1) % NUMBERS
            events += self._apply(place, node, *found, now, now_ms)
        node.until = now + self._reorder_s if node.waiting else None
        if node.until is None:
            self._waiting.discard(place)
        return events

    def _give_up(self, place: Source, node: _Node, now: float, now_ms: int) -> None:
        self._stop_waiting(place, node)
        node.expected = None
        self.ask_rebirth(place, now, now_ms)

    def _stop_waiting(self, place: Source, node: _Node) -> None:
        self.dropped += len(node.waiting)
        node.waiting.clear()
        node.until = None
        self._waiting.discard(place)

    def _apply(
        self, place: Source, node: _Node, topic: Topic, content: Payload, now: float, now_ms: int
    ) -> list[Event]:
        source, device = topic.source, topic.source.device
        at_ms = _time(content, now_ms)
        if topic.verb is Verb.DBIRTH:
            self._remember(node, device, Births(content.metrics))
            return [Born(source, at_ms, content.metrics)]
        if topic.verb is Verb.DDEATH:
            self._remember(node, device, None)
            if device not in node.online:
                return []
            node.online.discard(device)
            return [Died(source, at_ms)]
        births = node.births.get(device)
        if births is None:
            self.dropped += 1
            self.ask_rebirth(place, now, now_ms)
            return []
        if content.metrics:
            node.says_kinds = bool(content.metrics[0].kind)
        named = tuple(one for metric in content.metrics if (one := births.named(metric)) is not None)
        if len(named) < len(content.metrics):
            self.ask_rebirth(place, now, now_ms)
        return [Told(source, at_ms, named)]

    def _remember(self, node: _Node, device: str, births: Births | None) -> None:
        """Keep what a source was born with, in place of what it had before; None forgets it."""
        known = self._known - (len(node.births[device].names) if device in node.births else 0)
        if births is None:
            node.births.pop(device, None)
        else:
            known += len(births.names)
            if known > self._metrics_max:
                raise SparkplugError(f"There are more than {self._metrics_max} metrics.")
            node.births[device] = births
            node.online.add(device)
        self._known = known

    def _forget(self, node: _Node) -> None:
        for device in list(node.births):
            self._remember(node, device, None)


def _deaths(place: Source, node: _Node, at_ms: int) -> list[Event]:
    """The node and all its devices are gone."""
    gone = sorted(node.online)
    node.online.clear()
    return [Died(Source(place.group, place.node, device), at_ms) for device in gone]


def _sequence(content: Payload) -> int:
    if content.seq is None or content.seq >= NUMBERS:
        raise SparkplugError(f"The sequence number is {content.seq}, not one from 0 to 255.")
    return content.seq


def _time(content: Payload, now_ms: int) -> int:
    return now_ms if content.timestamp is None else content.timestamp
