"""The best plan of one battery by its efficiency curve: dynamic programming over its content.

For where each step's cost depends on that step alone: no demand charge, peak, ramp or group. The curve makes the
problem non-convex, which no linear program sees. A step ends at one of the levels, or with one of the powers that may
be best whatever the content: none, the most, the corners of the curve, and what brings the meter to zero or a limit.

Questions that differ in what they expect alone, such as those of a replay, are answered together; arrays have steps
first, then questions.

Source: R. Bellman, Dynamic Programming, Princeton University Press, 1957.
"""

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from taihu.decide.judge import stored_kw
from taihu.decide.problem import Battery, Problem, series
from taihu.decide.stores import end_price, taper_lines
from taihu.kernel.arrays import Ints, Numbers

Some = float | Numbers
Futures = Sequence[Problem]  # of one question, which differ in loads and prices alone

_LEVELS = 129
_POWERS = 513  # to each side, among which the power that moves so much is found
_TIE = 1e-6  # of the dearest kWh: what moving a kWh costs, and a little more when it is late
_REACH = 2  # levels to each side, over which the worth of a kWh is taken
_NEAR = 1e-9
_DIGITS = 12  # of kW, by which what leads from level to level is the same


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


def plan_battery(problems: Futures, weights: Sequence[float] = (1.0,), levels_max: int = _LEVELS) -> Path:
    """The path of least expected cost over several futures of one problem, the same path in all of them."""
    battery = problems[0].assets[0]
    assert isinstance(battery, Battery)
    return Courses([problems], weights, levels_max).path(0, battery.held_kwh)


class Courses:
    """What is best from any content on, in questions of one battery and the same steps.

    Which battery it is, and what it can, is taken from the first problem; what it holds is said when it is asked.
    """

    def __init__(
        self, questions: Sequence[Futures], weights: Sequence[float] = (1.0,), levels_max: int = _LEVELS
    ) -> None:
        battery = questions[0][0].assets[0]
        assert isinstance(battery, Battery)
        self._hours, self._capacity = questions[0][0].step_h, battery.capacity_kwh
        self._levels = np.unique(np.append(np.linspace(0.0, battery.capacity_kwh, levels_max), battery.band))
        self._near = _REACH * battery.capacity_kwh / (levels_max - 1)
        self._able, self._costs = _Able(battery), _Costs(questions, weights, battery)
        self._corners, self._least = _corners(self._costs.bends, battery), _least(questions, battery)
        prices = [end_price(battery, one.price(one.meters[0])) for one, *_ in questions]
        self._values = self._from_the_end(np.array(prices))

    def path(self, question: int, held_kwh: float, steps: int | None = None) -> Path:
        """From what it holds to the end, or of the first steps alone."""
        count = len(self._hours) if steps is None else steps
        power, content, worth = (np.empty(count) for _ in range(3))
        for step in range(count):
            power[step], content[step], worth[step] = self._step(question, step, held_kwh)
            held_kwh = content[step]
        return Path(power, content, worth)

    def _step(self, question: int, step: int, held_kwh: float) -> tuple[float, float, float]:
        """Power of a step, what is held after it, and what a kWh more would be worth there."""
        hours, least, then = self._hours[step], self._least[step, question], self._values[step + 1, question]
        low, high = self._able.limits(held_kwh, hours)
        to = self._able.to(self._levels - held_kwh, high, hours)
        runs = np.clip(self._corners[step, question], np.maximum(least, low), high)
        powers = np.append(np.where(to < least - _NEAR, np.nan, to), runs)
        after = np.append(self._levels, self._able.after(held_kwh, runs, hours))
        costs = self._costs.moving(powers, step, question) + self._costs.holding(after, step, question)
        best = int(np.argmin(costs + np.interp(after, self._levels, then)))
        end = float(after[best])
        around = max(0.0, end - self._near), min(end + self._near, self._capacity)
        less, more = np.interp(around, self._levels, then)
        return float(powers[best]), end, float((less - more) / (around[1] - around[0]))

    def _from_the_end(self, prices: Numbers) -> Numbers:
        """What is to come costs from the beginning of each step on, and at the end, at each level of content."""
        levels, hours = self._levels, self._hours.tolist()
        corners, below, above = self._by_corners()
        apart, held = np.append(np.diff(levels), np.inf), self._costs.holding(levels)
        between = {one: self._between_levels(one) for one in set(hours)}
        values = np.empty((len(hours) + 1, len(prices), len(levels)))
        values[-1] = -prices[:, None] * levels
        for step in reversed(range(len(hours))):
            then, (kinds, which) = values[step + 1], between[hours[step]]
            kinds = np.where(kinds < self._least[step, :, None] - _NEAR, np.nan, kinds)
            to_levels = self._costs.moving(kinds, step)[:, which] + (held[step] + then)[:, :, None]
            slope = np.diff(then, append=0.0) / apart
            to_corners = corners[step] + (slope.take(below[step]) * above[step] + then.take(below[step]))
            values[step] = np.minimum(to_levels.min(axis=1), to_corners.min(axis=1))
        return values

    def _by_corners(self) -> tuple[Numbers, Ints, Numbers]:
        """What a step to each corner costs from each level, the level below which it ends, and how far above that."""
        levels, hours = self._levels, self._hours[:, None]
        low, high = self._able.limits(levels, hours)
        low = np.maximum(self._least[..., None], low[:, None])
        powers = np.clip(self._corners[..., None], low[:, :, None], high[:, None, None])
        ends = self._able.after(levels, powers, hours[..., None, None])
        flat = (*self._least.shape, -1)
        costs = self._costs.moving(powers.reshape(flat)) + self._costs.holding(ends.reshape(flat))
        below = np.searchsorted(levels, ends, side="right") - 1
        question = np.arange(self._least.shape[1])[:, None, None]
        return costs.reshape(ends.shape), below + len(levels) * question, ends - levels[below]

    def _between_levels(self, hours: float) -> tuple[Numbers, Ints]:
        """The powers that lead from one level to another, NaN among them, and which it is to each (rows) from each."""
        _, high = self._able.limits(self._levels, hours)
        to = self._able.to(self._levels[:, None] - self._levels, high, hours)
        kinds, which = np.unique(to, return_inverse=True)
        return kinds, which.reshape(to.shape)


