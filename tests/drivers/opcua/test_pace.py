"""The declared sampling: doubles under load, halves when there is room, never below what was asked for."""

from hypothesis import given
from hypothesis import strategies as st

from taihu.drivers.opcua.pace import Pace


def spend(pace: Pace, share: float, seconds: float) -> int:
    """Rounds of a tenth of a second, `share` of each at work; how often the interval changed."""
    return sum(pace.spend(0.1 * share, 0.1 * (1 - share)) for _ in range(round(seconds * 10)))


def test_a_busy_window_doubles_the_interval_up_to_a_minute() -> None:
    pace = Pace(1.0)
    assert not pace.sampling
    assert spend(pace, 0.9, 2.1) == 1
    assert (pace.interval_s, pace.sampling) == (2.0, True)
    assert spend(pace, 1.0, 60.0) == 5
    assert pace.interval_s == 60.0


def test_room_for_a_while_halves_it_down_to_what_was_asked_for() -> None:
    pace = Pace(0.5)
    spend(pace, 1.0, 4.2)
    assert pace.interval_s == 2.0
    assert spend(pace, 0.1, 8.0) == 0
    assert spend(pace, 0.1, 30.0) == 2
    assert (pace.interval_s, pace.sampling) == (0.5, False)


def test_what_is_neither_busy_nor_calm_stays() -> None:
    pace = Pace(0.5)
    assert spend(pace, 0.5, 60.0) == 0


def test_an_interval_beyond_a_minute_is_kept() -> None:
    pace = Pace(300.0)
    assert spend(pace, 1.0, 60.0) == 0


@given(st.floats(0.01, 600), st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), max_size=60))
def test_it_never_leaves_its_bounds(asked: float, rounds: list[tuple[float, float]]) -> None:
    pace = Pace(asked)
    for busy, waited in rounds:
        before = pace.interval_s
        assert pace.spend(busy, waited) == (pace.interval_s != before)
        assert asked <= pace.interval_s <= max(asked, 60.0)
