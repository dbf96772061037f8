"""Whole numbers: what a linear program says without them, each asset that runs or not by itself, and what that leaves.

An answer is there soon, and how far it can be from the best is known: the program without whole numbers costs less than
any. Where it is too far, the solver searches from there, as long as there is time.
"""

import msgspec
import numpy as np

from taihu.decide.alone import respond, violates, whole
from taihu.decide.charge import slack
from taihu.decide.frame import Powers
from taihu.decide.highs import GAP, Outcome, Solved, Solver
from taihu.decide.judge import judge
from taihu.decide.model import Model
from taihu.decide.problem import Asset, Heat, Job, Kind, Load, Problem, Vehicle
from taihu.decide.room import Room
from taihu.kernel.clock import Clock

_SEARCHED_MAX = 5_000  # whole numbers and least powers, beyond which no search comes to an end
_SOFT = (Kind.COMFORT, Kind.CHARGE)
_SEARCHED_S = 0.05  # too little time to begin one


class Search:
    """Two solvers, each with its last model: one for programs without whole numbers, one for what is searched."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loose, self._exact = Solver(), Solver()

    def solve(self, model: Model, until: float, known: Powers | None = None) -> tuple[Model, Solved]:
        """The best columns by then (monotonic seconds), of a model that says what they need exactly.

        `known` is another answer; the search begins with it where it is better than what the first one comes to.
        """
        model, solved = self._relaxed(model, until)
        if model.program.integral and solved.outcome is not Outcome.NONE:
            solved = self._whole(model, solved, until, known)
            while solved.outcome is not Outcome.NONE and (exacter := model.exacter(solved.columns)) is not None:
                again = self._whole(exacter, self._loosely(exacter, until), until, known)
                if again.outcome is Outcome.NONE:
                    return model, msgspec.structs.replace(solved, outcome=Outcome.GOOD)
                model, solved = exacter, again
        return model, solved

    def _relaxed(self, model: Model, until: float) -> tuple[Model, Solved]:
        """Without whole numbers; asked again, exactly, about what stores cannot do, as long as there is time."""
        solved = self._loosely(model, until)
        while solved.outcome is not Outcome.NONE and (exacter := model.exacter(solved.columns)) is not None:
            again = self._loosely(exacter, until)
            if again.outcome is Outcome.NONE:
                return model, msgspec.structs.replace(solved, outcome=Outcome.GOOD)
            model, solved = exacter, again
        return model, solved

    def _loosely(self, model: Model, until: float) -> Solved:
        return self._loose.solve(model.program.relaxed(), until - self._clock.monotonic())

    def _whole(self, model: Model, loose: Solved, until: float, known: Powers | None) -> Solved:
        """With whole numbers; `loose` is the answer without them."""
        program, start = model.program, None
        if loose.outcome is Outcome.NONE:
            return loose
        first = _one_by_one(model, loose)
        if known is not None:
            first = min(first, known, key=lambda one: _worth(model.problem, one))
        held = self._loose.solve(model.held(first), until - self._clock.monotonic())
        if held.outcome is not Outcome.NONE:
            start, cost = held.columns, float(program.cost @ held.columns)
            if loose.outcome is Outcome.BEST and cost - float(program.cost @ loose.columns) <= GAP * abs(cost):
                return held
        left = until - self._clock.monotonic()
        if left > _SEARCHED_S and int(np.count_nonzero(program.kinds)) <= _SEARCHED_MAX:
            found = self._exact.solve(program, left, start)
            if found.outcome is not Outcome.NONE:
                return msgspec.structs.replace(found, prices=loose.prices)
        return msgspec.structs.replace(held, outcome=Outcome.GOOD) if start is not None else held


def _one_by_one(model: Model, loose: Solved) -> Powers:
    """What assets take that run or do not, one after the other: the rigid first, then who can wait least."""
    problem, powers = model.problem, model.powers(loose.columns)
    room = Room(problem)
    for asset in problem.assets:
        room.take(asset.name, asset.meter, powers[asset.name])
    those = [asset for asset in problem.assets if whole(asset) and violates(asset, powers[asset.name])]
    for asset in sorted(those, key=lambda one: _rank(problem, one)):
        room.take(asset.name, asset.meter, -powers[asset.name])
        powers[asset.name] = respond(problem, asset, room, room.price(asset.meter))
        room.take(asset.name, asset.meter, powers[asset.name])
    return powers


def _worth(problem: Problem, powers: Powers) -> tuple[float, float]:
    """Energy that is missing or above a limit comes first: money never buys it."""
    judged = judge(problem, powers)
    return round(sum(one.amount for one in judged.breaches if one.kind not in _SOFT), 2), judged.objective


def _rank(problem: Problem, asset: Asset) -> tuple[int, float]:
    kinds = (Load, Heat, Vehicle, Job)
    kind = next(place for place, one in enumerate(kinds) if isinstance(asset, one))
    return kind, slack(problem, asset) if isinstance(asset, Vehicle | Job) else 0.0
