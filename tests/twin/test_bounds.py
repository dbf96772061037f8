"""The twin stays small whatever combinations of properties a thing sends (§6), and wishes follow their records."""

import tracemalloc
from array import array
from itertools import combinations
from random import Random

import msgspec

from taihu.things.batch import Batch, Column
from taihu.twin.twin import Twin

NAMES = tuple(f"p{number}" for number in range(12))


def message(names: tuple[str, ...], at: int, values: list[float]) -> Batch:
    return Batch(
        project="plant",
        model="",
        properties=names,
        things=("pump",),
        thing_of=b"",
        received_at=at,
        observed=array("q", [at]).tobytes(),
        flags=b"",
        columns=tuple(Column("d", array("d", [value]).tobytes()) for value in values),
    )


def test_ever_new_combinations_of_properties_are_bounded() -> None:
    """§6: 4,095 shapes of one thing, in any order of time, and the newest value of each property all the same."""
    twin, random = Twin(), Random(1)
    expected: dict[str, tuple[int, float]] = {}
    shapes = [names for count in range(1, 13) for names in combinations(NAMES, count)]
    random.shuffle(shapes)
    for position, names in enumerate(shapes, 1):
        at = random.randrange(1, 1_000_000)
        values = [random.random() for _ in names]
        twin.apply(position, message(names, at, values))
        for name, value in zip(names, values, strict=True):
            if name not in expected or expected[name][0] <= at:
                expected[name] = (at, value)
    (_, _, entry) = next(twin.entries())
    assert len(entry.rows) < 100
    newest = twin.newest("plant", "pump")
    assert {name: (reading.observed_at, reading.value) for name, reading in newest.items()} == expected


def test_a_snapshot_of_before_there_was_a_bound_is_read() -> None:
    """§14"""
    twin = Twin()
    twin.apply(1, message(("a",), 5, [1.0]))
    (_, _, entry) = next(twin.entries())
    shorter = msgspec.msgpack.encode(msgspec.structs.astuple(entry)[:3])
    assert msgspec.msgpack.decode(shorter, type=type(entry)).rows == entry.rows


def test_the_last_wish_counts_though_the_clock_was_set_back() -> None:
    """§4: what was answered with 200 is what is wanted."""
    twin = Twin()
    twin.want("plant", "pump", {"speed": 1}, 1_000, "operator")
    twin.want("plant", "pump", {"speed": 2}, 400, "operator")
    assert twin.desired("plant", "pump")["speed"].value == 2
    twin.want("plant", "pump", {"speed": None}, 300, "operator")
    assert twin.desired("plant", "pump") == {}


def test_large_values_do_not_wait_in_memory() -> None:
    """§6: of ever newer texts only the newest is held, though nobody asks."""
    twin = Twin()
    tracemalloc.start()
    try:
        for position in range(1, 101):
            batch = message(("text",), position, [0.0])
            column = Column("o", msgspec.msgpack.encode([f"{position}" * 250_000]))
            twin.apply(position, msgspec.structs.replace(batch, columns=(column,)))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 10_000_000
