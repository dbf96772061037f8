"""One asset by itself, at what steps cost with all the others as they are: what no solver finds in time for many.

A load in one go tries every start. One with breaks, heat with a least power, and where ramps cost vehicles and jobs
with one go by dynamic programming.

Source: R. Bellman, Dynamic Programming, Princeton University Press, 1957.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from taihu.decide.charge import charge, most_kw, stay, wanted
from taihu.decide.loads import in_part, profile_of, skip_cost, starts_of, steps_max, window
from taihu.decide.problem import Asset, Heat, Job, Load, Problem, Vehicle, series
from taihu.decide.room import Room
from taihu.decide.stores import heat_steps
from taihu.kernel.arrays import Numbers

_POWERS = 4  # from the least to the most
_LEVELS = 33  # of heat, in its band
_ENERGIES = (
    129  # from nothing to all: what is left when no step is as long as it needs is dear, and so looked at finely
)
_NOTHING_KW = 1e-6
_SAME = 1e-9  # of the dearest kWh
_BEYOND = 0.5  # of the band to each side, that levels reach

Moves = Callable[[int, Numbers], tuple[Numbers, Numbers]]  # step, states: the states after each choice, and its cost


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


def respond(problem: Problem, asset: Asset, room: Room, cost: Numbers, *, soon: bool = False) -> Numbers:
    """What such an asset best takes in what room there is; `cost` of a kWh is what vehicles and jobs go by.

    `soon`: vehicles and jobs leave ramps out, which takes a hundredth of the time.
    """
    match asset:
        case Load():
            return _with_breaks(problem, asset, room) if asset.breaks else _in_one_go(problem, asset, room)
        case Heat():
            return _heat(problem, asset, room)
    assert isinstance(asset, Vehicle | Job)
    if problem.objective.ramp and not soon:
        return _charge(problem, asset, room)
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
    each = room.step_costs(load.name, load.meter, both) + room.above(load.meter, both)
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
    choices = _choices(heat.minimum_kw, heat.power_kw)
    bottom, top = float(min(low.min(), heat.state_c)), float(max(high.max(), heat.state_c))
    beyond = _BEYOND * max(top - bottom, 1.0)
    grid = np.linspace(bottom - beyond, top + beyond, round(_LEVELS * (1 + 2 * beyond / max(top - bottom, 1.0))))

    def moves(step: int, state: Numbers) -> tuple[Numbers, Numbers]:
        after = keep[step] * state + warm[step] * choices[:, None] + drift[step]
        outside = np.maximum(low[step] - after, 0.0) + np.maximum(after - high[step], 0.0)
        return after, price * problem.step_h[step] * outside

    return _by_levels(heat, room, choices, grid, heat.state_c, moves)[0]


def _charge(problem: Problem, one: Vehicle | Job, room: Room) -> Numbers:
    """The state is what it has had of the meter since its coming (kWh), up to all that it needs."""
    first, last = stay(one, problem.steps)
    needs = wanted(problem, one)
    top = max((kwh for _, kwh, _ in needs), default=0.0)
    choices, hours = _choices(one.minimum_kw, most_kw(one)), problem.step_h
    each = problem.multiples.departure if isinstance(one, Vehicle) else problem.multiples.late

    def moves(step: int, state: Numbers) -> tuple[Numbers, Numbers]:
        after = np.minimum(state + hours[step] * choices[:, None], top)
        able = (first <= step < last) & (after - state >= hours[step] * one.minimum_kw - _SAME)
        cost = np.where(able | (choices == 0)[:, None], 0.0, np.inf)
        for until, kwh, _ in needs:
            if until == step + 1:
                cost = cost + each * room.unit * np.maximum(kwh - after, 0.0)
        return after, cost

    states = _by_levels(one, room, choices, np.linspace(0.0, top, _ENERGIES), 0.0, moves)[1]
    return np.asarray(np.diff(states) / hours)


def _choices(least_kw: float, most_kw: float) -> Numbers:
    return np.append(0.0, np.linspace(least_kw, most_kw, _POWERS))


def _by_levels(
    asset: Heat | Vehicle | Job, room: Room, choices: Numbers, grid: Numbers, state: float, moves: Moves
) -> tuple[Numbers, Numbers]:
    """Of these powers the best in each step, ramps included, and the states from now on.

    What is to come is known at the levels of a grid.
    """
    steps = room.problem.steps
    powers = np.repeat(choices[:, None], steps, axis=1)
    each = room.step_costs(asset.name, asset.meter, powers) + room.above(asset.meter, powers)
    ramps = _ramps(room, powers)
    worths = [np.zeros((len(choices), len(grid)))] * (steps + 1)  # by the choice before

    def reach(step: int, states: Numbers) -> tuple[Numbers, Numbers]:
        """What each choice comes to, and costs from there on, the ramp to it apart."""
        after, cost = moves(step, states)
        then = np.stack([np.interp(line, grid, values) for line, values in zip(after, worths[step + 1], strict=True)])
        return after, np.asarray(each[:, step, None] + cost + then)

    for step in range(steps - 1, -1, -1):
        worths[step] = np.min(ramps[step][:, :, None] + reach(step, grid)[1][None, :, :], axis=1)
    power, states, was = np.zeros(steps), [state], 0
    for step in range(steps):
        after, cost = reach(step, np.array(states[-1:]))
        was = int(np.argmin(ramps[step][was] + cost[:, 0]))
        power[step] = choices[was]
        states.append(float(after[was, 0]))
    return power, np.array(states)


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
