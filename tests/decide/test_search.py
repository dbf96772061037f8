"""What runs or does not: one asset after the other, soon, within what devices can do and near the best (§12)."""

import threading
from itertools import product
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.decide.alone import respond, violates
from taihu.decide.charge import fill
from taihu.decide.judge import judge
from taihu.decide.loads import skip_cost, steps_max
from taihu.decide.planner import Method, Plan, Planner
from taihu.decide.problem import Battery, Heat, Job, Load, Meter, Objective, Problem, Solar, Vehicle
from taihu.decide.room import Room
from taihu.decide.rule import by_rule
from taihu.kernel.arrays import Numbers
from taihu.kernel.clock import SystemClock

pytest.importorskip("highspy", reason="the extra `plan` is not installed")

LEAST, KW = 4.14, 11.0


def cars(count: int, seed: int, least_kw: float = LEAST) -> tuple[Vehicle, ...]:
    """Cars that come within half a day and need what can be given them within their stay."""
    rng, found = np.random.default_rng(seed), []
    for index in range(count):
        arrives, stays = int(rng.integers(0, 48)), int(rng.integers(12, 40))
        found.append(
            Vehicle(
                name=f"v{index}", capacity_kwh=60, content_kwh=10, charge_kw=KW, minimum_kw=least_kw, one_way=1.0,
                arrives=arrives, leaves=arrives + stays, needs=((arrives + stays, 10 + float(rng.uniform(3, 25))),),
            )
        )  # fmt: skip
    return tuple(found)


def site(assets: Any, seed: int = 0, limit_kw: float = np.inf, steps: int = 96, **more: Any) -> Problem:
    rng = np.random.default_rng(seed)
    price = np.repeat(rng.uniform(0.05, 0.5, steps // 4), 4)
    meter = Meter(
        load_kw=rng.uniform(0, 3, steps), import_price=price, export_price=0.2 * price, import_max_kw=limit_kw
    )
    return Problem(step_h=np.full(steps, 0.25), meters=(meter,), assets=tuple(assets), **more)


def park(count: int, seed: int) -> Problem:
    """Of each kind as many, with a price for the highest kW and for changes."""
    rng = np.random.default_rng(seed)
    sun = 5 * np.maximum(0.0, np.sin((np.arange(96) / 4 - 6) / 12 * np.pi))
    assets: list[Any] = []
    for index in range(count):
        first, name = int(rng.integers(0, 48)), f"a{index}"
        assets.append(
            (
                Load(name=name, profile_kw=(2.0, 0.5, 1.5), steps=3, earliest=first, latest=first + 40),
                Load(name=name, profile_kw=(1.5,), steps=12, breaks=True, on_min=4, off_min=2),
                Heat(
                    name=name, state_c=20.5, capacity_kwh_per_k=5, loss_kw_per_k=0.2, power_kw=3, cop=3, outside_c=2,
                    low_c=19.5, high_c=22, minimum_kw=1.0,
                ),
                msgspec.structs.replace(cars(1, seed + index)[0], name=name),
                Battery(name=name, capacity_kwh=10, content_kwh=5, charge_kw=5, discharge_kw=5),
                Job(name=name, energy_kwh=12, power_kw=4, minimum_kw=1.5, release=first, deadline=first + 40),
                Solar(name=name, power_kw=sun),
            )[index % 7]
        )  # fmt: skip
    return site(assets, seed, 3.0 * count, objective=Objective(peak=0.5, ramp=0.02), before_kw=2.0)


def keep_their_least(question: Problem, plan: Plan) -> bool:
    return all(
        (power < 1e-6) | (power > one.minimum_kw - 1e-6)
        for one in question.assets
        if isinstance(one, Vehicle | Job | Heat)
        for power in plan.powers[one.name]
    )


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 40.0), st.sampled_from([0.0, 2.0, 7.0, 11.0]))
def test_energy_goes_into_the_cheapest_steps_as_far_as_powers_go(seed: int, kwh: float, least: float) -> None:
    rng = np.random.default_rng(seed)
    cost, hours = rng.uniform(0.1, 0.5, 8), np.full(8, 0.5)
    power = fill(cost, np.full(8, KW), np.full(8, least), hours, kwh, 0.0)
    assert all(one == 0 or least - 1e-9 <= one <= KW + 1e-9 for one in power)
    most = max(min(kwh, runs * KW * 0.5) for runs in range(9) if runs * least * 0.5 <= kwh)
    assert power.sum() * 0.5 == pytest.approx(most)
    runs = power > 0
    if least == 0 and runs.any() and not runs.all():
        assert cost[runs].max() <= cost[~runs].min()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_a_load_with_breaks_finds_its_best_pattern(seed: int) -> None:
    """Against all patterns there are, ramps included."""
    rng = np.random.default_rng(seed)
    load = Load(
        name="l", profile_kw=(2.0,), steps=int(rng.integers(1, 6)), earliest=int(rng.integers(0, 3)), breaks=True,
        on_min=int(rng.integers(1, 4)), off_min=int(rng.integers(1, 4)), ran=int(rng.choice([0, 0, 1])),
    )  # fmt: skip
    question = site([load], seed, 4.0, steps=8, objective=Objective(ramp=float(rng.choice([0.0, 0.05]))), before_kw=1.0)
    room = Room(question)

    def cost(power: Numbers) -> float:
        left_out = max(0, load.steps - int((power > 0).sum())) / load.steps
        return float(room.costs("l", "", power)) + skip_cost(question, load) * left_out

    patterns = (np.array(one) * 2.0 for one in product((0, 1), repeat=8))
    best = min(cost(power) for power in patterns if _may(load, power))
    found = respond(question, load, room, room.price(""))
    assert _may(load, found)
    assert cost(found) == pytest.approx(best)


