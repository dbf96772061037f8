"""A controller of one battery: learns from hours as they end, plans a day ahead, is replayed against doing nothing.

The plan is a corridor for each step: the powers between which a fast loop may follow the meter. Dynamic programming
finds it over three quantiles of the forecast. Every hour that ends is also replayed: what the corridor made before it
would have come to, walk-forward, with the load and generation that came. The guard reads that and nothing else.
"""

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from taihu.decide.dynamic import Courses, Path
from taihu.decide.guard import DAYS, Verdict, verdict
from taihu.decide.problem import Battery, Meter, Objective, Problem
from taihu.insight.day import HORIZON, HouseForecast, Outlook, SignalForecast
from taihu.kernel.arrays import Ints, Numbers
from taihu.kernel.clock import HOUR_NS, to_datetime

_QUANTILE = (
    1.6  # of the mean absolute error: where the 10 and 90 % quantiles are, for a normal law as for a Laplace one
)
_WEIGHTS = (0.4, 0.3, 0.3)  # Swanson's rule
_LEVELS = 33
_NEAR_KW = 0.02
_OLD_HOURS = 3
_BEYOND = 3.0  # times the most that was measured: what a forecast may say
_ITSELF = "its own"


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What does not change: the battery, the weights, and what a kWh fed in earns.

    `by_margin`: intensities are marginal, so that what is fed in displaces as much elsewhere (§8).
    """

    battery: Battery
    objective: Objective
    export_price: float = 0.0
    by_margin: bool = False
    zone: str = "UTC"


class Seen(msgspec.Struct, frozen=True):
    """An hour that has ended: kWh of load and generation, the price and the intensity (kg per kWh) of it."""

    start: int
    load_kwh: float
    generation_kwh: float
    price: float
    intensity: float


class Stage(msgspec.Struct, frozen=True):
    """A step of a plan: when, its corridor, what is expected. `content_kwh` is at its end, `net_kw` without battery.

    `net_low_kw` and `net_high_kw` are its 10 and 90 % quantiles.
    """

    start: int
    end: int
    low_kw: float
    high_kw: float
    power_kw: float
    content_kwh: float
    net_kw: float
    price: float
    intensity: float
    net_low_kw: float
    net_high_kw: float


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A plan with its reason. `with_kg` and `without_kg` are expected over the horizon, with control and without.

    `forecast` says who foretold load and generation.
    """

    at: int
    content_kwh: float
    stages: tuple[Stage, ...]
    binding: str
    why: str
    with_money: float
    without_money: float
    with_kg: float
    without_kg: float
    notes: tuple[str, ...] = ()
    forecast: str = ""


class Foreseen(msgspec.Struct, frozen=True):
    """What others foretell of the hours from `start` on: kWh of load less generation, and mean absolute errors.

    NaN where they say nothing; `how` says who they are, or why they say nothing at all.
    """

    start: int
    net_kwh: Numbers
    spread_kwh: Numbers
    how: str


class _Question(msgspec.Struct, frozen=True):
    """What a plan is asked: when its steps are, what is expected of them, and the futures that stand for it.

    `expected` is as a stage has it, from `net_kw` on.
    """

    edges: Ints
    expected: tuple[Numbers, ...]
    futures: tuple[Problem, ...]
    notes: tuple[str, ...]
    forecast: str


