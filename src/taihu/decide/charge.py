"""Energy into the cheapest steps, at nothing or at least a least power: vehicles and jobs, one at a time."""

import numpy as np

from taihu.decide.problem import Job, Problem, Vehicle
from taihu.decide.room import Room
from taihu.kernel.arrays import Numbers

Flexible = Vehicle | Job

_NOTHING = 1e-9
_LIFTS = (0.0, 0.125, 0.25, 0.5)  # of its most, by which a peak is lifted


def charge(problem: Problem, one: Flexible, room: Room, cost: Numbers) -> Numbers:
    """Its power where a kWh costs `cost`, within what room there is: each need by its time, as far as that can be.

    Where a peak costs it is lifted by no more than the needs make it.
    """
    room_kw = room.left(one.name, one.meter)
    power = _charge(problem, one, room_kw, cost)
    if (below := room.below(one.meter)) is None:
        return power
    for share in _LIFTS:
        lower = _charge(problem, one, np.clip(below + share * most_kw(one), 0.0, room_kw), cost)
        if float(lower @ problem.step_h) >= float(power @ problem.step_h) - _NOTHING:
            return lower
    return power


def _charge(problem: Problem, one: Flexible, room_kw: Numbers, cost: Numbers) -> Numbers:
    power = np.zeros(problem.steps)
    first, last = stay(one, problem.steps)
    if first >= last:
        return power
    here = slice(first, last)
    most = np.minimum(room_kw[here], most_kw(one))
    hours, charged = problem.step_h[here], power[here]
    for until, kwh, spare in wanted(problem, one):
        by = slice(0, until - first)
        want = kwh - float(charged[by] @ hours[by])
        least = np.where(charged[by] > 0, 0.0, one.minimum_kw)
        more = fill(cost[here][by], most[by] - charged[by], least, hours[by], want, spare)
        charged[by] += more
    return power


def stay(one: Flexible, steps: int) -> tuple[int, int]:
    """From which step until before which it may run."""
    if isinstance(one, Vehicle):
        return max(0, one.arrives), min(one.leaves, steps)
    return max(0, one.release), min(one.deadline, steps)


def slack(problem: Problem, one: Flexible) -> float:
    """KWh that it could take beyond what it needs."""
    first, last = stay(one, problem.steps)
    most = max((kwh for _, kwh, _ in wanted(problem, one)), default=0.0)
    return most_kw(one) * float(problem.step_h[first : max(first, last)].sum()) - most


def fill(cost: Numbers, most: Numbers, least: Numbers, hours: Numbers, kwh: float, spare: float) -> Numbers:
    """KW of each step for `kwh` together, the cheapest first and among equals the first; up to `spare` kWh more.

    >>> fill(np.array([2.0, 1.0, 3.0]), np.full(3, 11.0), np.full(3, 4.0), np.ones(3), 13.0, 0.0).tolist()
    [4.0, 9.0, 0.0]
    """
    power = np.zeros(len(cost))
    order = np.flatnonzero((most >= least - _NOTHING) & (most > _NOTHING))
    if not len(order) or kwh <= _NOTHING:
        return power
    order = order[np.argsort(cost[order], kind="stable")]
    reached = np.cumsum(most[order] * hours[order])
    full = int(np.searchsorted(reached, kwh - _NOTHING))
    power[order[:full]] = most[order[:full]]
    if full == len(order):
        return power
    last, runs = order[full], order[:full]
    rest = kwh - (float(reached[full - 1]) if full else 0.0)
    lacks = least[last] * hours[last] - rest
    if lacks > _NOTHING:  # the dearest of the others leave so much to the last
        able = (power[runs] - least[runs])[::-1] * hours[runs][::-1]
        given = np.diff(np.minimum(np.cumsum(able), lacks), prepend=0.0)[::-1]
        if float(given.sum()) < lacks - spare - _NOTHING:
            return power
        power[runs] -= given / hours[runs]
        rest += lacks
    power[last] = rest / hours[last]
    return power


def wanted(problem: Problem, one: Flexible) -> list[tuple[int, float, float]]:
    """Until before which step, how many kWh of the meter since its coming, and how many more it has a place for."""
    first, last = stay(one, problem.steps)
    if isinstance(one, Job):
        return [(last, one.energy_kwh, 0.0)]
    held = one.held_kwh
    needs = sorted((at, min(need, one.capacity_kwh)) for at, need in one.due(problem.step_h) if at > first)
    return [
        (at, (need - held) / one.one_way, (one.capacity_kwh - need) / one.one_way) for at, need in needs if need > held
    ]


def most_kw(one: Flexible) -> float:
    """The most that it takes."""
    return one.charge_kw if isinstance(one, Vehicle) else one.power_kw
