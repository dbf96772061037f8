"""What a meter counts, from when until when: what is accounted keeps the account that it had."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from taihu.carbon.accounts import Account, on_grids
from taihu.carbon.ledger import NOW
from taihu.carbon.parts import Memory, changed_from, part_at, recall, remember
from taihu.kernel.sections import AccountConfig

HOUR = 3_600_000_000_000
DAY_ONE = datetime(2022, 5, 1, tzinfo=UTC)
START = int(DAY_ONE.timestamp()) * 10**9


def test_a_submeter_is_on_the_grid_of_what_it_is_behind() -> None:
    """Through others between them; one that names a grid keeps to it, and of two accounts nobody knows which."""
    main = AccountConfig(meter="main", imported="e", region="CN-JS", upstream="losses")
    hall = AccountConfig(meter="hall", imported="e", behind="main")
    press = AccountConfig(meter="press", imported="e", behind="hall")
    own = AccountConfig(meter="own", imported="e", behind="main", intensity="grid/intensity")
    roof = AccountConfig(meter="roof", generation="e", behind="main")
    round_ = AccountConfig(meter="round", imported="e", behind="round")
    found = {one.meter: one for one in on_grids([press, hall, main, own, roof, round_])}
    assert [(found[name].region, found[name].upstream) for name in ("hall", "press")] == [("CN-JS", "losses")] * 2
    assert (found["own"].region, found["own"].intensity) == ("", "grid/intensity")
    assert (found["roof"], found["round"], found["main"]) == (roof, round_, main)
    assert on_grids([main, main, hall])[2] == hall


def config(region: str, since: int | None = None, until: int | None = None, **fields: Any) -> AccountConfig:
    moment = [None if hour is None else DAY_ONE + timedelta(hours=hour) for hour in (since, until)]
    return AccountConfig(meter="main", imported="energy", region=region, since=moment[0], until=moment[1], **fields)


def of(*configs: AccountConfig) -> list[Account]:
    return [Account("plant", "UTC", one) for one in configs]


def regions(memory: Memory, *hours: int) -> list[str]:
    found = [part_at(memory.parts, START + hour * HOUR) for hour in hours]
    return [one.account.region if one else "-" for one in found]


def test_a_change_without_a_date_counts_for_what_is_not_accounted_yet() -> None:
    done = START + 5 * HOUR
    first = remember(None, of(config("A")), 0)
    assert remember(first, of(config("A")), done) == first
    second = remember(first, of(config("B")), done)
    assert regions(second, 0, 4, 5, 9) == ["A", "A", "B", "B"]
    assert changed_from(first.parts, second.parts, done) is None
    assert regions(remember(second, of(config("A")), done + 3 * HOUR), 4, 5, 7, 8) == ["A", "B", "B", "A"]


def test_dates_say_otherwise_and_what_they_touch_is_told() -> None:
    done = START + 9 * HOUR
    first = remember(None, of(config("A")), 0)
    dated = remember(first, of(config("A", until=4), config("B", since=4)), done)
    assert regions(dated, 0, 3, 4, 8) == ["A", "A", "B", "B"]
    assert changed_from(first.parts, dated.parts, done) == START + 4 * HOUR
    assert remember(dated, of(config("A", until=4), config("B", since=4)), done) == dated
    ended = remember(dated, of(config("A", until=4), config("B", since=4, until=20)), done)
    assert regions(ended, 3, 19, 20) == ["A", "B", "-"]
    assert changed_from(dated.parts, ended.parts, done) is None
    corrected = remember(dated, of(config("C", since=2)), done)
    assert (regions(corrected, 1, 2, 8), changed_from(dated.parts, corrected.parts, done)) == (
        ["A", "C", "C"],
        START + 2 * HOUR,
    )


def test_intervals_of_another_length_never_lie_over_those_that_are_there() -> None:
    first = remember(None, of(config("A")), 0)
    found = remember(first, of(config("A", since=2, every="15m")), START + 5 * HOUR)
    assert [one.account.every for one in found.parts] == ["1h", "15m"]
    assert found.parts[1].start == START + 5 * HOUR


def test_a_part_begins_with_an_interval() -> None:
    half = msgspec.structs.replace(config("B", since=4), since=DAY_ONE + timedelta(hours=4, minutes=20))
    found = remember(None, of(config("A"), half), 0)
    assert [(one.start, one.end) for one in found.parts] == [(0, START + 5 * HOUR), (START + 5 * HOUR, NOW)]


def test_what_another_release_remembered_is_left() -> None:
    memory = remember(None, of(config("A")), 0)
    assert recall(msgspec.json.encode(memory)) == memory
    assert recall(b"") is recall(b'{"begin": 0, "written": [{"meter": "m", "colour": 1}], "parts": []}') is None


@st.composite
def changes(draw: Any) -> list[tuple[int, list[AccountConfig]]]:
    """Successive configurations, each with how far the meter is accounted when it is read."""
    found, done = [], 0
    for _ in range(draw(st.integers(1, 5))):
        cuts = sorted(draw(st.sets(st.integers(1, 12), max_size=2)))
        edges = [draw(st.sampled_from((None, 0, 3))), *cuts]
        starts = [edge for place, edge in enumerate(edges) if place == 0 or edge > (edges[0] or 0)]
        configs = [
            config(draw(st.sampled_from("ABC")), since, until)
            for since, until in zip(starts, [*starts[1:], None], strict=True)
        ]
        found.append((done, configs))
        done += draw(st.integers(0, 6))
    return found


@given(changes())
def test_parts_lie_one_after_the_other_and_reading_them_again_changes_nothing(
    history: list[tuple[int, list[AccountConfig]]],
) -> None:
    memory: Memory | None = None
    for hours, configs in history:
        done = START + hours * HOUR if hours else 0
        before, memory = memory, remember(memory, of(*configs), done)
        parts = memory.parts
        assert all(one.start < one.end for one in parts)
        assert all(one.end <= other.start for one, other in pairwise(parts))
        assert remember(memory, of(*configs), done + HOUR) == memory
        if before:
            changed = changed_from(before.parts, parts, done)
            for hour in range(hours):  # before what is told, all is as it was
                at = START + hour * HOUR
                if (changed is None or at < changed) and part_at(before.parts, at) and part_at(parts, at):
                    assert regions(before, hour) == regions(memory, hour)
        last = part_at(parts, NOW - 1)
        assert last is not None
        assert last.account.region == configs[-1].region  # what comes goes by the newest
