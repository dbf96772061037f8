"""Records set aside: how often one is tried, how many are kept, and that a deletion takes them along (§10)."""

from pathlib import Path

import pytest

from taihu.kernel.files import OsFiles
from taihu.kernel.limits import Limits
from taihu.runtime.worker.aside import Aside
from taihu.things.batch import KIND_BATCH
from taihu.things.ports import Record


def record(position: int) -> Record:
    return Record(position, KIND_BATCH, b"payload %d" % position)


def aside(folder: Path, kept: int = 10) -> Aside:
    return Aside(OsFiles(), folder, Limits(aside_records_max=kept))


def test_only_what_fails_time_and_again_is_given_up(tmp_path: Path) -> None:
    """The count outlives the worker, which dies each time; another record in between begins it anew."""
    for _ in range(2):
        aside(tmp_path).failed(record(7))
        assert not aside(tmp_path).gives_up(record(7))
    aside(tmp_path).failed(record(7))
    assert aside(tmp_path).gives_up(record(7))
    assert not aside(tmp_path).gives_up(record(8))
    aside(tmp_path).failed(record(8))
    assert not aside(tmp_path).gives_up(record(7))


def test_so_many_are_kept_and_the_rest_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = aside(tmp_path, kept=2)
    for position in (1, 2, 3, 2):
        kept.put(record(position), "why")
    assert [path.read_bytes() for path in sorted(tmp_path.glob("*.record"))] == [b"payload 1", b"payload 2"]
    assert [line.rpartition("; ")[2] for line in caplog.messages][2] == "it is dropped: as many are kept as may be"
    assert len(caplog.messages) == 3


def test_a_deletion_takes_along_what_came_before_it(tmp_path: Path) -> None:
    """Nobody can tell what a record that cannot be read holds."""
    kept = aside(tmp_path)
    for position in (5, 6, 7):
        kept.put(record(position), "why")
    kept.forget(6)
    assert [path.read_bytes() for path in sorted(tmp_path.glob("*.record"))] == [b"payload 6", b"payload 7"]