class Controller:
    """Give it each hour once, in order, and ask it whenever a plan is wanted."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._zone = ZoneInfo(setup.zone)
        self._forecast = HouseForecast(1)
        self._price, self._intensity = SignalForecast(), SignalForecast()
        self._outlook: Outlook | None = None
        self._foreseen: Foreseen | None = None
        self._most_kwh = 0.0
        self._prices = self._intensities = np.zeros(HORIZON)
        self._last = 0
        self._held = setup.battery.capacity_kwh / 2  # of the battery that is replayed
        self._held_before = self._held
        self._stage: Stage | None = None  # of the replay: the next hour, and what a kWh was worth when it was planned
        self._worth = 0.0
        self._savings: deque[float] = deque(maxlen=DAYS)
        self._day: list[float] = []

    @property
    def learned_until(self) -> int:
        """The end of the last hour that was learned; 0 before any."""
        return self._last + HOUR_NS if self._last else 0

    @property
    def verdict(self) -> Verdict:
        """What the guard says."""
        return verdict(tuple(self._savings))

    def learn(self, hours: Sequence[Seen]) -> list[Stage]:
        """Take over hours: replay each, learn from it, and plan the next one for the replay, which is the answer.

        Many cost less together than one by one, and come to the same. What was learned before is left out.
        """
        new, questions, worths = [], [], []
        for seen in hours:
            if seen.start > self._last:
                self._see(seen)
                new.append(seen)
                questions.append(self._question(seen.start + HOUR_NS))
                worths.append(self._mean_price())
        if not new:
            return []
        courses, stages = Courses([one.futures for one in questions], _WEIGHTS, _LEVELS), []
        for index, (seen, question) in enumerate(zip(new, questions, strict=True)):
            if self._stage is not None and self._stage.start == seen.start:
                self._replay(seen, self._stage)
            stages += self._stages(question, courses.path(index, self._held, 1))
            self._stage, self._worth = stages[-1], worths[index]
        return stages

    def foresee(self, foreseen: Foreseen | None) -> None:
        """From now on these hours are expected as others foretell them, all others as the controller itself does."""
        self._foreseen = foreseen

    def decide(self, now: int, content_kwh: float) -> Decision | None:
        """The plan from now on, with what the battery holds; None before anything was learned."""
        if self._outlook is None:
            return None
        battery = self._setup.battery
        question = self._question(now)
        path = Courses([question.futures], _WEIGHTS, _LEVELS).path(0, min(max(0.0, content_kwh), battery.capacity_kwh))
        stages = self._stages(question, path)
        hours = np.array([(one.end - one.start) / HOUR_NS for one in stages])
        net = np.array([one.net_kw for one in stages])
        both = [self._bill(stages, hours, net + power) for power in (path.power_kw, np.zeros(len(net)))]
        binding, why = explain(stages[0], content_kwh, float(path.worth[0]), self._setup)
        return Decision(
            at=now, content_kwh=content_kwh, stages=tuple(stages), binding=binding, why=why, with_money=both[0][0],
            without_money=both[1][0], with_kg=both[0][1], without_kg=both[1][1], notes=question.notes,
            forecast=question.forecast,
        )  # fmt: skip

    def _see(self, seen: Seen) -> None:
        self._last = seen.start
        self._most_kwh = max(self._most_kwh, seen.load_kwh, seen.generation_kwh)
        hour = self._local(seen.start).hour
        self._outlook = self._forecast.update(hour, np.array([seen.load_kwh]), np.array([seen.generation_kwh]))
        self._prices = self._price.update(hour, seen.price)
        self._intensities = self._intensity.update(hour, seen.intensity)

    def _question(self, now: int) -> _Question:
        """What is known of the day from now on."""
        assert self._outlook is not None
        behind = (now - self.learned_until) // HOUR_NS
        ahead = (max(0, behind) + np.arange(HORIZON)) % HORIZON
        first = now // HOUR_NS * HOUR_NS
        edges = np.concatenate([[now], first + HOUR_NS * np.arange(1, HORIZON + 1)])
        net, spread, how = self._expect(first, self._outlook.net_kwh[0][ahead], self._outlook.spread_kwh[0][ahead])
        spread = _QUANTILE * spread
        price, intensity = self._prices[ahead], self._intensities[ahead]
        futures = tuple(
            Problem(
                step_h=np.diff(edges) / HOUR_NS,
                meters=(
                    Meter(
                        load_kw=net + shift * spread, import_price=price, carbon=intensity,
                        export_price=np.full(HORIZON, self._setup.export_price),
                        displaced=intensity if self._setup.by_margin else None,
                    ),
                ),
                assets=(self._setup.battery,),
                objective=self._setup.objective,
            )
            for shift in (0.0, -1.0, 1.0)
        )  # fmt: skip
        notes = (f"nothing was measured in the last {behind} hours",) if behind >= _OLD_HOURS else ()
        return _Question(edges, (net, price, intensity, net - spread, net + spread), futures, notes, how)

    def _stages(self, question: _Question, path: Path) -> list[Stage]:
        """The stages of a path, as far as it goes."""
        low, high = corridor(question.futures[0], path, self._setup)
        edges, count = question.edges.tolist(), len(path.power_kw)
        rows = zip(low, high, path.power_kw, path.content_kwh, *(one[:count] for one in question.expected), strict=True)
        return [Stage(edges[at], edges[at + 1], *map(float, row)) for at, row in enumerate(rows)]

    def _expect(self, first: int, net: Numbers, spread: Numbers) -> tuple[Numbers, Numbers, str]:
        """The hours from `first` on: as foretold where that is known and not absurd, else as it expects them itself."""
        foreseen = self._foreseen
        if foreseen is None:
            return net, spread, _ITSELF
        places = (first - foreseen.start) // HOUR_NS + np.arange(HORIZON)
        inside = (places >= 0) & (places < len(foreseen.net_kwh))
        told = np.where(inside, foreseen.net_kwh[places * inside], np.nan)
        off = np.where(inside, foreseen.spread_kwh[places * inside], np.nan)
        good = np.abs(told) <= _BEYOND * max(self._most_kwh, 1.0)  # NaN is not
        absurd = int((np.isfinite(told) & ~good).sum())
        if not good.any():
            return net, spread, f"{_ITSELF}: {foreseen.how}" if not absurd else f"{_ITSELF}: what others say is absurd"
        hours = f" in {int(good.sum())} of {HORIZON} hours" if not good.all() else ""
        return np.where(good, told, net), np.where(good & np.isfinite(off), off, spread), foreseen.how + hours

    def _replay(self, seen: Seen, stage: Stage) -> None:
        """What following the corridor through this hour would have come to, against a battery at rest."""
        battery, objective = self._setup.battery, self._setup.objective
        net = seen.load_kwh - seen.generation_kwh
        power = min(max(-net, stage.low_kw), stage.high_kw)
        room = (battery.capacity_kwh - self._held) / battery.one_way
        power = min(max(power, -self._held * battery.one_way, -battery.discharge_kw), room, battery.charge_kw)
        self._held += power * battery.one_way if power > 0 else power / battery.one_way
        unit = objective.cost * seen.price + objective.carbon * seen.intensity
        paid = objective.cost * self._setup.export_price
        paid += objective.carbon * seen.intensity if self._setup.by_margin else 0.0
        cost = [unit * max(one, 0.0) - paid * max(-one, 0.0) for one in (net, net + power)]
        self._day.append(cost[0] - cost[1] - battery.wear_price * abs(power))
        if len(self._day) == 24:
            worth = self._worth * battery.one_way * (self._held - self._held_before)
            self._savings.append(sum(self._day) + min(worth, 0.0))  # what is left over is no saving yet
            self._day, self._held_before = [], self._held

    def _mean_price(self) -> float:
        objective = self._setup.objective
        return float((objective.cost * self._prices + objective.carbon * self._intensities).mean())

    def _bill(self, stages: list[Stage], hours: Numbers, net: Numbers) -> tuple[float, float]:
        taken, given = np.maximum(net, 0) * hours, np.maximum(-net, 0) * hours
        price, intensity = (np.array([getattr(one, name) for one in stages]) for name in ("price", "intensity"))
        emits = taken - given if self._setup.by_margin else taken
        return float(price @ taken - self._setup.export_price * given.sum()), float(intensity @ emits)

    def _local(self, at: int) -> datetime:
        return to_datetime(at).astimezone(self._zone)


def corridor(problem: Problem, path: Path, setup: Setup) -> tuple[Numbers, Numbers]:
    """Between which powers the meter may be followed in each step, by what a kWh in the battery is worth after it.

    Surplus is stored where that is worth more than feeding in, the load served where it is worth less than buying; from
    the grid, or into it, goes what the plan says and no less.
    """
    battery = setup.battery
    stored, given = path.worth * battery.one_way, path.worth / battery.one_way
    steps = slice(len(path.worth))
    buys = problem.price(problem.meters[0])[steps]
    sells = problem.paid(problem.meters[0])[steps]
    high = np.where(stored > sells, battery.charge_kw, 0.0)
    low = np.where(given < buys, -battery.discharge_kw, 0.0)
    from_grid = (stored > buys) & (path.power_kw > _NEAR_KW)
    into_grid = (given < sells) & (path.power_kw < -_NEAR_KW)
    low = np.where(from_grid, path.power_kw, np.where(stored > buys, 0.0, low))
    high = np.where(into_grid, path.power_kw, np.where(given < sells, 0.0, high))
    return np.minimum(low, high), high


def explain(stage: Stage, content_kwh: float, worth: float, setup: Setup) -> tuple[str, str]:
    """What binds in a step, in a word, and the reason in a sentence."""
    battery, objective = setup.battery, setup.objective
    now = objective.cost * stage.price + objective.carbon * stage.intensity
    money = f"a kWh now costs {now:.3f}, one in the battery will save {worth:.3f}"
    if stage.low_kw > _NEAR_KW:
        return "price", f"It charges from the grid: {money}."
    if stage.high_kw < -_NEAR_KW:
        return "price", f"It feeds in from the battery: {money}."
    if content_kwh >= battery.capacity_kwh - _NEAR_KW * battery.capacity_kwh and stage.net_kw < 0:
        return "full", "It is full: surplus goes to the grid."
    if content_kwh <= max(battery.low_kwh, _NEAR_KW * battery.capacity_kwh) and stage.net_kw > 0:
        return "empty", "It is empty: the load is served by the grid."
    if stage.net_kw > 0 and stage.low_kw >= -_NEAR_KW:
        return "worth", f"It keeps what it holds for later: {money}."
    if stage.net_kw < 0 and stage.high_kw <= _NEAR_KW:
        return "worth", f"It leaves room for later: {money}."
    if abs(stage.power_kw) >= 0.99 * (battery.charge_kw if stage.power_kw > 0 else battery.discharge_kw):
        return "power", "It runs at full power."
    return "meter", "It follows the meter: " + ("surplus is stored." if stage.net_kw < 0 else f"{money}.")
