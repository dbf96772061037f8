"""Long answers page by page: the readings or windows of many series, each page as large as memory is to bear (§6).

A page is worked out from its place alone, so nothing is held between two pages. What comes late, or is deleted, between
two pages is in the answer or not by where it falls.
"""

from typing import NamedTuple

import msgspec
import numpy as np

from taihu.history.calendar import edges, parse_step, parse_zone
from taihu.history.frame import Ints
from taihu.history.history import History, Series
from taihu.history.windows import Windows
from taihu.kernel.limits import Limits

_OPENING = 64  # what it costs to turn to the next series, in rows


class Place(NamedTuple):
    """Where a page begins: a series, the time from or before which it goes on, and how much of it was given.

    `bound` is None at the beginning of a series; of windows it is the index of the next one.
    """

    series: int = 0
    bound: int | None = None
    given: int = 0


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for: properties of things of a project over [start, end), each series by itself.

    `limit` bounds the readings of each series; `every` asks for windows instead.
    """

    project: str
    series: tuple[tuple[str, str], ...]
    start: int
    end: int
    limit: int | None = None
    newest_first: bool = False
    revisions: bool = False
    every: str = ""
    tz: str = "UTC"


class Piece(NamedTuple):
    """A part of one series, told by its index: readings or windows.

    `given` counts those of the series so far, with these; it begins and ends with this piece where they say so.
    """

    series: int
    rows: Series | Windows
    given: int
    begins: bool
    ends: bool


def page(history: History, wanted: Wanted, place: Place) -> tuple[list[Piece], Place | None]:
    """The pieces from `place` on, about `query_page_rows` rows, and where the next page begins; None after the last.

    Raises LimitError when more than `query_rows_max` readings have one time, and what `History.window` raises.
    """
    limits = history.limits
    bounds = _bounds(wanted, limits) if wanted.every else None
    pieces: list[Piece] = []
    room = limits.query_page_rows
    while place.series < len(wanted.series):
        if room <= 0:
            return pieces, place
        if bounds is None:
            found, place = _readings(history, wanted, place, room)
        elif place.bound is None and len(bounds) - 1 <= room:
            found, place = _whole_windows(history, wanted, bounds, place, room)
        else:
            found, place = _windows(history, wanted, bounds, place, room)
        pieces += found
        room -= sum(len(piece.rows) + _OPENING for piece in found)
    return pieces, None


def _readings(history: History, wanted: Wanted, place: Place, room: int) -> tuple[list[Piece], Place]:
    rows, following = _readings_from(history, wanted, place, room)
    piece = Piece(place.series, rows, place.given + len(rows), place.bound is None, following.series > place.series)
    return [piece], following


def _readings_from(history: History, wanted: Wanted, place: Place, room: int) -> tuple[Series, Place]:
    thing, name = wanted.series[place.series]
    low, high = wanted.start, wanted.end
    if place.bound is not None:
        low, high = (low, place.bound) if wanted.newest_first else (place.bound, high)
    left = room if wanted.limit is None else min(room, wanted.limit - place.given)

    def read(low: int, high: int, count: int | None) -> Series:
        return history.read_columns(
            wanted.project,
            thing,
            name,
            low,
            high,
            limit=count,
            revisions=wanted.revisions,
            order="desc" if wanted.newest_first else "asc",
        )

    found = read(low, high, left)
    if len(found) < left or place.given + len(found) == wanted.limit:
        return found, Place(place.series + 1)
    last = int(found.observed[-1])
    whole = int(np.argmax(found.observed == last))
    if whole:  # what has the last time may go on: it begins the next page
        bound = last + 1 if wanted.newest_first else last
        return found.head(whole), Place(place.series, bound, place.given + whole)
    found = read(last, last + 1, None)
    if wanted.limit is not None and place.given + len(found) >= wanted.limit:
        return found, Place(place.series + 1)
    return found, Place(place.series, last if wanted.newest_first else last + 1, place.given + len(found))


def _bounds(wanted: Wanted, limits: Limits) -> Ints:
    return edges(wanted.start, wanted.end, parse_step(wanted.every), parse_zone(wanted.tz), limits.query_rows_max)


def _whole_windows(
    history: History, wanted: Wanted, bounds: Ints, place: Place, room: int
) -> tuple[list[Piece], Place]:
    """All windows of as many series as there is room for: asked for together, which costs a tenth of one by one."""
    count = len(bounds) - 1
    stop = place.series + 1 + (room - count) // (count + _OPENING)
    several = wanted.series[place.series : stop]
    found = {}
    for name in {name for _, name in several}:
        things = [thing for thing, other in several if other == name]
        found[name] = history.window_between(wanted.project, things, name, bounds)
    pieces = [
        Piece(place.series + index, found[name][thing], count, True, True)
        for index, (thing, name) in enumerate(several)
    ]
    return pieces, Place(place.series + len(several))


def _windows(history: History, wanted: Wanted, bounds: Ints, place: Place, room: int) -> tuple[list[Piece], Place]:
    """Some windows of a series that has more than there is room for."""
    thing, name = wanted.series[place.series]
    begin = place.bound or 0
    end = min(begin + room, len(bounds) - 1)
    rows = history.window_between(wanted.project, [thing], name, bounds[begin : end + 1])[thing]
    ends = end == len(bounds) - 1
    piece = Piece(place.series, rows, place.given + len(rows), place.bound is None, ends)
    return [piece], Place(place.series + 1) if ends else Place(place.series, end)
