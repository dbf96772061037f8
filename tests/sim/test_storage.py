"""Batteries with curves of their own, as CityLearn's own class plays them (1.3.6, `energy_model.Battery`)."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.decide.battery import Batteries, Battery
from taihu.sim.storage import battery_of, together

OWN = {
    "power_efficiency_curve": [[0, 0.8], [0.3, 0.85], [0.7, 0.92], [0.8, 0.91], [1, 0.82]],
    "capacity_power_curve": [[0.0, 1], [0.8, 0.8], [1.0, 0.23]],
    "loss_coefficient": 0.001,
    "capacity_loss_coefficient": 1e-3,
}
WANTED = [3.0, 4.0, 9.0, 2.0, -1.0, 0.5, -6.0, -3.0, -4.0, 0.0]
MOVED = [3.0, 3.713277061, 3.37093707, 0.574783429, -0.931072361, 0.5, -1.594131443, -3.0, -3.545352937, 0.0]


def test_curves_and_losses_are_citylearns_alone_and_beside_others() -> None:
    own = battery_of(10.0, 4.0, OWN)
    for battery, count in ((own, 1), (together([own, battery_of(6.4, 5.0, {})]), 2)):
        batteries = Batteries(battery, count)
        assert np.allclose([batteries.step(kwh)[0] for kwh in WANTED], MOVED, atol=1e-9)
        assert batteries.content_kwh[0] == pytest.approx(0.743419986, abs=1e-9)
        assert batteries.capacity_kwh[0] == pytest.approx(9.98988085, abs=1e-9)


@given(st.lists(st.floats(-8, 8), min_size=1, max_size=30))
def test_what_is_not_given_is_the_challenges_own(wanted: list[float]) -> None:
    one, other = (Batteries(each, 2) for each in (together([battery_of(6.4, 5.0, {})] * 2), Battery()))
    for kwh in wanted:
        assert np.allclose(one.step([kwh, -kwh]), other.step([kwh, -kwh]), atol=1e-12)


def test_what_may_not_be_taken_out_is_not_there() -> None:
    battery = battery_of(10.0, 4.0, {"depth_of_discharge": 0.8})
    assert battery.capacity_kwh == 8.0
    assert np.allclose(battery.power.of(np.array([0.0, 0.75, 1.0])), [1.0, 1.0, 0.2])  # 0.75 of 8 is 0.8 of 10


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("depth_of_discharge", 0), ("loss_coefficient", 2), ("capacity_loss_coefficient", "x"),
        ("power_efficiency_curve", 0.9), ("power_efficiency_curve", [[0, 0.9], [1, 0]]),
        ("power_efficiency_curve", [[0, 0.9]]), ("capacity_power_curve", [[0, 1], [0, 1]]),
        ("capacity_power_curve", [[0, 1], [1, 2]]), ("capacity_power_curve", [[0, 1], [1]]),
        ("capacity_power_curve", [[0, "a"], [1, None]]),
    ],
)  # fmt: skip
def test_what_is_no_share_and_no_curve(key: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=key):
        battery_of(10.0, 4.0, {key: wrong})
