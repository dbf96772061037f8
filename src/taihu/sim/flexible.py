"""A simulated yard of flexible loads behind one meter: battery, car, heat pump, washer, pump, batch server and PV.

Pure physics from step to step; what connects it (tests, an example) hands in what devices are told and reads what they
say. Each takes its commands as a real one would: a setpoint holds until another comes, an action starts a run.
"""

from typing import Any

import msgspec

from taihu.kernel.clock import NS_PER_S

STEP_NS = 10 * NS_PER_S
_STEP_H = 10 / 3_600

_WRITES = {"pv": "limit", "pump": "on"}  # and all others a setpoint

Values = dict[str, Any]


class Yard(msgspec.Struct):
    """Everything's state: kWh, °C, kW; `at` is until when it has gone (UTC ns)."""

    at: int
    base_kw: float = 1.0
    sun_kw: float = 0.0
    battery_kwh: float = 5.0
    car_kwh: float = 15.0
    plugged: bool = True
    departure_s: int = 0
    tank_c: float = 50.0
    job_kwh: float = 2.0
    washer_left_s: int = 0
    pump_s: int = 0
    imported: float = 100.0
    told: dict[str, float] = {}
    deaf: frozenset[str] = frozenset()  # things that answer, and do nothing

    BATTERY_KWH = 10.0
    CAR_KWH = 60.0
    WASHER_S = 3_600

    def tell(self, thing: str, value: float | None) -> None:
        """A setpoint of a thing (kW), or None: its run begins."""
        if thing in self.deaf:
            return
        if thing == "washer" and value is None:
            self.washer_left_s = self.washer_left_s or self.WASHER_S
        elif value is not None:
            self.told[thing] = value

    def advance(self, until: int) -> None:
        """Go on, step by step."""
        while self.at + STEP_NS <= until:
            self.battery_kwh += _STEP_H * _stored(self.power("battery"))
            self.car_kwh += _STEP_H * _stored(self.power("charger"))
            self.pump_s += STEP_NS // NS_PER_S if self.power("pump") else 0
            self.tank_c += _STEP_H * (3.0 * self.power("heatpump") - 0.02 * (self.tank_c - 10.0)) / 0.35
            self.job_kwh -= _STEP_H * self.power("server")
            self.washer_left_s = max(0, self.washer_left_s - STEP_NS // NS_PER_S)
            self.imported += _STEP_H * max(0.0, self.power("meter"))
            self.at += STEP_NS

    def power(self, thing: str) -> float:
        """What a thing takes now, in kW; generation is negative."""
        told = self.told.get(thing, 0.0)
        match thing:
            case "battery":
                low = -5.0 if self.battery_kwh > 0.0 else 0.0
                return min(max(told, low), 5.0 if self.battery_kwh < self.BATTERY_KWH else 0.0)
            case "charger":
                if told < 0:
                    return max(told, -5.0) if self.plugged and self.car_kwh > 0.0 else 0.0
                return min(told, 11.0) if self.plugged and told >= 1.4 and self.car_kwh < self.CAR_KWH else 0.0
            case "pump":
                return 1.0 if told > 0 else 0.0
            case "heatpump":
                return min(max(told, 0.0), 3.0)
            case "server":
                return min(max(told, 0.0), 1.0) if self.job_kwh > 0 else 0.0
            case "washer":
                return 2.0 if self.washer_left_s else 0.0
            case "pv":
                return -min(self.sun_kw, self.told.get("pv", 100.0))
        flexible = ("battery", "charger", "heatpump", "server", "washer", "pump", "pv")
        return self.base_kw + sum(self.power(one) for one in flexible)

    def say(self, thing: str) -> Values:
        """What a thing reports."""
        values: Values = {"power": round(self.power(thing), 3)}
        match thing:
            case "battery":
                values["state_of_charge"] = round(100 * self.battery_kwh / self.BATTERY_KWH, 2)
            case "charger":
                values["plugged"] = self.plugged
                if self.plugged:
                    values["state_of_charge"] = round(100 * self.car_kwh / self.CAR_KWH, 2)
                    values["departure"] = self.departure_s
            case "heatpump":
                values["temperature"] = round(self.tank_c, 3)
            case "server":
                values["remaining"] = round(max(0.0, self.job_kwh), 4)
            case "washer":
                values["running"] = self.washer_left_s > 0
            case "meter":
                values["base"] = self.base_kw
            case "grid":
                values = {"intensity": 0.5}
            case "pump":
                values["running"] = self.power("pump") > 0
            case "pv":
                values["power"] = round(-self.power("pv"), 3)
        if thing in self.told:
            values[_WRITES.get(thing, "setpoint")] = self.told[thing]
        return values


def _stored(kw: float) -> float:
    return kw * 0.95 if kw > 0 else kw / 0.95


def obey(yard: Yard, thing: str, now: int, topic: str, payload: bytes) -> tuple[str, bytes] | None:
    """What a thing of the yard does with a call: `setValue` of what it writes, or its action; and its answer."""
    try:
        call = msgspec.json.decode(payload, type=_Call)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
    yard.advance(now)
    if call.method == "setValue" and isinstance(call.params, dict):
        for value in call.params.values():
            yard.tell(thing, float(value))
    else:
        yard.tell(thing, None)
    return topic.replace("/request/", "/response/"), msgspec.json.encode(call.params)


class _Call(msgspec.Struct):
    method: str
    params: dict[str, float] | None = None
