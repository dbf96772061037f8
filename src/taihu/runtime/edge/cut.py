"""Pieces of the journal, as bundles that are ready to be sent."""

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

import msgspec

from taihu.journal.reader import JournalReader
from taihu.things.batch import KIND_BATCH, Batch, decode_batch, encode_batch
from taihu.things.mapping.bundle import pack, parts
from taihu.things.ports import Record
from taihu.things.property import Property

BYTES_MAX = 262_144  # of the journal in a piece
ROWS_MAX = 5_000  # of a message: half of what a centre takes unless told otherwise

Definitions = Callable[[str, str], Mapping[str, Property]]


class Piece(msgspec.Struct):
    """The positions from `first` to `last`: the messages that carry them, and what they hold of each thing.

    Positions before `first` that were asked for are no longer there. `unreadable` are those that are no batch.
    """

    first: int
    last: int
    messages: list[bytes]
    values: Counter[str]
    unreadable: list[int]
    unacked: int = 0


class Cutter:
    """Cuts the journal of one node for one project. Blocks: not for the event loop, and for one thread at a time."""

    def __init__(self, reader: JournalReader, definitions: Definitions, project: str) -> None:
        self._reader = reader
        self._definitions = definitions
        self._project = project

    def cut(self, first: int, last: int, records_max: int) -> Piece | None:
        """The first piece of the positions from `first` to `last`; None when the journal holds none of them.

        Raises OSError, NewerFormat, DamagedError.
        """
        records = self._reader.read(first, last, BYTES_MAX)[:records_max]
        if not records:
            return None
        piece = Piece(records[0].position, records[-1].position, [], Counter(), [])
        batches: list[Batch] = []
        for record in records:
            if record.kind == KIND_BATCH:
                batches += self._own(record, piece)
        for group in _groups(batches):
            piece.messages.append(self._message(group))
        piece.unacked = len(piece.messages)
        return piece

    def _own(self, record: Record, piece: Piece) -> list[Batch]:
        try:
            batch = decode_batch(record.payload)
        except msgspec.DecodeError:
            piece.unreadable.append(record.position)
            return []
        if batch.project != self._project:
            return []
        piece.values += _values(batch)
        rows = BYTES_MAX * len(batch) // max(1, len(record.payload))
        return list(parts(batch, min(ROWS_MAX, max(1, rows))))

    def _message(self, batches: Sequence[Batch]) -> bytes:
        names: dict[str, set[str]] = defaultdict(set)
        for batch in batches:
            for thing in batch.things:
                names[thing].update(batch.properties)
        found = {
            thing: [one for name, one in self._definitions(self._project, thing).items() if name in wanted]
            for thing, wanted in names.items()
        }
        return pack(found, [encode_batch(batch) for batch in batches])


def _values(batch: Batch) -> Counter[str]:
    """How many values a batch holds, by thing."""
    things = [batch.things[index] for index in array("i", batch.thing_of)] or batch.things * len(batch)
    every = sum(column.code != "o" for column in batch.columns)
    found = Counter({thing: count * every for thing, count in Counter(things).items()})
    for column in batch.columns:
        if column.code == "o":
            found.update(thing for thing, value in zip(things, column.values(), strict=True) if value is not None)
    return found


def _groups(batches: Sequence[Batch]) -> list[list[Batch]]:
    """Batches in their order, in groups of at most `ROWS_MAX` rows."""
    groups: list[list[Batch]] = []
    rows = ROWS_MAX + 1
    for batch in batches:
        if rows + len(batch) > ROWS_MAX:
            groups.append([])
            rows = 0
        groups[-1].append(batch)
        rows += len(batch)
    return groups
