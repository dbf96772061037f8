"""A problem, or several scenarios of one, as a linear program; and the powers that its answer means."""

from collections.abc import Sequence

import numpy as np

from taihu.decide.frame import NOTHING_EXACT, Exact, Frame, Powers
from taihu.decide.judge import charges_too_fast, store_content
from taihu.decide.loads import write_job, write_load, write_solar
from taihu.decide.problem import Asset, Battery, Heat, Job, Load, Meter, Problem, Solar, Store, Vehicle, cap, series
from taihu.decide.sheet import INTEGER, SEMICONTINUOUS, Index, Program, Sheet
from taihu.decide.stores import write_battery, write_heat, write_taper, write_vehicle
from taihu.kernel.arrays import Numbers

_BOTH_KW = 1e-6
_NOTHING_KW = 1e-6


class Model:
    """Written once for each question; that only bounds and costs changed is seen by the solver.

    Args:
        problems: scenarios of one problem: what is decided for the first step is the same in all of them.
        weights: their probabilities.
        exact: what is written exactly.
    """

    def __init__(self, problems: Sequence[Problem], weights: Sequence[float], exact: Exact = NOTHING_EXACT) -> None:
        self.problem = problems[0]
        self._problems, self._weights, self._exact = problems, weights, exact
        self._sheet = Sheet()
        self._frames = [
            _write(Frame(self._sheet, problem, weight, exact))
            for problem, weight in zip(problems, weights, strict=True)
        ]
        self._link()
        for frame in self._frames:
            batteries = {asset.name: asset for asset in frame.problem.assets if isinstance(asset, Battery)}
            for name in exact.tapered:
                if name in batteries:
                    write_taper(frame, batteries[name])
        self.program: Program = self._sheet.program()

    def powers(self, columns: Numbers) -> Powers:
        """The power of each asset (kW, positive is taken) in each step, in the first scenario.

        What a job runs at another place is under `job@place`.
        """
        frame = self._frames[0]
        found = frame.problem.idle()
        for name, parts in frame.parts.items():
            for steps, part, sign in parts:
                found[name][steps] += sign * columns[part]
        for name, (steps, part) in frame.elsewhere.items():
            found[name][steps] = columns[part]
        return found

    def held(self, powers: Powers) -> Program:
        """The program where what runs in these powers runs, and what rests rests: no whole numbers are left."""
        frame, program = self._frames[0], self.program
        lower, upper = program.lower.copy(), program.upper.copy()
        for columns, runs in frame.switches:
            lower[columns] = upper[columns] = runs(powers)
        for name, parts in frame.parts.items():
            for steps, columns, _ in parts:
                if (program.kinds[columns] == SEMICONTINUOUS).any():
                    rests = columns[powers[name][steps] <= _NOTHING_KW]
                    lower[rests] = upper[rests] = 0.0
        return program.with_bounds(lower, upper)

    def exacter(self, columns: Numbers) -> "Model | None":
        """The model that also keeps stores from what they do here and cannot; None where they do nothing such."""
        more = self._exact.with_(self.inexact(columns))
        return None if more == self._exact else Model(self._problems, self._weights, more)

    def inexact(self, columns: Numbers) -> Exact:
        """Stores that do what no device does: take and give at once, because losing energy pays; or charge too fast."""
        both, fast = set(), dict[str, None]()
        for frame in self._frames:
            for name, parts in frame.parts.items():
                if len(parts) == 2 and float(np.minimum(columns[parts[0][1]], columns[parts[1][1]]).max()) > _BOTH_KW:
                    both.add(name)
            for asset in frame.problem.assets:
                if isinstance(asset, Battery) and asset.taper:
                    (_, charge, _), (_, discharge, _) = frame.parts[asset.name]
                    power = columns[charge] - columns[discharge]
                    if charges_too_fast(asset, power, store_content(frame.problem, asset, power)):
                        fast[asset.name] = None
        return Exact(frozenset(both), tuple(fast))

    def marginal(self, prices: Numbers) -> Powers:
        """What a kWh more behind each meter would cost in each step, by the prices of its balance."""
        frame = self._frames[0]
        per_kwh = 1 / (frame.scale * frame.hours)
        return {name: prices[rows] * per_kwh for name, rows in frame.balances.items()}

    def breached(self, columns: Numbers) -> float:
        """What of the objective breaches cost."""
        return sum(frame.breached(columns) for frame in self._frames)

    def _link(self) -> None:
        """What is decided now is the same in all scenarios; what the sun gives is not decided."""
        first, *others = self._frames
        suns = {asset.name for asset in first.problem.assets if isinstance(asset, Solar)}
        for other in others:
            for name, parts in first.parts.items():
                if name in suns:
                    continue
                for (steps, columns, _), (_, same, _) in zip(parts, other.parts[name], strict=True):
                    now = steps == 0
                    if now.any():
                        row = self._sheet.rows(1, 0.0, 0.0)
                        self._sheet.put(row, columns[now], 1.0)
                        self._sheet.put(row, same[now], -1.0)


def _write(frame: Frame) -> Frame:
    nets = {meter.name: _meter(frame, meter) for meter in frame.problem.meters}
    for asset in frame.problem.assets:
        match asset:
            case Battery():
                write_battery(frame, asset)
            case Vehicle():
                write_vehicle(frame, asset)
            case Heat():
                write_heat(frame, asset)
            case Load():
                write_load(frame, asset)
            case Job():
                write_job(frame, asset)
    for plants in _alike(frame.problem):
        write_solar(frame, plants)
    _groups(frame, nets)
    _together(frame, nets)
    if not frame.problem.battery_to_vehicle:
        _batteries_serve_the_load(frame)
    return frame


