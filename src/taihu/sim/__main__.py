"""Runs the demo district's 69 devices: `python -m taihu.sim PLAN`, where PLAN is a JSON file the demo writes.

They speak MQTT, but for two batteries on Modbus TCP and an inverter on OPC UA.
"""

import asyncio
import logging
import signal
import sys
from pathlib import Path

import msgspec

from taihu.kernel.clock import NS_PER_S, ScaledClock
from taihu.sim.devices import REPORT_NS, connect, publish, speak, speakers
from taihu.sim.district import District
from taihu.sim.live import LiveHouse, State, live_houses
from taihu.sim.modbus import serve_battery
from taihu.sim.opcua import serve_inverter
from taihu.sim.site import MODBUS_BATTERIES, OPCUA_INVERTER

_KEEP_S_MIN = 0.2


class Plan(msgspec.Struct, frozen=True):
    """Where the server is, how the demo clock runs, where the houses' state is kept, and tokens by `project/thing`.

    `site` is the folder for connection files; `opcua` says whether the node has a driver for OPC UA.
    """

    host: str
    port: int
    origin_ns: int
    anchor_ns: int
    speed: float
    first_start: bool
    state: str
    site: str
    opcua: bool
    tokens: dict[str, str]


async def run(plan: Plan) -> None:
    """Run all devices until a signal."""
    clock = ScaledClock(plan.origin_ns, plan.speed, plan.anchor_ns)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as group:
        tasks = []
        district, path = District(), Path(plan.state)
        houses = live_houses(district.houses, _kept(path), clock.now_ns())
        tasks.append(group.create_task(_keep(houses, path, clock)))
        for house, port in MODBUS_BATTERIES.items():
            await serve_battery(houses[house], clock, port, Path(plan.site))
        for project, thing, now, hour in speakers(district, houses):
            if thing == "battery" and project in MODBUS_BATTERIES:
                continue
            token = plan.tokens[f"{project}/{thing}"]
            device = connect(plan.host, plan.port, project, thing, token, clock, houses)
            send = publish(device)
            if plan.opcua and (project, thing) == OPCUA_INVERTER:
                send = serve_inverter(project, clock, Path(plan.site), send)
            tasks.append(group.create_task(device.run()))
            tasks.append(group.create_task(speak(send, clock, now, hour, plan.first_start)))
        await stop.wait()
        for task in tasks:
            task.cancel()


def _kept(path: Path) -> dict[str, State]:
    """What was kept of the houses; nothing at the first start."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, State])
    except FileNotFoundError:
        return {}


async def _keep(houses: dict[str, LiveHouse], path: Path, clock: ScaledClock) -> None:
    """Keep the houses' state as they go on, until cancelled."""
    beside = path.with_suffix(".new")
    while True:
        await asyncio.sleep(max(REPORT_NS / NS_PER_S / clock.speed, _KEEP_S_MIN))
        beside.write_bytes(msgspec.json.encode({name: live.state for name, live in houses.items()}))
        beside.replace(path)


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s devices %(levelname)-7s %(message)s")
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # it calls it an error when who asked has gone
    asyncio.run(run(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)))
