"""The units in which plans are made, whatever things declare: conversion once, at the pilot's edge (§2).

A property that a controller names must be of the right sort, and say its unit: a meter in W that is taken for one in kW
is wrong by a thousand.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Protocol

from taihu.kernel.currencies import currency_in
from taihu.kernel.errors import RefusedError
from taihu.kernel.flexible import HeatConfig, JobConfig, LoadConfig, SchedulerConfig, SolarConfig
from taihu.kernel.sections import ControllerConfig
from taihu.kernel.units import UnitError, commensurable, converter

_OURS = ("kW", "kW.h", "kg/(kW.h)", "1/(kW.h)", "Cel", "s")
_AMOUNTS = ("sum", "increase", "time_mean", "last")  # of a window

POWER, FLOW = ("kW",), ("kW", "kW.h")  # an instant; what an hour took, which either says
ENERGY, INTENSITY, TEMPERATURE = ("kW.h",), ("kg/(kW.h)",), ("Cel",)


class UnitMismatch(RefusedError):
    """A property that a controller names has no unit, or one of another sort; the remedy says which is needed."""

    code = "controller-unit"


class Units(Protocol):
    """What the node says of the unit of a path."""

    async def unit(self, project: str, path: str) -> str | None:
        """The unit; empty where none is declared, None while nothing was read."""
        ...


@lru_cache(256)
def scale(unit: str | None) -> tuple[float, float]:
    """Factor and offset that turn a value into kW, kW.h, kg/(kW.h), money/(kW.h), Cel or s; others stay as they are.

    >>> scale("W"), scale("g{CO2}/(kW.h)"), scale("%")
    ((0.001, 0.0), (0.001, 0.0), (1.0, 0.0))
    """
    for ours in _OURS if unit else ():
        try:
            if unit and commensurable(unit, ours):
                return converter(unit, ours)
        except UnitError:
            break
    return 1.0, 0.0


def ours(value: Any, unit: str | None) -> Any:
    """A value in the pilot's unit; what is no number stays as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    factor, offset = scale(unit)
    return value if (factor, offset) == (1.0, 0.0) else value * factor + offset


def theirs(value: float, unit: str | None) -> float:
    """A value of the pilot's in the unit of a property: a whole number where it is one.

    >>> theirs(2.5, "W"), theirs(2.5, "kW")
    (2500, 2.5)
    """
    factor, offset = scale(unit)
    if (factor, offset) == (1.0, 0.0):
        return value
    found = round((value - offset) / factor, 6)
    return int(found) if found.is_integer() else found


def window_of(window: Mapping[str, Any], unit: str | None) -> dict[str, Any]:
    """A window of the history in the pilot's unit."""
    return {**window, **{name: ours(window[name], unit) for name in _AMOUNTS if name in window}}


async def check_units(api: Units, project: str, config: ControllerConfig | SchedulerConfig) -> None:
    """Pass a controller whose properties are of the right sort, as far as they are known.

    Raises:
        UnitMismatch: it names the property.
    """
    for path, wanted in _named(config):
        said = await api.unit(project, path)
        if said is not None and not any(said and commensurable(said, one) for one in wanted):
            how = f"is in {said}" if said else "has no declared unit"
            raise UnitMismatch(f"{path} {how}, and {config.name} needs {' or '.join(wanted)}.", "Declare its unit.")
    await currency_of(api, project, config)


async def currency_of(api: Units, project: str, config: ControllerConfig | SchedulerConfig) -> str:
    """The currency that its settings, or the units of its price properties, name; empty where none does.

    Raises:
        UnitMismatch: they name two.
    """
    if isinstance(config, ControllerConfig):
        said, paths = [(config.currency, config.name)], [config.price]
    else:
        said = [(one.currency, config.name) for one in (config.buys, config.sells)]
        paths = [one.property.partition("@")[0] for one in (config.buys, config.sells)]
    said += [(currency_in(await api.unit(project, path)), path) for path in paths if path]
    first, by = next((one for one in said if one[0]), ("", ""))
    for code, where in said:
        if code and code != first:
            raise UnitMismatch(
                f"{by} counts in {first}, and {where} in {code}, which do not add.", "Give all prices in one currency."
            )
    return first


def _named(config: ControllerConfig | SchedulerConfig) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The properties that a controller reads or writes, with the sorts of units that each may have."""
    found: list[tuple[str, tuple[str, ...]]] = [(config.net, POWER), (config.intensity, INTENSITY)]
    found.append((config.marginal, INTENSITY))
    if isinstance(config, ControllerConfig):
        found += [(path, FLOW) for path in (config.load, config.generation, config.energy, config.shadow)]
        found += [(f"{config.battery}/{name}", POWER) for name in (config.power, config.setpoint)]
    else:
        found.append((config.base, FLOW))
        for one in config.assets:
            found.append((f"{one.thing}/{one.power}", POWER))
            match one:
                case SolarConfig():
                    found.append((one.energy_path, FLOW))
                    found.append((f"{one.thing}/{one.limit}" if one.limit else "", POWER))
                case HeatConfig():
                    found += [(f"{one.thing}/{one.temperature}", TEMPERATURE), (one.outside, TEMPERATURE)]
                case JobConfig():
                    found.append((f"{one.thing}/{one.remaining}", ENERGY))
            if not isinstance(one, LoadConfig | SolarConfig):
                found.append((f"{one.thing}/{one.setpoint}", POWER))
    return ((path, wanted) for path, wanted in found if path)
