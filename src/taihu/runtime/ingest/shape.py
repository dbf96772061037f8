"""Rows of one shape as they come in, and the batches they become when their group closes."""

import logging
from array import array
from collections.abc import Callable
from typing import Any, Protocol

from taihu.kernel.limits import Limits
from taihu.kernel.retention import FOREVER, age_text
from taihu.runtime.ingest.quarantine import Refused
from taihu.runtime.ingest.rows import columns_of, row_maker
from taihu.things.batch import FLAG_STAMPED, FLAG_SUSPECT, ROWS_MAX, Batch, Column
from taihu.things.mapping.errors import PayloadError
from taihu.things.mapping.times import parse_time
from taihu.things.property import Property
from taihu.things.validate import check_times, pack_column

log = logging.getLogger("taihu.intake")

_CELLS_MAX = 1 << 22  # of a batch: 32 MB of numbers, well within a journal record
DEFECT = "it met a defect of this node; see its log"
_MS_LOW, _MS_HIGH = 10**11, 2**63 // 10**6

Stamp = Callable[[int, int], int]


class Origin(Protocol):
    """Where a row comes from."""

    thing: Any

    def refuse(self, where: str, reason: str) -> None:
        """A value of the row, or all of it, was refused."""
        ...

    def lose_row(self) -> None:
        """Nothing of the row is kept."""
        ...


Refuse = Callable[[Refused], None]


