"""All flexible loads behind one meter: the problem of now, its plan, and the reasons in words.

What is expected of load and sun comes with quantiles where there are some; then the first step is the best for three
futures together. What no control would do is the rule's plan, batteries at rest.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from msgspec.structs import replace

from taihu.decide.flexible import Grid, Sight, State, sight
from taihu.decide.judge import Judged, judge
from taihu.decide.planner import Plan, Planner
from taihu.decide.problem import INF, SWANSON, Asset, Battery, Group, Load, Meter, Objective, Problem, Solar
from taihu.decide.rule import by_rule
from taihu.kernel.arrays import Ints, Numbers
from taihu.kernel.flexible import SchedulerConfig, SolarConfig

_NEAR_KW = 0.02


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What is expected in each step: kW of load and of each generator (10, 50 and 90 %), prices, and kg per kWh."""

    load_kw: tuple[Numbers, Numbers, Numbers]
    solar_kw: Mapping[str, tuple[Numbers, Numbers, Numbers]] = {}
    buys: Numbers
    sells: Numbers
    carbon: Numbers
    demand_seen_kw: float = 0.0
    before_kw: float | None = None
    notes: tuple[str, ...] = ()


class Scheduled(msgspec.Struct, frozen=True, kw_only=True):
    """A plan of everything, what no control would come to, and what was left out or is out of the ordinary."""

    plan: Plan
    problem: Problem
    without: Judged
    sights: Mapping[str, Sight]
    edges: Ints
    spread_kw: Numbers  # between the 10 and the 90 % quantile of what nobody can move
    notes: tuple[str, ...]

    def asset(self, name: str) -> Asset | None:
        """An asset as the plan sees it; None when it is left out."""
        found = self.sights.get(name)
        return None if found is None else found.asset

    def first(self, name: str) -> float:
        """What an asset takes in the first step (kW); 0 when it is left out."""
        powers = self.plan.powers.get(name)
        return 0.0 if powers is None else float(powers[0])


def schedule(
    config: SchedulerConfig, states: Mapping[str, State], grid: Grid, expected: Expected, planner: Planner
) -> Scheduled:
    """The plan from now on."""
    sights = sights_of(config, states, grid, expected, 1)
    futures = _futures(config, states, grid, expected, sights)
    problem = futures[0]
    if len(futures) > 1:
        plan = planner.plan_scenarios(futures, SWANSON, config.solver_s)
    else:
        plan = planner.plan(problem, config.solver_s)
    rested = at_rest(problem)
    odd = (note for state in states.values() for note in state.notes)
    notes = (*expected.notes, *odd, *(one.note for one in sights.values() if one.note), *plan.notes)
    without = judge(rested, by_rule(rested))
    spread = sum((high - low for low, _, high in expected.solar_kw.values()), expected.load_kw[2] - expected.load_kw[0])
    return Scheduled(
        plan=plan, problem=problem, without=without, sights=sights, edges=grid.edges, spread_kw=spread, notes=notes
    )


def sights_of(
    config: SchedulerConfig, states: Mapping[str, State], grid: Grid, expected: Expected, quantile: int
) -> dict[str, Sight]:
    """All assets as a plan sees them, in the order of the settings."""
    none = np.zeros(len(grid.hours))
    found = {}
    for asset in config.assets:
        solar = expected.solar_kw.get(asset.name) if isinstance(asset, SolarConfig) else None
        found[asset.name] = sight(asset, states.get(asset.name, State()), grid, solar[quantile] if solar else none)
    return found


def problem_of(
    config: SchedulerConfig, grid: Grid, expected: Expected, sights: Mapping[str, Sight], load_kw: Numbers
) -> Problem:
    """The problem of one future."""
    assets = tuple(one.asset for one in sights.values() if one.asset is not None)
    groups = [Group(name=one.name, members=one.members, import_max_kw=one.import_max_kw) for one in config.groups]
    return Problem(
        step_h=grid.hours,
        meters=(
            Meter(
                load_kw=load_kw, import_price=expected.buys, export_price=expected.sells, carbon=expected.carbon,
                displaced=expected.carbon if config.by_margin else None,
                import_max_kw=config.import_max_kw or INF, export_max_kw=config.export_max_kw or INF,
                demand_price=config.demand_price, demand_seen_kw=expected.demand_seen_kw,
            ),
        ),
        assets=assets,
        groups=_of_those(groups, assets),
        objective=Objective(
            cost=config.cost_weight, carbon=config.carbon_weight, peak=config.peak_weight, ramp=config.ramp_weight
        ),
        before_kw=expected.before_kw,
        battery_to_vehicle=config.battery_to_vehicle,
    )  # fmt: skip


