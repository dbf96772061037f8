"""The embedded journal: segment files in a folder, one write and one sync for each group of records (§4)."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from taihu.journal import format as layout
from taihu.journal.damage import Damage, DamageLog
from taihu.journal.reader import JournalReader
from taihu.journal.scan import Hole, scan
from taihu.kernel.clock import NS_PER_S, Clock
from taihu.kernel.errors import LimitError, LocalError
from taihu.kernel.files import AppendFile, Files
from taihu.things.ports import Record


class SegmentJournal:
    """A journal in `<first position as 20 digits>.seg` files; implements `things.ports.Journal`.

    One thread may commit while another appends and a third reads. One process may write; others use `JournalReader`.

    Failures. When a write fails (disk full), the file is cut back, the records stay buffered, the error is raised and
    the next `commit` tries again. When a sync fails, the system may count pages as clean that never reached the disk,
    so nothing after the last good sync is trusted: the group is written again to a new segment. Every segment's header
    tells the last position before it (`follows`); what the segment before holds beyond that is abandoned, and readers
    stop there whether those bytes are whole, torn or gone.

    Opening looks for the last good record. Damaged bytes after it, torn or flipped, are reported in `damage` and cut
    off in the same way, by a new segment. They may have held records that were durable and read, so the positions they
    can have held at most (bytes / smallest record) are never given out again: after a reported damage positions leap.

    Args:
        files: where the bytes go.
        folder: made when absent.
        segment_bytes: a segment that would grow beyond it is followed by a new one.
        retention_bytes: records that every reader has passed are kept while the whole journal is smaller than this,
        retention_s: and they are younger than this.
        clock: stamps new segments.
        random_bytes: n -> n bytes that nobody who sends payloads can guess.

    Raises:
        NewerFormat: the folder was written by a later version.
        OSError: the folder cannot be read or made durable.
    """

    def __init__(
        self,
        files: Files,
        folder: Path,
        *,
        segment_bytes: int,
        retention_bytes: int,
        retention_s: float,
        clock: Clock,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._files = files
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._retention_bytes = retention_bytes
        self._retention_ns = round(retention_s * NS_PER_S)
        self._clock = clock
        self._random_bytes = random_bytes
        self._log = DamageLog()
        self._reader = JournalReader(files, folder, self._log)
        self._state = Lock()
        self._committing = Lock()
        self._reading = Lock()
        self._segments: list[_Segment] = []
        self._file: AppendFile | None = None
        self._mark = b""
        self._buffer: list[tuple[int, bytes]] = []
        self._durable = 0
        self._next = 1
        files.make_folder(folder)
        self._open()

    @property
    def next_position(self) -> int:
        """The position the next appended record gets."""
        return self._next

    @property
    def durable(self) -> int:
        """The highest position that survives power loss; 0 when empty."""
        return self._durable

    @property
    def damage(self) -> list[Damage]:
        """What was found damaged, on opening or reading."""
        return self._log.found

    def append(self, kind: int, payload: bytes) -> int:
        """Buffer a record of `kind` 0 to 255 and return its position; not durable before `commit` returns.

        Raises LimitError for a payload beyond `RECORD_BYTES_MAX`, LocalError for another kind.
        """
        if not 0 <= kind <= 255:
            raise LocalError(f"a journal record cannot be of kind {kind}:", "use 0 to 255.")
        if len(payload) > layout.RECORD_BYTES_MAX:
            raise LimitError(
                f"a journal record of {len(payload)} bytes is beyond the limit of {layout.RECORD_BYTES_MAX}:",
                "split the batch.",
            )
        with self._state:
            self._buffer.append((kind, payload))
            position = self._next
            self._next += 1
        return position

    def commit(self) -> int:
        """Write and sync all records appended so far; blocks; returns the durable position.

        Raises OSError and keeps the records buffered, in their order: call again.
        """
        with self._committing:
            with self._state:
                group, self._buffer = self._buffer, []
                first = self._next - len(group)
            if group:
                try:
                    self._write(first, group)
                except BaseException:
                    with self._state:
                        self._buffer[:0] = group
                    raise
                self._durable = first + len(group) - 1
            return self._durable

    def read(self, start: int, bytes_max: int = 4_194_304) -> list[Record]:
        """Durable records from position `start` on, at least one if there is one, about `bytes_max` in all.

        A `start` older than what is kept answers from the oldest record kept. Raises OSError, DamagedError.
        """
        with self._reading:
            return self._reader.read(start, self._durable, bytes_max)

    def trim(self, keep_from: int, now_ns: int) -> int:
        """Drop the oldest segments of positions below `keep_from` while over the retention; returns the oldest kept.

        What a reader has not passed is never dropped. Raises OSError.
        """
        while True:
            with self._state:
                if len(self._segments) < 2:
                    return self._segments[0].first if self._segments else self._durable + 1
                oldest, following = self._segments[:2]
                size = sum(segment.size for segment in self._segments)
                age_ns = now_ns - following.created_ns
                within = size <= self._retention_bytes and age_ns <= self._retention_ns
                if within or following.first > keep_from or following.first > self._durable:
                    return oldest.first
            self._files.remove(self._path(oldest.first))
            self._files.sync(self._path(following.first))
            with self._state:
                self._segments.remove(oldest)

    def replace(self, first: int, size: int, draft: Path) -> bool:
        """Put a draft in the place of the segment that starts at `first`, when that still has `size` bytes; else False.

        The draft holds the same positions under another mark, and is synced. The segment in hand is closed for it.
        """
        with self._committing:
            with self._state:
                segment = next((each for each in self._segments if each.first == first), None)
                if segment is None or segment.size != size:
                    return False
                if segment is self._segments[-1]:
                    self._close_file()
            self._files.rename(draft, self._path(first))
            with self._state:
                segment.size = self._files.size(self._path(first))
            return True

    def lag_bytes(self, position: int) -> int:
        """How many durable bytes a reader has before it whose next position is `position`; even within a segment."""
        lag = 0
        end = self._durable + 1
        with self._state:
            for segment in reversed(self._segments):
                if end > segment.first:
                    unread = max(0, end - max(position, segment.first))
                    lag += segment.size * unread // (end - segment.first)
                    end = segment.first
        return lag

    def close(self) -> None:
        """Commit what is buffered and close. Raises OSError when that fails, and is closed all the same."""
        try:
            self.commit()
        finally:
            self._close_file()

    def _open(self) -> None:
        scout = JournalReader(self._files, self._folder, self._log)
        firsts = layout.segment_firsts(self._files.names(self._folder))
        for first in firsts:
            size = self._files.size(self._path(first))
            if first == firsts[-1] and size < layout.HEADER_BYTES:
                self._durable, self._next = first - 1, first
                return
            self._segments.append(_Segment(first, size, scout.header(first).created_ns))
        if self._segments:
            self._open_last(scout.header(firsts[-1]))

    def _open_last(self, header: layout.Header) -> None:
        path, position, last = self._path(header.first), header.first, header.follows
        hole: Hole | None = None
        for piece in scan(self._files, path, header.mark, layout.HEADER_BYTES, position):
            if isinstance(piece, Hole):
                hole = piece
                continue
            if hole:
                self._report(path, hole, position, piece.first)
                hole = None
            position, last = piece.next_position, piece.next_position - 1
        self._files.sync(path)
        self._durable, self._next = last, position
        if hole:
            self._next += layout.records_max(hole.end - hole.offset)
            self._report(path, hole, position, self._next)
        if not self._log.knows(path.name):
            self._mark = header.mark
            self._file = self._files.append(path)

    def _write(self, first: int, group: list[tuple[int, bytes]]) -> None:
        size = sum(len(payload) for _, payload in group)
        full = self._file and self._segments[-1].size > layout.HEADER_BYTES
        if self._file is None or (full and self._segments[-1].size + size > self._segment_bytes):
            self._close_file()
            self._file = self._start_segment(first)
        segment = self._segments[-1]
        data = layout.encode_frames(self._mark, first, group)
        try:
            self._file.write(data)
        except OSError:
            self._cut_back(self._file, segment.size)
            raise
        try:
            self._file.datasync()
        except OSError:
            self._cut_back(self._file, segment.size)
            self._close_file()
            raise
        segment.size += len(data)

    def _cut_back(self, file: AppendFile, size: int) -> None:
        try:
            file.truncate(size)
        except OSError:
            self._close_file()

    def _start_segment(self, first: int) -> AppendFile:
        path = self._path(first)
        self._files.remove(path)  # an earlier attempt at the same position, of which nothing is durable
        header = layout.Header(self._random_bytes(layout.MARK_BYTES), first, self._durable, self._clock.now_ns())
        file = self._files.append(path)
        try:
            file.write(layout.encode_header(header))
            self._files.sync(path)
        except BaseException:
            file.close()
            raise
        with self._state:
            if self._segments and self._segments[-1].first == first:
                self._segments.pop()
            self._segments.append(_Segment(first, layout.HEADER_BYTES, header.created_ns))
        self._mark = header.mark
        return file

    def _close_file(self) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def _path(self, first: int) -> Path:
        return layout.segment_path(self._folder, first)

    def _report(self, path: Path, hole: Hole, first: int, following: int) -> None:
        self._log.report(Damage(path.name, hole.offset, hole.end - hole.offset, first, following))


@dataclass(slots=True)
class _Segment:
    """One segment file: its first position, its size in bytes and when it was made."""

    first: int
    size: int
    created_ns: int
