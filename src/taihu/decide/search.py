"""Whole numbers: what a linear program says without them, each asset that runs or not by itself, and what that leaves.

An answer is there soon, and how far it can be from the best is known: the program without whole numbers costs less than
any. Where it is too far, the solver searches from there, as long as there is time.
"""

from collections.abc import Callable
from functools import partial

import msgspec
import numpy as np

from taihu.decide.alone import respond, violates, whole
from taihu.decide.charge import slack
from taihu.decide.frame import Powers
from taihu.decide.highs import Outcome, Solved, Solver, near
from taihu.decide.judge import judge
from taihu.decide.model import Model
from taihu.decide.problem import Asset, Heat, Job, Load, Problem, Vehicle
from taihu.decide.room import Room
from taihu.decide.sheet import Program
from taihu.kernel.clock import Clock

_SEARCHED_MAX = 5_000  # whole numbers and least powers, beyond which no search comes to an end
_SEARCH_SHARE = 0.85  # of the time that is left; the rest is to make exact what it finds
_SEARCHED_S = 0.05  # too little time to begin one


class Search:
    """Two solvers, each with its last model: one for programs without whole numbers, one for what is searched."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loose, self._exact = Solver(), Solver()

    def solve(self, model: Model, until: float, known: Powers | None = None) -> tuple[Model, Solved, Powers | None]:
        """The best columns by then (monotonic seconds), of a model that says what they need exactly.

        `known` are powers that are known to be possible; the search begins with them where they are better than its
        own. The better ones come back too, for where the solver has no answer in time.
        """
        model, loose = self._exactly(model, lambda one: one.program.relaxed(), until)
        if not model.program.integral or loose.outcome is Outcome.NONE:
            return model, loose, known
        if (first := self._one_by_one(model, loose, until)) is None:
            return model, msgspec.structs.replace(loose, outcome=Outcome.NONE), known
        if known is not None:
            first = min(first, known, key=lambda one: judge(model.problem, one).objective)
        bound = float(model.program.cost @ loose.columns) if loose.outcome is Outcome.BEST else -np.inf
        return *self._searched(model, first, bound, model.breached(loose.columns), until), first

    def _searched(
        self, model: Model, powers: Powers, bound: float, breached: float, until: float
    ) -> tuple[Model, Solved]:
        """The best from these powers on, as long as it may be better than `bound` lets it be.

        `breached` is what no plan can help: it does not count for how near to the best is near enough.
        """
        model, held = self._exactly(model, partial(Model.held, powers=powers), until)
        asked, start = model, held.columns if held.outcome is not Outcome.NONE else None
        while True:
            cost = float(model.program.cost @ held.columns)
            if held.outcome is Outcome.BEST and cost - bound <= near(cost - breached):
                return model, held
            left = _SEARCH_SHARE * (until - self._clock.monotonic())
            if left < _SEARCHED_S or int(np.count_nonzero(asked.program.kinds)) > _SEARCHED_MAX:
                break
            found = self._exact.solve(asked.program, left, start, breached)
            if found.outcome is Outcome.NONE:
                break
            if (exacter := asked.exacter(found.columns)) is None:
                found = self._nearer(asked, found, breached, left - found.seconds)
                prices = held.prices if asked is model else found.prices
                return asked, msgspec.structs.replace(found, prices=prices)
            write = partial(Model.held, powers=asked.powers(found.columns))
            exact, again = self._exactly(exacter, write, until)
            if again.outcome is Outcome.BEST:
                asked, start, model, held = exact, again.columns, exact, again
            else:  # what it found cannot be made exact: the search goes on with what is, from anew
                asked, start = exacter, None
        return model, msgspec.structs.replace(held, outcome=Outcome.GOOD) if held.outcome is Outcome.BEST else held

    def _nearer(self, model: Model, found: Solved, breached: float, seconds: float) -> Solved:
        """What was found; where it breaches so much more that it may be far from the best, searched from there on."""
        cost, more = float(model.program.cost @ found.columns), model.breached(found.columns)
        if found.outcome is not Outcome.BEST or near(cost - breached) <= 2 * near(cost - more):
            return found
        again = self._exact.solve(model.program, seconds, found.columns, more)
        return found if model.exacter(again.columns) else again

    def _exactly(self, model: Model, write: Callable[[Model], Program], until: float) -> tuple[Model, Solved]:
        """What is written, without whole numbers; again, exactly, about what stores cannot do, while there is time."""
        solved = self._loose.solve(write(model), until - self._clock.monotonic())
        while solved.outcome is not Outcome.NONE and (exacter := model.exacter(solved.columns)) is not None:
            again = self._loose.solve(write(exacter), until - self._clock.monotonic())
            if again.outcome is Outcome.NONE:
                return model, msgspec.structs.replace(solved, outcome=Outcome.GOOD)
            model, solved = exacter, again
        return model, solved

    def _one_by_one(self, model: Model, loose: Solved, until: float) -> Powers | None:
        """What assets take that run or do not, one after the other: the rigid first, then who can wait least.

        None when there was no time for all of them.
        """
        problem, powers = model.problem, model.powers(loose.columns)
        half = (self._clock.monotonic() + until) / 2
        room = Room(problem)
        for asset in problem.assets:
            room.take(asset.name, asset.meter, powers[asset.name])
        room.keep_level()
        those = [asset for asset in problem.assets if whole(asset) and violates(asset, powers[asset.name])]
        for asset in sorted(those, key=lambda one: _rank(problem, one)):
            if self._clock.monotonic() > until:
                return None
            room.take(asset.name, asset.meter, -powers[asset.name])
            soon = self._clock.monotonic() > half
            powers[asset.name] = respond(problem, asset, room, room.price(asset.meter), soon=soon)
            room.take(asset.name, asset.meter, powers[asset.name])
            for place, _, _ in asset.places if isinstance(asset, Job) else ():
                powers[f"{asset.name}@{place}"] = np.zeros(problem.steps)  # all of it was placed here
        return powers


def _rank(problem: Problem, asset: Asset) -> tuple[int, float]:
    kinds = (Load, Heat, Vehicle, Job)
    kind = next(place for place, one in enumerate(kinds) if isinstance(asset, one))
    return kind, slack(problem, asset) if isinstance(asset, Vehicle | Job) else 0.0
