"""A meter's electricity rows as columns, week by week: what was read once is kept until a row is added to its week.

Hours are what pages and reports read most, and all but the last of them stay as they are. A week that is appended to or
restated is read again from the ledger, so that a kept one is never another than it.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np

from taihu.kernel.arrays import Flags, Ints, Numbers
from taihu.kernel.clock import DAY_NS

WEEK_NS = 7 * DAY_NS
KEPT_MAX = 2_048  # weeks of one meter each, of 13 kB by the hour
Key = tuple[str, str, int]  # project, meter, week


class Columns(msgspec.Struct, frozen=True):
    """Rows in the order of `start` (UTC ns): where each counts, kWh (NaN is unknown), for how long, how surely.

    `figures` are drawn, given, made, covered by certificates, and the grid's carbon-free share.
    """

    start: Ints
    places: list[tuple[str, str]]
    place: Ints
    figures: Numbers
    known_ns: Numbers
    unsure: Flags


def columns_of(rows: list[tuple[Any, ...]]) -> Columns:
    """Rows (start, role, behind, five figures, known ns, unsure) as columns."""
    start, role, behind, *figures, known_ns, unsure = zip(*rows, strict=True) if rows else [()] * 10
    both = list(zip(role, behind, strict=True))
    places = list(dict.fromkeys(both))
    number = {one: at for at, one in enumerate(places)}
    return Columns(
        start=np.array(start, np.int64),
        places=places,
        place=np.array([number[one] for one in both], np.int64) if len(places) > 1 else np.zeros(len(rows), np.int64),
        figures=np.array(figures, np.float64),
        known_ns=np.array(known_ns, np.float64),
        unsure=np.array(unsure, np.bool_),
    )


def joined(weeks: list[Columns], start: int, end: int) -> Columns:
    """The rows of several weeks that begin in [start, end) (UTC ns)."""
    places = list(dict.fromkeys(one for week in weeks for one in week.places))
    places_of = [np.array([places.index(one) for one in week.places] or [0], np.int64)[week.place] for week in weeks]
    begins = np.concatenate([week.start for week in weeks])
    there = (begins >= start) & (begins < end)
    place = np.concatenate(places_of)[there]
    return Columns(
        start=begins[there],
        places=places,
        place=place,
        figures=np.concatenate([week.figures for week in weeks], axis=1)[:, there],
        known_ns=np.concatenate([week.known_ns for week in weeks])[there],
        unsure=np.concatenate([week.unsure for week in weeks])[there],
    )


class Weeks:
    """Weeks that were read: at most `KEPT_MAX`, the one that was not asked for longest goes first."""

    def __init__(self) -> None:
        self._kept: dict[Key, Columns] = {}
        self.changes = 0

    def get(self, key: Key) -> Columns | None:
        """A week as it was read, if it still is so."""
        found = self._kept.pop(key, None)
        if found is not None:
            self._kept[key] = found
        return found

    def keep(self, key: Key, week: Columns, changes: int) -> None:
        """Keep a week that was read when there were so many `changes`; one that was changed meanwhile is not kept."""
        if changes != self.changes:
            return
        self._kept[key] = week
        while len(self._kept) > KEPT_MAX:
            del self._kept[next(iter(self._kept))]

    def changed(self, keys: Iterable[Key]) -> None:
        """Rows were added to these weeks."""
        self.changes += 1
        for key in set(keys):
            self._kept.pop(key, None)

    def forget(self, project: str) -> None:
        """A project was deleted."""
        self.changed([key for key in list(self._kept) if key[0] == project])
