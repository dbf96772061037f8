"""Walks the frames of one segment file from an offset, and finds the next good one after a damage."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from taihu.journal import format as layout
from taihu.journal.format import Frame, Header
from taihu.kernel.files import Files

CHUNK_BYTES = 1_048_576


class Hole(msgspec.Struct, frozen=True):
    """Bytes [offset, end) of a segment that are no frame."""

    offset: int
    end: int


def scan(files: Files, path: Path, mark: bytes, offset: int, expected: int) -> Iterator[Frame | Hole]:
    """Frames from `offset` on, the first at position `expected`; whatever is not the next frame comes out as a hole.

    A frame after a hole may start at a later position than expected, never at an earlier one. Holds at most one chunk
    or frame in memory. Raises OSError.
    """
    window = _Window(files, path)
    while True:
        frame = _frame_at(window, offset, mark)
        if frame is None or frame.first != expected:
            hole = offset
            frame = _next_frame(window, offset + 1, mark, expected)
            end = frame.offset if frame else files.size(path)
            if hole < end:
                yield Hole(hole, end)
            if frame is None:
                return
        yield frame
        offset, expected = frame.end, frame.next_position


def read_header(files: Files, path: Path, first: int) -> Header | None:
    """The header of the segment that starts at `first`; None when it is damaged. Raises NewerFormat, OSError."""
    header = layout.decode_header(files.read(path, 0, layout.HEADER_BYTES))
    return header if header and header.first == first else None


def mark_of_first_frame(files: Files, path: Path) -> bytes:
    """The mark of a segment whose header is damaged, from its first frame; empty when that is damaged too."""
    window = _Window(files, path)
    mark = bytes(window.take(layout.HEADER_BYTES, layout.MARK_BYTES))
    return mark if _frame_at(window, layout.HEADER_BYTES, mark) else b""


class _Window:
    """A stretch of a file in memory."""

    def __init__(self, files: Files, path: Path) -> None:
        self._files = files
        self._path = path
        self._offset = 0
        self._data = b""

    def take(self, offset: int, size: int) -> memoryview:
        """`size` bytes from `offset`; fewer at the end of the file."""
        start = offset - self._offset
        if start < 0 or start + size > len(self._data):
            self._data = self._files.read(self._path, offset, max(size, CHUNK_BYTES))
            self._offset, start = offset, 0
        return memoryview(self._data)[start : start + size]

    def find(self, mark: bytes, offset: int) -> int:
        """Where `mark` comes next from `offset` on; -1 when nowhere."""
        while len(self.take(offset, len(mark))) == len(mark):
            found = self._data.find(mark, offset - self._offset)
            if found >= 0:
                return self._offset + found
            offset = self._offset + len(self._data) - len(mark) + 1
        return -1


def _frame_at(window: _Window, offset: int, mark: bytes) -> Frame | None:
    head = window.take(offset, layout.FRAME_HEADER_BYTES)
    length = layout.frame_body_bytes(head, mark)
    if length < 0:
        return None
    return layout.decode_frame(offset, head, window.take(offset + layout.FRAME_HEADER_BYTES, length))


def _next_frame(window: _Window, offset: int, mark: bytes, expected: int) -> Frame | None:
    while mark and (offset := window.find(mark, offset)) >= 0:
        frame = _frame_at(window, offset, mark)
        if frame and frame.first >= expected:
            return frame
        offset += 1
    return None
