"""The plan of least expected cost for several batteries, when what is to come is known with an error.

A plan is the content of each battery at the end of each hour. Each cost is a hinge: a price times what is above zero,
in expectation over the forecast's error, taken as logistic. That makes the sum smooth and convex, so Newton's method
with a barrier for empty and full finds the plan in a few steps; there are no scenarios and no tuning of a solver.

    cost = sum over hours of  own price x E[house's import], each house for itself
                            + shared price x E[import of all houses together]
                            + ramp price x E[|change of the total from hour to hour|]
                            + peak price x E[total above the peak level]
           - end price x content at the end

The houses are linked by their total alone, so a step solves each house's band of hours and then one system of as many
unknowns as hours (Woodbury).
"""

import msgspec
import numpy as np

from taihu.kernel.arrays import Numbers

_LOGISTIC_MAE = 2 * np.log(2)  # mean absolute error of a logistic law of scale 1
_SPREAD_MIN = 0.03  # units
_TOTAL_SPREAD_MIN = 0.05  # mean units
_KNEE = 0.15  # units, between charging and discharging, where the price of a kWh jumps by what is lost
_UNIT_MIN = 1e-4  # of the capacity: beside a battery, less is nothing, and a wall of it would not be seen by the solver
_BARRIER = 1e-3  # of the mean price of a unit
_MARGIN = 0.02  # of the capacity: where a step may begin
_STEPS_MAX = 15
_GAIN_MIN = 1e-2  # of the mean price of a mean unit: what another step must promise
_HALVINGS_MAX = 12


class Prices(msgspec.Struct, frozen=True):
    """What things cost, in one money: by hour for imports and ramps, one number for the rest."""

    own: Numbers
    shared: Numbers
    ramp: Numbers
    peak: float
    peak_level_kwh: float
    end: float


class Expected(msgspec.Struct, frozen=True):
    """What is expected without batteries: kWh, and mean absolute errors; houses by hours, or of all by hours."""

    net_kwh: Numbers
    spread_kwh: Numbers
    total_spread_kwh: Numbers
    ramp_spread_kwh: Numbers
    total_before_kwh: float
    unit_kwh: Numbers | float = 1.0  # of each house: how much is much there


