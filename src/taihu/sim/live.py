"""A house of the demo as it goes on from now: its battery does what it is told, or follows its own rule.

Load and PV are the measured hours, drawn into steps of five minutes whose mean is the hour's (synthetic: the data are
hourly). What it does depends on the commands that come, so its state is kept in a file for the next start.
"""

from collections.abc import Mapping

import msgspec
import numpy as np

from taihu.kernel.arrays import Numbers
from taihu.kernel.clock import HOUR_NS, NS_PER_S
from taihu.sim.district import BATTERY_KW, BATTERY_KWH, HOURS, ONE_WAY_EFFICIENCY, START_NS, House, hour_of

STEP_NS = 300 * NS_PER_S
PER_HOUR = HOUR_NS // STEP_NS
_STEP_H = STEP_NS / HOUR_NS
_OBEYS_NS = 1_800 * NS_PER_S  # a setpoint that is not given again ends, and its own rule takes over
_HOURS_KEPT = 6
_IDLE_KW = 0.01


class State(msgspec.Struct):
    """Where a house is: until when it has gone, what its battery holds (kWh), its registers, and what it was told.

    `energy` is the net energy (kWh) of the last hours by their beginning, `stored` what went into the battery.
    """

    at: int
    content: float
    imported: float
    exported: float
    setpoint: float | None = None
    told_at: int = 0
    energy: dict[int, float] = {}
    stored: dict[int, float] = {}


class LiveHouse:
    """One house; `advance` before anything is read."""

    def __init__(self, house: House, state: State) -> None:
        self.house = house
        self.state = state
        self.net_kw = self.battery_kw = self.solar_kw = 0.0
        self._hour = -1
        self._net: Numbers = np.zeros(PER_HOUR)

    def advance(self, until: int) -> None:
        """Go on, step by step."""
        while self.state.at + STEP_NS <= until:
            self._step()

    def tell(self, setpoint: float, now: int) -> None:
        """Take a setpoint: kW, charging is positive."""
        self.state.setpoint, self.state.told_at = min(max(setpoint, -BATTERY_KW), BATTERY_KW), now

    @property
    def setpoint(self) -> float | None:
        """What it goes by; None while it follows its own rule."""
        return self.state.setpoint if self.state.at - self.state.told_at <= _OBEYS_NS else None

    @property
    def charge_percent(self) -> float:
        """The state of charge."""
        return 100 * self.state.content / BATTERY_KWH

    @property
    def mode(self) -> str:
        """What the battery does."""
        return "charging" if self.battery_kw > _IDLE_KW else "discharging" if self.battery_kw < -_IDLE_KW else "idle"

    def _step(self) -> None:
        state, base = self.state, self._base(self.state.at)
        wanted = -base if self.setpoint is None else self.setpoint
        power = min(max(wanted, -BATTERY_KW), BATTERY_KW)
        room = (BATTERY_KWH - state.content) / (ONE_WAY_EFFICIENCY * _STEP_H)
        power = min(max(power, -state.content * ONE_WAY_EFFICIENCY / _STEP_H), room)
        moved = power * _STEP_H
        state.content += moved * ONE_WAY_EFFICIENCY if power > 0 else moved / ONE_WAY_EFFICIENCY
        state.content = min(max(state.content, 0.0), BATTERY_KWH)
        self.battery_kw, self.net_kw = power, base + power
        energy = self.net_kw * _STEP_H
        state.imported += max(energy, 0.0)
        state.exported += max(-energy, 0.0)
        hour = state.at // HOUR_NS * HOUR_NS
        for hours, amount in ((state.energy, energy), (state.stored, moved)):
            hours[hour] = hours.get(hour, 0.0) + amount
            while len(hours) > _HOURS_KEPT:
                del hours[min(hours)]
        state.at += STEP_NS

    def _base(self, at: int) -> float:
        """Load less PV in the step that begins at a time."""
        hour = hour_of(at)
        if hour != self._hour:
            middles = at // HOUR_NS * HOUR_NS + STEP_NS // 2 + STEP_NS * np.arange(PER_HOUR)
            place = ((middles - START_NS) / HOUR_NS - 0.5) % HOURS
            net = self.house.load - self.house.solar
            drawn = np.interp(place, np.arange(HOURS), net, period=HOURS)
            self._hour, self._net = hour, drawn + net[hour] - drawn.mean()
        return float(self._net[at % HOUR_NS // STEP_NS])


def first_state(house: House, at: int) -> State:
    """Where a house begins at the start of an hour: as its own rule has left it."""
    before = hour_of(at - HOUR_NS)
    return State(at, float(house.battery[1][before]), house.register(0, at), house.register(1, at))


def live_houses(houses: list[House], kept: Mapping[str, State], at: int) -> dict[str, LiveHouse]:
    """All houses, from what was kept of them, or else from the start of the hour that `at` is in."""
    begin = at // HOUR_NS * HOUR_NS
    return {house.name: LiveHouse(house, kept.get(house.name) or first_state(house, begin)) for house in houses}
