"""The fast layer on a node: from what the meter says to the command at the devices, by MQTT, and what a turn costs."""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness import Options, Report, Row
from bench.machine import cpu_seconds, loop_seconds
from bench.node import gauge, thing_model
from taihu.cli.client import NodeClient, connect
from taihu.decide.twindays import HOUR_NS
from taihu.kernel.clock import SystemClock, to_datetime
from taihu.kernel.config import load_site
from taihu.protocols.mqtt.client import Client
from taihu.runtime.paths import Paths
from taihu.runtime.pilot.decisions import Decisions
from taihu.sim.device import Device

NAME = "reflex_node"
_METER_S = 1.0
_CLOCK = SystemClock()
_READY_S = 60.0
_PROPERTIES = {
    "power": gauge("kW"), "base": gauge("kW", 7_200), "state_of_charge": gauge("%"),
    "setpoint": gauge("kW") | {"readOnly": False},
}  # fmt: skip


def run(options: Options) -> Report:
    """Few batteries and many, each following a meter that jumps each second."""
    report = Report(
        NAME, "From a reading of the meter to the command at the device (ms), a meter each second, over MQTT"
    )
    for count in (2,) if options.smoke else (2, 100, 1_000):
        with tempfile.TemporaryDirectory(prefix="taihu-bench-") as folder:
            report.rows.append(_row(Path(folder), count, 3 if options.smoke else max(10, int(4 * options.seconds))))
    report.note(
        "Each second the load jumps by 1 to 4 kW; the clock runs from the meter's publish to the setpoint that a "
        "battery receives: the first of them, and the last. CPU is per reading of the meter, with all readings of "
        "the batteries (one a second each) and all their commands, synced to disk before they go; that of the pilot is "
        "apart: its turns, and the plans that it makes beside them on a thread of their own."
    )
    return report


def _row(folder: Path, count: int, readings: int) -> Row:
    names = [f"battery-{place}" for place in range(count)]
    (folder / "device.tm.json").write_bytes(thing_model(_PROPERTIES))
    (folder / "site.toml").write_text(_site(names))
    data = load_site(folder).data
    data.mkdir()
    store = Decisions(Paths(data).decisions)
    for day in range(1, 15):
        store.add_day("bench", "bench", to_datetime(_CLOCK.now_ns() - day * 24 * HOUR_NS).date().isoformat(), 1.0)
    store.close()
    command = [sys.executable, "-m", "taihu.cli.main", "run", str(folder)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        end = time.monotonic() + _READY_S
        while "API on" not in (folder / "log").read_text():
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError((folder / "log").read_text()[-2_000:])
            time.sleep(0.1)
        yard = _Yard(connect(None, None, folder), folder, names)
        return {"batteries": count} | asyncio.run(yard.measure(readings, _children(process.pid)))
    finally:
        process.terminate()
        process.wait(30)


def _site(names: list[str]) -> str:
    things = "".join(f'[[project.thing]]\nname = "{name}"\nmodel = "device.tm.json"\n' for name in ("meter", *names))
    batteries = "".join(
        f'[[project.scheduler.battery]]\nname = "{name}"\nthing = "{name}"\ncapacity_kwh = 1000\npower_kw = 50\n'
        for name in names
    )
    return (
        '[mqtt]\nport = 0\n[http]\nport = 0\n[[project]]\nname = "bench"\n' + things
        + '[[project.scheduler]]\nname = "bench"\nnet = "meter/power"\nbase = "meter/base"\n'
        + "solver_s = 20\nlag_s = 0.8\n"
        + "[project.scheduler.buys]\nprice = 0.3\n" + batteries
    )  # fmt: skip


def _children(pid: int) -> dict[str, int]:
    """Processes of a node by what they are."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
        found[next((word for word in words if word in ("ingest", "pilot")), child)] = int(child)
    return found


class _Yard:
    """The meter and batteries that do at once what they are told, one MQTT connection each."""

    def __init__(self, owner: NodeClient, folder: Path, names: list[str]) -> None:
        self._owner, self._names = owner, names
        self._port = json.loads((folder / "data" / "node.json").read_text())["mqtt"][1]
        self._powers = dict.fromkeys(names, 0.0)
        self._came: list[float] = []

    async def measure(self, readings: int, pids: dict[str, int]) -> Row:
        """Wait until it is driven, then take the times."""
        meter = self._device("meter")
        devices = {name: self._device(name) for name in self._names}
        tasks = [asyncio.create_task(device.run()) for device in (meter, *devices.values())]
        self._say(meter, _days())
        random, load, driven, first, last = np.random.default_rng(1), 3.0, 0, [], []
        used, looped = dict.fromkeys(pids, 0.0), 0.0
        end = time.monotonic() + _READY_S + len(self._names)
        while driven <= readings:
            load = 3.0 + (load + float(random.uniform(1.0, 4.0))) % 8.0
            for name, device in devices.items():
                self._say(device, {"power": round(self._powers[name], 2), "state_of_charge": 50.0})
            await asyncio.sleep(0.1 * _METER_S)
            self._came.clear()
            began = time.perf_counter()
            self._say(meter, {"power": round(load + sum(self._powers.values()), 2), "base": 3.0})
            await asyncio.sleep(0.9 * _METER_S)
            if driven and self._came:
                first.append(1e3 * (self._came[0] - began))
                last.append(1e3 * (self._came[-1] - began))
            if driven or self._came:
                driven += 1
            elif time.monotonic() > end:
                raise RuntimeError("nobody drives")
            if driven == 1:
                used, looped = {name: cpu_seconds(pid) for name, pid in pids.items()}, loop_seconds(pids["pilot"])
        cpu = {name: 1e3 * (cpu_seconds(pid) - used[name]) / readings for name, pid in pids.items()}
        turns = 1e3 * (loop_seconds(pids["pilot"]) - looped) / readings
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return {
            "answered": f"{len(first)} of {readings}", "first p50": round(float(np.median(first)), 1),
            "first p99": round(float(np.quantile(first, 0.99)), 1), "last p50": round(float(np.median(last)), 1),
            "last p99": round(float(np.quantile(last, 0.99)), 1), "turn CPU ms": round(turns, 1),
            "plans CPU ms": round(cpu["pilot"] - turns, 1), "ingest CPU ms": round(cpu["ingest"], 1),
        }  # fmt: skip

    def _device(self, thing: str) -> Device:
        body = {"project": "bench", "kind": "thing", "thing": thing}
        token = self._owner.post("admin", "token-issue", body=body)["token"]
        client = Client(thing, username=token, clean_start=False, keep_alive=60)

        def heard(topic: str, payload: bytes) -> tuple[str, bytes]:
            self._came.append(time.perf_counter())
            self._powers[thing] = json.loads(payload)["params"]["setpoint"]
            return topic.replace("/request/", "/response/"), b"{}"

        return Device("127.0.0.1", self._port, client, _CLOCK, "v1/devices/me/rpc/request/+", heard)

    @staticmethod
    def _say(device: Device, said: dict[str, Any] | list[dict[str, Any]]) -> None:
        device.publish("v1/devices/me/telemetry", json.dumps(said).encode())


def _days() -> list[dict[str, Any]]:
    """Hours of two days: what the scheduler expects of the load."""
    first = _CLOCK.now_ns() // HOUR_NS * HOUR_NS - 48 * HOUR_NS
    return [{"ts": (first + hour * HOUR_NS) // 1_000_000, "values": {"base": 3.0, "power": 3.0}} for hour in range(48)]
