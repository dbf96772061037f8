"""What a day of the twins comes to: each thing the objective counts, and what cars, loads and work bring to both."""

from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest

from taihu.decide.flexible import STEP_NS, STEPS, Grid, State
from taihu.decide.scheduling import Expected
from taihu.decide.twins import Twins
from taihu.kernel.clock import HOUR_NS, NS_PER_S, parse_iso
from taihu.kernel.flexible import BatteryConfig, JobConfig, LoadConfig, SchedulerConfig, VehicleConfig

pytest.importorskip("highspy", reason="the extra `plan` is not installed")

UTC = ZoneInfo("UTC")
DAY = parse_iso("2026-03-02T00:00:00Z")
CONFIG = SchedulerConfig(name="s", net="meter/power", base="meter/base")
BATTERY = BatteryConfig(name="battery", thing="battery", capacity_kwh=10, power_kw=5, one_way=1.0)
CAR = VehicleConfig(name="car", thing="car", capacity_kwh=60, power_kw=10, target=0.5, one_way=1.0)
WASHER = LoadConfig(
    name="washer", thing="washer", start="start", power_kw=2, minutes=60, earliest="09:00", latest="18:00"
)
JOB = JobConfig(name="job", thing="server", power_kw=1)


def with_(**more: Any) -> SchedulerConfig:
    return msgspec.structs.replace(CONFIG, **more)


