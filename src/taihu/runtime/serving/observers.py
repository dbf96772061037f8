"""Who observes a thing over HTTP: each has a bounded queue, and no publisher ever waits for one (§6).

A property's observer is told the newest value, and then every value that is newer by event time (§5); a subscriber to
an event is told each one that arrives.
"""

import asyncio
from array import array
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from taihu.doors.http.wot_ports import Notice
from taihu.kernel.errors import LimitError
from taihu.kernel.limits import Limits
from taihu.runtime.serving.live import Live
from taihu.runtime.serving.notices import Backlog, Queue
from taihu.things.batch import ROW_BITS, Batch
from taihu.things.deletion import Deletion
from taihu.things.ports import Reading
from taihu.things.property import Kind, Property

_TICK_S = 0.1
_TICKS = 10  # a look at every observer takes so many ticks
_NEVER = (-(2**63), 0)
_encode = msgspec.json.Encoder(enc_hook=str).encode

Definitions = Callable[[str, str], Mapping[str, Property] | None]
Newest = Callable[[str, str], Mapping[str, Reading]]


class ObserversFull(LimitError):
    """As many observe as may: end another observation first."""

    code = "observers-full"


class Observer(Queue):
    """One stream of notices about one thing; made by `Observers.open`.

    `names` are the properties and events wanted by name; `properties` and `events` want all of them.
    """

    def __init__(self, topic: "_Topic", limits: Limits, permitted: Callable[[], str]) -> None:
        super().__init__(limits, permitted, lambda: topic.leave(self))
        self.names: set[str] = set()
        self.properties = False
        self.events = False
        self._topic = topic

    def wants(self, name: str, event: bool) -> bool:
        """Whether a notice of that name is for this observer."""
        return (self.events if event else self.properties) or name in self.names

    def begin(self, name: str, after: int | None = None) -> None:
        """Observe one more property or event; `after` is the number of the last notice known of it."""
        self.names.add(name)
        self._topic.replay(self, {name}, after, inclusive=False)

    def begin_all(self, *, events: bool, after: int | None = None) -> None:
        """Observe all properties, or all events."""
        self.properties |= not events
        self.events |= events
        self._topic.replay(self, None, after, inclusive=not events)


class _Topic:
    """One thing that is observed, or was until a moment ago."""

    def __init__(self, hub: "Observers", project: str, thing: str) -> None:
        self.hub = hub
        self.project = project
        self.thing = thing
        self.observers: list[Observer] = []
        self.newest = {reading.property: (reading.observed_at, reading.seq) for reading in self._readings()}
        self.recent = Backlog(hub.limits)  # events, for who comes back
        self.left_at = 0.0

    def replay(self, observer: Observer, names: set[str] | None, after: int | None, *, inclusive: bool) -> None:
        """What who begins to observe is told first: the newest value, or the events since the last it knows of."""
        definitions = self._definitions()
        for reading in self._readings():
            event = _is_event(definitions, reading.property)
            wanted = reading.property in names if names is not None else observer.properties and not event
            known = after is not None and (reading.seq < after or (reading.seq == after and not inclusive))
            if wanted and not event and not known:
                observer.put(_notice(reading.property, reading.value, reading.observed_at, reading.seq, event=False))
        for notice in self.recent.after(after) if after is not None else ():
            if notice.name in names if names is not None else observer.events:
                observer.put(notice)

    def tell(self, position: int, batch: Batch, rows: list[int]) -> None:
        """Hand the rows of this thing to whom they are for."""
        definitions = self._definitions()
        observed = array("q", batch.observed)
        for name, column in zip(batch.properties, batch.columns, strict=True):
            event = _is_event(definitions, name)
            observers = [observer for observer in self.observers if observer.wants(name, event)]
            if not observers and not event:
                continue
            values = column.values()
            for row in rows:
                at = (observed[row], position << ROW_BITS | row)
                if not event:
                    if at <= self.newest.get(name, _NEVER):
                        continue
                    self.newest[name] = at
                notice = _notice(name, values[row], *at, event=event)
                if event:
                    self.recent.put(notice)
                for observer in observers:
                    self.hub.missed += observer.put(notice)

    def publish(self, reading: Reading) -> None:
        """Hand a calculated value to whom it is for, if it is newer."""
        name, at = reading.property, (reading.observed_at, reading.seq)
        if at <= self.newest.get(name, _NEVER):
            return
        self.newest[name] = at
        notice = _notice(name, reading.value, *at, event=False)
        for observer in self.observers:
            if observer.wants(name, event=False):
                self.hub.missed += observer.put(notice)

    def leave(self, observer: Observer) -> None:
        self.observers.remove(observer)
        self.left_at = self.hub.loop.time()
        self.hub.left(self.project)

    def _definitions(self) -> Mapping[str, Property]:
        return self.hub.definitions(self.project, self.thing) or {}

    def _readings(self) -> list[Reading]:
        return list(self.hub.newest(self.project, self.thing).values())


