"""Reads a journal's folder, from the process that writes it or from another."""

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from taihu.journal import format as layout
from taihu.journal.damage import Damage, DamageLog
from taihu.journal.format import Frame, Header
from taihu.journal.scan import Hole, mark_of_first_frame, read_header, scan
from taihu.kernel.files import Files
from taihu.things.ports import Record

_PLACES_MAX = 16


class JournalReader:
    """Sequential reads of the durable part of a journal; never writes.

    It remembers where its last reads ended, so that going on from there costs no search. Not for two threads at once.
    What it finds damaged goes to `damage`, and reading goes on after it. A segment that is written again without what
    was deleted gets another mark, by which a reader knows that it has to look for its place anew.
    """

    def __init__(self, files: Files, folder: Path, log: DamageLog | None = None) -> None:
        self._files = files
        self._folder = folder
        self._log = DamageLog() if log is None else log
        self._firsts: list[int] = []
        self._listed_until = 0
        self._headers: dict[int, Header] = {}
        self._places: dict[int, _Place] = {}

    @property
    def damage(self) -> list[Damage]:
        """What was found damaged so far."""
        return self._log.found

    def read(self, start: int, until: int, bytes_max: int = 4_194_304) -> list[Record]:
        """Records of positions `start` to `until`, at least one if there is one, about `bytes_max` in all.

        `until` must be durable, as the writing process says. A `start` older than what is kept answers from the oldest
        record kept. Raises OSError, NewerFormat, DamagedError.
        """
        found: list[Record] = []
        budget = max(1, bytes_max)
        while start <= until:
            self._list(until)
            if not self._firsts:
                break
            index = max(0, bisect_right(self._firsts, start) - 1)
            try:
                budget = self._read_segment(index, start, until, budget, found)
            except FileNotFoundError:
                if not self._trimmed():
                    raise
            except _Replaced:
                pass  # in the middle of a read: go on in the new file
            else:
                if budget <= 0 or index + 1 == len(self._firsts):
                    break
                start = self._firsts[index + 1]
            if found:
                start = max(start, found[-1].position + 1)
        return found

    def header(self, first: int) -> Header:
        """The header of the segment at `first`, or what can be told of it when it is damaged."""
        if first not in self._headers:
            path = layout.segment_path(self._folder, first)
            header = read_header(self._files, path, first)
            if header is None:
                self._log.report(Damage(path.name, 0, min(layout.HEADER_BYTES, self._files.size(path)), first, first))
                header = Header(mark_of_first_frame(self._files, path), first, first - 1, 0)
            self._headers[first] = header
        return self._headers[first]

    def _list(self, until: int) -> None:
        """Refresh the list of segments when it may lack one that starts by `until`.

        A segment starts beyond what is durable when it is made, so a list is complete up to the `until` it was made
        for. A segment that starts beyond `until` may yet be made anew by the writer: nothing of it is remembered.
        """
        if until > self._listed_until:
            names = self._files.names(self._folder)
            self._firsts = [first for first in layout.segment_firsts(names) if first <= until]
            self._listed_until = until
            self._headers = {first: self._headers[first] for first in self._firsts if first in self._headers}

    def _trimmed(self) -> bool:
        """After a file was found missing: whether the list of segments has changed."""
        known, until = self._firsts, self._listed_until
        self._listed_until = 0
        self._list(until)
        return self._firsts != known

    def _read_segment(self, index: int, start: int, until: int, budget: int, found: list[Record]) -> int:
        """Add the segment's records of `start` to `until` to `found`; returns what is left of `budget` bytes."""
        first = self._firsts[index]
        self._renew(first)
        last = until
        if index + 1 < len(self._firsts):
            last = min(until, self.header(self._firsts[index + 1]).follows)
        for frame in self._frames(first, start, last):
            for record in layout.decode_records(frame):
                if record.position > last or budget <= 0:
                    break
                if record.position >= start:
                    found.append(record)
                    budget -= len(record.payload) + layout.RECORD_HEADER_BYTES
            if frame.next_position > last or budget <= 0:
                self._remember(first, frame, found)
                break
        return budget

    def _frames(self, first: int, start: int, last: int) -> Iterator[Frame]:
        """The good frames of one segment from the one with `start` to the one with `last`; reports what is damaged."""
        if start > last:
            return
        path = layout.segment_path(self._folder, first)
        place = self._places.get(start)
        if place is None or place.segment != first:
            place = _Place(first, layout.HEADER_BYTES, first)
        position = place.position
        hole = Hole(place.offset, place.offset)
        for piece in scan(self._files, path, self.header(first).mark, place.offset, position):
            if isinstance(piece, Hole):
                if self._renew(first):
                    raise _Replaced
                hole = piece
                continue
            if piece.first > last:
                break
            if piece.first > position:
                self._log.report(Damage(path.name, hole.offset, hole.end - hole.offset, position, piece.first))
            yield piece
            position = piece.next_position
            hole = Hole(piece.end, piece.end)
            if position > last:
                return
        self._log.report(Damage(path.name, hole.offset, hole.end - hole.offset, position, last + 1))

    def _renew(self, first: int) -> bool:
        """See whether a segment was replaced since it was read last; what is remembered of its places is then void."""
        known = self._headers.get(first)
        found = read_header(self._files, layout.segment_path(self._folder, first), first)
        if known is None or found is None or found.mark == known.mark:
            return False
        self._headers[first] = found
        self._places = {position: place for position, place in self._places.items() if place.segment != first}
        return True

    def _remember(self, segment: int, frame: Frame, found: list[Record]) -> None:
        if not found:
            return
        position = found[-1].position + 1
        if position == frame.next_position:
            self._places[position] = _Place(segment, frame.end, position)
        else:
            self._places[position] = _Place(segment, frame.offset, frame.first)
        if len(self._places) > _PLACES_MAX:
            del self._places[next(iter(self._places))]


class _Replaced(Exception):
    """The segment was written again while it was read."""


class _Place(NamedTuple):
    """Where in a segment the frame lies that starts at `position`."""

    segment: int
    offset: int
    position: int
