"""The Modbus driver: reads blocks of registers in a fixed rhythm, writes single points.

`modbus+tcp://HOST:PORT/UNIT`, or `modbus+rtu+tcp://…` for RTU frames over TCP. A read that is late does not pile up:
the next begins at its own time, and what was passed over is counted as `late`. A unit behind a gateway that does not
answer is offline alone.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, Self

from pymodbus import FramerType, ModbusException
from pymodbus.client import AsyncModbusTcpClient

from taihu.drivers.address import endpoint_of, unreachable
from taihu.drivers.modbus.points import Address, Block, Cells, address_of, blocks, encode, gather, value_of
from taihu.drivers.modbus.sunspec import find_models, thing_of
from taihu.drivers.port import (
    Act,
    ActionPlan,
    Connection,
    DeviceLost,
    DeviceRefused,
    Found,
    Out,
    Plan,
    Point,
    Reading,
    Result,
    ThingPlan,
)
from taihu.kernel.clock import Clock
from taihu.kernel.limits import Limits

logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # what it tells, this driver raises

_FRAMERS = {"modbus+tcp": FramerType.SOCKET, "modbus+rtu+tcp": FramerType.RTU}
_GATEWAY = (10, 11)  # exceptions of a gateway: no path, no answer from the unit
_NO_SUCH = (1, 2, 3)  # function, address, value
_GAP = 8
_SCAN_S = 0.2
_UNITS = range(1, 248)
Call = Callable[[], Awaitable[Any]]
_EXAMPLE = "modbus+tcp://host:502/1"


class ModbusDriver:
    """One connection, to one unit or to a gateway with several."""

    schemes: ClassVar[tuple[str, ...]] = tuple(_FRAMERS)

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._endpoint = endpoint_of(connection, 502, _EXAMPLE)
        self._host = self._endpoint.host
        self._connection = connection
        self._clock = clock
        self._timeout_s = float(connection.option("timeout_s", 3.0))
        self._gap = int(connection.option("gap", _GAP))
        path = self._endpoint.path or "1"
        if not path.isdigit() or int(path) > 255:
            raise DeviceRefused(f"{connection.url} names no unit.", f"Write {_EXAMPLE}.")
        self._unit = int(path)
        self._framer = _FRAMERS[connection.parts.scheme]
        self._client: AsyncModbusTcpClient | None = None
        self._turn = asyncio.Lock()

    @classmethod
    def open(cls, connection: Connection, clock: Clock, limits: Limits) -> Self:
        """See `Driver.open`."""
        return cls(connection, clock)

    async def discover(self) -> Plan:
        """What the device lists, if it speaks SunSpec; otherwise a thing without points, for a person to fill in."""
        await self._connect()
        models = await find_models(self._holding)
        name = self._connection.name
        if not models:
            note = "It is no SunSpec device: write its points into the connection's file (docs/modbus.md)."
            return Plan(things=(ThingPlan(name=name),), notes=(note,))
        common = await self._holding(models[0].start, min(models[0].length, 66)) or ()
        thing, notes = thing_of(name, models, list(common))
        return Plan(things=(thing,), notes=tuple(notes))

    async def scan(self) -> list[Found]:
        """The units behind the address: those that give a register, or say that they have none there."""
        self._timeout_s = min(self._timeout_s, _SCAN_S)
        parts = self._connection.parts
        await self._connect()
        found = []
        for unit in _UNITS:
            try:
                if self._client is None or not self._client.connected:
                    await self._connect()
                words, fault = await self._read(Block(unit, "holding", 0, 1))
            except DeviceLost:
                continue
            if words is not None or fault in _NO_SUCH:
                found.append(Found(f"{parts.scheme}://{parts.netloc}/{unit}", f"unit {unit}"))
        return found

    async def run(self, plan: Plan, out: Out) -> None:
        """See `Driver.run`."""
        addresses = {
            thing.name: {one.definition.name: address_of(one) for one in thing.points} for thing in plan.things
        }
        reads = blocks([one for points in addresses.values() for one in points.values()], self._unit, self._gap)
        await self._connect()
        dead: set[Block] = set()
        due = self._clock.monotonic()
        while True:
            cells: Cells = {}
            silent: dict[int, str] = {}
            for block in reads:
                if block in dead:
                    continue
                words, fault = await self._read(block)
                if words is not None:
                    gather(block, words, cells)
                elif fault in _GATEWAY:
                    silent[block.unit] = f"the gateway says exception {fault}"
                else:
                    dead.add(block)
                    out.count("unreadable")
            await self._pass_on(addresses, cells, silent, out)
            due += self._connection.period_s
            late = self._clock.monotonic() - due
            if late > 0:
                missed = int(late / self._connection.period_s) + 1
                out.count("late", missed)
                due += missed * self._connection.period_s
            await asyncio.sleep(max(0.0, due - self._clock.monotonic()))

    async def write(self, thing: str, point: Point, value: Any) -> Act:
        """See `Driver.write`; the device's answer to a write says that it did it."""
        address = address_of(point)
        unit = self._unit if address.unit is None else address.unit
        if address.table in ("input", "discrete"):
            raise DeviceRefused(
                f"{point.definition.name} is in a table that cannot be written.", "Use holding or coil."
            )
        client = self._need_client()
        if address.bits:
            await self._ask(lambda: client.write_coil(address.register, bool(value), device_id=unit))
            return Act(Result.DONE)
        scale = None
        if address.scale_register is not None:
            words, _ = await self._read(Block(unit, address.table, address.scale_register, 1))
            scale = words[0] if words else None
        registers = encode(address, value, scale)
        await self._ask(lambda: client.write_registers(address.register, registers, device_id=unit))
        return Act(Result.DONE)

    async def invoke(self, thing: str, action: ActionPlan, value: Any) -> Act:
        """Modbus has no actions."""
        raise DeviceRefused(f"{thing} has no action {action.name}.", "Write a property.")

    async def close(self) -> None:
        """See `Driver.close`."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def _pass_on(
        self,
        addresses: dict[str, dict[str, Address]],
        cells: Cells,
        silent: dict[int, str],
        out: Out,
    ) -> None:
        now = self._clock.now_ns()
        rows = []
        for thing, points in addresses.items():
            units = {self._unit if one.unit is None else one.unit for one in points.values()}
            found = ((name, value_of(one, self._unit, cells)) for name, one in points.items())
            values = {name: value for name, value in found if value is not None}
            if values or not points or not units & silent.keys():
                out.online(thing)
                rows.append(Reading(thing, values, now))
            else:
                out.offline(thing, next(silent[unit] for unit in units if unit in silent))
        await out.readings(rows)

    async def _connect(self) -> None:
        await self.close()
        client = AsyncModbusTcpClient(
            self._host,
            port=self._endpoint.port,
            framer=self._framer,
            timeout=self._timeout_s,
            retries=0,
            reconnect_delay=0,
        )
        try:
            connected = await client.connect()
        except (OSError, ModbusException) as error:
            raise unreachable(self._endpoint, error) from None
        if not connected:
            client.close()
            raise unreachable(self._endpoint, ConnectionError("no answer"))
        self._client = client

    async def _holding(self, start: int, count: int) -> Sequence[int] | None:
        words, _ = await self._read(Block(self._unit, "holding", start, count))
        return words

    async def _read(self, block: Block) -> tuple[Sequence[int] | None, int]:
        """What a read brings; None and the device's exception where it says no. DeviceLost when it says nothing."""
        client = self._need_client()
        call = {
            "holding": client.read_holding_registers,
            "input": client.read_input_registers,
            "coil": client.read_coils,
            "discrete": client.read_discrete_inputs,
        }[block.table]
        answer = await self._answer(lambda: call(block.start, count=block.count, device_id=block.unit))
        if answer.isError():
            return None, int(getattr(answer, "exception_code", 0))
        words = answer.bits if block.table in ("coil", "discrete") else answer.registers
        if len(words) < block.count:
            raise DeviceLost(f"{self._host} answered {len(words)} of {block.count} registers.")
        return words, 0

    async def _answer(self, call: Call) -> Any:
        try:
            async with self._turn:
                answer = await call()
        except (ModbusException, OSError, TimeoutError) as error:
            raise DeviceLost(f"{self._host} does not answer: {error}.") from None
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # lost by wait_for in pymodbus when the answer comes at that moment
            raise asyncio.CancelledError
        return answer

    async def _ask(self, call: Call) -> None:
        answer = await self._answer(call)
        if answer.isError():
            raise DeviceRefused(f"{self._host} answers exception {answer.exception_code}.", "See the device's manual.")

    def _need_client(self) -> AsyncModbusTcpClient:
        if self._client is None or not self._client.connected:
            raise DeviceLost(f"{self._host} is not connected.")
        return self._client
