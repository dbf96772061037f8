"""The mark of perfect foresight: every hour of the year known, a linear program for each month and a day more.

Not causal: what there is to be captured. Each month is solved twice, the second time with the efficiencies of the
powers that were found, and the price of a peak where the first peak was. It is no proof that nothing is better: a
program may charge and discharge in one hour, which no battery can, and sees a day past its month and no further.
"""

import msgspec
import numpy as np

from taihu.decide.battery import Battery
from taihu.decide.bill import BLOCK_HOURS
from taihu.decide.highs import Outcome, Solver
from taihu.decide.plan import terminal_energy
from taihu.decide.policy import Hour
from taihu.decide.sheet import Index, Program, Sheet
from taihu.kernel.arrays import Numbers
from taihu.sim.citylearn import Buildings

_TAIL_HOURS = 24  # so that a month does not end empty
_ROUNDS = 2
_WAY = 0.925  # one-way efficiency in the first round
_FIRST_PEAK = 0.6  # of the peak without batteries
_FULL_POWER_TO, _FALL = 0.8, 4.0  # of charge, and of power for each unit of it beyond: as the challenge has it
_UNIT = 1e4  # a cost of one hour is a tiny part of the score: solvers like numbers near one


class Foresight:
    """Does each hour what the month's plan says."""

    def __init__(self, battery: Battery, buildings: Buildings) -> None:
        self._battery = battery
        self._limits = battery.power_kw, _FALL * battery.power_kw / battery.capacity_kwh
        self._net = buildings.net_kwh
        self._total = self._net.sum(axis=0)
        blocks = np.split(self._total, range(BLOCK_HOURS, len(self._total), BLOCK_HOURS))
        self._price = _UNIT * buildings.price / (3 * np.maximum(0, buildings.price * self._total).sum())
        self._intensity = _UNIT * buildings.intensity / (3 * np.maximum(0, buildings.intensity * self._net).sum())
        self._ramp = _UNIT / (6 * float(np.abs(np.diff(self._total)).sum()))
        self._peak = _UNIT / (6 * sum(1 - float(one.mean() / one.max()) for one in blocks))
        self._hour = self._end = 0
        self._contents: list[Numbers] = []  # at the end of each hour from the next one on, the last one first

    def decide(self, hour: Hour) -> Numbers:
        self._hour += 1
        if self._hour >= self._end:
            self._end = min(self._hour // BLOCK_HOURS * BLOCK_HOURS + BLOCK_HOURS, len(self._total))
            planned = self._month(self._hour, self._end, hour)
            self._contents = list(planned[:, : self._end - self._hour].T[::-1])
        return terminal_energy(self._contents.pop() - hour.content_kwh, self._battery)

    def _month(self, first: int, last: int, now: Hour) -> Numbers:
        """Content at the end of each hour from `first` on."""
        body = self._total[first:last]
        hours = min(len(self._total), last + _TAIL_HOURS) - first
        way = np.full((len(self._net), hours), _WAY)
        mean, peak = float(body.mean()), _FIRST_PEAK * float(body.max())
        for _ in range(_ROUNDS):
            month = self._write(first, len(body), way, now, self._peak * max(mean, 0.0) / peak**2)
            solved = Solver().solve(month.program, np.inf)
            assert solved.outcome is Outcome.BEST  # batteries at rest are an answer, and no cost is below zero
            energy = solved.columns[month.charge] - solved.columns[month.discharge]
            total = body + energy[:, : len(body)].sum(axis=0)
            mean, peak = float(total.mean()), float(total.max())
            way = self._battery.way(energy.T / self._battery.power_kw).T
        return np.asarray(solved.columns[month.content])

    def _write(self, first: int, body: int, way: Numbers, now: Hour, peak_price: float) -> "_Month":
        sheet, shape = Sheet(), way.shape
        hours, many = shape[1], way.size
        power_kw, fall = (np.broadcast_to(one, shape[:1]).repeat(hours).reshape(shape) for one in self._limits)
        there = slice(first, first + hours)
        net, total = self._net[:, there], self._total[there]
        charge, discharge = (sheet.columns(many, 0.0, power_kw.ravel(), 0.0).reshape(shape) for _ in range(2))
        content = sheet.columns(many, 0.0, np.repeat(now.capacity_kwh, hours), 0.0).reshape(shape)
        own = sheet.columns(many, 0.0, np.inf, np.tile(self._intensity[there], len(net))).reshape(shape)
        shared = sheet.columns(hours, 0.0, np.inf, self._price[there])
        up, down = (sheet.columns(hours, 0.0, np.inf, self._ramp) for _ in range(2))
        peaks = sheet.columns(2, 0.0, np.inf, peak_price * np.array([1.0, (hours - body) / BLOCK_HOURS]))
        start = np.zeros(shape)
        start[:, 0] = now.content_kwh
        balance = sheet.rows(many, start.ravel(), start.ravel()).reshape(shape)
        sheet.put(balance, content, 1.0)
        sheet.put(balance[:, 1:], content[:, :-1], -1.0)
        sheet.put(balance, charge, -way)
        sheet.put(balance, discharge, 1 / way)
        for rows, column in (
            (sheet.rows(many, net.ravel(), np.inf).reshape(shape), own),
            (sheet.rows(hours, total, np.inf), shared),
            (sheet.rows(hours, total, np.inf), np.where(np.arange(hours) < body, *peaks)),
        ):
            sheet.put(rows, column, 1.0)
            sheet.put(rows, charge, -1.0)
            sheet.put(rows, discharge, 1.0)
        change = np.diff(total, prepend=float(now.meter_kwh.sum()))
        ramp = sheet.rows(hours, change, change)
        sheet.put(ramp, up, 1.0)
        sheet.put(ramp, down, -1.0)
        for sign, moved in ((-1.0, charge), (1.0, discharge)):
            sheet.put(ramp, moved, sign)
            sheet.put(ramp[1:], moved[:, :-1], -sign)
        most = power_kw * (1 + _FALL * _FULL_POWER_TO) - fall * start
        power = sheet.rows(many, -np.inf, most.ravel()).reshape(shape)
        sheet.put(power, charge, 1.0)
        sheet.put(power, discharge, 1.0)
        sheet.put(power[:, 1:], content[:, :-1], fall[:, 1:])
        return _Month(sheet.program(), charge, discharge, content)


class _Month(msgspec.Struct, frozen=True):
    """A program, and where in its columns the answer is: batteries by hours."""

    program: Program
    charge: Index
    discharge: Index
    content: Index
