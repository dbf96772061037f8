"""Of many that share a power few move; what all take together is the same, and each stays near its part."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from taihu.control.reflex import Bounds, Group, Kind, Reflex, Unit
from taihu.control.steady import SAME_KW, Place, steady
from taihu.kernel.clock import NS_PER_S

KW = st.floats(-10, 10)


@st.composite
def places(draw: st.DrawFn) -> Place:
    low, part, high = sorted([draw(KW), draw(KW), draw(KW)])
    return Place(draw(st.none() | KW | st.just(part)), part, low, high, draw(st.floats(0, 2)))


@given(st.lists(places(), max_size=8))
def test_the_sum_is_kept_and_nobody_is_far_from_its_part(given_places: list[Place]) -> None:
    told = steady(given_places)
    assert abs(sum(told) - sum(one.part_kw for one in given_places)) <= SAME_KW + 1e-6
    for kw, one in zip(told, given_places, strict=True):
        assert one.low_kw - 1e-6 <= kw <= one.high_kw + 1e-6
        assert abs(kw - one.part_kw) <= one.band_kw + 1e-6
        assert kw * one.part_kw >= 0
        assert one.part_kw != 0 or kw == 0


@given(st.lists(places(), min_size=1, max_size=8))
@example([Place(None, 0.015625, 1e-12, 1.0, 1.0), Place(1.0, 0.5, 0.0, 1.0, 1.0)])
def test_who_is_told_so_stays(given_places: list[Place]) -> None:
    """Told once, nobody moves again."""
    told = steady(given_places)
    again = [msgspec.structs.replace(one, told_kw=kw) for kw, one in zip(told, given_places, strict=True)]
    assert steady(again) == pytest.approx(told, abs=1e-8)


def moved(before: dict[str, float], after: dict[str, float]) -> list[str]:
    return [name for name, kw in after.items() if before[name] != kw]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(0.5, 9.5), min_size=3, max_size=6), st.booleans())
def test_many_batteries_follow_by_few(loads: list[float], grouped: bool) -> None:
    """Each step of the load moves as many as its size takes, in each group; all together follow it exactly."""
    names = [f"b{place}" for place in range(200)]
    groups = (Group(tuple(names[:100]), 1e6),) if grouped else ()
    reflex = Reflex(Bounds(lag_s=0.5, groups=groups))
    units = [
        Unit(name=name, kind=Kind.BATTERY, planned_kw=0.0, low_kw=-50.0, high_kw=50.0, band_kw=1.0) for name in names
    ]
    told = [dict.fromkeys(names, 0.0)]
    for name in names:
        reflex.tell(0, name, 0.0)
    for step, load in enumerate(loads):
        now = (step + 1) * NS_PER_S
        net = load + sum(told[-1].values())
        wanted = reflex.turn(now, (now, net), units, zero=True)
        assert sum(wanted.values()) == pytest.approx(-load, abs=2 * SAME_KW)
        assert all(-1.2 <= kw <= 0.0 for kw in wanted.values())
        for name, kw in wanted.items():
            reflex.tell(now, name, kw)
        told.append(wanted)
    for (one, other), (before, after) in zip(pairwise([0.0, *loads]), pairwise(told), strict=True):
        assert len(moved(before, after)) <= abs(other - one) / 0.25 + 6


def test_limits_of_a_group_hold_however_many_stay() -> None:
    reflex = Reflex(Bounds(lag_s=0.5, groups=(Group(("a", "b"), 3.0),)))
    units = [
        Unit(name=name, kind=Kind.BATTERY, planned_kw=2.0, low_kw=-5.0, high_kw=5.0, band_kw=1.0) for name in "abc"
    ]
    for name in "abc":
        reflex.tell(NS_PER_S, name, 2.0)
    wanted = reflex.turn(2 * NS_PER_S, None, units)
    assert wanted["a"] + wanted["b"] <= 3.0 + SAME_KW
    assert wanted["c"] == 2.0
