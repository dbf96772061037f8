"""Windows of many things: from rollups as far as they reach, from readings beyond; and the steps that make rollups."""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from taihu.history import rollup
from taihu.history.catalog import ROLLUP
from taihu.history.floors import Definitions
from taihu.history.frame import Cells, Frame, Ints, concat
from taihu.history.manifest import Rolled, RolledKey
from taihu.history.scan import Scan, fetch_edge, fetch_rows, fetch_values, things_between
from taihu.history.store import Store
from taihu.history.windowing import by_thing, context_ns, join, needs_prior, roll
from taihu.history.windows import Windows, merge
from taihu.kernel.clock import MINUTE_NS, Clock
from taihu.kernel.errors import LimitError
from taihu.kernel.limits import Limits
from taihu.kernel.retention import FOREVER, STEPS, Ages
from taihu.things.deletion import TIME_MAX, TIME_MIN
from taihu.things.property import Property, Swap

Swaps = Callable[[str, str, str], Sequence[Swap]]
_EVER_S = 1e9  # a max_age that no gap outlasts
_LOOK = 8  # chunks whose readings say whether a rollup pays
_SPARSE_CHUNKS = 32  # and how many more must have come before that is asked again
_PRESS_NS = MINUTE_NS  # how often it is looked whether readings soon expire that are not rolled up


class _Group(msgspec.Struct):
    """Things whose property is rolled up by one rule; the ages are what its readings and windows may come to."""

    project: str
    definition: Property
    rule: str
    things: list[str]
    ages: set[Ages]

    def outlived(self, step: str) -> int:
        """The age at which readings expire that windows of a step are to outlive; FOREVER when there are none."""
        place = STEPS.index(step)
        return min((ages[0] for ages in self.ages if ages[place] > ages[0]), default=FOREVER)

    def key(self, step: str) -> RolledKey:
        """The key of its rollup of a step."""
        return (self.project, self.definition.name, self.rule, step)


