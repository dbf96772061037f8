"""What a site says of its loads becomes assets: times of day are local, and twins move as the judge reckons."""

from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.decide.flexible import STEP_NS, STEPS, Grid, State, after, sight, window_of
from taihu.decide.form import check
from taihu.decide.judge import heat_states, store_content
from taihu.decide.problem import Battery, Heat, Load, Meter, Problem, Vehicle
from taihu.kernel.clock import NS_PER_S, parse_iso, to_datetime
from taihu.kernel.flexible import BatteryConfig, HeatConfig, JobConfig, LoadConfig, VehicleConfig

BERLIN = ZoneInfo("Europe/Berlin")
NONE = np.zeros(STEPS)
CAR = VehicleConfig(name="car", thing="c", capacity_kwh=60, power_kw=11, target=0.5, ready_by="07:00")
WASHER = LoadConfig(name="washer", thing="w", start="go", power_kw=2, minutes=60, earliest="22:00", latest="06:00")
MOMENTS = st.integers(parse_iso("2026-01-01T00:00:00Z"), parse_iso("2027-01-01T00:00:00Z"))


def grid(text: str) -> Grid:
    return Grid(parse_iso(text), BERLIN)


@given(MOMENTS, st.integers(0, 23), st.integers(0, 59))
def test_a_time_of_day_is_next_within_a_day_of_25_hours(now: int, hour: int, minute: int) -> None:
    found = Grid(now, BERLIN).next(f"{hour:02}:{minute:02}")
    assert now < found <= now + 26 * 4 * STEP_NS
    local = to_datetime(found).astimezone(BERLIN)
    skipped = (local.month, local.hour) == (3, 3)  # 02:30 is not on the day the clock is put forward
    assert (local.hour, local.minute) == (hour, minute) or skipped


@given(MOMENTS)
def test_a_window_is_open_or_comes(now: int) -> None:
    begin, end = window_of(WASHER, Grid(now, BERLIN))
    assert begin < end
    assert now < end
    assert 7 <= (end - begin) / (4 * STEP_NS) <= 9  # eight hours, but for two nights
    later, _ = window_of(WASHER, Grid(now, BERLIN), done=begin)
    assert later > begin


def test_edges_are_the_rest_of_a_quarter_and_whole_ones() -> None:
    one = grid("2026-03-02T20:02:00Z")
    assert one.hours[0] == pytest.approx(13 / 60)
    assert set(one.hours[1:].round(6)) == {0.25}
    assert one.step(one.now) == 0
    assert one.step(int(one.edges[5])) == 5


def test_a_car_is_due_when_it_says_or_at_the_usual_time() -> None:
    one = grid("2026-03-02T20:02:00Z")
    car = sight(CAR, State(level=20.0), one, NONE).asset
    assert isinstance(car, Vehicle)
    assert car.leaves == 40  # 07:00 in Berlin is 06:00 UTC
    assert car.needs == ((40, 30.0),)
    soon = sight(CAR, State(level=20.0, until=parse_iso("2026-03-02T21:00:00Z")), one, NONE).asset
    assert isinstance(soon, Vehicle)
    assert soon.leaves == 4
    within = sight(CAR, State(level=20.0, until=parse_iso("2026-03-02T21:14:00Z")), one, NONE).asset
    assert isinstance(within, Vehicle)
    assert within.leaves == 4  # all it needs is there before the quarter in which it leaves
    late = sight(CAR, State(level=20.0, until=one.now - NS_PER_S), one, NONE)
    assert "still there after its departure" in late.note
    assert sight(CAR, State(present=False), one, NONE).asset is None
    assert "taken for empty" in sight(CAR, State(), one, NONE).note


def test_a_job_after_the_horizon_need_not_be_done_in_it() -> None:
    job = JobConfig(name="job", thing="j", power_kw=1)
    until = parse_iso("2026-03-04T20:15:00Z")
    seen = sight(job, State(level=30.0, until=until), grid("2026-03-02T20:15:00Z"), NONE).asset
    assert seen is not None
    assert getattr(seen, "energy_kwh") == pytest.approx(30.0 - 24.0, abs=0.3)  # noqa: B009


@given(st.lists(st.floats(-5, 5), min_size=STEPS, max_size=STEPS), st.integers(1, 8), st.integers(0, 14 * 60))
def test_twins_move_as_the_judge_reckons(powers: list[float], steps: int, seconds: int) -> None:
    now = parse_iso("2026-03-02T20:15:00Z") + seconds * NS_PER_S
    one = Grid(now, BERLIN)
    end = int(one.edges[steps])
    battery = BatteryConfig(name="b", thing="b", capacity_kwh=100, power_kw=5)
    heat = HeatConfig(
        name="h", thing="h", capacity_kwh_per_k=2, loss_kw_per_k=0.1, power_kw=5, cop=3, low_c=19, high_c=22
    )
    power = np.array(powers)
    for config, level in ((battery, 50.0), (heat, 20.0)):
        state = State(level=level)
        asset = sight(config, state, one, NONE).asset
        assert asset is not None
        problem = Problem(
            step_h=one.hours, meters=(Meter(load_kw=NONE, import_price=NONE, export_price=NONE),), assets=(asset,)
        )
        check(problem)
        if isinstance(asset, Battery):
            wanted = store_content(problem, asset, power)[steps - 1]
        else:
            assert isinstance(asset, Heat)
            wanted = heat_states(problem, asset, power)[steps - 1]
        assert after(config, asset, state, power, one, end).level == pytest.approx(wanted)


def test_a_load_that_ran_is_done_with_its_window() -> None:
    one, state = grid("2026-03-02T22:00:00Z"), State()
    for _ in range(4):
        load = sight(WASHER, state, one, NONE).asset
        assert isinstance(load, Load)
        state = after(WASHER, load, state, np.full(STEPS, 2.0), one, one.now + STEP_NS)
        one = msgspec.structs.replace(one, now=one.now + STEP_NS)
    assert (state.ran, state.left) == (0, 0)
    assert state.done == window_of(WASHER, grid("2026-03-02T22:00:00Z"))[0]
    following = sight(WASHER, state, one, NONE).asset
    assert following is None or getattr(following, "earliest") > 60  # noqa: B009
