"""Background work that cannot be done is left, told once, and tried again later."""

from typing import Any

import duckdb
import pytest

from taihu.kernel.clock import SimClock
from taihu.things.property import Property


def test_what_memory_cannot_sort_stays_and_is_tried_again(
    open_history: Any, clock: SimClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries = []

    def compact(*_: Any, **__: Any) -> bool:
        tries.append(1)
        raise duckdb.OutOfMemoryException("Out of Memory Error: failed to pin block")

    history = open_history(properties={"x": Property(name="x")})
    monkeypatch.setattr("taihu.history.history.compact", compact)
    assert not any(history.maintain() for _ in range(3))
    assert (len(tries), len(caplog.messages)) == (1, 1)
    clock.advance(601)
    assert history.maintain() is False
    assert len(tries) == 2
    history.close()
