"""The fast layer: inside caps, charge and corridor; limits held within steps; no swinging, however late a meter is."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.control.contactor import Contactor
from taihu.control.reflex import INF, Bounds, Group, Kind, Reflex, Sun, Unit, corridor, setpoint
from taihu.control.residual import Trace
from taihu.control.taper import Taper
from taihu.kernel.clock import NS_PER_S
from taihu.sim.plant import Plant, Store

KW = st.floats(-20, 20)
LAG = 3  # steps in which the meter shows what was told
DEAD = st.sampled_from([(0, 0, 0), (1, 0, 1), (0, 1, 0), (0, 2, 2), (1, 1, 0), (0, 0, 2), (2, 0, 0), (0, 2, 0)])
FEW = settings(max_examples=25, deadline=None)
BOUNDS = Bounds(lag_s=LAG)
HOLD_H = 10 / 3_600
CAR = Unit(name="car", kind=Kind.VEHICLE, planned_kw=0.0, low_kw=0.0, high_kw=11.0, minimum_kw=1.4, needs=True)
HEAT = Unit(name="heat", kind=Kind.HEAT, planned_kw=2.0, low_kw=0.0, high_kw=3.0)
JOB = Unit(name="job", kind=Kind.JOB, planned_kw=1.0, low_kw=0.0, high_kw=1.0)


def store(held: float = 5.0, power: float = 5.0, capacity: float = 10.0) -> Store:
    return Store(capacity, power, held)


def battery(name: str, one: Store, planned: float = 0.0) -> Unit:
    low, high = corridor((-one.power_kw, one.power_kw), one.held_kwh, (0.0, one.capacity_kwh), one.one_way, HOLD_H)
    room = one.capacity_kwh - one.held_kwh
    return Unit(
        name=name, kind=Kind.BATTERY, planned_kw=planned, low_kw=low, high_kw=high, room_kwh=room, held_kwh=one.held_kwh
    )  # fmt: skip


class Turn(msgspec.Struct):
    """What was seen and decided in a step."""

    units: Sequence[Unit]
    wanted: dict[str, float]
    held: dict[str, float]


def play(
    plant: Plant, reflex: Reflex, steps: int, others: Sequence[Unit] = (), suns: Sequence[Sun] = (), *,
    zero: bool = True, peak_kw: float = INF, noise: Callable[[int], float] = lambda step: 0.0,
) -> list[Turn]:  # fmt: skip
    """So many steps of a plant and its fast layer."""
    turns, wanted = [], {one.name: 0.0 for one in others}
    for step in range(steps):
        plant.step(wanted)
        now = (step + 1) * NS_PER_S
        units = [*(battery(name, one) for name, one in plant.stores.items()), *others]
        for name in [*(one.name for one in units), *(one.name for one in suns)]:
            reflex.read(now, name, now, plant.says(name))
        wanted = reflex.turn(now, (now, plant.meter() + noise(step)), units, suns, zero=zero, peak_kw=peak_kw)
        for name, kw in wanted.items():
            reflex.tell(now, name, kw)
        turns.append(Turn(units, wanted, {name: one.held_kwh for name, one in plant.stores.items()}))
    return turns


@given(KW, KW, KW)
def test_a_setpoint_stays_in_its_corridor(load: float, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert low - 0.01 <= setpoint(load, low, high) <= high + 0.01


@FEW
@given(KW, KW, DEAD)
def test_a_load_that_changes_is_followed_once_and_never_passed(
    before: float, after: float, dead: tuple[int, int, int]
) -> None:
    """However late the meter is within its lag: no swinging, and exact within a lag and a step."""
    act, late, own = dead
    plant = Plant([before] * 15 + [after] * 15, {"b": store(50.0, 20.0, 100.0)}, act=act, late=late, own=own)
    turns = play(plant, Reflex(BOUNDS), 30)
    low, high = sorted((-before, -after))
    told = [turn.wanted["b"] for turn in turns]
    assert all(low - 1e-6 <= kw <= high + 1e-6 for kw in told)
    moves = [later - one for one, later in pairwise(told[14:])]
    assert all(move * (before - after) >= -1e-6 for move in moves)
    for net in (*plant.nets_kw[3 + LAG : 15], *plant.nets_kw[16 + LAG :]):
        assert net == pytest.approx(0.0, abs=1e-6)


def test_what_was_read_as_it_was_told_is_from_before() -> None:
    trace = Trace(lag_ns=8)
    trace.read(100, 100, 1.0)
    trace.tell(100, 5.0)
    assert trace.between(104) == (1.0, 5.0)
    trace.read(110, 110, 5.0)
    assert trace.between(110) == (5.0, 5.0)


@FEW
@given(st.lists(st.floats(-0.2, 0.2), min_size=40, max_size=40), DEAD)
def test_noise_is_not_made_more(noise: list[float], dead: tuple[int, int, int]) -> None:
    act, late, own = dead
    plant = Plant([3.0] * 40, {"b": store(50.0, 20.0, 100.0)}, act=act, late=late, own=own)
    turns = play(plant, Reflex(BOUNDS), 40, noise=noise.__getitem__)
    assert all(abs(turn.wanted["b"] + 3.0) <= 0.2 + 1e-6 for turn in turns[LAG:])


@FEW
@given(st.lists(st.floats(-12, 12), min_size=60, max_size=60), DEAD, st.floats(0, 10), st.floats(0, 20), st.booleans())
def test_caps_charge_and_direction_are_kept_whatever_comes(
    loads: list[float], dead: tuple[int, int, int], one: float, other: float, own_load_only: bool
) -> None:
    """Batteries of different sizes: inside the corridor, none charges another, and charges come no further apart."""
    act, late, own = dead
    plant = Plant(
        loads, {"a": store(one), "b": store(other, 10.0, 20.0)}, act=act, late=late, own=own, step_s=10.0
    )  # fmt: skip
    bounds = msgspec.structs.replace(BOUNDS, battery_to_vehicle=not own_load_only, import_max_kw=8.0)
    charger = Contactor(1.4, 0.1, 5 * NS_PER_S, 5 * NS_PER_S)
    turns = play(plant, Reflex(bounds, {"car": charger}), 60, (CAR, HEAT, JOB))
    for turn in turns:
        for unit in turn.units:
            assert unit.low_kw - 1e-9 <= turn.wanted[unit.name] <= unit.high_kw + 1e-9
        assert turn.wanted["a"] * turn.wanted["b"] >= 0
        assert turn.wanted["car"] == 0 or turn.wanted["car"] >= 1.4
    apart = [abs(turn.held["a"] / 10 - turn.held["b"] / 20) for turn in turns]
    assert all(later <= before + 1e-3 for before, later in pairwise(apart[4:]))


@FEW
@given(st.floats(0, 9.5), st.floats(0, 9.5), DEAD, st.booleans())
def test_a_limit_is_held_within_steps_in_the_stated_order(
    before: float, after: float, dead: tuple[int, int, int], has_battery: bool
) -> None:
    act, late, own = dead
    stores = {"b": store(5.0, 1.0)} if has_battery else {}
    plant = Plant([before] * 20 + [after] * 20, stores, act=act, late=late, own=own)
    car = msgspec.structs.replace(CAR, planned_kw=5.0)
    reflex = Reflex(msgspec.structs.replace(BOUNDS, import_max_kw=10.0))
    turns = play(plant, reflex, 40, (HEAT, JOB, car), zero=False)
    for net in (*plant.nets_kw[5 + 2 * LAG : 20], *plant.nets_kw[21 + 2 * LAG :]):
        assert net <= 10.0 + 1e-6
    for turn in (turns[19], turns[-1]):
        given_way = [turn.wanted.get("b", -1.0) <= -1.0 + 1e-9, turn.wanted["job"] == 0, turn.wanted["car"] == 0]
        assert turn.wanted["job"] == 1.0 or given_way[0]
        assert turn.wanted["car"] == 5.0 or all(given_way[:2])
        assert turn.wanted["heat"] == 2.0 or all(given_way)


def test_a_group_is_held_with_what_others_of_it_take() -> None:
    reflex = Reflex(msgspec.structs.replace(BOUNDS, groups=(Group(("car", "heat", "sauna"), 9.0),)))
    reflex.read(NS_PER_S, "sauna", NS_PER_S, 3.0)
    car = msgspec.structs.replace(CAR, planned_kw=7.0)
    assert reflex.turn(NS_PER_S, None, [HEAT, car]) == {"heat": 2.0, "car": 4.0}


@FEW
@given(st.floats(0, 8), st.floats(0, 5), st.floats(0, 4), DEAD)
def test_a_feed_in_limit_is_held_and_no_more_is_curtailed_than_it_asks(
    sun: float, load: float, limit: float, dead: tuple[int, int, int]
) -> None:
    act, late, own = dead
    plant = Plant([load] * 50, {}, {"pv": [0.0] * 10 + [sun] * 40}, act=act, late=late, own=own)
    reflex = Reflex(msgspec.structs.replace(BOUNDS, export_max_kw=limit))
    play(plant, reflex, 50, suns=(Sun(name="pv", power_kw=8.0, planned_kw=8.0),), zero=False)
    for net in plant.nets_kw[11 + 2 * LAG :]:
        assert net >= -limit - 1e-6
        assert net == pytest.approx(max(load - sun, -limit), abs=1e-6)


def test_a_battery_finds_the_sun_that_was_curtailed_and_a_car_takes_what_it_leaves() -> None:
    """Zero feed-in hides the sun from whoever follows the meter: a little more is let in, until there is none."""
    plant = Plant([1.0] * 400, {"b": store(1.0, 2.0)}, {"pv": [7.0] * 400})
    charger = Contactor(1.4, 0.1, 60 * NS_PER_S, 60 * NS_PER_S)
    reflex = Reflex(msgspec.structs.replace(BOUNDS, export_max_kw=0.0), {"car": charger})
    turns = play(plant, reflex, 400, (CAR,), (Sun(name="pv", power_kw=8.0, planned_kw=8.0),))
    assert turns[-1].wanted["b"] == pytest.approx(2.0)
    assert turns[-1].wanted["car"] == pytest.approx(4.0, abs=0.11)
    tried = sum(net > 0.11 for net in plant.nets_kw[100:])
    assert max(plant.nets_kw) < 0.9
    assert tried <= 300 * 4 / 60  # what was tried in vain


def test_a_car_follows_the_sun_in_steps_and_is_seldom_switched() -> None:
    """A cloud shorter than its least time does not switch it off; no battery fills it."""
    suns = [5.0 if (step // 30) % 2 == 0 else 1.2 for step in range(600)]
    plant = Plant([1.0] * 600, {"b": store(0.0, 2.0)}, {"pv": suns})
    bounds = msgspec.structs.replace(BOUNDS, battery_to_vehicle=False)
    charger = Contactor(1.4, 0.5, 180 * NS_PER_S, 60 * NS_PER_S)
    turns = play(plant, Reflex(bounds, {"car": charger}), 600, (CAR,))
    powers = [turn.wanted["car"] for turn in turns]
    assert {round(kw, 6) for kw in powers} <= {0.0, 1.4, 1.9}
    switched = sum((one > 0) != (other > 0) for one, other in pairwise(powers))
    assert 1 <= switched <= 6
    assert min(turn.wanted["b"] for turn in turns) >= 0.0


@given(KW, st.integers(0, 200))
def test_a_meter_that_says_nothing_leaves_the_plan(net: float, age: int) -> None:
    reflex = Reflex(msgspec.structs.replace(BOUNDS, meter_age_s=60.0))
    unit = battery("b", store(), planned=1.5)
    reflex.turn(NS_PER_S, (NS_PER_S, net), [unit], zero=True)
    now = (1 + age) * NS_PER_S
    wanted = reflex.turn(now, (NS_PER_S, net), [unit], zero=True)["b"]
    assert wanted == (pytest.approx(min(max(-net, -5.0), 5.0)) if age <= 60 else 1.5)
    assert reflex.turn(now, None, [unit], zero=True) == {"b": 1.5}


@FEW
@given(st.lists(KW, min_size=5, max_size=30))
def test_the_same_turns_give_the_same_answers(loads: list[float]) -> None:
    def once() -> list[dict[str, float]]:
        plant = Plant(loads, {"a": store(), "b": store(2.0)}, {"pv": [4.0] * len(loads)}, late=1)
        reflex = Reflex(msgspec.structs.replace(BOUNDS, import_max_kw=5.0, export_max_kw=1.0))
        return [
            turn.wanted
            for turn in play(plant, reflex, len(loads), (CAR, JOB), (Sun(name="pv", power_kw=5.0, planned_kw=5.0),))
        ]

    assert once() == once()


@given(KW, KW)
def test_more_at_the_meter_is_never_more_for_the_batteries(net: float, more: float) -> None:
    units = [battery("a", store()), battery("b", store(1.0))]
    first, second = (Reflex(BOUNDS).turn(NS_PER_S, (NS_PER_S, one), units, zero=True) for one in sorted((net, more)))
    assert all(second[name] <= first[name] + 1e-9 for name in first)


def test_what_is_needed_in_time_is_not_taken_from_a_car() -> None:
    reflex = Reflex(BOUNDS)
    late = msgspec.structs.replace(CAR, planned_kw=7.0, least_kw=6.0)
    assert reflex.turn(NS_PER_S, (NS_PER_S, 5.0), [late], zero=True) == {"car": 6.0}
    assert INF > reflex.turn(2 * NS_PER_S, (2 * NS_PER_S, -9.0), [late], zero=True)["car"] > 7.0


@FEW
@given(st.lists(st.floats(0, 12), min_size=6, max_size=6), DEAD, st.floats(1, 8))
def test_the_mean_of_an_interval_is_held_under_its_peak_by_batteries_alone(
    loads: list[float], dead: tuple[int, int, int], peak_kw: float
) -> None:
    """What was taken too little may be taken later, too much is made up for; a battery does no more than that."""
    act, late, own = dead
    seconds, steps = 30, [load for load in loads for _ in range(15)]
    plant = Plant(steps, {"b": store(50.0, 20.0, 100.0)}, act=act, late=late, own=own)
    bounds = msgspec.structs.replace(BOUNDS, demand_s=seconds)
    seen: list[float] = []

    def noise(step: int) -> float:
        seen.append(plant.meter())
        return 0.0

    turns = play(plant, Reflex(bounds), len(steps), (HEAT,), zero=False, peak_kw=peak_kw + HEAT.planned_kw, noise=noise)
    for begin in (seconds - 1, 2 * seconds - 1):  # the reading of a full interval's first second has the place before
        mean = sum(seen[begin : begin + seconds]) / seconds
        lost = max(loads) * (2 * LAG + 2) / seconds if min(loads[1:]) < max(loads) else 0.0
        assert mean <= peak_kw + HEAT.planned_kw + lost + 1e-6
    assert all(turn.wanted["heat"] == HEAT.planned_kw and turn.wanted["b"] <= 1e-9 for turn in turns)
    if max(loads) <= peak_kw:
        assert all(turn.wanted["b"] == 0.0 for turn in turns[LAG:])


@FEW
@given(st.floats(0.5, 12), DEAD, st.floats(0.5, 8))
def test_a_load_above_the_peak_is_brought_to_it_without_swinging(
    load: float, dead: tuple[int, int, int], peak_kw: float
) -> None:
    act, late, own = dead
    plant = Plant([load] * 60, {"b": store(50.0, 20.0, 100.0)}, act=act, late=late, own=own)
    bounds = msgspec.structs.replace(BOUNDS, demand_s=30)
    turns = play(plant, Reflex(bounds), 60, zero=False, peak_kw=peak_kw)
    told = [turn.wanted["b"] for turn in turns]
    over = max(0.0, load - peak_kw)
    assert told[30:] == pytest.approx([-over] * 30, abs=0.5 * over + 1e-6)
    assert told[36:58] == pytest.approx([told[36]] * 22, abs=1e-3)


def test_a_switched_load_is_shed_last_and_not_before_it_may_be() -> None:
    washer = Unit(name="washer", kind=Kind.LOAD, planned_kw=2.0, low_kw=0.0, high_kw=2.0, minimum_kw=2.0)
    bounds = msgspec.structs.replace(BOUNDS, import_max_kw=5.0)
    contactor = Contactor(2.0, 0.1, on_ns=20 * NS_PER_S, off_ns=10 * NS_PER_S)
    plant = Plant([0.5] * 10 + [4.0] * 30 + [0.5] * 30, {})
    turns = play(plant, Reflex(bounds, {"washer": contactor}), 70, (washer, HEAT), zero=False)
    taken = [(turn.wanted["washer"], turn.wanted["heat"]) for turn in turns]
    assert taken[9] == (2.0, 2.0)
    assert taken[15] == (2.0, 0.0)  # it has to run on; heat gives what it can
    assert taken[30] == (0.0, 1.0)
    assert taken[-1] == (2.0, 2.0)
    assert sum(one != other for one, other in pairwise(washer_kw for washer_kw, _ in taken)) <= 2


@FEW
@given(st.floats(0, 5), st.floats(0.1, 5), st.booleans())
def test_what_a_battery_cannot_near_full_or_empty_is_done_by_the_others(able: float, need: float, fills: bool) -> None:
    sign, charge = (1.0, 0.95) if fills else (-1.0, 0.05)
    tapers = {name: Taper(5.0) for name in "ab"}
    done = 0.0
    for _ in range(60):
        units = []
        for name, taper in tapers.items():
            low, high = taper.within(-5.0, 5.0)
            units.append(Unit(name=name, kind=Kind.BATTERY, planned_kw=0.0, low_kw=low, high_kw=high))
        plan = Reflex(BOUNDS).turn(NS_PER_S, (NS_PER_S, -sign * need), units, zero=True)
        does = {"a": sign * min(abs(plan["a"]), able), "b": plan["b"]}
        for name, taper in tapers.items():
            taper.see((plan[name], plan[name]), does[name], charge)
        done = sign * sum(does.values())
    assert need - 0.05 * 5.0 <= done <= need + 1e-6
    tapers["a"].see((0.0, 0.0), 0.0, 0.5)
    assert tapers["a"].within(-5.0, 5.0) == (-5.0, 5.0)
