"""What each device of the demo's district says, and when: meters, inverters, batteries and the grid's signal.

Every device reports each five minutes of demo time, and each hour the hour's energy. On its first connection a meter
also sends the days before, as meters with a load profile do, and so does the grid: the controllers learn from them.
The shadow meter is that of the same house with its battery at rest, which only a simulation has.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from taihu.kernel.clock import HOUR_NS, NS_PER_S, Clock
from taihu.protocols.mqtt.client import Client, QueueFull
from taihu.sim.device import Device
from taihu.sim.district import START_NS, District, House, hour_of
from taihu.sim.live import LiveHouse

log = logging.getLogger("taihu.sim")

TOPIC = "v1/devices/me/telemetry"
REPORT_NS = 300 * NS_PER_S
PROFILE_HOURS = 35 * 24 + 2
_RPC = "v1/devices/me/rpc"

Values = dict[str, Any]
Say = Callable[[int], Values]
Send = Callable[[list[Values]], None]
"""Takes reports: a time (ms) and values each."""


def meter_now(live: LiveHouse) -> Say:
    """The meter's live values at an instant."""

    def say(at: int) -> Values:
        live.advance(at)
        return {
            "power": round(live.net_kw, 3),
            "import_register": round(live.state.imported, 3),
            "export_register": round(live.state.exported, 3),
        }

    return say


def meter_hour(live: LiveHouse) -> Say:
    """The meter's energies of the hour that begins at an instant; before it was live, with the battery's own rule."""
    house = live.house

    def say(start: int) -> Values:
        live.advance(start + HOUR_NS)
        hour = hour_of(start)
        energy = live.state.energy.get(start, float(house.net[hour]))
        return {"energy": energy, "load": float(house.load[hour])}

    return say


def battery_hour(live: LiveHouse) -> Say:
    """What went into the battery in the hour that begins at an instant; before it was live, by its own rule."""

    def say(start: int) -> Values:
        live.advance(start + HOUR_NS)
        return {"energy": live.state.stored.get(start, float(live.house.battery[0][hour_of(start)]))}

    return say


def shadow_hour(house: House) -> Say:
    """The meter's energy of the hour that begins at an instant, had the battery been at rest."""
    return lambda start: {"energy": float(house.load[hour_of(start)] - house.solar[hour_of(start)])}


def pv_now(house: House) -> Say:
    """The inverter's power at an instant."""
    return lambda at: {"power": round(max(0.0, house.power(house.solar, at)), 3)}


def pv_hour(house: House) -> Say:
    """The inverter's generation of the hour that begins at an instant."""
    return lambda start: {"energy": float(house.solar[hour_of(start)])}


def battery_now(live: LiveHouse) -> Say:
    """The battery's power, charge and mode at an instant, and the setpoint it goes by."""

    def say(at: int) -> Values:
        live.advance(at)
        charge = round(live.charge_percent, 1)
        values = {"power": round(live.battery_kw, 3), "state_of_charge": charge, "mode": live.mode}
        return values if live.setpoint is None else values | {"setpoint": round(live.setpoint, 2)}

    return say


def obey(live: LiveHouse, clock: Clock) -> Callable[[str, bytes], tuple[str, bytes] | None]:
    """What a battery does with a call: `setValue` of its setpoint, which it answers."""

    def heard(topic: str, payload: bytes) -> tuple[str, bytes] | None:
        try:
            call = msgspec.json.decode(payload)
            setpoint = float(call["params"]["setpoint"])
        except (msgspec.DecodeError, KeyError, TypeError, ValueError):
            return None
        live.tell(setpoint, clock.now_ns())
        return topic.replace("/request/", "/response/"), msgspec.json.encode({"setpoint": setpoint})

    return heard


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


def speakers(district: District, houses: dict[str, LiveHouse]) -> Iterator[tuple[str, str, Say | None, Say | None]]:
    """Project, thing, what it says live and what of an hour, for all devices of the district."""
    for live in houses.values():
        house = live.house
        yield house.name, "meter", meter_now(live), meter_hour(live)
        yield house.name, "pv", pv_now(house), pv_hour(house)
        yield house.name, "battery", battery_now(live), battery_hour(live)
        yield house.name, "shadow", None, shadow_hour(house)
    yield "district", "grid", grid_now(district), grid_now(district)


async def speak(send: Send, clock: Clock, now: Say | None, hour: Say | None, backfill: bool) -> None:
    """Report until cancelled."""
    this_hour = clock.now_ns() // HOUR_NS * HOUR_NS
    if hour and backfill:
        first = max(START_NS, this_hour - PROFILE_HOURS * HOUR_NS)
        send([_stamped(start, hour(start)) for start in range(first, this_hour, HOUR_NS)])
    while True:
        at = (clock.now_ns() // REPORT_NS + 1) * REPORT_NS
        await asyncio.sleep((at - clock.now_ns()) / NS_PER_S / clock.speed)
        if now is not None:
            send([_stamped(at, now(at))])
        while hour and this_hour + HOUR_NS <= at:
            send([_stamped(this_hour, hour(this_hour))])
            this_hour += HOUR_NS


def connect(
    host: str, port: int, project: str, thing: str, token: str, clock: Clock, houses: dict[str, LiveHouse]
) -> Device:
    """A device of the district with its own credentials; a battery listens for calls."""
    client = Client(f"{project}-{thing}", username=token, clean_start=False, keep_alive=60)
    if thing != "battery":
        return Device(host, port, client, clock)
    return Device(host, port, client, clock, f"{_RPC}/request/+", obey(houses[project], clock))


def publish(device: Device) -> Send:
    """Reports over MQTT; one that finds the queue full is left out, as a device without storage would."""

    def send(rows: list[Values]) -> None:
        try:
            device.publish(TOPIC, msgspec.json.encode(rows if len(rows) > 1 else rows[0]))
        except QueueFull:
            log.warning("a report is left out: the server has not acknowledged the ones before")

    return send


def _stamped(at: int, values: Values) -> Values:
    return {"ts": at // 1_000_000, "values": values}
