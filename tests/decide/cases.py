"""Random problems, many of which contradict themselves, and the least breach that anything could reach.

The least breach is found by a program of its own: dense, over sums instead of contents, solved by scipy.
"""

from typing import Any

import numpy as np
from scipy.optimize import linprog

from taihu.decide.judge import Breach
from taihu.decide.problem import (
    INF,
    Asset,
    Battery,
    Group,
    Heat,
    Job,
    Kind,
    Load,
    Meter,
    Multiples,
    Numbers,
    Objective,
    Problem,
    Solar,
    Vehicle,
)


def random_problem(seed: int, *, whole: bool) -> Problem:
    """A problem of the seed; with `whole` also what needs whole numbers, and heat, whose comfort has a price."""
    rng = np.random.default_rng(seed)
    steps, hours = int(rng.integers(3, 12)), float(rng.choice([0.25, 0.5, 1.0]))
    meters = tuple(_meter(rng, f"m{index}", steps) for index in range(int(rng.integers(1, 3))))
    assets: list[Asset] = []
    for index in range(int(rng.integers(1, 5))):
        kind = rng.integers(0, 6 if whole else 3)
        assets.append(_asset(rng, int(kind), f"a{index}", f"m{rng.integers(0, len(meters))}", steps, whole))
    groups: tuple[Group, ...] = ()
    if rng.random() < 0.4:
        members = tuple(one.name for one in assets if rng.random() < 0.7) or (assets[0].name,)
        groups = (Group(name="g", members=members, import_max_kw=float(rng.uniform(0, 8))),)
    objective = Objective(
        carbon=float(rng.choice([0, 0.2])), peak=float(rng.choice([0, 0.5])), ramp=float(rng.choice([0, 0.05]))
    )
    return Problem(
        step_h=np.full(steps, hours), meters=meters, assets=tuple(assets), groups=groups, objective=objective,
        battery_to_vehicle=bool(rng.random() < 0.8) or not whole,
    )  # fmt: skip


def breach_cost(problem: Problem, breaches: tuple[Breach, ...]) -> float:
    """What breaches cost, comfort left out."""
    each = problem.multiples
    price = {
        Kind.GRID: each.grid, Kind.FEED_IN: each.feed_in, Kind.GROUP: each.group, Kind.DEPARTURE: each.departure,
        Kind.CHARGE: each.charge, Kind.LATE: each.late, Kind.COMFORT: 0.0,
    }  # fmt: skip
    return sum(price[one.kind] * one.amount for one in breaches)


def least_breach(problem: Problem) -> float:
    """The least that breaches can cost, by what batteries, vehicles, plants and meters can physically do."""
    program = _Dense()
    steps, hours, multiples = problem.steps, float(problem.step_h[0]), problem.multiples
    power: dict[str, list[tuple[slice, float]]] = {}
    for asset in problem.assets:
        if isinstance(asset, Solar):
            used = program.variables(steps, np.zeros(steps) if asset.curtailable else asset.power_kw, asset.power_kw)
            power[asset.name] = [(used, -1.0)]
        elif isinstance(asset, Battery | Vehicle):
            power[asset.name] = _store(program, asset, steps, hours, multiples)
    for meter in problem.meters:
        here = [part for one in problem.assets if one.meter == meter.name for part in power[one.name]]
        _limit(program, here, meter.load_kw, meter.import_max_kw, 1.0, multiples.grid * hours, steps)
        _limit(program, here, meter.load_kw, meter.export_max_kw, -1.0, multiples.feed_in * hours, steps)
    for group in problem.groups:
        here = [part for name in group.members for part in power[name]]
        _limit(program, here, np.zeros(steps), group.import_max_kw, 1.0, multiples.group * hours, steps)
    return program.solve()


