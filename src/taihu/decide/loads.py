"""What runs: deferrable loads, batch jobs and curtailable generation, as columns and rows of a model."""

from collections.abc import Sequence

import numpy as np

from taihu.decide.frame import Frame
from taihu.decide.problem import Job, Load, Problem, Solar
from taihu.decide.sheet import CONTINUOUS, INTEGER, Index
from taihu.decide.stores import power_columns
from taihu.kernel.arrays import Numbers

_SAME_KW = 1e-6
_SWITCH = 0.05  # of the mean kWh of a step: what a start costs, so that what runs goes on running


def write_solar(frame: Frame, plants: Sequence[Solar]) -> None:
    """Generation behind one meter, all of which is curtailed in the same share; what may not be is as it is."""
    steps = np.arange(frame.problem.steps, dtype=np.int32)
    most = np.array([np.maximum(one.power_kw, 0.0) for one in plants])
    total = most.sum(axis=0)
    used = frame.sheet.columns(len(steps), 0.0 if plants[0].curtailable else total, total, -frame.tie(steps))
    frame.sheet.put(frame.balances[plants[0].meter], used, 1.0)
    for plant, one in zip(plants, most, strict=True):
        share = np.divide(one, total, out=np.zeros_like(one), where=total > 0)
        frame.parts[plant.name] = [(steps, used, -share)]


def write_job(frame: Frame, job: Job) -> None:
    """Energy by a deadline, here or elsewhere."""
    steps = np.arange(max(0, job.release), min(job.deadline, frame.problem.steps), dtype=np.int32)
    late = frame.breach(1, frame.multiples.late)
    whole = frame.sheet.rows(1, job.energy_kwh, job.energy_kwh)
    frame.sheet.put(whole, late, 1.0)
    if not len(steps):
        return
    hours = frame.hours[steps]
    power = power_columns(frame, steps, job.power_kw, job.minimum_kw)
    frame.power(job, steps, power)
    frame.sheet.put(whole, power, hours)
    if job.places:
        most = frame.sheet.rows(len(steps), -np.inf, job.power_kw)
        frame.sheet.put(most, power, 1.0)
    for place, price, carbon in job.places:
        objective = frame.problem.objective
        cost = (objective.cost * price + objective.carbon * carbon)[steps] * hours * frame.scale
        there = frame.sheet.columns(len(steps), 0.0, job.power_kw, cost + frame.tie(steps))
        frame.sheet.put(whole, there, hours)
        frame.sheet.put(most, there, 1.0)
        frame.elsewhere[f"{job.name}@{place}"] = (steps, there)


def write_load(frame: Frame, load: Load) -> None:
    """A load with a window; in one go, or with breaks."""
    if may_skip(load):
        kind = INTEGER if load.breaks and not in_part(load) else CONTINUOUS
        skip = frame.sheet.columns(1, 0.0, 1.0, load.skip_price * frame.scale, kind)
    else:
        skip = frame.breach(1, frame.multiples.late, energy_kwh(frame.problem, load), most=1.0)
    write = _with_breaks if load.breaks else _in_one_go
    write(frame, load, skip)


def window(problem: Problem, load: Load) -> tuple[int, int]:
    """From which step until before which it may run, unless it runs already."""
    latest = problem.steps if load.latest is None else min(load.latest, problem.steps)
    return 0 if load.ran else max(0, load.earliest), latest


def starts_of(problem: Problem, load: Load) -> Index:
    """When a load in one go may start."""
    if load.ran:
        return np.zeros(1, np.int32)
    earliest, latest = window(problem, load)
    return np.arange(earliest, latest - load.steps + 1, dtype=np.int32)


def may_skip(load: Load) -> bool:
    """Whether it may be left out today."""
    return load.optional and (load.skip_days_max is None or load.skipped_days < load.skip_days_max)


def in_part(load: Load) -> bool:
    """Whether a load with breaks may run for a part of its steps: late, or begun before it was left out."""
    return load.ran > 0 or not may_skip(load)


def steps_max(load: Load) -> int:
    """How many steps a load with breaks runs at most: its steps, or as long as it may not stop."""
    return max(load.steps, load.on_min)


def skip_cost(problem: Problem, load: Load) -> float:
    """What leaving it out costs (money)."""
    if may_skip(load):
        return load.skip_price
    return problem.multiples.late * problem.dearest * energy_kwh(problem, load)


def energy_kwh(problem: Problem, load: Load) -> float:
    """What it takes in all its steps, each as long as the mean step."""
    return float(profile_of(load).sum()) * float(problem.step_h.mean())


