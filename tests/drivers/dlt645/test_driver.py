"""The DL/T 645 driver against the meter of the PyPI package dlt645."""

import asyncio
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.drivers.conformance import Conformance, Peer

from taihu.drivers.dlt645.driver import Dlt645Driver
from taihu.drivers.port import Connection, Plan, Point, ThingPlan
from taihu.kernel.clock import SystemClock
from taihu.kernel.limits import DEFAULT
from taihu.things.property import Kind, Property

if find_spec("dlt645") is None:  # its import takes two seconds, and only the peer needs it
    pytest.skip("dlt645 is not installed", allow_module_level=True)
PEER = Path(__file__).with_name("peer.py")
METER = "123456789012"


def point(name: str, item: str, size: int, decimals: int, signed: bool = False) -> Point:
    return Point(
        definition=Property(name=name), where={"item": item, "size": size, "decimals": decimals, "signed": signed}
    )


class TestDlt645(Conformance):
    driver = Dlt645Driver
    read_only = True
    bad_urls: ClassVar = (
        "dlt645+tcp://",
        "dlt645+tcp://host/1",
        "dlt645+tcp://host:1/meter",
        "dlt645+tcp://host:99999/1",
    )

    def peer(self) -> Peer:
        return Peer(PEER)

    def url(self, port: int) -> str:
        return f"dlt645+tcp://127.0.0.1:{port}/{METER}"

    def options(self) -> dict[str, Any]:
        return {"timeout_s": 0.4}

    def plan(self) -> Plan:
        points = (
            point("import_energy", "00010000", 4, 2),
            point("voltage_a", "02010100", 2, 1),
            point("current_a", "02020100", 3, 3, True),
            point("power", "02030000", 3, 4, True),
            point("frequency", "02800002", 2, 2),
        )
        return Plan(things=(ThingPlan(name="meter", points=points),))

    def expected(self) -> dict[str, dict[str, Any]]:
        values = {
            "import_energy": 1234.56,
            "voltage_a": 230.1,
            "current_a": 4.321,
            "power": -1.2345,
            "frequency": 49.98,
        }
        return {"meter": values}

    def to_write(self) -> tuple[str, str, Any]:
        return "meter", "power", 1.0

    def astray(self, data: bytes) -> bytes:
        """The same frame from the meter whose address is one more."""
        begin = data.index(0x68)
        frame = bytearray(data)
        frame[begin + 1] = (frame[begin + 1] + 1) % 256
        frame[-2] = (frame[-2] + 1) % 256
        return bytes(frame)

    def test_a_meter_tells_its_address_and_what_it_has(self, fresh: Any) -> None:
        async def body() -> Plan:
            line = Connection(name="line", url=f"dlt645+tcp://127.0.0.1:{fresh.port}", options=self.options())
            driver = self.driver.open(line, SystemClock(), DEFAULT)
            try:
                return await driver.discover()
            finally:
                await driver.close()

        plan = asyncio.run(body())
        (thing,) = plan.things
        assert thing.name == f"meter-{METER}"
        energy = thing.point("import_energy")
        assert energy and (energy.definition.kind, energy.definition.unit) == (Kind.COUNTER, "kW.h")
        assert {"voltage_a", "power", "frequency"} <= {one.definition.name for one in thing.points}
