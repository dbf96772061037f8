"""The newest values of calculated properties, worked out of the twin, and who observes them told when they change."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from taihu.identity.directory import Directory
from taihu.identity.principal import Change, Event
from taihu.kernel.clock import NS_PER_S, Clock
from taihu.kernel.limits import Limits
from taihu.runtime.serving.calculations import Calculations
from taihu.things.batch import Batch
from taihu.things.ports import Reading
from taihu.things.property import Kind, Property, Quality, is_stale
from taihu.things.terms import PLAIN, Nature, Of, Plan, Signal, work_out
from taihu.twin.twin import Cell, Twin, readings, row_of

_TICK_S = 0.1
_BUSY_S = 0.02  # of a tick; what is left then waits for the next
_OF_THINGS = (Event.THING, Event.THING_CHANGED, Event.THING_REMOVED, Event.PROPERTY)
_UNKNOWN: Mapping[str, Property] = {}  # of a thing that is not there
_RANK = (Quality.GOOD, Quality.STAMPED, Quality.SUSPECT)

Thing = tuple[str, str]  # project and name
Publish = Callable[[str, str, Sequence[Reading]], bool]
"""Tells who observes a thing of its new values; whether anybody does."""


class Live:
    """The twin, with what is calculated of it.

    A level has a value while all of its inputs hold; an amount, or a ratio of them, when all of its inputs are
    intervals and the newest of each is of the same time: other amounts have one only over time. The value is as new as
    the newest of its inputs, and as good as the worst. Observers are told at most ten times a second.
    """

    def __init__(self, directory: Directory, twin: Twin, clock: Clock, limits: Limits) -> None:
        self.calculations = Calculations(directory, directory.definitions, limits)
        self.publish: Publish = lambda project, thing, readings: False
        self._directory = directory
        self._twin = twin
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._names: dict[int, tuple[Mapping[str, Property], tuple[str, ...]]] = {}
        self._watched: dict[Thing, frozenset[Thing]] = {}  # what is observed, and the things it is worked out of
        self._needed: dict[Thing, set[Thing]] = {}  # the same the other way round
        self._due: deque[Thing] = deque()
        self._waiting: set[Thing] = set()
        self._timer: asyncio.TimerHandle | None = None
        directory.on_change(self._change_soon)

    def cells(self, project: str, thing: str, definitions: Mapping[str, Property]) -> list[Cell]:
        """The newest value of each property of a thing, and of each that is calculated and has one."""
        cells = self._twin.cells(project, thing)
        calculated = self._calculated(definitions)
        if not calculated:
            return cells
        values = [self.value(project, thing, definitions[name]) for name in calculated]
        worked_out = [(one.property, one.value, row_of(one)) for one in values if one is not None]
        return [cell for cell in cells if cell[0] not in calculated] + worked_out

    def newest(self, project: str, thing: str) -> dict[str, Reading]:
        """As `cells`, as readings by property."""
        definitions = self._directory.definitions(project, thing)
        return readings(project, thing, self.cells(project, thing, _UNKNOWN if definitions is None else definitions))

    def value(self, project: str, thing: str, definition: Property) -> Reading | None:
        """The value of a calculated property now; None while it is missing (§3)."""
        plan = self.calculations.plan(project, thing, definition)
        if plan.lacking or not plan.inputs:
            return None
        readings = self._readings(plan)
        if readings is None or not (plan.nature is Nature.LEVEL or _of_one_time(plan, readings)):
            return None
        values = [float(reading.value) for reading in readings]

        def leaf(term: Any) -> float:
            match term:
                case Of():
                    return values[term.index]
                case Signal() if not term.amount:
                    return float(work_out(term.of, leaf, PLAIN))
            return math.nan

        try:
            value = float(work_out(plan.root, leaf, PLAIN))
        except OverflowError:
            return None
        if not math.isfinite(value):
            return None
        return Reading(
            project=project,
            thing=thing,
            property=definition.name,
            observed_at=max(reading.observed_at for reading in readings),
            received_at=max(reading.received_at for reading in readings),
            value=value,
            quality=max((reading.quality for reading in readings), key=lambda quality: _RANK.index(Quality(quality))),
            seq=max(reading.seq for reading in readings),
        )

    def reading(self, project: str, thing: str, name: str) -> Reading | None:
        """The newest reading of a property that is not calculated."""
        return self._twin.value(project, thing, name)

    def watch(self, project: str, thing: str) -> None:
        """Somebody observes a thing: publish its calculated properties from now on."""
        key = project, thing
        definitions = self._directory.definitions(project, thing)
        if key in self._watched or definitions is None or not self._calculated(definitions):
            return
        self._watched[key] = frozenset()
        self._depend(key)

    def heard(self, batch: Batch) -> None:
        """Readings have come: what is worked out of them is due."""
        if not self._needed:
            return
        for thing in batch.things:
            for key in self._needed.get((batch.project, thing), ()):
                self._let_due(key)

    def _let_due(self, key: Thing) -> None:
        if key not in self._waiting:
            self._waiting.add(key)
            self._due.append(key)
        if self._timer is None:
            self._timer = self._loop.call_later(_TICK_S, self._tick)

    def _tick(self) -> None:
        """Publish what is due, as long as a tick may take."""
        until = self._loop.time() + _BUSY_S
        while self._due and self._loop.time() < until:
            key = self._due.popleft()
            self._waiting.discard(key)
            if not self._tell(*key):
                self._leave(key)
        self._timer = self._loop.call_later(_TICK_S, self._tick) if self._due else None

    def _tell(self, project: str, thing: str) -> bool:
        """Publish the values of a thing; False when there is nobody to hear them."""
        definitions = self._directory.definitions(project, thing) or {}
        self._depend((project, thing))
        found = [self.value(project, thing, definitions[name]) for name in self._calculated(definitions)]
        return self.publish(project, thing, [reading for reading in found if reading is not None])

    def _depend(self, key: Thing) -> None:
        """Note the things that an observed one is worked out of now."""
        definitions = self._directory.definitions(*key) or {}
        plans = [self.calculations.plan(*key, definitions[name]) for name in self._calculated(definitions)]
        needed = frozenset((one.project, one.thing) for plan in plans for one in plan.inputs)
        before = self._watched.get(key, frozenset())
        if needed == before:
            return
        for other in before - needed:
            self._unneed(other, key)
        for other in needed - before:
            self._needed.setdefault(other, set()).add(key)
        self._watched[key] = needed

    def _leave(self, key: Thing) -> None:
        for other in self._watched.pop(key, ()):
            self._unneed(other, key)

    def _unneed(self, other: Thing, key: Thing) -> None:
        keys = self._needed.get(other, set())
        keys.discard(key)
        if not keys:
            self._needed.pop(other, None)

    def _readings(self, plan: Plan) -> list[Reading] | None:
        """The newest reading of every input; None when one is missing or holds no longer."""
        now = self._clock.now_ns()
        readings = []
        for one in plan.inputs:
            reading = self._twin.value(*one.key)
            if reading is None or isinstance(reading.value, str | list | dict):
                return None
            if is_stale(one.definition, (now - reading.observed_at) / NS_PER_S):
                return None
            readings.append(reading)
        return readings

    def _calculated(self, definitions: Mapping[str, Property]) -> tuple[str, ...]:
        """The names of those that are calculated; looked for once in each mapping, which many things share."""
        known = self._names.get(id(definitions))
        if known is None:
            names = tuple(name for name, definition in definitions.items() if definition.formula)
            known = self._names[id(definitions)] = definitions, names
        return known[1]

    def _change_soon(self, change: Change) -> None:
        self._loop.call_soon_threadsafe(self._changed, change)

    def _changed(self, change: Change) -> None:
        """The directory changed: plans are made anew, and who observes hears of what that changes."""
        self._names = {}
        if change.event in _OF_THINGS:
            self.calculations.changed(change.project, change.thing)
        elif change.event in (Event.MODEL, Event.PROJECT_REMOVED):
            self.calculations.forget()
        else:
            return
        for key in self._watched:
            self._let_due(key)


def _of_one_time(plan: Plan, readings: list[Reading]) -> bool:
    """Whether all are intervals of the same [start, end)."""
    lengths = {one.definition.interval_s for one in plan.inputs}
    kinds = {one.definition.kind for one in plan.inputs}
    return kinds == {Kind.INTERVAL} and len(lengths) == 1 and len({reading.observed_at for reading in readings}) == 1