class _Dense:
    """Variables and rows a x <= b, written one by one."""

    def __init__(self) -> None:
        self.lower: list[float] = []
        self.upper: list[float] = []
        self.cost: list[float] = []
        self.whole: list[int] = []
        self.rows: list[tuple[dict[int, float], float]] = []

    def variables(self, count: int, lower: Any, upper: Any, cost: float = 0.0, whole: int = 0) -> slice:
        first = len(self.cost)
        self.lower += list(np.broadcast_to(lower, count))
        self.upper += list(np.broadcast_to(upper, count))
        self.cost += [cost] * count
        self.whole += [whole] * count
        return slice(first, first + count)

    def row(self, left: dict[int, float], right: float) -> None:
        self.rows.append((left, right))

    def solve(self) -> float:
        matrix = np.zeros((len(self.rows), len(self.cost)))
        for index, (left, _) in enumerate(self.rows):
            for column, value in left.items():
                matrix[index, column] += value
        found = linprog(
            self.cost, A_ub=matrix, b_ub=[right for _, right in self.rows], method="highs", integrality=self.whole,
            bounds=np.stack([self.lower, self.upper], axis=1), options={"mip_rel_gap": 1e-6},
        )  # fmt: skip
        assert found.status == 0, found.message
        return float(found.fun)


def _store(
    program: _Dense, store: Battery | Vehicle, steps: int, hours: float, multiples: Multiples
) -> list[tuple[slice, float]]:
    """Its content after k steps is what it held, plus all that went in, less all that went out."""
    here = np.zeros(steps)
    first, last = (0, steps) if isinstance(store, Battery) else (max(0, store.arrives), min(store.leaves, steps))
    here[first : max(first, last)] = 1.0
    into = program.variables(steps, 0.0, store.charge_kw * here)
    out = program.variables(steps, 0.0, store.discharge_kw * here)
    takes = program.variables(steps, 0.0, 1.0, whole=1 if store.discharge_kw else 0)
    held = min(max(store.content_kwh, 0.0), store.capacity_kwh)
    for step in range(steps):
        program.row({into.start + step: 1.0, takes.start + step: -store.charge_kw}, 0.0)
        program.row({out.start + step: 1.0, takes.start + step: store.discharge_kw}, store.discharge_kw)
        change = {into.start + one: hours * store.one_way for one in range(step + 1)}
        change |= {out.start + one: -hours / store.one_way for one in range(step + 1)}
        less = {column: -value for column, value in change.items()}
        program.row(change, store.capacity_kwh - held)
        program.row(less, held)
        if isinstance(store, Battery):
            high = min(store.high_kwh, store.capacity_kwh)
            low = min(store.low_kwh, high)
            outside = program.variables(1, 0.0, np.inf, multiples.charge * hours)
            program.row(less | {outside.start: -1.0}, held - low)
            program.row(change | {outside.start: -1.0}, high - held)
        elif first < last:
            for need_step, need in store.needs:
                wait = max(0, min(need_step, store.leaves) - steps)  # what is needed later may be charged later
                need -= wait * store.charge_kw * store.one_way * hours
                if min(need_step, store.leaves, steps) == step + 1 > first:
                    short = program.variables(1, 0.0, np.inf, multiples.departure)
                    program.row(less | {short.start: -1.0}, held - need)
    return [(into, 1.0), (out, -1.0)]


def _limit(
    program: _Dense, parts: list[tuple[slice, float]], load: Numbers, limit: Any, sign: float, price: float, steps: int
) -> None:
    limits = np.broadcast_to(np.asarray(limit, np.float64), steps)
    for step in range(steps):
        if np.isfinite(limits[step]):
            over = program.variables(1, 0.0, np.inf, price)
            left = {part.start + step: sign * way for part, way in parts} | {over.start: -1.0}
            program.row(left, limits[step] - sign * load[step])


