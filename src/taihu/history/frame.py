"""Rows in memory, column by column: what the head holds, what files are written from and what queries fetch.

A property's cells come in up to four parts, so that no value is bent to fit its neighbours: floats, 64-bit integers,
booleans, and anything else as JSON text. A cell is in one part or, where a row says nothing on the property, in none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from taihu.things.batch import ROW_BITS, Batch

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

RECEIVED_STEP_NS = 1_000_000  # received_at is kept to the whole millisecond: it is provenance, not identity
_INT64 = range(-(2**63), 2**63)


def known_text(values: NDArray[np.object_]) -> Mask:
    """Which entries of a text part are values."""
    return np.array([value is not None for value in values], np.bool_)


@dataclass(frozen=True, slots=True)
class Cells:
    """One property's values, a part each; NaN, masked and None say that the row is silent. Absent parts are None."""

    number: NDArray[np.float64] | None = None
    integer: "np.ma.MaskedArray[Any, np.dtype[np.int64]] | None" = None
    boolean: "np.ma.MaskedArray[Any, np.dtype[np.bool_]] | None" = None
    text: NDArray[np.object_] | None = None

    def present(self, count: int) -> Mask:
        """Which of `count` rows have a value."""
        found = np.zeros(count, np.bool_)
        if self.number is not None:
            found |= ~np.isnan(self.number)
        if self.integer is not None:
            found |= ~np.ma.getmaskarray(self.integer)
        if self.boolean is not None:
            found |= ~np.ma.getmaskarray(self.boolean)
        if self.text is not None:
            found |= known_text(self.text)
        return found

    def take(self, index: Any) -> "Cells":
        """The cells at an index, slice or mask."""
        return Cells(
            None if self.number is None else self.number[index],
            None if self.integer is None else self.integer[index],
            None if self.boolean is None else self.boolean[index],
            None if self.text is None else self.text[index],
        )

    def blank(self, rows: Mask) -> "Cells":
        """The cells with those of some rows taken out."""
        return Cells(
            None if self.number is None else np.where(rows, np.nan, self.number),
            None if self.integer is None else _hidden(self.integer, rows),
            None if self.boolean is None else _hidden(self.boolean, rows),
            None if self.text is None else np.where(rows, np.array(None, np.object_), self.text),
        )

    def numbers(self, count: int) -> NDArray[np.float64]:
        """Every value that is a number, a boolean as 0 or 1; NaN for the others."""
        if self.number is not None and self.integer is None and self.boolean is None:
            return self.number
        values = np.full(count, np.nan) if self.number is None else self.number.copy()
        for part in (self.integer, self.boolean):
            if part is not None:
                known = ~np.ma.getmaskarray(part)
                values[known] = part.data[known]
        return values

    def objects(self, count: int) -> list[Any]:
        """The values as Python objects; None where there is none."""
        values = np.full(count, None, np.object_)
        if self.number is not None:
            known = ~np.isnan(self.number)
            values[known] = self.number[known].tolist()
        for part in (self.integer, self.boolean):
            if part is not None:
                known = ~np.ma.getmaskarray(part)
                values[known] = part.data[known].tolist()
        if self.text is not None:
            for index in np.flatnonzero(known_text(self.text)):
                values[index] = msgspec.json.decode(self.text[index])
        return values.tolist()

    def same_as_previous(self, count: int) -> Mask:
        """Which rows hold the same value as the row before; False for the first."""
        same = np.ones(count, np.bool_)
        same[:1] = False
        if self.number is not None:
            same[1:] &= (self.number[1:] == self.number[:-1]) | (np.isnan(self.number[1:]) & np.isnan(self.number[:-1]))
        for part in (self.integer, self.boolean):
            if part is not None:
                masked = np.ma.getmaskarray(part)
                same[1:] &= (masked[1:] == masked[:-1]) & (masked[1:] | (part.data[1:] == part.data[:-1]))
        if self.text is not None:
            same[1:] &= np.asarray(self.text[1:] == self.text[:-1], np.bool_)
        return same


@dataclass(frozen=True, slots=True)
class Frame:
    """Rows of one table. `thing` holds ids of the project's dictionary; a row's `seq` is its place in the journal."""

    thing: NDArray[np.int32]
    observed: Ints
    received: Ints
    seq: Ints
    flags: NDArray[np.int8]
    cells: dict[str, Cells]

    def __len__(self) -> int:
        return len(self.observed)

    def take(self, index: Any) -> "Frame":
        """The rows at an index, slice or mask."""
        return Frame(
            self.thing[index],
            self.observed[index],
            self.received[index],
            self.seq[index],
            self.flags[index],
            {name: cells.take(index) for name, cells in self.cells.items()},
        )

    def only(self, name: str) -> "Frame":
        """The rows that have a value for one property, with that property alone."""
        cells = self.cells.get(name)
        bare = Frame(self.thing, self.observed, self.received, self.seq, self.flags, {name: cells or Cells()})
        present = bare.cells[name].present(len(self))
        return bare if present.all() else bare.take(present)


def empty_frame() -> Frame:
    """A frame without rows or properties."""
    none = np.empty(0, np.int64)
    return Frame(none.astype(np.int32), none, none, none, none.astype(np.int8), {})


