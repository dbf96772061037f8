"""The best plan of one battery by its efficiency curve: dynamic programming over levels of content.

Exact for its levels where each step's cost depends on that step alone: no demand charge, peak, ramp or group. The
curve makes the problem non-convex, which no linear program sees.

Source: R. Bellman, Dynamic Programming, Princeton University Press, 1957.
"""

import numpy as np

from taihu.decide.problem import Battery, Meter, Numbers, Problem, series
from taihu.decide.stores import end_price, taper_lines

_LEVELS = 129
_ROUNDS = 12


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


def plan_battery(problem: Problem) -> tuple[Numbers, Numbers]:
    """The power of each step, and the content at its end."""
    battery, meter = problem.assets[0], problem.meters[0]
    assert isinstance(battery, Battery)
    held = min(max(0.0, battery.content_kwh), battery.capacity_kwh)
    levels = np.unique(np.append(np.linspace(0.0, battery.capacity_kwh, _LEVELS), held))
    worth = battery.end_price
    if worth is None:
        worth = end_price(problem.price(meter), battery.one_way)
    value = -worth * levels
    choices = np.empty((problem.steps, len(levels)), np.int32)
    tables: dict[float, Numbers] = {}
    for step in reversed(range(problem.steps)):
        hours = float(problem.step_h[step])
        if hours not in tables:
            tables[hours] = _power(battery, levels, hours)
        cost = _cost(problem, battery, meter, step, tables[hours], levels) + value[None, :]
        choices[step] = cost.argmin(axis=1)
        value = cost[np.arange(len(levels)), choices[step]]
    power, content = np.empty(problem.steps), np.empty(problem.steps)
    level = int(np.searchsorted(levels, held))
    for step in range(problem.steps):
        after = int(choices[step, level])
        power[step] = tables[float(problem.step_h[step])][level, after]
        content[step] = levels[after]
        level = after
    return power, content


def _power(battery: Battery, levels: Numbers, hours: float) -> Numbers:
    """The power at the terminals from each level to each; NaN where it is more than the battery can."""
    moved = (levels[None, :] - levels[:, None]) / hours
    shares, ways = np.array(battery.curve).T
    power = moved.copy()
    for _ in range(_ROUNDS):
        nominal = np.where(power >= 0, battery.charge_kw, battery.discharge_kw or 1.0)
        way = np.interp(np.abs(power) / nominal, shares, ways)
        power = np.where(moved >= 0, moved / way, moved * way)
    most = np.full(len(levels), battery.charge_kw)
    for share, fall in taper_lines(battery.taper):
        most = np.minimum(most, battery.charge_kw * np.maximum(0.0, share + fall * levels / battery.capacity_kwh))
    able = (power <= most[:, None] + 1e-9) & (power >= -battery.discharge_kw - 1e-9)
    return np.where(able, power, np.nan)


def _cost(problem: Problem, battery: Battery, meter: Meter, step: int, power: Numbers, levels: Numbers) -> Numbers:
    hours, unit, multiples = float(problem.step_h[step]), problem.dearest, problem.multiples
    net = meter.load_kw[step] + power
    if not problem.battery_to_vehicle:
        net = np.where(-power > max(0.0, float(meter.load_kw[step])) + 1e-9, np.nan, net)
    price = problem.price(meter)[step]
    paid = problem.objective.cost * meter.export_price[step]
    most, least = (
        series(limit, problem.steps, "", limit=True)[step] for limit in (meter.import_max_kw, meter.export_max_kw)
    )
    high = min(battery.high_kwh, battery.capacity_kwh)
    low = min(battery.low_kwh, high)
    outside = np.maximum(low - levels, 0) + np.maximum(levels - high, 0)
    cost = (
        price * np.maximum(net, 0) - paid * np.maximum(-net, 0) + battery.wear_price * np.abs(power)
        + unit * multiples.grid * np.maximum(net - max(most, 0.0), 0)
        + unit * multiples.feed_in * np.maximum(-net - max(least, 0.0), 0)
        + unit * multiples.charge * outside[None, :]
        + 1e-6 * unit * np.abs(power) * (1 + step / problem.steps)
    ) * hours  # fmt: skip
    return np.where(np.isnan(cost), np.inf, cost)
