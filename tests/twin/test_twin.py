"""The newest value by event time, whatever the order of arrival, and the same again after a restart (§1 §5)."""

from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.kernel.clock import NS_PER_S
from taihu.kernel.errors import DamagedError
from taihu.kernel.files import write_atomic
from taihu.sim.files import PowerLossFiles
from taihu.things.batch import FLAG_STAMPED, FLAG_SUSPECT, ROW_BITS, Batch, Column
from taihu.things.deletion import Deletion
from taihu.things.ports import Reading
from taihu.twin import snapshot
from taihu.twin.presence import Presence, State
from taihu.twin.twin import Twin

PATH = Path("/data/twin.snapshot")
NAMES = ("a", "b", "c")


class Row(NamedTuple):
    thing: str
    observed_at: int
    values: tuple[float, ...]
    flag: int = 0


def batch(properties: tuple[str, ...], rows: list[Row], received_at: int = 100, project: str = "plant") -> Batch:
    things = tuple(dict.fromkeys(row.thing for row in rows))
    thing_of = array("i", [things.index(row.thing) for row in rows]).tobytes() if len(things) > 1 else b""
    return Batch(
        project=project,
        model="",
        properties=properties,
        things=things,
        thing_of=thing_of,
        received_at=received_at,
        observed=array("q", [row.observed_at for row in rows]).tobytes(),
        flags=bytes(row.flag for row in rows) if any(row.flag for row in rows) else b"",
        columns=tuple(
            Column("d", array("d", [row.values[place] for row in rows]).tobytes()) for place in range(len(properties))
        ),
    )


SHAPES = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True).map(tuple)


@st.composite
def batches(draw: st.DrawFn) -> list[Batch]:
    found = []
    for number in range(draw(st.integers(0, 8))):
        names = draw(SHAPES)
        rows = draw(
            st.lists(
                st.builds(
                    Row,
                    st.sampled_from(["pump", "fan"]),
                    st.integers(0, 5),
                    st.tuples(*[st.integers(0, 99).map(float)] * len(names)),
                    st.sampled_from([0, FLAG_STAMPED, FLAG_SUSPECT]),
                ),
                min_size=1,
                max_size=4,
            )
        )
        found.append(batch(names, rows, 100 + number))
    return found


def readings_of(applied: list[Batch]) -> Iterator[tuple[tuple[str, str], tuple[int, int, float]]]:
    for position, each in enumerate(applied, 1):
        observed = array("q", each.observed)
        of = array("i", each.thing_of) if each.thing_of else [0] * len(each)
        for name, column in zip(each.properties, each.columns, strict=True):
            for row, value in enumerate(column.values()):
                yield (each.things[of[row]], name), (observed[row], position << ROW_BITS | row, value)


def newest_by_hand(applied: list[Batch]) -> dict[tuple[str, str], tuple[int, int, float]]:
    return newest_left(applied, lambda *_: False)


def state_of(twin: Twin) -> dict[tuple[str, str], tuple[int, int, Any]]:
    return {
        (thing, name): (reading.observed_at, reading.seq, reading.value)
        for thing in twin.names("plant")
        for name, reading in twin.newest("plant", thing).items()
    }


@given(batches())
def test_the_newest_is_by_event_time_then_by_arrival(applied: list[Batch]) -> None:
    """§5: late readings do not take a newer one's place; a correction, of the same time, does."""
    twin = Twin()
    for position, each in enumerate(applied, 1):
        twin.apply(position, each)
    assert state_of(twin) == newest_by_hand(applied)
    for (thing, name), (observed_at, seq, value) in newest_by_hand(applied).items():
        reading = twin.value("plant", thing, name)
        assert reading and (reading.observed_at, reading.seq, reading.value) == (observed_at, seq, value)


