"""The newest value of every property, in memory, by event time.

A thing's twin keeps its newest row per shape rather than a cell per property: one dict entry a message, and the
cells are worked out when somebody asks. 100,000 things of four properties take about 100 MB.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from taihu.things.batch import ROW_BITS, Batch
from taihu.things.deletion import Deletion
from taihu.things.ports import Reading
from taihu.things.property import Quality
from taihu.twin.presence import Presence

_ROWS_MAX = 32
_ROWS_BEHIND_MAX = 8_192
_BYTES_BEHIND_MAX = 4_194_304
_NEVER = -(2**63)
_QUALITIES = (Quality.GOOD, Quality.STAMPED, Quality.SUSPECT, Quality.SUSPECT)  # by FLAG_*


Expired = Callable[[str, str], Callable[[str, int], bool] | None]
"""For a project and thing: whether a property's reading of a time has expired; None where none ever does."""


class NewestRow(msgspec.Struct, array_like=True, gc=False):
    """The newest row of one shape of one thing."""

    observed_at: int
    received_at: int
    seq: int
    flags: int
    values: tuple[Any, ...]

    @property
    def quality(self) -> Quality:
        """How far its values can be trusted."""
        return _QUALITIES[self.flags & 3]


Cell = tuple[str, Any, NewestRow]
"""A property, its newest value, and the row that brought it."""


class Desired(msgspec.Struct, array_like=True, gc=False):
    """What somebody wants a property to be, since when (UTC ns) and who."""

    value: Any
    at: int
    by: str


class ThingTwin(msgspec.Struct, array_like=True):
    """What is known now of one thing, and what is wanted of it.

    A thing that sends its properties in ever new combinations has ever new shapes: beyond `rows_max` of them each
    property keeps its newest row alone.
    """

    rows: dict[tuple[str, ...], NewestRow]
    presence: Presence
    desired: dict[str, Desired] = {}
    rows_max: int = _ROWS_MAX

    def withdraw(self, thing: str, deletion: Deletion, position: int) -> set[str]:
        """Drop what a deletion of the records up to `position` is of; returns the properties that lost a reading."""
        lost: set[str] = set()
        for names, row in list(self.rows.items()):
            gone = {name for name in names if deletion.covers(thing, name, row.observed_at)}
            if not gone or row.seq >> ROW_BITS > position:
                continue
            lost |= gone
            del self.rows[names]
            left = tuple(name for name in names if name not in gone)
            kept = self.rows.get(left)
            if left and (kept is None or (kept.observed_at, kept.seq) < (row.observed_at, row.seq)):
                values = tuple(value for name, value in zip(names, row.values, strict=True) if name not in gone)
                self.rows[left] = msgspec.structs.replace(row, values=values)
        for name, wish in list(self.desired.items()):
            if deletion.covers(thing, name, wish.at):
                del self.desired[name]
        return lost

    def fold(self) -> None:
        """Keep one row a property, and have room for some shapes more."""
        newest: dict[tuple[str, ...], NewestRow] = {}
        for names, row in self.rows.items():
            for name, value in zip(names, row.values, strict=True):
                kept = newest.get((name,))
                if kept is None or (kept.observed_at, kept.seq) < (row.observed_at, row.seq):
                    newest[name,] = msgspec.structs.replace(row, values=(value,))
        self.rows = newest
        self.rows_max = len(newest) + _ROWS_MAX


