"""The fast layer: the meter is brought to zero inside the corridor, and a device that does not obey is found."""

from hypothesis import given
from hypothesis import strategies as st

from taihu.control.reflex import STEP_KW, Obedience, setpoint

KW = st.floats(-20, 20)


@given(KW, KW, KW, KW)
def test_a_setpoint_stays_in_its_corridor(net: float, battery: float, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert low - STEP_KW <= setpoint(net, battery, low, high) <= high + STEP_KW


@given(KW, KW)
def test_a_wide_corridor_brings_the_meter_to_zero(net: float, battery: float) -> None:
    assert abs(net - battery + setpoint(net, battery, -50, 50)) <= STEP_KW


def test_a_battery_that_does_not_obey_is_found_and_forgiven() -> None:
    watch, found = Obedience(0.2), []
    for _ in range(7):
        watch.see(2.0, 0.0, 0.5)
        found.append(watch.obeys)
    watch.forgive()
    assert [*found, watch.obeys] == [True] * 5 + [False] * 2 + [True]


def test_a_full_battery_is_excused() -> None:
    watch = Obedience(0.2)
    for _ in range(20):
        watch.see(2.0, 0.1, 0.99)
        watch.see(-2.0, -0.1, 0.01)
    assert watch.obeys
