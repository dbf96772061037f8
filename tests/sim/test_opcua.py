"""The demo's inverter on OPC UA: what it tells has its own times, each hour counts, and MQTT stands in until then."""

import asyncio
from pathlib import Path

import pytest
from tests.drivers.conformance import Collected
from tests.waiting import WAIT_S

pytest.importorskip("asyncua", reason="the extra opcua is not installed")

from taihu.drivers.files import FOLDER, read_connection
from taihu.drivers.opcua.driver import OpcuaDriver
from taihu.kernel.clock import HOUR_NS, ScaledClock, machine_ns
from taihu.kernel.limits import DEFAULT
from taihu.sim.devices import Values
from taihu.sim.district import START_NS
from taihu.sim.opcua import serve_inverter


def test_hours_that_are_alike_are_each_told_and_before_that_mqtt_stands_in(tmp_path: Path) -> None:
    clock = ScaledClock(START_NS, 6_000.0, machine_ns())
    meanwhile: list[Values] = []
    send = serve_inverter("house-04", clock, tmp_path, meanwhile.extend)
    path = tmp_path / FOLDER / "house-04-pv.toml"

    def row(hour: int) -> Values:
        return {"ts": (START_NS + hour * HOUR_NS) // 1_000_000, "values": {"energy": 0.0}}

    async def body() -> None:
        send([row(0)])
        assert meanwhile == [row(0)]
        async with asyncio.timeout(WAIT_S):
            while not path.exists():
                await asyncio.sleep(0.05)
            file = read_connection(path)
            driver, out = OpcuaDriver.open(file.connection, clock, DEFAULT), Collected()
            running = asyncio.create_task(driver.run(file.plan, out))
            while not out.things:
                await asyncio.sleep(0.02)
            for hour in (1, 2, 3):
                send([row(hour)])
            while len(out.rows) < 3:
                await asyncio.sleep(0.02)
        assert [(one.values, one.observed_at) for one in out.rows] == [
            ({"energy": 0.0}, START_NS + hour * HOUR_NS) for hour in (1, 2, 3)
        ]
        assert meanwhile == [row(0)]
        running.cancel()
        await driver.close()

    asyncio.run(body())
