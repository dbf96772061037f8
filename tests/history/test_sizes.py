"""Sizes are those of the files that there are, whatever came and went; growth and the journal's share are kept."""

from pathlib import Path
from typing import Any

from taihu.history.history import History
from taihu.kernel.clock import SimClock
from taihu.kernel.files import OsFiles
from taihu.kernel.limits import DEFAULT
from taihu.things.deletion import Deletion

S = 1_000_000_000
T0 = 1_700_000_000 * S


def opened(folder: Path, clock: SimClock) -> History:
    return History(folder, OsFiles(), clock, DEFAULT, lambda _p, _t: {})


def on_disk(folder: Path, project: str) -> int:
    return sum(path.stat().st_size for path in (folder / project).glob("*/*.parquet"))


def test_sizes_are_those_of_the_files(tmp_path: Path, make_batch: Any) -> None:
    """Through flushes, merges, a deletion and a restart."""
    clock = SimClock(T0)
    history = opened(tmp_path / "h", clock)

    def check() -> None:
        wanted = {project: on_disk(tmp_path / "h", project) for project in "pq"}
        assert history.sizes.files_bytes() == wanted
        found = history.sizes.all(clock.now_ns(), 3_000)
        assert {name: size.files_bytes for name, size in found.items()} == wanted
        assert [found[name].journal_bytes for name in "pq"] == [2_000, 1_000]

    for position in range(1, 19, 2):
        for offset, project in enumerate("pq"):
            rows = [("a" if n % 4 else "b", T0 + (position * 100 + n) * S, [n * 1.5]) for n in range(80)]
            history.sizes.journalled(project, 20 if project == "p" else 10)
            history.apply(position + offset, make_batch(rows, project=project))
        history.flush()
    check()
    history.compact()
    check()
    history.delete(50, Deletion(id="d", project="p", thing="b"))
    while history.maintain():
        pass
    check()
    assert history.sizes.biggest("p", 5) == [("a", 540, on_disk(tmp_path / "h", "p"))]
    assert [name for name, _, _ in history.sizes.biggest("q", 1)] == ["a"]
    history.close()
    history = opened(tmp_path / "h", clock)
    check()
    history.sizes.step(clock.now_ns(), 100)  # the journal begins after all of these records
    assert {size.journal_bytes for size in history.sizes.all(clock.now_ns(), 3_000).values()} == {0}
    history.close()


def test_growth_is_that_of_the_last_week(tmp_path: Path, make_batch: Any) -> None:
    clock = SimClock(T0)
    history = opened(tmp_path / "h", clock)
    history.sizes.step(clock.now_ns(), 0)
    size = 0
    for day in range(1, 13):
        history.apply(day, make_batch([("a", T0 + (day * 1_000 + n) * S, [n / 7]) for n in range(500)]))
        history.flush()
        clock.jump(86_400)
        size = history.sizes.files_bytes()["p"]
        if day > 1:
            found = history.sizes.all(clock.now_ns(), 0)["p"].growth_bytes
            assert found is not None and 0.9 < found * day / size < 1.3
        assert history.sizes.due(clock.now_ns())
        history.sizes.step(clock.now_ns(), 0)
        assert not history.sizes.due(clock.now_ns())
        if day == 6:
            history.close()
            history = opened(tmp_path / "h", clock)
    assert size > 10_000
    assert len(history.store.manifest.sizes()) <= 8
    history.close()