def profile_of(load: Load) -> Numbers:
    """Its power step by step."""
    return np.broadcast_to(np.asarray(load.profile_kw, np.float64), load.steps)


def _in_one_go(frame: Frame, load: Load, skip: Index) -> None:
    starts = starts_of(frame.problem, load)
    one = frame.sheet.rows(1, 1.0, 1.0)
    frame.sheet.put(one, skip, 1.0)
    if not len(starts):
        return
    profile = profile_of(load)
    at = starts[:, None] + np.arange(load.steps, dtype=np.int32)[None, :]
    inside = at < frame.problem.steps
    ties = np.where(inside, frame.tie(np.minimum(at, frame.problem.steps - 1)), 0.0)
    begins = frame.sheet.columns(len(starts), 1.0 if load.ran else 0.0, 1.0, ties @ profile, INTEGER)
    frame.sheet.put(one, begins, 1.0)
    steps = np.arange(frame.problem.steps, dtype=np.int32)
    power = frame.sheet.columns(len(steps), 0.0, np.inf, 0.0)
    frame.power(load, steps, power)
    rows = frame.sheet.rows(len(steps), 0.0, 0.0)
    frame.sheet.put(rows, power, -1.0)
    which, place = np.nonzero(inside)
    frame.sheet.put(rows[at[which, place]], begins[which], profile[place])
    shapes = np.zeros((len(starts), len(steps)))
    shapes[which, at[which, place]] = profile[place]
    frame.hold(begins, lambda powers: np.abs(shapes - powers[load.name]).max(axis=1) < _SAME_KW)


def _with_breaks(frame: Frame, load: Load, skip: Index) -> None:
    earliest, latest = window(frame.problem, load)
    count = frame.problem.steps
    steps = np.arange(count, dtype=np.int32)
    kw = load.profile_kw[0]
    forced = steps < (load.on_min - load.ran if load.ran else 0)
    may = (steps >= earliest) & (steps < latest)
    on = frame.sheet.columns(count, np.where(forced, 1.0, 0.0), np.where(forced | may, 1.0, 0.0), 0.0, INTEGER)
    cost = _SWITCH * float(np.mean(frame.prices[load.meter])) * kw * float(frame.hours.mean()) * frame.scale
    start = frame.sheet.columns(count, 0.0, 1.0, abs(cost))
    power = frame.sheet.columns(count, 0.0, kw, frame.tie(steps))
    frame.power(load, steps, power)
    frame.hold(on, lambda powers: powers[load.name] > kw / 2)
    rows = frame.sheet.rows(count, 0.0, 0.0)
    frame.sheet.put(rows, power, 1.0)
    frame.sheet.put(rows, on, -kw)
    rows = frame.sheet.rows(count, -np.inf, np.where(steps == 0, float(load.ran > 0), 0.0))  # on rises by a start
    frame.sheet.put(rows, on, 1.0)
    frame.sheet.put(rows[1:], on[:-1], -1.0)
    frame.sheet.put(rows, start, -1.0)
    _stays_on(frame, start, on, load.on_min)
    _stays_off(frame, start, on, load.off_min, runs=load.ran > 0)
    more = frame.sheet.columns(1, 0.0, float(steps_max(load) - load.steps), 0.0)  # what it may not stop
    ends = frame.sheet.rows(1, float(load.steps), float(load.steps))
    frame.sheet.put(ends, on, 1.0)
    frame.sheet.put(ends, skip, float(load.steps))
    frame.sheet.put(ends, more, -1.0)


def _stays_on(frame: Frame, start: Index, on: Index, least: int) -> None:
    """Who started within the last `least` steps is on."""
    count = len(on)
    if least <= 1:
        return
    rows = frame.sheet.rows(count, -np.inf, 0.0)
    for back in range(min(least, count)):
        frame.sheet.put(rows[back:], start[: count - back], 1.0)
    frame.sheet.put(rows, on, -1.0)


def _stays_off(frame: Frame, start: Index, on: Index, least: int, *, runs: bool) -> None:
    """Who is on does not start within the next `least` steps; nor who `runs` before the first."""
    count = len(on)
    if least <= 1:
        return
    rows = frame.sheet.rows(count, -np.inf, 1.0)
    for ahead in range(1, min(least + 1, count)):
        frame.sheet.put(rows[: count - ahead], start[ahead:], 1.0)
    frame.sheet.put(rows, on, 1.0)
    if runs:
        frame.sheet.put(frame.sheet.rows(1, -np.inf, 0.0), start[:least], 1.0)