def frame_of(batches: Sequence[tuple[int, Batch]], thing_ids: dict[str, int]) -> Frame:
    """The rows of (journal position, batch) pairs that share properties and column codes.

    Args:
        batches: at least one; each with the same `properties` and the same code in each column.
        thing_ids: an id for every thing the batches name.
    """
    first = batches[0][1]
    observed = np.frombuffer(b"".join([batch.observed for _, batch in batches]), np.int64)
    lengths = np.array([len(batch.observed) // 8 for _, batch in batches], np.int64)
    starts = np.cumsum(lengths) - lengths
    rows = np.arange(len(observed), dtype=np.int64) - np.repeat(starts, lengths)
    if any(batch.gaps for _, batch in batches):
        rows = np.array([number for _, batch in batches for number in batch.numbers()], np.int64)
    positions = np.array([position for position, _ in batches], np.int64)
    received = np.array([batch.received_at for _, batch in batches], np.int64)
    flags = b"".join([batch.flags or bytes(len(batch.observed) // 8) for _, batch in batches])
    return Frame(
        _things(batches, lengths, thing_ids),
        observed,
        np.repeat(received // RECEIVED_STEP_NS * RECEIVED_STEP_NS, lengths),
        np.repeat(positions << ROW_BITS, lengths) | rows,
        np.frombuffer(flags, np.int8),
        {name: _cells(batches, index) for index, name in enumerate(first.properties)},
    )


def concat(frames: Sequence[Frame]) -> Frame:
    """All rows of several frames, in their order; a property that a frame lacks is silent there."""
    if not frames:
        return empty_frame()
    if len(frames) == 1:
        return frames[0]
    names = list(dict.fromkeys(name for frame in frames for name in frame.cells))
    lengths = [len(frame) for frame in frames]
    return Frame(
        np.concatenate([frame.thing for frame in frames]),
        np.concatenate([frame.observed for frame in frames]),
        np.concatenate([frame.received for frame in frames]),
        np.concatenate([frame.seq for frame in frames]),
        np.concatenate([frame.flags for frame in frames]),
        {name: _concat_cells([frame.cells.get(name) or Cells() for frame in frames], lengths) for name in names},
    )


def _things(batches: Sequence[tuple[int, Batch]], lengths: Ints, thing_ids: dict[str, int]) -> NDArray[np.int32]:
    ids = np.array([thing_ids[name] for _, batch in batches for name in batch.things], np.int32)
    counts = np.array([len(batch.things) for _, batch in batches], np.int64)
    local = b"".join([batch.thing_of or bytes(len(batch.observed) // 2) for _, batch in batches])
    return ids[np.frombuffer(local, np.int32) + np.repeat(np.cumsum(counts) - counts, lengths)]


def _cells(batches: Sequence[tuple[int, Batch]], index: int) -> Cells:
    columns = [batch.columns[index] for _, batch in batches]
    code = columns[0].code
    if code == "o":
        return _mixed([value for column in columns for value in column.values()])
    data = b"".join([column.data for column in columns])
    if code == "d":
        return Cells(number=np.frombuffer(data, np.float64) + 0.0)  # + 0.0 makes -0.0 the 0.0 it equals
    if code == "q":
        return Cells(integer=np.ma.array(np.frombuffer(data, np.int64)))
    return Cells(boolean=np.ma.array(np.frombuffer(data, np.int8) != 0))


def _mixed(values: list[Any]) -> Cells:
    """Each value in the part it belongs to."""
    count = len(values)
    number = np.full(count, np.nan)
    integer = np.ma.array(np.zeros(count, np.int64), mask=True)
    boolean = np.ma.array(np.zeros(count, np.bool_), mask=True)
    text = np.full(count, None, np.object_)
    for index, value in enumerate(values):
        if isinstance(value, bool):
            boolean[index] = value
        elif isinstance(value, float):
            number[index] = value + 0.0
        elif isinstance(value, int) and value in _INT64:
            integer[index] = value
        elif value is not None:
            text[index] = msgspec.json.encode(value).decode()
    return Cells(
        None if np.isnan(number).all() else number,
        None if integer.mask.all() else integer,
        None if boolean.mask.all() else boolean,
        text,
    )


def _hidden(values: Any, rows: Mask) -> Any:
    return np.ma.array(np.where(rows, 0, values.data), values.dtype, mask=np.ma.getmaskarray(values) | rows)


def _concat_cells(parts: Sequence[Cells], lengths: Sequence[int]) -> Cells:
    text = None
    if any(part.text is not None for part in parts):
        text = np.concatenate(
            [np.full(n, None, np.object_) if p.text is None else p.text for p, n in zip(parts, lengths, strict=True)]
        )
    number = None
    if any(part.number is not None for part in parts):
        number = np.concatenate(
            [np.full(n, np.nan) if p.number is None else p.number for p, n in zip(parts, lengths, strict=True)]
        )
    return Cells(
        number,
        _concat_masked([part.integer for part in parts], lengths, np.int64),
        _concat_masked([part.boolean for part in parts], lengths, np.bool_),
        text,
    )


def _concat_masked(parts: Sequence[Any], lengths: Sequence[int], dtype: Any) -> Any:
    if all(part is None for part in parts):
        return None
    pairs = list(zip(parts, lengths, strict=True))
    data = [np.zeros(length, dtype) if part is None else part.data for part, length in pairs]
    masks = [np.ones(length, np.bool_) if part is None else np.ma.getmaskarray(part) for part, length in pairs]
    return np.ma.array(np.concatenate(data), mask=np.concatenate(masks))
