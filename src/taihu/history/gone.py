"""What no query sees and no file may keep: rows that were deleted or have outlived their retention.

Every reader of the files, ours and those of SQL, applies it in the one form made here: a condition on a file's system
columns. Rows in the head are taken out of it instead, so that no flush can write them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from taihu.history.frame import Frame, Mask
from taihu.history.layout import SYSTEM_COLUMNS, check_column, present_expression
from taihu.things.batch import ROW_BITS
from taihu.things.deletion import TIME_MAX, TIME_MIN

EVERY_THING = -1
EVERY_RECORD = TIME_MAX

Ranges = tuple[tuple[int, int], ...]  # of things, both ends in


@dataclass(frozen=True, slots=True)
class Gone:
    """Rows observed in [start, end) of one project's readings, or of its windows of one `step`.

    An empty `property` says all, else only that property of the rows is gone; EVERY_THING says all things. Rows of
    records after `record` stay; a window's record is the file it was first written to. With `ranges` it is only of the
    things in them, or with `outside` only of the others.
    """

    step: str = ""
    thing: int = EVERY_THING
    property: str = ""
    start: int = TIME_MIN
    end: int = TIME_MAX
    record: int = EVERY_RECORD
    ranges: Ranges = ()
    outside: bool = False

    def reaches(self, low: int, high: int, thing_min: int, thing_max: int) -> bool:
        """Whether it can be of rows observed from `low` to `high` of these things."""
        if self.start > high or self.end <= low or (self.thing >= 0 and not thing_min <= self.thing <= thing_max):
            return False
        if self.outside:
            return not any(first <= thing_min and thing_max <= last for first, last in self.ranges)
        return not self.ranges or any(first <= thing_max and last >= thing_min for first, last in self.ranges)

    def covers(self, low: int, high: int) -> bool:
        """Whether it is of every row observed from `low` to `high`, whatever its thing and record."""
        every = self.thing < 0 and self.record == EVERY_RECORD and not self.ranges
        return every and self.start <= low and self.end > high

    def of_one(self, thing: int) -> "Gone | None":
        """The same for one thing alone, in fewer words; None when it is not of it."""
        if not self.ranges:
            return self
        inside = any(first <= thing <= last for first, last in self.ranges)
        return None if inside == self.outside else replace(self, ranges=(), outside=False)

    def of_things(self) -> str:
        """SQL that holds for rows of the things it is of."""
        if self.ranges:
            within = " OR ".join(f"thing BETWEEN {first} AND {last}" for first, last in self.ranges)
            return f"NOT ({within})" if self.outside else f"({within})"
        return "true" if self.thing < 0 else f"thing = {self.thing}"

    def condition(self) -> str:
        """SQL over a file's system columns; it holds for the rows that are gone."""
        things = self.of_things()
        terms = [] if things == "true" else [things]
        if self.start > TIME_MIN:
            terms.append(f"observed_at >= {self.start}")
        if self.end < TIME_MAX:
            terms.append(f"observed_at < {self.end}")
        if self.record < EVERY_RECORD:
            terms.append(f"record <= {self.record}")
        return "(" + (" AND ".join(terms) or "true") + ")"

    def rows(self, frame: Frame) -> Mask:
        """Which rows of a frame are gone, in the same sense."""
        found = (frame.observed >= self.start) & (frame.observed < self.end) & (frame.seq >> ROW_BITS <= self.record)
        if self.thing >= 0:
            found &= frame.thing == self.thing
        if self.ranges:
            within = np.zeros(len(frame), np.bool_)
            for first, last in self.ranges:
                within |= (frame.thing >= first) & (frame.thing <= last)
            found &= ~within if self.outside else within
        return np.asarray(found)


def of_property(gone: Iterable[Gone], name: str) -> tuple[Gone, ...]:
    """Those that concern a property, or the windows of one (a column such as `power/mean`)."""
    base = name.partition("/")[0]
    return tuple(one for one in gone if one.property in ("", base))


def still_there(gone: Sequence[Gone]) -> str:
    """SQL that holds for the rows that none of these takes; empty without any."""
    return "".join(f" AND NOT {one.condition()}" for one in gone)


def visible_rows(gone: Sequence[Gone], forms: Mapping[str, Sequence[str]], files: str = "read_parquet(?)") -> str:
    """SQL to read whole rows from, without what is gone.

    Args:
        gone: what is.
        forms: each property's columns in the files.
        files: SQL that reads them.
    """
    if not gone:
        return files
    columns, present = [], []
    for name, own in forms.items():
        masks = still_there([one for one in gone if one.property == _base(name)])
        present.append(f"({present_expression(own)}{masks})")
        for form in own:
            column = f'"{check_column(form)}"'
            columns.append(f"CASE WHEN true{masks} THEN {column} END AS {column}" if masks else column)
    rows = still_there([one for one in gone if not one.property])
    held = " OR ".join(present) or "true"
    # Column names passed `check_column`; all else are numbers.
    return f"(SELECT {', '.join([*SYSTEM_COLUMNS, *columns])} FROM {files} WHERE ({held}){rows})"  # noqa: S608


def gone_rows(gone: Sequence[Gone], forms: Mapping[str, Sequence[str]]) -> str:
    """SQL that holds for the rows of which something is gone that a file with these columns still has."""
    terms = [one.condition() for one in gone if not one.property]
    for name, own in forms.items():
        conditions = [one.condition() for one in gone if one.property == _base(name)]
        if conditions:
            terms.append(f"({present_expression(own)} AND ({' OR '.join(conditions)}))")
    return " OR ".join(terms) or "false"


def without(frame: Frame, gone: Sequence[Gone]) -> Frame:
    """A frame without what is gone."""
    keep = np.ones(len(frame), np.bool_)
    cells = dict(frame.cells)
    for one in gone:
        rows = one.rows(frame)
        if not one.property:
            keep &= ~rows
        elif one.property in cells and rows.any():
            cells[one.property] = cells[one.property].blank(rows)
            if not cells[one.property].present(len(frame)).any():
                del cells[one.property]
    left = Frame(frame.thing, frame.observed, frame.received, frame.seq, frame.flags, cells)
    if any(one.property for one in gone):
        held = np.zeros(len(frame), np.bool_)
        for part in cells.values():
            held |= part.present(len(frame))
        keep &= held
    return left if keep.all() else left.take(keep)


def _base(name: str) -> str:
    return name.partition("/")[0]
