"""What each device of the demo's district says, and when: meters, inverters, batteries and the grid's signal.

Every device reports each ten minutes of demo time, and each hour the hour's energy. On its first connection a meter
also sends its last day, as real meters with a load profile do, and so does the grid.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from taihu.kernel.clock import NS_PER_S, Clock
from taihu.protocols.mqtt.client import Client, QueueFull
from taihu.sim.device import Device
from taihu.sim.district import BATTERY_KWH, HOUR_NS, START_NS, District, House, hour_of

log = logging.getLogger("taihu.sim")

TOPIC = "v1/devices/me/telemetry"
REPORT_NS = 600 * NS_PER_S
_PROFILE_HOURS = 24
_IDLE_KW = 0.01

Values = dict[str, Any]
Say = Callable[[int], Values]


def meter_now(house: House) -> Say:
    """The meter's live values at an instant."""

    def say(at: int) -> Values:
        return {
            "power": round(house.power(house.net, at), 3),
            "import_register": round(house.register(0, at), 3),
            "export_register": round(house.register(1, at), 3),
        }

    return say


def meter_hour(house: House) -> Say:
    """The meter's energies of the hour that begins at an instant."""

    def say(start: int) -> Values:
        hour = hour_of(start)
        return {"energy": float(house.net[hour]), "load": float(house.load[hour])}

    return say


def pv_now(house: House) -> Say:
    """The inverter's power at an instant."""
    return lambda at: {"power": round(max(0.0, house.power(house.solar, at)), 3)}


def pv_hour(house: House) -> Say:
    """The inverter's generation of the hour that begins at an instant."""
    return lambda start: {"energy": float(house.solar[hour_of(start)])}


def battery_now(house: House) -> Say:
    """The battery's power, charge and mode at an instant."""

    def say(at: int) -> Values:
        flow, content = house.battery
        power = house.power(flow, at)
        mode = "charging" if power > _IDLE_KW else "discharging" if power < -_IDLE_KW else "idle"
        charge = 100 * min(1.0, max(0.0, house.power(content, at) / BATTERY_KWH))
        return {"power": round(power, 3), "state_of_charge": round(charge, 1), "mode": mode}

    return say


def grid_now(district: District) -> Say:
    """What the grid says of the hour an instant falls in."""

    def say(at: int) -> Values:
        hour = hour_of(at)
        return {
            "carbon_intensity": float(district.carbon[hour]),
            "price": float(district.price[hour]),
            "outdoor_temperature": float(district.outdoor[hour]),
        }

    return say


def speakers(district: District) -> Iterator[tuple[str, str, Say, Say | None]]:
    """Project, thing, what it says live and what of an hour, for all devices of the district."""
    for house in district.houses:
        yield house.name, "meter", meter_now(house), meter_hour(house)
        yield house.name, "pv", pv_now(house), pv_hour(house)
        yield house.name, "battery", battery_now(house), None
    yield "district", "grid", grid_now(district), grid_now(district)


async def speak(device: Device, clock: Clock, now: Say, hour: Say | None, backfill: bool) -> None:
    """Report until cancelled; a report that finds the queue full is left out, as a device without storage would."""
    this_hour = clock.now_ns() // HOUR_NS * HOUR_NS
    if hour and backfill:
        first = max(START_NS, this_hour - _PROFILE_HOURS * HOUR_NS)
        _send(device, [_stamped(start, hour(start)) for start in range(first, this_hour, HOUR_NS)])
    while True:
        at = (clock.now_ns() // REPORT_NS + 1) * REPORT_NS
        await asyncio.sleep((at - clock.now_ns()) / NS_PER_S / clock.speed)
        _send(device, [_stamped(at, now(at))])
        while hour and this_hour + HOUR_NS <= at:
            _send(device, [_stamped(this_hour, hour(this_hour))])
            this_hour += HOUR_NS


def connect(host: str, port: int, project: str, thing: str, token: str, clock: Clock) -> Device:
    """A device of the district with its own credentials."""
    client = Client(f"{project}-{thing}", username=token, clean_start=False, keep_alive=60)
    return Device(host, port, client, clock)


def _stamped(at: int, values: Values) -> Values:
    return {"ts": at // 1_000_000, "values": values}


def _send(device: Device, rows: list[Values]) -> None:
    try:
        device.publish(TOPIC, msgspec.json.encode(rows if len(rows) > 1 else rows[0]))
    except QueueFull:
        log.warning("a report is left out: the server has not acknowledged the ones before")
