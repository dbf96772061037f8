"""Which of several readings of one thing, property and time counts: a correction supersedes, and the older is kept.

Rows flagged FLAG_STAMPED carry the receiver's time and never collide (§1). Among the others with one `observed_at` the
highest `seq` is current; a row that repeats the value before it is the same reading delivered again.
"""

import numpy as np
from numpy.typing import NDArray

from taihu.history.frame import Frame
from taihu.things.batch import FLAG_STAMPED


def resolve(frame: Frame, name: str, *, revisions: bool = False) -> Frame:
    """Rows of one property ordered by thing, observed_at and seq, each reading once.

    Args:
        frame: rows of any order; those silent on the property are dropped.
        name: the property.
        revisions: keep superseded readings too.
    """
    frame = frame.only(name)
    if len(frame) < 2 or _rising(frame):
        return frame
    order = time_order(frame)
    frame = frame.take(order)
    same = same_key(frame)
    if not same.any():
        return frame
    again = same & frame.cells[name].same_as_previous(len(frame))
    if again.any():
        frame = frame.take(~again)
        same = same_key(frame)
    if revisions:
        return frame
    superseded = np.append(same[1:], False)
    return frame.take(~superseded)


def time_order(frame: Frame) -> NDArray[np.intp]:
    """The order by thing, observed_at and seq; rows with a time of their own stand apart from those that collide."""
    # Rows mostly arrive in order within a thing: a stable sort by thing is then all it takes.
    order = np.argsort(frame.thing.astype(np.uint16) if _small(frame.thing) else frame.thing, kind="stable")
    if _rising(frame, order):
        return order
    return np.lexsort((frame.seq, frame.flags & FLAG_STAMPED, frame.observed, frame.thing))


def same_key(frame: Frame) -> NDArray[np.bool_]:
    """Which rows collide with the row before."""
    same = np.zeros(len(frame), np.bool_)
    same[1:] = (
        (frame.thing[1:] == frame.thing[:-1])
        & (frame.observed[1:] == frame.observed[:-1])
        & ((frame.flags[1:] | frame.flags[:-1]) & FLAG_STAMPED == 0)
    )
    return same


def _small(things: NDArray[np.int32]) -> bool:
    return bool(things.max() <= 0xFFFF)  # 16-bit keys get numpy's radix sort


def _rising(frame: Frame, order: NDArray[np.intp] | None = None) -> bool:
    thing = frame.thing if order is None else frame.thing[order]
    observed = frame.observed if order is None else frame.observed[order]
    same = thing[1:] == thing[:-1]
    if not (same | (thing[1:] > thing[:-1])).all():
        return False
    return bool((~same | (observed[1:] > observed[:-1])).all())
