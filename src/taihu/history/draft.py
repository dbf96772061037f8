"""What a flush writes of one table: its rows in file order, and which of them may meet an older row of the same key."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from taihu.history.catalog import Catalog
from taihu.history.frame import Frame, Mask, concat
from taihu.history.manifest import Table
from taihu.things.batch import FLAG_STAMPED


@dataclass(slots=True)
class Draft:
    """One file to be. Its rows are sorted by thing, shape, observed_at and seq; a shape is a set of properties."""

    table: Table
    frame: Frame
    shapes: int
    late: Mask = field(repr=False)

    @property
    def late_min(self) -> int | None:
        """The earliest time at which a row may meet an older one; None when none may."""
        return int(self.frame.observed[self.late].min()) if self.late.any() else None

    @property
    def late_max(self) -> int | None:
        """The latest such time."""
        return int(self.frame.observed[self.late].max()) if self.late.any() else None


def make_drafts(parts: Sequence[tuple[Table, list[Frame]]], catalog: Catalog) -> list[Draft]:
    """The drafts of a flush."""
    drafts = [_draft(table, frames, catalog) for table, frames in parts]
    for one, other in combinations(drafts, 2):
        if one.table.project == other.table.project and one.table.model != other.table.model:
            # A thing that got a model while the head filled has rows on both sides.
            both = np.intersect1d(one.frame.thing, other.frame.thing)
            if len(both):
                one.late |= np.isin(one.frame.thing, both)
                other.late |= np.isin(other.frame.thing, both)
    return drafts


def _draft(table: Table, frames: list[Frame], catalog: Catalog) -> Draft:
    shapes = {names: number for number, names in enumerate(dict.fromkeys(tuple(frame.cells) for frame in frames))}
    frame = concat(frames)
    key = frame.thing.astype(np.int64)
    if len(shapes) > 1:
        key = key * len(shapes) + np.repeat([shapes[tuple(part.cells)] for part in frames], [len(p) for p in frames])
    frame = frame.take(_order(frame, key))
    late = catalog.late(table.project, frame)
    disjoint = sum(len(names) for names in shapes) == len(set().union(*shapes))
    if disjoint:
        late[1:] |= _meets_previous(frame)
    else:
        order = np.lexsort((frame.observed, frame.thing))
        late[order[1:]] |= _meets_previous(frame.take(order))
    return Draft(table, frame, len(shapes), late)


def _order(frame: Frame, key: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order by key, observed_at and seq; rows that came in order cost one sort of integers."""
    if key.max(initial=0) < 1 << 31:
        order = np.sort(key << 32 | np.arange(len(frame))) & 0xFFFFFFFF
        sorted_key, observed = key[order], frame.observed[order]
        if ((sorted_key[1:] > sorted_key[:-1]) | (observed[1:] > observed[:-1])).all():
            return order
    return np.lexsort((frame.seq, frame.observed, key))


def _meets_previous(frame: Frame) -> Mask:
    stamped = frame.flags[1:] & frame.flags[:-1] & FLAG_STAMPED != 0
    same = (frame.thing[1:] == frame.thing[:-1]) & (frame.observed[1:] == frame.observed[:-1])
    return np.asarray(same & ~stamped)
