"""The language of plans: meters, flexible assets, limits and prices over a horizon of steps.

Steps need not be equal: each has its hours, so a day of 23 or 25 hours is 92 or 100 quarters and nothing more. Power is
kW, the mean of a step, and positive where it is taken from the meter; content is kWh at the end of a step. Every limit
except what physics forbids (below empty, above full, faster than the charger) is soft: it is kept unless nothing can
keep it, and what is breached is named in the plan (§12).
"""

from collections.abc import Iterator
from enum import StrEnum

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from taihu.kernel.arrays import Numbers
from taihu.kernel.errors import RefusedError

Taper = tuple[tuple[float, float], ...]  # (state of charge, share of the power), falling and concave

INF = float("inf")
SWANSON = (0.4, 0.3, 0.3)
"""Probabilities of three futures: the 50, 10 and 90 % quantiles of a forecast.

Source: D. Keefer and S. Bodily, Three-point approximations for continuous random variables, Management Science 29(5),
1983 (Swanson's rule).
"""


class ProblemRefused(RefusedError):
    """A problem contradicts itself in its form: arrays of different lengths, a name twice, a negative capacity."""

    code = "problem"


class Kind(StrEnum):
    """What a plan can breach."""

    GRID = "grid-import"  # kWh above what a meter may take
    FEED_IN = "feed-in"  # kWh above what a meter may give
    GROUP = "group"  # kWh above what a group may take together
    DEPARTURE = "departure"  # kWh that are missing when they are needed
    CHARGE = "charge"  # kWh.h outside the charge that a battery shall keep
    COMFORT = "comfort"  # K.h outside the band of a room or tank
    LATE = "late"  # kWh of a load or job that do not come in their window


class Multiples(msgspec.Struct, frozen=True, kw_only=True):
    """What a unit of each breach costs, as a multiple of the dearest kWh that the problem knows."""

    grid: float = 100.0
    feed_in: float = 100.0
    group: float = 100.0
    departure: float = 50.0
    charge: float = 20.0
    late: float = 50.0


class Objective(msgspec.Struct, frozen=True, kw_only=True):
    """What is made small: a x money + b x kg of CO2 + c x the highest kW + d x the sum of changes in kW."""

    cost: float = 1.0
    carbon: float = 0.0
    peak: float = 0.0
    ramp: float = 0.0


class Meter(msgspec.Struct, frozen=True, kw_only=True):
    """A grid connection: what nobody can move behind it, what it may take and give, and prices (money per kWh).

    `carbon` is kg per kWh imported, `displaced` what a kWh fed in saves elsewhere: as much by a marginal intensity,
    nothing by an average one (§8). A demand charge is money per kW of the highest step, as far as it is above
    `demand_seen_kw`, which this period has seen already.
    """

    name: str = ""
    load_kw: Numbers
    import_price: Numbers
    export_price: Numbers
    carbon: Numbers | None = None
    displaced: Numbers | None = None
    import_max_kw: ArrayLike = INF
    export_max_kw: ArrayLike = INF
    demand_price: float = 0.0
    demand_seen_kw: float = 0.0


class Store(msgspec.Struct, frozen=True, kw_only=True):
    """What holds energy. `one_way` is the efficiency of going in, or out; `wear_price` is money per kWh moved."""

    name: str
    meter: str = ""
    capacity_kwh: float
    content_kwh: float
    charge_kw: float
    discharge_kw: float
    one_way: float = 0.95
    wear_price: float = 0.0

    @property
    def held_kwh(self) -> float:
        """What it holds: what is measured below empty or above full is empty or full."""
        return min(max(0.0, self.content_kwh), self.capacity_kwh)


