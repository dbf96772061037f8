"""The long form of the test that a plan always exists and breaches the least: `python -m tests.decide.long [CASES]`."""

import sys
from collections import Counter

from tests.decide.cases import breach_cost, least_breach, random_problem

from taihu.decide.planner import Planner


def main(count: int) -> None:
    """Print what went wrong, and how many of each method and breach there were."""
    planner, methods, kinds, wrong = Planner(), Counter[str](), Counter[str](), 0
    for seed in range(count):
        problem = random_problem(seed, whole=bool(seed % 2))
        plan = planner.plan(problem, 30.0)
        methods[plan.method] += 1
        kinds.update(one.kind for one in plan.breaches)
        if seed % 2 == 0:
            got, least = breach_cost(problem, plan.breaches), least_breach(problem)
            if abs(got - least) > 0.05 + 2e-3 * least:
                wrong += 1
                print(f"case {seed}: breaches cost {got:.3f}, the least is {least:.3f}")
    print(f"{count} cases, {wrong} not the least; {dict(methods)}; breaches {dict(kinds)}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
