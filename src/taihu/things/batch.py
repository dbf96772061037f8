"""The message of the data's way: readings of one shape, column by column, and how the journal holds them.

A shape is a project, a model and a tuple of properties; one row is one message of one thing. Column batches cost
0.03 microseconds a point to move where single messages cost 20.
"""

from array import array
from collections.abc import Sequence
from typing import Any

import msgspec

KIND_VOID = 0  # journal records: one whose content was deleted
KIND_BATCH = 1  # readings
KIND_BROKER = 2  # sessions, subscriptions, retained and queued messages
KIND_TWIN = 3  # presence and desired values
KIND_CONTROL = 5  # steps of commands, and standing permits
KIND_DELETION = 4  # a `things.deletion.Deletion`: of the records before it
ROW_BITS = 20
ROWS_MAX = 1 << ROW_BITS


class Column(msgspec.Struct, frozen=True, array_like=True):
    """One property's values. `code` is 'd' (float64), 'q' (int64), 'b' (int8 0/1) or 'o' (msgpack list)."""

    code: str
    data: bytes

    def values(self) -> Any:
        """The values as an `array` (numbers) or list (anything else), one per row."""
        if self.code == "o":
            return msgspec.msgpack.decode(self.data)
        if self.code == "b":
            return list(map(bool, self.data))
        return array(self.code, self.data)


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """Readings of one shape.

    `thing_of` is an int32 array of indices into `things`, or empty when there is one thing. `observed` is an int64
    array of UTC nanoseconds. `flags` is an int8 array (FLAG_*), or empty when all rows are 0. `received_at` is one
    time for all rows. `mapping` names the payload mapping and its version, for provenance.
    A row's `seq` is `position << ROW_BITS | row`, where `position` is the journal record's: unique and ever rising.
    `gaps` is an int32 array of the rows that were deleted since; the others keep their numbers.
    """

    project: str
    model: str
    properties: tuple[str, ...]
    things: tuple[str, ...]
    thing_of: bytes
    received_at: int
    observed: bytes
    flags: bytes
    columns: tuple[Column, ...]
    mapping: str = ""
    gaps: bytes = b""

    def __len__(self) -> int:
        return len(self.observed) // 8

    def numbers(self) -> Sequence[int]:
        """The number of each row."""
        if not self.gaps:
            return range(len(self))
        gaps = set(array("i", self.gaps))
        return [number for number in range(len(self) + len(gaps)) if number not in gaps]


FLAG_STAMPED = 1  # observed_at is the receiver's (§1); such rows never collide: each has its own nanosecond
FLAG_SUSPECT = 2  # its sender doubts it, or it breaks its property's definition, which says to store it all the same

_WIDTHS = {"d": 8, "q": 8, "b": 1}

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Batch)


def encode_batch(batch: Batch) -> bytes:
    """The journal's bytes of a batch."""
    return _encoder.encode(batch)


def decode_batch(data: bytes) -> Batch:
    """Inverse of `encode_batch`; raises msgspec.DecodeError on anything else."""
    batch = _decoder.decode(data)
    if not _sound(batch):
        raise msgspec.ValidationError("The parts of the batch do not fit together.")
    return batch


def _sound(batch: Batch) -> bool:
    """Whether every part has a cell for each row."""
    rows = len(batch)
    return (
        rows * 8 == len(batch.observed)
        and len(batch.flags) in (0, rows)
        and len(batch.gaps) % 4 == 0
        and len(batch.properties) == len(batch.columns)
        and _things_sound(batch, rows)
        and all(_cells(column) == rows for column in batch.columns)
    )


def _things_sound(batch: Batch, rows: int) -> bool:
    if not batch.thing_of:
        return len(batch.things) == 1
    if len(batch.thing_of) != rows * 4:
        return False
    indices = array("i", batch.thing_of)
    return not rows or (min(indices) >= 0 and max(indices) < len(batch.things))


def _cells(column: Column) -> int:
    """How many cells a column has; -1 when it is none."""
    width = _WIDTHS.get(column.code)
    if width is not None:
        count, rest = divmod(len(column.data), width)
        return -1 if rest else count
    values = column.values() if column.code == "o" else None
    return len(values) if isinstance(values, list) else -1
