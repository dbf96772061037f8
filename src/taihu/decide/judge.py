"""What powers come to, reckoned from physics alone: contents, breaches, money and CO2, whoever made them."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np

from taihu.decide.loads import may_skip, profile_of
from taihu.decide.problem import Asset, Battery, Heat, Job, Kind, Load, Meter, Problem, Solar, Vehicle, cap, series
from taihu.decide.stores import end_price, heat_steps, taper_lines
from taihu.kernel.arrays import Numbers

_SLACK_KW = 1e-3
_SLACK_KWH = 1e-3
_AMOUNT_MIN = 1e-4


class Breach(msgspec.Struct, frozen=True):
    """A limit that a plan does not keep: which, whose, from step to step, and by how much."""

    kind: Kind
    name: str
    first: int
    last: int
    amount: float


class Judged(msgspec.Struct, frozen=True):
    """What powers come to. `faults` say what no device could do: such powers are no plan.

    `objective` is what the problem makes small, breaches and wear included, less what batteries hold at the end.
    """

    net_kw: dict[str, Numbers]
    content: dict[str, Numbers]
    breaches: tuple[Breach, ...]
    faults: tuple[str, ...]
    money: float
    carbon_kg: float
    objective: float = 0.0


def judge(problem: Problem, powers: Mapping[str, Numbers], *, by_curve: bool = False) -> Judged:
    """Reckon a plan: `powers` as `Model.powers` has them; `by_curve` batteries lose what their curves say."""
    content: dict[str, Numbers] = {}
    breaches: list[Breach] = []
    faults: list[str] = []
    money = carbon = 0.0
    net_kw = {one.name: np.array(one.load_kw, np.float64) for one in problem.meters}
    for asset in problem.assets:
        power = powers[asset.name]
        net_kw[asset.meter] += power
        if by_curve and isinstance(asset, Battery):
            content[asset.name] = curve_content(problem, asset, power)
        _look(problem, asset, powers, content, breaches, faults)
        for place, price, intensity in asset.places if isinstance(asset, Job) else ():
            energy = powers[f"{asset.name}@{place}"] * problem.step_h
            money, carbon = money + float(price @ energy), carbon + float(intensity @ energy)
    for meter in problem.meters:
        breaches += _meter(problem, meter, net_kw[meter.name])
        if not problem.battery_to_vehicle:
            faults += _more_than_its_load(problem, meter, powers)
        cost, kg = bill(problem, meter, net_kw[meter.name])
        money, carbon = money + cost, carbon + kg
    for group in problem.groups:
        limit = series(group.import_max_kw, problem.steps, group.name, limit=True)
        total = np.sum([net_kw[one] if one in net_kw else powers[one] for one in group.members], axis=0)
        breaches += _over(problem, Kind.GROUP, group.name, total - limit)
    found = Judged(net_kw, content, tuple(breaches), tuple(faults), money, carbon)
    return msgspec.structs.replace(found, objective=_objective(problem, powers, found))


def breach_cost(problem: Problem, breaches: Sequence[Breach]) -> float:
    """What breaches cost, in money."""
    each, unit = problem.multiples, problem.dearest
    price = {
        Kind.GRID: each.grid, Kind.FEED_IN: each.feed_in, Kind.GROUP: each.group, Kind.DEPARTURE: each.departure,
        Kind.CHARGE: each.charge, Kind.LATE: each.late,
    }  # fmt: skip
    comfort = {one.name: one.comfort_price for one in problem.assets if isinstance(one, Heat)}
    return sum(
        one.amount * (comfort[one.name] if one.kind is Kind.COMFORT else unit * price[one.kind]) for one in breaches
    )


def bill(problem: Problem, meter: Meter, net_kw: Numbers) -> tuple[float, float]:
    """Money and kg of CO2 for what a meter takes."""
    taken, given = np.maximum(net_kw, 0) * problem.step_h, np.maximum(-net_kw, 0) * problem.step_h
    demand = meter.demand_price * max(0.0, float(net_kw.max()) - meter.demand_seen_kw)
    carbon = 0.0 if meter.carbon is None else float(meter.carbon @ taken)
    carbon -= 0.0 if meter.displaced is None else float(meter.displaced @ given)
    return float(meter.import_price @ taken - meter.export_price @ given) + demand, carbon


def _objective(problem: Problem, powers: Mapping[str, Numbers], judged: Judged) -> float:
    weights, total = problem.objective, np.sum(list(judged.net_kw.values()), axis=0)
    before = total[0] if problem.before_kw is None else problem.before_kw
    value = weights.cost * judged.money + weights.carbon * judged.carbon_kg + breach_cost(problem, judged.breaches)
    value += weights.peak * max(0.0, float(total.max()))
    value += weights.ramp * float(np.abs(np.diff(total, prepend=before)).sum())
    prices = {one.name: problem.price(one) for one in problem.meters}
    for asset in problem.assets:
        if isinstance(asset, Battery | Vehicle):
            value += asset.wear_price * float(np.abs(powers[asset.name]) @ problem.step_h)
        if isinstance(asset, Battery) and asset.name in judged.content:
            value -= end_price(asset, prices[asset.meter]) * float(judged.content[asset.name][-1])
        if isinstance(asset, Load) and may_skip(asset) and not powers[asset.name].any():
            value += asset.skip_price
    return value


def _meter(problem: Problem, meter: Meter, net: Numbers) -> Iterator[Breach]:
    yield from _over(problem, Kind.GRID, meter.name, net - cap(meter.import_max_kw, problem.steps))
    yield from _over(problem, Kind.FEED_IN, meter.name, -net - cap(meter.export_max_kw, problem.steps))


def _over(problem: Problem, kind: Kind, name: str, kw: Numbers) -> Iterator[Breach]:
    over = np.maximum(kw, 0.0) * problem.step_h
    if (amount := float(over.sum())) > _AMOUNT_MIN:
        where = np.flatnonzero(over > _AMOUNT_MIN / len(over))
        yield Breach(kind, name, int(where[0]), int(where[-1]), amount)


def _look(
    problem: Problem,
    asset: Asset,
    powers: Mapping[str, Numbers],
    content: dict[str, Numbers],
    breaches: list[Breach],
    faults: list[str],
) -> None:
    power = powers[asset.name]
    if not np.isfinite(power).all():
        faults.append(f"{asset.name} has no finite power")
        return
    match asset:
        case Battery() | Vehicle():
            held = content.get(asset.name, store_content(problem, asset, power))
            content[asset.name] = held
            faults += _store_faults(problem, asset, power, held)
            breaches += _band(problem, asset, held) if isinstance(asset, Battery) else _needs(problem, asset, held)
        case Heat():
            content[asset.name] = state = heat_states(problem, asset, power)
            faults += _out_of(asset.name, power, asset.minimum_kw, asset.power_kw)
            low, high = (series(one, problem.steps, asset.name) for one in (asset.low_c, asset.high_c))
            outside = np.maximum(np.minimum(low, high) - state, 0) + np.maximum(state - high, 0)
            breaches += _over(problem, Kind.COMFORT, asset.name, outside)
        case Load():
            breaches += _load(problem, asset, power)
        case Job():
            done = power + sum(powers[f"{asset.name}@{place}"] for place, _, _ in asset.places)
            breaches += _job(problem, asset, done)
            if float(done @ problem.step_h) > asset.energy_kwh * (1 + 1e-4) + _SLACK_KWH:
                faults.append(f"{asset.name} would do more than there is")
            faults += _out_of(asset.name, done, 0.0, asset.power_kw)
            faults += _out_of(asset.name, power, asset.minimum_kw, asset.power_kw)
        case Solar():
            faults += _out_of(asset.name, -power, 0.0 if asset.curtailable else asset.power_kw, asset.power_kw)


def store_content(problem: Problem, store: Battery | Vehicle, power: Numbers) -> Numbers:
    """What it holds at the end of each step."""
    moved = np.where(power >= 0, power * store.one_way, power / store.one_way) * problem.step_h
    return np.asarray(store.held_kwh + np.cumsum(moved))


def curve_content(problem: Problem, battery: Battery, power: Numbers) -> Numbers:
    """What it holds at the end of each step, the efficiency being that of its power."""
    return np.asarray(battery.held_kwh + np.cumsum(stored_kw(battery, power) * problem.step_h))


def stored_kw(battery: Battery, power: Numbers) -> Numbers:
    """By how much power at its terminals changes what a battery with a curve holds."""
    shares, ways = np.array(battery.curve).T
    most = np.where(power >= 0, battery.charge_kw, battery.discharge_kw)
    way = np.interp(np.abs(power) / np.maximum(most, 1e-9), shares, ways)
    return np.asarray(np.where(power >= 0, power * way, power / way))


def as_stores_can(problem: Problem, powers: Mapping[str, Numbers]) -> dict[str, Numbers]:
    """What batteries and vehicles make of powers: no more than fits in, or is in, or so full a battery takes."""
    able = dict(powers)
    for store in problem.assets:
        if not isinstance(store, Battery | Vehicle):
            continue
        lines = taper_lines(store.taper) if isinstance(store, Battery) else []
        held = store.held_kwh
        power = able[store.name] = powers[store.name].copy()
        for step, hours in enumerate(problem.step_h):
            share = min((at + fall * held / store.capacity_kwh for at, fall in lines), default=1.0)
            most = min(store.charge_kw * max(0.0, share), (store.capacity_kwh - held) / (store.one_way * hours))
            power[step] = min(max(power[step], -held * store.one_way / hours), most)
            held += power[step] * hours * (store.one_way if power[step] > 0 else 1 / store.one_way)
            held = min(max(0.0, held), store.capacity_kwh)
    return able


def charges_too_fast(battery: Battery, power: Numbers, held: Numbers) -> bool:
    """Whether it would charge faster than so full a battery takes; `held` as `store_content` has it."""
    if not battery.taper:
        return False
    before = np.append(battery.held_kwh, held[:-1])
    share = np.min([at + fall * before / battery.capacity_kwh for at, fall in taper_lines(battery.taper)], axis=0)
    most = battery.charge_kw * np.maximum(share, 0.0)
    return bool((power - most).max() > _SLACK_KW + 1e-4 * battery.charge_kw)


def heat_states(problem: Problem, heat: Heat, power: Numbers) -> Numbers:
    """The state at the end of each step."""
    keep, warm, drift = heat_steps(heat, problem.step_h)
    states, state = np.empty(problem.steps), heat.state_c
    for step in range(problem.steps):
        state = keep[step] * state + warm[step] * power[step] + drift[step]
        states[step] = state
    return states


def _store_faults(problem: Problem, store: Battery | Vehicle, power: Numbers, held: Numbers) -> Iterator[str]:
    slack = _SLACK_KWH + 1e-4 * store.capacity_kwh
    if held.min() < -slack or held.max() > store.capacity_kwh + slack:
        yield f"{store.name} would hold {held.min():.3f} to {held.max():.3f} kWh of {store.capacity_kwh:g}"
    gives = power < 0
    yield from _out_of(store.name, -power[gives], 0.0, store.discharge_kw)
    least = store.minimum_kw if isinstance(store, Vehicle) else 0.0
    yield from _out_of(store.name, power[~gives], least, store.charge_kw)
    if isinstance(store, Vehicle):
        away = np.ones(problem.steps, bool)
        away[max(0, store.arrives) : max(0, store.leaves)] = False
        if np.abs(power[away]).max(initial=0.0) > _SLACK_KW:
            yield f"{store.name} would charge while it is away"
    elif charges_too_fast(store, power, held):
        yield f"{store.name} would charge faster than so full a battery takes"


def _out_of(name: str, power: Numbers, least: float | Numbers, most: float | Numbers) -> Iterator[str]:
    """Power that is neither nothing nor between its least and its most."""
    slack = _SLACK_KW + 1e-4 * float(np.max(most, initial=0.0))
    wrong = (power < np.minimum(least - slack, -slack)) | (power > most + slack)
    wrong |= (power > slack) & (power < least - slack)
    if wrong.any():
        yield f"{name} would run at {power[wrong].min():.3f} to {power[wrong].max():.3f} kW"


def _more_than_its_load(problem: Problem, meter: Meter, powers: Mapping[str, Numbers]) -> Iterator[str]:
    """Batteries that fill cars or feed in where they may not."""
    own, given = np.maximum(meter.load_kw, 0.0), np.zeros(problem.steps)
    for asset in problem.assets:
        if asset.meter == meter.name and isinstance(asset, Heat | Load | Job):
            own = own + powers[asset.name]
        elif asset.meter == meter.name and isinstance(asset, Battery):
            given = given + np.maximum(-powers[asset.name], 0.0)
    if (over := float((given - own).max())) > _SLACK_KW + 1e-4 * float(given.max()):
        yield f"batteries would give {over:.3f} kW more than the load behind {meter.name or 'the meter'}"


def _band(problem: Problem, battery: Battery, held: Numbers) -> Iterator[Breach]:
    low, high = battery.band
    yield from _over(problem, Kind.CHARGE, battery.name, np.maximum(low - held, 0) + np.maximum(held - high, 0))


def _needs(problem: Problem, vehicle: Vehicle, held: Numbers) -> Iterator[Breach]:
    for at, need in vehicle.due(problem.step_h):
        if (short := need - float(held[at - 1])) > _AMOUNT_MIN:
            yield Breach(Kind.DEPARTURE, vehicle.name, at, at, short)


def _load(problem: Problem, load: Load, power: Numbers) -> Iterator[Breach]:
    profile = profile_of(load)
    ran = int(np.count_nonzero(power > _SLACK_KW))
    missing = profile[ran:] if load.breaks else profile * (ran == 0)
    short = float(missing.sum() * problem.step_h.mean())
    if short > _AMOUNT_MIN and not may_skip(load) and not (load.ran and not load.breaks):
        latest = problem.steps if load.latest is None else load.latest
        yield Breach(Kind.LATE, load.name, max(0, load.earliest), latest, short)


def _job(problem: Problem, job: Job, done: Numbers) -> Iterator[Breach]:
    if (short := job.energy_kwh - float(done @ problem.step_h)) > _AMOUNT_MIN:
        yield Breach(Kind.LATE, job.name, job.release, job.deadline, short)