def gone_through(
    config: SchedulerConfig,
    states: Any,
    price: Any = lambda hour: 0.1 if hour < 8 else 0.5,
    load: Any = lambda hour: 1.0,
    came: Any = None,
    days: int = 1,
    carbon: Any = lambda hour: 0.0,
) -> list[float]:
    """What days saved; `states` and `price` are by the hour, `load` is expected and `came` what came of it."""
    twins, found = Twins(config, anchored=False), []
    for hour in range(24 * days + 1):
        now = DAY + hour * HOUR_NS + 60 * NS_PER_S
        if hour:
            twins.go_on(now)
            twins.settle(DAY + (hour - 1) * HOUR_NS, (came or load)((hour - 1) % 24), 0.0)
        grid = Grid(now, UTC)
        clock = [(int(at) // HOUR_NS) % 24 for at in grid.edges[:-1]]
        prices, loads = np.array([price(one) for one in clock]), np.array([float(load(one)) for one in clock])
        none, kg = np.zeros(STEPS), np.array([carbon(one) for one in clock])
        twins.plan(states(hour), grid, Expected(load_kw=(loads, loads, loads), buys=prices, sells=none, carbon=kg))
        found += [saving for _, saving in twins.ended(now)]
    return found


def test_wear_is_no_saving() -> None:
    half = {"battery": State(level=5.0)}
    (free,) = gone_through(with_(batteries=(BATTERY,)), lambda hour: half)
    worn = msgspec.structs.replace(BATTERY, wear_price=0.05)
    (less,) = gone_through(with_(batteries=(worn,)), lambda hour: half)
    assert free == pytest.approx(10 * 0.5 - 5 * 0.1 - 5 * (8 * 0.1 + 16 * 0.5) / 24, abs=0.1)
    assert less == pytest.approx(free - 0.05 * 15, abs=0.1)


def test_by_the_margin_what_is_fed_in_counts_and_by_the_average_it_does_not_8() -> None:
    """2 kW of surplus all day: only a marginal intensity tells a clean hour to feed in from a dirty one."""
    half, dirty = {"battery": State(level=5.0)}, lambda hour: 0.1 if hour < 8 else 0.5
    config = with_(batteries=(BATTERY,), cost_weight=0.0, carbon_weight=1.0, intensity="grid/a", marginal="grid/m")
    found = [
        gone_through(
            msgspec.structs.replace(config, carbon_signal=signal),
            lambda hour: half,
            load=lambda hour: -2.0,
            carbon=dirty,
        )
        for signal in ("average", "marginal")
    ]
    mean = (8 * 0.1 + 16 * 0.5) / 24
    assert found[0] == [pytest.approx(5 * mean, abs=0.02)]  # it is full at the end, and nothing else
    assert found[1] == [pytest.approx(10 * 0.5 - 5 * 0.1 - 5 * mean, abs=0.1)]


def test_a_battery_that_is_to_bring_the_meter_to_zero_follows_what_came() -> None:
    """As it is driven: 2 kW came where 1 was expected, and the battery served it."""
    full = {"battery": State(level=10.0)}
    flat: Any = lambda hour: 0.5 if hour < 5 else 0.1  # noqa: E731
    (as_told,) = gone_through(with_(batteries=(BATTERY,)), lambda hour: full, flat)
    (more,) = gone_through(with_(batteries=(BATTERY,)), lambda hour: full, flat, came=lambda hour: 2.0)
    halves = tuple(msgspec.structs.replace(BATTERY, name=name, capacity_kwh=5, power_kw=2.5) for name in ("one", "two"))
    both = {"one": State(level=5.0), "two": State(level=5.0)}
    (shared,) = gone_through(with_(batteries=halves), lambda hour: both, flat, came=lambda hour: 2.0)
    assert shared == pytest.approx(more, abs=0.05)
    assert as_told == pytest.approx(5 * (0.5 - 0.1), abs=0.05)  # filled again before the next morning
    assert more == pytest.approx(10 * (0.5 - 0.1), abs=0.1)


def test_a_load_runs_once_in_its_window_in_both() -> None:
    cheap: Any = lambda hour: 0.1 if 14 <= hour < 16 else 0.5  # noqa: E731
    saved = gone_through(with_(loads=(WASHER,)), lambda hour: {"washer": State()}, cheap, days=3)
    assert saved == pytest.approx([2 * 0.4] * 3, abs=0.02)


def test_work_that_arrives_is_added_to_what_is_left_of_it() -> None:
    """Both do all of it: 2 kWh at 8, and 3 more at 11, when the planned twin has not done the first."""
    left = {8: 2.0, 9: 1.0, 11: 3.0, 12: 2.0, 13: 1.0}
    cheap: Any = lambda hour: 0.1 if hour >= 18 else 0.5  # noqa: E731
    states: Any = lambda hour: {"job": State(level=left.get(hour, 0.0), until=DAY + 23 * HOUR_NS)}  # noqa: E731
    (saved,) = gone_through(with_(jobs=(JOB,)), states, cheap)
    assert saved == pytest.approx(5 * 0.4, abs=0.03)


def test_what_a_car_leaves_short_of_is_the_dearest_of_the_day() -> None:
    """It said 20:00 and left at 12:00: the twin left alone had charged it, the other waited for a cheap hour."""
    states: Any = lambda hour: {"car": State(level=20.0, present=8 <= hour < 12, until=DAY + 20 * HOUR_NS)}  # noqa: E731
    cheap: Any = lambda hour: 0.1 if 14 <= hour < 20 else 0.5  # noqa: E731
    (saved,) = gone_through(with_(vehicles=(CAR,)), states, cheap)
    assert saved == pytest.approx(10 * 0.5 - 10 * 0.5, abs=1e-6)
    stays: Any = lambda hour: {"car": State(level=20.0, present=8 <= hour < 20, until=DAY + 20 * HOUR_NS)}  # noqa: E731
    (saved,) = gone_through(with_(vehicles=(CAR,)), stays, cheap)
    assert saved == pytest.approx(10 * 0.4, abs=1e-6)


def test_peaks_and_demand_count_as_the_objective_has_them() -> None:
    states: Any = lambda hour: {"battery": State(level=5.0)}  # noqa: E731
    evening: Any = lambda hour: 4.0 if hour == 18 else 1.0  # noqa: E731
    (peak,) = gone_through(with_(batteries=(BATTERY,), peak_weight=2.0), states, lambda hour: 0.2, evening)
    assert peak > 2.0 * 2
    charged = with_(batteries=(BATTERY,), demand_price=2.0)
    first, second = gone_through(charged, states, lambda hour: 0.2, evening, days=2)
    assert first > 2.0 * 2
    assert abs(second) < 0.5  # the month has seen it


def test_a_day_of_which_too_little_came_does_not_count() -> None:
    twins = Twins(with_(batteries=(BATTERY,)))
    for hour in range(25):
        now, none = DAY + hour * HOUR_NS, np.zeros(STEPS)
        if 0 < hour <= 19:
            twins.go_on(now)
            assert twins.settle(now - HOUR_NS, 1.0, 0.0) == pytest.approx(1.0)
        expected = Expected(load_kw=(none, none, none), buys=none, sells=none, carbon=none)
        twins.plan({"battery": State(level=5.0)}, Grid(now, UTC), expected)
    assert twins.ended(DAY + 27 * HOUR_NS) == []
    assert twins.settle(DAY + 40 * HOUR_NS, 1.0, 0.0) is None


def test_quarters_of_a_plan_are_gone_through_one_by_one() -> None:
    """A plan of an hour ago moved its loads in its second quarter: so did the twin."""
    twins, none = Twins(with_(loads=(WASHER,)), anchored=False), np.zeros(STEPS)
    now = DAY + 9 * HOUR_NS
    prices = np.where(np.arange(STEPS) < 1, 0.5, 0.1)
    expected = Expected(load_kw=(none, none, none), buys=prices, sells=none, carbon=none)
    twins.plan({"washer": State()}, Grid(now, UTC), expected)
    twins.go_on(now + 2 * STEP_NS)
    twins.go_on(now + 4 * STEP_NS)
    assert twins.settle(now, 0.0, 0.0) == pytest.approx(2.0)
    assert [slot.kw for slot in twins._slots] == [(2.0, 0.0), (2.0, 2.0), (2.0, 2.0), (2.0, 2.0)]
