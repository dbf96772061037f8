"""A plan looked at from its powers alone, as docs/plan.md has it: what no device could do, breaches, and its worth.

Written apart from the planner's own reckoning, step by step and without its tables.
"""

from collections.abc import Iterator, Mapping
from itertools import groupby
from math import exp
from typing import Any

import numpy as np

from taihu.decide.problem import Asset, Battery, Heat, Job, Kind, Load, Problem, Solar, Vehicle
from taihu.kernel.arrays import Numbers

Powers = Mapping[str, Numbers]
Breaches = dict[tuple[Kind, str, int], float]  # kind, whose, step: how much

_NEAR = 2e-3


def profile(load: Load) -> Numbers:
    """kW of each step that it runs."""
    return np.array(load.profile_kw * (load.steps if len(load.profile_kw) == 1 else 1), np.float64)


def must_run(load: Load) -> bool:
    """Whether leaving it out is a breach."""
    return not load.optional or (load.skip_days_max is not None and load.skipped_days >= load.skip_days_max)


def band(battery: Battery) -> tuple[float, float]:
    """The charge that it shall keep; where the ends contradict, the upper one holds."""
    high = min(battery.high_kwh, battery.capacity_kwh)
    return min(battery.low_kwh, high), high


def end_worth(problem: Problem, battery: Battery) -> float:
    """What a kWh left at the end is worth."""
    if battery.end_price is not None:
        return battery.end_price
    meter = next(one for one in problem.meters if one.name == battery.meter)
    return max(0.0, 0.6 * float(problem.price(meter).mean()) * battery.one_way)


def due(problem: Problem, vehicle: Vehicle) -> list[tuple[int, float]]:
    """The step at whose beginning it needs so much; what is needed after the horizon may be charged after it."""
    found, last = [], problem.steps
    for step, kwh in vehicle.needs:
        at = min(step, vehicle.leaves)
        if at > last:
            kwh -= (at - last) * vehicle.charge_kw * vehicle.one_way * float(problem.step_h[-1])
            at = last
        if at > vehicle.arrives and at > 0:
            found.append((at, kwh))
    return found


def alone(problem: Problem) -> bool:
    """Whether all there is is one battery, and nothing but it links the steps: then its curve counts."""
    weights, (meter, *others) = problem.objective, problem.meters
    linked = bool(problem.groups or weights.peak or weights.ramp or meter.demand_price)
    return len(problem.assets) == 1 and not others and not linked


def decay(problem: Problem, heat: Heat) -> tuple[Numbers, Numbers, Numbers, Numbers, Numbers]:
    """Of each step: the share that stays, K per kW, K that come alone, and the band (the upper end holds)."""
    each = [np.broadcast_to(np.asarray(one, np.float64), problem.steps)
            for one in (heat.cop, heat.outside_c, heat.gain_kw, heat.low_c, heat.high_c)]  # fmt: skip
    cop, outside, gain, low, high = each
    stays, warms, drifts = (np.empty(problem.steps) for _ in range(3))
    for step, hours in enumerate(problem.step_h):
        loss, capacity = heat.loss_kw_per_k, heat.capacity_kwh_per_k
        stays[step] = exp(-loss * hours / capacity)
        per_kw = (1 - stays[step]) / loss if loss else hours / capacity
        warms[step], drifts[step] = per_kw * cop[step], per_kw * gain[step] + (1 - stays[step]) * outside[step]
    return stays, warms, drifts, np.minimum(low, high), high


def held(problem: Problem, store: Battery | Vehicle, power: Numbers) -> Numbers:
    """kWh at the beginning, and at the end of each step."""
    content = [min(max(store.content_kwh, 0.0), store.capacity_kwh)]
    for kw, hours in zip(power, problem.step_h, strict=True):
        way = store.one_way
        if isinstance(store, Battery) and store.curve and alone(problem):
            most = store.charge_kw if kw > 0 else store.discharge_kw
            shares, ways = np.array(store.curve).T
            way = float(np.interp(abs(kw) / (most or 1.0), shares, ways))
        content.append(content[-1] + hours * (kw * way if kw > 0 else kw / way))
    return np.array(content)


def faults(problem: Problem, powers: Powers) -> list[str]:
    """What no device could do."""
    found = [f"{name} has no finite power" for name, power in powers.items() if not np.isfinite(power).all()]
    for asset in problem.assets:
        found += [f"{asset.name} {what}" for what in _faults(problem, asset, powers)]
    for meter in () if problem.battery_to_vehicle else problem.meters:
        own = np.maximum(meter.load_kw, 0.0)
        here = [one for one in problem.assets if one.meter == meter.name]
        own = own + sum(powers[one.name] for one in here if isinstance(one, Heat | Load | Job))
        gives = sum(np.maximum(-powers[one.name], 0.0) for one in here if isinstance(one, Battery))
        if np.any(gives > own + _NEAR):
            found.append(f"batteries behind {meter.name} give more than its load")
    return found


