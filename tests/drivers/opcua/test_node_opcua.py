"""The OPC UA driver against node-opcua's server: another implementation, under its own safest policy, with a user."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.waiting import WAIT_S

pytest.importorskip("asyncua", reason="asyncua is not installed: pip install 'taihu[opcua]'")

from tests.drivers.conformance import Collected, free_port
from tests.link import Link, same

from taihu.drivers.opcua.driver import OpcuaDriver
from taihu.drivers.port import Act, Connection, DeviceLost, DeviceRefused, Plan, Point, Result
from taihu.kernel.clock import SystemClock
from taihu.kernel.limits import DEFAULT
from taihu.things.property import DataType, Property

MODULES = os.environ.get("TAIHU_NODE_OPCUA", "")
SCRIPT = Path(__file__).parents[2] / "peers" / "node-opcua" / "server.js"
OPTIONS = {"user": "engineer", "timeout_s": 4.0, "keepalive_s": 1.0}

pytestmark = pytest.mark.skipif(
    not MODULES or shutil.which("node") is None,
    reason="node-opcua is not installed: TAIHU_NODE_OPCUA names no folder with its node_modules, or there is no node",
)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen(
        ["node", str(SCRIPT), str(port), str(tmp_path_factory.mktemp("node-opcua"))],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"NODE_PATH": str(Path(MODULES) / "node_modules")},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "ready":
            break
    else:
        raise AssertionError("node-opcua does not start")
    yield port
    process.kill()
    process.wait()
    process.stdout.close()


def opened(port: int, folder: Path, **options: object) -> OpcuaDriver:
    connection = Connection(
        name="line", url=f"opc.tcp://127.0.0.1:{port}/press", period_s=0.1, options={**OPTIONS, **options},
        secrets={"password": "tai hu 36000"}, folder=folder,
    )  # fmt: skip
    return OpcuaDriver.open(connection, SystemClock(), DEFAULT)


async def found(port: int, folder: Path) -> Plan:
    driver = opened(port, folder)
    try:
        return await driver.discover()
    finally:
        await driver.close()


def point(plan: Plan, name: str) -> Point:
    press = plan.thing("Press")
    assert press is not None
    found = press.point(name)
    assert found is not None
    return found


def test_it_is_found_read_written_and_called(port: int, tmp_path: Path) -> None:
    async def body() -> None:
        plan = await found(port, tmp_path)
        assert len(plan.options["trusted"]) == 64
        pressure = point(plan, "Pressure").definition
        assert (pressure.unit, pressure.minimum, pressure.maximum) == ("bar", -10.0, 500.0)
        assert point(plan, "State").definition.enum == ("stopped", "running")
        assert point(plan, "Fixed").definition == Property(name="Fixed", data_type=DataType.NUMBER)
        driver, out = opened(port, tmp_path, **plan.options), Collected()
        task = asyncio.create_task(driver.run(plan, out))

        async def until(name: str, value: object) -> None:
            async with asyncio.timeout(WAIT_S):
                while out.newest().get("Press", {}).get(name) != value:
                    assert not task.done()
                    await asyncio.sleep(0.01)

        await until("Pressure", 210.5)
        await until("State", "running")
        await until("Order", "A-36")
        for name, value in (("Speed", 15.0), ("State", "stopped"), ("Order", "B-7")):
            assert await driver.write("Press", point(plan, name), value) == Act(Result.DONE)
            await until(name, value)
        with pytest.raises(DeviceRefused, match=r"BadNotWritable|BadUserAccessDenied"):
            await driver.write("Press", point(plan, "Fixed"), 2.0)
        press = plan.thing("Press")
        assert press is not None
        assert await driver.invoke("Press", press.actions[0], {"number": 9}) == Act(Result.DONE, 4.5)
        async with asyncio.timeout(WAIT_S):
            while "events" not in out.newest()["Press"]:
                await asyncio.sleep(0.01)
        assert out.newest()["Press"]["events"]["severity"] == 300
        task.cancel()
        await driver.close()

    asyncio.run(body())


def test_a_line_that_is_cut_hides_no_gap(port: int, tmp_path: Path) -> None:
    out = Collected()
    link = Link(port)

    def ticks() -> list[float]:
        return [values["Ticks"] for thing, values, *_ in out.rows if thing == "Press" and "Ticks" in values]

    async def body() -> None:
        plan = await found(port, tmp_path)
        driver = opened(link.port, tmp_path, queue=100, sampling_s=0.0, **plan.options)
        for _ in range(3):
            task = asyncio.create_task(driver.run(plan, out))
            before = len(ticks())
            async with asyncio.timeout(WAIT_S):
                while len(ticks()) < before + 4:
                    assert not task.done(), task.result()
                    await asyncio.sleep(0.01)
            link.drop()
            with pytest.raises(DeviceLost):
                await task
            await asyncio.sleep(0.5)
        await driver.close()

    try:
        asyncio.run(body())
    finally:
        link.close()
    came = sorted(set(ticks()))
    assert out.counts["resubscribed"] == out.counts["gaps"] == 0
    assert came == [came[0] + step for step in range(len(came))]


def test_a_server_that_is_late_or_garbled_is_lost_and_found_again(port: int, tmp_path: Path) -> None:
    """Under its safest policy: a changed byte is nobody's answer, whatever it says."""
    link = Link(port)

    def garbled(data: bytes) -> bytes:
        return data[:-1] + bytes([data[-1] ^ 0x55])

    async def body() -> None:
        plan = await found(port, tmp_path)
        driver = opened(link.port, tmp_path, timeout_s=2.0, keepalive_s=0.5, **plan.options)
        for fault in ("late", "garbled", "none"):
            out = Collected()
            task = asyncio.create_task(driver.run(plan, out))
            async with asyncio.timeout(WAIT_S):
                while out.newest().get("Press", {}).get("Pressure") != 210.5:
                    if task.done():
                        await task
                    await asyncio.sleep(0.01)
            if fault == "none":
                task.cancel()
                break
            link.delay_s, link.change = (3.0, same) if fault == "late" else (0.0, garbled)
            with pytest.raises(DeviceLost):
                async with asyncio.timeout(WAIT_S):
                    await task
            link.delay_s, link.change = 0.0, same
            link.drop()
            assert {row.values.get("Pressure", 210.5) for row in out.rows} == {210.5}
        await driver.close()

    try:
        asyncio.run(body())
    finally:
        link.close()
