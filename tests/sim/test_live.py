"""A live house: its hours add up to the measured ones, it obeys, and goes on from where it was kept."""

import msgspec
import numpy as np
import pytest

from taihu.kernel.clock import HOUR_NS
from taihu.sim.district import BATTERY_KWH, START_NS, House, hour_of
from taihu.sim.live import PER_HOUR, STEP_NS, LiveHouse, State, first_state, live_houses

BEGIN = START_NS + 50 * HOUR_NS


def house() -> House:
    rng = np.random.default_rng(3)
    clock = np.arange(8_760) % 24
    load = 0.3 + rng.random(8_760)
    solar = np.maximum(0.0, 3 * np.sin((clock - 6) / 12 * np.pi)) * rng.uniform(0.5, 1, 8_760)
    return House(1, load, solar, 4.0)


def test_the_meter_sees_load_less_pv_plus_battery_and_the_registers_agree() -> None:
    """§9: energy of an hour is that of its steps."""
    one = house()
    live = LiveHouse(one, State(BEGIN, 0.0, 0.0, 0.0))
    for hour in range(24):
        start = BEGIN + hour * HOUR_NS
        battery = 0.0
        for step in range(PER_HOUR):
            live.advance(start + (step + 1) * STEP_NS)
            battery += live.battery_kw / PER_HOUR
        index = hour_of(start)
        assert live.state.energy[start] == pytest.approx(float(one.load[index] - one.solar[index]) + battery)
        assert 0 <= live.state.content <= BATTERY_KWH
    assert live.state.imported > 0


def test_it_obeys_a_setpoint_until_that_is_old() -> None:
    live = LiveHouse(house(), State(BEGIN, 3.0, 0.0, 0.0))
    live.advance(BEGIN + STEP_NS)
    live.tell(1.0, live.state.at)
    live.advance(live.state.at + STEP_NS)
    assert live.battery_kw == pytest.approx(1.0)
    live.tell(0.0, live.state.at)
    live.advance(live.state.at + 6 * STEP_NS)
    assert live.battery_kw == 0.0
    live.advance(live.state.at + 4 * STEP_NS)
    assert live.setpoint is None


def test_what_is_kept_goes_on_exactly() -> None:
    one = house()
    whole, half = (live_houses([one], {}, BEGIN + 5)[one.name] for _ in range(2))
    assert half.state == first_state(one, BEGIN)
    whole.advance(BEGIN + 10 * HOUR_NS)
    half.advance(BEGIN + 5 * HOUR_NS)
    kept = msgspec.json.decode(msgspec.json.encode({one.name: half.state}), type=dict[str, State])
    again = live_houses([one], kept, BEGIN + 6 * HOUR_NS)[one.name]
    again.advance(BEGIN + 10 * HOUR_NS)
    assert again.state == whole.state
