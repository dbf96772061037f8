"""The plan of least expected cost: feasible, and no other plan is cheaper."""

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from taihu.decide.expected import Expected, ExpectedCostPlan, Prices

HOURS = 24
WAY = 0.911
Numbers = NDArray[np.float64]


def cost(plan: Numbers, content: Numbers, expected: Expected, prices: Prices) -> float:
    """The expected cost of a plan by the formula of the module, with the true jump between charging and discharging."""
    moved = np.diff(plan, axis=1, prepend=content[:, None])
    energy = np.where(moved >= 0, moved / WAY, moved * WAY)
    net = expected.net_kwh + energy
    total = net.sum(axis=0)

    def hinge(mean: Numbers, error: Numbers) -> Numbers:
        scale = np.maximum(error / (2 * np.log(2)), 0.03)
        return np.asarray(scale * np.logaddexp(0, mean / scale))

    change = np.diff(total, prepend=expected.total_before_kwh)
    ramp = hinge(change, expected.ramp_spread_kwh) + hinge(-change, expected.ramp_spread_kwh)
    return float(
        (prices.own * hinge(net, expected.spread_kwh)).sum()
        + (prices.shared * hinge(total, expected.total_spread_kwh)).sum()
        + (prices.ramp * ramp).sum()
        + prices.peak * hinge(total - prices.peak_level_kwh, expected.total_spread_kwh).sum()
        - prices.end * plan[:, -1].sum()
    )


def case(seed: int, count: int) -> tuple[Numbers, Numbers, Expected, Prices]:
    random = np.random.default_rng(seed)
    capacity = random.uniform(2, 12, count)
    net = random.normal(0.5, 1.5, (count, HOURS))
    spread = random.uniform(0.1, 0.8, (count, HOURS))
    total_spread = random.uniform(0.3, 1.5, HOURS)
    expected = Expected(net, spread, total_spread, 0.7 * total_spread, float(net[:, 0].sum()))
    shared = random.uniform(0.1, 0.6, HOURS)
    prices = Prices(random.uniform(0.1, 0.3, HOURS), shared, np.full(HOURS, 0.1), 0.5, 6.0, 0.6 * float(shared.mean()))
    return random.uniform(0, 1, count) * capacity, capacity, expected, prices


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
