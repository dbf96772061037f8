"""The planner: a problem in, a plan out, always (§12).

Dynamic programming where it is exact, HiGHS elsewhere, the rule when neither answered in time or what they answered is
nothing a device could do. Every plan is reckoned again from physics, says who made it, what it breaches, and why.
"""

from collections.abc import Sequence
from enum import StrEnum

import msgspec
import numpy as np

from taihu.decide.alone import whole
from taihu.decide.dynamic import can_plan, plan_battery
from taihu.decide.form import check, check_futures
from taihu.decide.frame import Powers
from taihu.decide.judge import Breach, Judged, as_stores_can, judge
from taihu.decide.model import Model
from taihu.decide.problem import Job, Problem, Vehicle
from taihu.decide.rule import by_rule
from taihu.kernel.clock import Clock, SystemClock

_SOLVER_SHARE = 0.9  # of the time; the rest is for what is done without it


class Method(StrEnum):
    """Who made a plan."""

    DYNAMIC = "dynamic"
    BEST = "solver"
    GOOD = "solver-in-time"  # not proved to be the best
    IN_TURN = "in-turn"  # vehicles and jobs one after the other where it is cheapest, all else as the rule has it
    RULE = "rule"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Powers (kW, positive is taken) and what comes of them.

    `objective` is what the problem makes small. `marginal` is what a kWh more behind each meter would cost, by step;
    empty where nobody knows. `notes` say what was out of the ordinary, in words.
    """

    method: Method
    powers: Powers
    net_kw: Powers
    content: Powers
    breaches: tuple[Breach, ...]
    money: float
    carbon_kg: float
    objective: float
    marginal: Powers = {}
    notes: tuple[str, ...] = ()


class Planner:
    """Plans the same kind of problem again and again; what did not change since the last time is not built again."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._solver: object | None = None

    def plan(self, problem: Problem, seconds: float = 1.0) -> Plan:
        """A plan within about so many seconds; raises ProblemRefused for what is no problem, and nothing else."""
        check(problem)
        if can_plan(problem):
            powers = {problem.assets[0].name: plan_battery([problem]).power_kw}
            return _plan(Method.DYNAMIC, powers, judge(problem, powers, by_curve=True))
        return self._solved([problem], (1.0,), seconds)

    def plan_scenarios(self, problems: Sequence[Problem], weights: Sequence[float], seconds: float = 1.0) -> Plan:
        """The first of several scenarios of one problem, its first step being the best for all of them."""
        check_futures(problems, weights)
        return self._solved(problems, weights, seconds)

    def _solved(self, problems: Sequence[Problem], weights: Sequence[float], seconds: float) -> Plan:
        problem, until = problems[0], self._clock.monotonic() + _SOLVER_SHARE * seconds
        try:
            from taihu.decide.highs import Outcome
            from taihu.decide.search import Search
        except ImportError:
            return self._without(problem, None, "the solver is not installed: pip install 'taihu[plan]'")
        if not isinstance(self._solver, Search):
            self._solver = Search(self._clock)
        waits = any(isinstance(one, Vehicle | Job) and whole(one) for one in problem.assets)
        known = by_rule(problem, cheap=True) if waits else None
        model, solved, known = self._solver.solve(Model(problems, weights), until, known)
        if solved.outcome is Outcome.NONE:
            return self._without(problem, known, f"the solver had no answer within {seconds:g} s")
        powers, judged = _as_can_be(problem, model.powers(solved.columns))
        if judged.faults:
            return self._without(problem, known, f"the solver's answer cannot be: {judged.faults[0]}")
        marginal = model.marginal(solved.prices)
        if solved.outcome is Outcome.BEST:
            return _plan(Method.BEST, powers, judged, marginal=marginal)
        plan = _plan(Method.GOOD, powers, judged, marginal=marginal)
        late = self._without(problem, known, f"the solver had nothing better within {seconds:g} s")
        return min(plan, late, key=lambda one: one.objective)

    def _without(self, problem: Problem, known: Powers | None, note: str) -> Plan:
        """The better of what the rule says and of what each asset finds for itself, one after the other."""
        ruled = by_rule(problem)
        plans = [_plan(Method.RULE, ruled, judge(problem, ruled), notes=(note,))]
        in_turn, judged = _as_can_be(problem, known or by_rule(problem, cheap=True))
        if not judged.faults:
            plans.append(_plan(Method.IN_TURN, in_turn, judged, notes=(note,)))
        return min(plans, key=lambda one: one.objective)


def _as_can_be(problem: Problem, powers: Powers) -> tuple[Powers, Judged]:
    """Powers and what they come to; those that no device could do, as stores can."""
    judged = judge(problem, powers)
    if not judged.faults:
        return powers, judged
    powers = as_stores_can(problem, powers)
    return powers, judge(problem, powers)


def _plan(
    method: Method, powers: Powers, judged: Judged, *, marginal: Powers | None = None, notes: tuple[str, ...] = ()
) -> Plan:
    return Plan(
        method=method,
        powers={name: np.round(power, 9) for name, power in powers.items()},
        net_kw=judged.net_kw,
        content=judged.content,
        breaches=judged.breaches,
        money=judged.money,
        carbon_kg=judged.carbon_kg,
        objective=judged.objective,
        marginal=marginal or {},
        notes=notes,
    )
