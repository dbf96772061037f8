"""The electricity that heat and cold take, as CityLearn's devices have it: heat pumps and electric heaters.

A heat pump reaches a share (`efficiency`) of what Carnot's limit allows between outdoors and its water; where that is
below zero or above 20 it is 20. A heater gives its efficiency. Neither takes more than its power, where one is given.

Source: CityLearn 2.1.2, `energy_model.HeatPump` and `ElectricHeater`.
"""

from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np

from taihu.kernel.arrays import Numbers

_KELVIN = 273.15
_COP_MAX = 20.0
_DEFAULTS = {
    "HeatPump": {"efficiency": 0.2, "target_heating_temperature": 45.0, "target_cooling_temperature": 8.0},
    "ElectricHeater": {"efficiency": 0.9},
}


def known(device: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether this is a device of the schema that electricity can be reckoned of."""
    return isinstance(device, Mapping) and _kind(device) in _DEFAULTS


def needs_outdoors(device: Mapping[str, Any]) -> bool:
    """Whether its electricity depends on the temperature outdoors."""
    return _kind(device) == "HeatPump"


def electricity_kwh(device: Mapping[str, Any], demand_kwh: Numbers, outdoor_c: Numbers, *, cooling: bool) -> Numbers:
    """What a device takes for a demand of heat, or of cold, hour by hour.

    >>> heater = {"type": "citylearn.energy_model.ElectricHeater", "attributes": {"efficiency": 0.8}}
    >>> electricity_kwh(heater, np.array([4.0]), np.array([np.nan]), cooling=False).tolist()
    [5.0]

    Raises:
        ValueError: an attribute is no number above zero.
    """
    given = {key: value for key, value in (device.get("attributes") or {}).items() if value is not None}
    sizes = _DEFAULTS[_kind(device)] | given
    ratio: float | Numbers = _number(sizes, "efficiency")
    if _kind(device) == "HeatPump":
        water = _number(sizes, f"target_{'cooling' if cooling else 'heating'}_temperature")
        lift = outdoor_c - water if cooling else water - outdoor_c
        cop = ratio * (water + _KELVIN) / np.where(lift > 0, lift, np.nan)
        ratio = np.where(cop <= _COP_MAX, cop, _COP_MAX)
    taken = np.maximum(demand_kwh, 0.0) / ratio
    power = given.get("nominal_power") if not device.get("autosize") else None
    return np.asarray(taken if power is None else np.minimum(taken, _number(given, "nominal_power")))


def _kind(device: Mapping[str, Any]) -> str:
    return str(device.get("type")).rpartition(".")[2]


def _number(sizes: Mapping[str, Any], key: str) -> float:
    value = sizes[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < np.inf:
        raise ValueError(f"{key} is no number above zero: {value!r}")
    return float(value)
