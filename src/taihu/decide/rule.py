"""The rule that takes over when no solver answered in time: simple, immediate, and within what devices can do (§12).

Vehicles and jobs run as early as limits allow, the first to leave first; loads start as soon as they may; heat keeps
the lower quarter of its band; batteries take surplus and serve the load; generation is curtailed at the feed-in limit.
"""

import numpy as np

from taihu.decide.charge import charge, slack, stay
from taihu.decide.frame import Powers
from taihu.decide.loads import may_skip, profile_of, window
from taihu.decide.problem import INF, Battery, Heat, Job, Load, Problem, Solar, Vehicle, cap, series
from taihu.decide.room import Room
from taihu.decide.stores import heat_steps, taper_lines
from taihu.kernel.arrays import Numbers

_HEAT_SHARE = 0.25  # of the band, above its lower end


def by_rule(problem: Problem, *, cheap: bool = False) -> dict[str, Numbers]:
    """Powers of all assets; `cheap`: vehicles and jobs in the cheapest steps, who can wait least first."""
    powers = problem.idle()
    room = Room(problem)
    for asset in problem.assets:
        if isinstance(asset, Solar):
            powers[asset.name] = -np.maximum(asset.power_kw, 0.0)
            room.take(asset.name, asset.meter, powers[asset.name])
    for asset in problem.assets:
        if isinstance(asset, Load | Heat):
            powers[asset.name] = _load(problem, asset) if isinstance(asset, Load) else _heat(problem, asset)
            room.take(asset.name, asset.meter, powers[asset.name])
    waiting = [one for one in problem.assets if isinstance(one, Vehicle | Job)]
    first = (lambda one: slack(problem, one)) if cheap else (lambda one: stay(one, problem.steps)[1])
    for one in sorted(waiting, key=first):
        cost = room.price(one.meter) if cheap else np.arange(float(problem.steps))
        powers[one.name] = charge(problem, one, room, cost)
        room.take(one.name, one.meter, powers[one.name])
    for asset in problem.assets:
        if isinstance(asset, Battery):
            powers[asset.name] = _battery(problem, asset, room, _own_load(problem, asset, powers))
            room.take(asset.name, asset.meter, powers[asset.name])
    _curtail(problem, powers, room)
    return powers


def _load(problem: Problem, load: Load) -> Numbers:
    power, steps = np.zeros(problem.steps), problem.steps
    first, latest = window(problem, load)
    if may_skip(load) and not load.ran:
        return power
    if load.breaks:
        runs = min(max(load.steps, 0 if load.ran else load.on_min), max(0, latest - first))
        least = load.on_min - load.ran if load.ran else load.on_min
        runs = max(runs, least) if load.ran else runs if runs >= least or latest == steps else 0
        power[first : first + runs] = load.profile_kw[0]
    elif load.ran or first + load.steps <= latest:
        profile = profile_of(load)[: steps - first]
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


def _own_load(problem: Problem, battery: Battery, powers: Powers) -> Numbers:
    """What a battery may give at most, others behind its meter having given: all, or what takes and is no vehicle."""
    if problem.battery_to_vehicle:
        return np.full(problem.steps, INF)
    own = np.maximum(next(one.load_kw for one in problem.meters if one.name == battery.meter), 0.0)
    for asset in problem.assets:
        if asset.meter == battery.meter and isinstance(asset, Heat | Load | Job):
            own = own + powers[asset.name]
        elif asset.meter == battery.meter and isinstance(asset, Battery):
            own = own - np.maximum(-powers[asset.name], 0.0)
    return np.maximum(own, 0.0)


def _battery(problem: Problem, battery: Battery, room: Room, own: Numbers) -> Numbers:
    power, net = np.zeros(problem.steps), room.net[battery.meter]
    left = room.left(battery.name, battery.meter)
    held, (low, high) = battery.held_kwh, battery.band
    lines = taper_lines(battery.taper)
    for step in range(problem.steps):
        hours = problem.step_h[step]
        share = min((at + fall * held / battery.capacity_kwh for at, fall in lines), default=1.0)
        most = min(battery.charge_kw * max(0.0, min(1.0, share)), max(0.0, high - held) / (battery.one_way * hours))
        least = min(battery.discharge_kw, own[step], max(0.0, held - low) * battery.one_way / hours)
        wanted = max(-net[step], min(left[step], (low - held) / (battery.one_way * hours)) if held < low else -np.inf)
        power[step] = min(max(wanted, -least), most)
        held += power[step] * hours * (battery.one_way if power[step] > 0 else 1 / battery.one_way)
    return power


def _curtail(problem: Problem, powers: dict[str, Numbers], room: Room) -> None:
    for meter in problem.meters:
        over = np.maximum(-room.net[meter.name] - cap(meter.export_max_kw, problem.steps), 0.0)
        for asset in problem.assets:
            if isinstance(asset, Solar) and asset.curtailable and asset.meter == meter.name:
                cut = np.minimum(over, -powers[asset.name])
                powers[asset.name] = powers[asset.name] + cut
                over = over - cut
