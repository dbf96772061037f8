"""The edge node as a state machine without I/O: births, changes, deaths, commands, and the wait for a primary host.

The shell takes `will` for its CONNECT and keeps `bd_seq` for the next start, subscribes to `filters`, calls `connected`
once the subscriptions are confirmed, feeds `receive`, and publishes `take_output` after every call. When `receive`
returns HostGone it publishes what is left, closes the connection and connects to its next server. Times are UTC
milliseconds.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from taihu.protocols.sparkplug.births import Births
from taihu.protocols.sparkplug.decode import decode
from taihu.protocols.sparkplug.encode import encode
from taihu.protocols.sparkplug.errors import SparkplugError
from taihu.protocols.sparkplug.kinds import DataType
from taihu.protocols.sparkplug.messages import BD_SEQ, NUMBERS, REBIRTH, Publication, decode_state
from taihu.protocols.sparkplug.payload import Metric, Payload, Template
from taihu.protocols.sparkplug.templates import check_instances, definitions
from taihu.protocols.sparkplug.topics import Source, Verb, check_id, parse_topic, topic_of


class Commanded(NamedTuple):
    """A host wants a metric of the node (no device) or of a device to have a value."""

    device: str
    name: str
    value: Any


class HostGone(NamedTuple):
    """The primary host is gone: this server is to be left."""


Event = Commanded | HostGone


class Edge:
    """An edge node and its devices, over connections to one MQTT server at a time.

    Args:
        group, node: its descriptor, unique in the infrastructure.
        bd_seq: the number of its next connection: 0 for its first, then what `bd_seq` was when it was last kept.
        primary_host: the host that has to be online before anything is told; empty for none.
    """

    def __init__(self, group: str, node: str, bd_seq: int = 0, primary_host: str = "") -> None:
        self.source = Source(check_id(group), check_id(node))
        self.bd_seq = bd_seq % NUMBERS
        """The number of the next connection."""
        self.born = False
        """Whether hosts hear what is told now; until then it is the shell's to keep, and to tell as history."""
        self._primary = primary_host
        self._state_ms: int | None = None  # the time of the newest STATE of the primary host
        self._ready = False
        self._current: int | None = None  # the number of this connection
        self._seq = 0
        self._next_alias = 1
        self._metrics: dict[str, dict[str, Metric]] = {"": {}}
        self._output: list[Publication] = []

    def will(self, now_ms: int) -> Publication:
        """The death certificate to leave in the CONNECT that is sent now. `bd_seq` moves on: keep it."""
        self._current, self.bd_seq = self.bd_seq, (self.bd_seq + 1) % NUMBERS
        self._ready = self.born = False
        return self._death(now_ms)

    def filters(self) -> list[tuple[str, int]]:
        """What to subscribe to, and at which QoS."""
        commands = [topic_of(Verb.NCMD, self.source), topic_of(Verb.DCMD, self.source) + "/+"]
        states = [topic_of(Verb.STATE, Source("", self._primary))] if self._primary else []
        return [(one, 1) for one in (*commands, *states)]

    def connected(self, now_ms: int) -> None:
        """The subscriptions stand: tell all, unless a primary host is waited for."""
        self._ready = True
        self._state_ms = None
        if not self._primary:
            self._tell_all(now_ms)

    def connection_lost(self) -> None:
        """The connection ended, for whatever reason."""
        self._ready = self.born = False
        self._output.clear()

    def goodbye(self, now_ms: int) -> None:
        """Tell the node's death before the connection is closed on purpose.

        The DISCONNECT that may follow has, in MQTT 5.0, the reason 4, disconnect with will message.
        """
        if self._ready:
            self._output.append(self._death(now_ms))
        self._ready = self.born = False

    def declare(self, device: str, metrics: Sequence[Metric], now_ms: int) -> None:
        """All that a device, or the node itself (""), will ever tell, with what it is now; it is born again if need be.

        Raises SparkplugError when names clash, or a template does not fit.
        """
        if device:
            check_id(device)
        lower = {one.lower() for one in self._metrics if one and one != device}
        if device.lower() in lower:
            raise SparkplugError(f"A device is called {device!r} but for the case of its letters.")
        names = [metric.name or "" for metric in metrics] + ([] if device else [BD_SEQ, REBIRTH])
        if "" in names or len({name.lower() for name in names}) < len(names):
            raise SparkplugError(f"Metrics of {device or 'the node'} have no name, or the same but for case.")
        known = definitions(metrics) if not device else definitions(self._metrics[""].values())
        instances = [one for one in metrics if device or not _defines(one)]
        check_instances(instances, known, whole=True)
        before = self._metrics.get(device, {})
        fresh: dict[str, Metric] = {}
        for metric in metrics:
            name = metric.name or ""
            alias = before[name].alias if name in before else self._new_alias()
            fresh[name] = msgspec.structs.replace(metric, alias=alias)
        self._metrics[device] = fresh
        if self.born:
            self._tell_all(now_ms) if not device else self._birth(device, now_ms)

    def remove(self, device: str, now_ms: int) -> None:
        """A device is not there any more: its death is told."""
        if self._metrics.pop(device, None) is not None and self.born:
            self._publish(Verb.DDEATH, Source(*self.source[:2], device), (), now_ms)

    def tell(self, device: str, values: Sequence[Metric], now_ms: int) -> bool:
        """Tell changes; what is not new is left out. False when nobody could be told: keep it for `tell_history`.

        Raises SparkplugError for a metric that was not declared.
        """
        known = self._metrics[device]
        changed = []
        for value in values:
            old = known.get(value.name or "")
            if old is None:
                raise SparkplugError(f"{value.name!r} of {device or 'the node'} was not declared.")
            if value.value != old.value or value.value is None:
                if isinstance(value.value, Template):
                    check_instances([value], definitions(self._metrics[""].values()), whole=False)
                now = msgspec.structs.replace(old, value=value.value, timestamp=value.timestamp or now_ms)
                if not isinstance(value.value, Template):
                    known[old.name or ""] = now
                changed.append(now)
        if self.born and changed:
            self._data(device, changed, now_ms)
        return self.born

    def tell_history(self, device: str, values: Sequence[Metric], now_ms: int) -> None:
        """Tell what could not be told when it was new, as history; raises SparkplugError before the births."""
        if not self.born:
            raise SparkplugError("Nobody can be told history before the births.")
        known = self._metrics[device]
        told = [
            msgspec.structs.replace(known[one.name or ""], value=one.value, timestamp=one.timestamp, historical=True)
            for one in values
            if one.name in known
        ]
        if told:
            self._data(device, told, now_ms)

    def receive(self, topic: str, payload: bytes, now_ms: int) -> list[Event]:
        """Take a message; raises SparkplugError for one that breaks the standard."""
        verb, source = parse_topic(topic)
        if verb is Verb.STATE:
            return self._host(source.node, payload, now_ms)
        if source[:2] != self.source[:2] or verb not in (Verb.NCMD, Verb.DCMD):
            return []
        metrics = decode(payload).metrics
        if verb is Verb.NCMD and any(one.name == REBIRTH for one in metrics):
            if self.born and any(one.name == REBIRTH and one.value is True for one in metrics):
                self._tell_all(now_ms)
            metrics = tuple(one for one in metrics if one.name != REBIRTH)
        births = Births(self._metrics.get(source.device, {}).values())
        named = [births.named(one) for one in metrics]
        return [Commanded(source.device, one.name or "", one.value) for one in named if one is not None]

    def take_output(self) -> list[Publication]:
        """What to publish now."""
        output, self._output = self._output, []
        return output

    def _host(self, host_id: str, payload: bytes, now_ms: int) -> list[Event]:
        if not self._primary or host_id != self._primary or not self._ready:
            return []
        state = decode_state(payload)
        if self._state_ms is not None and state.timestamp < self._state_ms:
            return []
        self._state_ms = state.timestamp
        if state.online:
            if not self.born:
                self._tell_all(now_ms)
            return []
        if self.born:
            self.goodbye(now_ms)
        return [HostGone()]

    def _tell_all(self, now_ms: int) -> None:
        """The births of the node and of all its devices."""
        self.born = True
        self._seq = 0
        self._birth("", now_ms)
        for device in self._metrics:
            if device:
                self._birth(device, now_ms)

    def _birth(self, device: str, now_ms: int) -> None:
        metrics = [_timed(metric, now_ms) for metric in self._metrics[device].values()]
        if not device:
            metrics = [self._number(now_ms), Metric(REBIRTH, None, now_ms, DataType.BOOLEAN, False), *metrics]
        verb = Verb.DBIRTH if device else Verb.NBIRTH
        self._publish(verb, self._source(device), sorted(metrics, key=_time), now_ms)

    def _data(self, device: str, metrics: Sequence[Metric], now_ms: int) -> None:
        verb = Verb.DDATA if device else Verb.NDATA
        plain = [_by_alias(metric) for metric in sorted(metrics, key=_time)]
        self._publish(verb, self._source(device), plain, now_ms)

    def _publish(self, verb: Verb, source: Source, metrics: Sequence[Metric], now_ms: int) -> None:
        payload = Payload(now_ms, tuple(metrics), self._seq)
        self._seq = (self._seq + 1) % NUMBERS
        births = verb in (Verb.NBIRTH, Verb.DBIRTH)
        self._output.append(Publication(topic_of(verb, source), encode(payload, with_kinds=births)))

    def _death(self, now_ms: int) -> Publication:
        data = encode(Payload(now_ms, (self._number(now_ms),)))
        return Publication(topic_of(Verb.NDEATH, self.source), data, qos=1)

    def _number(self, now_ms: int) -> Metric:
        return Metric(BD_SEQ, None, now_ms, DataType.INT64, self._current)

    def _source(self, device: str) -> Source:
        return Source(*self.source[:2], device)

    def _new_alias(self) -> int:
        self._next_alias += 1
        return self._next_alias - 1


def _defines(metric: Metric) -> bool:
    return isinstance(metric.value, Template) and metric.value.definition


def _timed(metric: Metric, now_ms: int) -> Metric:
    return metric if metric.timestamp is not None else msgspec.structs.replace(metric, timestamp=now_ms)


def _time(metric: Metric) -> int:
    return metric.timestamp or 0


def _by_alias(metric: Metric) -> Metric:
    """A change: its alias says which metric it is, its birth the rest."""
    return msgspec.structs.replace(metric, name=None, properties=None, metadata=None)
