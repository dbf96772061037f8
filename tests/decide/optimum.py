"""The best that any plan could reach, by a mixed-integer program written from docs/plan.md, solved by SCIP.

Nothing of the planner is in it, nor its solver: contents are sums over all steps before, a store that takes does not
give, and all that needs whole numbers has them from the beginning. It is slow, and so for small problems.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyscipopt import Model, quicksum
from tests.decide.physics import band, decay, due, end_worth, must_run, profile

from taihu.decide.problem import Battery, Heat, Job, Load, Meter, Problem, Solar, Vehicle
from taihu.kernel.arrays import Numbers

Vars = NDArray[np.intp]
Term = tuple[Vars, Any]


class Unsolved(Exception):
    """The independent program came to no end."""


class Optimum:
    """A problem, or several futures of one that share the first step.

    Raises:
        Unsolved: SCIP found no answer in time.
    """

    def __init__(self, problems: Sequence[Problem], weights: Sequence[float] = (1.0,)) -> None:
        self._bounds: list[tuple[Numbers, Numbers, Numbers, Numbers, bool]] = []
        self._rows: list[tuple[list[Term], Numbers, Numbers]] = []
        self._count = 0
        self._futures = [_Future(self, one, weight) for one, weight in zip(problems, weights, strict=True)]
        first = self._futures[0]
        suns = {one.name for one in problems[0].assets if isinstance(one, Solar)}
        for other in self._futures[1:]:
            for name, terms in first.powers.items():
                if name not in suns:
                    both = [(columns[:1], sign) for columns, sign in terms]
                    both += [(columns[:1], -sign) for columns, sign in other.powers[name]]
                    self.row(both, 0.0, 0.0)

    def least_breach(self) -> float:
        """What the breaches cost at least, comfort left out."""
        return self._solve(money=0.0)

    def best(self) -> float:
        """The objective of the best plan, breaches and all."""
        return self._solve(money=1.0)

    def hold_first_step(self, powers: dict[str, Numbers]) -> None:
        """Let the first step be as a plan has it."""
        for name, terms in self._futures[0].powers.items():
            kw = float(powers[name][0])
            self.row([(columns[:1], sign) for columns, sign in terms], kw - 1e-6, kw + 1e-6)

    def variables(
        self, count: int, low: Any, high: Any, *, money: Any = 0.0, breach: Any = 0.0, whole: bool = False
    ) -> Vars:
        """Variables with what a unit of each costs."""
        each = [np.broadcast_to(np.asarray(one, np.float64), count) for one in (low, high, money, breach)]
        self._bounds.append((each[0], each[1], each[2], each[3], whole))
        self._count += count
        return np.arange(self._count - count, self._count)

    def row(self, terms: Sequence[Term], low: Any, high: Any) -> None:
        """One row for each place of the terms: low <= sum of variables x factors <= high."""
        size = max((len(columns) for columns, _ in terms), default=0)
        ends = [np.broadcast_to(np.asarray(one, np.float64), size) for one in (low, high)]
        self._rows.append((list(terms), ends[0], ends[1]))

    def total(self, terms: Sequence[Term], low: float, high: float) -> None:
        """One row over the sum of all."""
        single = [(columns[i : i + 1], float(np.broadcast_to(f, len(columns))[i])) for columns, f in terms
                  for i in range(len(columns))]  # fmt: skip
        if single:
            self.row(single, low, high)
        elif not low <= 0.0 <= high:
            raise AssertionError("an empty sum has a bound that it does not keep")

    def _solve(self, money: float) -> float:
        costs = np.concatenate([money * each + breach for _, _, each, breach, _ in self._bounds]).tolist()
        size = max(1e-9, max(map(abs, costs))) / 100
        solver = Model()
        solver.hideOutput()
        solver.setParam("limits/gap", 1e-6)
        solver.setParam("timing/clocktype", 1)  # of the CPU
        solver.setParam("limits/time", 120.0)
        found = [
            solver.addVar(vtype="I" if whole else "C", lb=_finite(low), ub=_finite(high))
            for lows, highs, _, _, whole in self._bounds
            for low, high in zip(lows, highs, strict=True)
        ]
        solver.setObjective(quicksum(cost / size * one for cost, one in zip(costs, found, strict=True)))
        for terms, lows, highs in self._rows:
            each = [(which, np.broadcast_to(np.asarray(factor, np.float64), len(which))) for which, factor in terms]
            for place, (low, high) in enumerate(zip(lows.tolist(), highs.tolist(), strict=True)):
                row = quicksum(
                    float(factor[place]) * found[which[place]] for which, factor in each if place < len(which)
                )
                if low == high:
                    solver.addCons(row == low)
                    continue
                if np.isfinite(low):
                    solver.addCons(row >= low)
                if np.isfinite(high):
                    solver.addCons(row <= high)
        solver.optimize()
        if solver.getStatus() not in ("optimal", "gaplimit"):
            raise Unsolved(solver.getStatus())
        return float(size * solver.getObjVal())


def _finite(bound: float) -> float | None:
    return float(bound) if np.isfinite(bound) else None


class _Future:
    """One future as variables and rows."""

    def __init__(self, program: Optimum, problem: Problem, weight: float) -> None:
        self._all, self._problem, self._weight = program, problem, weight
        self._hours, self._steps = problem.step_h, problem.steps
        self._breach = problem.dearest * weight
        self.powers: dict[str, list[Term]] = {}
        self._out: dict[str, Vars] = {}
        for asset in problem.assets:
            match asset:
                case Battery():
                    self._battery(asset)
                case Vehicle():
                    self._vehicle(asset)
                case Heat():
                    self._heat(asset)
                case Load():
                    self._load(asset)
                case Job():
                    self._job(asset)
                case Solar():
                    least = np.zeros(self._steps) if asset.curtailable else asset.power_kw
                    self.powers[asset.name] = [(program.variables(self._steps, least, asset.power_kw), -1.0)]
        self._nets = {meter.name: self._meter(meter) for meter in problem.meters}
        self._groups()
        self._together()
        if not problem.battery_to_vehicle:
            self._own_load()

    def _store(
        self, store: Battery | Vehicle, here: Numbers, least: float
    ) -> tuple[list[Term], list[list[Term]], float]:
        """Its columns, what was moved by the end of each step, and what it held."""
        count, hours = self._steps, self._hours
        wear = self._weight * store.wear_price * hours
        into = self._all.variables(count, 0.0, store.charge_kw * here, money=wear)
        out = self._all.variables(count, 0.0, store.discharge_kw * here, money=wear)
        takes = self._all.variables(count, 0.0, 1.0, whole=bool(least or store.discharge_kw))
        self._all.row([(into, 1.0), (takes, -store.charge_kw)], -np.inf, 0.0)
        self._all.row([(out, 1.0), (takes, store.discharge_kw)], -np.inf, store.discharge_kw)
        if least:
            runs = self._all.variables(count, 0.0, 1.0, whole=True)
            self._all.row([(into, 1.0), (runs, -store.charge_kw)], -np.inf, 0.0)
            self._all.row([(into, 1.0), (runs, -least)], 0.0, np.inf)
        held = min(max(store.content_kwh, 0.0), store.capacity_kwh)
        moved: list[list[Term]] = []
        for step in range(count):
            upto = slice(0, step + 1)
            moved.append([(into[upto], store.one_way * hours[upto]), (out[upto], -hours[upto] / store.one_way)])
            self._all.total(moved[-1], -held, store.capacity_kwh - held)
        self.powers[store.name] = [(into, 1.0), (out, -1.0)]
        self._out[store.name] = out
        return [(into, 1.0), (out, -1.0)], moved, held

    def _battery(self, battery: Battery) -> None:
        columns, moved, held = self._store(battery, np.ones(self._steps), 0.0)
        low, high = band(battery)
        each = self._problem.multiples.charge * self._breach
        for step, content in enumerate(moved):
            outside = self._all.variables(1, 0.0, np.inf, breach=each * self._hours[step])
            self._all.total([*content, (outside, 1.0)], low - held, np.inf)
            self._all.total([*content, (outside, -1.0)], -np.inf, high - held)
            for (one, share), (other, less) in zip(battery.taper, battery.taper[1:], strict=False):
                fall = (less - share) / (other - one) * battery.charge_kw / battery.capacity_kwh
                top = battery.charge_kw * share - fall * one * battery.capacity_kwh + fall * held
                before = [(part, -fall * np.asarray(factor)) for part, factor in moved[step - 1]] if step else []
                now, rests = columns[0][0][step : step + 1], self._all.variables(1, 0.0, 1.0, whole=True)
                self._all.total([(now, 1.0), (rests, battery.charge_kw)], -np.inf, battery.charge_kw)
                most = 10 * battery.charge_kw  # above all that a line falls below zero
                self._all.total([(now, 1.0), *before, (rests, -most)], -np.inf, top)
        worth = -self._weight * end_worth(self._problem, battery)
        left = self._all.variables(1, -np.inf, np.inf, money=worth)
        self._all.total([*moved[-1], (left, -1.0)], -held, -held)

    def _vehicle(self, vehicle: Vehicle) -> None:
        here = np.zeros(self._steps)
        here[max(0, vehicle.arrives) : max(0, vehicle.leaves)] = 1.0
        _, moved, held = self._store(vehicle, here, vehicle.minimum_kw)
        for at, need in due(self._problem, vehicle):
            short = self._all.variables(1, 0.0, np.inf, breach=self._problem.multiples.departure * self._breach)
            self._all.total([*moved[at - 1], (short, 1.0)], need - held, np.inf)

    def _heat(self, heat: Heat) -> None:
        power = self._least_power(self._steps, heat.power_kw, heat.minimum_kw)
        self.powers[heat.name] = [(power, 1.0)]
        stays, warms, drifts, low, high = decay(self._problem, heat)
        alone, weights = heat.state_c, np.zeros(self._steps)
        for step in range(self._steps):
            alone = stays[step] * alone + drifts[step]
            weights = weights * stays[step]
            weights[step] = warms[step]
            price = self._weight * heat.comfort_price * self._hours[step]
            outside = self._all.variables(1, 0.0, np.inf, money=price)
            self._all.total([(power, weights.copy()), (outside, 1.0)], low[step] - alone, np.inf)
            self._all.total([(power, weights.copy()), (outside, -1.0)], -np.inf, high[step] - alone)

    def _least_power(self, count: int, most: Any, least: float) -> Vars:
        power = self._all.variables(count, 0.0, most)
        if least:
            runs = self._all.variables(count, 0.0, 1.0, whole=True)
            self._all.row([(power, 1.0), (runs, -np.asarray(most))], -np.inf, 0.0)
            self._all.row([(power, 1.0), (runs, -least)], 0.0, np.inf)
        return power

    def _load(self, load: Load) -> None:
        count, kw = self._steps, profile(load)
        latest = count if load.latest is None else min(load.latest, count)
        energy = float(kw.sum()) * float(self._hours.mean())
        costs: dict[str, float] = (
            {"breach": self._problem.multiples.late * self._breach * energy}
            if must_run(load)
            else {"money": load.skip_price * self._weight}
        )
        left_out = self._all.variables(1, 0.0, 1.0, whole=not (load.breaks and (load.ran or must_run(load))), **costs)
        on = self._all.variables(count, 0.0, 1.0, whole=True)
        if not load.breaks:
            starts = range(1) if load.ran else range(max(0, load.earliest), latest - load.steps + 1)
            begins = self._all.variables(len(starts), 0.0, 1.0, whole=True)
            self._all.total([(begins, 1.0), (left_out, 1.0)], 1.0, 1.0)
            if load.ran:
                self._all.total([(begins, 1.0)], 1.0, 1.0)
            power = self._all.variables(count, 0.0, np.inf)
            for step in range(count):
                runs = [(begins[i : i + 1], -kw[step - start]) for i, start in enumerate(starts)
                        if 0 <= step - start < load.steps]  # fmt: skip
                self._all.row([(power[step : step + 1], 1.0), *runs], 0.0, 0.0)
            self.powers[load.name] = [(power, 1.0)]
            return
        self.powers[load.name] = [(on, kw[0])]
        earliest = 0 if load.ran else max(0, load.earliest)
        forced = max(0, load.on_min - load.ran) if load.ran else 0
        for step in range(count):
            now = [(on[step : step + 1], 1.0)]
            if step < forced:
                self._all.row(now, 1.0, 1.0)
            elif not earliest <= step < latest:
                self._all.row(now, 0.0, 0.0)
            before = [(on[step - 1 : step], -1.0)] if step else []
            was = float(load.ran > 0) if not step else 0.0
            for later in range(step + 1, min(step + load.on_min, count)):  # a start holds
                self._all.row([*now, *before, (on[later : later + 1], -1.0)], -np.inf, was)
            for later in range(step + 1, min(step + load.off_min, count)):  # and so does a stop
                stops = [(on[step : step + 1], -1.0), *((one, 1.0) for one, _ in before)]
                self._all.row([*stops, (on[later : later + 1], 1.0)], -np.inf, 1.0 - was)
        over = max(0, load.on_min - load.steps)
        self._all.total([(on, 1.0), (left_out, float(load.steps))], load.steps, load.steps + over)

    def _job(self, job: Job) -> None:
        may = np.zeros(self._steps)
        may[max(0, job.release) : max(0, job.deadline)] = 1.0
        here = self._least_power(self._steps, job.power_kw * may, job.minimum_kw)
        self.powers[job.name] = [(here, 1.0)]
        objective, parts = self._problem.objective, [here]
        for place, price, carbon in job.places:
            cost = self._weight * (objective.cost * price + objective.carbon * carbon) * self._hours
            parts.append(self._all.variables(self._steps, 0.0, job.power_kw * may, money=cost))
            self.powers[f"{job.name}@{place}"] = [(parts[-1], 1.0)]
        self._all.row([(part, 1.0) for part in parts], -np.inf, job.power_kw)
        late = self._all.variables(1, 0.0, np.inf, breach=self._problem.multiples.late * self._breach)
        done: list[Term] = [(part, self._hours) for part in parts]
        self._all.total([*done, (late, 1.0)], job.energy_kwh, job.energy_kwh)

    def _meter(self, meter: Meter) -> list[Term]:
        problem, hours, multiples = self._problem, self._hours, self._problem.multiples
        price = self._weight * problem.price(meter) * hours
        paid = self._weight * problem.objective.cost * meter.export_price * hours
        takes = self._all.variables(self._steps, 0.0, np.inf, money=price)
        gives = self._all.variables(self._steps, 0.0, np.inf, money=-paid)
        behind = [term for one in problem.assets if one.meter == meter.name for term in self.powers[one.name]]
        less = [(columns, -np.asarray(sign)) for columns, sign in behind]
        self._all.row([(takes, 1.0), (gives, -1.0), *less], meter.load_kw, meter.load_kw)
        if bool((paid > price).any()):
            most = float(np.abs(meter.load_kw).max()) + 100.0 * (1 + len(problem.assets))
            way = self._all.variables(self._steps, 0.0, 1.0, whole=True)
            self._all.row([(takes, 1.0), (way, -most)], -np.inf, 0.0)
            self._all.row([(gives, 1.0), (way, most)], -np.inf, most)
        for columns, limit, each in (
            (takes, meter.import_max_kw, multiples.grid),
            (gives, meter.export_max_kw, multiples.feed_in),
        ):
            top = np.maximum(np.broadcast_to(np.asarray(limit, np.float64), self._steps), 0.0)
            over = self._all.variables(self._steps, 0.0, np.inf, breach=each * self._breach * hours)
            self._all.row([(columns, 1.0), (over, -1.0)], -np.inf, top)
        if meter.demand_price:
            cost = self._weight * problem.objective.cost * meter.demand_price
            above = self._all.variables(1, 0.0, np.inf, money=cost)
            for step in range(self._steps):
                self._all.row([(takes[step : step + 1], 1.0), (above, -1.0)], -np.inf, meter.demand_seen_kw)
        return [(takes, 1.0), (gives, -1.0)]

    def _groups(self) -> None:
        each = self._problem.multiples.group * self._breach * self._hours
        for group in self._problem.groups:
            over = self._all.variables(self._steps, 0.0, np.inf, breach=each)
            whose = [term for name in group.members for term in self._nets.get(name) or self.powers[name]]
            limit = np.broadcast_to(np.asarray(group.import_max_kw, np.float64), self._steps)
            self._all.row([*whose, (over, -1.0)], -np.inf, limit)

    def _together(self) -> None:
        objective, nets = self._problem.objective, [term for net in self._nets.values() for term in net]
        peak = self._all.variables(1, 0.0, np.inf, money=self._weight * objective.peak)
        for step in range(self._steps):
            now = [(columns[step : step + 1], sign) for columns, sign in nets]
            self._all.row([*now, (peak, -1.0)], -np.inf, 0.0)
            begin = 0.0
            if step:
                now += [(columns[step - 1 : step], -np.asarray(sign)) for columns, sign in nets]
            elif self._problem.before_kw is None:
                continue
            else:
                begin = self._problem.before_kw
            moves = self._all.variables(1, 0.0, np.inf, money=self._weight * objective.ramp)
            self._all.row([*now, (moves, -1.0)], -np.inf, begin)
            self._all.row([*now, (moves, 1.0)], begin, np.inf)

    def _own_load(self) -> None:
        for meter in self._problem.meters:
            terms: list[Term] = []
            for asset in self._problem.assets:
                if asset.meter == meter.name and isinstance(asset, Battery):
                    terms.append((self._out[asset.name], 1.0))
                elif asset.meter == meter.name and isinstance(asset, Heat | Load | Job):
                    terms += [(columns, -np.asarray(sign)) for columns, sign in self.powers[asset.name]]
            if terms:
                self._all.row(terms, -np.inf, np.maximum(meter.load_kw, 0.0))