class ExpectedCostPlan:
    """Plans again and again for the same batteries; each begins with the last one, an hour on.

    Args:
        count: batteries.
        hours: how far a plan reaches.
        one_way: efficiency of going in, or out: one number, or one a battery.
    """

    def __init__(self, count: int, hours: int, one_way: float | Numbers) -> None:
        self._count, self._hours = count, hours
        way = np.reshape(one_way, (-1, 1))
        self._even, self._odd = (1 / way + way) / 2, (1 / way - way) / 2
        self._last: Numbers | None = None

    def solve(self, content_kwh: Numbers, capacity_kwh: Numbers, expected: Expected, prices: Prices) -> Numbers:
        """Content at the end of each hour, batteries by hours."""
        full = capacity_kwh[:, None]
        start = np.repeat(full / 3, self._hours, axis=1) if self._last is None else self._last
        plan = np.concatenate([start[:, 1:], start[:, -1:]], axis=1)
        plan = np.clip(plan, _MARGIN * full, (1 - _MARGIN) * full)
        unit = _units(expected, full)
        scale = (float(prices.own.mean() + prices.shared.mean()) or 1.0) * unit
        barrier, gain_min = _BARRIER * scale, _GAIN_MIN * float(scale.mean())
        point = self._look(plan, content_kwh, full, expected, prices, barrier)
        for _ in range(_STEPS_MAX):
            try:
                slope, step = self._newton(point, prices, barrier)
            except np.linalg.LinAlgError:  # prices or sizes too far apart for numbers: what is found so far stands
                break
            gain = -float(np.vdot(slope, step))
            if gain < gain_min:
                break
            share = _longest(point.plan, full, step)
            for _ in range(_HALVINGS_MAX):
                there = self._look(point.plan + share * step, content_kwh, full, expected, prices, barrier)
                if there.cost < point.cost - 1e-4 * share * gain:
                    break
                share /= 2
            else:
                break
            point = there
        self._last = point.plan
        return point.plan

    def _look(
        self, plan: Numbers, content: Numbers, full: Numbers, expected: Expected, prices: Prices, barrier: Numbers
    ) -> "_Point":
        moved = _change(plan, content)
        unit = _units(expected, full)
        knee, least = _KNEE * unit, _TOTAL_SPREAD_MIN * float(unit.mean())
        root = np.sqrt(moved**2 + knee**2)
        energy = self._even * moved + self._odd * (root - knee)
        net = expected.net_kwh + energy
        total = net.sum(axis=0)
        own = np.maximum(expected.spread_kwh / _LOGISTIC_MAE, _SPREAD_MIN * unit)
        shared = np.maximum(expected.total_spread_kwh / _LOGISTIC_MAE, least)
        ramp = np.maximum(expected.ramp_spread_kwh / _LOGISTIC_MAE, least)
        own_z = net / own
        shared_z = total / shared
        ramp_z = _change(total, expected.total_before_kwh) / ramp
        peak_z = (total - prices.peak_level_kwh) / shared
        cost = (
            float((prices.own * own * np.logaddexp(0, own_z)).sum())
            + float((prices.shared * shared * np.logaddexp(0, shared_z)).sum())
            + float((prices.ramp * ramp * (np.logaddexp(0, ramp_z) + np.logaddexp(0, -ramp_z))).sum())
            + prices.peak * float((shared * np.logaddexp(0, peak_z)).sum())
            - prices.end * float(plan[:, -1].sum())
            - float((barrier * (np.log(plan) + np.log(full - plan))).sum())
        )
        slope = self._even + self._odd * moved / root
        bend = self._odd * knee**2 / root**3
        return _Point(plan, full, cost, slope, bend, own, shared, ramp, own_z, shared_z, ramp_z, peak_z)

    def _newton(self, at: "_Point", prices: Prices, barrier: Numbers) -> tuple[Numbers, Numbers]:
        """The gradient, and Newton's step, batteries by hours."""
        own, shared, peak = _share(at.own_z), _share(at.shared_z), _share(at.peak_z)
        change = np.tanh(at.ramp_z / 2)
        ramp = prices.ramp * change
        price = prices.shared * shared + prices.peak * peak + ramp - _next(ramp)
        link = prices.ramp * (1 - change**2) / (2 * at.ramp)
        curve = (prices.shared * shared * (1 - shared) + prices.peak * peak * (1 - peak)) / at.shared
        between = np.diag(curve + link + _next(link)) - np.diag(link[1:], 1) - np.diag(link[1:], -1)
        each = prices.own * own + price
        stiff = prices.own * own * (1 - own) / at.own * at.slope**2 + np.maximum(each, 0) * at.bend
        value = each * at.slope
        gradient = value - _next(value) - barrier * (1 / at.plan - 1 / (at.full - at.plan))
        gradient[:, -1] -= prices.end
        wall = barrier * (1 / at.plan**2 + 1 / (at.full - at.plan) ** 2)
        return gradient, self._step(at.slope, stiff, wall, between, gradient)

    def _step(self, slope: Numbers, stiff: Numbers, wall: Numbers, between: Numbers, gradient: Numbers) -> Numbers:
        hours = self._hours
        here = np.arange(hours)
        band = np.zeros((self._count, hours, hours))
        band[:, here, here] = stiff + _next(stiff) + wall
        band[:, here[1:], here[:-1]] = band[:, here[:-1], here[1:]] = -stiff[:, 1:]
        right = np.zeros((self._count, hours, hours + 1))
        right[:, here, here] = slope
        right[:, here[:-1], here[1:]] = -slope[:, 1:]
        right[:, :, -1] = -gradient
        solved = np.linalg.solve(band, right)
        linked = np.einsum("ih,ihj->hj", slope, solved)
        linked[1:] -= np.einsum("ih,ihj->hj", slope[:, 1:], solved[:, :-1])
        common = np.linalg.solve(np.eye(hours) + between @ linked[:, :-1], between @ linked[:, -1])
        return np.asarray(solved[:, :, -1] - solved[:, :, :-1] @ common)


class _Point(msgspec.Struct, frozen=True):
    """A plan and what its cost is made of."""

    plan: Numbers
    full: Numbers
    cost: float
    slope: Numbers
    bend: Numbers
    own: Numbers
    shared: Numbers
    ramp: Numbers
    own_z: Numbers
    shared_z: Numbers
    ramp_z: Numbers
    peak_z: Numbers


def _units(expected: Expected, full: Numbers) -> Numbers:
    return np.asarray(np.maximum(np.reshape(expected.unit_kwh, (-1, 1)), _UNIT_MIN * full))


def _share(z: Numbers) -> Numbers:
    """The probability that a logistic variable is below `z`, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(z / 2)))


def _change(values: Numbers, before: Numbers | float) -> Numbers:
    """From hour to hour, and to the first from before it."""
    moved = values.copy()
    moved[..., 1:] -= values[..., :-1]
    moved[..., 0] -= before
    return moved


def _next(values: Numbers) -> Numbers:
    """The values one hour on, 0 after the last."""
    moved = np.zeros_like(values)
    moved[..., :-1] = values[..., 1:]
    return moved


def _longest(plan: Numbers, full: Numbers, step: Numbers) -> float:
    """How much of a step keeps away from empty and full."""
    most = float((np.abs(step) / np.where(step < 0, plan, full - plan)).max())
    return 0.95 / max(most, 0.95)
