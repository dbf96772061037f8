"""Least powers and switches of many at once: what the program without them says, rounded, and what that leaves.

Of least powers most that runs runs at its most, so little is lost; where less is lost than an answer may be off, the
rounded one is the best. It is also where a search begins, and what is left when that comes to no end.
"""

import msgspec
import numpy as np

from taihu.decide.highs import GAP, Outcome, Solved, Solver
from taihu.decide.sheet import CONTINUOUS, INTEGER, SEMICONTINUOUS, Program

_NOTHING = 1e-6
_SEARCHED_MAX = 5_000  # whole numbers and least powers, beyond which no search comes to an end


class Rounding:
    """Two solvers, each with its last model: one for programs without least powers, one for what is searched."""

    def __init__(self) -> None:
        self._loose, self._exact = Solver(), Solver()

    def solve(self, program: Program, seconds: float) -> Solved:
        """The best columns within so many seconds."""
        if not (program.kinds == SEMICONTINUOUS).any():
            return self._exact.solve(program, seconds)
        rounded, bound = self._rounded(program, seconds)
        worse = np.inf if bound is None else float(program.cost @ rounded.columns) - bound
        if rounded.outcome is Outcome.BEST and worse <= GAP * abs(float(program.cost @ rounded.columns)):
            return rounded
        left, found = seconds - rounded.seconds, rounded.outcome is not Outcome.NONE
        if left > 0 and int(np.count_nonzero(program.kinds)) <= _SEARCHED_MAX:
            exact = self._exact.solve(program, left, rounded.columns if found else None)
            taken = rounded.seconds + exact.seconds
            if exact.outcome is not Outcome.NONE:
                return msgspec.structs.replace(exact, seconds=taken)
            rounded = msgspec.structs.replace(rounded, seconds=taken)
        return msgspec.structs.replace(rounded, outcome=Outcome.GOOD) if found else rounded

    def _rounded(self, program: Program, seconds: float) -> tuple[Solved, float | None]:
        """An answer whose least powers are those that ran without them, and what no answer costs less than."""
        least, whole = program.kinds == SEMICONTINUOUS, program.kinds == INTEGER
        kinds = np.where(least, CONTINUOUS, program.kinds)
        loose = msgspec.structs.replace(program, kinds=kinds, lower=np.where(least, 0.0, program.lower))
        found = self._loose.solve(loose, seconds / 2 if whole.any() else seconds)
        if found.outcome is Outcome.NONE:
            return found, None
        rests, switched = least & (found.columns <= _NOTHING), np.round(found.columns)
        held = msgspec.structs.replace(
            loose,
            kinds=np.full_like(kinds, CONTINUOUS),
            lower=np.select([rests, whole], [0.0, switched], program.lower),
            upper=np.select([rests, whole], [0.0, switched], program.upper),
        )
        rounded = self._loose.solve(held, seconds - found.seconds)
        bound = float(program.cost @ found.columns) if found.outcome is Outcome.BEST else None
        return msgspec.structs.replace(rounded, seconds=found.seconds + rounded.seconds), bound