def at_rest(problem: Problem) -> Problem:
    """The same site without batteries."""
    stays = tuple(asset for asset in problem.assets if not isinstance(asset, Battery))
    return replace(problem, assets=stays, groups=_of_those(problem.groups, stays))


def _of_those(groups: Sequence[Group], assets: Sequence[Asset]) -> tuple[Group, ...]:
    """Groups of these assets alone: what is left out takes nothing."""
    names = {asset.name for asset in assets}
    found = [replace(group, members=tuple(one for one in group.members if one in names)) for group in groups]
    return tuple(group for group in found if group.members)


def _futures(
    config: SchedulerConfig, states: Mapping[str, State], grid: Grid, expected: Expected, sights: Mapping[str, Sight]
) -> list[Problem]:
    low, middle, high = expected.load_kw
    found = [problem_of(config, grid, expected, sights, middle)]
    whole = any(isinstance(one.asset, Load) or getattr(one.asset, "minimum_kw", 0.0) for one in sights.values())
    if whole or np.array_equal(low, high):
        return found  # whole numbers in three futures at once would keep the plan waiting
    for load, sun in ((low, 2), (high, 0)):  # little load and much sun, and the other way round
        found.append(problem_of(config, grid, expected, sights_of(config, states, grid, expected, sun), load))
    return found


def reason(scheduled: Scheduled) -> tuple[str, str]:
    """What binds in the first step, in a word, and the reason in a sentence."""
    plan, problem = scheduled.plan, scheduled.problem
    meter, net = problem.meters[0], float(plan.net_kw[""][0])
    if plan.breaches:
        worst = plan.breaches[0]
        unit = {"comfort": "K.h", "charge": "kWh.h"}.get(worst.kind, "kWh")
        whose = worst.name or "the meter"
        return str(worst.kind), f"Not all can be kept: {whose} misses {worst.amount:.2f} {unit} ({worst.kind})."
    most, least = float(np.min(meter.import_max_kw)), float(np.min(meter.export_max_kw))
    if net >= most - _NEAR_KW:
        return "grid-import", f"The grid connection is full: {net:.2f} of {most:g} kW."
    if net <= -least + _NEAR_KW and np.isfinite(least):
        return "feed-in", f"No more may be fed in: {-net:.2f} of {least:g} kW."
    price = problem.price(meter)
    if meter.demand_price and net >= max(meter.demand_seen_kw, float(plan.net_kw[""].max())) - _NEAR_KW:
        return "demand", f"The demand charge counts the highest power: {net:.2f} kW now."
    cheapest = int(np.argmin(price))
    now, best = float(price[0]), float(price[cheapest])
    if now <= best + 1e-9:
        return "price", f"A kWh costs {now:.3f}, and no less later: what can run runs now."
    hours = float(problem.step_h[:cheapest].sum())
    return "price", f"A kWh costs {now:.3f} now and {best:.3f} in {hours:.1f} h: what can wait waits."


def asset_reason(scheduled: Scheduled, name: str) -> str:
    """Why an asset does what it does in the first step."""
    one = scheduled.sights[name]
    if one.asset is None:
        return one.note or "nothing to do"
    power, powers = scheduled.first(name), scheduled.plan.powers[name]
    if isinstance(one.asset, Solar):
        cut = float(one.asset.power_kw[0]) + power
        return f"curtailed by {cut:.2f} kW" if cut > _NEAR_KW else "gives what it can"
    if abs(power) > _NEAR_KW:
        return "runs now" if power > 0 else "gives back now"
    later = np.flatnonzero(np.abs(powers) > _NEAR_KW)
    if not len(later):
        return "is not needed"
    return f"waits {float(scheduled.problem.step_h[: later[0]].sum()):.1f} h"
