"""The linear plan: feasible, and by the formula of its costs no other plan is cheaper."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decide import houses
from tests.decide.houses import HOURS, case

from taihu.decide.battery import Batteries, Battery
from taihu.decide.expected import Expected, ExpectedCostPlan, Prices
from taihu.decide.plan import Certain, SolverMissing, terminal_energy
from taihu.kernel.arrays import Numbers

pytest.importorskip("highspy", reason="highspy is not installed (extra plan)")
from taihu.decide.linear import LinearPlan

WAY, POWER = 0.92, 50.0


def cost(plan: Numbers, content: Numbers, expected: Expected, prices: Prices) -> float:
    return houses.cost(plan, content, expected, prices, WAY, lambda mean, error: np.maximum(0, mean))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.sampled_from([0.0, 0.1]))
def test_it_is_feasible_and_no_plan_is_cheaper(seed: int, count: int, ramp: float) -> None:
    content, capacity, expected, prices = case(seed, count, ramp=ramp, sure=True)
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