def _meter(rng: np.random.Generator, name: str, steps: int) -> Meter:
    load = rng.uniform(-3, 6, steps)
    price = rng.uniform(-0.05 if rng.random() < 0.2 else 0.05, 0.5, steps)
    above = 1.2 if rng.random() < 0.1 else 0.3
    return Meter(
        name=name, load_kw=load, import_price=price, export_price=price * above, carbon=rng.uniform(0, 0.6, steps),
        import_max_kw=float(rng.uniform(0, 8)) if rng.random() < 0.6 else INF,
        export_max_kw=float(rng.uniform(0, 3)) if rng.random() < 0.4 else INF,
        demand_price=float(rng.choice([0.0, 5.0])), demand_seen_kw=float(rng.uniform(0, 5)),
    )  # fmt: skip


def _asset(rng: np.random.Generator, kind: int, name: str, meter: str, steps: int, whole: bool) -> Asset:
    size = float(rng.uniform(2, 12))
    if kind == 0:
        return Battery(
            name=name, meter=meter, capacity_kwh=size, content_kwh=float(rng.uniform(-1, size + 1)),
            charge_kw=float(rng.uniform(0, 6)), discharge_kw=float(rng.uniform(0, 6)), one_way=0.93,
            low_kwh=float(rng.choice([0.0, 0.3 * size, 0.9 * size])),
            high_kwh=float(rng.choice([INF, 0.8 * size, 0.1 * size])), wear_price=0.01,
            taper=((0.8, 1.0), (1.0, 0.2)) if whole else (),
        )  # fmt: skip
    if kind == 1:
        arrives, leaves = int(rng.integers(-2, steps)), int(rng.integers(0, steps + 3))
        needs = tuple((int(rng.integers(0, steps + 4)), float(rng.uniform(0, 1.3 * size))) for _ in range(2))
        return Vehicle(
            name=name, meter=meter, capacity_kwh=size, content_kwh=float(rng.uniform(-1, size + 1)), charge_kw=4.0,
            discharge_kw=float(rng.choice([0.0, 4.0])), minimum_kw=1.4 if whole else 0.0,
            arrives=arrives, leaves=leaves, needs=(*needs, (leaves, float(rng.uniform(0, 1.5 * size)))),
        )  # fmt: skip
    if kind == 2:
        return Solar(name=name, meter=meter, power_kw=rng.uniform(0, 6, steps), curtailable=bool(rng.random() < 0.6))
    if kind == 3:
        low = float(rng.uniform(15, 25))
        return Heat(
            name=name, meter=meter, state_c=float(rng.uniform(5, 40)), capacity_kwh_per_k=float(rng.uniform(0.2, 5)),
            loss_kw_per_k=float(rng.choice([0.0, 0.2])), power_kw=3.0, cop=3.0, outside_c=rng.uniform(-10, 15, steps),
            low_c=low, high_c=low + float(rng.uniform(-2, 4)), minimum_kw=float(rng.choice([0.0, 1.0])),
        )  # fmt: skip
    if kind == 4:
        return Load(
            name=name, meter=meter, profile_kw=(2.0,), steps=int(rng.integers(1, steps + 3)),
            earliest=int(rng.integers(0, steps)), latest=int(rng.integers(0, steps + 2)),
            breaks=bool(rng.random() < 0.5),
            on_min=int(rng.integers(1, 4)), off_min=int(rng.integers(1, 4)), ran=int(rng.choice([0, 0, 1, 2])),
            optional=bool(rng.random() < 0.3), skip_price=0.5, skipped_days=int(rng.integers(0, 3)), skip_days_max=1,
        )  # fmt: skip
    there = (("there", rng.uniform(0, 0.4, steps), rng.uniform(0, 0.5, steps)),) if rng.random() < 0.5 else ()
    return Job(
        name=name, meter=meter, energy_kwh=size, power_kw=3.0, minimum_kw=float(rng.choice([0.0, 1.0])),
        release=int(rng.integers(0, steps)), deadline=int(rng.integers(0, steps + 2)), places=there,
    )  # fmt: skip
