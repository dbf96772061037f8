"""Random problems of the whole language, most of which contradict themselves somewhere."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from tests.decide.physics import end_worth

from taihu.decide.problem import (
    INF,
    Asset,
    Battery,
    Group,
    Heat,
    Job,
    Load,
    Meter,
    Multiples,
    Objective,
    Problem,
    Solar,
    Taper,
    Vehicle,
)
from taihu.kernel.arrays import Numbers

Random = np.random.Generator

KINDS = 7  # battery, vehicle, vehicle that gives back, solar, heat, load, job
_TAPERS: tuple[Taper, ...] = ((), ((0.8, 1.0), (1.0, 0.2)), ((0.4, 1.0), (0.7, 0.5), (0.9, 0.0)))
CURVE = ((0.0, 0.911), (0.3, 0.911), (0.7, 0.949), (0.8, 0.949), (1.0, 0.922))


def random_problem(seed: int) -> Problem:
    """The problem of a seed: of each three one without whole numbers, one of all kinds, one of one kind alone."""
    rng = np.random.default_rng(seed)
    hours = _hours(rng)
    steps = len(hours)
    meters = tuple(_meter(rng, f"m{index}", hours) for index in range(int(rng.choice([1, 1, 2]))))
    count = 7 if rng.random() < 0.04 else int(rng.integers(1, 5))
    kinds = rng.integers(0, 4 if seed % 3 == 0 else KINDS, count)
    if seed % 3 == 2:
        kinds[:] = seed // 3 % KINDS
    assets = tuple(
        _asset(rng, int(kind), f"a{index}", f"m{rng.integers(0, len(meters))}", steps, whole=seed % 3 > 0)
        for index, kind in enumerate(kinds)
    )
    objective = Objective(
        cost=float(rng.choice([1, 1, 1, 2, 0])), carbon=float(rng.choice([0, 0.2, 1])),
        peak=float(rng.choice([0, 0, 0.5])), ramp=float(rng.choice([0, 0, 0.05])),
    )  # fmt: skip
    return Problem(
        step_h=hours, meters=meters, assets=assets, groups=_groups(rng, meters, assets), objective=objective,
        before_kw=float(rng.uniform(-2, 5)) if rng.random() < 0.5 else None,
        battery_to_vehicle=bool(rng.random() < 0.7), multiples=_multiples(rng),
    )  # fmt: skip


def random_battery(seed: int) -> Problem:
    """One battery with a curve and nothing that links steps, of which dynamic programming is exact."""
    rng = np.random.default_rng(seed)
    hours = _hours(rng)
    meter = msgspec.structs.replace(_meter(rng, "m0", hours), demand_price=0.0)
    battery = msgspec.structs.replace(_battery(rng, "a0", "m0", whole=bool(seed % 2)), curve=CURVE)
    return Problem(
        step_h=hours, meters=(meter,), assets=(battery,), objective=Objective(carbon=float(rng.choice([0, 0.2]))),
        battery_to_vehicle=bool(rng.random() < 0.7),
    )  # fmt: skip


def with_one_way(problem: Problem, one_way: float) -> Problem:
    """The same with batteries that lose as much at all powers; what is left in them is worth as much."""
    assets = [
        msgspec.structs.replace(one, one_way=one_way, curve=(), end_price=end_worth(problem, one))
        if isinstance(one, Battery)
        else one
        for one in problem.assets
    ]
    return msgspec.structs.replace(problem, assets=tuple(assets))


def ties(problem: Problem, powers: Mapping[str, Numbers]) -> float:
    """What early and steady may cost, as docs/plan.md has it."""
    mean = float(np.mean([np.abs(problem.price(one)).mean() for one in problem.meters])) or problem.dearest
    moved = sum(float(np.abs(power) @ problem.step_h) for power in powers.values())
    starts = sum(
        0.05 * mean * one.profile_kw[0] * problem.steps
        for one in problem.assets
        if isinstance(one, Load) and one.breaks
    )
    return 4e-4 * mean * moved + starts


def random_futures(seed: int) -> tuple[Problem, Problem, Problem]:
    """The problem of a seed, and two others in which load and sun come otherwise."""
    rng = np.random.default_rng(seed)
    first = random_problem(3 * seed)

    def otherwise(share: float) -> Problem:
        meters = [msgspec.structs.replace(one, load_kw=one.load_kw * share) for one in first.meters]
        assets = [
            msgspec.structs.replace(one, power_kw=one.power_kw / share) if isinstance(one, Solar) else one
            for one in first.assets
        ]
        return msgspec.structs.replace(first, meters=tuple(meters), assets=tuple(assets))

    return first, otherwise(float(rng.uniform(0.3, 0.9))), otherwise(float(rng.uniform(1.1, 2.0)))


def _hours(rng: Random) -> Numbers:
    """Steps of 5, 15 or 60 minutes, the first of them perhaps the rest of one; a day of 23 or 25 hours; or longer ones
    after shorter ones.
    """
    if (kind := rng.random()) < 0.04:
        return np.ones(int(rng.choice([23, 25])))
    if kind < 0.1:
        return np.sort(rng.choice([1 / 12, 0.25, 0.5, 1.0, 2.0], int(rng.integers(2, 12))))
    hours = np.full(int(rng.integers(2, 12)), float(rng.choice([1 / 12, 0.25, 1.0])))
    if rng.random() < 0.3:
        hours[0] *= rng.uniform(0.1, 1.0)
    return hours


def _meter(rng: Random, name: str, hours: Numbers) -> Meter:
    steps = len(hours)
    tariff = rng.integers(0, 4)
    if tariff == 0:  # by time of use
        price = np.where(np.arange(steps) % 6 < rng.integers(1, 6), 0.12, 0.38)
    elif tariff == 1:  # flat, so that ties decide
        price = np.full(steps, 0.25)
    else:  # dynamic, below zero now and then
        price = rng.uniform(-0.1 if tariff == 3 else 0.05, 0.5, steps)
    paid = price * float(rng.choice([0.0, 0.3, 0.3, 1.0, 1.2]))
    if rng.random() < 0.2:
        paid = np.full(steps, float(rng.choice([0.08, 0.2])))  # whatever a kWh costs
    return Meter(
        name=name, load_kw=rng.uniform(-3, 6, steps), import_price=price, export_price=paid,
        carbon=rng.uniform(0, 0.6, steps) if rng.random() < 0.8 else None,
        import_max_kw=_limit(rng, steps, 8.0, 0.6), export_max_kw=_limit(rng, steps, 3.0, 0.4),
        demand_price=float(rng.choice([0.0, 0.0, 5.0])), demand_seen_kw=float(rng.uniform(0, 5)),
    )  # fmt: skip


def _multiples(rng: Random) -> Multiples:
    """Mostly those that are used; or others, so that other limits give way first."""
    if rng.random() < 0.9:
        return Multiples()
    grid, feed_in, group, departure, charge, late = rng.permutation([20.0, 35.0, 50.0, 70.0, 100.0, 140.0]).tolist()
    return Multiples(grid=grid, feed_in=feed_in, group=group, departure=departure, charge=charge, late=late)


def _limit(rng: Random, steps: int, most: float, share: float) -> Any:
    if rng.random() > share:
        return INF
    if rng.random() < 0.7:
        return float(rng.uniform(-0.5, most))
    limits = rng.uniform(0, most, steps)
    return np.where(rng.random(steps) < 0.5, limits, INF) if rng.random() < 0.3 else limits


def _groups(rng: Random, meters: tuple[Meter, ...], assets: tuple[Asset, ...]) -> tuple[Group, ...]:
    """None, or one or two that overlap, of assets, of meters, or of both."""
    found = []
    for index in range(int(rng.choice([0, 0, 0, 1, 1, 2]))):
        both = (meters, assets, (*meters, *assets))[rng.choice(3, p=[0.2, 0.7, 0.1])]
        names = [one.name for one in both]
        members = tuple(name for name in names if rng.random() < 0.7) or (names[0],)
        limit = rng.uniform(-1, 8, len(meters[0].load_kw)) if rng.random() < 0.3 else float(rng.uniform(-1, 8))
        found.append(Group(name=f"g{index}", members=members, import_max_kw=limit))
    return tuple(found)


def _asset(rng: Random, kind: int, name: str, meter: str, steps: int, *, whole: bool) -> Asset:
    if kind == 0:
        return _battery(rng, name, meter, whole=whole)
    if kind in (1, 2):
        return _vehicle(rng, name, meter, steps, gives=kind == 2, whole=whole)
    if kind == 3:
        return Solar(name=name, meter=meter, power_kw=rng.uniform(0, 6, steps), curtailable=bool(rng.random() < 0.6))
    if kind == 4:
        return _heat(rng, name, meter, steps)
    if kind == 5:
        return _load(rng, name, meter, steps)
    there = tuple(
        (place, rng.uniform(-0.05, 0.4, steps), rng.uniform(0, 0.5, steps))
        for place in ("x", "y")[: rng.integers(0, 3)]
    )
    return Job(
        name=name, meter=meter, energy_kwh=float(rng.uniform(0, 8)), power_kw=float(rng.choice([3.0, 3.0, 7.5])),
        minimum_kw=float(rng.choice([0.0, 1.0, 3.0])), release=int(rng.integers(-2, steps)),
        deadline=int(rng.integers(0, steps + 3)), places=there,
    )  # fmt: skip


def _battery(rng: Random, name: str, meter: str, *, whole: bool) -> Battery:
    size = float(rng.uniform(2, 12))
    return Battery(
        name=name, meter=meter, capacity_kwh=size, content_kwh=float(rng.uniform(-1, size + 1)),
        charge_kw=float(rng.choice([0.0, *rng.uniform(0.5, 6, 4)])),
        discharge_kw=float(rng.choice([0.0, *rng.uniform(0.5, 6, 4)])),
        one_way=float(rng.choice([0.93, 0.8, 1.0])), low_kwh=float(rng.choice([0.0, 0.3, 0.9])) * size,
        high_kwh=float(rng.choice([INF, 0.8 * size, 0.1 * size])), wear_price=float(rng.choice([0.0, 0.02])),
        taper=_TAPERS[rng.integers(0, len(_TAPERS))] if whole else (),
        end_price=[None, 0.0, 0.2, 3.0][rng.integers(0, 4)], curve=CURVE if rng.random() < 0.2 else (),
    )  # fmt: skip


def _vehicle(rng: Random, name: str, meter: str, steps: int, *, gives: bool, whole: bool) -> Vehicle:
    size, arrives = float(rng.uniform(4, 20)), int(rng.integers(-2, steps))
    leaves = arrives + int(rng.integers(0, steps + 3))
    needs = tuple((int(rng.integers(0, steps + 4)), float(rng.uniform(0, 1.3 * size))) for _ in range(rng.integers(3)))
    return Vehicle(
        name=name, meter=meter, capacity_kwh=size, content_kwh=float(rng.uniform(-1, size + 1)),
        charge_kw=float(rng.choice([4.0, 4.0, 11.0])), discharge_kw=float(rng.choice([2.0, 4.0])) if gives else 0.0,
        minimum_kw=float(rng.choice([0.0, 1.4, 4.0])) if whole else 0.0, one_way=float(rng.choice([0.95, 1.0, 0.85])),
        arrives=arrives, leaves=leaves, needs=(*needs, (leaves, float(rng.uniform(0, 1.5 * size)))),
        wear_price=float(rng.choice([0.0, 0.02])),
    )  # fmt: skip


def _heat(rng: Random, name: str, meter: str, steps: int) -> Heat:
    low = rng.uniform(15, 25, steps) if rng.random() < 0.3 else float(rng.uniform(15, 25))
    return Heat(
        name=name, meter=meter, state_c=float(rng.uniform(5, 40)), capacity_kwh_per_k=float(rng.uniform(0.2, 5)),
        loss_kw_per_k=float(rng.choice([0.0, 0.2, 1.0])), power_kw=3.0,
        cop=rng.uniform(1, 4, steps) if rng.random() < 0.5 else 3.0, outside_c=rng.uniform(-10, 15, steps),
        gain_kw=rng.uniform(-2, 1, steps) if rng.random() < 0.5 else 0.0, low_c=low,
        high_c=low + float(rng.uniform(-2, 4)), comfort_price=float(rng.choice([0.05, 1.0, 0.0])),
        minimum_kw=float(rng.choice([0.0, 1.0])),
    )  # fmt: skip


def _load(rng: Random, name: str, meter: str, steps: int) -> Load:
    runs, breaks = int(rng.integers(1, steps + 2)), bool(rng.random() < 0.5)
    profile = (2.0,) if breaks or rng.random() < 0.5 else tuple(rng.uniform(0.2, 3, runs).tolist())
    earliest = int(rng.integers(0, steps))
    return Load(
        name=name, meter=meter, profile_kw=profile, steps=runs, earliest=earliest,
        latest=None if rng.random() < 0.2 else earliest + int(rng.integers(0, steps + 2)), breaks=breaks,
        on_min=int(rng.integers(1, 5)), off_min=int(rng.integers(1, 5)), ran=int(rng.choice([0, 0, 1, 2])),
        optional=bool(rng.random() < 0.4), skip_price=float(rng.choice([0.0, 0.5, 20.0])),
        skipped_days=int(rng.integers(0, 3)), skip_days_max=[None, 1][rng.integers(0, 2)],
    )  # fmt: skip
