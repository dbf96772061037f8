"""Batteries of a schema: sizes, losses and curves, one battery by itself and then all together.

A battery that may not be emptied is one as large as what may be taken from it, and its curve of power is that part's.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from taihu.decide.battery import POWER, ROUND_TRIP, Battery, Curve

_LEAST = 1e-6  # kWh and kW: as good as none
_KNOWN = Battery()
NO_BATTERY = Battery(capacity_kwh=_LEAST, power_kw=_LEAST)


def battery_of(capacity_kwh: float, power_kw: float, attributes: Mapping[str, Any]) -> Battery:
    """One battery; what is not given is the challenge's own.

    Raises:
        ValueError: a share or a curve is none; the message says which.
    """
    usable = _share(attributes, "depth_of_discharge", 1.0, least=1e-3)
    power = _curve(attributes, "capacity_power_curve", POWER)
    charge = np.union1d([0.0, 1.0], np.clip((power.at - (1 - usable)) / usable, 0.0, 1.0))
    return Battery(
        capacity_kwh=max(capacity_kwh * usable, _LEAST),
        power_kw=max(power_kw, _LEAST),
        loss_per_cycle=_share(attributes, "capacity_loss_coefficient", float(_KNOWN.loss_per_cycle)),
        loss_per_hour=_share(attributes, "loss_coefficient", 0.0),
        round_trip=_curve(attributes, "power_efficiency_curve", ROUND_TRIP, least=1e-2),
        power=Curve(charge, power.of(charge * usable + 1 - usable)),
    )


def together(batteries: Sequence[Battery]) -> Battery:
    """All of them as one description, a value and a row each."""
    return Battery(
        capacity_kwh=np.array([one.capacity_kwh for one in batteries]),
        power_kw=np.array([one.power_kw for one in batteries]),
        loss_per_cycle=np.array([one.loss_per_cycle for one in batteries]),
        loss_per_hour=np.array([one.loss_per_hour for one in batteries]),
        round_trip=_rows([one.round_trip for one in batteries]),
        power=_rows([one.power for one in batteries]),
    )


def _rows(curves: Sequence[Curve]) -> Curve:
    """A row for each at the points of all: lines through more of their own points are the same lines."""
    at = np.unique(np.concatenate([one.at for one in curves]))
    rows = np.array([one.of(at) for one in curves])
    return Curve(at, rows[0] if (rows == rows[0]).all() else rows)


def _share(attributes: Mapping[str, Any], key: str, default: float, least: float = 0.0) -> float:
    value = attributes.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= 1:
        raise ValueError(f"{key} is no number from {least:g} to 1: {value!r}")
    return float(value)


def _curve(attributes: Mapping[str, Any], key: str, default: Curve, least: float = 0.0) -> Curve:
    value = attributes.get(key)
    if value is None:
        return default
    try:
        points = np.array(value, np.float64)
    except (TypeError, ValueError):
        points = np.empty(0)
    whole = points.ndim == 2 and points.shape[1] == 2 and len(points) > 1
    if not whole or not (np.diff(points[:, 0]) > 0).all() or not ((points[:, 1] >= least) & (points[:, 1] <= 1)).all():
        raise ValueError(f"{key} is no list of rising points with values from {least:g} to 1: {value!r}")
    return Curve(points[:, 0], points[:, 1])
