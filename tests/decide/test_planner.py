"""Plans: one always exists, what it breaches is named and the least possible, and ties go to early and steady (§12)."""

from typing import Any

import msgspec
import numpy as np
import pytest

from taihu.decide.frame import Exact
from taihu.decide.judge import judge
from taihu.decide.model import Model
from taihu.decide.planner import Method, Planner
from taihu.decide.problem import (
    SWANSON,
    Battery,
    Group,
    Heat,
    Job,
    Kind,
    Load,
    Meter,
    Objective,
    Problem,
    ProblemRefused,
    Solar,
    Vehicle,
)
from taihu.decide.sheet import Program
from taihu.kernel.arrays import Numbers
from taihu.kernel.clock import SystemClock

pytest.importorskip("highspy", reason="the extra `plan` is not installed")
PLANNER = Planner()


class Ticks(SystemClock):
    """Time that passes only when it is told to."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def meter(price: Any, load: float = 0.5, **more: Any) -> Meter:
    prices = np.asarray(price, np.float64)
    return Meter(load_kw=np.full(len(prices), load), import_price=prices, export_price=0.1 * prices, **more)


def problem(price: Any, *assets: Any, hours: float = 1.0, load: float = 0.5, **more: Any) -> Problem:
    limits = {name: more.pop(name) for name in list(more) if name in Meter.__struct_fields__}
    return Problem(step_h=np.full(len(price), hours), meters=(meter(price, load, **limits),), assets=assets, **more)


def battery(**more: Any) -> Battery:
    given: dict[str, Any] = {
        "name": "b",
        "capacity_kwh": 10.0,
        "content_kwh": 2.0,
        "charge_kw": 5.0,
        "discharge_kw": 5.0,
    }
    return Battery(**given | more)


def vehicle(need: Any) -> Vehicle:
    return Vehicle(name="v", capacity_kwh=40, content_kwh=10, charge_kw=11, leaves=3, needs=(need,))


def test_the_rule_takes_over_when_the_solver_is_late() -> None:
    plan = Planner().plan(problem(np.linspace(0.1, 0.5, 96), battery(), hours=0.25), 0.0)
    assert plan.method is Method.RULE
    assert "no answer within 0 s" in plan.notes[0]


def test_a_battery_buys_cheap_and_serves_the_dear_hours() -> None:
    plan = PLANNER.plan(problem([0.1] * 4 + [0.5] * 4, battery(content_kwh=0.0, end_price=0.0)))
    assert plan.powers["b"][:4].sum() == pytest.approx(2.0 / 0.95**2, rel=1e-3)
    assert plan.net_kw[""][4:] == pytest.approx(0.0, abs=1e-6)
    assert plan.money == pytest.approx(0.1 * (2.0 + 2.0 / 0.95**2), rel=1e-3)


def test_ties_go_to_early_and_to_nothing() -> None:
    """§12: among equal prices a vehicle charges in the first hours, in one go; a battery without a gain rests."""
    car = Vehicle(name="car", capacity_kwh=50, content_kwh=10, charge_kw=10, leaves=8, needs=((8, 38.5),))
    plan = PLANNER.plan(problem([0.2] * 8, car, battery(end_price=0.0)))
    assert plan.powers["car"] == pytest.approx([10, 10, 10, 0, 0, 0, 0, 0], abs=1e-6)
    flat = problem([0.2] * 8, battery(end_price=0.19))
    assert np.abs(PLANNER.plan(flat).powers["b"]).max() < 1e-6


def test_an_hour_later_the_rest_of_the_plan_stands() -> None:
    """Nothing new is known, so nothing changes: ties do not wander."""
    price = np.array([0.2, 0.2, 0.1, 0.1, 0.3, 0.3, 0.1, 0.2])
    car = Vehicle(name="car", capacity_kwh=50, content_kwh=10, charge_kw=10, leaves=8, needs=((8, 30.0),))
    first = PLANNER.plan(problem(price, car))
    held = 10 + 0.95 * float(first.powers["car"][0])
    later = msgspec.structs.replace(car, content_kwh=held, leaves=7, needs=((7, 30.0),))
    assert PLANNER.plan(problem(price[1:], later)).powers["car"] == pytest.approx(first.powers["car"][1:], abs=1e-6)


def test_what_cannot_be_is_breached_and_named() -> None:
    car = Vehicle(name="car", capacity_kwh=50, content_kwh=10, charge_kw=10, leaves=2, needs=((2, 45.0),))
    plan = PLANNER.plan(problem([0.2] * 4, car, import_max_kw=5.0))
    (breach,) = plan.breaches  # a grid limit weighs more than a departure
    assert (breach.kind, breach.name, breach.last) == (Kind.DEPARTURE, "car", 2)
    assert breach.amount == pytest.approx(45 - 10 - 2 * 4.5 * 0.95)


def test_a_running_load_stays_running_and_a_load_with_breaks_keeps_its_times() -> None:
    wash = Load(name="wash", profile_kw=(2.0, 0.5, 1.0), steps=3, ran=1)
    pump = Load(name="pump", profile_kw=(1.0,), steps=4, breaks=True, on_min=2, off_min=2)
    plan = PLANNER.plan(problem([0.5, 0.5, 0.1, 0.1, 0.5, 0.1, 0.1, 0.5], wash, pump))
    assert plan.powers["wash"] == pytest.approx([2.0, 0.5, 1.0, 0, 0, 0, 0, 0])
    runs = "".join("1" if kw > 0.5 else "0" for kw in plan.powers["pump"])
    assert runs.count("1") == 4
    assert all(len(run) >= 2 for run in runs.strip("0").replace("1", " ").split())  # off in between
    assert all(len(run) >= 2 for run in runs.split("0") if run)


@pytest.mark.parametrize(("skipped", "runs"), [(0, False), (2, True)])
def test_an_optional_load_waits_for_a_cheap_day_but_not_for_ever(skipped: int, runs: bool) -> None:
    pump = Load(
        name="pump", profile_kw=(1.0,), steps=2, optional=True, skip_price=0.2, skipped_days=skipped, skip_days_max=2
    )
    plan = PLANNER.plan(problem([0.5] * 4, pump))
    assert bool(plan.powers["pump"].any()) == runs
    assert plan.breaches == ()


def test_heat_is_stored_before_the_dear_hours() -> None:
    room = Heat(
        name="room", state_c=20, capacity_kwh_per_k=4, loss_kw_per_k=0.2, power_kw=4, cop=3, outside_c=0,
        low_c=19, high_c=22,
    )  # fmt: skip
    plan = PLANNER.plan(problem([0.1] * 6 + [0.6] * 4, room))
    assert plan.content["room"][5] == pytest.approx(22, abs=0.05)
    assert plan.breaches == ()
    assert plan.powers["room"][6:].sum() < plan.powers["room"][:6].sum() / 3


def test_a_job_runs_where_and_when_it_is_clean() -> None:
    job = Job(name="job", energy_kwh=4, power_kw=2, deadline=4, places=(("north", np.full(4, 0.1), np.full(4, 0.02)),))
    plan = PLANNER.plan(problem([0.3, 0.05, 0.3, 0.3], job))
    assert plan.powers["job"] == pytest.approx([0, 2, 0, 0], abs=1e-6)
    assert plan.powers["job@north"].sum() == pytest.approx(2.0)


def test_solar_is_curtailed_at_the_feed_in_limit_only() -> None:
    plan = PLANNER.plan(problem([0.2] * 3, Solar(name="pv", power_kw=np.array([1.0, 5.0, 3.0])), export_max_kw=2.0))
    assert plan.powers["pv"] == pytest.approx([-1.0, -2.5, -2.5])
    assert plan.breaches == ()


def test_without_battery_to_vehicle_no_battery_fills_a_car() -> None:
    car = Vehicle(name="car", capacity_kwh=50, content_kwh=10, charge_kw=5, leaves=2, needs=((2, 19.0),))
    question = problem([0.5, 0.5, 0.01, 0.01], car, battery(content_kwh=10.0), battery_to_vehicle=False)
    assert PLANNER.plan(question).powers["b"].min() >= -0.5 - 1e-6
    assert PLANNER.plan(msgspec.structs.replace(question, battery_to_vehicle=True)).powers["b"].min() < -2


def test_feeding_in_above_the_price_of_taking_is_no_money_machine() -> None:
    """A meter does one of the two at a time, so nothing is bought only to be sold."""
    one = Meter(load_kw=np.ones(3), import_price=np.full(3, 0.2), export_price=np.full(3, 0.5))
    plan = PLANNER.plan(Problem(step_h=np.ones(3), meters=(one,), assets=(battery(content_kwh=0.0, end_price=0.0),)))
    assert plan.money == pytest.approx(judge(Problem(step_h=np.ones(3), meters=(one,)), {}).money, abs=2.0)
    assert plan.method is Method.BEST


def test_a_demand_charge_shaves_the_peak() -> None:
    load = np.array([1.0, 1.0, 8.0, 1.0])
    one = Meter(load_kw=load, import_price=np.full(4, 0.2), export_price=np.zeros(4), demand_price=10.0)
    plan = PLANNER.plan(Problem(step_h=np.ones(4), meters=(one,), assets=(battery(),)))
    assert plan.net_kw[""].max() < 4.0


def test_scenarios_share_their_first_step() -> None:
    """§12: the plan for what is likely hedges against what is not: a first step that suits all quantiles."""
    scenes = [
        Problem(
            step_h=np.ones(4), assets=(battery(content_kwh=0.0, end_price=0.0),),
            meters=(Meter(load_kw=load, import_price=np.array([0.1, 0.5, 0.5, 0.5]), export_price=np.zeros(4)),),
        )
        for load in (np.full(4, 1.0), np.full(4, 0.2), np.full(4, 4.0))
    ]  # fmt: skip
    likely = PLANNER.plan(scenes[0]).powers["b"][0]
    hedged = PLANNER.plan_scenarios(scenes, SWANSON).powers["b"][0]
    assert sum(SWANSON) == pytest.approx(1.0)
    assert hedged == pytest.approx(3.0 / 0.95**2, rel=1e-3) or hedged > likely


@pytest.mark.parametrize("curtailable", [True, False])
def test_more_or_less_sun_in_a_scenario_is_no_decision(curtailable: bool) -> None:
    """§12: nobody is curtailed to what the sun gives at least; what may not be curtailed is planned all the same."""
    scenes = [
        problem([0.1, 0.5, 0.5, 0.5], battery(), Solar(name="pv", power_kw=np.full(4, sun), curtailable=curtailable))
        for sun in (3.0, 1.0, 5.0)
    ]
    plan = PLANNER.plan_scenarios(scenes, (0.4, 0.3, 0.3))
    assert plan.method == Method.BEST
    assert plan.powers["pv"] == pytest.approx(np.full(4, -3.0))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"capacity_kwh": 0.0}, "capacity"),
        ({"content_kwh": float("nan")}, "finite"),
        ({"charge_kw": -1.0}, "negative"),
        ({"meter": "elsewhere"}, "no meter"),
        ({"taper": ((0.8, 1.0),)}, "taper"),
        ({"taper": ((0.8, 1.0), (0.8, 0.2))}, "taper"),
        ({"taper": ((0.0, 1.0), (0.5, 0.2), (1.0, 0.1))}, "taper"),
        ({"curve": ((1.0, 0.9), (0.0, 0.8))}, "curve"),
        ({"curve": ((0.0, float("nan")), (1.0, 0.9))}, "curve"),
    ],
)
def test_a_problem_of_no_form_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ProblemRefused, match=says):
        PLANNER.plan(problem([0.2] * 3, battery(**wrong)))


THREE, NAN = np.ones(3), float("nan")
ANY: Any = [1.0] * 3  # of a type that is wrong
METER = Meter(load_kw=THREE, import_price=THREE, export_price=THREE)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"step_h": [1.0, 1.0, 1.0]}, "step_h is no array"),
        ({"step_h": np.array([1.0, np.inf, 1.0])}, "steps that last"),
        ({"meters": (Meter(load_kw=THREE, import_price=ANY, export_price=THREE),)}, "import_price is no array"),
        ({"meters": (Meter(load_kw=THREE, import_price=THREE, export_price=np.ones(2)),)}, "export_price needs"),
        ({"meters": (msgspec.structs.replace(METER, demand_price=-1.0),)}, "demand_price is negative"),
        ({"before_kw": NAN}, "before_kw"),
        ({"objective": Objective(ramp=-1.0)}, "objective.ramp is negative"),
        ({"assets": (vehicle((3, NAN)),)}, "needs"),
        ({"assets": (vehicle((NAN, 20.0)),)}, "needs"),
        ({"assets": (Solar(name="s", power_kw=ANY),)}, "power_kw is no array"),
        ({"assets": (Load(name="l", profile_kw=(NAN,), steps=2),)}, "a power that is none"),
        ({"assets": (Load(name="l", profile_kw=(1.0, 2.0), steps=2, breaks=True),)}, "breaks and a profile"),
        (
            {"assets": (Job(name="j", energy_kwh=1, power_kw=1, deadline=3, places=(("x", THREE[:2], THREE),)),)},
            "the price of j@x",
        ),
        ({"groups": (Group(name="g", members=("g",), import_max_kw=1.0),)}, "no member 'g'"),
        ({"groups": (Group(name="g", members=("", ""), import_max_kw=1.0),)}, "a member twice"),
        ({"step_h": np.zeros(0)}, "steps that last"),
        ({"meters": (METER, METER)}, "two of ''"),
        ({"meters": (msgspec.structs.replace(METER, import_price=np.array([1.0, NAN, 1.0])),)}, "step 1 has none"),
        ({"meters": (msgspec.structs.replace(METER, load_kw=np.array([1.0, 1.0, 1e12])),)}, "1e\\+12 in step 2"),
        ({"meters": (msgspec.structs.replace(METER, demand_price=1e12),)}, "look at its unit"),
        ({"assets": (Solar(name="pv", power_kw=np.array([1.0, -0.2, 1.0])),)}, "negative in step 1"),
        ({"assets": (msgspec.structs.replace(vehicle((3, 20.0)), arrives=4),)}, "before it arrives"),
        ({"assets": (msgspec.structs.replace(vehicle((3, 20.0)), minimum_kw=12.0),)}, "could never run"),
    ],
)
def test_what_has_no_form_is_refused_before_anything_is_reckoned(wrong: dict[str, Any], says: str) -> None:
    given: dict[str, Any] = {"step_h": THREE, "meters": (METER,)}
    with pytest.raises(ProblemRefused, match=says):
        PLANNER.plan(Problem(**given | wrong))


@pytest.mark.parametrize(
    ("futures", "weights", "says"),
    [
        ((), (), "probability"),
        (((0.2,) * 3, (0.2,) * 3), (1.0,), "probability"),
        (((0.2,) * 3, (0.2,) * 3), (1.0, NAN), "probability"),
        (((0.2,) * 3, (0.2,) * 4), (0.5, 0.5), "Let only numbers differ"),
    ],
)
def test_futures_that_are_none_of_one_problem_are_refused(futures: Any, weights: Any, says: str) -> None:
    with pytest.raises(ProblemRefused, match=says):
        PLANNER.plan_scenarios([problem(price, battery()) for price in futures], weights)


def test_a_plant_in_a_group_is_curtailed_apart_from_others() -> None:
    """What the group needs of its own plant is not lost because another one behind the meter is curtailed."""
    price = np.full(4, 0.2)
    house = Meter(load_kw=np.zeros(4), import_price=price, export_price=0.1 * price, export_max_kw=2.0)
    plants = tuple(Solar(name=name, power_kw=np.full(4, 3.0)) for name in ("own", "other"))
    group = Group(name="g", members=("own",), import_max_kw=-2.5)  # it shall give as much, and the meter takes less
    plan = PLANNER.plan(Problem(step_h=np.ones(4), meters=(house,), assets=plants, groups=(group,)))
    assert sum(one.amount for one in plan.breaches) == pytest.approx(4 * 0.5, abs=1e-3)


def test_what_a_solver_may_take_does_not_grow_with_what_it_took() -> None:
    """§12: a plan that is late is made by the rule, after a year of plans as on the first day."""
    from taihu.decide import highs

    car = Vehicle(name="v", capacity_kwh=60, content_kwh=10, charge_kw=11, minimum_kw=4, leaves=24, needs=((24, 50.0),))
    solver, program = highs.Solver(), Model([problem(np.linspace(0.1, 0.5, 24), car)], (1.0,)).program
    for _ in range(3):
        assert solver.solve(program, 1.0).seconds > 0
        assert solver._highs.getOptions().time_limit == 1.0


def test_a_park_of_chargers_with_a_least_power_is_planned_as_well_as_without() -> None:
    """What runs in the plan without least powers is held to its least: no search, and next to nothing is lost."""
    rng = np.random.default_rng(3)
    cars = []
    for index in range(40):
        arrives, stays = int(rng.integers(0, 48)), int(rng.integers(16, 40))
        need = ((arrives + stays, float(rng.uniform(20, 50))),)
        cars.append(
            Vehicle(
                name=f"v{index}", capacity_kwh=60, content_kwh=10, charge_kw=11, minimum_kw=1.4, arrives=arrives,
                leaves=arrives + stays, needs=need,
            )
        )  # fmt: skip
    price = np.repeat(rng.uniform(0.05, 0.5, 24), 4)
    question = problem(price, *cars, hours=0.25, load=5.0, import_max_kw=120.0)
    plan = Planner().plan(question, 60.0)
    free = tuple(msgspec.structs.replace(car, minimum_kw=0.0) for car in cars)
    least = Planner().plan(msgspec.structs.replace(question, assets=free), 60.0)
    assert (plan.method, plan.breaches) == (Method.BEST, ())
    assert least.money <= plan.money <= 1.002 * least.money
    for car in cars:
        running = plan.powers[car.name][plan.powers[car.name] > 1e-6]
        assert running.min() >= car.minimum_kw - 1e-6


def test_a_search_begins_with_what_was_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job whose energy does not come to the bound when it is rounded is searched, from what was rounded on."""
    from taihu.decide import highs

    started: list[bool] = []
    solve = highs.Solver.solve

    def watch(self: highs.Solver, program: Program, seconds: float, *more: Any) -> highs.Solved:
        started.append(bool(more) and more[0] is not None)
        return solve(self, program, seconds, *more)

    monkeypatch.setattr(highs.Solver, "solve", watch)
    price = np.array([0.1, 0.2, 0.9, 0.9])
    job = Job(name="j", energy_kwh=4.0, power_kw=3.0, minimum_kw=2.0, deadline=4)
    plan = Planner().plan(problem(price, job), 60.0)
    assert plan.breaches == ()
    assert plan.powers["j"].round(3).tolist() == [2.0, 2.0, 0.0, 0.0]  # 3 and 1 cannot be
    assert (plan.method, started) == (Method.BEST, [False, False, True])


