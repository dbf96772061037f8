"""The BACnet driver against a bacpypes3 device in another process."""

import asyncio
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.drivers.conformance import Collected, Conformance, Peer

pytest.importorskip("bacpypes3", reason="bacpypes3 is not installed (the extra bacnet)")

from bacpypes3.apdu import UnconfirmedCOVNotificationRequest
from bacpypes3.basetypes import PropertyValue, StatusFlags
from bacpypes3.constructeddata import Any as Any_
from bacpypes3.primitivedata import CharacterString, Real

from taihu.drivers.bacnet.driver import BacnetDriver
from taihu.drivers.bacnet.objects import TYPES, Address, coded, plain
from taihu.drivers.bacnet.units import UNITS
from taihu.drivers.port import Connection, DeviceRefused, Plan, Point, Result, Scanner, ThingPlan
from taihu.kernel.clock import SystemClock
from taihu.kernel.limits import DEFAULT
from taihu.kernel.units import parse_unit
from taihu.things.definition import check_definition
from taihu.things.property import DataType, Kind, Property

PEER = Path(__file__).with_name("peer.py")


def point(name: str, place: str, **where: Any) -> Point:
    kind = DataType.STRING if "states" in where else TYPES[place.partition(",")[0]].data_type
    state = kind is not DataType.NUMBER
    definition = Property(name=name, data_type=kind, kind=Kind.STATE if state else Kind.GAUGE, writable=True)
    return Point(definition=definition, where={"object": place, **where})


class TestBacnet(Conformance):
    driver = BacnetDriver
    datagrams = True
    bad_urls: ClassVar = ("bacnet://", "bacnet://host/x", "bacnet://host/4194303", "bacnet://host:99999/1")
    garbage: ClassVar = (
        *Conformance.garbage,
        b"\x81\x0a\x00\x08\x01\x00\x50\x01",  # an error for another
        b"\x81\x0a\x00\x09\x01\x00\x30\x01\x0c",  # an answer cut short
        b"\x81\x0a\x00\x04",
    )

    def peer(self) -> Peer:
        return Peer(PEER)

    def url(self, port: int) -> str:
        return f"bacnet://127.0.0.1:{port}/599"

    def options(self) -> dict[str, Any]:
        return {"timeout_s": 0.8, "retries": 0}

    def plan(self) -> Plan:
        points = (
            point("supply", "analog-input,1"),
            point("polled", "analog-input,1", cov=False),
            point("broken", "analog-input,2"),
            point("setpoint", "analog-value,3"),
            point("fan", "binary-value,4"),
            point("mode", "multi-state-value,5", states=["off", "heat", "cool"]),
            point("energy", "accumulator,6"),
            point("nothing", "analog-value,77"),
        )
        return Plan(things=(ThingPlan(name="ahu", points=points),))

    def expected(self) -> dict[str, dict[str, Any]]:
        values = {"supply": 21.5, "polled": 21.5, "setpoint": 20.0, "fan": True, "mode": "heat", "energy": 1234}
        return {"ahu": values}

    def to_write(self) -> tuple[str, str, Any]:
        return "ahu", "setpoint", 18.5

    def astray(self, data: bytes) -> bytes:
        """Answers under another invoke ID, and changes for another's subscription."""
        changed = bytearray(data)
        if data[6] >> 4 == 1:
            changed[9] += 1
        else:
            changed[7] = (changed[7] + 1) % 256
        return bytes(changed)

    def test_objects_are_found_with_units_states_and_what_can_be_commanded(self, fresh: Any) -> None:
        async def body() -> Plan:
            connection = Connection(name="ahu", url=f"bacnet://127.0.0.1:{fresh.port}", options={"timeout_s": 1.0})
            driver = BacnetDriver.open(connection, SystemClock(), DEFAULT)
            try:
                return await driver.discover()
            finally:
                await driver.close()

        plan = asyncio.run(body())
        (thing,) = plan.things
        assert (thing.name, thing.title) == ("ahu", "air handler")
        shown = {
            one.definition.name: (one.definition.unit, one.definition.kind, one.definition.writable)
            for one in thing.points
        }
        assert shown == {
            "supply temperature": ("Cel", Kind.GAUGE, False),
            "broken": ("Cel", Kind.GAUGE, False),
            "set.point": ("Cel", Kind.GAUGE, True),
            "fan": (None, Kind.STATE, False),
            "mode": (None, Kind.STATE, False),
            "energy": ("kW.h", Kind.COUNTER, False),
        }
        mode = thing.point("mode")
        assert mode and mode.definition.enum == ("off", "heat", "cool")
        assert [check_definition(one.definition) for one in thing.points]
        assert [action.name for action in thing.actions] == ["relinquish"]

    def test_a_scan_finds_who_is_there(self, fresh: Any) -> None:
        async def body() -> None:
            driver = self.open(fresh.port)
            assert isinstance(driver, Scanner)
            try:
                assert await driver.scan() == [(f"bacnet://127.0.0.1:{fresh.port}/599", "device 599 of vendor 999")]
            finally:
                await driver.close()

        asyncio.run(body())

    def test_a_command_has_a_priority_and_is_given_up(self, fresh: Any) -> None:
        """A value that is commanded at 8 stands until it is relinquished; then that of 12 counts again."""

        async def body() -> None:
            async with self.working(fresh.port) as (driver, out, task):
                low = point("setpoint", "analog-value,3", priority=12)
                assert (await driver.write("ahu", low, 15.0)).result is Result.DONE
                await driver.write("ahu", self.point("ahu", "setpoint"), 25.0)
                await self.until(task, lambda: out.newest()["ahu"]["setpoint"] == 25.0)
                with pytest.raises(DeviceRefused):
                    await driver.write("ahu", self.point("ahu", "setpoint"), "much")
                with pytest.raises(DeviceRefused):
                    await driver.write("ahu", point("none", "analog-value,77"), 1.0)
                await driver.write("ahu", self.point("ahu", "setpoint"), None)
                await self.until(task, lambda: out.newest()["ahu"]["setpoint"] == 15.0)
                assert "broken" not in out.newest()["ahu"]
                assert out.counts["invalid"]

        asyncio.run(body())

    def test_subscriptions_are_renewed_and_what_they_lose_is_noticed(self, fresh: Any) -> None:
        """A device that is started again has forgotten them: the next renewal brings its values."""

        async def body() -> None:
            connection = Connection(
                name="ahu",
                url=self.url(fresh.port),
                period_s=60.0,
                options={"timeout_s": 1.0, "lifetime_s": 2, "confirmed": True},
            )
            driver, out = BacnetDriver.open(connection, SystemClock(), DEFAULT), Collected()
            try:
                task = asyncio.create_task(driver.run(self.plan(), out))
                await self.until(task, lambda: len([row for row in out.rows if "supply" in row.values]) >= 3)
                task.cancel()
            finally:
                await driver.close()

        asyncio.run(body())


