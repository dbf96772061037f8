"""How far back the history answers: what is older than its retention is in no answer from the moment it expires.

A floor follows the clock: it is now less the age that a rule allows. Which things a rule is of is worked out anew only
when definitions, settings or things change.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from taihu.history.catalog import ROLLUP, Catalog
from taihu.history.gone import EVERY_THING, Gone, Ranges
from taihu.history.manifest import Rolled, Table
from taihu.history.rollup import STEPS_NS
from taihu.history.tombstones import stands_until
from taihu.kernel.retention import FOREVER, STEPS, Ages, Retention, ages_of
from taihu.things.deletion import TIME_MAX, TIME_MIN
from taihu.things.property import Property

Definitions = Callable[[str, str], Mapping[str, Property]]
Holds = Mapping[str, int]
"""By property the time from which on its readings are still to be rolled up, expired or not."""


class Rules(Protocol):
    """Who knows how long things are kept, beside their definitions."""

    @property
    def version(self) -> int:
        """Another number after each change of rules or definitions."""
        ...

    def defaults(self, project: str) -> Sequence[Retention]:
        """The rules of a project and of the site, in the order they count."""
        ...


class NoRules:
    """Keeps all forever that no definition lets expire."""

    version = 0

    def defaults(self, project: str) -> Sequence[Retention]:
        """None."""
        return ()


@dataclass(frozen=True, slots=True)
class Kept:
    """The rules of one project: what holds for all things, and by property the things that have another."""

    default: Ages
    own: Mapping[str, Mapping[Ages, Ranges]]

    @property
    def forever(self) -> bool:
        """Whether nothing ever expires."""
        return self.default[0] == FOREVER and all(ages[0] == FOREVER for others in self.own.values() for ages in others)

    def of(self, name: str, thing: int) -> Ages:
        """The ages of a thing's property."""
        for ages, ranges in self.own.get(name, {}).items():
            place = bisect_right(ranges, (thing, TIME_MAX)) - 1
            if place >= 0 and ranges[place][1] >= thing:
                return ages
        return self.default


class Floors:
    """The floors of one store. Calls may come from any thread."""

    def __init__(self, catalog: Catalog, definitions: Definitions, rules: Rules) -> None:
        self._catalog = catalog
        self._definitions = definitions
        self.rules = rules
        self._kept: dict[str, tuple[tuple[int, int], Kept]] = {}

    def kept(self, project: str) -> Kept:
        """A project's rules."""
        names = self._catalog.names(project)
        state = (self.rules.version, len(names))
        known = self._kept.get(project)
        if known is None or known[0] != state:
            known = self._kept[project] = (state, self._work_out(project, list(names)))
        return known[1]

    def ages(self, project: str, definition: Property) -> Ages:
        """The ages that a definition comes to in a project."""
        return ages_of(definition.retention, *self.rules.defaults(project))

    def gone(self, table: Table, now_ns: int, holds: Holds | None = None) -> tuple[Gone, ...]:
        """What of a table's rows has expired.

        Args:
            table: of readings, or of a rollup.
            now_ns: the time.
            holds: what has not been rolled up yet; it stays where it is although no query sees it.
        """
        kept = self.kept(table.project)
        if kept.forever:
            return ()
        step = step_of(table)
        place = STEPS.index(step)
        if not kept.own and not holds:
            age = kept.default[place]
            return () if age >= FOREVER else (Gone(step, end=now_ns - age),)
        found: dict[str, list[Gone]] = {}
        for name in dict.fromkeys(column.partition("/")[0] for column in table.columns):
            until = holds.get(name, TIME_MAX) if holds and not step else TIME_MAX
            found[name] = [
                Gone(step, EVERY_THING, name, end=min(now_ns - age, until), ranges=ranges, outside=outside)
                for age, ranges, outside in _entries(kept, name, place)
            ]
        alike = {tuple((one.end, one.ranges, one.outside) for one in own) for own in found.values()}
        if len(alike) == 1:  # all of a row expires at once
            return tuple(
                Gone(step, EVERY_THING, "", end=end, ranges=ranges, outside=outside)
                for end, ranges, outside in alike.pop()
            )
        return tuple(one for own in found.values() for one in own)

    def slack(self, age: int) -> int:
        """How much later than it expires a reading may leave its file, so that a file is not written for each."""
        return max(age // 8, STEPS_NS["1h"])

    def raw_floor(self, project: str, name: str, thing: int | None, now_ns: int) -> int:
        """Where the readings of a property begin, TIME_MIN when they never expire.

        Of what keeps least, where no thing is named or no property.
        """
        kept = self.kept(project)
        names = (name,) if name else ("", *kept.own)
        if thing is not None:
            ages = min(kept.of(each, thing)[0] for each in names)
        else:
            ages = min(one[0] for each in names for one in (kept.default, *kept.own.get(each, ())))
        return TIME_MIN if ages >= FOREVER else now_ns - ages

    def stands(self, rolled: Rolled, thing: int | None, now_ns: int) -> int:
        """The end of the windows that stand as they are, for some of their readings have expired (§5); TIME_MIN."""
        floor = self.raw_floor(rolled.project, rolled.property, thing, now_ns)
        return stands_until(None if floor == TIME_MIN else floor, rolled.reach_ns, STEPS_NS[rolled.step])

    def _work_out(self, project: str, names: Sequence[str]) -> Kept:
        default = ages_of(*self.rules.defaults(project))
        alike: dict[int, tuple[Mapping[str, Property], list[int]]] = {}
        for number, name in enumerate(names):
            definitions = self._definitions(project, name)
            alike.setdefault(id(definitions), (definitions, []))[1].append(number)
        own: dict[str, dict[Ages, list[int]]] = {}
        for definitions, things in alike.values():
            for name, definition in definitions.items():
                ages = default if definition.retention is None else self.ages(project, definition)
                if ages != default:
                    own.setdefault(name, {}).setdefault(ages, []).extend(things)
        return Kept(default, {name: {ages: runs(sorted(t)) for ages, t in rest.items()} for name, rest in own.items()})


def step_of(table: Table) -> str:
    """The step of a rollup's table; empty for one of readings."""
    return table.model.removeprefix(ROLLUP) if table.model.startswith(ROLLUP) else ""


def runs(numbers: Sequence[int]) -> Ranges:
    """Rising numbers as ranges, both ends in.

    >>> runs([1, 2, 3, 7])
    ((1, 3), (7, 7))
    """
    values = np.array(numbers, np.int64)
    breaks = np.flatnonzero(np.diff(values) > 1) + 1
    return tuple((int(part[0]), int(part[-1])) for part in np.split(values, breaks) if len(part))


def _entries(kept: Kept, name: str, place: int) -> Iterable[tuple[int, Ranges, bool]]:
    """The ages of one property at one place of STEPS: of which things, or of all but which."""
    others = kept.own.get(name, {})
    if kept.default[place] < FOREVER:
        own = tuple(sorted(each for ranges in others.values() for each in ranges))
        yield kept.default[place], own, True
    for ages, ranges in others.items():
        if ages[place] < FOREVER:
            yield ages[place], ranges, False
