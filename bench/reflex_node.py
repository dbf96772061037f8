"""The fast layer on a node: from what the meter says to the commands at the devices, by MQTT, and what a turn costs."""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench.harness import Options, Report, Row
from bench.machine import cpu_seconds, loop_seconds
from bench.node import gauge, issue, thing_model
from taihu.kernel.clock import HOUR_NS, SystemClock, to_datetime
from taihu.kernel.config import load_site
from taihu.protocols.mqtt.client import Client
from taihu.runtime.paths import Paths
from taihu.runtime.pilot.decisions import Decisions
from taihu.runtime.run import Supervisor
from taihu.sim.device import Device

NAME = "reflex_node"
_METER_S = 1.0
_NEAR_KW = 0.1
_CLOCK = SystemClock()
_READY_S = 120.0
_LIMITS = "[limits]\njoin_things_max = 10_000\njoin_things_per_minute_max = 1_000_000\n"
_FINE = {"multipleOf": 0.001}
_PROPERTIES = {
    "power": gauge("kW") | _FINE, "base": gauge("kW", 7_200), "state_of_charge": gauge("%"),
    "setpoint": gauge("kW") | _FINE | {"readOnly": False},
}  # fmt: skip
_encode = msgspec.json.Encoder().encode


def run(options: Options) -> Report:
    """Few batteries and many, each following a meter that jumps each second."""
    report = Report(
        NAME, "From a reading of the meter to the command at the device (ms), a meter each second, over MQTT"
    )
    few = max(5, int(8 * options.seconds))
    for count, readings in ((2, 3),) if options.smoke else ((2, few), (100, few // 2), (1_000, few // 2)):
        with tempfile.TemporaryDirectory(prefix="taihu-bench-") as folder:
            report.rows += _rows(Path(folder), count, readings)
    report.note(
        "Each second the load jumps by 1 to 4 kW: where `all move`, by half of that for each battery. The clock runs "
        "from the meter's publish to a setpoint that a battery receives: the first, and the last. A reading is "
        f"followed when load and batteries are within {_NEAR_KW:g} kW a second after it. CPU is per reading of the "
        "meter, with all readings of the batteries (one a second each) and all their commands; that of the pilot is "
        "apart: its turns, and the plans that it makes beside them on a thread of their own."
    )
    return report


def _rows(folder: Path, count: int, readings: int) -> Iterator[Row]:
    names = [f"battery-{place}" for place in range(count)]
    (folder / "device.tm.json").write_bytes(thing_model(_PROPERTIES))
    (folder / "site.toml").write_text(_site(names))
    directory = Supervisor(load_site(folder)).prepare()
    tokens = issue(directory, "bench", ["meter", *names])
    directory.close()
    data = load_site(folder).data
    store = Decisions(Paths(data).decisions)
    for day in range(1, 15):
        store.add_day("bench", "bench", to_datetime(_CLOCK.now_ns() - day * 24 * HOUR_NS).date().isoformat(), 1.0)
    store.close()
    with _node(folder) as pids:
        address = msgspec.json.decode((data / "node.json").read_bytes())["mqtt"]
        yield from asyncio.run(_Yard(address, tokens, names).measure(readings, pids))


@contextmanager
def _node(folder: Path) -> Iterator[dict[str, int]]:
    """A whole node; its processes by what they are."""
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "taihu.cli.main", "run", str(folder)], stderr=log)
    try:
        end = time.monotonic() + _READY_S
        while "API on" not in (folder / "log").read_text():
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError((folder / "log").read_text()[-2_000:])
            time.sleep(0.1)
        yield _children(process.pid)
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
        '[mqtt]\nport = 0\n[http]\nport = 0\n' + _LIMITS + '[[project]]\nname = "bench"\n' + things
        + '[[project.scheduler]]\nname = "bench"\nnet = "meter/power"\nbase = "meter/base"\nlag_s = 0.8\n'
        + "[project.scheduler.buys]\nprice = 0.3\n" + batteries
    )  # fmt: skip


