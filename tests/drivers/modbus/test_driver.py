"""The Modbus driver against pymodbus's server, and SunSpec devices found by themselves."""

import asyncio
from functools import cache
from pathlib import Path
from typing import Any

from tests.drivers.conformance import Collected, Conformance, Peer
from tests.waiting import WAIT_S

from taihu.drivers.modbus.driver import ModbusDriver
from taihu.drivers.port import Connection, Found, Plan, Point, ThingPlan
from taihu.kernel.clock import SystemClock
from taihu.kernel.limits import DEFAULT
from taihu.things.property import DataType, Kind, Property

PEER = Path(__file__).with_name("peer.py")


def point(name: str, **where: Any) -> Point:
    text = where.get("type") == "string"
    kind = DataType.STRING if text else DataType.BOOLEAN if "bit" in where else DataType.NUMBER
    definition = Property(name=name, data_type=kind, kind=Kind.STATE if text else Kind.GAUGE, writable=True)
    return Point(definition=definition, where=where)


class TestModbus(Conformance):
    driver = ModbusDriver
    bad_urls = ("modbus+tcp://", "modbus+tcp://host/900", "modbus+tcp://host/unit", "modbus+tcp://host:99999/1")

    def peer(self) -> Peer:
        return Peer(PEER, "0")

    def url(self, port: int) -> str:
        return f"modbus+tcp://127.0.0.1:{port}/1"

    def options(self) -> dict[str, Any]:
        return {"timeout_s": 0.5}

    def plan(self) -> Plan:
        points = (
            point("total", register=0, type="uint32"),
            point("swapped", register=2, type="uint32", order="CDAB"),
            point("temperature", register=4, type="float32"),
            point("setpoint", register=6, type="int16", scale=0.1),
            point("name", register=7, type="string", length=4),
            point("alarm", register=11, bit=3),
            *(point(f"r{place}", register=20 + place) for place in range(120)),
            point("gone", register=5_000),
        )
        return Plan(things=(ThingPlan(name="pump", points=points),))

    def expected(self) -> dict[str, dict[str, Any]]:
        values = {
            "total": 100_000,
            "swapped": 100_000,
            "temperature": 21.5,
            "setpoint": -2.5,
            "name": "pump-7",
            "alarm": True,
            "r119": 119,
        }
        return {"pump": values}

    def to_write(self) -> tuple[str, str, Any]:
        return "pump", "setpoint", 18.5

    def astray(self, data: bytes) -> bytes:
        """The answer of another transaction."""
        return bytes([data[0] ^ 0x55]) + data[1:]


@cache
def found() -> Plan:
    """What discovery finds of the SunSpec peer."""
    peer = Peer(PEER, "1")

    async def body() -> Plan:
        connection = Connection(name="inverter", url=f"modbus+tcp://127.0.0.1:{peer.port}/1")
        driver = ModbusDriver.open(connection, SystemClock(), DEFAULT)
        try:
            return await driver.discover()
        finally:
            await driver.close()

    try:
        return asyncio.run(body())
    finally:
        peer.stop()


def test_a_sunspec_device_is_found_with_units_kinds_and_scales() -> None:
    plan = found()
    (thing,) = plan.things
    assert (thing.name, thing.title, thing.description) == ("inverter", "Wuxi Solar WX-5000", "Serial number SN-42.")
    power, energy, state, limit = (thing.point(name) for name in ("W", "WH", "St", "WChaMax"))
    assert power and energy and state and limit
    assert (power.definition.unit, power.definition.kind) == ("W", Kind.GAUGE)
    assert (energy.definition.unit, energy.definition.kind) == ("W.h", Kind.COUNTER)
    assert (state.definition.kind, state.definition.data_type) == (Kind.STATE, DataType.STRING)
    assert limit.definition.writable


class TestSunSpec(TestModbus):
    def peer(self) -> Peer:
        return Peer(PEER, "1")

    def plan(self) -> Plan:
        return found()

    def expected(self) -> dict[str, dict[str, Any]]:
        return {"inverter": {"A": 12.34, "W": 3500.0, "WH": 12345.0, "St": "MPPT", "WChaMax": 5000.0}}

    def to_write(self) -> tuple[str, str, Any]:
        return "inverter", "WChaMax", 2500.0


def test_a_scan_lists_the_units_that_answer() -> None:
    """The simulator has unit 1 alone; of the others it says what a gateway says."""
    peer = Peer(PEER, "0")

    async def body() -> list[Found]:
        connection = Connection(name="line", url=f"modbus+tcp://127.0.0.1:{peer.port}")
        driver = ModbusDriver.open(connection, SystemClock(), DEFAULT)
        try:
            return await driver.scan()
        finally:
            await driver.close()

    try:
        assert asyncio.run(body()) == [(f"modbus+tcp://127.0.0.1:{peer.port}/1", "unit 1")]
    finally:
        peer.stop()


def test_a_driver_that_is_cancelled_ends() -> None:
    """Also when the device's answer comes at that very moment: Python 3.11's `wait_for` forgets it then."""
    peer = Peer(PEER, "0")
    plan = Plan(things=(ThingPlan(name="pump", points=(point("total", register=0),)),))

    async def body() -> None:
        for turn in range(40):
            connection = Connection(name="line", url=f"modbus+tcp://127.0.0.1:{peer.port}", period_s=1e-6)
            driver = ModbusDriver.open(connection, SystemClock(), DEFAULT)
            task = asyncio.create_task(driver.run(plan, Collected()))
            await asyncio.sleep(0.02 + turn / 10_000)
            task.cancel()
            ended, _ = await asyncio.wait([task], timeout=WAIT_S)
            assert ended
            await driver.close()

    try:
        asyncio.run(body())
    finally:
        peer.stop()
