"""The best plan of one battery by its efficiency curve: dynamic programming over levels of content.

Exact for its levels where each step's cost depends on that step alone: no demand charge, peak, ramp or group. The
curve makes the problem non-convex, which no linear program sees.

Source: R. Bellman, Dynamic Programming, Princeton University Press, 1957.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from taihu.decide.problem import Battery, Numbers, Problem, series
from taihu.decide.stores import end_price, taper_lines

_LEVELS = 129
_TIE = 1e-6  # of the dearest kWh: what moving a kWh costs, and a little more when it is late
_REACH = 2  # levels to each side, over which the worth of a kWh is taken
_ROUNDS = 12
_SAME_KW = 1e-9


def can_plan(problem: Problem) -> bool:
    """Whether the problem is one battery with a curve, and nothing links its steps but that battery."""
    objective = problem.objective
    meter = problem.meters[0]
    return (
        len(problem.assets) == len(problem.meters) == 1
        and isinstance(problem.assets[0], Battery)
        and bool(problem.assets[0].curve)
        and not (problem.groups or objective.peak or objective.ramp or meter.demand_price)
    )


class Path(msgspec.Struct, frozen=True):
    """Power of each step, content at its end, and what a kWh more in the battery would be worth there."""

    power_kw: Numbers
    content_kwh: Numbers
    worth: Numbers


def plan_battery(problems: Sequence[Problem], weights: Sequence[float] = (1.0,), levels_max: int = _LEVELS) -> Path:
    """The path of least expected cost over several futures of one problem, the same path in all of them."""
    problem, battery = problems[0], problems[0].assets[0]
    assert isinstance(battery, Battery)
    held = min(max(0.0, battery.content_kwh), battery.capacity_kwh)
    levels = np.unique(np.append(np.linspace(0.0, battery.capacity_kwh, levels_max), held))
    worth = battery.end_price
    if worth is None:
        worth = end_price(problem.price(problem.meters[0]), battery.one_way)
    values = np.empty((problem.steps + 1, len(levels)))
    values[-1] = -worth * levels
    choices = np.empty((problem.steps, len(levels)), np.int32)
    costs = [_Costs(one, battery, levels) for one in problems]
    tables = {hours: _power(battery, levels, hours) for hours in set(problem.step_h.tolist())}
    each = np.empty((problem.steps, len(levels), len(levels)))
    for hours, power in tables.items():
        steps = np.flatnonzero(problem.step_h == hours)
        each[steps] = sum(weight * one.of(steps, power) for one, weight in zip(costs, weights, strict=True))
    for step in reversed(range(problem.steps)):
        cost = values[step + 1][None, :] + each[step]
        choices[step] = cost.argmin(axis=1)
        values[step] = cost[np.arange(len(levels)), choices[step]]
    power_kw, content = np.empty(problem.steps), np.empty(problem.steps)
    slopes = np.empty(problem.steps)
    level = int(np.searchsorted(levels, held))
    for step in range(problem.steps):
        after = int(choices[step, level])
        power_kw[step] = tables[float(problem.step_h[step])][level, after]
        content[step] = levels[after]
        low, high = max(0, after - _REACH), min(len(levels) - 1, after + _REACH)
        slopes[step] = -(values[step + 1][high] - values[step + 1][low]) / (levels[high] - levels[low])
        level = after
    return Path(power_kw, content, slopes)


def _power(battery: Battery, levels: Numbers, hours: float) -> Numbers:
    """The power at the terminals from each level to each; NaN where it is more than the battery can."""
    moved = (levels[None, :] - levels[:, None]) / hours
    shares, ways = np.array(battery.curve).T
    power = moved.copy()
    for _ in range(_ROUNDS):
        nominal = np.where(power >= 0, battery.charge_kw or 1.0, battery.discharge_kw or 1.0)
        way = np.interp(np.abs(power) / nominal, shares, ways)
        before, power = power, np.where(moved >= 0, moved / way, moved * way)
        if np.abs(power - before).max() < _SAME_KW:
            break
    most = np.full(len(levels), battery.charge_kw)
    for share, fall in taper_lines(battery.taper):
        most = np.minimum(most, battery.charge_kw * np.maximum(0.0, share + fall * levels / battery.capacity_kwh))
    able = (power <= most[:, None] + 1e-9) & (power >= -battery.discharge_kw - 1e-9)
    return np.where(able, power, np.nan)


class _Costs:
    """What each step of one problem costs; all that does not depend on the step is worked out once."""

    def __init__(self, problem: Problem, battery: Battery, levels: Numbers) -> None:
        meter, unit, multiples = problem.meters[0], problem.dearest, problem.multiples
        self._load, self._hours = meter.load_kw, problem.step_h
        self._price = problem.price(meter)
        self._paid = problem.objective.cost * meter.export_price
        self._moving = battery.wear_price + _TIE * unit * (1 + np.arange(problem.steps) / problem.steps)
        self._own = not problem.battery_to_vehicle
        self._limits = [
            (sign, np.maximum(most, 0.0), unit * multiple)
            for sign, limit, multiple in (
                (1.0, meter.import_max_kw, multiples.grid),
                (-1.0, meter.export_max_kw, multiples.feed_in),
            )
            if np.isfinite(most := series(limit, problem.steps, "", limit=True)).any()
        ]
        high = min(battery.high_kwh, battery.capacity_kwh)
        low = min(battery.low_kwh, high)
        outside = np.maximum(low - levels, 0) + np.maximum(levels - high, 0)
        self._outside = unit * multiples.charge * outside[None, :]

    def of(self, steps: NDArray[np.intp], power: Numbers) -> Numbers:
        """Of steps of equal hours, from each level to each; infinite where the battery cannot."""
        load, price, paid, moving = (
            one[steps][:, None, None] for one in (self._load, self._price, self._paid, self._moving)
        )
        net = load + power
        taken = np.maximum(net, 0.0)
        cost = price * taken + paid * (net - taken) + moving * np.abs(power)
        for sign, most, each in self._limits:
            over = sign * net - most[steps][:, None, None]
            cost += each * np.maximum(over, 0.0)
        cost = (cost + self._outside) * self._hours[steps[0]]
        able = ~np.isnan(power)
        if self._own:
            able = able & (-power <= np.maximum(load, 0.0) + 1e-9)
        return np.where(able, cost, np.inf)
