"""The Sparkplug driver against Eclipse Tahu's edge node, through mosquitto."""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.drivers.broker import Broker, Speaker, Together, stray_grants
from tests.drivers.conformance import Collected, Conformance

from taihu.drivers.port import ActionPlan, DeviceLost, DeviceRefused, Plan, Point, Reading, Result, ThingPlan
from taihu.drivers.sparkplug.driver import SparkplugDriver
from taihu.drivers.sparkplug.points import Places
from taihu.protocols.sparkplug.payload import Metric
from taihu.protocols.sparkplug.topics import Source
from taihu.things.property import DataType, Kind, Property

MODULES = os.environ.get("TAIHU_SPARKPLUG_NPM", "")
NODE = shutil.which("node") or ""
needs_tahu = pytest.mark.skipif(
    not NODE or not (Path(MODULES) / "node_modules" / "sparkplug-client").is_dir(),
    reason="TAIHU_SPARKPLUG_NPM names no folder with sparkplug-client in its node_modules, or there is no node",
)
EDGE = Path(__file__).with_name("edge.js")


def point(name: str, metric: str, data_type: DataType = DataType.NUMBER, *members: str, device: str = "pump") -> Point:
    kind = Kind.STATE if data_type is DataType.BOOLEAN else Kind.GAUGE
    where: dict[str, Any] = {"group": "plant", "node": "line", "metric": metric}
    where |= ({"device": device} if device else {}) | ({"members": list(members)} if members else {})
    return Point(definition=Property(name=name, data_type=data_type, kind=kind, writable=True), where=where)


class Slow(Collected):
    """A node that takes nothing until there is room."""

    def __init__(self) -> None:
        super().__init__()
        self.room = asyncio.Event()
        self.room.set()

    async def readings(self, rows: Sequence[Reading]) -> None:
        await self.room.wait()
        await super().readings(rows)


@needs_tahu
class TestSparkplug(Conformance):
    driver = SparkplugDriver
    late_s = 2.5
    bad_urls: ClassVar = ("sparkplug+mqtt://", "sparkplug+mqtt://host:99999", "sparkplug+mqtt://u:secret@host",
                          "sparkplug+mqtt://host/a+b")  # fmt: skip

    def peer(self) -> Together:
        return Together([NODE, str(EDGE)], Path(MODULES))

    def url(self, port: int) -> str:
        return f"sparkplug+mqtt://127.0.0.1:{port}/plant"

    def options(self) -> dict[str, Any]:
        return {"keep_alive_s": 1, "discover_s": 1.5, "echo_s": 1.5}

    def plan(self) -> Plan:
        points = (
            point("speed", "Line/Speed", DataType.INTEGER),
            point("setpoint", "setpoint"),
            point("running", "running", DataType.BOOLEAN),
            point("bad", "bad"),
            point("nothing", "nothing"),
            point("counter", "counter", DataType.INTEGER),
            point("rpm", "motor", DataType.INTEGER, "rpm"),
        )
        load = point("load", "load", device="")
        return Plan(things=(ThingPlan(name="pump", points=points), ThingPlan(name="line", points=(load,))))

    def expected(self) -> dict[str, dict[str, Any]]:
        pump = {"speed": -42, "setpoint": 5.5, "running": True, "counter": 1_234_567_890_123, "rpm": -1450}
        return {"pump": pump, "line": {"load": 0.25}}

    def to_write(self) -> tuple[str, str, Any]:
        return "pump", "setpoint", 7.25

    def astray(self, data: bytes) -> bytes:
        """Subscriptions are granted to whoever asked under another identifier."""
        return stray_grants(data)

    def with_peer(self, body: Callable[[SparkplugDriver, Together], Awaitable[None]]) -> None:
        async def whole(peer: Together) -> None:
            driver = self.open(peer.port)
            assert isinstance(driver, SparkplugDriver)
            try:
                await body(driver, peer)
            finally:
                await driver.close()

        peer = self.peer()
        try:
            asyncio.run(whole(peer))
        finally:
            peer.stop()

    def test_nodes_and_devices_are_found_with_units(self) -> None:
        async def body(driver: SparkplugDriver, peer: Together) -> None:
            finding = asyncio.create_task(driver.discover())
            await self.until(finding, lambda: driver._host._announced)
            peer.speaker.tell("more")  # a change alone: it is asked to be born again
            plan = await finding
            assert [thing.name for thing in plan.things] == ["line", "line-pump"]
            found = {one.definition.name: one.definition for one in plan.things[1].points}
            assert list(found) == ["Line.Speed", "setpoint", "running", "bad", "counter", "nothing", "motor.rpm"]
            assert (found["Line.Speed"].unit, found["setpoint"].unit) == ("m/s", "kW.h")
            assert (found["Line.Speed"].writable, found["setpoint"].writable) == (False, True)
            assert [one.name for one in plan.things[0].actions] == ["rebirth"]

        self.with_peer(body)

    def test_a_command_is_done_when_it_is_told_back(self) -> None:
        async def body(driver: SparkplugDriver, peer: Together) -> None:
            out = Collected()
            task = await self.running(driver, out)
            setpoint = self.point("pump", "setpoint")
            assert (await driver.write("pump", setpoint, 6.5)).result is Result.DONE
            assert (await driver.write("pump", setpoint, 13.0)).result is Result.UNCONFIRMED
            for name, value in (("setpoint", "much"), ("rpm", 5)):
                with pytest.raises(DeviceRefused):
                    await driver.write("pump", self.point("pump", name), value)
            rebirth = ActionPlan(name="rebirth", where={"group": "plant", "node": "line"})
            assert (await driver.invoke("line", rebirth, None)).result is Result.DONE
            with pytest.raises(DeviceRefused):
                await driver.invoke("line", ActionPlan(name="reboot"), None)
            task.cancel()

        self.with_peer(body)

    def test_a_device_that_dies_is_offline_and_a_command_to_it_refused(self) -> None:
        async def body(driver: SparkplugDriver, peer: Together) -> None:
            out = Collected()
            task = await self.running(driver, out)
            peer.speaker.tell("die")
            await self.until(task, lambda: out.things == {"line"})
            with pytest.raises(DeviceRefused, match="not there"):
                await driver.write("pump", self.point("pump", "setpoint"), 1.0)
            peer.speaker.stop()  # the broker leaves its will
            await self.until(task, lambda: not out.things)
            task.cancel()

        self.with_peer(body)

    def test_what_is_held_is_told_again(self) -> None:
        async def body(driver: SparkplugDriver, peer: Together) -> None:
            driver._hold_s = 0.2
            out = Collected()
            task = await self.running(driver, out)
            out.rows.clear()
            await self.until(task, lambda: self.all_there(out))
            task.cancel()

        self.with_peer(body)

    def test_what_is_null_or_of_bad_quality_is_missing_3(self) -> None:
        async def body(driver: SparkplugDriver, peer: Together) -> None:
            out = Collected()
            task = await self.running(driver, out)
            assert out.counts["bad"] >= 2
            assert not {"bad", "nothing"} & out.newest()["pump"].keys()
            task.cancel()

        self.with_peer(body)

    def test_the_broker_waits_while_the_node_is_slow_6(self) -> None:
        async def body(driver: SparkplugDriver, peer: Together) -> None:
            out = Slow()
            task = await self.running(driver, out)
            out.rows.clear()
            out.room.clear()
            peer.speaker.tell("burst")
            await asyncio.sleep(0.5)
            out.room.set()
            await self.until(task, lambda: out.newest().get("pump", {}).get("speed") == 200)
            assert [row.values["speed"] for row in out.rows] == list(range(1, 201))
            task.cancel()

        self.with_peer(body)

    def test_garbage_on_its_topics_is_dropped_and_counted_13(self) -> None:
        async def body(driver: SparkplugDriver, peer: Together) -> None:
            out = Collected()
            task = await self.running(driver, out)
            for number, payload in enumerate((b"", b"\xff" * 50, b"{}", bytes(300))):
                say(peer.port, f"spBv1.0/plant/DDATA/line/pump{number}", payload)
            say(peer.port, "spBv1.0/plant/NBIRTH/line", b"\x12\x05")
            peer.speaker.tell("more")
            await self.until(task, lambda: out.newest()["pump"]["speed"] == -43)
            assert driver._host.dropped >= 4
            task.cancel()

        self.with_peer(body)

    def test_nothing_is_written_without_a_connection(self) -> None:
        async def body() -> None:
            with pytest.raises(DeviceLost):
                await self.open(1).write("pump", self.point("pump", "setpoint"), 1.0)

        asyncio.run(body())


