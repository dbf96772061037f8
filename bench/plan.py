"""Plans: how long one takes, for the questions that sites ask, and that none is without an answer."""

import time
from collections.abc import Callable

import msgspec
import numpy as np

from bench.harness import Options, Report, Row
from taihu.decide.controller import Controller, Seen, Setup
from taihu.decide.highs import Solver
from taihu.decide.judge import judge
from taihu.decide.model import Model
from taihu.decide.planner import Method, Planner
from taihu.decide.problem import Asset, Battery, Heat, Job, Load, Meter, Objective, Problem, Solar, Vehicle
from taihu.decide.rule import by_rule
from taihu.kernel.arrays import Numbers
from taihu.kernel.clock import HOUR_NS, NS_PER_S

NAME = "plan"
TAPER = ((0.8, 1.0), (1.0, 0.2))


def run(options: Options) -> Report:
    """Each question again and again with other numbers, as a site that plans every quarter asks it."""
    report = Report(NAME, "Plans: time to answer, cold once and then with other numbers")
    many = 8 if options.smoke else 100
    questions: dict[str, tuple[Callable[[int], Problem], int]] = {
        "5 houses, 24 h": (lambda seed: houses(5, 24, 1.0, seed), 200),
        "5 houses, 24 h, peak and ramp": (lambda seed: houses(5, 24, 1.0, seed, Objective(peak=0.2, ramp=0.02)), 100),
        "17 houses, 24 h": (lambda seed: houses(17, 24, 1.0, seed), 50),
        f"{many} assets, 96 steps": (lambda seed: site(many, seed, linked=False), 5),
        f"{many} assets, 96 steps, demand, peak and ramp": (lambda seed: site(many, seed, linked=True), 5),
        "home with whole numbers, 96 steps": (home, 10),
        "one battery by its curve, 96 steps": (curve, 20),
    }
    for name, (make, times) in questions.items():
        report.rows.append(_timed(name, make, 2 if options.smoke else times))
    report.rows += _controlled(2 if options.smoke else 16)
    for count in (8,) if options.smoke else (20, 40, 100):
        report.rows.append(_park(count, 1.0 if options.smoke else 8.0))
    report.note(
        "ms: wall time of a plan from the question to the reckoned answer, building included; CPU: of this process. "
        "Each question has other loads, prices and contents. No answer is taken from the rule. Parks have 8 s; "
        "above the bound: of the program without whole numbers, which no plan can reach."
    )
    report.note("Goal: 10 ms p50 for 5 houses x 24 h; under 1 s for 100 assets x 96 steps on 2 quiet cores.")
    return report


def _timed(name: str, make: Callable[[int], Problem], times: int) -> Row:
    planner, wall, cpu = Planner(), [], []
    cold = 0.0
    for seed in range(times + 1):
        problem = make(seed)
        began, used = time.perf_counter(), time.process_time()
        plan = planner.plan(problem, 60.0)
        taken = time.perf_counter() - began
        assert plan.method is not Method.RULE, plan.notes
        if seed == 0:
            cold = taken
        else:
            wall.append(taken)
            cpu.append(time.process_time() - used)
    return {
        "question": name, "cold ms": round(1e3 * cold, 1), "p50 ms": round(1e3 * float(np.median(wall)), 1),
        "max ms": round(1e3 * max(wall), 1), "CPU p50 ms": round(1e3 * float(np.median(cpu)), 1),
    }  # fmt: skip


def _controlled(days: int) -> list[Row]:
    """A controller of one battery: its replay of stored days, a day at a time, and then a plan every five minutes."""
    flat = Battery(name="b", capacity_kwh=6.4, content_kwh=0, charge_kw=5, discharge_kw=5, curve=((0, 0.92), (1, 0.92)))
    controller = Controller(Setup(battery=flat, objective=Objective(cost=1.0, carbon=0.1), export_price=0.05))
    clock = np.arange(24 * days) % 24
    load, price = 0.4 + 0.6 * np.exp(-(((clock - 19) / 3) ** 2)), np.where((clock >= 16) & (clock < 21), 0.54, 0.22)
    solar = 4 * np.random.default_rng(1).uniform(0.5, 1, len(clock)) * _sun(clock.astype(np.float64))
    columns = zip(load.tolist(), solar.tolist(), price.tolist(), strict=True)
    seen = [Seen((400_000 + hour) * HOUR_NS, *one, 0.2) for hour, one in enumerate(columns)]
    began, used = time.perf_counter(), time.process_time()
    for day in range(days):
        controller.learn(seen[24 * day : 24 * day + 24])
    replayed: Row = {
        "question": f"a controller's replay of {days} days, 24 h each hour",
        "cold ms": round(1e3 * (time.perf_counter() - began), 1),
        "CPU p50 ms": round(1e3 * (time.process_time() - used), 1),
    }
    wall, cpu = [], []
    for turn in range(20):
        began, used = time.perf_counter(), time.process_time()
        controller.decide(controller.learned_until + turn * 300 * NS_PER_S, 3.0)
        wall.append(1e3 * (time.perf_counter() - began))
        cpu.append(1e3 * (time.process_time() - used))
    return [
        replayed,
        {
            "question": "a controller's plan, 24 h", "cold ms": round(wall[0], 1),
            "p50 ms": round(float(np.median(wall[1:])), 1), "max ms": round(max(wall[1:]), 1),
            "CPU p50 ms": round(float(np.median(cpu[1:])), 1),
        },
    ]  # fmt: skip


