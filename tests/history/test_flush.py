"""When the head goes to files, and what a failed flush leaves behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taihu.history.history import History
from taihu.kernel.clock import SimClock
from taihu.kernel.limits import Limits
from taihu.things.batch import FLAG_STAMPED

S = 1_000_000_000
T0 = 1_700_000_000 * S
Opener = Callable[..., History]


def test_a_reading_applied_is_read_at_once(open_history: Opener, make_batch: Any) -> None:
    history = open_history()
    history.apply(1, make_batch([("a", T0, [1.5]), ("b", T0, [2.5])], received_at=T0 + 123_456_789))
    (reading,) = history.read("p", "a", "power")
    assert (reading.value, reading.observed_at, reading.received_at) == (1.5, T0, T0 + 123_000_000)
    history.flush()
    assert history.read("p", "a", "power") == [reading]
    history.close()


def test_flush_is_due_by_rows_or_by_age(open_history: Opener, make_batch: Any, clock: SimClock) -> None:
    """§6: the head is bounded."""
    history = open_history(limits=Limits(flush_rows=3, flush_s=60))
    clock.advance(100)
    history.apply(1, make_batch([("a", T0, [1.0])]))
    clock.advance(59)
    assert not history.due()
    clock.advance(1)
    assert history.due()
    assert history.flush() == 1
    history.apply(2, make_batch([("a", T0 + 1, [1.0])]))
    assert not history.due()
    history.apply(3, make_batch([("a", T0 + 2, [1.0]), ("a", T0 + 3, [1.0])]))
    assert history.due()
    history.close()


def test_apply_itself_flushes_a_head_that_nobody_does(open_history: Opener, make_batch: Any) -> None:
    """§6."""
    history = open_history(limits=Limits(flush_rows=2))
    for position in range(1, 30):
        history.apply(position, make_batch([("a", T0 + position, [1.0])]))
        assert history.stats()["head_rows"] <= 8
    assert len(history.read("p", "a", "power")) == 29
    history.close()


def test_a_full_disk_leaves_all_as_it_was(
    open_history: Opener, make_batch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§4: nothing is lost and nothing counts twice when a flush fails and is called again."""
    history = open_history()
    history.apply(1, make_batch([("a", T0, [1.0])]))
    real = history._store.copy

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(history._store, "copy", full)
    with pytest.raises(OSError, match="No space"):
        history.flush()
    assert history.checkpoint == 0
    history.apply(2, make_batch([("a", T0 + 1, [2.0])]))
    assert [reading.value for reading in history.read("p", "a", "power")] == [1.0, 2.0]
    monkeypatch.setattr(history._store, "copy", real)
    assert history.flush() == 1
    assert history.flush() == 2
    assert [reading.value for reading in history.read("p", "a", "power")] == [1.0, 2.0]
    history.close()


def test_positions_without_readings_move_the_checkpoint(open_history: Opener, make_batch: Any) -> None:
    history = open_history()
    history.apply(1, make_batch([("a", T0, [1.0])]))
    history.pass_by(9)
    assert history.flush() == 9
    history.close()


def test_projects_are_apart_and_names_may_be_anything(open_history: Opener, make_batch: Any) -> None:
    """§11."""
    history = open_history()
    names = ['a"b', "功率", "thing", "Power", "power", "observed_at", "x" * 128, "1'; DROP", "p__int", "p"]
    for position, project in enumerate(("p", "q"), 1):
        values = [float(position * 100 + index) for index in range(len(names))]
        history.apply(position, make_batch([("t\"'", T0, values)], names, project=project))
    history.flush()
    for position, project in enumerate(("p", "q"), 1):
        for index, name in enumerate(names):
            assert [r.value for r in history.read(project, "t\"'", name)] == [position * 100.0 + index]
    assert history.read("nobody", "t\"'", "power") == []
    assert history.count("p") == 1
    history.close()


def test_more_properties_than_a_table_takes(open_history: Opener, make_batch: Any) -> None:
    history = open_history()
    names = [f"p{index}" for index in range(150)]
    history.apply(1, make_batch([("a", T0, [float(index) for index in range(150)])], names))
    history.flush()
    assert history.stats()["tables"] == 3
    assert [history.read("p", "a", name)[0].value for name in names] == [float(index) for index in range(150)]
    history.close()


def test_rows_stamped_by_the_receiver_never_collide(open_history: Opener, make_batch: Any) -> None:
    """§1."""
    history = open_history()
    history.apply(1, make_batch([("a", T0, [1.0]), ("a", T0, [1.0])], flags=[FLAG_STAMPED] * 2))
    history.flush()
    assert [reading.quality for reading in history.read("p", "a", "power")] == ["stamped"] * 2
    history.close()


def test_questions_between_readings_leave_few_frames(open_history: Opener, make_batch: Any) -> None:
    """§6: whoever asks after each reading pays for the readings, not for having asked."""
    history = open_history()
    for step in range(60):
        history.apply(2 * step + 1, make_batch([("a", T0 + step * S, [float(step)])]))
        history.apply(2 * step + 2, make_batch([("a", T0 + step * S, [step])], ["load"]))
        assert len(history.read("p", "a", "power")) == step + 1
    with history._store.snapshot("p", "power") as parts:
        assert sum(len(part.frames) for part in parts) <= 14
    assert [one.value for one in history.read("p", "a", "power")] == [float(step) for step in range(60)]
    history.close()