def _children(pid: int) -> dict[str, int]:
    """Processes of a node by what they are."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
        found[next((word for word in words if word in ("ingest", "pilot", "worker")), child)] = int(child)
    return found


class _Yard:
    """The meter and batteries that do at once what they are told, one MQTT connection each."""

    def __init__(self, address: tuple[str, int], tokens: dict[str, str], names: list[str]) -> None:
        self._address, self._tokens = address, tokens
        self._powers = dict.fromkeys(names, 0.0)
        self._came: list[float] = []
        self._random, self._load = np.random.default_rng(1), 3.0

    async def measure(self, readings: int, pids: dict[str, int]) -> list[Row]:
        """Wait until it is driven, then take the times."""
        self._meter = self._device("meter")
        self._devices = {name: self._device(name) for name in self._powers}
        tasks = [asyncio.create_task(device.run()) for device in (self._meter, *self._devices.values())]
        self._say(self._meter, _days())
        end = time.monotonic() + _READY_S
        while not (await self._second(1.0))["followed"]:
            if time.monotonic() > end:
                raise RuntimeError("nobody drives")
        rows = [await self._row(readings, scale, pids) for scale in sorted({1.0, len(self._powers) / 2})]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return rows

    async def _row(self, readings: int, scale: float, pids: dict[str, int]) -> Row:
        await self._second(scale)
        used, looped = {name: cpu_seconds(pid) for name, pid in pids.items()}, loop_seconds(pids["pilot"])
        seconds = [await self._second(scale) for _ in range(readings)]
        cpu = {name: 1e3 * (cpu_seconds(pid) - used[name]) / readings for name, pid in pids.items()}
        turns = 1e3 * (loop_seconds(pids["pilot"]) - looped) / readings
        times: Row = {
            f"{what} {mark}": round(
                float(np.quantile([one[what] for one in seconds if what in one] or [np.nan], share)), 1
            )
            for what in ("first", "last")
            for mark, share in (("p50", 0.5), ("p99", 0.99))
        }
        name = f"{len(self._powers)}, all move" if scale > 1 else str(len(self._powers))
        followed = f"{sum(one['followed'] for one in seconds):.0f} of {readings}"
        commands = sum(one["commands"] for one in seconds) / readings
        row: Row = {"batteries": name, "followed": followed, "commands": round(commands, 1)}
        return row | times | {
            "turn CPU ms": round(turns, 1), "plans CPU ms": round(cpu["pilot"] - turns, 1),
            "ingest CPU ms": round(cpu["ingest"], 1), "worker CPU ms": round(cpu["worker"], 1),
        }  # fmt: skip

    async def _second(self, scale: float) -> dict[str, float]:
        """Say what everybody takes, let the load jump, and see what comes of it."""
        self._load = 3.0 + (self._load + float(self._random.uniform(1.0, 4.0))) % 8.0
        for name, device in self._devices.items():
            self._say(device, {"power": round(self._powers[name], 3), "state_of_charge": 50.0})
        await asyncio.sleep(0.1 * _METER_S)
        self._came.clear()
        began = time.perf_counter()
        self._say(self._meter, {"power": round(self._net(scale), 3), "base": 3.0})
        await asyncio.sleep(0.9 * _METER_S)
        found = {"commands": float(len(self._came)), "followed": float(abs(self._net(scale)) < _NEAR_KW)}
        if self._came:
            found |= {"first": 1e3 * (self._came[0] - began), "last": 1e3 * (self._came[-1] - began)}
        return found

    def _net(self, scale: float) -> float:
        return scale * self._load + sum(self._powers.values())

    def _device(self, thing: str) -> Device:
        client = Client(thing, username=self._tokens[thing], clean_start=False, keep_alive=60)

        def heard(topic: str, payload: bytes) -> tuple[str, bytes]:
            self._came.append(time.perf_counter())
            self._powers[thing] = msgspec.json.decode(payload)["params"]["setpoint"]
            return topic.replace("/request/", "/response/"), b"{}"

        return Device(*self._address, client, _CLOCK, "v1/devices/me/rpc/request/+", heard)

    @staticmethod
    def _say(device: Device, said: dict[str, Any] | list[dict[str, Any]]) -> None:
        device.publish("v1/devices/me/telemetry", _encode(said))


def _days() -> list[dict[str, Any]]:
    """Hours of two days: what the scheduler expects of the load."""
    first = _CLOCK.now_ns() // HOUR_NS * HOUR_NS - 48 * HOUR_NS
    return [{"ts": (first + hour * HOUR_NS) // 1_000_000, "values": {"base": 3.0, "power": 3.0}} for hour in range(48)]
