"""What meters and groups may still take when some assets are placed, and what taking more costs."""

import numpy as np

from taihu.decide.problem import Problem, series
from taihu.kernel.arrays import Numbers


class Room:
    """What is taken so far behind each meter (`net`, kW), and what that leaves."""

    def __init__(self, problem: Problem) -> None:
        count = problem.steps
        self.problem, self.unit = problem, problem.dearest
        self.net = {one.name: np.array(one.load_kw, np.float64) for one in problem.meters}
        self.total: Numbers = np.sum(list(self.net.values()), axis=0)
        self._level_kw = np.inf  # that all meters reach anyway: what is above it costs, where a peak does
        self._demand_kw = dict.fromkeys(self.net, np.inf)  # and each of them, where it has a demand charge
        self._meters = {one.name: one for one in problem.meters}
        self._most = {one.name: series(one.import_max_kw, count, "", limit=True) for one in problem.meters}
        self._least = {one.name: -series(one.export_max_kw, count, "", limit=True) for one in problem.meters}
        self._prices = {one.name: (problem.price(one), problem.paid(one)) for one in problem.meters}
        self._groups = [
            (set(one.members), np.array(series(one.import_max_kw, count, "", limit=True))) for one in problem.groups
        ]
        for members, left in self._groups:
            for meter in members & set(self.net):
                left -= self.net[meter]

    def left(self, name: str, meter: str) -> Numbers:
        """KW that may still be taken in each step."""
        found = self._most[meter] - self.net[meter]
        for left in self._over(name, meter):
            found = np.minimum(found, left)
        return np.asarray(np.maximum(found, 0.0))

    def take(self, name: str, meter: str, power: Numbers) -> None:
        """Take power; negative gives."""
        self.net[meter] += power
        self.total += power
        for left in self._over(name, meter):
            left -= power
        self._level_kw = max(self._level_kw, float(self.total.max()))
        self._demand_kw[meter] = max(self._demand_kw[meter], float(self.net[meter].max()))

    def keep_level(self) -> None:
        """From now on only what lifts a peak above what is taken now costs more."""
        self._level_kw = float(self.total.max())
        for name, net in self.net.items():
            self._demand_kw[name] = max(self._meters[name].demand_seen_kw, float(net.max()))

    def price(self, meter: str) -> Numbers:
        """What a kWh more costs in each step: where sun is fed in, what it would have earned."""
        buys, sells = self._prices[meter]
        return np.where(self.net[meter] < 0, sells, buys)

    def step_costs(self, name: str, meter: str, powers: Numbers) -> Numbers:
        """What each step costs with these powers besides (steps are their last dimension), peak and ramp apart."""
        each, unit = self.problem.multiples, self.unit
        buys, sells = self._prices[meter]
        net = self.net[meter] + powers
        cost = np.where(net > 0, buys, sells) * net
        cost += each.grid * unit * np.maximum(net - np.maximum(self._most[meter], 0.0), 0.0)
        cost += each.feed_in * unit * np.maximum(np.minimum(self._least[meter], 0.0) - net, 0.0)
        for left in self._over(name, meter):
            cost += each.group * unit * np.maximum(powers - left, 0.0)
        return np.asarray(cost * self.problem.step_h)

    def below(self, meter: str) -> Numbers | None:
        """KW that may still be taken in each step without lifting a peak that costs; None where none does."""
        found = [level - taken for price, taken, level in self._peaks(meter) if price and np.isfinite(level)]
        return np.min(found, axis=0) if found else None

    def above(self, meter: str, powers: Numbers) -> Numbers:
        """What it costs in each step that these powers besides lift a peak."""
        cost = np.zeros_like(powers)
        for price, taken, level in self._peaks(meter):
            cost += price * np.maximum(taken + powers - level, 0.0)
        return cost

    def _peaks(self, meter: str) -> tuple[tuple[float, Numbers, float], ...]:
        objective = self.problem.objective
        demand = objective.cost * self._meters[meter].demand_price
        return (
            (objective.peak, self.total, self._level_kw), (demand, self.net[meter], self._demand_kw[meter])
        )  # fmt: skip

    def costs(self, name: str, meter: str, powers: Numbers) -> Numbers:
        """What all steps cost with these powers besides, which are steps in their last dimension."""
        objective, one = self.problem.objective, self._meters[meter]
        cost = self.step_costs(name, meter, powers).sum(axis=-1)
        total = self.total + powers
        if one.demand_price:
            highest = (self.net[meter] + powers).max(axis=-1)
            cost = cost + objective.cost * one.demand_price * np.maximum(highest - one.demand_seen_kw, 0.0)
        if objective.peak:
            cost = cost + objective.peak * np.maximum(total.max(axis=-1), 0.0)
        if objective.ramp:
            before = self.problem.before_kw
            first = total[..., :1] if before is None else np.full_like(total[..., :1], before)
            cost = cost + objective.ramp * np.abs(np.diff(total, axis=-1, prepend=first)).sum(axis=-1)
        return np.asarray(cost)

    def _over(self, name: str, meter: str) -> list[Numbers]:
        """What the groups leave that this is in."""
        return [left for members, left in self._groups if name in members or meter in members]
