"""Random houses with batteries, and what a plan of theirs costs by the formula of `decide.expected`."""

from collections.abc import Callable

import numpy as np

from taihu.decide.expected import Expected, Prices
from taihu.kernel.arrays import Numbers

HOURS = 24
Case = tuple[Numbers, Numbers, Expected, Prices]  # content, capacity, what is expected, prices


def case(seed: int, count: int, *, ramp: float = 0.1, sure: bool = False) -> Case:
    """Houses that may be anyhow; `sure`: nothing of what is expected has an error."""
    random = np.random.default_rng(seed)
    capacity = random.uniform(2, 12, count)
    net = random.normal(0.5, 1.5, (count, HOURS))
    spread = 0.0 if sure else random.uniform(0.1, 0.8, (count, HOURS))
    total_spread = np.zeros(HOURS) if sure else random.uniform(0.3, 1.5, HOURS)
    expected = Expected(net, 0 * net + spread, total_spread, 0.7 * total_spread, float(net[:, 0].sum()))
    shared = random.uniform(0.1, 0.6, HOURS)
    prices = Prices(random.uniform(0.1, 0.3, HOURS), shared, np.full(HOURS, ramp), 0.5, 6.0, 0.6 * float(shared.mean()))
    return random.uniform(0, 1, count) * capacity, capacity, expected, prices


def cost(
    plan: Numbers, content: Numbers, expected: Expected, prices: Prices, way: float,
    hinge: Callable[[Numbers, Numbers], Numbers],
) -> float:  # fmt: skip
    """With the true jump between charging and discharging; `hinge` is what is above zero, by its mean and error."""
    moved = np.diff(plan, axis=1, prepend=content[:, None])
    energy = np.where(moved >= 0, moved / way, moved * way)
    net = expected.net_kwh + energy
    total = net.sum(axis=0)
    change = np.diff(total, prepend=expected.total_before_kwh)
    ramp = hinge(change, expected.ramp_spread_kwh) + hinge(-change, expected.ramp_spread_kwh)
    return float(
        (prices.own * hinge(net, expected.spread_kwh)).sum()
        + (prices.shared * hinge(total, expected.total_spread_kwh)).sum()
        + (prices.ramp * ramp).sum()
        + prices.peak * hinge(total - prices.peak_level_kwh, expected.total_spread_kwh).sum()
        - prices.end * plan[:, -1].sum()
    )