class _Able:
    """What a battery can do in a step of so many hours, whatever the step."""

    def __init__(self, battery: Battery) -> None:
        self._battery = battery
        gives, takes = (np.linspace(0.0, most, _POWERS) for most in (-battery.discharge_kw, battery.charge_kw))
        out, into = (np.maximum.accumulate(np.abs(stored_kw(battery, side))) for side in (gives, takes))
        self._power, self._moved = (np.append(one[:0:-1], two) for one, two in ((gives, takes), (-out, into)))

    def limits(self, held: Some, hours: Some) -> tuple[Numbers, Numbers]:
        """What empties it, or the most that it gives; and the most that it takes."""
        battery = self._battery
        most = np.interp((battery.capacity_kwh - held) / hours, self._moved, self._power)
        for share, fall in taper_lines(battery.taper):
            slower = battery.charge_kw * np.maximum(0.0, share + fall * held / battery.capacity_kwh)
            most = np.minimum(most, slower)
        return np.interp(-held / hours, self._moved, self._power), most

    def to(self, change: Numbers, most: Numbers, hours: float) -> Numbers:
        """The power that changes the content by so much, NaN where there is none."""
        moved = np.round(change / hours, _DIGITS)
        to = np.interp(moved, self._moved, self._power)
        able = (moved >= self._moved[0] - _NEAR) & (moved <= self._moved[-1] + _NEAR) & (to <= most + _NEAR)
        return np.where(able, to, np.nan)

    def after(self, held: Some, power: Numbers, hours: Some) -> Numbers:
        """What it holds after a step."""
        return np.clip(held + hours * stored_kw(self._battery, power), 0.0, self._battery.capacity_kwh)