def _faults(problem: Problem, asset: Asset, powers: Powers) -> Iterator[str]:
    power, near = powers[asset.name], _NEAR
    match asset:
        case Battery() | Vehicle():
            content, near = held(problem, asset, power), _NEAR + 2e-4 * asset.capacity_kwh
            if content.min() < -near or content.max() > asset.capacity_kwh + near:
                yield f"holds {content.min():.4f} to {content.max():.4f} of {asset.capacity_kwh:g} kWh"
            if power.min() < -asset.discharge_kw - near or power.max() > asset.charge_kw + near:
                yield f"moves {power.min():.4f} to {power.max():.4f} kW"
            if isinstance(asset, Vehicle):
                away = [k for k in range(problem.steps) if not asset.arrives <= k < asset.leaves]
                if np.any(np.abs(power[away]) > near):
                    yield "charges while it is away"
                yield from _least(power, asset.minimum_kw)
            elif asset.taper:
                shares = np.array([_taper(asset, one / asset.capacity_kwh) for one in content[:-1]])
                if np.any(power > asset.charge_kw * shares + near + 2e-4 * asset.charge_kw):
                    yield "charges faster than so full a battery takes"
        case Heat():
            yield from _between(power, 0.0, asset.power_kw)
            yield from _least(power, asset.minimum_kw)
        case Job():
            there = sum(powers[f"{asset.name}@{place}"] for place, _, _ in asset.places)
            late = [k for k in range(problem.steps) if not asset.release <= k < asset.deadline]
            yield from _between(power + there, 0.0, asset.power_kw)
            yield from _least(power, asset.minimum_kw)
            if np.any(np.abs(power + there)[late] > near):
                yield "runs outside its window"
            if float((power + there) @ problem.step_h) > asset.energy_kwh + near:
                yield "does more than there is"
        case Solar():
            yield from _between(-power, 0.0 if asset.curtailable else asset.power_kw, asset.power_kw)
        case Load():
            yield from _run(asset, power, problem.steps)


def _between(power: Numbers, least: Any, most: Any) -> Iterator[str]:
    if np.any(power < least - _NEAR) or np.any(power > most + _NEAR):
        yield f"runs at {power.min():.4f} to {power.max():.4f} kW"


def _least(power: Numbers, least: float) -> Iterator[str]:
    if np.any((power > _NEAR) & (power < least - _NEAR)):
        yield f"runs below its least power of {least:g} kW"


def _taper(battery: Battery, charge: float) -> float:
    lines = [(share + (less - share) / (other - one) * (charge - one))
             for (one, share), (other, less) in zip(battery.taper, battery.taper[1:], strict=False)]  # fmt: skip
    return max(0.0, min(1.0, *lines))


def _run(load: Load, power: Numbers, steps: int) -> Iterator[str]:
    latest = steps if load.latest is None else min(load.latest, steps)
    kw = profile(load)
    if not load.breaks:
        starts = [0] if load.ran else range(max(0, load.earliest), latest - load.steps + 1)
        runs = [np.concatenate([np.zeros(start), kw])[:steps] for start in starts]
        if not load.ran:
            runs.append(np.zeros(1))
        if not any(np.allclose(power, np.pad(one, (0, steps - len(one))), atol=_NEAR) for one in runs):
            yield f"runs as it may not: {power.round(3)}"
        return
    on = power > kw[0] / 2
    if not np.allclose(power, on * kw[0], atol=_NEAR):
        yield f"is neither on nor off: {power.round(3)}"
    if not kw[0]:
        return
    forced = max(0, load.on_min - load.ran) if load.ran else 0
    first = 0 if load.ran else max(0, load.earliest)
    if any(on[k] and k >= forced and not first <= k < latest for k in range(steps)) or not on[:forced].all():
        yield f"is on outside its window, or stops too early: {on.astype(int)}"
    at, was = 0, bool(load.ran)
    for running, group in groupby(on):
        length = len(list(group))
        goes_on = at == 0 and running == was
        unended = at + length == steps
        least = load.on_min if running else (load.off_min if at or was else 0)
        if length < least and not unended and not goes_on:
            yield f"is {'on' if running else 'off'} for {length} steps: {on.astype(int)}"
        at += length
    if on.sum() > max(load.steps, load.on_min, forced):
        yield f"runs for {on.sum()} of {load.steps} steps"