class Observers:
    """All observers of a node."""

    def __init__(self, limits: Limits, definitions: Definitions, newest: Newest, live: Live | None = None) -> None:
        self.limits = limits
        self._live = live
        if live is not None:
            live.publish = self.publish
        self.definitions = definitions
        self.newest = newest
        self.loop = asyncio.get_running_loop()
        self.count = 0
        self.missed = 0
        self._counts = Counter[str]()  # by project
        self._topics: dict[str, dict[str, _Topic]] = {}
        self._ring: deque[Observer] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def open(self, project: str, thing: str, permitted: Callable[[], str]) -> Observer:
        """A new observer of a thing, who wants nothing yet.

        `permitted` says why he may observe no longer, or nothing. Raises ObserversFull.
        """
        if self._counts[project] >= self.limits.observers_per_project_max:
            raise _full("observers_per_project_max")
        if self.count >= self.limits.observers_max:
            raise _full("observers_max")
        topics = self._topics.setdefault(project, {})
        topic = topics.get(thing)
        if topic is None:
            topic = topics[thing] = _Topic(self, project, thing)
        observer = Observer(topic, self.limits, permitted)
        topic.observers.append(observer)
        self._ring.append(observer)
        self.count += 1
        self._counts[project] += 1
        if self._live is not None:
            self._live.watch(project, thing)
        if self._timer is None:
            self._timer = self.loop.call_later(_TICK_S, self._tick)
        return observer

    def left(self, project: str) -> None:
        """An observer of a thing of the project has ended."""
        self.count -= 1
        self._counts[project] -= 1
        if not self._counts[project]:
            del self._counts[project]

    def tell(self, position: int, batch: Batch) -> None:
        """Notify of a durable batch."""
        if self._live is not None:
            self._live.heard(batch)
        topics = self._topics.get(batch.project)
        if not topics:
            return
        watched = {index: topics[name] for index, name in enumerate(batch.things) if name in topics}
        if not watched:
            return
        rows: dict[int, list[int]] = {}
        if batch.thing_of:
            for row, index in enumerate(array("i", batch.thing_of)):
                if index in watched:
                    rows.setdefault(index, []).append(row)
        else:
            rows[0] = list(range(len(batch)))
        for index, found in rows.items():
            watched[index].tell(position, batch, found)

    def publish(self, project: str, thing: str, readings: Sequence[Reading]) -> bool:
        """Notify of values of a thing that were calculated; False when nobody observes it."""
        topic = self._topics.get(project, {}).get(thing)
        if topic is None or not topic.observers:
            return False
        for reading in readings:
            topic.publish(reading)
        return True

    def remove(self, project: str, thing: str) -> None:
        """A thing is there no more: end its observations."""
        topic = self._topics.get(project, {}).get(thing)
        for observer in list(topic.observers) if topic else ():
            observer.end("the thing was removed")

    def withdraw(self, deletion: Deletion) -> None:
        """Forget what waits of readings that are deleted."""
        for topic in list(self._topics.get(deletion.project, {}).values()):
            if not deletion.names(topic.thing):
                continue
            gone = partial(_is_of, deletion, topic.thing)
            topic.recent.drop(gone)
            for observer in topic.observers:
                observer.drop(gone)

    def close(self, reason: str) -> None:
        """End every observation."""
        for observer in list(self._ring):
            observer.end(reason)

    def _tick(self) -> None:
        """Look at some observers, so that all are looked at once a second, and forget whom nobody observes."""
        ring = self._ring
        for _ in range(len(ring) // _TICKS + 1 if ring else 0):
            observer = ring.popleft()
            if not observer.check():
                ring.append(observer)
        now = self.loop.time()
        for project, topics in list(self._topics.items()):
            for thing, topic in list(topics.items()):
                if not topic.observers and now - topic.left_at > self.limits.observer_linger_s:
                    del topics[thing]
            if not topics:
                del self._topics[project]
        self._timer = self.loop.call_later(_TICK_S, self._tick) if self._topics else None


def _full(limit: str) -> ObserversFull:
    return ObserversFull("As many observe as may.", f"End another observation, or raise [limits] {limit}.")


def _is_event(definitions: Mapping[str, Property], name: str) -> bool:
    definition = definitions.get(name)
    return definition is not None and definition.kind is Kind.EVENT


def _is_of(deletion: Deletion, thing: str, notice: Notice) -> bool:
    return deletion.covers(thing, notice.name, notice.observed_at)


def _notice(name: str, value: Any, observed_at: int, seq: int, *, event: bool) -> Notice:
    return Notice(name, _encode(value), observed_at, seq, event)
