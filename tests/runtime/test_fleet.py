"""Many batteries planned as few: the plan is as good, each part of it is one that its battery can do."""

from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.control.share import Part, share
from taihu.decide.flexible import Grid, State
from taihu.decide.judge import judge
from taihu.decide.planner import Planner
from taihu.decide.scheduling import Expected, Scheduled, schedule
from taihu.kernel.clock import parse_iso
from taihu.kernel.flexible import BatteryConfig, GroupConfig, SchedulerConfig, TariffConfig
from taihu.runtime.scheduling.fleet import FEW, Fleet, _fill

pytest.importorskip("highspy", reason="the extra `plan` is not installed")

GRID = Grid(parse_iso("2026-03-02T20:02:00Z"), ZoneInfo("UTC"))
STEPS = len(GRID.hours)
SIZE = st.just(0.0) | st.floats(0.001, 10)
SIZES = st.lists(st.tuples(SIZE, SIZE), max_size=6)


def site(count: int, **more: object) -> SchedulerConfig:
    batteries = tuple(
        BatteryConfig(name=f"b{place}", thing=f"b{place}", capacity_kwh=10 + place % 3, power_kw=5.0)
        for place in range(count)
    )
    return SchedulerConfig(
        name="s", solver_s=60.0, net="m/p", base="m/b", buys=TariffConfig(price=0.3), batteries=batteries, **more  # type: ignore[arg-type]
    )  # fmt: skip


def expected(count: int) -> Expected:
    load = count * (1.0 + np.sin(np.arange(STEPS) / 10))
    buys = np.where(np.arange(STEPS) % 48 < 24, 0.1, 0.5)
    return Expected(load_kw=(load, load, load), buys=buys, sells=0.02 + 0 * buys, carbon=0 * buys)


def states(config: SchedulerConfig, *unknown: str) -> dict[str, State]:
    return {
        one.name: State(level=None if one.name in unknown else one.capacity_kwh * (place % 7) / 7)
        for place, one in enumerate(config.batteries)
    }


def planned(config: SchedulerConfig, said: dict[str, State], fleet: Fleet | None = None) -> Scheduled:
    fleet = fleet or Fleet(config)
    joined, able = fleet.able(config, said)
    return fleet.split(schedule(joined, able, GRID, expected(len(config.batteries)), Planner()), config, said, GRID)


@given(st.floats(0, 30), SIZES)
def test_many_share_as_few_do(total: float, sizes: list[tuple[float, float]]) -> None:
    parts = [Part(str(place), most, weight) for place, (most, weight) in enumerate(sizes)]
    found = _fill(total, np.array([one for one, _ in sizes]), np.array([one for _, one in sizes]))
    assert list(found) == pytest.approx(list(share(total, parts).values()), abs=1e-6)


def test_a_joined_plan_is_as_good_and_each_battery_can_do_its_part() -> None:
    """By the judge of all of them it costs no more than a plan of each; one that says nothing is left out, and said."""
    config = site(FEW + 4)
    said = states(config, "b3")
    together = planned(config, said)
    each = schedule(config, said, GRID, expected(FEW + 4), Planner())
    assert together.plan.objective == pytest.approx(each.plan.objective, rel=2e-3)
    assert len(together.problem.assets) == 1
    assert "b3 is left out: its state of charge is not known" in together.notes
    assert together.sights["b3"].asset is None and "b3" not in together.plan.powers
    for one in config.batteries:
        if one.name == "b3":
            continue
        power, content = together.plan.powers[one.name], together.plan.content[one.name]
        assert np.all(np.abs(power) <= one.power_kw + 1e-6)
        assert np.all((content >= -1e-6) & (content <= one.capacity_kwh + 1e-6))
        moved = np.where(power > 0, power * one.one_way, power / one.one_way) * GRID.hours
        assert content == pytest.approx((said[one.name].level or 0.0) + np.cumsum(moved), abs=1e-6)
    own = judge(each.problem, {name: together.plan.powers[name] for name in each.plan.powers})
    assert not own.faults
    assert own.objective <= 1.03 * each.plan.objective


def test_batteries_of_one_charge_do_together_what_is_planned_for_them() -> None:
    config = site(FEW + 4)
    said = {one.name: State(level=0.5 * one.capacity_kwh) for one in config.batteries}
    found = planned(config, said)
    (joined,) = [asset.name for asset in found.problem.assets]
    held = sum(found.plan.content[one.name] for one in config.batteries)
    assert held == pytest.approx(found.plan.content[joined], abs=0.01 * 11.0 * len(config.batteries))


def test_few_and_those_of_a_group_are_planned_by_themselves() -> None:
    few = site(FEW)
    assert Fleet(few).whole(few, states(few)) == (few, states(few))
    grouped = site(FEW + 5, groups=(GroupConfig(name="g", members=("b0", "b1"), import_max_kw=3.0),))
    joined, said = Fleet(grouped).whole(grouped, states(grouped, "b4"))
    assert [one.name for one in joined.batteries[:2]] == ["b0", "b1"]
    assert sum(one.capacity_kwh for one in joined.batteries) == sum(one.capacity_kwh for one in grouped.batteries)
    levels = [said[one.name].level for one in joined.batteries]
    known = sum(one.level or 0.0 for one in states(grouped, "b4").values())
    assert sum(one or 0.0 for one in levels) > known  # who says nothing is taken for one of the others


def test_who_does_not_obey_takes_no_part() -> None:
    config = site(FEW + 2)
    less = msgspec.structs.replace(config, batteries=config.batteries[1:])
    found = planned(less, states(config), Fleet(config))
    assert found.asset("b0") is None and found.asset("b1") is not None and "b0" not in found.plan.powers
    assert len(found.problem.assets) == 1


def test_when_nobody_says_what_it_holds_nothing_is_planned_for_them() -> None:
    config = site(FEW + 1)
    found = planned(config, states(config, *(one.name for one in config.batteries)))
    assert found.problem.assets == () and len(found.notes) >= FEW + 1
