"""The best plan of one battery by its efficiency curve: dynamic programming over its content.

For where each step's cost depends on that step alone: no demand charge, peak, ramp or group. The curve makes the
problem non-convex, which no linear program sees. A step ends at one of the levels, or with one of the powers that may
be best whatever the content: none, the most, the corners of the curve, and what brings the meter to zero or a limit.

Source: R. Bellman, Dynamic Programming, Princeton University Press, 1957.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from taihu.decide.judge import stored_kw
from taihu.decide.problem import Battery, Problem, series
from taihu.decide.stores import end_price, taper_lines
from taihu.kernel.arrays import Numbers

_LEVELS = 129
_POWERS = 513  # to each side, among which the power that moves so much is found
_TIE = 1e-6  # of the dearest kWh: what moving a kWh costs, and a little more when it is late
_REACH = 2  # levels to each side, over which the worth of a kWh is taken
_NEAR = 1e-9


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
    for step, hours in enumerate(problem.step_h):
        to, runs, ends = choices.of(step, np.array([held]), choices.reach(np.array([held]), hours))
        powers, after = np.append(to, runs), np.append(levels, ends)
        best = int(np.argmin(costs.of(step, powers, after) + np.interp(after, levels, values[step + 1])))
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
    reach = {hours: choices.reach(levels, hours) for hours in set(problem.step_h.tolist())}
    values = np.empty((problem.steps + 1, len(levels)))
    values[-1] = -price * levels
    for step in reversed(range(problem.steps)):
        to, runs, ends = choices.of(step, levels, reach[float(problem.step_h[step])])
        then = values[step + 1]
        at_levels = costs.of(step, to, levels) + then
        at_corners = costs.of(step, runs, ends) + np.interp(ends, levels, then)
        values[step] = np.minimum(at_levels.min(axis=1), at_corners.min(axis=1))
    return values


Reach = tuple[Numbers, Numbers, Numbers]  # power to each level, NaN where it cannot; the most, and the least, that fits


class _Choices:
    """What a battery can do in each step."""

    def __init__(self, problems: Sequence[Problem], battery: Battery, levels: Numbers) -> None:
        self._hours, self._battery, self._levels = problems[0].step_h, battery, levels
        gives, takes = (np.linspace(0.0, most, _POWERS) for most in (-battery.discharge_kw, battery.charge_kw))
        out, into = (np.maximum.accumulate(np.abs(stored_kw(battery, side))) for side in (gives, takes))
        self._power, self._moved = (np.append(one[:0:-1], two) for one, two in ((gives, takes), (-out, into)))
        self._corners = _corners(problems, battery)
        self._least = np.full(problems[0].steps, -battery.discharge_kw)
        if not problems[0].battery_to_vehicle:
            loads = [np.maximum(one.meters[0].load_kw, 0.0) for one in problems]
            self._least = np.maximum(self._least, -np.min(loads, axis=0))

    def reach(self, held: Numbers, hours: float) -> Reach:
        """Where a step of so many hours can lead from what is held, whichever step it is."""
        battery = self._battery
        most = np.interp((battery.capacity_kwh - held) / hours, self._moved, self._power)
        for share, fall in taper_lines(battery.taper):
            slower = battery.charge_kw * np.maximum(0.0, share + fall * held / battery.capacity_kwh)
            most = np.minimum(most, slower)
        moved = (self._levels - held[:, None]) / hours
        to = np.interp(moved, self._moved, self._power)
        able = (moved >= self._moved[0] - _NEAR) & (moved <= self._moved[-1] + _NEAR) & (to <= most[:, None] + _NEAR)
        return np.where(able, to, np.nan), most, np.interp(-held / hours, self._moved, self._power)

    def of(self, step: int, held: Numbers, reach: Reach) -> tuple[Numbers, Numbers, Numbers]:
        """The power to each level, NaN where it cannot be; the corners, as far as they can; and what is held then."""
        (to, most, empties), own = reach, self._least[step]
        if own > -self._battery.discharge_kw:
            to = np.where(to >= own - _NEAR, to, np.nan)
        runs = np.clip(self._corners[step], np.maximum(own, empties)[:, None], most[:, None])
        ends = held[:, None] + self._hours[step] * stored_kw(self._battery, runs)
        return to, runs, np.clip(ends, 0.0, self._battery.capacity_kwh)


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

    def of(self, step: int, power: Numbers, after: Numbers) -> Numbers:
        """Of a step, by power and the content after it; infinite where there is no power."""
        size, (low, high) = (-1, *(1,) * power.ndim), self._band
        load, paid, dearer = (one[:, step].reshape(size) for one in (self._load, self._paid, self._dearer))
        net = load + power
        cost = paid * net + dearer * np.maximum(net, 0.0)
        for sign, most, each in self._limits:
            cost += each * np.maximum(sign * net - most[:, step].reshape(size), 0.0)
        own = self._moving[step] * np.abs(power)
        own = own + self._outside * (np.maximum(low - after, 0.0) + np.maximum(after - high, 0.0))
        found = ((self._weights.reshape(size) * cost).sum(axis=0) + self._sum * own) * self._hours[step]
        return np.where(np.isnan(power), np.inf, found)
