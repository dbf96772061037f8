"""What a day of two twins comes to: the money between them, by everything that the objective counts."""

from itertools import pairwise

import msgspec

from taihu.decide.flexible import STEP_NS
from taihu.kernel.clock import HOUR_NS
from taihu.kernel.flexible import SchedulerConfig

HOURS_MIN = 20.0  # of a day, settled, for it to count

Both = tuple[float, float]  # of the twin left alone, and of the planned one


class Follow(msgspec.Struct, frozen=True):
    """Batteries that bring the meter to zero whatever comes: what was planned of each, and what all may (kW)."""

    kw: dict[str, float]
    low_kw: float
    high_kw: float

    def moved(self, net_kw: float) -> float:
        """By how much more they charge, the meter being at `net_kw` with what was planned."""
        planned = sum(self.kw.values())
        return min(max(planned - net_kw, self.low_kw), self.high_kw) - planned


class Slot(msgspec.Struct, frozen=True):
    """What each twin took from `start` to `end` (kW), and what a kWh was expected to cost.

    `used` is the share of the sun let in, `wear` money an hour.
    """

    start: int
    end: int
    kw: Both
    used: Both
    wear: Both
    buys: float
    sells: float
    carbon: float
    follow: Follow | None = None


class Peaks(msgspec.Struct):
    """The highest quarter of this month so far, of both twins."""

    month: str = ""
    kw: Both = (0.0, 0.0)


class Day(msgspec.Struct):
    """A local day from `start` to `end`: what was settled of it, and what the planned twin held more at both ends.

    `seen_kw` is the month's highest quarter before it, of the site itself.
    """

    date: str
    start: int
    end: int
    seen_kw: float = 0.0
    before: float = 0.0
    after: float = 0.0
    hours: float = 0.0
    saved: float = 0.0
    prices: float = 0.0
    dearest: float = 0.0
    short_kwh: float = 0.0
    settled: int = 0
    quarters: dict[int, list[float]] = msgspec.field(default_factory=dict)

    def take(self, slot: Slot, net: Both, price: float, paid: float) -> None:
        """A slot with what both took from their meters (kW), at what a kWh cost and earned."""
        share = (slot.end - slot.start) / HOUR_NS
        alone, planned = (
            share * (price * max(kw, 0.0) - paid * max(-kw, 0.0) + wear)
            for kw, wear in zip(net, slot.wear, strict=True)
        )
        self.hours += share
        self.saved += alone - planned
        self.prices += share * price
        self.dearest = max(self.dearest, price)
        quarter = self.quarters.setdefault(slot.start // STEP_NS, [0.0, 0.0, 0.0])
        for place, value in enumerate((share, share * net[0], share * net[1])):
            quarter[place] += value

    def saving(self, config: SchedulerConfig, peaks: Peaks) -> float | None:
        """What the planned twin saved; None when too little is known of the day. Its peaks go into the month's."""
        if self.hours < HOURS_MIN:
            return None
        nets = [[row[twin] / row[0] for _, row in sorted(self.quarters.items())] for twin in (1, 2)]
        high = [max(net) for net in nets]
        ramp = [sum(abs(later - one) for one, later in pairwise(net)) for net in nets]
        if self.date[:7] != peaks.month:
            peaks.month, peaks.kw = self.date[:7], (self.seen_kw, self.seen_kw)
        alone, planned = (max(one, new) for one, new in zip(peaks.kw, high, strict=True))
        demand = (alone - peaks.kw[0]) - (planned - peaks.kw[1])
        peaks.kw = (alone, planned)
        mean = self.prices / self.hours
        return (
            self.saved
            + config.cost_weight * config.demand_price * demand
            + config.peak_weight * (high[0] - high[1])
            + config.ramp_weight * (ramp[0] - ramp[1])
            + mean * (self.after - self.before)
            - self.dearest * self.short_kwh
        )
