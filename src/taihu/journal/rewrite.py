"""Writes a segment again with some of its records changed, as after a deletion; positions stay as they are."""

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec

from taihu.journal import format as layout
from taihu.journal.scan import Hole, mark_of_first_frame, read_header, scan
from taihu.kernel.files import Files
from taihu.things.ports import Record

DRAFT = ".draft"

Change = Callable[[Record], tuple[int, bytes] | None]
"""The kind and payload of a record from now on; None where it stays as it is."""


def draft_path(folder: Path, first: int) -> Path:
    """Where the draft of a segment lies."""
    return layout.segment_path(folder, first).with_suffix(DRAFT)


def rewrite(
    files: Files, folder: Path, first: int, change: Change, random_bytes: Callable[[int], bytes] = os.urandom
) -> int | None:
    """Write the draft of a segment, synced, and return the size of the segment it was made from; None without a change.

    Bytes that are no frame become zeros: nobody can read them, and nobody can say whose they are. Raises OSError,
    NewerFormat and DamagedError.
    """
    path, draft = layout.segment_path(folder, first), draft_path(folder, first)
    size = files.size(path)
    header = read_header(files, path, first)
    mark = header.mark if header else mark_of_first_frame(files, path)
    head = header or layout.Header(mark, first, first - 1, 0)
    head = msgspec.structs.replace(head, mark=random_bytes(layout.MARK_BYTES))
    files.remove(draft)
    changed = False
    with closing(files.append(draft)) as file:
        file.write(layout.encode_header(head))
        for piece in scan(files, path, mark, layout.HEADER_BYTES, first):
            if isinstance(piece, Hole):
                length = piece.end - piece.offset
                changed |= files.read(path, piece.offset, length).strip(b"\0") != b""
                file.write(bytes(length))
                continue
            records = []
            for record in layout.decode_records(piece):
                fresh = change(record)
                changed |= fresh is not None
                records.append(fresh or (record.kind, record.payload))
            file.write(layout.encode_frames(head.mark, piece.first, records))
    if not changed:
        files.remove(draft)
        return None
    files.sync(draft)
    return size
