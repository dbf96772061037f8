"""A battery of the demo that speaks Modbus TCP: pymodbus's server, with the SunSpec models 1, 802 and 704.

Its registers are filled as they are read. Written may be the active power setpoint alone (704 WSet, discharging is
positive), within what the battery can; its answer says whether it took it.
"""

import logging
import struct
from pathlib import Path
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from taihu.drivers.modbus.sunspec import BASES, MARK, MISSING, Found, models, thing_of
from taihu.drivers.port import Point
from taihu.kernel.clock import Clock
from taihu.sim.connections import HOST, announce, port_or_any
from taihu.sim.district import BATTERY_KW, BATTERY_KWH
from taihu.sim.live import LiveHouse
from taihu.things.property import DataType as Type
from taihu.things.property import Kind, Property

logging.getLogger("pymodbus").setLevel(logging.ERROR)

_COMMON, _BATTERY, _CONTROLS = 1, 802, 704
_END = 0xFFFF
_GAP = 64  # one read fetches all of a battery
_STATES = {"charging": 4, "discharging": 3, "idle": 6}
_W_PER_KW = 1_000
_SETPOINT_SF = 1  # steps of 10 W


class Registers:
    """The registers of a SunSpec device: its models one after the other, each point set by its name."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self.words: list[int] = [*MARK]
        self.found: list[Found] = []
        self._places: dict[tuple[int, str], tuple[int, int]] = {}
        for number in numbers:
            start, points = len(self.words), models()[str(number)]["points"]
            size = max(one["at"] + one["size"] for one in points)
            self.words += [0] * size
            self.found.append(Found(number, BASES[0] + start, size))
            for one in points:
                self._places[number, one["name"]] = start + one["at"], one["size"]
                self.set(number, one["name"], MISSING.get(one["type"], -0x8000 if one["type"] == "sunssf" else 0))
            self.words[start : start + 2] = [number, size - 2]
        self.words += [_END, 0]

    def set(self, number: int, name: str, value: int | str) -> None:
        """Set a point: a raw number, or text."""
        place, size = self._places[number, name]
        data = value.encode() if isinstance(value, str) else (value % (1 << 16 * size)).to_bytes(2 * size, "big")
        self.words[place : place + size] = struct.unpack(f">{size}H", data.ljust(2 * size, b"\0"))

    def place(self, number: int, name: str) -> tuple[int, int]:
        """The first register of a point, and how many it has."""
        place, size = self._places[number, name]
        return BASES[0] + place, size


class Battery:
    """One battery and its server."""

    def __init__(self, live: LiveHouse, clock: Clock) -> None:
        self._live = live
        self._clock = clock
        self._registers = registers = Registers((_COMMON, _BATTERY, _CONTROLS))
        common: dict[str, int | str] = {"Mn": "Taihu", "Md": "Demo battery", "SN": live.house.name, "DA": 1}
        rated = {"WHRtg": round(BATTERY_KWH * _W_PER_KW), "WChaRteMax": round(BATTERY_KW * _W_PER_KW)}
        scales = {"WHRtg_SF": 0, "WChaDisChaMax_SF": 0, "SoC_SF": -1, "W_SF": 0}
        controls = {"WSetEna": 1, "WSetMod": 1, "WSet_SF": _SETPOINT_SF}
        for number, values in ((_COMMON, common), (_BATTERY, rated | scales), (_CONTROLS, controls)):
            for name, value in values.items():
                registers.set(number, name, value)
        self._server: ModbusTcpServer | None = None

    async def serve(self, port: int) -> int:
        """Serve on a port, or on another when that one is taken; returns which."""
        data = SimData(BASES[0], values=list(self._registers.words), datatype=DataType.REGISTERS)
        device = SimDevice(1, simdata=[data], action=self._asked)
        self._server = ModbusTcpServer(device, address=(HOST, port_or_any(port)))
        await self._server.serve_forever(background=True)
        transport: Any = self._server.transport
        return int(transport.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Serve no more."""
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]

    def points(self) -> list[Point]:
        """What the node reads and writes of it, as the model of a battery has it."""
        thing, _ = thing_of("battery", self._registers.found, ())
        where = {point.definition.name: dict(point.where) for point in thing.points}
        kilo = {"scale": -1 / _W_PER_KW}  # charging is positive here
        symbols = {"symbols": {str(raw): name for name, raw in _STATES.items()}}
        return [
            Point(definition=Property(name="power", unit="kW"), where=where["W"] | kilo),
            Point(definition=Property(name="state_of_charge", unit="%"), where=where["SoC"]),
            Point(
                definition=Property(name="mode", kind=Kind.STATE, data_type=Type.STRING), where=where["ChaSt"] | symbols
            ),
            Point(definition=Property(name="setpoint", unit="kW", writable=True), where=where["WSet"] | kilo),
        ]

    async def _asked(
        self, function: int, start: int, address: int, count: int, held: list[int], new: list[int] | list[bool] | None
    ) -> ExcCodes | None:
        """Before each answer: take a setpoint, or fill the registers as they are now."""
        if new is None:
            self._fill()
            held[: len(self._registers.words)] = self._registers.words
            return None
        if (address, count) != self._registers.place(_CONTROLS, "WSet"):
            return ExcCodes.ILLEGAL_ADDRESS
        raw = struct.unpack(">i", struct.pack(">2H", *new))[0]
        wanted = -raw * 10**_SETPOINT_SF / _W_PER_KW
        if abs(wanted) > BATTERY_KW:
            return ExcCodes.ILLEGAL_VALUE
        self._live.tell(wanted, self._clock.now_ns())
        return None

    def _fill(self) -> None:
        live, put = self._live, self._registers.set
        live.advance(self._clock.now_ns())
        put(_BATTERY, "W", round(-live.battery_kw * _W_PER_KW))
        put(_BATTERY, "SoC", round(live.charge_percent * 10))
        put(_BATTERY, "ChaSt", _STATES[live.mode])
        told = live.setpoint
        raw = MISSING["int32"] if told is None else round(-told * _W_PER_KW / 10**_SETPOINT_SF)
        put(_CONTROLS, "WSet", raw)


async def serve_battery(live: LiveHouse, clock: Clock, port: int, site: Path) -> Battery:
    """Serve a battery, and let the node connect to it."""
    battery = Battery(live, clock)
    taken = await battery.serve(port)
    url = f"modbus+tcp://{HOST}:{taken}/1"
    announce(site, clock, live.house.name, "battery", "modbus", url, battery.points(), gap=_GAP)
    return battery
