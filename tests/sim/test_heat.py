"""What devices of heat and cold take, as CityLearn's own classes say (1.3.6, `energy_model.HeatPump`)."""

from typing import Any

import numpy as np
import pytest

from taihu.sim.heat import electricity_kwh, known, needs_outdoors

OUTDOORS = np.array([-10.0, 5.0, 8.0, 9.0, 20.0, 35.0, 50.0])
PUMP = {"type": "citylearn.energy_model.HeatPump", "attributes": {"efficiency": 0.25, "nominal_power": None}}
HEATER = {"type": "citylearn.energy_model.ElectricHeater", "attributes": {"efficiency": 0.8, "nominal_power": 6.0}}


@pytest.mark.parametrize(
    ("cooling", "kwh"),
    [
        (True, [0.3, 0.3, 0.3, 0.3, 1.024364218, 2.304819491, 3.585274764]),
        (False, [4.148986327, 3.017444602, 2.791136256, 2.715700141, 1.885902876, 0.75436115, 0.3]),
    ],
)
def test_a_heat_pump_is_citylearns(cooling: bool, kwh: list[float]) -> None:
    taken = electricity_kwh(PUMP, np.full(len(OUTDOORS), 6.0), OUTDOORS, cooling=cooling)
    assert np.allclose(taken, kwh, atol=1e-9)


def test_a_heater_takes_no_more_than_its_power_unless_it_is_sized_by_itself() -> None:
    demand = np.array([0.0, 4.0, 40.0])
    nowhere = np.full(3, np.nan)
    assert np.allclose(electricity_kwh(HEATER, demand, nowhere, cooling=False), [0.0, 5.0, 6.0])
    assert np.allclose(electricity_kwh(HEATER | {"autosize": True}, demand, nowhere, cooling=False), [0.0, 5.0, 50.0])


def test_what_is_no_device() -> None:
    assert known(PUMP) and needs_outdoors(PUMP)
    assert known(HEATER) and not needs_outdoors(HEATER)
    nothing: list[Any] = [None, {}, [], {"type": None}, {"type": "citylearn.energy_model.Furnace"}]
    assert not any(map(known, nothing))


@pytest.mark.parametrize("wrong", [0, -1, "much", True, float("inf"), [1]])
def test_sizes_are_numbers_above_zero(wrong: Any) -> None:
    device = {"type": "HeatPump", "attributes": {"target_cooling_temperature": wrong}}
    with pytest.raises(ValueError, match="target_cooling_temperature is no number above zero"):
        electricity_kwh(device, np.ones(7), OUTDOORS, cooling=True)
