"""The demo's battery on Modbus, as a SunSpec device that strangers' clients read and write."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pymodbus.client import AsyncModbusTcpClient
from tests.drivers.conformance import Collected
from tests.sim.test_live import BEGIN, house
from tests.waiting import WAIT_S

from taihu.drivers.files import FOLDER, read_connection
from taihu.drivers.modbus.driver import ModbusDriver
from taihu.drivers.modbus.sunspec import find_models, thing_of
from taihu.drivers.port import DeviceRefused
from taihu.kernel.clock import NS_PER_S, SimClock
from taihu.kernel.limits import DEFAULT
from taihu.sim.district import BATTERY_KWH
from taihu.sim.live import STEP_NS, LiveHouse, State
from taihu.sim.modbus import serve_battery


def test_it_is_a_sunspec_device_that_obeys_what_is_written(tmp_path: Path) -> None:
    """Model, maker and state of charge are where the SunSpec models have them; its setpoint alone can be written."""
    clock = SimClock(BEGIN)
    live = LiveHouse(house(), State(BEGIN, BATTERY_KWH / 2, 0.0, 0.0))

    async def body() -> None:
        battery = await serve_battery(live, clock, 0, tmp_path)
        file = read_connection(tmp_path / FOLDER / "house-01-battery.toml")
        client = AsyncModbusTcpClient("127.0.0.1", port=file.connection.parts.port or 0)
        assert await client.connect()

        async def read(start: int, count: int) -> list[int] | None:
            answer = await client.read_holding_registers(start, count=count, device_id=1)
            return None if answer.isError() else list(answer.registers)

        found = await find_models(read)
        assert [one.number for one in found] == [1, 802, 704]
        common = await read(found[0].start, 66)
        assert common is not None
        assert thing_of("battery", found, common)[0].title == "Taihu Demo battery"

        driver = ModbusDriver.open(file.connection, clock, DEFAULT)
        thing, out = file.plan.things[0], Collected()
        running = asyncio.create_task(driver.run(file.plan, out))
        await heard(out, "state_of_charge", 50.0)
        setpoint = thing.point("setpoint")
        assert setpoint is not None
        await driver.write("battery", setpoint, 2.5)
        assert (live.state.setpoint, live.state.told_at) == (2.5, clock.now_ns())
        clock.advance(2 * STEP_NS / NS_PER_S)
        running.cancel()
        running = asyncio.create_task(driver.run(file.plan, out))
        await heard(out, "setpoint", 2.5)
        assert out.rows[-1].values["power"] == 2.5
        assert out.rows[-1].values["mode"] == "charging"
        with pytest.raises(DeviceRefused, match="exception 3"):
            await driver.write("battery", setpoint, 5.1)
        other = await client.write_register(found[1].start + 11, 1_000, device_id=1)
        assert other.isError()
        running.cancel()
        await driver.close()
        client.close()
        await battery.close()

    asyncio.run(body())


async def heard(out: Collected, name: str, value: Any) -> None:
    async with asyncio.timeout(WAIT_S):
        while not any(row.values.get(name) == value for row in out.rows):
            await asyncio.sleep(0.01)
