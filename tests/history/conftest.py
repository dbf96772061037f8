"""Builders of journal batches for the history's tests."""

from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from taihu.history.history import History
from taihu.kernel.clock import SimClock
from taihu.kernel.files import OsFiles
from taihu.kernel.limits import DEFAULT, Limits
from taihu.things.batch import Batch, Column
from taihu.things.property import Property

Opener = Callable[..., History]
Builder = Callable[..., Batch]


def column(values: Sequence[Any]) -> Column:
    """The narrowest column for the values, as the decoder of a payload would choose."""
    kinds = {type(value) for value in values}
    if kinds == {float}:
        return Column("d", array("d", values).tobytes())
    if kinds == {int} and all(-(2**63) <= value < 2**63 for value in values):
        return Column("q", array("q", values).tobytes())
    if kinds == {bool}:
        return Column("b", array("b", values).tobytes())
    return Column("o", msgspec.msgpack.encode(list(values)))


def batch(
    rows: Sequence[tuple[str, int, Sequence[Any]]],
    properties: Sequence[str] = ("power",),
    *,
    project: str = "p",
    model: str = "meter",
    received_at: int = 0,
    flags: Sequence[int] = (),
) -> Batch:
    """A batch of (thing, observed_at, values) rows."""
    things = tuple(dict.fromkeys(thing for thing, _, _ in rows))
    return Batch(
        project,
        model,
        tuple(properties),
        things,
        array("i", [things.index(thing) for thing, _, _ in rows]).tobytes() if len(things) > 1 else b"",
        received_at,
        array("q", [observed for _, observed, _ in rows]).tobytes(),
        array("b", flags).tobytes(),
        tuple(column([values[index] for _, _, values in rows]) for index in range(len(properties))),
    )


@pytest.fixture
def make_batch() -> Builder:
    return batch


@pytest.fixture
def clock() -> SimClock:
    return SimClock()


@pytest.fixture
def open_history(tmp_path: Path, clock: SimClock) -> Opener:
    def opener(
        folder: Path | None = None, limits: Limits = DEFAULT, properties: dict[str, Property] | None = None
    ) -> History:
        return History(folder or tmp_path / "history", OsFiles(), clock, limits, lambda _p, _t: properties or {})

    return opener
