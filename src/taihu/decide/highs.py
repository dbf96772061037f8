"""HiGHS without a modelling layer: a model is passed once, and only costs and bounds are changed after that."""

import threading
from enum import StrEnum

import highspy
import msgspec
import numpy as np
from highspy import cb

from taihu.decide.frame import UNIT
from taihu.decide.sheet import Program
from taihu.kernel.arrays import Numbers

GAP = 1e-3  # of the objective without breaches: how near to the best an answer with whole numbers has to be
GAP_MIN = GAP * UNIT  # or of the dearest kWh, where the objective is next to nothing
_LATE, _LATE_S = 1.1, 0.02  # of its time, and seconds, that a search is waited for

_SAID = (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kTimeLimit)
_KINDS = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger, highspy.HighsVarType.kSemiContinuous)


def near(cost: float) -> float:
    """How near to the best is near enough, where money costs so much."""
    return max(GAP * abs(cost), GAP_MIN)


class _Quiet(highspy.Highs):
    """Without the callbacks that print a banner on stdout before anybody can say not to.

    `found` is the best that a search has found, also while it runs.
    """

    def __init__(self) -> None:
        super(highspy.Highs, self).__init__()
        for option, value in (("output_flag", False), ("threads", 1), ("mip_rel_gap", GAP), ("mip_abs_gap", GAP_MIN)):
            self.setOptionValue(option, value)
        self.found: list[Numbers] = []
        super(highspy.Highs, self).setCallback(_keep, self.found)
        super(highspy.Highs, self).startCallback(cb.kCallbackMipImprovingSolution)


def _keep(
    _kind: cb.HighsCallbackType,
    _text: str,
    out: cb.HighsCallbackOutput,
    _in: cb.HighsCallbackInput,
    found: list[Numbers],
) -> None:
    found[:] = [np.array(out.mip_solution)]


class Outcome(StrEnum):
    """How a run ended."""

    BEST = "best"
    GOOD = "good"  # time was over; an answer that keeps every row, not proved to be the best
    NONE = "none"


class Solved(msgspec.Struct, frozen=True):
    """An answer: the columns, the price of each row (what a unit more of it costs; zeros where there is none), and the
    seconds that it took.
    """

    outcome: Outcome
    columns: Numbers
    prices: Numbers
    seconds: float


