"""What a command costs: given in a batch under a standing permit, sent by MQTT, received and answered."""

import asyncio
from typing import Any

import msgspec

from bench.harness import Options, Report, Row
from bench.machine import cpu_seconds
from bench.node import PROJECT, Node, gauge
from taihu.kernel.clock import SystemClock
from taihu.protocols.mqtt.client import Client
from taihu.sim.device import Device

NAME = "commands"
_BATCH = 500
_WAIT_S = 60.0
_CLOCK = SystemClock()


def run(options: Options) -> Report:
    """Rounds of commands to all devices, each round when the one before is done."""
    report = Report(NAME, "Commands in batches to devices over MQTT: CPU of each")
    count, rounds = (20, 2) if options.smoke else (500, max(4, int(2 * options.seconds)))
    with Node([f"device-{place}" for place in range(count)], {"setpoint": gauge("kW") | {"readOnly": False}}) as node:
        report.rows.append({"devices": count, "commands": count * rounds} | asyncio.run(_measure(node, rounds)))
    report.note(
        "Each command is checked against its standing permit, sealed, journalled and synced before it leaves, received "
        "(PUBACK) and answered by its device, and kept in the worker's log: five steps, each journalled."
    )
    return report


async def _measure(node: Node, rounds: int) -> Row:
    names, heard = list(node.tokens), _Heard()

    def device(name: str) -> Device:
        client = Client(name, username=node.tokens[name], clean_start=False, keep_alive=60)

        def answer(topic: str, payload: bytes) -> tuple[str, bytes]:
            heard.one()
            return topic.replace("/request/", "/response/"), b"{}"

        return Device(*node.mqtt, client, _CLOCK, "v1/devices/me/rpc/request/+", answer)

    tasks = [asyncio.create_task(device(name).run()) for name in names]
    permit = {"things": "*", "name": "setpoint", "low": 0, "high": 1e6, "per_minute": 1_000, "hours": 1}
    standing = (await _post(node, "standing/batch", {"standing": [permit]}))["outcomes"][0]["id"]
    await _round(node, names, standing, 0, heard)
    before = {name: cpu_seconds(pid) for name, pid in node.pids.items()}
    for number in range(1, rounds + 1):
        await _round(node, names, standing, number, heard)
    await asyncio.to_thread(node.settle)
    used = {name: 1e6 * (cpu_seconds(pid) - before[name]) / rounds / len(names) for name, pid in node.pids.items()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {f"{name} us": round(us, 1) for name, us in used.items()}


class _Heard:
    """How many are still to be heard of."""

    def __init__(self) -> None:
        self.all = asyncio.Event()
        self._left = 0

    def wait_for(self, count: int) -> None:
        self._left = count
        self.all.clear()

    def one(self) -> None:
        self._left -= 1
        if not self._left:
            self.all.set()


async def _round(node: Node, names: list[str], standing: str, number: int, heard: _Heard) -> None:
    """Command every device, and wait until the last has it."""
    heard.wait_for(len(names))
    for start in range(0, len(names), _BATCH):
        orders = [
            {"thing": name, "property": "setpoint", "input": number, "standing": standing, "why": "a bench"}
            for name in names[start : start + _BATCH]
        ]
        outcomes = (await _post(node, "commands/batch", {"commands": orders}))["outcomes"]
        assert all(one.get("state") in ("sent", "permitted", "acknowledged", "done") for one in outcomes), outcomes[:3]
    async with asyncio.timeout(_WAIT_S):
        await heard.all.wait()


async def _post(node: Node, what: str, body: dict[str, Any]) -> Any:
    return await asyncio.to_thread(node.post, f"/projects/{PROJECT}/{what}", msgspec.json.encode(body))