def _park(count: int, seconds: float) -> Row:
    """A cold plan of a park within so many seconds, and how far it and the rule are above what none can go below."""
    question = park(count, count)
    began, used = time.perf_counter(), time.process_time()
    plan = Planner().plan(question, seconds)
    taken, cpu = time.perf_counter() - began, time.process_time() - used
    assert plan.method is not Method.RULE, plan.notes
    model = Model([question], (1.0,))
    bound = judge(question, model.powers(Solver().solve(model.program.relaxed(), 60.0).columns)).objective
    ruled = judge(question, by_rule(question)).objective
    return {
        "question": f"park of {count} with whole numbers, peak and ramp, 96 steps, {seconds:g} s: {plan.method}",
        "cold ms": round(1e3 * taken, 1), "CPU p50 ms": round(1e3 * cpu, 1),
        "above the bound %": round(100 * (plan.objective / bound - 1), 1),
        "rule above it %": round(100 * (ruled / bound - 1), 1),
    }  # fmt: skip


def houses(count: int, steps: int, hours: float, seed: int, objective: Objective | None = None) -> Problem:
    """Houses with a battery and PV each, behind meters of their own."""
    rng = np.random.default_rng(seed)
    clock: Numbers = (np.arange(steps) * hours % 24).astype(np.float64)
    price = np.where((clock >= 16) & (clock < 21), 0.54, 0.22)
    meters, assets = [], []
    for index in range(count):
        load = 0.4 + 0.6 * np.exp(-(((clock - 19) / 3) ** 2)) + 0.2 * rng.random(steps)
        net = load - 4 * rng.uniform(0.5, 1) * _sun(clock)
        meters.append(Meter(name=f"m{index}", load_kw=net, import_price=price, export_price=0.2 * price))
        content = float(rng.uniform(0, 6.4))
        assets.append(
            Battery(
                name=f"b{index}", meter=f"m{index}", capacity_kwh=6.4, content_kwh=content, charge_kw=5, discharge_kw=5,
                one_way=0.93, taper=TAPER,
            )
        )  # fmt: skip
    return Problem(
        step_h=np.full(steps, hours), meters=tuple(meters), assets=tuple(assets), objective=objective or Objective(),
        before_kw=1.0,
    )  # fmt: skip


def site(count: int, seed: int, *, linked: bool) -> Problem:
    """A site of batteries, vehicles, heat pumps and PV behind one meter; `linked` has charges for peaks."""
    rng = np.random.default_rng(seed)
    clock = np.arange(96) / 4
    price = np.round(0.2 + 0.1 * np.sin(clock / 24 * 2 * np.pi) + 0.05 * rng.random(96), 4)
    load = 20 + 20 * np.exp(-(((clock - 19) / 3) ** 2)) + 5 * rng.random(96)
    assets: list[Asset] = []
    for index in range(count):
        name, arrives = f"a{index}", int(rng.integers(0, 48))
        need = float(rng.uniform(25, 55))
        assets.append(
            (
                Battery(
                    name=name, capacity_kwh=10, content_kwh=float(rng.uniform(0, 10)), charge_kw=5, discharge_kw=5,
                    taper=TAPER,
                ),
                Vehicle(
                    name=name, capacity_kwh=60, content_kwh=20, charge_kw=11, arrives=arrives, leaves=arrives + 32,
                    needs=((arrives + 32, need),),
                ),
                Heat(
                    name=name, state_c=20, capacity_kwh_per_k=5, loss_kw_per_k=0.2, power_kw=3, cop=3, outside_c=2,
                    low_c=19.5, high_c=22,
                ),
                Solar(name=name, power_kw=5 * _sun(clock)),
            )[index % 4]
        )  # fmt: skip
    meter = Meter(load_kw=load, import_price=price, export_price=0.3 * price, import_max_kw=120.0, export_max_kw=40.0)
    if linked:
        meter = msgspec.structs.replace(meter, demand_price=5.0, demand_seen_kw=60.0)
    return Problem(
        step_h=np.full(96, 0.25), meters=(meter,), assets=tuple(assets), before_kw=30.0,
        objective=Objective(peak=0.5, ramp=0.02) if linked else Objective(),
    )  # fmt: skip


