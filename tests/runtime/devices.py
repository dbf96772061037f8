"""Devices of yards over MQTT, one connection each, and a battery over Modbus TCP: they report, and obey."""

import asyncio
import json
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from tests.waiting import WAIT_S

from taihu.cli.client import NodeClient
from taihu.kernel.clock import Clock
from taihu.protocols.mqtt.client import Client
from taihu.sim.device import Device
from taihu.sim.flexible import Yard, obey

NUMBERS = {
    "kW": ("power", "base", "setpoint", "limit"), "%": ("state_of_charge",), "Cel": ("temperature",),
    "s": ("departure",), "kW.h": ("remaining",), "kg/(kW.h)": ("intensity",),
}  # fmt: skip
_WRITTEN = ("setpoint", "limit", "on")
_REPORT_S = 0.4

Rows = list[dict[str, Any]]


def model() -> dict[str, Any]:
    """One model for all of them: whatever any of them says or takes."""
    properties: dict[str, Any] = {
        name: {"type": "number", "unit": unit, "readOnly": name not in _WRITTEN, "taihu:maxAge": 7_200}
        for unit, names in NUMBERS.items()
        for name in names
    }
    properties |= {
        name: {"type": "number", "readOnly": name != "on", "taihu:maxAge": 7_200} for name in ("on", "price")
    }
    properties |= {name: {"type": "boolean", "taihu:maxAge": 7_200} for name in ("plugged", "running")}
    return {
        "@context": ["https://www.w3.org/2022/wot/td/v1.1", {"taihu": "urn:taihu:ns#"}], "@type": "tm:ThingModel",
        "title": "Anything", "properties": properties, "actions": {"start": {}},
    }  # fmt: skip


def things(names: Sequence[str]) -> str:
    """Their tables of a site."""
    return "".join(f'[[project.thing]]\nname = "{name}"\nmodel = "any.tm.json"\n' for name in names)


class Devices:
    """The devices of some yards (by project) with the names of their things, in a thread, until `stop`.

    `past(project, thing)` is what a thing tells first of the days before.
    """

    def __init__(
        self, owner: NodeClient, mqtt: int, clock: Clock, yards: Mapping[str, tuple[Yard, Sequence[str]]],
        past: Callable[[str, str], Rows],
    ) -> None:  # fmt: skip
        self._owner, self._mqtt, self._clock, self._yards, self._past = owner, mqtt, clock, yards, past
        self._stop = threading.Event()
        self.started: list[str] = []
        """Things whose run was begun by an action."""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Disconnect all."""
        self._stop.set()
        self._thread.join(WAIT_S)

    async def _run(self) -> None:
        tasks = [
            asyncio.create_task(self._speak(project, yard, thing))
            for project, (yard, names) in self._yards.items()
            for thing in names
        ]
        while not self._stop.is_set():
            await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _speak(self, project: str, yard: Yard, thing: str) -> None:
        """A device: it tells the days before, then what it is, and does what it is told."""
        body = {"project": project, "kind": "thing", "thing": thing}
        token = (await asyncio.to_thread(self._owner.post, "admin", "token-issue", body=body))["token"]
        client = Client(f"{project}-{thing}", username=token, clean_start=False, keep_alive=60)

        def heard(topic: str, payload: bytes) -> tuple[str, bytes] | None:
            if b'"start"' in payload:
                self.started.append(thing)
            return obey(yard, thing, self._clock.now_ns(), topic, payload)

        device = Device("127.0.0.1", self._mqtt, client, self._clock, "v1/devices/me/rpc/request/+", heard)
        running = asyncio.create_task(device.run())
        try:
            if past := self._past(project, thing):
                device.publish("v1/devices/me/telemetry", json.dumps(past).encode())
            while True:
                now = self._clock.now_ns()
                yard.advance(now)
                row = {"ts": now // 1_000_000, "values": yard.say(thing)}
                device.publish("v1/devices/me/telemetry", json.dumps(row).encode())
                await asyncio.sleep(_REPORT_S)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


class ModbusBattery:
    """The battery of a yard by pymodbus's server: registers 0 power, 1 setpoint (int16, 10 W), 2 charge (0.1 %)."""

    def __init__(self, yard: Yard, clock: Clock, port: int) -> None:
        self._yard, self._clock, self._port = yard, clock, port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(WAIT_S)

    def stop(self) -> None:
        """Serve no more."""
        asyncio.run_coroutine_threadsafe(self._server.shutdown(), self._loop).result(WAIT_S)  # type: ignore[no-untyped-call]
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()

    async def _serve(self) -> None:
        data = SimData(0, values=[0, 0, 0], datatype=DataType.REGISTERS)
        self._server = ModbusTcpServer(
            SimDevice(1, simdata=[data], action=self._asked), address=("127.0.0.1", self._port)
        )
        await self._server.serve_forever(background=True)

    async def _asked(
        self, function: int, start: int, address: int, count: int, held: list[int], new: list[int] | list[bool] | None
    ) -> ExcCodes | None:
        """Before each answer: take a setpoint, or fill the registers as they are now."""
        yard = self._yard
        yard.advance(self._clock.now_ns())
        if new is None:
            told = yard.told.get("battery", 0.0)
            power = (round(100 * one) % 65_536 for one in (yard.power("battery"), told))
            held[:3] = [*power, round(1_000 * yard.battery_kwh / yard.BATTERY_KWH)]
        elif (address, count) == (1, 1):
            yard.tell("battery", struct.unpack(">h", struct.pack(">H", new[0]))[0] / 100)
        else:
            return ExcCodes.ILLEGAL_ADDRESS
        return None


def modbus_file(project: str, port: int) -> str:
    """Its connection file."""
    points = [
        f'[[thing.point]]\nname = "{name}"\nunit = "{unit}"\nkind = "gauge"\n{more}'
        f'[thing.point.where]\nregister = {place}\ntype = "int16"\nscale = {scale}\n'
        for place, (name, unit, scale, more) in enumerate(
            [
                ("power", "kW", 0.01, ""),
                ("setpoint", "kW", 0.01, "writable = true\n"),
                ("state_of_charge", "%", 0.1, ""),
            ]
        )
    ]
    head = f'project = "{project}"\ndriver = "modbus"\nurl = "modbus+tcp://127.0.0.1:{port}/1"\nperiod_s = 0.2\n'
    return f'{head}\n[[thing]]\nname = "battery"\n{"".join(points)}'
