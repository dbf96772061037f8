"""A device that does not do what it is told is found, and one that cannot is excused."""

import pytest

from taihu.control.obedience import Obedience

SETTLE = 10


def watched(power: list[float], charge: float = 0.5, told: float = 2.0) -> list[bool]:
    watch, found = Obedience(0.2, SETTLE), []
    for turn, kw in enumerate(power):
        watch.tell(turn * 100, told)
        watch.see(turn * 100 + 50, turn * 100 + 50, kw, charge)
        found.append(watch.obeys)
    return found


def test_a_battery_that_does_not_obey_is_found() -> None:
    assert watched([0.0] * 7) == [True] * 5 + [False] * 2
    assert all(watched([2.1, 1.9, 0.0, 0.0, 2.0] * 4))


def test_a_reading_is_held_against_what_was_in_force_then() -> None:
    """A setpoint that came a moment ago need not show yet; one reading counts once."""
    watch = Obedience(0.2, SETTLE)
    watch.see(5, 5, 3.0, 0.5)  # nobody told it anything
    watch.tell(100, 2.0)
    for turn in range(1, 10):
        watch.tell(100 + 100 * turn, 2.0 if turn % 2 == 0 else -2.0)
        watch.see(105 + 100 * turn, 105 + 100 * turn, 1.0, 0.5)  # on its way from one to the other
        watch.see(105 + 100 * turn, 105 + 100 * turn, -9.0, 0.5)
    assert watch.obeys


@pytest.mark.parametrize("off", [-86_400, 290])
def test_a_device_whose_clock_is_wrong_is_judged_by_when_its_readings_come(off: int) -> None:
    watch = Obedience(0.2, SETTLE)
    for turn in range(1, 12):
        now = turn * 100
        watch.tell(now - 50, 2.0)
        watch.see(now, now + off, 2.0 if turn < 5 else 0.0, 0.5)
        assert watch.obeys is (turn < 10)


def test_it_is_tried_again() -> None:
    watch = Obedience(0.2, SETTLE)
    for turn in range(9):
        watch.tell(turn * 100, 2.0)
        watch.see(turn * 100 + 50, turn * 100 + 50, 0.0, 0.5)
    found = [watch.obeys]
    watch.forgive()
    assert [*found, watch.obeys] == [False, True]


def test_a_full_or_empty_battery_is_excused() -> None:
    assert all(watched([0.1] * 20, charge=0.99))
    assert all(watched([-0.1] * 20, charge=0.01, told=-2.0))
    assert not all(watched([-3.0] * 20, charge=0.99))


def test_readings_of_a_moment_are_no_proof() -> None:
    """A machine that is busy tells late: all that comes in that moment is off, and the device is right."""
    watch = Obedience(0.2, SETTLE, lasting_ns=1_000)
    for turn in range(12):
        watch.tell(turn * 100, 2.0)
        watch.see(turn * 100 + 50, turn * 100 + 50, 0.0, 0.5)
        assert watch.obeys is (turn < 10)


def test_who_was_not_told_in_time_goes_by_its_own_rule() -> None:
    watch = Obedience(0.2, SETTLE)
    watch.tell(0, 2.0)
    for minute in range(16, 60):
        watch.see(minute * 60 * 10**9, minute * 60 * 10**9, 0.0, 0.5)
    assert watch.obeys
