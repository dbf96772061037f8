"""One battery by its curve: as good as a program can be, limits kept, whatever its size and the steps (§12)."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decide.cases import CURVE

from taihu.decide.dynamic import Courses, plan_battery
from taihu.decide.planner import Method, Planner
from taihu.decide.problem import Battery, Meter, Problem

PLANNER = Planner()


def question(price: Any, hours: float = 1.0, load: Any = 0.5, limits: Any = None, **more: Any) -> Problem:
    given: dict[str, Any] = {
        "capacity_kwh": 10.0,
        "content_kwh": 2.0,
        "charge_kw": 5.0,
        "discharge_kw": 5.0,
        "curve": CURVE,
    } | more
    prices = np.asarray(price, np.float64)
    meter = Meter(
        load_kw=np.broadcast_to(np.asarray(load, np.float64), len(prices)), import_price=prices,
        export_price=0.1 * prices, **limits or {},
    )  # fmt: skip
    return Problem(step_h=np.full(len(prices), hours), meters=(meter,), assets=(Battery(name="b", **given),))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1.0, 0.25, 1 / 12]), st.sampled_from([4.0, 10.0, 300.0]))
def test_it_agrees_with_the_solver_where_both_are_exact(seed: int, hours: float, size: float) -> None:
    """Large and slow batteries in short steps among them, which move less in a step than from level to level."""
    pytest.importorskip("highspy", reason="the extra `plan` is not installed")
    rng = np.random.default_rng(seed)
    most = float(rng.uniform(0, 4))
    flat = question(
        rng.uniform(0.1, 0.5, 24), hours, rng.uniform(-3, 4, 24), {"import_max_kw": most}, capacity_kwh=size,
        content_kwh=float(rng.uniform(0, size)), curve=((0.0, 0.95), (1.0, 0.95)),
        end_price=float(rng.choice([0.1, 0.3])),
    )  # fmt: skip
    exact = PLANNER.plan(flat)
    assert exact.method is Method.DYNAMIC
    straight = msgspec.structs.replace(flat.assets[0], curve=())
    linear = PLANNER.plan(msgspec.structs.replace(flat, assets=(straight,)))
    off, level = (exact.objective - linear.objective) / flat.dearest, size / 128
    assert -1e-3 <= off <= max(0.1, level / 2)


def test_it_goes_by_the_curve() -> None:
    """At three tenths of its power this battery loses most: the plan takes another power."""
    path = plan_battery([question([0.1] * 4 + [0.5] * 4, load=3.6, content_kwh=0.0, end_price=0.3)])
    share = np.abs(path.power_kw[np.abs(path.power_kw) > 0.05]) / 5.0
    assert path.content_kwh.max() <= 10.0
    assert share.mean() > 0.5


def test_what_is_wanted_at_once_is_done_at_full_power() -> None:
    """A band that the battery is far below, in steps of five minutes, in which it comes half a level further."""
    plan = PLANNER.plan(question([0.2] * 24, 1 / 12, capacity_kwh=100.0, content_kwh=10.0, low_kwh=90.0))
    assert plan.powers["b"] == pytest.approx(5.0)


def test_a_limit_is_kept_to_the_watt() -> None:
    """Load above the connection, which the battery gives exactly what is above it."""
    plan = PLANNER.plan(question([0.2] * 4, load=3.33, limits={"import_max_kw": 2.0}, content_kwh=8.0, end_price=3.0))
    assert plan.breaches == ()
    assert plan.powers["b"] == pytest.approx(-1.33)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.booleans())
def test_questions_answered_together_have_the_answers_of_each_alone(seed: int, limited: bool, inward: bool) -> None:
    """Several futures of each, a first step that has begun, limits, a band, and no battery that feeds in."""
    rng = np.random.default_rng(seed)
    limits = {"import_max_kw": 2.0, "export_max_kw": np.array([1.0, np.inf] * 6)} if limited else {}

    def future() -> Problem:
        asked = question(
            rng.uniform(0.1, 0.5, 12), load=rng.uniform(-3, 4, 12), limits=limits, low_kwh=0.7,
            taper=((0.8, 1.0), (1.0, 0.2)),
        )  # fmt: skip
        hours = np.append(0.3, asked.step_h[1:])
        return msgspec.structs.replace(asked, step_h=hours, battery_to_vehicle=not inward)

    questions, weights = [[future() for _ in range(3)] for _ in range(4)], (0.4, 0.3, 0.3)
    together = Courses(questions, weights, 17)
    for place, futures in enumerate(questions):
        alone = plan_battery(futures, weights, 17)
        path = together.path(place, 2.0)
        assert path.power_kw == pytest.approx(alone.power_kw, abs=1e-9)
        assert path.content_kwh == pytest.approx(alone.content_kwh, abs=1e-9)
        assert path.worth == pytest.approx(alone.worth, abs=1e-9)
        assert together.path(place, 2.0, 1).power_kw == pytest.approx(path.power_kw[:1], abs=1e-9)