@given(batches(), st.integers(0, 8), st.sampled_from(["", "pump"]), st.sampled_from(["", *NAMES]), st.integers(0, 5))
def test_what_is_withdrawn_is_not_the_newest(
    applied: list[Batch], position: int, thing: str, name: str, start: int
) -> None:
    """Readings of later records stay, and the history gives back what is newest of the rest."""
    deletion = Deletion(id="d", project="plant", thing=thing, property=name, start=start, end=4)
    twin = Twin()
    for number, each in enumerate(applied, 1):
        twin.apply(number, each)
    before = state_of(twin)
    lost = {(owner, one) for owner, names in twin.withdraw(deletion, position) for one in names}

    def gone(key: tuple[str, str], observed_at: int, seq: int) -> bool:
        return deletion.covers(*key, observed_at) and seq >> ROW_BITS <= position

    kept = {key: value for key, value in before.items() if not gone(key, *value[:2])}
    after = state_of(twin)
    assert all(after[key] == value for key, value in kept.items())
    assert not any(gone(key, *value[:2]) for key, value in after.items())
    assert before.keys() - after.keys() <= lost
    left = {key: value for key, value in newest_left(applied, gone).items() if key in lost}
    twin.refill(
        Reading(project="plant", thing=owner, property=one, observed_at=at, received_at=at, value=value, seq=seq)
        for (owner, one), (at, seq, value) in left.items()
    )
    assert state_of(twin) == newest_left(applied, gone)


def newest_left(
    applied: list[Batch], gone: Callable[[tuple[str, str], int, int], bool]
) -> dict[tuple[str, str], tuple[int, int, float]]:
    best: dict[tuple[str, str], tuple[int, int, float]] = {}
    for key, candidate in readings_of(applied):
        if not gone(key, *candidate[:2]):
            best[key] = max(best.get(key, candidate), candidate)
    return best


@given(batches(), st.integers(0, 8), st.integers(0, 8))
def test_snapshot_and_replay_give_the_same_twin(applied: list[Batch], taken: int, again_from: int) -> None:
    """A snapshot with the journal after it, or some of before it too, equals never having stopped."""
    twin, files = Twin(), PowerLossFiles(1)
    files.make_folder(PATH.parent)
    for position, each in enumerate(applied, 1):
        twin.apply(position, each)
        if position == taken:
            write_atomic(files, PATH, b"".join(snapshot.write_slices(twin, position)))
    restored = Twin()
    covered = snapshot.load(restored, files.power_loss(), PATH)
    assert covered == (taken if 0 < taken <= len(applied) else 0)
    for position, each in enumerate(applied, 1):
        if position > min(covered, again_from):
            restored.apply(position, each)
    assert state_of(restored) == state_of(twin)
    assert restored.position == twin.position


@given(batches(), st.data())
def test_a_damaged_snapshot_is_told_and_never_misread(applied: list[Batch], data: st.DataObject) -> None:
    twin, files = Twin(), PowerLossFiles(1)
    files.make_folder(PATH.parent)
    for position, each in enumerate(applied, 1):
        twin.apply(position, each)
    whole = bytearray(b"".join(snapshot.write_slices(twin, len(applied))))
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        del whole[at:]
    else:
        whole[at] ^= 1 << data.draw(st.integers(0, 7))
    write_atomic(files, PATH, bytes(whole))
    try:
        covered = snapshot.load(Twin(), files, PATH)
    except DamagedError as error:
        assert error.remedy
    else:
        raise AssertionError(f"damage at byte {at} went unnoticed: {covered}")


def test_two_times_and_the_quality() -> None:
    """§1"""
    twin = Twin()
    twin.apply(1, batch(("a",), [Row("pump", 5, (1.0,), FLAG_STAMPED)], received_at=9))
    twin.apply(2, batch(("b",), [Row("pump", 6, (2.0,), FLAG_SUSPECT)], received_at=10))
    twin.apply(3, batch(("c",), [Row("pump", 7, (3.0,))], received_at=11))
    found = twin.newest("plant", "pump")
    assert [(found[name].observed_at, found[name].received_at, found[name].quality) for name in "abc"] == [
        (5, 9, "stamped"),
        (6, 10, "suspect"),
        (7, 11, "good"),
    ]


