"""The MQTT driver against mosquitto, and devices of five conventions that speak through it by paho."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.drivers.broker import Broker, Speaker, Together, stray_grants
from tests.drivers.conformance import Collected, Conformance
from tests.waiting import WAIT_S

from taihu.drivers.mqtt.driver import MqttDriver
from taihu.drivers.port import ActionPlan, Connection, DeviceRefused, Plan, Point, Result, ThingPlan
from taihu.kernel.clock import SystemClock
from taihu.kernel.limits import DEFAULT
from taihu.things.property import DataType, Kind, Property

DEVICES = Path(__file__).with_name("devices.py")


def point(name: str, where: dict[str, Any], data_type: DataType = DataType.NUMBER) -> Point:
    kind = Kind.GAUGE if data_type is DataType.NUMBER else Kind.STATE
    return Point(definition=Property(name=name, data_type=data_type, kind=kind, writable="set" in where), where=where)


def opened(port: int, **options: Any) -> MqttDriver:
    options = {"discover_s": 1.0, "confirm_s": 1.5} | options
    connection = Connection(name="peer", url=f"mqtt://127.0.0.1:{port}", options=options)
    return MqttDriver.open(connection, SystemClock(), DEFAULT)


class TestMqtt(Conformance):
    driver = MqttDriver
    late_s = 2.5
    bad_urls: ClassVar = ("mqtt://", "mqtt://host:99999", "mqtt://u:secret@host")

    def peer(self) -> Together:
        return Together([sys.executable, str(DEVICES)])

    @pytest.fixture
    def kept(self) -> Iterator[Together]:
        """A fresh one: a broker remembers what it has told whom."""
        peer = self.peer()
        yield peer
        peer.stop()

    def url(self, port: int) -> str:
        return f"mqtt://127.0.0.1:{port}"

    def options(self) -> dict[str, Any]:
        return {"keep_alive_s": 1, "discover_s": 1.0, "confirm_s": 1.5}

    def plan(self) -> Plan:
        lamp = {"topic": "zigbee2mqtt/lamp", "path": ["state"], "values": {"ON": True, "OFF": False},
                "set": "zigbee2mqtt/lamp/set", "body": {"state": "{value}"}}  # fmt: skip
        limit = {"topic": "homie/meter/mains/limit", "form": "text", "set": "homie/meter/mains/limit/set"}
        load = {"topic": "v1/gateway/telemetry", "form": "gateway", "path": ["Chiller", "load"]}
        return Plan(
            things=(
                ThingPlan(name="lamp", points=(point("state", lamp, DataType.BOOLEAN),)),
                ThingPlan(name="meter", points=(point("limit", limit),)),
                ThingPlan(name="chiller", points=(point("load", load),)),
            )
        )

    def expected(self) -> dict[str, dict[str, Any]]:
        return {"lamp": {"state": True}, "meter": {"limit": 30}, "chiller": {"load": 0.5}}

    def to_write(self) -> tuple[str, str, Any]:
        return "lamp", "state", False

    def back(self, out: Collected) -> bool:
        """What the broker has told it before, it tells no more."""
        return out.things == set(self.expected())

    def astray(self, data: bytes) -> bytes:
        """Subscriptions are granted to whoever asked under another identifier."""
        return stray_grants(data)


def with_devices(body: Callable[[MqttDriver, Together], Awaitable[None]]) -> None:
    async def whole(peer: Together) -> None:
        driver = opened(peer.port)
        try:
            await body(driver, peer)
        finally:
            await driver.close()

    peer = Together([sys.executable, str(DEVICES)])
    try:
        asyncio.run(whole(peer))
    finally:
        peer.stop()


async def until(task: asyncio.Task[None], ready: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not ready():
            if task.done():
                await task
            await asyncio.sleep(0.01)


def test_devices_of_every_convention_are_found_and_obey() -> None:
    """What is found is run as it is: values, presence, and a command by each convention's own way."""
    values = {
        "lamp": {"state": True, "brightness": 100, "power": 7.5},
        "meter": {"mains.power": 12.5, "mains.limit": 30},
        "plug": {"ENERGY.Power": 55, "ENERGY.Total": 1.5, "POWER": False},
        "Boiler": {"Temperature": 61.5, "Pump": False},
        "Chiller": {"load": 0.5, "setpoint": 7},
    }
    units = {
             ("lamp", "power"): "W", ("meter", "mains.power"): "kW", ("meter", "mains.limit"): "A",
             ("plug", "ENERGY.Power"): "W", ("plug", "ENERGY.Total"): "kW.h", ("Boiler", "Temperature"): "Cel",
    }  # fmt: skip
    writes = [("lamp", "state", False), ("meter", "mains.limit", 25), ("plug", "POWER", True), ("Boiler", "Pump", True),
              ("Chiller", "setpoint", 6.5), ("lamp", "brightness", 50)]  # fmt: skip

    async def body(driver: MqttDriver, peer: Together) -> None:
        plan = await driver.discover()
        assert {thing.name: {one.definition.name for one in thing.points} for thing in plan.things} == {
            thing: set(properties) for thing, properties in values.items()
        }
        assert any("not understood" in note for note in plan.notes)
        for thing in plan.things:
            for one in thing.points:
                assert one.definition.unit == units.get((thing.name, one.definition.name)), one
        out = Collected()
        task = asyncio.create_task(driver.run(plan, out))
        await until(task, lambda: out.newest() == values)
        assert out.things == set(values)
        for whose, name, value in writes:
            found = plan.thing(whose)
            assert found is not None and (target := found.point(name)) is not None
            assert (await driver.write(whose, target, value)).result is Result.DONE, (whose, name)
        limit = plan.thing("meter").point("mains.limit")  # type: ignore[union-attr]
        assert limit is not None
        assert (await driver.write("meter", limit, 13)).result is Result.UNCONFIRMED
        power = plan.thing("meter").point("mains.power")  # type: ignore[union-attr]
        assert power is not None
        with pytest.raises(DeviceRefused, match="no topic"):
            await driver.write("meter", power, 1)
        peer.speaker.tell("homie/meter/$state lost")
        await until(task, lambda: "meter" not in out.things)
        task.cancel()

    with_devices(body)