class Battery(Store, frozen=True, kw_only=True):
    """A store that is always there. `end_price` is what a kWh left at the end is worth; None: taken from the prices.

    `curve` holds one-way efficiencies by share of power, where a plan of this battery alone goes by it exactly;
    otherwise `one_way` holds.
    """

    curve: tuple[tuple[float, float], ...] = ()
    taper: Taper = ()
    low_kwh: float = 0.0
    high_kwh: float = INF
    end_price: float | None = None

    @property
    def band(self) -> tuple[float, float]:
        """Between what it shall keep its content (kWh); where the ends contradict, the upper one holds."""
        high = min(self.high_kwh, self.capacity_kwh)
        return min(self.low_kwh, high), high


class Vehicle(Store, frozen=True, kw_only=True):
    """A car at a charger from step `arrives` until before step `leaves`; what it needs, and by when.

    `needs` are (step, kWh it must hold at that step's beginning), the last one usually at its departure. It charges at
    nothing or at least `minimum_kw`. With `discharge_kw` it may give back (V2G).
    """

    minimum_kw: float = 0.0
    discharge_kw: float = 0.0
    arrives: int = 0
    leaves: int
    needs: tuple[tuple[int, float], ...] = ()

    def due(self, step_h: Numbers) -> list[tuple[int, float]]:
        """Its needs as this horizon sees them, each at its step or the departure, whichever is first.

        What is needed after the horizon is due at its end, less what can still be charged until then.
        """
        found, steps = [], len(step_h)
        for step, need in self.needs:
            at = min(step, self.leaves)
            if at > steps:
                at, need = steps, need - self.one_way * self.charge_kw * float(step_h[-1]) * (at - steps)
            if at > max(0, self.arrives):
                found.append((at, need))
        return found


