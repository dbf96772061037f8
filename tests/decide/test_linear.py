"""The linear plan: feasible, and by the formula of its costs no other plan is cheaper."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.decide.battery import Batteries, Battery
from taihu.decide.expected import Expected, ExpectedCostPlan, Prices
from taihu.decide.plan import Certain, SolverMissing, terminal_energy
from taihu.kernel.arrays import Numbers

pytest.importorskip("highspy", reason="highspy is not installed (extra plan)")
from taihu.decide.linear import LinearPlan

HOURS, WAY, POWER = 24, 0.92, 50.0


def case(seed: int, count: int, ramp: float) -> tuple[Numbers, Numbers, Expected, Prices]:
    random = np.random.default_rng(seed)
    capacity = random.uniform(2, 12, count)
    net = random.normal(0.5, 1.5, (count, HOURS))
    none = np.zeros(HOURS)
    expected = Expected(net, np.zeros_like(net), none, none, float(net[:, 0].sum()))
    shared = random.uniform(0.1, 0.6, HOURS)
    prices = Prices(random.uniform(0.1, 0.3, HOURS), shared, np.full(HOURS, ramp), 0.5, 6.0, 0.6 * float(shared.mean()))
    return random.uniform(0, 1, count) * capacity, capacity, expected, prices


def cost(plan: Numbers, content: Numbers, expected: Expected, prices: Prices) -> float:
    moved = np.diff(plan, axis=1, prepend=content[:, None])
    energy = np.where(moved >= 0, moved / WAY, moved * WAY)
    net = expected.net_kwh + energy
    total = net.sum(axis=0)
    change = np.diff(total, prepend=expected.total_before_kwh)
    return float(
        (prices.own * np.maximum(0, net)).sum()
        + (prices.shared * np.maximum(0, total)).sum()
        + (prices.ramp * np.abs(change)).sum()
        + prices.peak * np.maximum(0, total - prices.peak_level_kwh).sum()
        - prices.end * plan[:, -1].sum()
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.sampled_from([0.0, 0.1]))
def test_it_is_feasible_and_no_plan_is_cheaper(seed: int, count: int, ramp: float) -> None:
    content, capacity, expected, prices = case(seed, count, ramp)
    linear = LinearPlan(count, HOURS, WAY, POWER)
    for _ in range(2):  # again from the last basis
        plan = linear.solve(content, capacity, expected, prices)
    assert (plan >= -1e-6).all() and (plan <= capacity[:, None] + 1e-6).all()
    if ramp == 0:  # where no ramp is to be smoothed, energy is not burnt
        assert cost(plan, content, expected, prices) == pytest.approx(linear.cost, abs=1e-6)
    random = np.random.default_rng(seed)
    near = [np.clip(plan + random.normal(0, size, plan.shape), 0, capacity[:, None]) for size in (0.01, 0.2, 2.0)]
    smooth = ExpectedCostPlan(count, HOURS, WAY).solve(content, capacity, expected, prices)
    idle = np.repeat(content[:, None], HOURS, axis=1)
    for other in (smooth, idle, *near):
        assert linear.cost <= cost(other, content, expected, prices) + 1e-6


@given(st.floats(-4, 4))
def test_the_energy_at_the_terminals_moves_what_it_should(moved: float) -> None:
    battery = Battery(capacity_kwh=100.0)
    batteries = Batteries(battery, 1)
    batteries.content_kwh[:] = 50.0
    batteries.step(terminal_energy(np.array([moved]), battery))
    assert batteries.content_kwh[0] - 50.0 == pytest.approx(moved, abs=1e-3)


def test_without_a_solver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taihu.decide.plan.find_spec", lambda name: None)
    with pytest.raises(SolverMissing, match="pip install"):
        Certain(Battery(), 2)
