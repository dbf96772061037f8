"""The CityLearn challenge 2022, replayed: houses with a battery each, a policy, and the challenge's score.

The action for an hour is decided before it: the policy sees the hours that have ended and nothing else. Load, PV, price
and intensity are the measured and modelled hours of `data/district.parquet`, or of a folder (`sim.folder`).

Source: CityLearn 1.3.6, `env.evaluate()` of the 2022 challenge; phases are houses 1 to 5, 6 to 10 and 11 to 17.
"""

from collections.abc import Callable

import msgspec
import numpy as np

from taihu.decide.battery import Batteries, Battery
from taihu.decide.bill import BLOCK_HOURS
from taihu.decide.policy import Hour, Policy
from taihu.kernel.arrays import Ints, Numbers
from taihu.kernel.errors import RefusedError
from taihu.sim.district import District

PHASES = {"phase_1": range(5), "phase_2": range(5, 10), "phase_3": range(10, 17)}
WEIGHTS = {"phase_1": 0.2, "phase_2": 0.3, "phase_3": 0.5}
FORESIGHT = {"phase_1": 0.6305, "phase_2": 0.6373, "phase_3": 0.6621, "weighted": 0.6484}
"""Scores with the year known, by `foresight`: the best that was found, and no proof that nothing is better."""
_AHEAD_HOURS = 24
_LEADS = (6, 12, 24)
_NOTHING = 1e-9  # kWh, money, kg or share: what is no more than this is no measure


class DataRefused(RefusedError):
    """Data are not in CityLearn's layout, or hold nothing to score: the message says where and why."""

    code = "score-data"


class Buildings(msgspec.Struct, frozen=True):
    """Hours of several buildings: load and PV are kWh, buildings by hours; `hour` is 1 to 24.

    `published` holds price predictions by how many hours ahead they are made, one for each hour they are made in;
    `notes` say what was filled, left out or taken otherwise than it was given.
    """

    load_kwh: Numbers
    solar_kwh: Numbers
    price: Numbers
    intensity: Numbers
    hour: Ints
    published: dict[int, Numbers]
    battery: Battery = Battery()
    notes: tuple[str, ...] = ()

    @property
    def net_kwh(self) -> Numbers:
        """Load less PV, buildings by hours."""
        return self.load_kwh - self.solar_kwh

    def tariff(self, hour: int) -> Numbers:
        """The next 24 prices as published by the end of `hour`: each as it was predicted last; NaN where it was not."""
        ahead = np.full(_AHEAD_HOURS, np.nan)
        reach = 0
        for lead, made in sorted(self.published.items()):
            for step in range(reach + 1, min(lead, _AHEAD_HOURS) + 1):
                if hour + step - lead >= 0:
                    ahead[step - 1] = made[hour + step - lead]
            reach = lead
        return ahead


class Score(msgspec.Struct, frozen=True):
    """The challenge's score and its parts, each against no battery (1.0); lower is better.

    A part that is nothing without batteries has no measure: it is None, and the score is the mean of the others.
    """

    score: float
    price: float | None
    emission: float | None
    grid: float | None
    ramping: float | None
    load_factor: float | None


def phases() -> dict[str, Buildings]:
    """The three phases of the shipped data."""
    district = District()
    hours = np.arange(len(district.carbon))
    return {
        name: Buildings(
            np.array([district.houses[house].load for house in houses]),
            np.array([district.houses[house].solar for house in houses]),
            district.price,
            district.carbon,
            (hours + 23) % 24 + 1,  # the data begin with hour 24
            {lead: np.append(district.price[lead:], np.full(lead, np.nan)) for lead in _LEADS},
        )
        for name, houses in PHASES.items()
    }


def play(
    buildings: Buildings, make: Callable[[Battery, int], Policy], progress: Callable[[int], None] | None = None
) -> Numbers:
    """A year of a policy: what each building's meter sees (kWh), buildings by hours."""
    battery = buildings.battery
    count, hours = buildings.load_kwh.shape
    policy, batteries = make(battery, count), Batteries(battery, count)
    meters = buildings.net_kwh.copy()
    for hour in range(hours - 1):
        meters[:, hour + 1] += batteries.step(policy.decide(hour_seen(buildings, hour, meters, batteries)))
        if progress is not None and hour % 100 == 0:
            progress(hour)
    return meters


def hour_seen(buildings: Buildings, hour: int, meters_kwh: Numbers, batteries: Batteries) -> Hour:
    """What is known at the end of an hour."""
    return Hour(
        int(buildings.hour[hour]),
        buildings.load_kwh[:, hour],
        buildings.solar_kwh[:, hour],
        meters_kwh[:, hour],
        batteries.content_kwh,
        batteries.capacity_kwh,
        float(buildings.price[hour]),
        float(buildings.intensity[hour]),
        buildings.tariff(hour),
    )


def play_oracle(buildings: Buildings) -> Numbers:
    """Greedy with the true next hour: not causal, a mark of what a reflex within the hour is worth."""
    count, hours = buildings.load_kwh.shape
    batteries = Batteries(buildings.battery, count)
    net, meters = buildings.net_kwh, buildings.net_kwh.copy()
    for hour in range(hours - 1):
        meters[:, hour + 1] += batteries.step(-net[:, hour + 1])
    return meters


def evaluate(meters_kwh: Numbers, buildings: Buildings) -> Score:
    """The score of what the meters saw.

    Price is clipped at the district, emission at each building, as the challenge has it.
    """
    with_it, without = meters_kwh.sum(axis=0), buildings.net_kwh.sum(axis=0)
    price = _part(*(float(np.maximum(0, buildings.price * one).sum()) for one in (with_it, without)))
    each = (meters_kwh, buildings.net_kwh)
    emission = _part(*(float(np.maximum(0, buildings.intensity * one).sum()) for one in each))
    ramping = _part(*(float(np.abs(np.diff(one)).sum()) for one in (with_it, without)))
    load_factor = _part(*_load_factors(with_it, without))
    grid = _mean(ramping, load_factor)
    score = _mean(price, emission, grid)
    if score is None:
        raise DataRefused(
            "There is nothing to score: without batteries nothing is bought, emitted or changed.",
            "Give buildings that use energy, and prices or intensities.",
        )
    return Score(score, price, emission, grid, ramping, load_factor)


def weighted(scores: dict[str, Score]) -> float:
    """The challenge's weighting of its three phases."""
    return sum(WEIGHTS[name] * one.score for name, one in scores.items())


def captured(label: str, score: float) -> float:
    """Which part of the saving of perfect foresight a score is, of a phase or `weighted`."""
    return (1 - score) / (1 - FORESIGHT[label])


def _part(with_it: float, without: float) -> float | None:
    return with_it / without if without > _NOTHING else None


def _mean(*parts: float | None) -> float | None:
    known = [one for one in parts if one is not None]
    return sum(known) / len(known) if known else None


def _load_factors(with_it: Numbers, without: Numbers) -> tuple[float, float]:
    """Means over the blocks of one less mean over peak; a block in which nothing is ever bought has none."""
    cuts = range(BLOCK_HOURS, len(without), BLOCK_HOURS)
    blocks = list(zip(np.split(with_it, cuts), np.split(without, cuts), strict=True))
    blocks = [pair for pair in blocks if min(one.max() for one in pair) > _NOTHING]
    factors = np.array([[1 - one.mean() / one.max() for one in pair] for pair in blocks] or [[0.0, 0.0]])
    return float(factors[:, 0].mean()), float(factors[:, 1].mean())
