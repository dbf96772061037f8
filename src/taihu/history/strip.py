"""A batch without what was deleted of it: for the journal's records, and for those that are replayed."""

from array import array
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from taihu.things.batch import Batch, Column
from taihu.things.deletion import Deletion

_NAN = float("nan")


def strip(batch: Batch, deletion: Deletion) -> Batch | None:
    """What is left of a batch; the batch itself when the deletion is of nothing in it, None when it is of all."""
    if deletion.project != batch.project or (deletion.property and deletion.property not in batch.properties):
        return batch
    if deletion.thing and deletion.thing not in batch.things:
        return batch
    rows = _rows(batch, deletion)
    if not rows.any():
        return batch
    if deletion.property and (len(batch.properties) > 1 or not rows.all()):
        return _without_values(batch, deletion.property, rows)
    return None if rows.all() else _without_rows(batch, rows)


def _rows(batch: Batch, deletion: Deletion) -> NDArray[np.bool_]:
    observed = np.frombuffer(batch.observed, np.int64)
    found = (observed >= deletion.start) & (observed < deletion.end)
    if deletion.thing and len(batch.things) > 1:
        found &= np.frombuffer(batch.thing_of, np.int32) == batch.things.index(deletion.thing)
    return found


def _without_rows(batch: Batch, rows: NDArray[np.bool_]) -> Batch:
    keep = ~rows
    things, thing_of = batch.things, np.frombuffer(batch.thing_of, np.int32)
    if len(things) > 1:
        left = np.unique(thing_of[keep])
        things = tuple(things[index] for index in left.tolist())
        thing_of = np.searchsorted(left, thing_of[keep]).astype(np.int32)
    gone = np.array(batch.numbers())[rows].tolist()
    return msgspec.structs.replace(
        batch,
        things=things,
        thing_of=thing_of.tobytes() if len(things) > 1 else b"",
        observed=np.frombuffer(batch.observed, np.int64)[keep].tobytes(),
        flags=np.frombuffer(batch.flags, np.int8)[keep].tobytes() if batch.flags else b"",
        columns=tuple(_kept(column, keep) for column in batch.columns),
        gaps=array("i", sorted([*array("i", batch.gaps), *gone])).tobytes(),
    )


def _without_values(batch: Batch, name: str, rows: NDArray[np.bool_]) -> Batch | None:
    """Without one property's values in some rows; rows that are left without any go too."""
    place = batch.properties.index(name)
    if rows.all():
        return msgspec.structs.replace(
            batch,
            properties=batch.properties[:place] + batch.properties[place + 1 :],
            columns=batch.columns[:place] + batch.columns[place + 1 :],
        )
    if len(batch.properties) == 1:
        return _without_rows(batch, rows)
    fresh = _blank(batch.columns[place], rows)
    columns = (*batch.columns[:place], fresh, *batch.columns[place + 1 :])
    silent = np.ones(len(rows), np.bool_)
    for column in columns:
        silent &= _silent(column, len(rows))
    batch = msgspec.structs.replace(batch, columns=columns)
    if silent.all():
        return None
    return _without_rows(batch, silent) if silent.any() else batch


def _kept(column: Column, keep: NDArray[np.bool_]) -> Column:
    if column.code == "o":
        values = [value for value, kept in zip(column.values(), keep.tolist(), strict=True) if kept]
        return Column("o", msgspec.msgpack.encode(values))
    width: Any = np.int8 if column.code == "b" else np.int64
    return Column(column.code, np.frombuffer(column.data, width)[keep].tobytes())


def _blank(column: Column, rows: NDArray[np.bool_]) -> Column:
    if column.code == "d":
        values = np.frombuffer(column.data, np.float64).copy()
        values[rows] = _NAN
        return Column("d", values.tobytes())
    left = [None if gone else value for value, gone in zip(column.values(), rows.tolist(), strict=True)]
    return Column("o", msgspec.msgpack.encode(left))


def _silent(column: Column, count: int) -> NDArray[np.bool_]:
    if column.code == "d":
        return np.isnan(np.frombuffer(column.data, np.float64))
    if column.code == "o":
        return np.array([value is None for value in column.values()], np.bool_)
    return np.zeros(count, np.bool_)
