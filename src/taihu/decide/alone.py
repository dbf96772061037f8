"""One asset by itself, at what steps cost with all the others as they are: what no solver finds in time for many.

A load in one go tries every start; one with breaks, and heat with a least power, go by dynamic programming.

Source: R. Bellman, Dynamic Programming, Princeton University Press, 1957.
"""

from itertools import pairwise

import numpy as np

from taihu.decide.charge import charge
from taihu.decide.loads import in_part, profile_of, skip_cost, starts_of, steps_max, window
from taihu.decide.problem import Asset, Heat, Job, Load, Numbers, Problem, Vehicle, series
from taihu.decide.room import Room
from taihu.decide.stores import heat_steps

_POWERS = 4  # of heat, from its least to its most
_LEVELS = 33  # of heat, in its band
_NOTHING_KW = 1e-6
_SAME = 1e-9  # of the dearest kWh
_BEYOND = 0.5  # of the band to each side, that levels reach


def whole(asset: Asset) -> bool:
    """Whether it runs or does not, so that whole numbers say what it does."""
    match asset:
        case Load():
            return True
        case Vehicle():
            return asset.minimum_kw > 0 and asset.discharge_kw == 0
        case Heat() | Job():
            return asset.minimum_kw > 0
    return False


def respond(problem: Problem, asset: Asset, room: Room, cost: Numbers) -> Numbers:
    """What such an asset best takes in what room there is; `cost` of a kWh is what vehicles and jobs go by."""
    match asset:
        case Load():
            return _with_breaks(problem, asset, room) if asset.breaks else _in_one_go(problem, asset, room)
        case Heat():
            return _heat(problem, asset, room)
    assert isinstance(asset, Vehicle | Job)
    return charge(problem, asset, room, cost)


def violates(asset: Asset, power: Numbers) -> bool:
    """Whether power is what such an asset cannot take: between nothing and its least, or no run."""
    if isinstance(asset, Load):
        return True
    assert isinstance(asset, Vehicle | Heat | Job)
    return bool(((power > _NOTHING_KW) & (power < asset.minimum_kw - _NOTHING_KW)).any())


def _in_one_go(problem: Problem, load: Load, room: Room) -> Numbers:
    profile, steps = profile_of(load), problem.steps
    choices = [np.zeros(steps)]
    for start in starts_of(problem, load):
        power = np.zeros(steps)
        length = min(load.steps, steps - start)
        power[start : start + length] = profile[:length]
        choices.append(power)
    costs = room.costs(load.name, load.meter, np.array(choices))
    costs[0] += skip_cost(problem, load)
    return choices[int(np.argmin(costs[1:] if load.ran else costs)) + bool(load.ran)]


def _with_breaks(problem: Problem, load: Load, room: Room) -> Numbers:
    """States are (phase, steps run): off since 1 to `off_min` steps, then on since 1 to `on_min`."""
    steps, kw = problem.steps, load.profile_kw[0]
    off, on = max(1, load.off_min), max(1, load.on_min)
    may = np.zeros(steps, bool)
    first, latest = window(problem, load)
    may[first:latest] = True
    may[: max(0, load.on_min - load.ran) if load.ran else 0] = True
    both = np.stack([np.zeros(steps), np.full(steps, kw)])
    each = room.step_costs(load.name, load.meter, both) + room.above(both)
    ramps = _ramps(room, both)
    most = steps_max(load)
    same = _SAME * room.unit
    short = skip_cost(problem, load) * np.maximum(load.steps - np.arange(most + 1), 0) / load.steps
    if not in_part(load):
        short[1 : load.steps] = np.inf
    worth = np.tile(short, (off + on, 1))
    nexts = np.full((steps, off + on, most + 1), False)
    for step in range(steps - 1, -1, -1):
        before, worth = worth, np.full_like(worth, np.inf)
        for phase in range(off + on):
            was = int(phase >= off)
            ends = off + on - 1 if was else off - 1
            rests = each[0, step] + ramps[step, was, 0] + before[0 if was else min(phase + 1, off - 1)]
            to = min(phase + 1, off + on - 1) if was else off
            runs = each[1, step] + ramps[step, was, 1] + np.append(before[to, 1:], np.inf)
            rests = np.full_like(rests, np.inf) if was and phase < ends else rests
            runs = np.full_like(runs, np.inf) if not may[step] or (not was and phase < ends) else runs
            nexts[step, phase] = (runs <= rests + same) & (runs < np.inf)  # among equals the early one
            worth[phase] = np.minimum(rests, runs)
    power, run = np.zeros(steps), 0
    phase = off - 1 + min(load.ran, on) if load.ran else off - 1
    for step in range(steps):
        if nexts[step, phase, run]:
            phase = off if phase < off else min(phase + 1, off + on - 1)
            power[step], run = kw, run + 1
        else:
            phase = 0 if phase >= off else min(phase + 1, off - 1)
    return power


def _heat(problem: Problem, heat: Heat, room: Room) -> Numbers:
    steps, price = problem.steps, heat.comfort_price
    keep, warm, drift = heat_steps(heat, problem.step_h)
    low, high = (series(one, steps, heat.name) for one in (heat.low_c, heat.high_c))
    least = min(heat.minimum_kw, heat.power_kw)
    choices = np.concatenate([[0.0], np.linspace(least, heat.power_kw, _POWERS)])
    powers = np.repeat(choices[:, None], steps, axis=1)
    each = room.step_costs(heat.name, heat.meter, powers) + room.above(powers)
    ramps = _ramps(room, powers)
    bottom, top = float(min(low.min(), heat.state_c)), float(max(high.max(), heat.state_c))
    beyond = _BEYOND * max(top - bottom, 1.0)
    grid = np.linspace(bottom - beyond, top + beyond, round(_LEVELS * (1 + 2 * beyond / max(top - bottom, 1.0))))
    worth = np.zeros((len(choices), len(grid)))  # by the choice before

    def reach(step: int, state: Numbers) -> Numbers:
        """What each choice costs from there on, the ramp to it apart."""
        after = keep[step] * state + np.multiply.outer(warm[step] * choices, np.ones_like(state)) + drift[step]
        outside = np.maximum(low[step] - after, 0.0) + np.maximum(after - high[step], 0.0)
        then = np.stack([np.interp(line, grid, values) for line, values in zip(after, worths[step + 1], strict=True)])
        return np.asarray(each[:, step, None] + price * problem.step_h[step] * outside + then)

    worths = [worth] * (steps + 1)
    for step in range(steps - 1, -1, -1):
        costs = reach(step, grid)
        worths[step] = np.min(ramps[step][:, :, None] + costs[None, :, :], axis=1)
    power, state, was = np.zeros(steps), np.array([heat.state_c]), 0
    for step in range(steps):
        was = int(np.argmin(ramps[step][was] + reach(step, state)[:, 0]))
        power[step] = choices[was]
        state = keep[step] * state + warm[step] * power[step] + drift[step]
    return power


def _ramps(room: Room, powers: Numbers) -> Numbers:
    """What the change to each step costs, by the choice before it and the choice in it."""
    problem, steps = room.problem, room.problem.steps
    found = np.zeros((steps, len(powers), len(powers)))
    if problem.objective.ramp:
        total = room.total + powers
        for step, (one, other) in enumerate(pairwise(total.T), 1):
            found[step] = np.abs(other[None, :] - one[:, None])
        if problem.before_kw is not None:
            found[0] = np.abs(total[:, 0] - problem.before_kw)[None, :]
    return np.asarray(problem.objective.ramp * found)
