"""A plan is followed no further than what has been stays ahead of doing nothing, at whatever hour it ends."""

import msgspec
import numpy as np
import pytest

from taihu.decide.battery import Batteries, Battery
from taihu.decide.caution import Caution, Measures
from taihu.decide.plan import Plan
from taihu.kernel.arrays import Numbers
from taihu.sim.citylearn import Buildings, evaluate, hour_seen, phases, play

PHASE = phases()["phase_1"]
_HAIR = 0.01  # these forecasts are poor; those of the plan are better


def part(start: int, count: int, houses: list[int]) -> Buildings:
    here = slice(start, start + count)
    return Buildings(
        PHASE.load_kwh[houses, here], PHASE.solar_kwh[houses, here], PHASE.price[here], PHASE.intensity[here],
        PHASE.hour[here], {lead: made[here] for lead, made in PHASE.published.items()},
    )  # fmt: skip


def odd(name: str) -> Buildings:
    one = part(0, 110, [0, 1])
    ones, rng = np.ones_like(one.load_kwh), np.random.default_rng(3)
    replace = msgspec.structs.replace
    match name:
        case "no price":
            return replace(one, price=0 * one.price, published={})
        case "no intensity":
            return replace(one, intensity=0 * one.intensity)
        case "no load":
            return replace(one, load_kwh=0 * ones)
        case "constant":
            return replace(one, load_kwh=ones, solar_kwh=0 * ones)
        case "negative prices":
            return replace(one, price=np.where(one.hour == 13, -0.05, one.price), published={})
        case "spikes":
            return replace(one, load_kwh=np.where(rng.random(ones.shape) < 0.03, 10.0, 0.05), solar_kwh=0 * ones)
        case "noise":
            return replace(one, load_kwh=rng.gamma(0.5, 1.6, ones.shape))
        case _:
            return replace(one, battery=Battery(capacity_kwh=0.01, power_kw=0.005))


def driven(buildings: Buildings, wanted_kwh: Numbers) -> Numbers:
    """The score of every beginning of the set, when each hour is expected to be as the hour a day before."""
    net, meters = buildings.net_kwh, buildings.net_kwh.copy()
    caution, batteries = Caution(len(net)), Batteries(buildings.battery, len(net))
    for hour in range(net.shape[1] - 1):
        seen = hour_seen(buildings, hour, meters, batteries)
        caution.see(seen)
        told = caution.act(wanted_kwh[:, hour], net[:, max(0, hour - 23)], seen.price, seen.intensity)
        meters[:, hour + 1] += batteries.step(told)
    kept, scores = Measures.none(), []
    for both, price, intensity in zip(np.array([meters, net]).T, buildings.price, buildings.intensity, strict=True):
        kept = kept.after(both.T, price, intensity)
        scores.append(float(kept.score()))
    return np.array(scores)


def test_two_days_are_watched_and_cost_nothing() -> None:
    buildings = part(997, 48, [0, 1, 2])
    meters = play(buildings, Plan)
    assert np.array_equal(meters, buildings.net_kwh)
    assert evaluate(meters, buildings).score == 1.0


def test_a_plan_that_wins_is_followed() -> None:
    buildings = part(0, 168, [0, 1, 2, 3, 4])
    meters = play(buildings, Plan)
    assert np.abs(meters - buildings.net_kwh)[:, 49:].sum() > 10
    assert evaluate(meters, buildings).score < 0.99


@pytest.mark.parametrize("start", [0, 300])
def test_what_is_kept_is_the_score_at_any_hour(start: int) -> None:
    """Also across blocks of the load factor."""
    buildings = part(start, 760, [1, 2])
    meters = buildings.net_kwh + np.random.default_rng(start).normal(0, 1, buildings.net_kwh.shape)
    kept = Measures.none()
    for hour in range(760):
        both = np.array([meters[:, hour], buildings.net_kwh[:, hour]])
        kept = kept.after(both, buildings.price[hour], buildings.intensity[hour])
        if hour % 70 == 69 or 727 < hour < 735:
            assert kept.score() == pytest.approx(
                evaluate(meters[:, : hour + 1], part(start, hour + 1, [1, 2])).score, abs=1e-12
            )


@pytest.mark.parametrize(
    "name",
    ["no price", "no intensity", "no load", "constant", "negative prices", "spikes", "noise", "tiny battery"],
)
def test_no_odd_set_ends_more_than_a_hair_above_one_wherever_it_is_cut(name: str) -> None:
    """Every beginning of a set is a set: a policy that sees nothing of what is to come has played them all."""
    buildings = odd(name)
    noise = np.random.default_rng(1).normal(0, 0.5, buildings.net_kwh.shape)
    assert driven(buildings, noise - buildings.net_kwh).max() < 1 + _HAIR


def test_a_plan_that_begins_to_lose_is_cut() -> None:
    """It knows the next hour, then wants the worst of everything: no more is spent on it than was won."""
    buildings = part(0, 240, [0, 1])
    wanted = -np.roll(buildings.net_kwh, -1, axis=1)
    wanted[:, 144:] = np.where(np.arange(144, 240) % 2, 5.0, -5.0)
    alone, free = buildings.net_kwh.copy(), Batteries(buildings.battery, 2)
    for hour in range(239):
        alone[:, hour + 1] += free.step(wanted[:, hour])
    scores = driven(buildings, wanted)
    assert evaluate(alone, buildings).score > 1.2
    assert scores.min() < 0.995
    assert scores.max() < 1 + _HAIR