def test_projects_do_not_meet() -> None:
    """§11"""
    twin = Twin()
    twin.apply(1, batch(("a",), [Row("pump", 5, (1.0,))], project="other"))
    assert twin.newest("plant", "pump") == {}
    assert twin.value("plant", "pump", "a") is None
    assert twin.newest("other", "pump")["a"].value == 1.0


@pytest.mark.parametrize(
    ("age_s", "declared_s", "state"),
    [
        (15, None, State.ONLINE), (25, None, State.LATE), (60, None, State.SILENT),
        (60, 60.0, State.ONLINE), (200, 60.0, State.LATE), (400, 60.0, State.SILENT),
    ],
)  # fmt: skip
def test_online_late_silent(age_s: float, declared_s: float | None, state: State) -> None:
    presence = Presence()
    assert presence.state(0) is State.NEVER
    for second in range(0, 100, 10):
        presence.heard((1_000 + second) * NS_PER_S)
    assert presence.state((1_090 + round(age_s)) * NS_PER_S, declared_s) is state


def test_a_clock_set_back_does_not_hide_a_silent_thing() -> None:
    """What is heard after the clock was set back is what counts."""
    presence = Presence()
    for second in range(0, 100, 10):
        presence.heard((100_000 + second) * NS_PER_S)
    for second in range(0, 100, 10):
        presence.heard((1_000 + second) * NS_PER_S)
    assert presence.state(1_095 * NS_PER_S) is State.ONLINE
    assert presence.state(1_300 * NS_PER_S) is State.SILENT


def test_connections_are_counted_and_not_remembered_over_a_restart() -> None:
    twin, files = Twin(), PowerLossFiles(1)
    files.make_folder(PATH.parent)
    twin.connected("plant", "pump", 1)
    twin.connected("plant", "pump", 1)
    twin.connected("plant", "pump", -1)
    presence = twin.presence("plant", "pump")
    assert presence and presence.connections == 1
    write_atomic(files, PATH, b"".join(snapshot.write_slices(twin, 1)))
    restored = Twin()
    snapshot.load(restored, files, PATH)
    presence = restored.presence("plant", "pump")
    assert presence and presence.connections == 0


def test_a_removed_thing_is_forgotten_with_its_wishes() -> None:
    twin = Twin()
    twin.apply(1, batch(("a",), [Row("pump", 1, (1.0,)), Row("fan", 1, (2.0,))]))
    twin.want("plant", "pump", {"a": 3}, 5, "mei")
    twin.connected("plant", "pump", 1)
    for _ in twin.withdraw(Deletion(id="d", project="plant", thing="pump", removes=True), 1):
        pass
    twin.connected("plant", "pump", -1)  # its connection ends a moment later
    assert list(twin.names("plant")) == ["fan"] and twin.desired("plant", "pump") == {}


def test_wishes_go_with_their_property_and_time() -> None:
    twin = Twin()
    for at, name in enumerate(("a", "b"), 1):
        twin.want("plant", "pump", {name: at}, at, "mei")
    list(twin.withdraw(Deletion(id="d", project="plant", thing="pump", property="a", start=2), 9))
    assert set(twin.desired("plant", "pump")) == {"a", "b"}
    list(twin.withdraw(Deletion(id="d", project="plant", thing="pump", property="a"), 9))
    assert set(twin.desired("plant", "pump")) == {"b"}


def test_a_value_deleted_from_a_record_is_not_read_from_its_replay() -> None:
    twin = Twin()
    twin.apply(1, batch(("a", "b"), [Row("pump", 1, (float("nan"), 2.0))]))
    assert set(twin.newest("plant", "pump")) == {"b"} and twin.value("plant", "pump", "a") is None
