"""The policies by the names that `taihu score` takes."""

from collections.abc import Callable

from taihu.decide.battery import Battery
from taihu.decide.plan import Certain, Plan
from taihu.decide.policy import BasicRule, Forecast, Greedy, NoBattery, Policy

POLICIES: dict[str, Callable[[Battery, int], Policy]] = {
    "none": NoBattery,
    "basic": BasicRule,
    "greedy": Greedy,
    "forecast": Forecast,
    "mpc": Certain,
    "plan": Plan,
}