def _may(load: Load, power: Numbers) -> bool:
    on = "1" * load.ran + "".join("1" if kw else "0" for kw in power)
    inside = load.ran > 0 or not power[: load.earliest].any()
    inside = inside and int((power > 0).sum()) <= steps_max(load)
    runs, rests = on.replace("0", " ").split(), on.strip("0").replace("1", " ").split()
    long_enough = all(len(run) >= load.on_min for run in runs[:-1]) and all(len(rest) >= load.off_min for rest in rests)
    last = not runs or len(runs[-1]) >= load.on_min or on.endswith("1")
    return (
        inside
        and long_enough
        and last
        and int((power > 0).sum()) <= max(load.steps, load.on_min)
        and (not load.ran or load.on_min <= load.ran or on[: load.on_min].count("0") == 0)
    )


@pytest.mark.parametrize("seed", range(3))
def test_chargers_behind_a_transformer_with_a_least_power(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All energy, never above the limit, off or at the least, at next to what it costs without a least power."""
    monkeypatch.setattr("taihu.decide.search._SEARCHED_MAX", 0)
    question = site(cars(60, seed), seed, 100.0)
    free = msgspec.structs.replace(question, assets=cars(60, seed, 0.0))
    plan, least = Planner().plan(question, 20.0), Planner().plan(free, 20.0)
    assert plan.breaches == least.breaches == ()
    assert keep_their_least(question, plan)
    assert least.money - 1e-6 <= plan.money <= 1.01 * least.money


@pytest.mark.parametrize(("count", "ramp", "demand", "above"), [(20, 0.0, 10.0, 1.02), (8, 0.05, 0.0, 1.08)])
def test_chargers_with_a_least_power_keep_a_demand_charge_and_ramps_low(
    count: int, ramp: float, demand: float, above: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a search they cost next to what they would without a least power, and the rule a fifth more at least."""
    monkeypatch.setattr("taihu.decide.search._SEARCHED_MAX", 0)
    question, free = (
        site(cars(count, 1, least), count, 12.0 * count, objective=Objective(ramp=ramp)) for least in (LEAST, 0.0)
    )
    question, free = (
        msgspec.structs.replace(one, meters=(msgspec.structs.replace(one.meters[0], demand_price=demand),))
        for one in (question, free)
    )
    plan, bound = (Planner().plan(one, 60.0).objective for one in (question, free))
    assert plan <= above * bound
    assert judge(question, by_rule(question)).objective > 1.2 * bound


def test_a_job_that_is_placed_here_does_not_run_elsewhere_too() -> None:
    """Time may be over before the solver has looked at it again."""
    from taihu.decide.highs import Solver
    from taihu.decide.model import Model
    from taihu.decide.search import Search

    steps = np.ones(4)
    there = ("x", 0.2 * steps, 0.0 * steps)
    job = Job(name="j", energy_kwh=4.0, power_kw=3.0, minimum_kw=2.0, deadline=4, places=(there,))
    question = site([job], 0, np.inf, steps=4)
    cheap = msgspec.structs.replace(
        question.meters[0],
        load_kw=0 * steps,
        import_price=np.array([0.1, 0.4, 0.4, 0.4]),
        demand_price=9.0,
        demand_seen_kw=1.5,
    )
    model = Model([msgspec.structs.replace(question, step_h=steps, meters=(cheap,))], (1.0,))
    loose = Solver().solve(model.program.relaxed(), 20.0)
    powers = Search(SystemClock())._one_by_one(model, loose, np.inf)
    assert powers is not None
    assert sum(float(one.sum()) for one in powers.values()) <= 4.0
    twice = {"j": 2.0 * steps, "j@x": steps}
    assert "j would do more than there is" in judge(model.problem, twice).faults


def test_chargers_that_no_solver_plans_in_time_choose_one_after_the_other() -> None:
    """§12: at the cheapest steps that are left, who can wait least first."""
    question = site(cars(60, 5), 5, 100.0)
    plan, ruled = Planner().plan(question, 0.0), judge(question, by_rule(question))
    assert (plan.method, plan.breaches) == (Method.IN_TURN, ())
    assert keep_their_least(question, plan)
    assert plan.money < 0.95 * ruled.money


def test_one_that_needs_less_than_a_least_step_does_not_keep_the_others_from_a_plan() -> None:
    small = Vehicle(
        name="small", capacity_kwh=0.5, content_kwh=0, charge_kw=KW, minimum_kw=LEAST, leaves=9, needs=((9, 0.5),)
    )
    question = site((*cars(10, 1), small), 1, 60.0)
    plan = Planner().plan(question, 20.0)
    assert [(one.name, round(one.amount, 3)) for one in plan.breaches] == [("small", 0.5)]
    assert plan.method in (Method.BEST, Method.GOOD)


@pytest.mark.parametrize("seed", range(2))
def test_a_park_of_all_kinds_comes_near_its_bound_without_a_search(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the rule is far from it; whole numbers of 21 assets with peak and ramp."""
    from taihu.decide.highs import Solver
    from taihu.decide.model import Model

    monkeypatch.setattr("taihu.decide.search._SEARCHED_MAX", 0)
    question = park(21, seed)
    model = Model([question], (1.0,))
    loose = Solver().solve(model.program.relaxed(), 20.0)
    bound = judge(question, model.powers(loose.columns)).objective
    plan = Planner().plan(question, 60.0)
    assert plan.method is Method.GOOD
    assert keep_their_least(question, plan)
    ruled = judge(question, by_rule(question)).objective
    assert plan.objective - bound <= 0.1 * (ruled - bound)


class _NeverBack(threading.Thread):
    """A search that has found all it can, and does not say so."""

    def join(self, timeout: float | None = None) -> None:
        super().join()

    def is_alive(self) -> bool:
        return True


@pytest.mark.parametrize("begun", [False, True])
def test_a_search_that_is_abandoned_keeps_the_best_it_found(begun: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps every row and every least power, and costs less than what the search began with."""
    from taihu.decide.highs import Outcome, Solver
    from taihu.decide.model import Model

    loads = [
        Load(name=f"l{place}", profile_kw=(2.0, 0.5), steps=2, earliest=place, latest=20 + place) for place in range(3)
    ]
    question = site(loads if begun else [*loads, *cars(1, 3)], 3, 4.0 if begun else 14.0, steps=48)
    model = Model([question], (1.0,))
    program = model.program
    start, best = (Solver().solve(one, 60.0).columns for one in (model.held(by_rule(question)), program))
    monkeypatch.setattr("taihu.decide.highs.threading", SimpleNamespace(Thread=_NeverBack))
    found = Solver().solve(program, 60.0, start if begun else None)
    assert found.outcome is Outcome.GOOD
    assert float(program.cost @ found.columns) == pytest.approx(float(program.cost @ best), rel=2e-3)
    assert not begun or float(program.cost @ found.columns) < float(program.cost @ start) - 1e-3
    sums = np.add.reduceat(program.values * found.columns[program.indices], program.starts[:-1])
    assert np.all((sums >= program.row_lower - 1e-5) & (sums <= program.row_upper + 1e-5))
    assert begun or not violates(question.assets[-1], model.powers(found.columns)["v0"])
