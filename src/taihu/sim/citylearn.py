"""The CityLearn challenge 2022, replayed: houses with a battery each, a policy, and the challenge's score.

The action for an hour is decided before it: the policy sees the hours that have ended and nothing else. Load, PV, price
and intensity are the measured and modelled hours of `data/district.parquet`, or of a folder in CityLearn's own layout.

Source: CityLearn 1.3.6, `env.evaluate()` of the 2022 challenge; phases are houses 1 to 5, 6 to 10 and 11 to 17.
"""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from taihu.decide.battery import Batteries, Battery
from taihu.decide.bill import BLOCK_HOURS
from taihu.decide.policy import Hour, Policy
from taihu.kernel.errors import RefusedError
from taihu.sim.district import District

Numbers = NDArray[np.float64]

PHASES = {"phase_1": range(5), "phase_2": range(5, 10), "phase_3": range(10, 17)}
WEIGHTS = {"phase_1": 0.2, "phase_2": 0.3, "phase_3": 0.5}
FORESIGHT = {"phase_1": 0.6305, "phase_2": 0.6373, "phase_3": 0.6621, "weighted": 0.6484}
"""Scores with the year known, by `foresight`: the best that was found, and no proof that nothing is better."""
_AHEAD_HOURS = 24
_LEADS = (6, 12, 24)
_PRICE = "Electricity Pricing [$]"


class DataRefused(RefusedError):
    """A folder is not in CityLearn's layout: the message says what is missing."""

    code = "score-data"


class Buildings(msgspec.Struct, frozen=True):
    """Hours of several buildings: load and PV are kWh, buildings by hours; `hour` is 1 to 24.

    `published` holds price predictions by how many hours ahead they are made, one for each hour they are made in.
    """

    load_kwh: Numbers
    solar_kwh: Numbers
    price: Numbers
    intensity: Numbers
    hour: NDArray[np.int64]
    published: dict[int, Numbers]

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
    """The challenge's score and its parts, each against no battery (1.0); lower is better."""

    score: float
    price: float
    emission: float
    grid: float
    ramping: float
    load_factor: float


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
    battery = Battery()
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
    batteries = Batteries(Battery(), count)
    net, meters = buildings.net_kwh, buildings.net_kwh.copy()
    for hour in range(hours - 1):
        meters[:, hour + 1] += batteries.step(-net[:, hour + 1])
    return meters


def evaluate(meters_kwh: Numbers, buildings: Buildings) -> Score:
    """The score of what the meters saw.

    Price is clipped at the district, emission at each building, as the challenge has it.
    """
    with_it, without = _costs(meters_kwh, buildings), _costs(buildings.net_kwh, buildings)
    price, emission, ramping, load_factor = (one / other for one, other in zip(with_it, without, strict=True))
    grid = (ramping + load_factor) / 2
    return Score((price + emission + grid) / 3, price, emission, grid, ramping, load_factor)


def weighted(scores: dict[str, Score]) -> float:
    """The challenge's weighting of its three phases."""
    return sum(WEIGHTS[name] * one.score for name, one in scores.items())


def captured(label: str, score: float) -> float:
    """Which part of the saving of perfect foresight a score is, of a phase or `weighted`."""
    return (1 - score) / (1 - FORESIGHT[label])


def read_folder(folder: Path) -> Buildings:
    """Buildings of a folder in CityLearn's layout: its schema, and the tables of buildings, prices and intensities.

    Raises:
        DataRefused: a file or column is missing, or their hours differ.
    """
    try:
        schema = msgspec.json.decode((folder / "schema.json").read_bytes())
        loads, solars, hour = [], [], None
        for entry in schema["buildings"].values():
            table = _table(folder / entry["energy_simulation"])
            loads.append(_column(table, "Equipment Electric Power [kWh]"))
            peak_kw = float(entry["pv"]["attributes"]["nominal_power"])
            solars.append(_column(table, "Solar Generation [W/kW]") * peak_kw / 1_000)
            hour = _column(table, "Hour")
        prices = _table(folder / "pricing.csv")
        price = _column(prices, _PRICE)
        names = {lead: f"{lead}h Prediction {_PRICE}" for lead in _LEADS}
        published = {lead: _column(prices, name) for lead, name in names.items() if prices and name in prices[0]}
        intensity = _column(_table(folder / "carbon_intensity.csv"), "kg_CO2/kWh")
    except (OSError, KeyError, TypeError, ValueError, msgspec.DecodeError) as error:
        raise DataRefused(f"{folder} cannot be used: {error!r}.", "Give a folder in CityLearn's layout.") from None
    lengths = {len(one) for one in (*loads, *solars, price, intensity)}
    if hour is None or len(lengths) != 1 or lengths == {0}:
        raise DataRefused(f"{folder} has no building, or files of {sorted(lengths)} hours.", "All need the same hours.")
    return Buildings(np.array(loads), np.array(solars), price, intensity, hour.astype(np.int64), published)


def _costs(meters: Numbers, buildings: Buildings) -> Sequence[float]:
    district = meters.sum(axis=0)
    blocks = np.arange(len(district)) // BLOCK_HOURS
    factors = [1 - part.mean() / part.max() for part in (district[blocks == one] for one in range(blocks[-1] + 1))]
    return (
        float(np.maximum(0, buildings.price * district).sum()),
        float(np.maximum(0, buildings.intensity * meters).sum()),
        float(np.abs(np.diff(district)).sum()),
        float(np.mean(factors)),
    )


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _column(table: list[dict[str, str]], name: str) -> Numbers:
    return np.array([float(row[name]) for row in table], np.float64)