def test_a_value_that_its_flags_call_faulty_is_missing_and_one_set_by_hand_suspect_3() -> None:
    async def body() -> None:
        driver, out = (
            BacnetDriver(Connection(name="x", url="bacnet://127.0.0.1/1"), SystemClock(), DEFAULT),
            Collected(),
        )
        driver._out = out
        address = Address(object="analog-input,1")
        driver._owners = {address.identifier: [("ahu", "supply", address)]}
        for flags in ([0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]):
            told = {85: Any_(Real(5.0)), 111: Any_(StatusFlags(flags))}
            await driver._pass_on([(address.identifier, told)])
        await driver._pass_on([(address.identifier, {85: Any_(CharacterString("no number"))})])
        assert [row.suspect for row in out.rows] == [False, False, True, True]
        assert out.counts == {"invalid": 2}

    asyncio.run(body())


def test_changes_beyond_what_may_wait_are_counted_6() -> None:
    """While the node takes nothing, a thousand changes wait; those beyond are left out, and counted."""

    async def body() -> None:
        class Slow(Collected):
            async def readings(self, rows: Any) -> None:
                await gate.wait()
                await super().readings(rows)

        gate, out = asyncio.Event(), Slow()
        driver = BacnetDriver(Connection(name="x", url="bacnet://127.0.0.1/1"), SystemClock(), DEFAULT)
        driver._out = out
        address = Address(object="analog-input,1")
        driver._owners = {address.identifier: [("ahu", "supply", address)]}
        change = UnconfirmedCOVNotificationRequest(
            subscriberProcessIdentifier=1,
            initiatingDeviceIdentifier=("device", 1),
            monitoredObjectIdentifier=address.identifier,
            timeRemaining=60,
            listOfValues=[PropertyValue(propertyIdentifier="present-value", value=Any_(Real(5.0)))],
        )
        tasks = [asyncio.create_task(driver._notified(change)) for _ in range(1_100)]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*tasks)
        assert len(out.rows) == 1_000
        assert out.counts == {"sampled": 100}

    asyncio.run(body())


def test_units_are_ucum() -> None:
    for unit in UNITS.values():
        parse_unit(unit)
    assert (UNITS[62], UNITS[19], UNITS[95]) == ("Cel", "kW.h", "1")


@pytest.mark.parametrize(
    ("place", "value", "states"),
    [
        ("analog-value,1", 2.5, ()),
        ("integer-value,1", -3, ()),
        ("positive-integer-value,1", 3, ()),
        ("binary-value,1", True, ()),
        ("multi-state-value,1", 2, ()),
        ("multi-state-value,1", "heat", ("off", "heat")),
        ("characterstring-value,1", "hello", ()),
    ],
)
def test_a_value_is_what_was_written(place: str, value: Any, states: tuple[str, ...]) -> None:
    address = Address(object=place, states=states)
    assert plain(coded(value, address), address) == value
    with pytest.raises(DeviceRefused):
        coded([1], address)
