"""The IEC 104 driver against c104's station."""

import asyncio
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.drivers.conformance import Collected, Conformance, Peer
from tests.link import Link

from taihu.drivers.iec104.driver import Iec104Driver
from taihu.drivers.port import DeviceLost, DeviceRefused, Plan, Point, Result, ThingPlan
from taihu.things.property import DataType, Kind, Property

pytest.importorskip("c104", reason="c104 is not installed (it is GPL, and used here as a peer alone)")
PEER = Path(__file__).with_name("peer.py")


def point(name: str, address: int, kind: str, command: int | None = None) -> Point:
    data_type = DataType.BOOLEAN if kind == "single" else DataType.NUMBER
    definition = Property(name=name, data_type=data_type, kind=Kind.STATE if kind == "single" else Kind.GAUGE,
                          writable=command is not None)  # fmt: skip
    where: dict[str, Any] = {"address": address, "type": kind} | ({} if command is None else {"command": command})
    return Point(definition=definition, where=where)


class TestIec104(Conformance):
    driver = Iec104Driver
    bad_urls: ClassVar = ("iec104://", "iec104://host/70000", "iec104://host/x", "iec104://host:99999/1")

    def peer(self) -> Peer:
        return Peer(PEER)

    def url(self, port: int) -> str:
        return f"iec104://127.0.0.1:{port}/7"

    def options(self) -> dict[str, Any]:
        return {"answer_s": 1.0, "idle_s": 1.0}

    def plan(self) -> Plan:
        points = (
            point("voltage", 11, "float"),
            point("switch", 12, "single"),
            point("scaled", 13, "scaled"),
            point("timed", 14, "float"),
            point("invalid", 16, "float"),
            point("substituted", 17, "float"),
            point("setpoint", 15, "float", command=20),
            point("locked", 15, "float", command=21),
        )
        return Plan(things=(ThingPlan(name="bay", points=points),))

    def expected(self) -> dict[str, dict[str, Any]]:
        return {
            "bay": {"voltage": 230.5, "switch": True, "scaled": -42, "timed": 12.5, "setpoint": 5.0, "substituted": 2.0}
        }

    def to_write(self) -> tuple[str, str, Any]:
        return "bay", "setpoint", 7.25

    def astray(self, data: bytes) -> bytes:
        """Information frames as if fifty had gone before each."""
        found, place = bytearray(data), 0
        while place + 6 <= len(found):
            if not found[place + 2] & 1:
                number = int.from_bytes(found[place + 2 : place + 4], "little") + 100
                found[place + 2 : place + 4] = number.to_bytes(2, "little")
            place += 2 + found[place + 1]
        return bytes(found)

    def test_a_station_says_no(self) -> None:
        peer = self.peer()

        async def body() -> None:
            driver, out = self.open(peer.port), Collected()
            try:
                task = await self.running(driver, out)
                with pytest.raises(DeviceRefused, match="refuses"):
                    await driver.write("bay", self.point("bay", "locked"), 1.0)
                act = await driver.write("bay", self.point("bay", "setpoint"), 2.0)
                assert act.result in (Result.ACKNOWLEDGED, Result.DONE)
                with pytest.raises(DeviceRefused):
                    await driver.write("bay", self.point("bay", "setpoint"), "much")
                task.cancel()
            finally:
                await driver.close()

        try:
            asyncio.run(body())
        finally:
            peer.stop()

    def test_what_is_invalid_is_missing_and_what_is_substituted_suspect_3(self, kept: Peer) -> None:
        async def body() -> None:
            driver, out = self.open(kept.port), Collected()
            try:
                await self.running(driver, out)
            finally:
                await driver.close()
            assert "invalid" not in out.newest()["bay"]
            assert out.counts["invalid"] >= 1
            assert {name for row in out.rows if row.suspect for name in row.values} == {"substituted"}

        asyncio.run(body())

    def test_a_confirmation_by_another_station_is_none(self, kept: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
        def of_another(data: bytes) -> bytes:
            """Commands are confirmed in the name of the station whose common address is one more."""
            return data[:10] + bytes([data[10] + 1]) + data[11:] if len(data) > 10 and data[6] == 50 else data

        async def body() -> None:
            driver = self.open(link.port)
            try:
                await self.running(driver, Collected())
                with pytest.raises(DeviceLost, match="confirm"):
                    await driver.write("bay", self.point("bay", "setpoint"), 5.0)
            finally:
                await driver.close()

        monkeypatch.setattr("taihu.drivers.iec104.driver._CONFIRM_S", 0.3)
        link = Link(kept.port, of_another)
        try:
            asyncio.run(body())
        finally:
            link.close()

    def test_an_interrogation_finds_what_there_is(self) -> None:
        peer = self.peer()

        async def body() -> Plan:
            driver = self.open(peer.port)
            try:
                return await driver.discover()
            finally:
                await driver.close()

        try:
            plan = asyncio.run(body())
        finally:
            peer.stop()
        (thing,) = plan.things
        assert [one.definition.name for one in thing.points] == [f"o{place}" for place in range(11, 18)]
        assert thing.name == "station-7"
