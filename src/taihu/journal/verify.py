"""Reads every frame of a journal's folder and says what is damaged; changes nothing, beside a writer too."""

from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from taihu.journal import format as layout
from taihu.journal.damage import Damage
from taihu.journal.format import Frame
from taihu.journal.scan import Hole, mark_of_first_frame, read_header, scan
from taihu.kernel.errors import DamagedError
from taihu.kernel.files import Files

_NEWEST = 32
DAMAGE_MAX = 100


class Verdict(msgspec.Struct, kw_only=True):
    """What was found.

    `damage` holds the first `DAMAGE_MAX` places. `torn` is what follows the last good record: after a crash, what was
    being written and nobody was told of. `newest` are the last good frames.
    """

    segments: int = 0
    bytes: int = 0
    first: int = 0
    last: int = 0
    damage: list[Damage] = []
    torn: Damage | None = None
    newest: deque[Frame] = msgspec.field(default_factory=lambda: deque(maxlen=_NEWEST))


def verify(
    files: Files,
    folder: Path,
    *,
    until: int | None = None,
    last_only: bool = False,
    seen: Callable[[int], None] = lambda size: None,
) -> Verdict:
    """Check the segments of `folder`.

    Args:
        until: the last durable position, where a process writes: what comes after it is not looked at.
        last_only: look at the last two segments alone.
        seen: called with the bytes of each segment that is done.

    Raises NewerFormat and OSError.
    """
    verdict = Verdict()
    firsts = layout.segment_firsts(files.names(folder))
    verdict.segments, verdict.first = len(firsts), firsts[0] if firsts else 0
    chosen = list(range(len(firsts)))[-2 if last_only else 0 :]
    for index in chosen:
        path = layout.segment_path(folder, firsts[index])
        try:
            size = files.size(path)
            end = None if index + 1 == len(firsts) else _follows(files, folder, firsts[index + 1])
            _segment(files, path, firsts[index], end, until, verdict)
        except FileNotFoundError:
            continue  # its last reader has passed it, and it was dropped meanwhile
        verdict.bytes += size
        seen(size)
    return verdict


def _follows(files: Files, folder: Path, following: int) -> int:
    """The last position that counts before the segment at `following`."""
    header = read_header(files, layout.segment_path(folder, following), following)
    return header.follows if header else following - 1


def _segment(files: Files, path: Path, first: int, end: int | None, until: int | None, verdict: Verdict) -> None:
    size = files.size(path)
    header = read_header(files, path, first)
    if header is None and (end is not None or size >= layout.HEADER_BYTES):
        _report(verdict, Damage(path.name, 0, min(size, layout.HEADER_BYTES), first, first))
    mark = header.mark if header else mark_of_first_frame(files, path)
    position, hole = first, None
    for piece in scan(files, path, mark, layout.HEADER_BYTES, first):
        if isinstance(piece, Hole):
            hole = piece
            continue
        if (end is not None and piece.first > end) or (until is not None and piece.first > until):
            return
        if hole is not None:
            _report(verdict, Damage(path.name, hole.offset, hole.end - hole.offset, position, piece.first))
            hole = None
        _check_records(piece, path, verdict)
        position = piece.next_position
        verdict.last = position - 1
        verdict.newest.append(piece)
    if hole is None or (end is not None and position > end) or (until is not None and position > until):
        return
    rest = Damage(path.name, hole.offset, hole.end - hole.offset, position, position if end is None else end + 1)
    if end is None:
        verdict.torn = rest
    else:
        _report(verdict, rest)


def _check_records(frame: Frame, path: Path, verdict: Verdict) -> None:
    try:
        for _ in layout.decode_records(frame):
            pass
    except DamagedError:
        size = frame.end - frame.offset
        _report(verdict, Damage(path.name, frame.offset, size, frame.first, frame.next_position))


def _report(verdict: Verdict, damage: Damage) -> None:
    if len(verdict.damage) < DAMAGE_MAX:
        verdict.damage.append(damage)
