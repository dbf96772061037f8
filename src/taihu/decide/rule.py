"""The rule that takes over when no solver answered in time: simple, immediate, and within what devices can do (§12).

Vehicles and jobs run as early as limits allow, the first to leave first; loads start as soon as they may; heat keeps
the lower quarter of its band; batteries take surplus and serve the load; generation is curtailed at the feed-in limit.
"""

import numpy as np

from taihu.decide.loads import profile_of
from taihu.decide.problem import Battery, Heat, Job, Load, Numbers, Problem, Solar, Vehicle, series
from taihu.decide.stores import heat_steps, taper_lines

_HEAT_SHARE = 0.25  # of the band, above its lower end


def by_rule(problem: Problem) -> dict[str, Numbers]:
    """Powers of all assets."""
    powers = problem.idle()
    room = _Room(problem)
    for asset in problem.assets:
        if isinstance(asset, Solar):
            powers[asset.name] = -np.maximum(asset.power_kw, 0.0)
            room.take(asset.name, asset.meter, powers[asset.name])
    for asset in problem.assets:
        if isinstance(asset, Load | Heat):
            powers[asset.name] = _load(problem, asset) if isinstance(asset, Load) else _heat(problem, asset)
            room.take(asset.name, asset.meter, powers[asset.name])
    waiting = [one for one in problem.assets if isinstance(one, Vehicle | Job)]
    for one in sorted(waiting, key=lambda each: each.leaves if isinstance(each, Vehicle) else each.deadline):
        powers[one.name] = _early(problem, one, room)
        room.take(one.name, one.meter, powers[one.name])
    for asset in problem.assets:
        if isinstance(asset, Battery):
            powers[asset.name] = _battery(problem, asset, room)
            room.take(asset.name, asset.meter, powers[asset.name])
    _curtail(problem, powers, room)
    return powers


class _Room:
    """What meters and groups may still take."""

    def __init__(self, problem: Problem) -> None:
        count = problem.steps
        self.net = {one.name: np.array(one.load_kw, np.float64) for one in problem.meters}
        self._most = {one.name: series(one.import_max_kw, count, "", limit=True) for one in problem.meters}
        self._groups = [
            (set(one.members), np.array(series(one.import_max_kw, count, "", limit=True))) for one in problem.groups
        ]
        for members, left in self._groups:
            for meter in members & set(self.net):
                left -= self.net[meter]

    def left(self, name: str, meter: str) -> Numbers:
        """KW that may still be taken in each step."""
        groups = [left for members, left in self._groups if name in members or meter in members]
        return np.asarray(np.maximum(np.min([self._most[meter] - self.net[meter], *groups], axis=0), 0.0))

    def take(self, name: str, meter: str, power: Numbers) -> None:
        """Take power; negative gives."""
        self.net[meter] += power
        for members, left in self._groups:
            if name in members or meter in members:
                left -= power


def _load(problem: Problem, load: Load) -> Numbers:
    power = np.zeros(problem.steps)
    first = 0 if load.ran else max(0, load.earliest)
    latest = problem.steps if load.latest is None else load.latest
    if load.optional and not load.ran and (load.skip_days_max is None or load.skipped_days < load.skip_days_max):
        return power
    if load.breaks or first + load.steps <= latest or load.ran:
        profile = profile_of(load)[: max(0, (min(latest, problem.steps) if load.breaks else problem.steps) - first)]
        power[first : first + len(profile)] = profile
    return power


def _heat(problem: Problem, heat: Heat) -> Numbers:
    keep, warm, drift = heat_steps(heat, problem.step_h)
    low, high = (series(one, problem.steps, heat.name) for one in (heat.low_c, heat.high_c))
    target = low + _HEAT_SHARE * (high - low)
    power, state = np.zeros(problem.steps), heat.state_c
    for step in range(problem.steps):
        alone = keep[step] * state + drift[step]
        wanted = min(max(0.0, (target[step] - alone) / warm[step]), heat.power_kw) if warm[step] > 0 else 0.0
        if wanted < heat.minimum_kw:
            wanted = min(heat.minimum_kw, heat.power_kw) if alone < low[step] else 0.0
        power[step] = wanted
        state = alone + warm[step] * wanted
    return power


def _early(problem: Problem, one: Vehicle | Job, room: _Room) -> Numbers:
    power = np.zeros(problem.steps)
    left = room.left(one.name, one.meter)
    if isinstance(one, Vehicle):
        first, last, most = max(0, one.arrives), min(one.leaves, problem.steps), one.charge_kw
        held = min(max(0.0, one.content_kwh), one.capacity_kwh)
        need = min(max((kwh for _, kwh in one.due(problem.step_h)), default=held), one.capacity_kwh)
        open_kwh = (need - held) / one.one_way
    else:
        first, last, most = max(0, one.release), min(one.deadline, problem.steps), one.power_kw
        open_kwh = one.energy_kwh
    for step in range(first, last):
        if open_kwh <= 1e-9:
            break
        kw = min(most, left[step], open_kwh / problem.step_h[step])
        if kw < one.minimum_kw and left[step] >= one.minimum_kw:
            kw = one.minimum_kw if _fits(one, open_kwh, one.minimum_kw * problem.step_h[step]) else 0.0
        if kw >= one.minimum_kw:
            power[step] = kw
            open_kwh -= kw * problem.step_h[step]
    return power


def _fits(one: Vehicle | Job, open_kwh: float, kwh: float) -> bool:
    """Whether a little more than what is needed has a place."""
    if isinstance(one, Job):
        return kwh <= open_kwh + 1e-9
    need = max((amount for _, amount in one.needs), default=0.0)
    return need + (kwh - open_kwh) * one.one_way <= one.capacity_kwh


def _battery(problem: Problem, battery: Battery, room: _Room) -> Numbers:
    power, net = np.zeros(problem.steps), room.net[battery.meter]
    left = room.left(battery.name, battery.meter)
    held = min(max(0.0, battery.content_kwh), battery.capacity_kwh)
    high = min(battery.high_kwh, battery.capacity_kwh)
    low = min(battery.low_kwh, high)
    lines = taper_lines(battery.taper)
    for step in range(problem.steps):
        hours = problem.step_h[step]
        share = min((at + fall * held / battery.capacity_kwh for at, fall in lines), default=1.0)
        most = min(battery.charge_kw * max(0.0, min(1.0, share)), max(0.0, high - held) / (battery.one_way * hours))
        least = min(battery.discharge_kw, max(0.0, held - low) * battery.one_way / hours)
        wanted = max(-net[step], min(left[step], (low - held) / (battery.one_way * hours)) if held < low else -np.inf)
        power[step] = min(max(wanted, -least), most)
        held += power[step] * hours * (battery.one_way if power[step] > 0 else 1 / battery.one_way)
    return power


def _curtail(problem: Problem, powers: dict[str, Numbers], room: _Room) -> None:
    for meter in problem.meters:
        limit = series(meter.export_max_kw, problem.steps, "export_max_kw", limit=True)
        over = np.maximum(-room.net[meter.name] - limit, 0.0)
        for asset in problem.assets:
            if isinstance(asset, Solar) and asset.curtailable and asset.meter == meter.name:
                cut = np.minimum(over, -powers[asset.name])
                powers[asset.name] = powers[asset.name] + cut
                over = over - cut