class Solver:
    """One HiGHS and the last model it was given."""

    def __init__(self) -> None:
        self._highs = _Quiet()
        self._last: Program | None = None

    def solve(self, program: Program, seconds: float, start: Numbers | None = None, breached: float = 0.0) -> Solved:
        """The best columns within so many seconds; `start` are some that keep every row, to begin with.

        `breached` is what of the objective is no money: how near to the best is near enough does not go by it.
        """
        if program.same_form(self._last):
            self._change(program)
        elif self._last is not None and program.extends(self._last):
            self._add(program, len(self._last.row_lower))
            self._change(program)
        else:
            self._pass(program)
        self._last = program
        self._highs.changeObjectiveOffset(-breached)
        if start is not None:
            known = highspy.HighsSolution()
            known.col_value = start.tolist()
            self._highs.setSolution(known)
        before = self._highs.getRunTime()
        # with whole numbers HiGHS counts the seconds of this run, without them those of all its runs
        seconds = max(0.0, seconds)  # a limit below that would be refused, and the last one hold
        self._highs.setOptionValue("time_limit", seconds if program.integral else before + seconds)
        found = self._highs.found
        found.clear()
        if not self._ran(program, seconds):
            count = len(program.cost)  # HiGHS adds columns of its own
            able = [one[:count] for one in (start, *found) if one is not None]
            best = min(able, key=lambda one: float(program.cost @ one), default=np.zeros(count))
            outcome = Outcome.GOOD if able else Outcome.NONE
            return Solved(outcome, best, np.zeros(len(program.row_lower)), seconds)
        taken = self._highs.getRunTime() - before
        status = self._highs.getModelStatus()
        solution = self._highs.getSolution()
        columns = np.asarray(solution.col_value, np.float64)
        if status == highspy.HighsModelStatus.kOptimal:
            outcome = Outcome.BEST
            bound, cost = self._highs.getInfo().mip_dual_bound, float(program.cost @ columns) - breached
            if start is not None and cost - bound > 2 * near(cost) and taken < seconds:
                self._highs.clearSolver()  # with least powers HiGHS may return the start instead of what it found
                again = self.solve(program, seconds - taken, breached=breached)
                if again.outcome is not Outcome.NONE:
                    return msgspec.structs.replace(again, seconds=taken + again.seconds)
                outcome = Outcome.GOOD
        elif program.integral and solution.value_valid:
            outcome = Outcome.GOOD
        else:
            return Solved(Outcome.NONE, np.zeros(len(program.cost)), np.zeros(len(program.row_lower)), taken)
        prices = np.asarray(solution.row_dual, np.float64) if solution.dual_valid else np.zeros(len(program.row_lower))
        return Solved(outcome, columns, prices, taken)

    def _ran(self, program: Program, seconds: float) -> bool:
        """Run, and again without presolve where it finds that there is no answer: there always is one."""
        begun = self._highs.getRunTime()
        if not self._ended(program, seconds):
            return False
        left = seconds - (self._highs.getRunTime() - begun)
        if self._highs.getModelStatus() in _SAID or left <= 0:
            return True
        self._highs.clearSolver()
        self._highs.setOptionValue("presolve", "off")
        ended = self._ended(program, left)
        self._highs.setOptionValue("presolve", "choose")
        return ended

    def _ended(self, program: Program, seconds: float) -> bool:
        """Run; a search that does not look at the clock, as some do for seconds, is left to itself."""
        if not program.integral:
            self._highs.run()
            return True
        run = threading.Thread(target=self._highs.run, name="search")
        run.start()
        run.join(_LATE * seconds + _LATE_S)
        late = run.is_alive()
        if late:
            self._highs, self._last = _Quiet(), None
        return not late

    def _pass(self, program: Program) -> None:
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(program.cost), len(program.row_lower)
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = program.cost, program.lower, program.upper
        lp.row_lower_, lp.row_upper_ = program.row_lower, program.row_upper
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_, lp.a_matrix_.index_ = program.starts, program.indices
        lp.a_matrix_.value_ = program.values
        if program.integral:
            lp.integrality_ = [_KINDS[kind] for kind in program.kinds]
        self._highs.passModel(lp)

    def _add(self, program: Program, first: int) -> None:
        """Rows that the last model lacks, from row `first` on."""
        begin = program.starts[first]
        lower, upper = program.row_lower[first:], program.row_upper[first:]
        starts = program.starts[first:-1] - begin
        indices, values = program.indices[begin:], program.values[begin:]
        self._highs.addRows(len(lower), lower, upper, len(indices), starts, indices, values)

    def _change(self, program: Program) -> None:
        last = self._last
        assert last is not None
        if len(changed := np.flatnonzero(program.cost != last.cost).astype(np.int32)):
            self._highs.changeColsCost(len(changed), changed, program.cost[changed])
        moved = (program.lower != last.lower) | (program.upper != last.upper)
        if len(changed := np.flatnonzero(moved).astype(np.int32)):
            self._highs.changeColsBounds(len(changed), changed, program.lower[changed], program.upper[changed])
        common = len(last.row_lower)
        moved = (program.row_lower[:common] != last.row_lower) | (program.row_upper[:common] != last.row_upper)
        if len(changed := np.flatnonzero(moved).astype(np.int32)):
            rows = self._highs.changeRowsBounds  # type: ignore[attr-defined]  # its stub lacks it
            rows(len(changed), changed, program.row_lower[changed], program.row_upper[changed])
