"""Hours with an inside: what a loop that follows the meter adds to a plan. The steps within hours are synthetic.

The data have no steps under an hour, so they are made up: five minutes each, their sums the measured hours. Load is
spread over an hour's steps at random (from a seed, no step telling of the next), PV along lines between the hours. The
plan is made every hour, as without; within the hour each house is told every five minutes to take half of what its
meter has just been off the plan, by the same function that drives batteries in the field. The other half is left to the
grid: of several houses some are over and some under. The loop knows the steps that have ended, and nothing else.
"""

from collections.abc import Callable

import numpy as np

from taihu.control.reflex import setpoint
from taihu.decide.battery import Batteries
from taihu.decide.plan import Plan
from taihu.kernel.arrays import Numbers
from taihu.sim.citylearn import Buildings, hour_seen

STEPS = 12  # of an hour
_SHARE = 0.5  # of what the plan was off, that the battery takes; chosen on phase 1
_UNEVEN = 2.0  # shape of the gamma law: the load of a step varies by 1 / sqrt(2) of its mean


def play_reflex(buildings: Buildings, progress: Callable[[int], None] | None = None, seed: int = 2022) -> Numbers:
    """A year of the plan with a reflex within the hour: what each building's meter sees (kWh), buildings by hours."""
    battery = buildings.battery
    count, hours = buildings.load_kwh.shape
    plan, batteries = Plan(battery, count), Batteries(battery, count)
    power_kw = np.broadcast_to(battery.power_kw, count)
    steps = net_steps(buildings, seed)
    meters = buildings.net_kwh.copy()
    for hour in range(hours - 1):
        planned = plan.decide(hour_seen(buildings, hour, meters, batteries))
        for step in range(STEPS if planned.any() else 0):
            off = STEPS * steps[:, hour * STEPS + STEPS + step - 1] - plan.expected_kwh
            told = [
                setpoint(_SHARE * float(one) - float(kw), -float(most), float(most))
                for one, kw, most in zip(off, planned, power_kw, strict=True)
            ]
            meters[:, hour + 1] += batteries.step(np.array(told) / STEPS, 1 / STEPS)
        if progress is not None and hour % 100 == 0:
            progress(hour)
    return meters


def net_steps(buildings: Buildings, seed: int) -> Numbers:
    """Load less PV of each step, kWh, buildings by steps: synthetic, but for the sums of the hours."""
    load, solar = buildings.load_kwh, buildings.solar_kwh
    parts = np.random.default_rng(seed).gamma(_UNEVEN, size=(*load.shape, STEPS))
    parts *= (load / parts.sum(axis=2))[:, :, None]
    middle = np.arange(solar.shape[1]) + 0.5
    at = (np.arange(solar.shape[1] * STEPS) + 0.5) / STEPS
    lines = np.array([np.interp(at, middle, one) for one in solar]).reshape(parts.shape)
    whole = lines.sum(axis=2)
    lines *= np.divide(solar, whole, out=np.zeros_like(whole), where=whole > 0)[:, :, None]
    return np.asarray((parts - lines).reshape(len(load), -1))
