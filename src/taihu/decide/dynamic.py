"""The best plan of one battery by its efficiency curve: dynamic programming over its content.

For where each step's cost depends on that step alone: no demand charge, peak, ramp or group. The curve makes the
problem non-convex, which no linear program sees. A step ends at one of the levels, or with one of the powers that may
be best whatever the content: none, the most, the corners of the curve, and what brings the meter to zero or a limit.

Source: R. Bellman, Dynamic Programming, Princeton University Press, 1957.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from taihu.decide.judge import stored_kw
from taihu.decide.problem import Battery, Numbers, Problem, series
from taihu.decide.stores import end_price, taper_lines

_LEVELS = 129
_POWERS = 513  # to each side, among which the power that moves so much is found
_TIE = 1e-6  # of the dearest kWh: what moving a kWh costs, and a little more when it is late
_REACH = 2  # levels to each side, over which the worth of a kWh is taken
_NEAR = 1e-9

Steps = NDArray[np.intp]


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
    levels = np.unique(np.append(np.linspace(0.0, battery.capacity_kwh, levels_max), battery.band))
    choices, costs = _Choices(problems, battery, levels), _Costs(problems, weights, battery)
    values = _values(problem, battery, levels, choices, costs)
    power, content, worth = (np.empty(problem.steps) for _ in range(3))
    held, reach = battery.held_kwh, _REACH * battery.capacity_kwh / (levels_max - 1)
    for step in range(problem.steps):
        to, runs, ends = choices.of(now := np.array([step]), np.array([held]))
        powers, after = np.append(to, runs), np.append(levels, ends)
        best = int(np.argmin(costs.of(now, powers, after)[0, 0] + np.interp(after, levels, values[step + 1])))
        power[step], content[step] = powers[best], after[best]
        held = float(after[best])
        around = np.clip([held - reach, held + reach], 0.0, battery.capacity_kwh)
        low, high = np.interp(around, levels, values[step + 1])
        worth[step] = (low - high) / (around[1] - around[0])
    return Path(power, content, worth)


def _values(problem: Problem, battery: Battery, levels: Numbers, choices: "_Choices", costs: "_Costs") -> Numbers:
    """What is to come costs from the beginning of each step on, and at the end, at each level of content."""
    price = battery.end_price
    if price is None:
        price = end_price(problem.price(problem.meters[0]), battery.one_way)
    each: dict[int, list[Numbers]] = {}
    for hours in set(problem.step_h.tolist()):
        steps = np.flatnonzero(problem.step_h == hours)
        to, runs, ends = choices.of(steps, levels)
        columns = costs.of(steps, to, levels), ends, costs.of(steps, runs, ends)
        each |= {int(step): one for step, *one in zip(steps, *columns, strict=True)}
    values = np.empty((problem.steps + 1, len(levels)))
    values[-1] = -price * levels
    for step in reversed(range(problem.steps)):
        (to, ends, runs), then = each[step], values[step + 1]
        values[step] = np.minimum((to + then).min(axis=1), (runs + np.interp(ends, levels, then)).min(axis=1))
    return values


class _Choices:
    """What a battery can do in each step."""

    def __init__(self, problems: Sequence[Problem], battery: Battery, levels: Numbers) -> None:
        self._problem, self._battery, self._levels = problems[0], battery, levels
        gives, takes = (np.linspace(0.0, most, _POWERS) for most in (-battery.discharge_kw, battery.charge_kw))
        out, into = (np.maximum.accumulate(np.abs(stored_kw(battery, side))) for side in (gives, takes))
        self._power, self._moved = (np.append(one[:0:-1], two) for one, two in ((gives, takes), (-out, into)))
        self._corners = _corners(problems, battery)
        self._least = np.full(self._problem.steps, -battery.discharge_kw)
        if not self._problem.battery_to_vehicle:
            loads = [np.maximum(one.meters[0].load_kw, 0.0) for one in problems]
            self._least = np.maximum(self._least, -np.min(loads, axis=0))

    def of(self, steps: Steps, held: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """From what is held, in steps of equal hours: the power to each level, NaN where the battery cannot; the
        corners, as far as it can; and what it holds after those. By steps, contents, choices.
        """
        battery, hours = self._battery, float(self._problem.step_h[steps[0]])
        most = np.interp((battery.capacity_kwh - held) / hours, self._moved, self._power)
        for share, fall in taper_lines(battery.taper):
            slower = battery.charge_kw * np.maximum(0.0, share + fall * held / battery.capacity_kwh)
            most = np.minimum(most, slower)
        least = np.maximum(self._least[steps, None], np.interp(-held / hours, self._moved, self._power))
        moved = (self._levels - held[:, None]) / hours
        to = np.interp(moved, self._moved, self._power)
        able = (moved >= self._moved[0] - _NEAR) & (moved <= self._moved[-1] + _NEAR) & (to <= most[:, None] + _NEAR)
        to = np.where(able & (to >= least[:, :, None] - _NEAR), to, np.nan)
        runs = np.clip(self._corners[steps, None, :], least[:, :, None], most[:, None])
        ends = np.clip(held[:, None] + hours * stored_kw(battery, runs), 0.0, battery.capacity_kwh)
        return to, runs, ends


def _corners(problems: Sequence[Problem], battery: Battery) -> Numbers:
    """Powers of each step that may be best whatever the battery holds."""
    count = problems[0].steps
    shares = np.unique([0.0, 1.0, *(share for share, _ in battery.curve if share < 1.0)])
    found = [np.full(count, kw) for kw in (*(battery.charge_kw * shares), *(-battery.discharge_kw * shares[1:]))]
    for meter in (one.meters[0] for one in problems):
        found.append(-meter.load_kw)
        for sign, limit in ((1.0, meter.import_max_kw), (-1.0, meter.export_max_kw)):
            most = np.maximum(series(limit, count, "", limit=True), 0.0)
            if np.isfinite(most).any():
                found.append(np.where(np.isfinite(most), sign * most, 0.0) - meter.load_kw)
    return np.stack(found, axis=1)


class _Costs:
    """What each step costs, all futures by their weights."""

    def __init__(self, problems: Sequence[Problem], weights: Sequence[float], battery: Battery) -> None:
        first, meters, self._weights = problems[0], [one.meters[0] for one in problems], np.array(weights)
        self._hours, unit, self._sum = first.step_h, first.dearest, float(sum(weights))
        self._load = np.array([one.load_kw for one in meters])
        self._paid = np.array([one.objective.cost * one.meters[0].export_price for one in problems])
        self._dearer = np.array([one.price(one.meters[0]) for one in problems]) - self._paid
        self._moving = battery.wear_price + _TIE * unit * (1 + np.arange(first.steps) / first.steps)
        self._limits = [
            (sign, np.maximum(most, 0.0), unit * multiple)
            for sign, name, multiple in (
                (1.0, "import_max_kw", first.multiples.grid),
                (-1.0, "export_max_kw", first.multiples.feed_in),
            )
            if np.isfinite(
                most := np.array([series(getattr(one, name), first.steps, name, limit=True) for one in meters])
            ).any()
        ]
        self._band, self._outside = battery.band, unit * first.multiples.charge

    def of(self, steps: Steps, power: Numbers, after: Numbers) -> Numbers:
        """Of steps of equal hours, by power and the content after it; infinite where there is no power."""
        load, paid, dearer = (one[:, steps, None, None] for one in (self._load, self._paid, self._dearer))
        net, (low, high) = load + power, self._band
        cost = paid * net + dearer * np.maximum(net, 0.0)
        for sign, most, each in self._limits:
            cost += each * np.maximum(sign * net - most[:, steps, None, None], 0.0)
        own = self._moving[steps, None, None] * np.abs(power)
        own = own + self._outside * (np.maximum(low - after, 0.0) + np.maximum(after - high, 0.0))
        cost = (np.tensordot(self._weights, cost, 1) + self._sum * own) * self._hours[steps[0]]
        return np.where(np.isnan(power), np.inf, cost)
