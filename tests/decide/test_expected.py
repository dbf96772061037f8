"""The plan of least expected cost: feasible, and no other plan is cheaper."""

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decide import houses
from tests.decide.houses import HOURS, case

from taihu.decide.expected import Expected, ExpectedCostPlan, Prices
from taihu.kernel.arrays import Numbers

WAY = 0.911


def cost(plan: Numbers, content: Numbers, expected: Expected, prices: Prices) -> float:
    """The expected cost of a plan, errors being logistic."""

    def hinge(mean: Numbers, error: Numbers) -> Numbers:
        scale = np.maximum(error / (2 * np.log(2)), 0.03)
        return np.asarray(scale * np.logaddexp(0, mean / scale))

    return houses.cost(plan, content, expected, prices, WAY, hinge)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_a_plan_is_feasible_and_no_neighbour_is_cheaper(seed: int, count: int) -> None:
    content, capacity, expected, prices = case(seed, count)
    plan = ExpectedCostPlan(count, HOURS, WAY).solve(content, capacity, expected, prices)
    assert (plan > 0).all() and (plan < capacity[:, None]).all()
    found = cost(plan, content, expected, prices)
    random = np.random.default_rng(seed)
    for size in (0.02, 0.1, 0.5, 2.0):
        for _ in range(10):
            other = np.clip(plan + size * random.normal(size=plan.shape), 0, capacity[:, None])
            assert cost(other, content, expected, prices) > found - 0.02 * abs(found)
    idle = np.repeat(content[:, None], HOURS, axis=1)
    assert found <= cost(idle, content, expected, prices) + 0.02


def test_a_sure_surplus_is_kept_for_a_sure_deficit() -> None:
    net = np.full((1, HOURS), 0.0)
    net[0, 2:6], net[0, 12:16] = -1.0, 1.0
    sure = np.full(HOURS, 0.05)
    expected = Expected(net, sure[None], sure, sure, 0.0)
    prices = Prices(np.full(HOURS, 0.2), np.full(HOURS, 0.3), np.zeros(HOURS), 0.0, 1.0, 0.0)
    plan = ExpectedCostPlan(1, HOURS, WAY).solve(np.array([0.1]), np.array([10.0]), expected, prices)
    assert plan[0, 5] > 0.9 * 4 * WAY
    assert plan[0, -1] < 0.4


def test_the_next_plan_begins_with_the_last() -> None:
    content, capacity, expected, prices = case(7, 3)
    planner = ExpectedCostPlan(3, HOURS, WAY)
    first = planner.solve(content, capacity, expected, prices)
    again = planner.solve(content, capacity, expected, prices)
    assert abs(cost(again, content, expected, prices) - cost(first, content, expected, prices)) < 1e-2


def test_prices_of_nothing_leave_a_plan() -> None:
    content, capacity, expected, _ = case(8, 2)
    nothing = np.zeros(HOURS)
    plan = ExpectedCostPlan(2, HOURS, WAY).solve(
        content, capacity, expected, Prices(nothing, nothing, nothing, 0.0, 1.0, 0.0)
    )
    assert np.isfinite(plan).all() and (plan >= 0).all() and (plan <= capacity[:, None]).all()


def test_prices_and_houses_of_next_to_nothing_leave_a_plan() -> None:
    content, capacity, expected, prices = case(8, 2)
    nothing = np.full(HOURS, 1e-300)
    least = Prices(nothing, nothing, nothing, 0.0, 1.0, 0.0)
    units = np.array([1.0, 1e-7])
    empty = msgspec.structs.replace(expected, spread_kwh=units[:, None] * expected.spread_kwh, unit_kwh=units)
    for known, paid in ((expected, least), (empty, prices)):
        plan = ExpectedCostPlan(2, HOURS, WAY).solve(content, capacity, known, paid)
        assert np.isfinite(plan).all() and (plan >= 0).all() and (plan <= capacity[:, None]).all()


def test_a_plan_does_not_depend_on_the_size_of_what_is_planned() -> None:
    content, capacity, expected, prices = case(9, 3)
    plan = ExpectedCostPlan(3, HOURS, WAY).solve(content, capacity, expected, prices)
    for size in (1e-4, 100.0):
        larger = Expected(
            size * expected.net_kwh,
            size * expected.spread_kwh,
            size * expected.total_spread_kwh,
            size * expected.ramp_spread_kwh,
            size * expected.total_before_kwh,
            np.full(3, size),
        )
        level = msgspec.structs.replace(prices, peak_level_kwh=size * prices.peak_level_kwh)
        found = ExpectedCostPlan(3, HOURS, WAY).solve(size * content, size * capacity, larger, level)
        assert np.allclose(found, size * plan, rtol=1e-4, atol=1e-4 * size)