class Heat(msgspec.Struct, frozen=True, kw_only=True):
    """A heat pump or boiler with a room or tank: one thermal mass that loses to what is around it.

    capacity x change = cop x power + gain - loss x (state - outside), all in kWh of heat, K and kW.
    The state shall stay between `low_c` and `high_c`; a K.h outside costs `comfort_price` money.
    """

    name: str
    meter: str = ""
    state_c: float
    capacity_kwh_per_k: float
    loss_kw_per_k: float
    power_kw: float
    cop: ArrayLike = 1.0
    outside_c: ArrayLike = 20.0
    gain_kw: ArrayLike = 0.0  # sun and people; hot water that is drawn is negative
    low_c: ArrayLike
    high_c: ArrayLike
    comfort_price: float = 1.0
    minimum_kw: float = 0.0


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """A load that runs for `steps` within a window: a washing machine in one go, a pool pump with breaks.

    `profile_kw` is its power step by step; one value holds for all. In one go unless `breaks`; then it stays on or off
    for at least so many steps. `ran` tells that it runs since so many steps: it stays running. An optional load may be
    left out for `skip_price`, unless it was left out on `skip_days_max` days before.
    """

    name: str
    meter: str = ""
    profile_kw: tuple[float, ...]
    steps: int
    earliest: int = 0
    latest: int | None = None
    breaks: bool = False
    on_min: int = 1
    off_min: int = 1
    ran: int = 0
    optional: bool = False
    skip_price: float = 0.0
    skipped_days: int = 0
    skip_days_max: int | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Batch compute: so much energy between release and deadline, at nothing or `minimum_kw` to `power_kw`.

    One that cannot be interrupted is a `Load`. `places` are (name, price, kg per kWh) of sites elsewhere that may
    take a part of it; what runs there is on no meter of this problem.
    """

    name: str
    meter: str = ""
    energy_kwh: float
    power_kw: float
    minimum_kw: float = 0.0
    release: int = 0
    deadline: int
    places: tuple[tuple[str, Numbers, Numbers], ...] = ()


class Solar(msgspec.Struct, frozen=True, kw_only=True):
    """Generation that may be curtailed: up to `power_kw` in each step."""

    name: str
    meter: str = ""
    power_kw: Numbers
    curtailable: bool = True


Asset = Battery | Vehicle | Heat | Load | Job | Solar
_WORTHY = (Battery, Load, Job)  # that may say what a kWh is worth


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Assets, or whole meters, that together take no more than a limit: a feeder, a transformer, a charging park."""

    name: str
    members: tuple[str, ...]
    import_max_kw: ArrayLike = INF


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """All that a plan is made of. `before_kw` is what all meters took just before, from which ramps are counted.

    Without `battery_to_vehicle` batteries serve the meter's own load alone: they neither fill cars nor feed in.
    """

    step_h: Numbers
    meters: tuple[Meter, ...]
    assets: tuple[Asset, ...] = ()
    groups: tuple[Group, ...] = ()
    objective: Objective = Objective()
    multiples: Multiples = Multiples()
    before_kw: float | None = None
    battery_to_vehicle: bool = True

    @property
    def steps(self) -> int:
        """How many steps the horizon has."""
        return len(self.step_h)

    def idle(self) -> dict[str, Numbers]:
        """No power for every asset, and for `job@place` where a job may run elsewhere."""
        places = [f"{job.name}@{place}" for job in self.assets if isinstance(job, Job) for place, _, _ in job.places]
        return {name: np.zeros(self.steps) for name in (*(asset.name for asset in self.assets), *places)}

    def price(self, meter: Meter) -> Numbers:
        """What a kWh imported costs in each step, with the weights of money and CO2."""
        carbon = np.zeros(self.steps) if meter.carbon is None else meter.carbon
        return self.objective.cost * meter.import_price + self.objective.carbon * carbon

    def paid(self, meter: Meter) -> Numbers:
        """What a kWh fed in earns in each step, likewise."""
        displaced = np.zeros(self.steps) if meter.displaced is None else meter.displaced
        return self.objective.cost * meter.export_price + self.objective.carbon * displaced

    @property
    def dearest(self) -> float:
        """The most that a kWh can be worth in any step, demand charge, peak and ramp with it: the unit of breaches."""
        worths = [abs(one) for asset in self.assets if isinstance(asset, _WORTHY) for one in self._worths(asset)]
        for meter in self.meters:
            worths += [np.abs(self.price(meter)).max(), np.abs(self.paid(meter)).max()]
        energy = float(max(worths))
        power = max(self.objective.cost * one.demand_price for one in self.meters)
        power += self.objective.peak + 2 * self.objective.ramp
        wear = max((one.wear_price for one in self.assets if isinstance(one, Store)), default=0.0)
        return max(energy + power / float(self.step_h.min()) + wear, 1e-6)

    def _worths(self, asset: Asset) -> Iterator[float]:
        """What an asset says that a kWh is worth."""
        match asset:
            case Battery(end_price=float() | int() as price):
                yield price
            case Load() if asset.optional and any(asset.profile_kw):
                energy = sum(asset.profile_kw) * asset.steps / len(asset.profile_kw) * float(self.step_h.mean())
                yield asset.skip_price / energy
            case Job():
                for _, money, carbon in asset.places:
                    yield float(np.abs(self.objective.cost * money + self.objective.carbon * carbon).max())


def series(values: ArrayLike | None, steps: int, name: str, *, limit: bool = False) -> Numbers:
    """Values of each step; one value stands for all. A limit may be infinite. Raises ProblemRefused."""
    array = np.asarray(0.0 if values is None else values, np.float64)
    array = np.broadcast_to(array, steps) if array.ndim == 0 else array
    if array.shape != (steps,) or bool(np.isnan(array).any()) or not (limit or bool(np.isfinite(array).all())):
        raise ProblemRefused(f"{name} needs a number for each of {steps} steps.", "Fill what is missing first.")
    return array


def cap(limit: ArrayLike, steps: int) -> Numbers:
    """The most that a meter may take, or give, in each step (kW): where its limit is below zero, nothing."""
    return np.maximum(series(limit, steps, "", limit=True), 0.0)