class Twin:
    """The twins of all things of all projects; fed with durable batches, in order.

    Batches wait until somebody asks, or some thousand rows have come: of things that send many times meanwhile only
    the newest row is then looked at.
    """

    def __init__(self) -> None:
        self.expired: Expired = lambda project, thing: None
        self._projects: dict[str, dict[str, ThingTwin]] = {}
        self._behind: list[tuple[int, Batch]] = []
        self._rows_behind = 0
        self._bytes_behind = 0
        self.position = 0

    def apply(self, position: int, batch: Batch) -> None:
        """Take over a batch; applying one twice, or an old one again, changes nothing (§5)."""
        self._behind.append((position, batch))
        self._rows_behind += len(batch)
        self._bytes_behind += sum([len(column.data) for column in batch.columns])
        self.position = max(self.position, position)
        if self._rows_behind >= _ROWS_BEHIND_MAX or self._bytes_behind >= _BYTES_BEHIND_MAX:
            self._catch_up()

    def _catch_up(self) -> None:
        """Take over what waits, the last to arrive first: most of what came before is older and passed by."""
        behind, self._behind = self._behind, []
        self._rows_behind = self._bytes_behind = 0
        self._note_presence(behind)
        newest: dict[tuple[str, tuple[str, ...]], dict[str, int]] = {}
        for position, batch in reversed(behind):
            self._take_over(position, batch, newest.setdefault((batch.project, batch.properties), {}))

    def _note_presence(self, behind: list[tuple[int, Batch]]) -> None:
        """Let every thing know once when it was heard last, and at how many times since it was told before."""
        moments: dict[tuple[str, int], tuple[str, ...]] = {}
        for _, batch in behind:
            moment = batch.project, batch.received_at
            names = moments.get(moment)
            moments[moment] = batch.things if names is None else tuple({*names, *batch.things})
        last: dict[str, dict[str, int]] = {}
        times: dict[str, Counter[str]] = {}
        for (project, received_at), names in moments.items():
            last.setdefault(project, {}).update(dict.fromkeys(names, received_at))
            times.setdefault(project, Counter()).update(names)
        for project, heard in last.items():
            things, counts = self._projects.setdefault(project, {}), times[project]
            for name, received_at in heard.items():
                twin = things.get(name)
                if twin is None:
                    twin = things[name] = ThingTwin({}, Presence())
                twin.presence.heard(received_at, counts[name])

    def _take_over(self, position: int, batch: Batch, newest: dict[str, int]) -> None:
        """Put in a batch's newest rows; `newest` has the latest time of each thing whose later rows are in already."""
        things = self._projects[batch.project]
        observed = array("q", batch.observed)
        columns = [column.values() for column in batch.columns]
        properties, received_at, flags = batch.properties, batch.received_at, batch.flags
        numbers = batch.numbers()
        for name, row, at in _newest_rows(batch, observed):
            if at <= newest.get(name, _NEVER):
                continue
            newest[name] = at
            twin, seq = things[name], position << ROW_BITS | numbers[row]
            kept = twin.rows.get(properties)
            if kept is None or at > kept.observed_at or (at == kept.observed_at and seq > kept.seq):
                values = tuple([column[row] for column in columns])
                twin.rows[properties] = NewestRow(at, received_at, seq, flags[row] if flags else 0, values)
                if len(twin.rows) > twin.rows_max:
                    twin.fold()

    def cells(self, project: str, thing: str) -> list[Cell]:
        """The newest value of each property of a thing, without an object for each; empty when nothing was heard."""
        twin = self._of(project, thing)
        if twin is None:
            return []
        cells = [
            (name, value, row)
            for names, row in twin.rows.items()
            for name, value in zip(names, row.values, strict=True)
            if value is not None and value == value  # it was deleted from a record before that was replayed
        ]
        expired = self.expired(project, thing)
        if expired is not None:
            cells = [cell for cell in cells if not expired(cell[0], cell[2].observed_at)]
        return cells if len(twin.rows) == 1 else _newest_cells(cells)

    def newest(self, project: str, thing: str) -> dict[str, Reading]:
        """The newest reading of each property of a thing; empty when nothing was heard."""
        return readings(project, thing, self.cells(project, thing))

    def value(self, project: str, thing: str, name: str) -> Reading | None:
        """The newest reading of one property, or None."""
        twin = self._of(project, thing)
        if twin is None:
            return None
        best: Reading | None = None
        for properties, row in twin.rows.items():
            if name in properties and (best is None or (best.observed_at, best.seq) < (row.observed_at, row.seq)):
                value = row.values[properties.index(name)]
                if value is not None and value == value:
                    best = _reading(project, thing, name, row, value)
        expired = self.expired(project, thing) if best is not None else None
        return None if best is None or (expired is not None and expired(name, best.observed_at)) else best

    def want(self, project: str, thing: str, values: Mapping[str, Any], at: int, by: str) -> None:
        """Note desired values, in the order of their records; None takes a wish back."""
        things = self._projects.setdefault(project, {})
        twin = things.get(thing)
        if twin is None:
            twin = things[thing] = ThingTwin({}, Presence())
        for name, value in values.items():
            if value is None:
                twin.desired.pop(name, None)
            else:
                twin.desired[name] = Desired(value, at, by)

    def desired(self, project: str, thing: str) -> dict[str, Desired]:
        """What is wanted of a thing, by property."""
        twin = self._of(project, thing)
        return dict(twin.desired) if twin else {}

    def presence(self, project: str, thing: str) -> Presence | None:
        """When the thing was heard and how often it reports; None when it never was."""
        twin = self._of(project, thing)
        return twin.presence if twin else None

    def connected(self, project: str, thing: str, change: int) -> None:
        """Count a connection of the thing up (+1) or down (-1)."""
        twin = self._projects.setdefault(project, {}).get(thing)
        if twin is None and change < 0:
            return  # it was removed while it was connected
        if twin is None:
            twin = self._projects[project][thing] = ThingTwin({}, Presence())
        twin.presence.connections = max(0, twin.presence.connections + change)

    def names(self, project: str) -> Iterable[str]:
        """The things of a project that were ever heard."""
        self._catch_up()
        return self._projects.get(project, {}).keys()

    def withdraw(self, deletion: Deletion, position: int) -> Iterator[tuple[str, set[str]]]:
        """Drop what a deletion of the records up to `position` is of, thing by thing.

        Gives each thing looked at and the properties whose newest reading went; `refill` puts back what is newest now.
        """
        self._catch_up()
        things = self._projects.get(deletion.project, {})
        for name in [deletion.thing] if deletion.thing else list(things):
            twin = things.get(name)
            if twin is not None:
                lost = twin.withdraw(name, deletion, position)
                if deletion.removes:
                    del things[name]
                yield name, lost

    def drop_expired(self) -> Iterator[None]:
        """Let go of values that no answer holds any more, thing by thing."""
        for project, name, twin in self.entries():
            expired = self.expired(project, name)
            if expired is None:
                yield
                continue
            for properties, row in list(twin.rows.items()):
                left = [None if expired(each, row.observed_at) else row.values[n] for n, each in enumerate(properties)]
                if all(value is None for value in left):
                    del twin.rows[properties]
                elif None in left:
                    twin.rows[properties] = msgspec.structs.replace(row, values=tuple(left))
            yield

    def forget(self, project: str, thing: str) -> None:
        """Drop a thing's twin."""
        self._catch_up()
        self._projects.get(project, {}).pop(thing, None)

    def refill(self, readings: Iterable[Reading]) -> None:
        """Take over readings from the history, where the twin has none as new."""
        for reading in readings:
            twin = self._of(reading.project, reading.thing)
            known = self.value(reading.project, reading.thing, reading.property)
            if twin is None or (known and (known.observed_at, known.seq) >= (reading.observed_at, reading.seq)):
                continue
            twin.rows[reading.property,] = row_of(reading)

    def entries(self) -> Iterator[tuple[str, str, ThingTwin]]:
        """Every (project, thing, twin), stable while others are updated: for snapshots."""
        self._catch_up()
        for project in list(self._projects):
            for name, twin in list(self._projects[project].items()):
                yield project, name, twin

    def _of(self, project: str, thing: str) -> ThingTwin | None:
        if self._behind:
            self._catch_up()
        return self._projects.get(project, {}).get(thing)

    def restore(self, project: str, thing: str, twin: ThingTwin) -> None:
        """Put back one entry of a snapshot."""
        twin.presence.connections = 0
        self._projects.setdefault(project, {})[thing] = twin