def breaches(problem: Problem, powers: Powers) -> Breaches:
    """All that is not kept, by step."""
    found: Breaches = {}

    def add(kind: Kind, name: str, amounts: Numbers) -> None:
        found.update({(kind, name, k): float(one) for k, one in enumerate(amounts) if one > 1e-6})

    hours = problem.step_h
    for name, net in nets(problem, powers).items():
        meter = next(one for one in problem.meters if one.name == name)
        add(Kind.GRID, name, (net - np.maximum(meter.import_max_kw, 0.0)) * hours)
        add(Kind.FEED_IN, name, (-net - np.maximum(meter.export_max_kw, 0.0)) * hours)
    for group in problem.groups:
        whose = [nets(problem, powers).get(one) for one in group.members]
        total = sum(powers[name] if net is None else net for name, net in zip(group.members, whose, strict=True))
        add(Kind.GROUP, group.name, (total - np.asarray(group.import_max_kw)) * hours)
    for asset in problem.assets:
        power = powers[asset.name]
        match asset:
            case Battery():
                low, high = band(asset)
                content = held(problem, asset, power)[1:]
                add(Kind.CHARGE, asset.name, (np.maximum(low - content, 0) + np.maximum(content - high, 0)) * hours)
            case Vehicle():
                content = held(problem, asset, power)
                for at, need in due(problem, asset):
                    if need - content[at] > 1e-6:
                        key = (Kind.DEPARTURE, asset.name, at)
                        found[key] = found.get(key, 0.0) + need - float(content[at])
            case Heat():
                temperature = states(problem, asset, power)
                _, _, _, lows, highs = decay(problem, asset)
                outside = np.maximum(lows - temperature, 0) + np.maximum(temperature - highs, 0)
                add(Kind.COMFORT, asset.name, outside * hours)
            case Load() if must_run(asset):
                add(Kind.LATE, asset.name, np.array([missing(problem, asset, power)]))
            case Job():
                there = sum(powers[f"{asset.name}@{place}"] for place, _, _ in asset.places)
                add(Kind.LATE, asset.name, np.array([asset.energy_kwh - float((power + there) @ hours)]))
    return found


def missing(problem: Problem, load: Load, power: Numbers) -> float:
    """kWh of the steps that a load does not run, each of mean length; what runs beyond the horizon is not missing."""
    kw, hours = profile(load), float(problem.step_h.mean())
    if load.breaks:
        return max(0.0, load.steps - round(float(power.sum()) / kw[0])) * kw[0] * hours if kw[0] else 0.0
    return 0.0 if power.max() > _NEAR or load.ran or not kw.any() else float(kw.sum()) * hours


def states(problem: Problem, heat: Heat, power: Numbers) -> Numbers:
    """°C at the end of each step."""
    stays, warms, drifts, _, _ = decay(problem, heat)
    found: list[float] = []
    state = heat.state_c
    for step in range(problem.steps):
        state = float(stays[step] * state + warms[step] * power[step] + drifts[step])
        found.append(state)
    return np.array(found)


def nets(problem: Problem, powers: Powers) -> dict[str, Numbers]:
    """kW that each meter takes."""
    return {
        meter.name: meter.load_kw + sum(powers[one.name] for one in problem.assets if one.meter == meter.name)
        for meter in problem.meters
    }


def breach_price(problem: Problem, kind: Kind, name: str) -> float:
    """What a unit of a breach costs."""
    each = problem.multiples
    if kind is Kind.COMFORT:
        return next(one.comfort_price for one in problem.assets if isinstance(one, Heat) and one.name == name)
    multiple = {
        Kind.GRID: each.grid, Kind.FEED_IN: each.feed_in, Kind.GROUP: each.group, Kind.DEPARTURE: each.departure,
        Kind.CHARGE: each.charge, Kind.LATE: each.late,
    }[kind]  # fmt: skip
    return multiple * problem.dearest


def worth(problem: Problem, powers: Powers) -> tuple[float, float]:
    """The objective without breaches (comfort is in it), and what breaches cost."""
    found, hours, objective = breaches(problem, powers), problem.step_h, problem.objective
    limits = {key: breach_price(problem, *key[:2]) * amount for key, amount in found.items()}
    comfort = sum(cost for (kind, _, _), cost in limits.items() if kind is Kind.COMFORT)
    money, each = comfort, nets(problem, powers)
    for meter in problem.meters:
        net = each[meter.name]
        takes, gives = np.maximum(net, 0.0) * hours, np.maximum(-net, 0.0) * hours
        above = max(0.0, float(net.max()) - meter.demand_seen_kw) * meter.demand_price
        money += objective.cost * (float(meter.import_price @ takes - meter.export_price @ gives) + above)
        if meter.carbon is not None:
            money += objective.carbon * float(meter.carbon @ takes)
    total = np.sum(list(each.values()), axis=0)
    before = total[0] if problem.before_kw is None else problem.before_kw
    money += objective.peak * max(0.0, float(total.max()))
    money += objective.ramp * float(np.abs(np.diff(total, prepend=before)).sum())
    for asset in problem.assets:
        power = powers[asset.name]
        match asset:
            case Battery() | Vehicle():
                money += asset.wear_price * float(np.abs(power) @ hours)
                if isinstance(asset, Battery):
                    money -= end_worth(problem, asset) * float(held(problem, asset, power)[-1])
            case Load() if not must_run(asset):
                kwh = float(profile(asset).sum() * hours.mean())
                money += asset.skip_price * missing(problem, asset, power) / kwh if kwh else 0.0
            case Job():
                for place, price, carbon in asset.places:
                    there = powers[f"{asset.name}@{place}"] * hours
                    money += float((objective.cost * price + objective.carbon * carbon) @ there)
    return money, sum(limits.values()) - comfort