def test_a_plan_is_asked_again_only_while_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What time did not allow to be exact is cut to what the battery can do."""
    from taihu.decide import highs

    clock, asked = Ticks(), list[float]()
    solve = highs.Solver.solve

    def slow(self: highs.Solver, program: Program, seconds: float, *more: Any) -> highs.Solved:
        asked.append(seconds)
        clock.now += 1.0
        found = solve(self, program, 60.0, *more)
        return found if seconds > 0 else msgspec.structs.replace(found, outcome=highs.Outcome.NONE)

    monkeypatch.setattr(highs.Solver, "solve", slow)
    question = problem([0.1] * 2 + [0.5] * 6, battery(taper=((0.2, 1.0), (1.0, 0.1))), load=4.0)
    late = Planner(clock).plan(question, 1.0)
    assert late.method is Method.GOOD
    assert asked == pytest.approx([0.9, -0.1])
    assert not judge(question, late.powers).faults
    exact = Planner(clock).plan(question, 2.0)
    assert exact.method is Method.BEST
    assert exact.money <= late.money


def test_an_absent_forecast_is_refused_rather_than_guessed() -> None:
    with pytest.raises(ProblemRefused, match="load_kw"):
        PLANNER.plan(Problem(step_h=np.ones(3), meters=(meter([0.2] * 3, float("nan")),)))


def test_the_same_question_with_other_numbers_is_not_built_again() -> None:
    planner = Planner()
    answers = [planner.plan(problem(np.roll([0.1, 0.3, 0.5, 0.2], shift), battery())) for shift in range(3)]
    fresh = [Planner().plan(problem(np.roll([0.1, 0.3, 0.5, 0.2], shift), battery())) for shift in range(3)]
    for one, other in zip(answers, fresh, strict=True):
        assert one.money == pytest.approx(other.money, rel=1e-6)


def test_rows_that_an_answer_calls_for_are_added_to_the_question() -> None:
    """The solver goes on from its answer, and comes to what it finds when it is asked for all at once."""
    highs = pytest.importorskip("taihu.decide.highs")
    sunny = problem(np.linspace(0.1, 0.4, 6), battery(charge_kw=3.0, taper=((0.5, 1.0), (1.0, 0.1))), load=-8.0)
    solver, exact = highs.Solver(), Exact(tapered=("b",))
    first, whole = Model([sunny], (1.0,)), Model([sunny], (1.0,), exact)
    assert whole.program.extends(first.program)
    assert not first.program.extends(whole.program)
    loose = solver.solve(first.program, 1.0)
    assert first.inexact(loose.columns).tapered == ("b",)
    added = solver.solve(whole.program, 1.0)
    fresh = highs.Solver().solve(whole.program, 1.0)
    assert whole.inexact(added.columns) == Exact()
    assert whole.program.cost @ added.columns == pytest.approx(whole.program.cost @ fresh.columns)
    assert whole.program.cost @ added.columns > first.program.cost @ loose.columns + 1e-6


def test_unequal_steps_are_hours_of_their_own() -> None:
    hours: Numbers = np.array([0.25, 0.5, 1.0, 1.0])
    car = Vehicle(name="car", capacity_kwh=50, content_kwh=0, charge_kw=4, one_way=1.0, leaves=4, needs=((4, 8.0),))
    question = Problem(step_h=hours, meters=(meter([0.1, 0.2, 0.3, 0.4]),), assets=(car,), objective=Objective())
    plan = PLANNER.plan(question)
    assert float(plan.powers["car"] @ hours) == pytest.approx(8.0)
    assert plan.powers["car"] == pytest.approx([4, 4, 4, 1.0], abs=1e-6)