def _least(questions: Sequence[Futures], battery: Battery) -> Numbers:
    """The least power of each step: as much as it gives, or as the load takes in all futures."""
    first = questions[0][0]
    least = np.full((first.steps, len(questions)), -battery.discharge_kw)
    if not first.battery_to_vehicle:
        loads = np.array([[one.meters[0].load_kw for one in futures] for futures in questions])
        least = np.maximum(least, -np.maximum(loads, 0.0).min(axis=1).T)
    return least


def _corners(bends: Numbers, battery: Battery) -> Numbers:
    """Powers of each step that may be best whatever the battery holds."""
    shares = np.unique([0.0, 1.0, *(share for share, _ in battery.curve if share < 1.0)])
    alike = np.append(battery.charge_kw * shares, -battery.discharge_kw * shares[1:])
    return np.concatenate([np.broadcast_to(alike, (*bends.shape[:2], len(alike))), bends], axis=2)


class _Costs:
    """What each step costs, all futures by their weights: by its power, and by what is held after it.

    By power it is a line that rises faster beyond each of its `bends`: where a meter begins to take, or is at a limit.
    What no power changes is left out. It is asked of all steps and questions, of one step, or of one question in it;
    powers are on the last axis.
    """

    def __init__(self, questions: Sequence[Futures], weights: Sequence[float], battery: Battery) -> None:
        first, unit = questions[0][0], np.array([one[0].dearest for one in questions])
        hours, self._band = first.step_h[:, None, None], battery.band
        futures = [[one[place] for one in questions] for place in range(len(weights))]
        lines = [weight * hours * _paid(one)[..., None] for one, weight in zip(futures, weights, strict=True)]
        self._slope = np.sum(lines, axis=0)
        tie = _TIE * unit * (1 + np.arange(first.steps) / first.steps)[:, None]
        self._moved = sum(weights) * hours * (battery.wear_price + tie)[..., None]
        self._outside = sum(weights) * hours * (unit * first.multiples.charge)[:, None]
        bends = [
            (sign, at, weight * rise)
            for one, weight in zip(futures, weights, strict=True)
            for sign, at, rise in _bends(one, unit)
        ]
        self._sign = np.array([sign for sign, _, _ in bends])[:, None]
        self.bends = np.stack([at for _, at, _ in bends], axis=2)
        self._rise = hours[..., None] * np.stack([rise for _, _, rise in bends], axis=2)[:, :, None]

    def moving(self, power: Numbers, *where: int) -> Numbers:
        """By power, infinite where there is none."""
        beyond = self._sign * (power[..., None, :] - self.bends[where][..., None])
        rises = (self._rise[where] @ np.maximum(beyond, 0.0))[..., 0, :]
        cost = self._slope[where] * power + self._moved[where] * np.abs(power) + rises
        return np.where(np.isnan(cost), np.inf, cost)

    def holding(self, after: Numbers, *where: int) -> Numbers:
        """By what is held after it."""
        low, high = self._band
        return np.asarray(self._outside[where] * (np.maximum(low - after, 0.0) + np.maximum(after - high, 0.0)))


def _paid(problems: Sequence[Problem]) -> Numbers:
    """What a kWh fed in earns, of steps and problems."""
    return np.array([one.paid(one.meters[0]) for one in problems]).T


def _bends(problems: Sequence[Problem], unit: Numbers) -> Iterator[tuple[float, Numbers, Numbers]]:
    """Where the cost of a power rises faster: to which side, from which power on, and by how much for each kWh."""
    first, meters = problems[0], [one.meters[0] for one in problems]
    load, price = np.array([one.load_kw for one in meters]).T, [one.price(one.meters[0]) for one in problems]
    yield 1.0, -load, np.array(price).T - _paid(problems)
    for sign, name, multiple in (
        (1.0, "import_max_kw", first.multiples.grid),
        (-1.0, "export_max_kw", first.multiples.feed_in),
    ):
        limits = [getattr(one, name) for one in meters]
        if any(np.isfinite(one).any() for one in limits):
            most = np.array([series(one, first.steps, name, limit=True) for one in limits]).T
            yield sign, sign * np.maximum(most, 0.0) - load, np.broadcast_to(unit * multiple, load.shape)