def test_garbage_from_a_device_is_left_out_and_the_next_is_heard_13() -> None:
    async def body(driver: MqttDriver, peer: Together) -> None:
        out = Collected()
        lamp = {"topic": "zigbee2mqtt/lamp", "path": ["power"]}
        plan = Plan(things=(ThingPlan(name="lamp", points=(point("power", lamp),)),))
        task = asyncio.create_task(driver.run(plan, out))
        await until(task, lambda: out.newest() == {"lamp": {"power": 7.5}})
        for text in ("{", "[1]", '{"power": {"power": 1}}', '{"power": "much"}', "\\u0000", '{"power": 9}'):
            await asyncio.to_thread(say, peer.speaker, f"zigbee2mqtt/lamp {text}")
        await until(task, lambda: out.newest() == {"lamp": {"power": 9}})
        assert [row.values["power"] for row in out.rows] == [7.5, 9]
        task.cancel()

    with_devices(body)


def test_an_action_is_published_and_nothing_answers() -> None:
    async def body(driver: MqttDriver, peer: Together) -> None:
        out = Collected()
        state = point("v", {"topic": "x/told", "form": "text"}, DataType.STRING)
        plan = Plan(things=(ThingPlan(name="x", points=(state,)),))
        task = asyncio.create_task(driver.run(plan, out))
        await until(task, lambda: bool(out.things))
        action = ActionPlan(name="go", where={"topic": "x/told", "body": "{value}!"})
        await asyncio.sleep(0.2)
        assert (await driver.invoke("x", action, "now")).result is Result.UNCONFIRMED
        await until(task, lambda: out.newest() == {"x": {"v": "{value}!"}})
        with pytest.raises(DeviceRefused):
            await driver.invoke("x", ActionPlan(name="go"), None)
        task.cancel()

    with_devices(body)


class Slow(Collected):
    """A node that holds nothing durably until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.syncs = asyncio.Event()

    async def durable(self) -> None:
        await self.syncs.wait()


def test_nothing_is_acknowledged_before_it_is_durable_and_nothing_is_missing_after_a_loss_4() -> None:
    counter = point("n", {"topic": "count", "form": "text"})
    plan = Plan(things=(ThingPlan(name="counter", points=(counter,)),))

    async def body(broker: Broker, speaker: Speaker) -> None:
        driver = opened(broker.port)
        first = Slow()
        task = asyncio.create_task(driver.run(plan, first))
        await until(task, lambda: bool(first.things))
        await asyncio.sleep(0.3)
        for number in range(10):
            await asyncio.to_thread(say, speaker, f"count {number}")
        await until(task, lambda: len(first.rows) == 10)
        await driver.close()  # cut before the node had synced anything
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for number in range(10, 20):
            await asyncio.to_thread(say, speaker, f"count {number}")  # while the line is down
        speaker.stop()
        broker.stop(signal.SIGTERM)
        broker.start()
        again = Slow()
        again.syncs.set()
        task = asyncio.create_task(driver.run(plan, again))
        await until(task, lambda: len(again.rows) == 20)
        assert [row.values["n"] for row in again.rows] == list(range(20))
        await asyncio.sleep(0.3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        last = Collected()
        task = asyncio.create_task(driver.run(plan, last))
        await asyncio.sleep(0.5)
        assert last.rows == []  # what was acknowledged does not come again
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    broker = Broker("max_inflight_messages 100", persists=True)
    speaker = Speaker([sys.executable, str(DEVICES), str(broker.port)]).ready()
    try:
        asyncio.run(body(broker, speaker))
    finally:
        broker.stop()


def say(speaker: Speaker, line: str) -> None:
    speaker.tell(line)
    assert speaker.line() == "said"


@pytest.mark.parametrize("options", [{"version": 3}, {"conventions": ["nothing.toml"]}, {"keep_alive_s": 0}])
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(DeviceRefused):
        opened(1, **options)