def home(seed: int) -> Problem:
    """A home with all there is: battery, car (1.4 kW at least), heat pump, washing machine, pump and a job."""
    rng = np.random.default_rng(seed)
    clock = np.arange(96) / 4
    price = np.repeat(np.round(rng.uniform(0.05, 0.4, 24), 3), 4)
    assets: tuple[Asset, ...] = (
        Battery(name="battery", capacity_kwh=10, content_kwh=4, charge_kw=5, discharge_kw=5),
        Vehicle(
            name="car", capacity_kwh=60, content_kwh=20, charge_kw=11, minimum_kw=1.4, arrives=20, leaves=60,
            needs=((60, 45.0),),
        ),
        Heat(
            name="heat", state_c=20, capacity_kwh_per_k=5, loss_kw_per_k=0.2, power_kw=3, cop=3, outside_c=2,
            low_c=19.5, high_c=22,
        ),
        Load(name="washer", profile_kw=(2.0, 2.0, 0.5, 0.5), steps=4, earliest=8, latest=80),
        Load(name="pump", profile_kw=(0.8,), steps=16, breaks=True, on_min=4, off_min=2),
        Job(name="batch", energy_kwh=4, power_kw=1.0, deadline=90),
        Solar(name="pv", power_kw=5 * _sun(clock)),
    )  # fmt: skip
    meter = Meter(load_kw=0.3 + 0.5 * rng.random(96), import_price=price, export_price=0.3 * price, import_max_kw=17.0)
    return Problem(step_h=np.full(96, 0.25), meters=(meter,), assets=assets)


def park(count: int, seed: int) -> Problem:
    """Washers, pumps, heat pumps, chargers, batteries, jobs and PV behind one meter; peaks and changes cost."""
    rng = np.random.default_rng(seed)
    clock = np.arange(96) / 4
    price = np.round(0.2 + 0.1 * np.sin(clock / 24 * 2 * np.pi) + 0.05 * rng.random(96), 4)
    load = count * (0.3 + 0.4 * np.exp(-(((clock - 19) / 3) ** 2)) + 0.1 * rng.random(96))
    assets: list[Asset] = []
    for index in range(count):
        name, first = f"a{index}", int(rng.integers(0, 48))
        assets.append(
            (
                Load(
                    name=name, profile_kw=(2.0, 0.5, 0.5, 1.5, 0.3, 0.3), steps=6, earliest=first,
                    latest=first + int(rng.integers(16, 48)),
                ),
                Load(
                    name=name, profile_kw=(float(rng.uniform(0.8, 2.5)),), steps=int(rng.integers(12, 32)), breaks=True,
                    on_min=4, off_min=2,
                ),
                Heat(
                    name=name, state_c=20.5, capacity_kwh_per_k=5, loss_kw_per_k=0.2, power_kw=3, cop=3, outside_c=2,
                    low_c=19.5, high_c=22, minimum_kw=1.0,
                ),
                Vehicle(
                    name=name, capacity_kwh=60, content_kwh=20, charge_kw=11, minimum_kw=4.14, arrives=first,
                    leaves=first + 32, needs=((first + 32, float(rng.uniform(25, 55))),),
                ),
                Battery(
                    name=name, capacity_kwh=10, content_kwh=float(rng.uniform(0, 10)), charge_kw=5, discharge_kw=5,
                    taper=TAPER,
                ),
                Job(
                    name=name, energy_kwh=float(rng.uniform(5, 20)), power_kw=4, minimum_kw=1.5, release=first,
                    deadline=first + 40,
                ),
                Solar(name=name, power_kw=5 * _sun(clock)),
            )[index % 7]
        )  # fmt: skip
    meter = Meter(
        load_kw=load, import_price=price, export_price=0.3 * price, import_max_kw=2.0 * count, export_max_kw=0.5 * count
    )
    return Problem(
        step_h=np.full(96, 0.25), meters=(meter,), assets=tuple(assets), objective=Objective(peak=0.5, ramp=0.02),
        before_kw=float(load[0]),
    )  # fmt: skip


def curve(seed: int) -> Problem:
    """One battery with its efficiency curve: dynamic programming."""
    whole = houses(1, 96, 0.25, seed)
    battery = whole.assets[0]
    assert isinstance(battery, Battery)
    points = ((0.0, 0.911), (0.3, 0.911), (0.7, 0.949), (0.8, 0.949), (1.0, 0.922))
    return msgspec.structs.replace(whole, assets=(msgspec.structs.replace(battery, curve=points),))


def _sun(clock: Numbers) -> Numbers:
    return np.asarray(np.maximum(0.0, np.sin((clock - 6) / 12 * np.pi)))