Net = list[tuple[Index, float]]


def _alike(problem: Problem) -> list[list[Solar]]:
    """The plants, those together that nothing tells apart: the meter, the groups, and whether they may be curtailed."""
    found: dict[tuple[str, bool, tuple[str, ...]], list[Solar]] = {}
    for plant in problem.assets:
        if isinstance(plant, Solar):
            groups = tuple(group.name for group in problem.groups if plant.name in group.members)
            found.setdefault((plant.meter, plant.curtailable, groups), []).append(plant)
    return list(found.values())


def _meter(frame: Frame, meter: Meter) -> Net:
    sheet, count, hours = frame.sheet, frame.problem.steps, frame.hours
    price = frame.prices[meter.name] * hours * frame.scale
    paid = frame.problem.paid(meter) * hours * frame.scale
    net: Net = []
    for cost, limit, breach, sign in (
        (price, meter.import_max_kw, frame.multiples.grid, 1.0),
        (-paid, meter.export_max_kw, frame.multiples.feed_in, -1.0),
    ):
        most = cap(limit, count)
        net.append((sheet.columns(count, 0.0, most, cost), sign))
        if np.isfinite(most).any():
            net.append((frame.breach(count, breach, hours, money=cost), sign))
    frame.balance(meter, net)
    if meter.demand_price:
        scale = meter.demand_price * frame.problem.objective.cost * frame.scale
        peak = sheet.columns(1, meter.demand_seen_kw, np.inf, scale)
        rows = sheet.rows(count, -np.inf, 0.0)
        for columns, sign in net:
            if sign > 0:
                sheet.put(rows, columns, 1.0)
        sheet.put(rows, peak, -1.0)
    _one_direction(frame, meter, net, np.flatnonzero(paid > price))
    return net


def _one_direction(frame: Frame, meter: Meter, net: Net, where: np.ndarray) -> None:
    """Where feeding in earns more than taking costs, a meter does one of the two."""
    if not len(where):
        return
    most = float(np.abs(meter.load_kw).max()) + sum(_most_kw(one) for one in frame.problem.assets) + 1.0
    takes = frame.sheet.columns(len(where), 0.0, 1.0, 0.0, INTEGER)
    for way, switch, top in ((1.0, -most, 0.0), (-1.0, most, most)):
        rows = frame.sheet.rows(len(where), -np.inf, top)
        for part, sign in net:
            if sign == way:
                frame.sheet.put(rows, part[where], 1.0)
        frame.sheet.put(rows, takes, switch)
    behind = [one.name for one in frame.problem.assets if one.meter == meter.name]
    frame.hold(takes, lambda powers: (meter.load_kw + sum(powers[name] for name in behind))[where] > 0)


def _most_kw(asset: Asset) -> float:
    match asset:
        case Store():
            return max(asset.charge_kw, asset.discharge_kw)
        case Solar():
            return float(asset.power_kw.max(initial=0.0))
        case Load():
            return max(asset.profile_kw)
    return asset.power_kw


def _groups(frame: Frame, nets: dict[str, Net]) -> None:
    count = frame.problem.steps
    for group in frame.problem.groups:
        limit = series(group.import_max_kw, count, group.name, limit=True)
        above = frame.breach(count, frame.multiples.group, frame.hours)
        rows = frame.sheet.rows(count, -np.inf, limit)
        frame.sheet.put(rows, above, -1.0)
        for member in group.members:
            for columns, sign in nets.get(member, ()):
                frame.sheet.put(rows, columns, sign)
            for steps, columns, share in frame.parts.get(member, ()):
                frame.sheet.put(rows[steps], columns, share)


def _together(frame: Frame, nets: dict[str, Net]) -> None:
    """The peak and the ramps of all meters together."""
    objective, count, sheet = frame.problem.objective, frame.problem.steps, frame.sheet
    if objective.peak:
        peak = sheet.columns(1, 0.0, np.inf, objective.peak * frame.scale)
        rows = sheet.rows(count, -np.inf, 0.0)
        sheet.put(rows, peak, -1.0)
        _put_nets(sheet, rows, nets, 1.0)
    if objective.ramp:
        price = objective.ramp * frame.scale
        up, down = (sheet.columns(count, 0.0, np.inf, price) for _ in range(2))
        before = frame.problem.before_kw
        begin = np.where(np.arange(count) == 0, 0.0 if before is None else before, 0.0)
        free = np.where((np.arange(count) == 0) & (before is None), np.inf, 0.0)
        rows = sheet.rows(count, begin - free, begin + free)
        sheet.put(rows, up, -1.0)
        sheet.put(rows, down, 1.0)
        _put_nets(sheet, rows, nets, 1.0)
        _put_nets(sheet, rows, nets, -1.0, late=True)


def _put_nets(sheet: Sheet, rows: Index, nets: dict[str, Net], factor: float, *, late: bool = False) -> None:
    for net in nets.values():
        for columns, sign in net:
            sheet.put(rows[1:] if late else rows, columns[:-1] if late else columns, factor * sign)


def _batteries_serve_the_load(frame: Frame) -> None:
    for meter in frame.problem.meters:
        rows = frame.sheet.rows(frame.problem.steps, -np.inf, np.maximum(meter.load_kw, 0.0))
        for asset in frame.problem.assets:
            if asset.meter != meter.name:
                continue
            for steps, columns, sign in frame.parts.get(asset.name, ()):
                if isinstance(asset, Battery) and np.all(sign < 0):
                    frame.sheet.put(rows[steps], columns, 1.0)
                elif isinstance(asset, Heat | Load | Job):
                    frame.sheet.put(rows[steps], columns, -1.0)
