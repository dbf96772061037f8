"""The OPC UA driver against asyncua's server in a process of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

import pytest
from tests.waiting import WAIT_S

pytest.importorskip("asyncua", reason="asyncua is not installed: pip install 'taihu[opcua]'")

from tests.drivers.conformance import Collected, Conformance, free_port
from tests.drivers.opcua.support import Peer
from tests.link import Link

from taihu.drivers.opcua.driver import OpcuaDriver
from taihu.drivers.port import DeviceLost, DeviceRefused, Found, Plan, Reading, Result, Scanner
from taihu.things.property import DataType, Kind, OnBad, Property

URI = "nsu=urn:wuxi:plant"


def found(port: int) -> Plan:
    """What discovery finds."""

    async def body() -> Plan:
        driver = TestOpcua().open(port)
        try:
            return await driver.discover()
        finally:
            await driver.close()

    return asyncio.run(body())


class TestOpcua(Conformance):
    driver = OpcuaDriver
    bad_urls: ClassVar = ("opc.tcp://", "opc.tcp://user:secret@host/", "opc.tcp://host:99999/")
    _plan: ClassVar[Plan | None] = None

    def peer(self) -> Peer:
        return Peer()

    def url(self, port: int) -> str:
        return f"opc.tcp://127.0.0.1:{port}/plant/"

    def options(self) -> dict[str, Any]:
        return {"timeout_s": 0.8, "keepalive_s": 0.4, "refresh_s": 1.0, "security": "None"}

    def plan(self) -> Plan:
        if TestOpcua._plan is None:
            peer = Peer()
            TestOpcua._plan = found(peer.port)
            peer.stop()
        return TestOpcua._plan

    def expected(self) -> dict[str, dict[str, Any]]:
        values = {"Temperature": 61.5, "Setpoint": 60.0, "Starts": 7, "Running": True, "Maker": "Wuxi Kettles",
                  "Stages": [1.5, 2.5], "Mode": "heating", "Doubtful": 7.5}  # fmt: skip
        return {"Boiler": values, "Press1": {"Force": 1.0}, "Press2": {"Force": 2.0}}

    def to_write(self) -> tuple[str, str, Any]:
        return "Boiler", "Setpoint", 72.5

    def astray(self, data: bytes) -> bytes:
        """The answer to another request of the channel (Part 6, 6.7.2)."""
        changed = bytearray(data)
        if data[:3] == b"MSG":
            changed[20] ^= 0x55
        return bytes(changed)

    def at_work(self, peer: Peer, body: Callable[[OpcuaDriver, Collected], Awaitable[None]]) -> None:
        """Run `body` while the driver is at work; it leaves the peer as it was."""

        async def whole() -> None:
            async with self.working(peer.port) as (driver, out, _):
                assert isinstance(driver, OpcuaDriver)
                await body(driver, out)

        asyncio.run(whole())

    def test_browsing_finds_units_ranges_types_and_rights(self) -> None:
        plan = self.plan()
        assert [thing.name for thing in plan.things] == ["Boiler", "Press1", "Press2", "peer"]
        boiler = plan.thing("Boiler")
        assert boiler is not None
        points = {point.definition.name: point.definition for point in boiler.points}
        assert points["Temperature"] == Property(
            name="Temperature", unit="Cel", minimum=-20.0, maximum=120.0, on_bad=OnBad.FLAG
        )
        assert points["Setpoint"].writable and not points["Locked"].writable
        assert points["Starts"].data_type is DataType.INTEGER
        assert (points["Running"].data_type, points["Running"].kind) == (DataType.BOOLEAN, Kind.STATE)
        assert points["Mode"].enum == ("off", "heating", "fault")
        assert points["Stages"].data_type is DataType.OBJECT
        assert points["events"].kind is Kind.EVENT
        assert [action.name for action in boiler.actions] == ["Add", "Stop", "Refuse"]
        assert "no security" in plan.notes[0]

    def test_a_scan_finds_the_servers_that_are_known_at_an_address(self, kept: Peer) -> None:
        driver = self.open(kept.port)
        assert isinstance(driver, Scanner)
        assert asyncio.run(driver.scan()) == [Found(self.url(kept.port), "FreeOpcUa Python Server")]
        with pytest.raises(DeviceLost):
            asyncio.run(TestOpcua().open(free_port()).scan())  # type: ignore[attr-defined]

    def test_a_bad_status_is_no_value_3(self, kept: Peer) -> None:
        async def body(driver: OpcuaDriver, out: Collected) -> None:
            assert out.counts["bad"] >= 1
            assert "Broken" not in out.newest()["Boiler"]

        self.at_work(kept, body)

    def test_an_uncertain_value_is_suspect_alone(self, kept: Peer) -> None:
        async def body(driver: OpcuaDriver, out: Collected) -> None:
            assert {tuple(row.values) for row in out.rows if row.suspect} == {("Doubtful",)}
            assert out.newest()["Boiler"]["Doubtful"] == 7.5
            assert out.counts["uncertain"] >= 1

        self.at_work(kept, body)

    def test_values_have_their_sources_time_1(self, kept: Peer) -> None:
        async def body(driver: OpcuaDriver, out: Collected) -> None:
            assert all(row.observed_at is not None for row in out.rows)

        self.at_work(kept, body)

    def test_alarms_are_events(self, kept: Peer) -> None:
        async def body(driver: OpcuaDriver, out: Collected) -> None:
            async with asyncio.timeout(WAIT_S):
                while "events" not in out.newest()["Boiler"]:
                    await asyncio.sleep(0.01)
            event = out.newest()["Boiler"]["events"]
            assert event["severity"] == 500
            assert event["message"].startswith("too hot")
            assert (event["source"], event["condition"]) == ("Boiler", "HighTemperature")

        self.at_work(kept, body)

    def test_methods_are_actions_and_the_servers_status_is_the_answer(self, kept: Peer) -> None:
        boiler = self.plan().thing("Boiler")
        assert boiler is not None
        add, stop, refuse = boiler.actions

        async def body(driver: OpcuaDriver, out: Collected) -> None:
            act = await driver.invoke("Boiler", add, {"argument1": 1.5, "argument2": 2})
            assert act == (Result.DONE, 3.5)
            assert await driver.invoke("Boiler", stop, None) == (Result.DONE, None)
            with pytest.raises(DeviceRefused, match="BadInvalidState"):
                await driver.invoke("Boiler", refuse, None)
            with pytest.raises(DeviceRefused, match="argument2"):
                await driver.invoke("Boiler", add, {"argument1": 1.5})
            with pytest.raises(DeviceRefused):
                await driver.invoke("Boiler", add, {"argument1": 1.5, "argument2": "much"})

        self.at_work(kept, body)

    def test_a_write_is_what_the_server_says_of_it(self, kept: Peer) -> None:
        async def body(driver: OpcuaDriver, out: Collected) -> None:
            assert (await driver.write("Boiler", self.point("Boiler", "Mode"), "fault")).result is Result.DONE
            async with asyncio.timeout(WAIT_S):
                while out.newest()["Boiler"]["Mode"] != "fault":
                    await asyncio.sleep(0.01)
            for name, value, why in (
                ("Locked", 6, "BadNotWritable|BadUserAccessDenied"),
                ("Locked", 60_000, "Int16"),
                ("Mode", "boiling", "There are: off"),
                ("Setpoint", "hot", "Double"),
                ("events", {}, "cannot be written"),
            ):
                with pytest.raises(DeviceRefused, match=why):
                    await driver.write("Boiler", self.point("Boiler", name), value)
            await driver.write("Boiler", self.point("Boiler", "Mode"), "heating")

        self.at_work(kept, body)

    def test_what_is_quiet_is_read_again(self, kept: Peer) -> None:
        async def body(driver: OpcuaDriver, out: Collected) -> None:
            out.rows.clear()
            async with asyncio.timeout(WAIT_S):
                while out.newest().get("Press1") is None:
                    await asyncio.sleep(0.01)

        self.at_work(kept, body)

    def test_a_line_that_is_cut_hides_no_gap(self) -> None:
        """The session and its subscriptions live on at the server; what was told meanwhile comes, in order."""
        peer, out = self.peer(), Collected()

        link = Link(peer.port)

        async def body() -> None:
            driver = self.open(link.port)
            for _ in range(3):
                task = asyncio.create_task(driver.run(self.plan(), out))
                before = len(numbers(out))
                await self.until(task, lambda before=before: len(numbers(out)) > before + 3)
                link.drop()
                with pytest.raises(DeviceLost):
                    await task
                await asyncio.sleep(0.5)
            await driver.close()

        try:
            asyncio.run(body())
        finally:
            link.close()
            peer.stop()
        came = numbers(out)
        assert came == list(range(came[0], came[0] + len(came)))
        assert out.counts["resubscribed"] == out.counts["gaps"] == 0

    def test_a_server_that_forgot_everything_is_subscribed_again_and_that_is_counted(self) -> None:
        peer, out = self.peer(), Collected()

        async def body() -> None:
            driver = self.open(peer.port)
            task = await self.running(driver, out)
            peer.stop()
            with pytest.raises(DeviceLost):
                await task
            peer.start()
            out.rows.clear()
            again = await self.running(driver, out)
            again.cancel()
            await driver.close()

        try:
            asyncio.run(body())
        finally:
            peer.stop()
        assert out.counts["resubscribed"] == 1

    def test_a_slow_node_slows_the_server_down_and_keeps_the_session_6(self) -> None:
        """Nothing piles up: the interval grows, each step is counted, and the newest value still comes."""
        peer, out = self.peer(), Slow()

        async def body() -> None:
            driver = self.open(peer.port)
            task = await self.running(driver, out)
            out.pause_s = 0.3
            await self.until(task, lambda: out.counts["slowed"] >= 1 and out.counts["sampled"] >= 2)
            out.pause_s = 0.0
            before = ticks(out)[-1]
            await self.until(task, lambda: ticks(out)[-1] > before)
            task.cancel()
            await driver.close()

        try:
            asyncio.run(body())
        finally:
            peer.stop()
        assert ticks(out) == sorted(ticks(out))
        assert out.counts["resubscribed"] == out.counts["losses"] == 0


class Slow(Collected):
    """What waits before it takes readings, as the line to a slow node does."""

    pause_s = 0.0

    async def readings(self, rows: Sequence[Reading]) -> None:
        await asyncio.sleep(self.pause_s)
        await super().readings(rows)


def ticks(out: Collected) -> list[float]:
    """The numbers that the boiler counts, in the order in which they came."""
    return [values["Ticks"] for thing, values, *_ in out.rows if thing == "Boiler" and "Ticks" in values]


def numbers(out: Collected) -> list[int]:
    """The numbers in the boiler's alarms, in the order in which they came."""
    events = [values["events"] for thing, values, *_ in out.rows if thing == "Boiler" and "events" in values]
    return [int(event["message"].removeprefix("too hot ")) for event in events]