class WindowQuery:
    """Answers windows and keeps the rollups that make long ranges quick."""

    def __init__(self, store: Store, clock: Clock, limits: Limits, definitions: Definitions, swaps: Swaps) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits
        self._definitions = definitions
        self._swaps = swaps
        self._sparse: dict[tuple[str, str, str, str], int] = {}  # rollups that do not pay: newest time when looked at
        self._idle_at = (-1, 0, 0)  # the checkpoint, number of deletions and time at which there was nothing to roll
        self._groups: tuple[tuple[int, int], list[_Group]] = ((-1, -1), [])
        store.holds = self.holds

    def windows(self, project: str, things: Sequence[str], property_name: str, bounds: Ints) -> dict[str, Windows]:
        """Windows between `bounds` of each thing, by its own definition of the property."""
        groups: dict[tuple[str, Property], list[str]] = {}
        for thing in things:
            definition = self._definition(project, thing, property_name)
            rule = rollup.rule_of(definition, self._swaps(project, thing, property_name))
            groups.setdefault((rule, definition), []).append(thing)
        result: dict[str, Windows] = {}
        for (rule, definition), names in groups.items():
            result |= self._of_group(project, names, definition, rule, bounds)
        return {thing: result[thing] for thing in things}

    def spread(self, project: str, thing: str, property_name: str, bounds: Ints) -> Windows:
        """Windows of a counter whose every increase is shared out evenly over its gap, however long that was."""
        definition = self._definition(project, thing, property_name)
        return self._from_readings(project, [thing], definition, bounds, self._clock.now_ns(), spread=True)[thing]

    def roll_step(self) -> bool:
        """Advance one rollup by one bounded chunk; True when one was."""
        state = (self._store.checkpoint, len(self._store.tombstones), self._clock.now_ns() // _PRESS_NS)
        idle = state[:2] == self._idle_at[:2]
        if state == self._idle_at:
            return False
        for group in self._candidates():
            for step in rollup.STEPS_NS:
                if idle and group.outlived(step) == FOREVER:
                    continue  # nothing but the time has changed
                with self._store.writing():
                    if self._advance(group, step):
                        return True
        self._idle_at = state
        return False

    def holds(self, project: str) -> dict[str, int]:
        """By property the time from which on its readings are still to be rolled up, expired or not."""
        found: dict[str, int] = {}
        for group in self._candidates():
            if group.project != project:
                continue
            for step in rollup.STEPS_NS:
                if group.outlived(step) < FOREVER:
                    rolled = self._store.catalog.rolled.get(group.key(step))
                    since = TIME_MIN if rolled is None else min(rolled.until, *rolled.late.values(), TIME_MAX)
                    since = max(since, TIME_MIN + rolled.reach_ns) - rolled.reach_ns if rolled else since
                    found[group.definition.name] = min(since, found.get(group.definition.name, TIME_MAX))
        return found

    def _of_group(
        self, project: str, things: Sequence[str], definition: Property, rule: str, bounds: Ints
    ) -> dict[str, Windows]:
        now_ns = self._clock.now_ns()
        for step in rollup.coarsest(bounds) if rollup.rolls(definition) else ():
            rolled = self._store.catalog.rolled.get((project, definition.name, rule, step))
            if rolled is None or rolled.until < bounds[1]:
                continue
            result: dict[str, Windows] = {}
            for reach, names in self._by_reach(rolled, things, bounds).items():
                if reach < 1:
                    result |= self._from_readings(project, names, definition, bounds, now_ns)
                    continue
                early = self._stored(project, names, definition, step, bounds[: reach + 1], now_ns)
                if reach < len(bounds) - 1:
                    rest = self._from_readings(project, names, definition, bounds[reach:], now_ns)
                    early = {thing: join(early[thing], rest[thing]) for thing in names}
                result |= early
            return result
        return self._from_readings(project, things, definition, bounds, now_ns)

    def _by_reach(self, rolled: Rolled, things: Sequence[str], bounds: Ints) -> dict[int, list[str]]:
        """The things by how many of the windows between `bounds` the rollup has of them."""
        ids = self._store.catalog.ids(rolled.project)
        waiting = _waiting(self._store, rolled.project, rolled.property, rolled.until + rolled.reach_ns)
        groups: dict[int, list[str]] = {}
        for thing in things:
            number = ids.get(thing, -1)
            until = min(rolled.until, rolled.late.get(number, rolled.until))
            if number in waiting:
                until = min(until, waiting[number] - rolled.reach_ns)
            until = min(max(until, self._store.catalog.stands(rolled, number)), rolled.until)
            groups.setdefault(int(np.searchsorted(bounds, until, side="right")) - 1, []).append(thing)
        return groups

    def _stored(
        self, project: str, things: Sequence[str], definition: Property, step: str, bounds: Ints, now_ns: int
    ) -> dict[str, Windows]:
        ids = self._store.catalog.ids(project)
        wanted = tuple(sorted({ids[thing] for thing in things if thing in ids}))
        names = rollup.field_names(definition)
        scan = Scan(project, names[0], wanted, int(bounds[0]), int(bounds[-1]))
        frame = fetch_rows(self._store, scan, ROLLUP + step, names, self._limits.query_rows_max)
        rows = by_thing(frame)
        result = {}
        for thing in things:
            own = frame.take(rows.get(ids.get(thing, -1), slice(0, 0)))
            result[thing] = merge(rollup.to_windows(definition, step, own), bounds, now_ns)
        return result

    def _from_readings(
        self,
        project: str,
        things: Sequence[str],
        definition: Property,
        bounds: Ints,
        now_ns: int,
        *,
        spread: bool = False,
    ) -> dict[str, Windows]:
        """Windows that are not rolled up yet; those that outlive their readings are of expired ones too."""
        ages = self._store.floors.ages(project, definition)
        steps = rollup.coarsest(bounds) if rollup.rolls(definition) else []
        age = max((ages[STEPS.index(step)] for step in steps), default=ages[0])
        if age <= ages[0]:
            return self._raw(project, things, definition, bounds, now_ns, spread=spread)
        first = int(np.searchsorted(bounds[:-1], now_ns - age))  # windows before that one have expired
        if first == 0:
            return self._raw(project, things, definition, bounds, now_ns, expired=True, spread=spread)
        early = self._raw(project, things, definition, bounds[: first + 1], now_ns, spread=spread)
        if first == len(bounds) - 1:
            return early
        rest = self._raw(project, things, definition, bounds[first:], now_ns, expired=True, spread=spread)
        return {thing: join(early[thing], rest[thing]) for thing in things}

    def _raw(
        self,
        project: str,
        things: Sequence[str],
        definition: Property,
        bounds: Ints,
        now_ns: int,
        *,
        expired: bool = False,
        spread: bool = False,
    ) -> dict[str, Windows]:
        """From readings; in halves where they are too many to hold at once."""
        if not things:
            return {}
        try:
            frame = self.around(project, things, definition, int(bounds[0]), int(bounds[-1]), expired, following=spread)
        except LimitError:
            if len(things) > 1:
                half = len(things) // 2
                first = self._raw(project, things[:half], definition, bounds, now_ns, expired=expired, spread=spread)
                return first | self._raw(
                    project, things[half:], definition, bounds, now_ns, expired=expired, spread=spread
                )
            if len(bounds) <= 2:
                raise
            half = len(bounds) // 2
            early = self._raw(project, things, definition, bounds[: half + 1], now_ns, expired=expired, spread=spread)
            later = self._raw(project, things, definition, bounds[half:], now_ns, expired=expired, spread=spread)
            return {thing: join(early[thing], later[thing]) for thing in things}
        rows, ids, name = by_thing(frame), self._store.catalog.ids(project), definition.name
        cells = frame.cells.get(name, Cells())
        result = {}
        definition = msgspec.structs.replace(definition, max_age_s=_EVER_S) if spread else definition
        for thing in things:
            where = rows.get(ids.get(thing, -1), slice(0, 0))
            swaps = self._swaps(project, thing, name)
            result[thing] = roll(definition, bounds, frame.observed[where], cells.take(where), now_ns, swaps)
        return result

    def around(
        self,
        project: str,
        things: Sequence[str],
        definition: Property,
        start: int,
        end: int,
        expired: bool = False,
        *,
        following: bool = False,
    ) -> Frame:
        """The readings of a range and those around it that windows of the kind need; `following`: the next one, too."""
        before, after = context_ns(definition)
        ids = self._store.catalog.ids(project)
        wanted = tuple(sorted({ids[thing] for thing in things if thing in ids}))
        scan = Scan(
            project, definition.name, wanted, max(start - before, TIME_MIN), min(end + after, TIME_MAX), expired
        )
        frame = fetch_values(self._store, scan, self._limits.query_rows_max)
        if not needs_prior(definition):
            return frame
        early = set(np.unique(frame.thing[frame.observed < start]).tolist())
        priors = [
            fetch_edge(
                self._store, Scan(project, definition.name, (thing,), TIME_MIN, scan.start, expired), 1, newest=True
            )
            for thing in wanted
            if thing not in early
        ]
        late = [
            fetch_edge(
                self._store, Scan(project, definition.name, (thing,), scan.end, TIME_MAX, expired), 1, newest=False
            )
            for thing in (wanted if following else ())
        ]
        frame = concat([*priors, frame, *late])
        return frame.take(np.argsort(frame.thing, kind="stable"))

    def around_each(
        self, project: str, things: Sequence[str], definition: Property, start: int, end: int
    ) -> dict[str, Frame]:
        """As `around`, of each thing by itself."""
        frame, ids = self.around(project, things, definition, start, end), self._store.catalog.ids(project)
        rows = by_thing(frame)
        return {thing: frame.take(rows.get(ids.get(thing, -1), slice(0, 0))) for thing in things}

    def edge(self, project: str, thing: str, name: str, low: int, high: int, count: int, *, newest: bool) -> Frame:
        """The oldest or newest `count` readings of a property in [low, high), in rising order."""
        number = self._store.catalog.ids(project).get(thing)
        return fetch_edge(
            self._store, Scan(project, name, () if number is None else (number,), low, high), count, newest=newest
        )

    def _candidates(self) -> list[_Group]:
        """Every property that is rolled up, by rule."""
        projects = dict.fromkeys(table.project for table in self._store.catalog.tables(rollups=False))
        known = {project: list(self._store.catalog.names(project)) for project in projects}
        state = (self._store.floors.rules.version, sum(map(len, known.values())))
        if self._groups[0] == state and state[0]:
            return self._groups[1]
        groups: dict[tuple[str, str, str], _Group] = {}
        for project, things in known.items():
            for thing in things:
                for name, definition in self._definitions(project, thing).items():
                    if rollup.rolls(definition):
                        rule = rollup.rule_of(definition, self._swaps(project, thing, name))
                        group = groups.setdefault((project, name, rule), _Group(project, definition, rule, [], set()))
                        group.things.append(thing)
                        group.ages.add(self._store.floors.ages(project, definition))
        self._groups = (state, list(groups.values()))
        return self._groups[1]

    def _advance(self, group: _Group, step: str) -> bool:
        """Roll late things again, or else all things one chunk further when the readings in files allow it.

        Windows that outlive their readings are rolled in time, however few those are.
        """
        project, definition = group.project, group.definition
        span = self._store.observed_span(project, definition.name)
        if span is None:
            return False
        now_ns, key = self._clock.now_ns(), group.key(step)
        length, reach = rollup.STEPS_NS[step], max(context_ns(definition))
        rolled = self._store.catalog.rolled.get(key) or Rolled(
            project=project,
            property=definition.name,
            rule=group.rule,
            step=step,
            reach_ns=reach,
            until=span[0] // length * length,
            late={},
        )
        if rolled.late:
            return self._catch_up(rolled, definition)
        chunk, age = rollup.CHUNKS_NS[step], group.outlived(step)
        known = (min(span[1], now_ns) - reach) // length * length
        soon = now_ns - age + max(age // 4, length)
        if rolled.until < min(soon, span[1] + reach):
            known = max(known, min(soon, now_ns - reach) // length * length)
            chunk = max(min(chunk, known - rolled.until), length)
        if known - rolled.until < chunk:
            return False
        if age == FOREVER and span[1] < self._sparse.get(key, TIME_MIN) + _SPARSE_CHUNKS * chunk:
            return False
        looked = min(known, rolled.until + _LOOK * chunk)
        found = things_between(self._store, Scan(project, definition.name, None, rolled.until, looked, expired=True))
        catalog, wanted = self._store.catalog.names(project), set(group.things)
        things = {catalog[thing]: thing for thing in found if catalog[thing] in wanted}
        chunks = (looked - rolled.until) / chunk
        readings = sum(found[thing] for thing in things.values()) / chunks  # in one chunk, on average
        if age == FOREVER and readings * length < rollup.READINGS_MIN * len(things) * chunk:
            self._sparse[key] = span[1]
            return False
        share = -(-int(readings) // rollup.READINGS_MAX) or 1
        end = rolled.until + max(chunk // share // length, 1) * length
        bounds = np.arange(rolled.until, end + 1, length, dtype=np.int64)
        made = self._raw(project, list(things), definition, bounds, now_ns, expired=True)
        frame = rollup.to_frame(definition, {things[thing]: windows for thing, windows in made.items()})
        self._store.add_rollup(msgspec.structs.replace(rolled, until=end), rollup.field_names(definition), frame)
        return True

    def _catch_up(self, rolled: Rolled, definition: Property) -> bool:
        """Roll one thing again from where a late reading took it back to."""
        thing, since = next(iter(rolled.late.items()))
        length, reach = rollup.STEPS_NS[rolled.step], rolled.reach_ns
        scan = Scan(
            rolled.project,
            rolled.property,
            (thing,),
            max(since, TIME_MIN + reach) - reach,
            rolled.until + reach,
            expired=True,
        )
        following = fetch_edge(self._store, scan, 1, newest=False)  # nothing is to be rolled before it
        first = int(following.observed[0]) - reach if len(following) else rolled.until
        start = max(since, first) // length * length
        end = min(start + rollup.CHUNKS_NS[rolled.step], rolled.until)
        late = {other: until for other, until in rolled.late.items() if other != thing}
        frame = None
        if start < end:
            bounds = np.arange(start, end + 1, length, dtype=np.int64)
            name = self._store.catalog.names(rolled.project)[thing]
            made = self._raw(rolled.project, [name], definition, bounds, self._clock.now_ns(), expired=True)
            frame = rollup.to_frame(definition, {thing: made[name]})
        if end < rolled.until:
            late[thing] = end
        self._store.add_rollup(msgspec.structs.replace(rolled, late=late), rollup.field_names(definition), frame)
        return True

    def _definition(self, project: str, thing: str, property_name: str) -> Property:
        found = self._definitions(project, thing).get(property_name)
        return found if found is not None else Property(name=property_name)


def _waiting(store: Store, project: str, property_name: str, before: int) -> dict[int, int]:
    """The things of which the head has a reading of a property from before a time, and the oldest one's time."""
    with store.snapshot(project, property_name) as parts:
        frames = [frame.only(property_name) for part in parts for frame in part.frames]
    oldest: dict[int, int] = {}
    for frame in frames:
        early = frame.take(frame.observed < before)
        things, index = np.unique(early.thing, return_inverse=True)
        first = np.full(len(things), before, np.int64)
        np.minimum.at(first, index, early.observed)
        for thing, observed in zip(things.tolist(), first.tolist(), strict=True):
            oldest[thing] = min(observed, oldest.get(thing, observed))
    return oldest