def say(port: int, topic: str, payload: bytes) -> None:
    from paho.mqtt import publish

    publish.single(topic, payload, hostname="127.0.0.1", port=port)


PYTHON = os.environ.get("TAIHU_PYSPARKPLUG_PYTHON", "")
PY_EDGE = Path(__file__).with_name("node.py")


@pytest.mark.skipif(not PYTHON, reason="TAIHU_PYSPARKPLUG_PYTHON names no interpreter that has pysparkplug")
def test_an_edge_node_of_pysparkplug_is_heard_and_obeys() -> None:
    async def body(broker: Broker) -> None:
        peer = TestSparkplug()
        driver = peer.open(broker.port)
        assert isinstance(driver, SparkplugDriver)
        levels = point("levels", "levels", DataType.OBJECT)
        points = (point("setpoint", "setpoint"), point("count", "count", DataType.INTEGER), levels)
        out = Collected()
        task = asyncio.create_task(driver.run(Plan(things=(ThingPlan(name="pump", points=points),)), out))
        await peer.until(task, lambda: driver._host._announced)  # it answers no requests to be born again
        speaker = await asyncio.to_thread(lambda: Speaker([PYTHON, str(PY_EDGE), str(broker.port)]).ready())
        try:
            wanted = {"setpoint": 5.5, "count": -7, "levels": [1.5, 2.5]}
            await peer.until(task, lambda: out.newest().get("pump") == wanted)
            assert (await driver.write("pump", points[0], 6.5)).result is Result.DONE
        finally:
            speaker.stop()
        await peer.until(task, lambda: not out.things)
        task.cancel()

    broker = Broker()
    try:
        asyncio.run(body(broker))
    finally:
        broker.stop()


@pytest.mark.parametrize(
    ("timestamp", "observed"), [(1_700_000_000_000, 1_700_000_000_000_000_000), (0, None), (2**63, None)]
)
def test_a_time_that_cannot_be_leaves_the_time_of_arrival(timestamp: int, observed: int | None) -> None:
    places = Places(Plan(things=(ThingPlan(name="pump", points=(point("setpoint", "setpoint"),)),)))
    metric = Metric("setpoint", None, timestamp, 10, 1.5)
    rows, _ = places.rows(Source("plant", "line", "pump"), 5, [metric])
    assert rows == [Reading("pump", {"setpoint": 1.5}, observed)]