class Shape:
    """Rows of things that share a project, model, mapping and definitions; `ages` is how old each value may be (ns).

    `time_index` says where a row has its time as the device wrote it; None that it has none; -1 that it comes last, in
    nanoseconds or None. What has its time last gathers in `columns`, anything else in `rows`, of what `row` makes.
    `flag` is what all rows are marked with.
    """

    __slots__ = (
        "age_min", "ages", "columns", "definitions", "earliest", "flag", "mapping", "model", "names", "of", "project",
        "row", "rows", "time_index",
    )  # fmt: skip

    def __init__(
        self,
        project: str,
        model: str,
        mapping: str,
        definitions: tuple[Property, ...],
        time_index: int | None,
        earliest: int,
        ages: tuple[int, ...],
        flag: int = 0,
    ) -> None:
        self.project = project
        self.model = model
        self.mapping = mapping
        self.definitions = definitions
        self.names = tuple(definition.name for definition in definitions)
        self.time_index = time_index
        self.row = row_maker(self.width)
        self.earliest = earliest
        self.ages = ages
        self.flag = flag
        self.age_min = min(ages, default=FOREVER)
        self.rows: list[Any] = []
        self.columns: list[list[Any]] = self._empty()
        self.of: list[Origin] = []

    @property
    def width(self) -> int:
        """How many values a row has, its time included."""
        return len(self.names) + (self.time_index is not None)

    def close(self, now: int, stamp: Stamp, limits: Limits, refuse: Refuse) -> list[Batch]:
        """The batches of the rows gathered, checked; the shape is empty again."""
        rows, columns, of = self.rows, self.columns, self.of
        self.rows, self.columns, self.of = [], self._empty(), []
        if rows:
            columns = columns_of(rows, self.width)
        batches: list[Batch] = []
        step = min(ROWS_MAX, _CELLS_MAX // len(self.names))
        for start in range(0, len(of), step):
            part, origins, cells = _Part(self, now, refuse), of, columns
            if len(of) > step:
                origins, cells = of[start : start + step], [column[start : start + step] for column in columns]
            try:
                batches += part.close(cells, origins, stamp, limits)
            except Exception:  # one shape must not take the group of all senders with it
                log.exception("rows of %s %s met a defect", self.project, self.names)
                for origin in origins:
                    part.tell(origin, "", DEFECT)
                    origin.lose_row()
        return batches

    def _empty(self) -> list[list[Any]]:
        return [[] for _ in range(self.width)]


class _Part:
    """One closing of a shape: the places where rows, cells and times may be refused, in one sitting."""

    def __init__(self, shape: Shape, now: int, refuse: Refuse) -> None:
        self.shape = shape
        self.now = now
        self._refuse = refuse

    def close(self, columns: list[list[Any]], of: list[Origin], stamp: Stamp, limits: Limits) -> list[Batch]:
        """The batches of what is not refused of these rows; `of` says where each came from."""
        observed, flags, bad = self._times(columns, len(of), stamp)
        edges = observed if self.shape.time_index is not None else (observed[0], observed[-1])
        if check_times(edges, self.now, self.shape.earliest, limits):
            bad += check_times(observed, self.now, self.shape.earliest, limits)
        if bad:
            for row, reason in bad:
                self.tell(of[row], "", reason)
                of[row].lose_row()
            keep = sorted(set(range(len(of))) - {row for row, _ in bad})
            columns = [[column[row] for row in keep] for column in columns]
            observed = array("q", [observed[row] for row in keep])
            of = [of[row] for row in keep]
            flags = bytes(flags[row] for row in keep) if flags else b""
        if self.shape.age_min < FOREVER and of and min(observed) < self.now - self.shape.age_min:
            self._refuse_expired(columns, observed, of)
        if self.shape.flag:
            flags = bytes(mark | self.shape.flag for mark in flags or bytes(len(of)))
        return self._pack(columns, observed, flags, of) if of else []

    def _refuse_expired(self, columns: list[list[Any]], observed: "array[int]", of: list[Origin]) -> None:
        """Take out values that are older than they would be kept; a late reading brings nothing back (§5)."""
        for definition, column, age in zip(self.shape.definitions, columns, self.shape.ages, strict=True):
            for row, moment in enumerate(observed):
                if moment < self.now - age and column[row] is not None:
                    self.tell(of[row], definition.name, f"observed before what is kept: readings of {age_text(age)}")
                    column[row] = None

    def _times(
        self, columns: list[list[Any]], count: int, stamp: Stamp
    ) -> tuple["array[int]", bytes, list[tuple[int, str]]]:
        """`observed_at` of each row and its flags; takes the time column out of `columns`."""
        index = self.shape.time_index
        if index is None:
            first = stamp(count, self.now)
            return array("q", list(range(first, first + count))), bytes([FLAG_STAMPED]) * count, []
        given = columns.pop(index)
        if index >= 0 and set(map(type, given)) == {int} and min(given) >= _MS_LOW and max(given) < _MS_HIGH:
            return array("q", [moment * 1_000_000 for moment in given]), b"", []
        if index < 0 and None not in given:
            return array("q", given), b"", []
        observed: list[int] = []
        flags = bytearray(count)
        bad: list[tuple[int, str]] = []
        for row, moment in enumerate(given):
            if moment is None:
                observed.append(stamp(1, self.now))
                flags[row] = FLAG_STAMPED
                continue
            try:
                observed.append(moment if index < 0 else parse_time(moment))
            except PayloadError as error:
                observed.append(self.now)
                bad.append((row, str(error)))
        return array("q", observed), bytes(flags) if any(flags) else b"", bad

    def _pack(self, columns: list[list[Any]], observed: "array[int]", flags: bytes, of: list[Origin]) -> list[Batch]:
        """One batch when every cell is good; otherwise bad and suspect cells are parted from their rows."""
        packed = []
        faulty: set[int] = set()
        for definition, column in zip(self.shape.definitions, columns, strict=True):
            result = pack_column(definition, column)
            packed.append(result)
            for row, reason in result.refused:
                faulty.add(row)
                if column[row] is not None:
                    self.tell(of[row], definition.name, reason)
            faulty.update(row for row, _ in result.suspect)
        if not faulty:
            return [
                self._batch(
                    self.shape.names,
                    [origin.thing for origin in of],
                    observed,
                    flags,
                    [result.column for result in packed],
                )
            ]
        for row in set.intersection(*({row for row, _ in result.refused} for result in packed)):
            of[row].lose_row()
        good = [row for row in range(len(of)) if row not in faulty]
        batches = []
        if good:
            cells = [
                pack_column(definition, [column[row] for row in good]).column
                for definition, column in zip(self.shape.definitions, columns, strict=True)
            ]
            batches.append(self._batch(self.shape.names, *_rows_of(good, of, observed, flags), cells))
        for place, (definition, result) in enumerate(zip(self.shape.definitions, packed, strict=True)):
            refused = {row for row, _ in result.refused}
            suspect = {row for row, _ in result.suspect}
            for rows, flag in (
                (sorted(faulty - refused - suspect), 0),
                (sorted(suspect), FLAG_SUSPECT),
            ):
                if rows:
                    cell = pack_column(definition, [columns[place][row] for row in rows]).column
                    names, moments, marks = _rows_of(rows, of, observed, flags)
                    marks = bytes(mark | flag for mark in marks or bytes(len(rows)))
                    batches.append(self._batch((definition.name,), names, moments, marks, [cell]))
        return batches

    def _batch(
        self, names: tuple[str, ...], of: list[str], observed: "array[int]", flags: bytes, columns: list[Column]
    ) -> Batch:
        things = dict.fromkeys(of)
        thing_of = b""
        if len(things) > 1:
            order = list(range(len(of)))
            if len(things) < len(of):
                place = {thing: index for index, thing in enumerate(things)}
                order = [place[thing] for thing in of]
            thing_of = array("i", order).tobytes()
        return Batch(
            project=self.shape.project,
            model=self.shape.model,
            properties=names,
            things=tuple(things),
            thing_of=thing_of,
            received_at=self.now,
            observed=observed.tobytes(),
            flags=flags,
            columns=tuple(columns),
            mapping=self.shape.mapping,
        )

    def tell(self, origin: Origin, name: str, reason: str) -> None:
        """Say that a value of a row, or all of it, is refused."""
        thing = origin.thing
        origin.refuse(f"{thing}/{name}" if name else thing, reason)
        self._refuse(
            Refused(project=self.shape.project, thing=thing, property=name, reason=reason, received_at=self.now)
        )


def _rows_of(
    rows: list[int], of: list[Origin], observed: "array[int]", flags: bytes
) -> tuple[list[str], "array[int]", bytes]:
    return (
        [of[row].thing for row in rows],
        array("q", [observed[row] for row in rows]),
        bytes(flags[row] for row in rows) if flags else b"",
    )
