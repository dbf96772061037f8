"""A plan drives when it has won on paper, and then no further than what has been stays ahead."""

import msgspec
import numpy as np
import pytest

from taihu.decide.battery import Batteries, Battery
from taihu.decide.caution import Caution, Numbers
from taihu.decide.plan import Plan
from taihu.sim.citylearn import Buildings, evaluate, phases, play

PHASE = phases()["phase_1"]


def part(start: int, count: int, houses: list[int]) -> Buildings:
    here = slice(start, start + count)
    return Buildings(
        PHASE.load_kwh[houses, here], PHASE.solar_kwh[houses, here], PHASE.price[here], PHASE.intensity[here],
        PHASE.hour[here], {lead: made[here] for lead, made in PHASE.published.items()},
    )  # fmt: skip


def spikes(buildings: Buildings) -> Buildings:
    """Loads that nobody could foretell, no PV, one price: nothing to win."""
    load = np.where(np.random.default_rng(3).random(buildings.load_kwh.shape) < 0.03, 10.0, 0.05)
    flat = np.full_like(buildings.price, 0.25)
    none = np.zeros_like(load)
    return msgspec.structs.replace(buildings, load_kwh=load, solar_kwh=none, price=flat, published={})


def test_three_days_are_watched_and_cost_nothing() -> None:
    buildings = part(997, 72, [0, 1, 2])
    assert np.array_equal(play(buildings, Plan), buildings.net_kwh)
    assert evaluate(play(buildings, Plan), buildings).score == 1.0


def test_a_plan_that_wins_drives() -> None:
    buildings = part(0, 168, [0, 1, 2, 3, 4])
    meters = play(buildings, Plan)
    assert np.array_equal(meters[:, :73], buildings.net_kwh[:, :73])
    assert np.abs(meters - buildings.net_kwh)[:, 73:].sum() > 10
    assert evaluate(meters, buildings).score < 0.97


def test_what_cannot_win_does_nothing() -> None:
    buildings = spikes(part(4000, 240, [0, 1]))
    assert evaluate(play(buildings, Plan), buildings).score == 1.0


@pytest.mark.parametrize("name", ["no price", "no intensity", "no load", "constant", "negative prices", "tiny battery"])
def test_no_odd_set_comes_out_more_than_a_hair_worse_than_doing_nothing(name: str) -> None:
    one = part(0, 144, [0, 1])
    ones = np.ones_like(one.load_kwh)
    match name:
        case "no price":
            one = msgspec.structs.replace(one, price=0 * one.price, published={})
        case "no intensity":
            one = msgspec.structs.replace(one, intensity=0 * one.intensity)
        case "no load":
            one = msgspec.structs.replace(one, load_kwh=0 * ones)
        case "constant":
            one = msgspec.structs.replace(one, load_kwh=ones, solar_kwh=0 * ones)
        case "negative prices":
            one = msgspec.structs.replace(one, price=np.where(one.hour == 13, -0.05, one.price), published={})
        case _:
            one = msgspec.structs.replace(one, battery=Battery(capacity_kwh=0.01, power_kw=0.005))
    assert evaluate(play(one, Plan), one).score < 1.005


def test_a_plan_that_begins_to_lose_is_cut() -> None:
    """It wins on paper, then wants the worst of everything: what was saved is not spent on it."""
    buildings, battery = part(0, 336, [0, 1]), Battery()
    caution, batteries = Caution(battery, 2), Batteries(battery, 2)
    from taihu.sim.citylearn import hour_seen

    meters, free = buildings.net_kwh.copy(), buildings.net_kwh.copy()
    alone = Batteries(battery, 2)
    for hour in range(335):
        seen = caution.see(hour_seen(buildings, hour, meters, batteries))
        ahead = buildings.net_kwh[:, hour + 1]
        wanted: Numbers = -ahead if hour < 120 else (5.0 if hour % 2 else -5.0) * np.ones(2)
        told = caution.act(wanted, ahead, float(seen.price), float(seen.intensity))
        meters[:, hour + 1] += batteries.step(told)
        free[:, hour + 1] += alone.step(wanted)
    assert caution.drives
    assert evaluate(free, buildings).score > 1.2
    assert evaluate(meters, buildings).score < 1.02
