"""Steps within hours: they add up to the hours, and the loop in them sees only what has been."""

import msgspec
import numpy as np

from taihu.decide.battery import Batteries, Battery
from taihu.decide.policies import POLICIES
from taihu.sim.citylearn import Buildings, evaluate, phases, play
from taihu.sim.minutes import STEPS, net_steps, play_reflex


def month(hours: int) -> Buildings:
    one = phases()["phase_1"]
    published = {lead: made[:hours] for lead, made in one.published.items()}
    return Buildings(
        one.load_kwh[:3, :hours], one.solar_kwh[:3, :hours], one.price[:hours], one.intensity[:hours],
        one.hour[:hours], published,
    )  # fmt: skip


def test_steps_add_up_to_the_hours() -> None:
    buildings = month(240)
    steps = net_steps(buildings, seed=1)
    assert np.allclose(steps.reshape(3, 240, STEPS).sum(axis=2), buildings.net_kwh, atol=1e-12)
    assert np.array_equal(steps, net_steps(buildings, seed=1))
    night = buildings.solar_kwh == 0
    assert (steps.reshape(3, 240, STEPS)[night] >= 0).all()


def test_a_battery_does_in_steps_what_it_does_in_an_hour() -> None:
    whole, parts = (Batteries(Battery(), 2) for _ in range(2))
    wanted = np.array([2.4, 0.6])
    assert np.allclose(whole.step(wanted), sum(parts.step(wanted / STEPS, 1 / STEPS) for _ in range(STEPS)))
    assert np.allclose(whole.content_kwh, parts.content_kwh)
    assert np.allclose(parts.step(np.array([9.0, -9.0]), 1 / STEPS), [5 / STEPS, -5 / STEPS])


def test_the_reflex_is_better_than_the_plan_alone() -> None:
    buildings = month(200)
    alone = evaluate(play(buildings, POLICIES["plan"]), buildings)
    both = evaluate(play_reflex(buildings), buildings)
    assert both.score < alone.score - 0.02
    assert both.ramping is not None and alone.ramping is not None and both.ramping < alone.ramping


def test_the_reflex_sees_nothing_of_what_is_to_come() -> None:
    buildings = month(130)
    load = buildings.load_kwh.copy()
    load[:, 110:] = load[::-1, 110:] * 1.7 + 0.3
    changed = msgspec.structs.replace(buildings, load_kwh=load)
    taken = [play_reflex(one) - one.net_kwh for one in (buildings, changed)]
    assert np.array_equal(taken[0][:, :110], taken[1][:, :110])
    assert not np.allclose(taken[0][:, 110:], taken[1][:, 110:])
