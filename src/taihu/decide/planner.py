"""The planner: a problem in, a plan out, always (§12).

Dynamic programming where it is exact, HiGHS elsewhere, the rule when neither answered in time or what they answered is
nothing a device could do. Every plan is reckoned again from physics, says who made it, what it breaches, and why.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from taihu.decide.dynamic import can_plan, plan_battery
from taihu.decide.form import check
from taihu.decide.frame import NOTHING_EXACT
from taihu.decide.judge import Breach, Judged, as_stores_can, breach_cost, judge
from taihu.decide.model import Model, Powers
from taihu.decide.problem import Numbers, Problem
from taihu.decide.rule import by_rule

if TYPE_CHECKING:
    from taihu.decide.highs import Solved
    from taihu.decide.rounding import Rounding


class Method(StrEnum):
    """Who made a plan."""

    DYNAMIC = "dynamic"
    BEST = "solver"
    GOOD = "solver-in-time"  # not proved to be the best
    RULE = "rule"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Powers (kW, positive is taken) and what comes of them.

    `marginal` is what a kWh more behind each meter would cost, by step; empty where nobody knows. `notes` say what was
    out of the ordinary, in words.
    """

    method: Method
    powers: Powers
    net_kw: Powers
    content: Powers
    breaches: tuple[Breach, ...]
    money: float
    carbon_kg: float
    marginal: Powers = {}
    notes: tuple[str, ...] = ()


class Planner:
    """Plans the same kind of problem again and again; what did not change since the last time is not built again."""

    def __init__(self) -> None:
        self._solver: object | None = None

    def plan(self, problem: Problem, seconds: float = 1.0) -> Plan:
        """A plan within about so many seconds; raises ProblemRefused for what is no problem, and nothing else."""
        check(problem)
        if can_plan(problem):
            path, name = plan_battery([problem]), problem.assets[0].name
            powers = {name: path.power_kw}
            return _plan(Method.DYNAMIC, powers, judge(problem, powers), content={name: path.content_kwh})
        return self._solved([problem], (1.0,), seconds)

    def plan_scenarios(self, problems: Sequence[Problem], weights: Sequence[float], seconds: float = 1.0) -> Plan:
        """The first of several scenarios of one problem, its first step being the best for all of them."""
        for problem in problems:
            check(problem)
        return self._solved(problems, weights, seconds)

    def _solved(self, problems: Sequence[Problem], weights: Sequence[float], seconds: float) -> Plan:
        problem = problems[0]
        note = "the solver is not installed: pip install 'taihu[plan]'"
        try:
            from taihu.decide.highs import Outcome
            from taihu.decide.rounding import Rounding
        except ImportError:
            return self._by_rule(problem, note)
        if not isinstance(self._solver, Rounding):
            self._solver = Rounding()
        model, solved = self._asked(self._solver, problems, weights, seconds)
        if solved.outcome is Outcome.NONE:
            return self._by_rule(problem, f"the solver had no answer within {seconds:g} s")
        powers = model.powers(solved.columns)
        judged = judge(problem, powers)
        if judged.faults:
            powers = as_stores_can(problem, powers)
            judged = judge(problem, powers)
        if judged.faults:
            return self._by_rule(problem, f"the solver's answer cannot be: {judged.faults[0]}")
        if solved.outcome is Outcome.BEST:
            return _plan(Method.BEST, powers, judged, marginal=model.marginal(solved.prices))
        ruled = self._by_rule(problem, f"the solver had nothing better within {seconds:g} s")
        worse = breach_cost(problem, judged.breaches) > breach_cost(problem, ruled.breaches)
        return ruled if worse else _plan(Method.GOOD, powers, judged, marginal=model.marginal(solved.prices))

    def _asked(
        self, solver: "Rounding", problems: Sequence[Problem], weights: Sequence[float], seconds: float
    ) -> tuple[Model, "Solved"]:
        """The solver's answer; it is asked again, exactly, about what stores cannot do, as long as there is time."""
        from taihu.decide.highs import Outcome

        exact, model = NOTHING_EXACT, Model(problems, weights)
        solved = solver.solve(model.program, seconds)
        while solved.outcome is not Outcome.NONE:
            more = exact.with_(model.inexact(solved.columns))
            if more == exact:
                return model, solved
            seconds -= solved.seconds
            better = Model(problems, weights, more)
            again = solver.solve(better.program, seconds) if seconds > 0 else None
            if again is None or again.outcome is Outcome.NONE:
                return model, msgspec.structs.replace(solved, outcome=Outcome.GOOD)
            exact, model, solved = more, better, again
        return model, solved

    def _by_rule(self, problem: Problem, note: str) -> Plan:
        powers = by_rule(problem)
        return _plan(Method.RULE, powers, judge(problem, powers), notes=(note,))


def quantile_scenarios(
    low: Numbers, middle: Numbers, high: Numbers
) -> tuple[tuple[Numbers, Numbers, Numbers], tuple[float, float, float]]:
    """Three loads and their probabilities from the 10, 50 and 90 % quantiles of a forecast, the likely one first.

    Source: D. Keefer and S. Bodily, Three-point approximations for continuous random variables, Management Science
    29(5), 1983 (Swanson's rule).
    """
    return (middle, low, high), (0.4, 0.3, 0.3)


def _plan(
    method: Method,
    powers: Powers,
    judged: Judged,
    *,
    content: Powers | None = None,
    marginal: Powers | None = None,
    notes: tuple[str, ...] = (),
) -> Plan:
    return Plan(
        method=method,
        powers={name: np.round(power, 9) for name, power in powers.items()},
        net_kw=judged.net_kw,
        content=judged.content | (content or {}),
        breaches=judged.breaches,
        money=judged.money,
        carbon_kg=judged.carbon_kg,
        marginal=marginal or {},
        notes=notes,
    )
