"""What the parts of a model share: the sheet, its unit of money, the meters' balances, and what was written of whom."""

from collections.abc import Callable

import msgspec
import numpy as np

from taihu.decide.problem import Asset, Meter, Multiples, Problem
from taihu.decide.sheet import Index, Sheet
from taihu.kernel.arrays import Flags, Numbers

Powers = dict[str, Numbers]

UNIT = 100.0  # of the dearest kWh: ties stay well above the solver's tolerances, even where a peak is dear
_TIE = 1e-4  # of the mean price of a kWh: what moving a kWh early costs less than late, and moving none less than some


class Exact(msgspec.Struct, frozen=True):
    """What is written exactly, and of which stores: all of it at once would make every question slower than it is.

    `one_way` are kept, by whole numbers, from taking and giving at once; `tapered` from charging faster than so full a
    battery takes.
    """

    one_way: frozenset[str] = frozenset()
    tapered: tuple[str, ...] = ()

    def with_(self, other: "Exact") -> "Exact":
        """Both; what is tapered more comes last, so that its rows do."""
        more = tuple(name for name in other.tapered if name not in self.tapered)
        return Exact(self.one_way | other.one_way, self.tapered + more)


NOTHING_EXACT = Exact()


class Frame:
    """One problem on a sheet. Costs are hundredths of the problem's dearest kWh, times the weight of its scenario."""

    def __init__(self, sheet: Sheet, problem: Problem, weight: float, exact: Exact) -> None:
        self.sheet = sheet
        self.exact = exact
        self.problem = problem
        self.scale = UNIT * weight / problem.dearest
        self._breach = UNIT * weight  # a unit of a breach costs so much times its multiple
        self._breaches: list[tuple[Index, Numbers]] = []
        self.prices = {meter.name: problem.price(meter) for meter in problem.meters}
        self.balances: dict[str, Index] = {}
        self.contents: dict[str, list[tuple[Index, float]]] = {}  # of batteries
        self.parts: dict[str, list[tuple[Index, Index, float | Numbers]]] = {}  # steps, columns, their share
        self.elsewhere: dict[str, tuple[Index, Index]] = {}  # steps and columns of what runs at other places
        self.switches: list[tuple[Index, Callable[[Powers], Flags]]] = []
        steps = problem.steps
        mean = float(np.mean([np.abs(price).mean() for price in self.prices.values()])) or problem.dearest
        self._ties = _TIE * mean * self.scale * problem.step_h * (1 + np.arange(steps) / steps)

    @property
    def hours(self) -> Numbers:
        """Hours of each step."""
        return self.problem.step_h

    @property
    def multiples(self) -> Multiples:
        """What breaches cost."""
        return self.problem.multiples

    def tie(self, steps: Index) -> Numbers:
        """The hair's breadth by which early and nothing are cheaper than late and something, for each kW."""
        return self._ties[steps]

    def breach(
        self,
        count: int,
        multiple: float,
        amount: Numbers | float = 1.0,
        *,
        most: float = np.inf,
        money: Numbers | float = 0.0,
    ) -> Index:
        """Columns of what is not kept, a unit of each being `amount` of what the multiple is for, and its money."""
        cost = np.asarray(multiple * self._breach * amount)
        columns = self.sheet.columns(count, 0.0, most, money + cost)
        self._breaches.append((columns, cost))
        return columns

    def breached(self, columns: Numbers) -> float:
        """What all breaches cost."""
        return float(sum(np.sum(cost * columns[which]) for which, cost in self._breaches))

    def balance(self, meter: Meter, sources: list[tuple[Index, float]]) -> None:
        """Write what a meter takes and gives; all that is behind it adds to the same rows."""
        rows = self.sheet.rows(self.problem.steps, meter.load_kw, meter.load_kw)
        for columns, sign in sources:
            self.sheet.put(rows, columns, sign)
        self.balances[meter.name] = rows

    def hold(self, columns: Index, runs: Callable[[Powers], Flags]) -> None:
        """These whole numbers are 1 where powers say so."""
        self.switches.append((columns, runs))

    def power(self, asset: Asset, steps: Index, columns: Index, sign: float = 1.0) -> None:
        """These columns are power (kW) of an asset in these steps."""
        self.sheet.put(self.balances[asset.meter][steps], columns, -sign)
        self.parts.setdefault(asset.name, []).append((steps, columns, sign))
