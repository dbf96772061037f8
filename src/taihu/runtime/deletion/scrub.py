"""Takes what was deleted out of the journal: in the worker, segment by segment, with the ingest process swapping them.

Records keep their positions. Of the broker's records nothing is kept: the snapshot that ingest wrote after a deletion
holds what they say, and is what a start begins with.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec

from taihu.history.history import History
from taihu.history.manifest import Tombstone
from taihu.history.strip import strip
from taihu.journal.format import segment_firsts
from taihu.journal.rewrite import DRAFT, rewrite
from taihu.kernel.files import Files
from taihu.things.batch import (
    KIND_BATCH,
    KIND_BROKER,
    KIND_CONTROL,
    KIND_TWIN,
    KIND_VOID,
    Batch,
    decode_batch,
    encode_batch,
)
from taihu.things.ports import Record

log = logging.getLogger("taihu.scrub")

_VOID = (KIND_VOID, b"")


class Scrubber:
    """Looks after one journal. `snapshot` is the position up to which ingest needs nothing of the broker's records."""

    def __init__(self, files: Files, folder: Path, history: History) -> None:
        self.snapshot = 0
        self._files = files
        self._folder = folder
        self._history = history
        self._clean: dict[int, int] = {}  # segment -> the last deletion, by its position, of which it holds nothing
        for name in files.names(folder):
            if name.endswith(DRAFT):
                files.remove(folder / name)

    def due(self) -> list[Tombstone]:
        """The deletions to take out of the journal now."""
        return [one for one in self._history.unjournalled() if one.position <= self.snapshot]

    def prepare(self, due: Sequence[Tombstone]) -> tuple[int, int] | None:
        """Write the draft of the next segment that needs one: its first position, and the size it was made from.

        When there is none left, the deletions are erased. Raises OSError.
        """
        newest = due[-1].position
        firsts = [first for first in segment_firsts(self._files.names(self._folder)) if first <= newest]
        for first in firsts:
            if self._clean.get(first, 0) >= newest:
                continue
            try:
                size = rewrite(self._files, self._folder, first, lambda record: changed(record, due))
            except FileNotFoundError:
                continue  # dropped meanwhile
            if size is not None:
                return first, size
            self._clean[first] = newest
        self._clean = {first: position for first, position in self._clean.items() if first in firsts}
        self._history.erased(due)
        return None

    def replaced(self, first: int, due: Sequence[Tombstone]) -> None:
        """The segment was swapped for its draft."""
        self._clean[first] = due[-1].position


def changed(record: Record, due: Sequence[Tombstone]) -> tuple[int, bytes] | None:
    """What a record is from now on; None when it stays."""
    own = [one for one in due if one.position > record.position]
    if not own:
        return None
    if record.kind == KIND_BATCH:
        return _batch(record, own)
    if record.kind == KIND_TWIN:
        return _wish(record, own)
    if record.kind == KIND_CONTROL:
        return _command(record, own)
    return _VOID if record.kind == KIND_BROKER else None


def _batch(record: Record, due: Sequence[Tombstone]) -> tuple[int, bytes] | None:
    try:
        batch = decode_batch(record.payload)
    except msgspec.DecodeError:  # nobody can tell what it holds
        return _VOID
    left: Batch | None = batch
    for one in due:
        left = strip(left, one.deletion) if left is not None else None
    if left is batch:
        return None
    return _VOID if left is None else (KIND_BATCH, encode_batch(left))


def _wish(record: Record, due: Sequence[Tombstone]) -> tuple[int, bytes] | None:
    project, thing, values, at, by = msgspec.msgpack.decode(record.payload)
    deletions = [one.deletion for one in due if one.deletion.project == project]
    left = {name: value for name, value in values.items() if not any(one.covers(thing, name, at) for one in deletions)}
    if len(left) == len(values):
        return None
    return (KIND_TWIN, msgspec.msgpack.encode((project, thing, left, at, by))) if left else _VOID


def _command(record: Record, due: Sequence[Tombstone]) -> tuple[int, bytes] | None:
    """What was commanded of a thing goes with the thing; what becomes of commands is their audit and stays."""
    what, fields, *_ = msgspec.msgpack.decode(record.payload)
    removed = [one.deletion for one in due if one.deletion.removes]
    if what not in ("command", "standing") or not removed:
        return None
    of = (fields["project"], fields.get("thing", ""))
    return _VOID if any(of[0] == one.project and one.thing in ("", of[1]) for one in removed) else None
