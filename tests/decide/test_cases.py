"""Random plans of the whole language against a program that others wrote: possible, named, the least, the best (§12).

`TAIHU_PLAN_CASES` says how many; a case that fails has its seed as its name.
"""

import os
from collections import defaultdict

import pytest
from tests.decide import cases, physics

from taihu.decide.judge import Breach
from taihu.decide.planner import Method, Plan, Planner
from taihu.decide.problem import Battery, Heat, Problem
from taihu.decide.rule import by_rule

pytest.importorskip("highspy", reason="the extra `plan` is not installed")
optimum = pytest.importorskip("tests.decide.optimum", reason="SCIP, which checks the plans, is not installed")

CASES = int(os.environ.get("TAIHU_PLAN_CASES", 20))
SEEDS = range(CASES)
SECONDS = 30.0
PLANNER = Planner()


def possible(problem: Problem, plan: Plan) -> None:
    """No device is asked for what it cannot do, and every breach that the powers come to is named, and no other."""
    assert physics.faults(problem, plan.powers) == []
    named: dict[tuple[str, str], float] = defaultdict(float)
    found: dict[tuple[str, str], float] = defaultdict(float)
    for breach in plan.breaches:
        named[breach.kind, breach.name] += breach.amount
    for (kind, name, step), amount in physics.breaches(problem, plan.powers).items():
        found[kind, name] += amount
        assert amount < 2e-3 or any(_covers(one, kind, name, step) for one in plan.breaches)
    for key in named.keys() | found.keys():
        assert named[key] == pytest.approx(found[key], rel=1e-3, abs=2e-3), key


def _covers(breach: Breach, kind: str, name: str, step: int) -> bool:
    return (breach.kind, breach.name) == (kind, name) and (kind == "late" or breach.first <= step <= breach.last)


def gap(problem: Problem, plan: Plan, money: float) -> float:
    """What docs/plan.md allows: a thousandth for whole numbers, twice; ties; a hundredth of the dearest kWh."""
    return 2e-3 * abs(money) + cases.ties(problem, plan.powers) + 1e-2 * problem.dearest


@pytest.mark.parametrize("seed", SEEDS)
def test_no_other_plan_breaches_less_or_is_cheaper(seed: int) -> None:
    """§12: contradictory charge, grid, group and departure limits, devices and tariffs of every kind."""
    problem = cases.random_problem(seed)
    plan = PLANNER.plan(problem, SECONDS)
    assert plan.method in (Method.BEST, Method.GOOD, Method.DYNAMIC)
    possible(problem, plan)
    if plan.method is Method.DYNAMIC:
        return  # which goes by a curve: below
    program, (money, limits) = optimum.Optimum([problem]), physics.worth(problem, plan.powers)
    assert money + limits == pytest.approx(program.best(), abs=gap(problem, plan, money))
    if not any(isinstance(one, Heat) for one in problem.assets):  # whose comfort has a price
        lump = max((getattr(one, "minimum_kw", 0.0) for one in problem.assets), default=0.0) * problem.step_h.max()
        assert limits == pytest.approx(program.least_breach(), rel=2e-3, abs=(0.1 + lump) * problem.dearest)


@pytest.mark.parametrize("seed", [6713, 7636])
def test_what_presolve_takes_for_impossible_is_planned(seed: int) -> None:
    """HiGHS 1.16 says of these that there is no answer."""
    assert PLANNER.plan(cases.random_problem(seed), SECONDS).method is Method.BEST


@pytest.mark.parametrize("seed", range(4 * CASES))
def test_who_is_late_asks_for_nothing_that_cannot_be(seed: int) -> None:
    """§12: the rule, and a solver that was stopped, are held to the same physics, and name what they breach.

    No plan is worse than the rule's.
    """
    problem = cases.random_problem(seed)
    ruled = by_rule(problem)
    most = sum(physics.worth(problem, ruled)) + cases.ties(problem, ruled)
    for seconds in (0.0, (1e-3, 5e-3, 2e-2, 0.1)[seed % 4]):
        plan = PLANNER.plan(problem, seconds)
        possible(problem, plan)
        money, limits = physics.worth(problem, plan.powers)
        assert money + limits <= most + 1e-3 * abs(money) + 1e-2 * problem.dearest


@pytest.mark.parametrize("seed", range(CASES // 2))
def test_a_battery_with_a_curve_is_planned_by_its_curve(seed: int) -> None:
    """Between one that always loses what this one loses at worst and one that always loses its least, to a tenth of the
    dearest kWh, and half a level of the band and of the limits that it shall keep.
    """
    problem = cases.random_battery(seed)
    battery = problem.assets[0]
    assert isinstance(battery, Battery)
    plan = PLANNER.plan(problem)
    assert plan.method is Method.DYNAMIC
    possible(problem, plan)
    if min(problem.price(problem.meters[0])) < 0:
        return  # losing energy pays
    ways = [way for _, way in cases.CURVE]
    low, high = sorted(optimum.Optimum([cases.with_one_way(problem, way)]).best() for way in (max(ways), min(ways)))
    level = battery.capacity_kwh / 128 * problem.step_h.max()
    breach = problem.multiples.charge + problem.multiples.grid
    near = (0.1 + breach * level / 2) * problem.dearest
    assert low - near <= sum(physics.worth(problem, plan.powers)) <= high + near
