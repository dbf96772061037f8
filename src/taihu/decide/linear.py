"""The plan of least cost when what is to come is taken as certain: a linear program, solved again each hour by HiGHS.

The costs are those of `expected.ExpectedCostPlan` with no error in what is expected, and the efficiency one number. As
in every such program, a battery may take and give in one hour, which burns energy where a ramp is dearer than that.
"""

import msgspec
import numpy as np

from taihu.decide.expected import Expected, Prices
from taihu.decide.highs import Outcome, Solver
from taihu.decide.sheet import Sheet
from taihu.kernel.arrays import Numbers

_SECONDS = 10.0
_NO_END = np.inf


class LinearPlan:
    """Plans again and again for the same batteries; each begins with the basis of the last one.

    Args:
        count: batteries.
        hours: how far a plan reaches.
        one_way: efficiency of going in, or out.
        power_kw: of each battery.
    """

    def __init__(self, count: int, hours: int, one_way: float, power_kw: float | Numbers) -> None:
        self._count, self._hours = count, hours
        self._solver = Solver()
        self.cost = 0.0
        """Of the last plan, by the program: no plan costs less."""
        self._write(one_way, power_kw)

    def solve(self, content_kwh: Numbers, capacity_kwh: Numbers, expected: Expected, prices: Prices) -> Numbers:
        """Content at the end of each hour, batteries by hours; as it is now where there is no answer in time."""
        cost, upper = self._program.cost.copy(), self._program.upper.copy()
        lower, row_upper = self._program.row_lower.copy(), self._program.row_upper.copy()
        upper[self._content] = capacity_kwh[:, None]
        cost[self._own] = prices.own
        cost[self._shared], cost[self._peak] = prices.shared, prices.peak
        cost[self._up] = cost[self._down] = prices.ramp
        cost[self._content[:, -1]] = -prices.end
        lower[self._balance[:, 0]] = row_upper[self._balance[:, 0]] = content_kwh
        lower[self._own_row] = expected.net_kwh
        lower[self._shared_row] = total = expected.net_kwh.sum(axis=0)
        lower[self._peak_row] = total - prices.peak_level_kwh
        change = np.diff(total, prepend=expected.total_before_kwh)
        lower[self._ramp_row] = row_upper[self._ramp_row] = change
        program = msgspec.structs.replace(self._program, cost=cost, upper=upper, row_lower=lower, row_upper=row_upper)
        solved = self._solver.solve(program, _SECONDS)
        if solved.outcome is Outcome.NONE:
            return np.repeat(content_kwh[:, None], self._hours, axis=1)
        self.cost = float(cost @ solved.columns)
        return np.asarray(solved.columns[self._content])

    def _write(self, way: float, power_kw: float | Numbers) -> None:
        """The program with everything in it that stays."""
        sheet, shape = Sheet(), (self._count, self._hours)
        many = self._count * self._hours
        power = np.repeat(np.broadcast_to(power_kw, self._count), self._hours)
        charge = sheet.columns(many, 0.0, power, 0.0).reshape(shape)
        discharge = sheet.columns(many, 0.0, power, 0.0).reshape(shape)
        self._content = sheet.columns(many, 0.0, 1.0, 0.0).reshape(shape)
        self._own = sheet.columns(many, 0.0, _NO_END, 0.0).reshape(shape)
        self._shared, self._peak, self._up, self._down = (
            sheet.columns(self._hours, 0.0, _NO_END, 0.0) for _ in range(4)
        )
        self._balance = sheet.rows(many, 0.0, 0.0).reshape(shape)
        sheet.put(self._balance, self._content, 1.0)
        sheet.put(self._balance[:, 1:], self._content[:, :-1], -1.0)
        sheet.put(self._balance, charge, -way)
        sheet.put(self._balance, discharge, 1 / way)
        self._own_row = sheet.rows(many, 0.0, _NO_END).reshape(shape)
        sheet.put(self._own_row, self._own, 1.0)
        sheet.put(self._own_row, charge, -1.0)
        sheet.put(self._own_row, discharge, 1.0)
        self._shared_row, self._peak_row = (sheet.rows(self._hours, 0.0, _NO_END) for _ in range(2))
        self._ramp_row = sheet.rows(self._hours, 0.0, 0.0)
        for row, column in ((self._shared_row, self._shared), (self._peak_row, self._peak)):
            sheet.put(row, column, 1.0)
            sheet.put(row, charge, -1.0)
            sheet.put(row, discharge, 1.0)
        sheet.put(self._ramp_row, self._up, 1.0)
        sheet.put(self._ramp_row, self._down, -1.0)
        for sign, moved in ((-1.0, charge), (1.0, discharge)):
            sheet.put(self._ramp_row, moved, sign)
            sheet.put(self._ramp_row[1:], moved[:, :-1], -sign)
        self._program = sheet.program()