def _newest_rows(batch: Batch, observed: "array[int]") -> Iterable[tuple[str, int, int]]:
    """Each thing with its row of the latest observed_at, and that; of equal times the last that arrived."""
    if len(batch.things) == 1:
        last = len(observed) - 1
        newest = max(observed)
        while observed[last] != newest:
            last -= 1
        return ((batch.things[0], last, newest),)
    if len(batch.things) == len(observed):
        return zip(batch.things, range(len(observed)), observed, strict=True)
    thing_of = array("i", batch.thing_of)
    rows: dict[int, int] = {}
    for row, thing in enumerate(thing_of):
        kept = rows.get(thing)
        if kept is None or observed[kept] <= observed[row]:
            rows[thing] = row
    return [(batch.things[thing], row, observed[row]) for thing, row in rows.items()]


def _newest_cells(cells: list[Cell]) -> list[Cell]:
    """The newest of each property among cells of several rows."""
    newest: dict[str, Cell] = {}
    for cell in cells:
        kept = newest.get(cell[0])
        if kept is None or (kept[2].observed_at, kept[2].seq) < (cell[2].observed_at, cell[2].seq):
            newest[cell[0]] = cell
    return list(newest.values())


def readings(project: str, thing: str, cells: Iterable[Cell]) -> dict[str, Reading]:
    """The readings of a thing's cells, by property."""
    return {name: _reading(project, thing, name, row, value) for name, value, row in cells}


def row_of(reading: Reading) -> NewestRow:
    """A row of one reading alone."""
    flags = _QUALITIES.index(Quality(reading.quality))
    return NewestRow(reading.observed_at, reading.received_at, reading.seq, flags, (reading.value,))


def _reading(project: str, thing: str, name: str, row: NewestRow, value: Any) -> Reading:
    return Reading(
        project=project,
        thing=thing,
        property=name,
        observed_at=row.observed_at,
        received_at=row.received_at,
        value=value,
        quality=row.quality,
        seq=row.seq,
    )
