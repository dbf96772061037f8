"""Counters by project: what the worker has taken over is told exactly, however far it was behind."""

from array import array

from taihu.runtime.ingest.tally import Tally
from taihu.things.batch import Batch


def batch(project: str, rows: int) -> Batch:
    return Batch(
        project=project,
        model="",
        properties=("a", "b"),
        things=("x",),
        thing_of=b"",
        received_at=1,
        observed=array("q", range(rows)).tobytes(),
        flags=b"",
        columns=(),
    )


def test_each_project_has_its_own_counters() -> None:
    tally = Tally()
    tally.durable(5, [(4, batch("a", 1)), (5, batch("b", 3))])
    tally.durable(6, [])
    tally.durable(7, [(7, batch("a", 2))])
    assert (tally.points, tally.stored) == ({"a": 6, "b": 6}, {})
    tally.taken_over(6)
    assert tally.stored == {"a": 2, "b": 6}
    tally.taken_over(7)
    assert tally.stored == tally.points


def test_a_worker_far_behind_is_bounded_and_ends_even() -> None:
    """§6"""
    tally = Tally()
    for position in range(1, 10_002):
        tally.durable(position, [(position, batch("a", 1))])
    assert len(tally._on_the_way) <= 4_096
    for position in range(0, 10_002, 100):
        tally.taken_over(position)
        assert tally.stored["a"] <= 2 * position
    tally.taken_over(10_001)
    assert tally.stored == tally.points == {"a": 20_002}
