"""Runs the demo district's 52 devices: `python -m taihu.sim PLAN`, where PLAN is a JSON file the demo writes."""

import asyncio
import logging
import signal
import sys
from pathlib import Path

import msgspec

from taihu.kernel.clock import ScaledClock
from taihu.sim.devices import connect, speak, speakers
from taihu.sim.district import District


class Plan(msgspec.Struct, frozen=True):
    """Where the server is, how the demo clock runs, and each device's token by `project/thing`."""

    host: str
    port: int
    origin_ns: int
    anchor_ns: int
    speed: float
    first_start: bool
    tokens: dict[str, str]


async def run(plan: Plan) -> None:
    """Run all devices until a signal."""
    clock = ScaledClock(plan.origin_ns, plan.speed, plan.anchor_ns)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as group:
        tasks = []
        for project, thing, now, hour in speakers(District()):
            device = connect(plan.host, plan.port, project, thing, plan.tokens[f"{project}/{thing}"], clock)
            tasks.append(group.create_task(device.run()))
            tasks.append(group.create_task(speak(device, clock, now, hour, plan.first_start)))
        await stop.wait()
        for task in tasks:
            task.cancel()


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s devices %(levelname)-7s %(message)s")
    asyncio.run(run(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)))
