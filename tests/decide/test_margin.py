"""A plan by the marginal intensity: what is fed in displaces as much as what is drawn calls for (§8)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from scipy.optimize import linprog  # type: ignore[import-untyped]
from tests.decide.cases import random_battery, random_problem
from tests.decide.test_controller import SETUP, hours

from taihu.decide.controller import Controller
from taihu.decide.judge import judge
from taihu.decide.planner import Planner
from taihu.decide.problem import Battery, Meter, Objective, Problem
from taihu.kernel.clock import HOUR_NS
from taihu.sim.district import District


@settings(max_examples=30)
@given(st.integers(0, 2_000))
def test_what_is_displaced_is_worth_as_much_as_a_feed_in_price(seed: int) -> None:
    """Whoever plans, kg displaced at b money each are the same as a feed-in that pays it."""
    problem = (random_battery if seed % 2 else random_problem)(seed)
    rng, weights = np.random.default_rng(seed), replace(problem.objective, cost=1.0)
    displaced = [rng.uniform(0, 0.6, problem.steps) for _ in problem.meters]
    pairs = list(zip(problem.meters, displaced, strict=True))
    by_kg = replace(problem, objective=weights, meters=tuple(replace(one, displaced=kg) for one, kg in pairs))
    paid = tuple(replace(one, export_price=one.export_price + weights.carbon * kg) for one, kg in pairs)
    by_money = replace(problem, objective=weights, meters=paid)
    idle = by_kg.idle()
    one, other = judge(by_kg, idle), judge(by_money, idle)
    assert weights.cost * one.money + weights.carbon * one.carbon_kg == pytest.approx(
        weights.cost * other.money + weights.carbon * other.carbon_kg
    )
    assert by_kg.dearest == pytest.approx(by_money.dearest)
    for mine, theirs in zip(by_kg.meters, by_money.meters, strict=True):
        assert by_kg.paid(mine) == pytest.approx(by_money.paid(theirs))


@pytest.mark.parametrize("curve", [(), ((0.0, 0.95), (1.0, 0.95))])
def test_a_measured_day_is_planned_as_well_as_by_an_independent_program(curve: tuple[tuple[float, float], ...]) -> None:
    """House 1 and the grid's hours of the demo's set, taken as marginal: scipy finds no plan that emits less."""
    district, day = District(), slice(24 * 20, 24 * 21)
    house, intensity = district.houses[0], district.carbon[day]
    load, free = house.load[day] - house.solar[day], np.zeros(24)
    battery = Battery(
        name="b", capacity_kwh=6.4, content_kwh=0.0, charge_kw=5.0, discharge_kw=5.0, one_way=0.95, curve=curve,
        end_price=0.0,
    )  # fmt: skip
    meter = Meter(load_kw=load, import_price=free, export_price=free, carbon=intensity, displaced=intensity)
    problem = Problem(step_h=np.ones(24), meters=(meter,), assets=(battery,), objective=Objective(cost=0.0, carbon=1.0))
    plan = Planner().plan(problem)
    held = np.tril(np.ones((24, 24)))
    content = np.hstack([held * 0.95, -held / 0.95])
    best = linprog(
        np.concatenate([intensity, -intensity]),
        A_ub=np.vstack([content, -content]),
        b_ub=np.concatenate([np.full(24, 6.4), np.zeros(24)]),
        bounds=(0.0, 5.0),
    )
    least = float(intensity @ load) + best.fun
    assert best.fun < -0.1  # there is something to gain
    assert plan.carbon_kg == pytest.approx(float(intensity @ (load + plan.powers["b"])))
    assert plan.carbon_kg == pytest.approx(least, rel=0.02 if curve else 1e-3)


def test_with_one_margin_all_day_nothing_is_stored_though_the_average_would() -> None:
    """Storing loses some, and what would have been fed in displaced as much: a shift saves nothing."""
    found = {}
    for by_margin in (False, True):
        controller = Controller(replace(SETUP, by_margin=by_margin))
        days = [replace(seen, intensity=0.2) for seen in hours(36)]
        controller.learn(days)
        decision = controller.decide(days[-1].start + HOUR_NS, 0.0)
        assert decision is not None
        assert (sum(stage.power_kw for stage in decision.stages if stage.power_kw > 0) > 1.0) is not by_margin
        found[by_margin] = decision
    assert found[True].with_kg == pytest.approx(found[True].without_kg)
    assert found[True].without_kg < found[False].without_kg  # the sun is fed in
