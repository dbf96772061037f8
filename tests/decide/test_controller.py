"""The controller: it wins where winning is possible, and a guard keeps it from driving where it does not."""

from typing import Any

import msgspec
import numpy as np
import pytest

from taihu.decide.controller import Controller, Foreseen, Seen, Setup
from taihu.decide.guard import verdict
from taihu.decide.problem import Battery, Objective
from taihu.kernel.clock import HOUR_NS

BEGIN = 400_000 * HOUR_NS
BATTERY = Battery(
    name="battery", capacity_kwh=6.4, content_kwh=0, charge_kw=5, discharge_kw=5, one_way=0.92,
    curve=((0.0, 0.92), (1.0, 0.92)),
)  # fmt: skip
SETUP = Setup(battery=BATTERY, objective=Objective(cost=0.0, carbon=1.0))


def hours(count: int, seed: int = 1) -> list[Seen]:
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count):
        clock = index % 24
        load = 0.4 + 0.8 * np.exp(-(((clock - 19) / 3) ** 2)) * rng.uniform(0.6, 1.4)
        made = 3.0 * max(0.0, np.sin((clock - 6) / 12 * np.pi)) * rng.uniform(0.5, 1.0)
        found.append(Seen(BEGIN + index * HOUR_NS, float(load), float(made), 0.3, 0.15 + 0.05 * np.cos(clock / 4)))
    return found


def taught(count: int) -> Controller:
    controller = Controller(SETUP)
    seen = hours(count)
    for first in range(0, count, 24):
        controller.learn(seen[first : first + 24])
    return controller


def test_it_advises_until_fourteen_days_are_replayed_and_then_drives() -> None:
    """§12: the guard has seen 14 days, walk-forward."""
    assert taught(24 * 14).verdict.days == 13
    assert not taught(24 * 14).verdict.drives
    later = taught(24 * 14 + 2).verdict
    assert (later.days, later.drives) == (14, True)
    assert later.lower > 0


def test_it_does_not_drive_where_there_is_nothing_to_win() -> None:
    """No surplus and one intensity all day: moving energy only loses some."""
    controller = Controller(SETUP)
    for day in range(15):
        controller.learn([Seen(BEGIN + (24 * day + hour) * HOUR_NS, 1.0, 0.0, 0.3, 0.2) for hour in range(24)])
    assert not controller.verdict.drives
    assert controller.verdict.lower == pytest.approx(0.0, abs=0.05)


def test_it_falls_back_when_it_stops_winning() -> None:
    assert verdict([0.5] * 14).drives
    assert not verdict([0.5] * 4 + [-0.4] * 10).drives
    assert not verdict([0.5, -0.45] * 7).drives  # it might be luck


def test_a_plan_has_its_corridor_its_reason_and_what_no_control_would_emit() -> None:
    controller = taught(24 * 5 + 13)
    now = controller.learned_until + HOUR_NS // 4
    decision = controller.decide(now, 3.0)
    assert decision is not None
    first = decision.stages[0]
    assert (first.start, first.end) == (now, controller.learned_until + HOUR_NS)
    assert all(one.low_kw <= one.high_kw for one in decision.stages)
    assert decision.with_kg < decision.without_kg
    assert decision.why.endswith(".")
    assert decision.notes == ()


@pytest.mark.parametrize(
    ("told", "used", "how"),
    [
        (np.full(24, 1.5), 24, "them"),
        (np.where(np.arange(24) < 6, 1.5, np.nan), 6, "them in 6 of 24 hours"),
        (np.full(24, np.nan), 0, "its own: them"),
        (np.full(24, 900.0), 0, "its own: what others say is absurd"),
    ],
)
def test_it_expects_what_others_foretell_unless_that_is_absurd(told: Any, used: int, how: str) -> None:
    controller = taught(24 * 5 + 13)
    controller.foresee(Foreseen(controller.learned_until, told, np.full(24, 0.1), "them"))
    decision = controller.decide(controller.learned_until, 3.0)
    assert decision is not None
    assert decision.forecast == how
    assert sum(one.net_kw == 1.5 for one in decision.stages) == used


def test_nothing_is_decided_before_anything_is_known() -> None:
    assert Controller(SETUP).decide(BEGIN, 1.0) is None


def test_missing_hours_are_said() -> None:
    controller = taught(24 * 3)
    decision = controller.decide(controller.learned_until + 5 * HOUR_NS, 1.0)
    assert decision is not None
    assert decision.notes == ("nothing was measured in the last 5 hours",)


def test_what_is_decided_before_an_hour_knows_nothing_of_it() -> None:
    """Two futures that part later: what was decided before is the same."""
    one, other = taught(24 * 6), taught(24 * 6)
    ahead = hours(24 * 6 + 1)[-1]
    before = one.decide(ahead.start, 2.0)
    other.learn([Seen(ahead.start, 9.0, 0.0, 0.9, 0.9)])
    assert before == one.decide(ahead.start, 2.0)


def test_hours_that_are_learned_together_come_to_what_they_come_to_one_by_one() -> None:
    """A gap among them, and some of them twice: the same stages, the same savings."""
    days = hours(24 * 4 + 5)
    del days[60]
    alone, together = Controller(SETUP), Controller(SETUP)
    one_by_one = [stage for seen in days for stage in alone.learn([seen])]
    at_once = together.learn(days[:30]) + together.learn(days[10:])
    for one, other in zip(one_by_one, at_once, strict=True):
        assert msgspec.structs.astuple(one) == pytest.approx(msgspec.structs.astuple(other), abs=1e-9)
    assert msgspec.structs.astuple(alone.verdict) == pytest.approx(msgspec.structs.astuple(together.verdict), abs=1e-9)
    assert together.learn(days) == []
