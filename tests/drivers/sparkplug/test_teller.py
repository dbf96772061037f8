"""Our things as an edge node, through mosquitto, heard by pysparkplug."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.drivers.broker import Broker, Speaker
from tests.drivers.conformance import free_port
from tests.waiting import WAIT_S

from taihu.drivers.port import Connection, DeviceLost, DeviceRefused, Plan, ThingPlan
from taihu.drivers.sparkplug.driver import SparkplugDriver
from taihu.drivers.sparkplug.edge.teller import SparkplugTeller, metrics_of
from taihu.drivers.telling import Newest, Teller
from taihu.kernel.clock import SystemClock
from taihu.kernel.limits import DEFAULT
from taihu.protocols.mqtt.codec import Decoder, encode
from taihu.protocols.mqtt.packets import Connack, Connect, Disconnect, Packet, Publish, Suback, Subscribe
from taihu.protocols.sparkplug.kinds import DataType as Type
from taihu.protocols.sparkplug.payload import PropertyValue
from taihu.things.property import DataType, Property

PYTHON = os.environ.get("TAIHU_PYSPARKPLUG_PYTHON", "")
HEARER = Path(__file__).with_name("hearer.py")
heard_by_peer = pytest.mark.skipif(
    not PYTHON, reason="TAIHU_PYSPARKPLUG_PYTHON names no interpreter that has pysparkplug"
)
NOW = 1_767_571_200_000_000_000
SPEED = Property(name="speed", unit="m/s", writable=True)
STATE = Property(name="state", data_type=DataType.STRING)


class Node:
    """A node of one thing, as a teller sees it."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {"speed": 1.5, "state": "on"}
        self.at = NOW
        self.stale = False
        self.past: list[tuple[int, Any]] = []
        self.commands: list[tuple[str, str, Any]] = []
        self.kept: dict[str, Any] = {}
        self.asked: list[tuple[int, int]] = []

    async def properties(self, thing: str) -> Mapping[str, Property]:
        return {"speed": SPEED, "state": STATE}

    async def newest(self) -> Sequence[Newest]:
        return [Newest("pump", name, value, self.at, self.stale) for name, value in self.values.items()]

    async def history(self, thing: str, name: str, start: int, end: int) -> Sequence[tuple[int, Any]]:
        self.asked.append((start, end))
        return self.past if name == "speed" else []

    async def command(self, thing: str, name: str, value: Any, why: str) -> None:
        self.commands.append((thing, name, value))
        self.values[name] = value
        self.at += 1_000_000

    def told(self) -> None:
        pass

    def recall(self) -> Mapping[str, Any]:
        return self.kept

    def remember(self, kept: Mapping[str, Any]) -> None:
        self.kept = dict(kept)


def opened(port: int, **options: Any) -> SparkplugTeller:
    url = f"sparkplug-edge+mqtt://127.0.0.1:{port}/plant/centre"
    connection = Connection(name="t", url=url, period_s=0.05, options={"keep_alive_s": 1} | options)
    return SparkplugTeller.open(connection, SystemClock(), DEFAULT)


class Hearer:
    """What pysparkplug hears on a broker."""

    def __init__(self, port: int) -> None:
        self.speaker = Speaker([PYTHON, str(HEARER), str(port)]).ready()

    async def next(self, kind: str) -> dict[str, Any]:
        async with asyncio.timeout(WAIT_S):
            while True:
                found: dict[str, Any] = json.loads(await asyncio.to_thread(self.speaker.line))
                if found["kind"] == kind:
                    return found


@asynccontextmanager
async def telling(teller: SparkplugTeller, node: Node) -> Any:
    task = asyncio.create_task(teller.tell(node))
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, DeviceLost):
            await task


def with_broker(body: Callable[[Broker, Hearer], Awaitable[None]]) -> None:
    broker = Broker()
    hearer = Hearer(broker.port)
    try:
        asyncio.run(body(broker, hearer))  # type: ignore[arg-type]
    finally:
        hearer.speaker.stop()
        broker.stop()


@heard_by_peer
def test_births_changes_commands_rebirths_and_deaths_are_heard() -> None:
    async def body(broker: Broker, hearer: Hearer) -> None:
        node, teller = Node(), opened(broker.port)
        assert isinstance(teller, Teller)
        async with telling(teller, node):
            born = await hearer.next("NBIRTH")
            assert (born["seq"], born["metrics"]) == (0, {"bdSeq": 0, "Node Control/Rebirth": False})
            pump = await hearer.next("DBIRTH")
            assert (pump["seq"], pump["metrics"]) == (1, {"speed": 1.5, "state": "on"})
            assert pump["types"] == {"speed": "DOUBLE", "state": "STRING"}
            node.values["speed"], node.at = 2.5, NOW + 1_000_000_000
            changed = await hearer.next("DDATA")
            assert (changed["seq"], changed["metrics"], changed["historical"]) == (2, {"speed": 2.5}, [False])
            hearer.speaker.tell("speed 4.5")
            assert (await hearer.next("DDATA"))["metrics"] == {"speed": 4.5}
            assert node.commands == [("pump", "speed", 4.5)]
            hearer.speaker.tell("rebirth")
            assert (await hearer.next("NBIRTH"))["metrics"]["bdSeq"] == 0
            assert (await hearer.next("DBIRTH"))["metrics"]["speed"] == 4.5
            node.stale = True
            assert (await hearer.next("DDEATH"))["source"] == "centre/pump"
            node.stale = False
            await hearer.next("DBIRTH")
        assert (await hearer.next("NDEATH"))["metrics"] == {"bdSeq": 0}

    with_broker(body)


@heard_by_peer
def test_what_nobody_could_hear_is_told_as_history_after_a_loss() -> None:
    async def body(broker: Broker, hearer: Hearer) -> None:
        node, teller = Node(), opened(broker.port)
        async with telling(teller, node) as task:
            await hearer.next("DBIRTH")
            await asyncio.sleep(0.2)
            assert node.kept["bd_seq"] == 1 and node.kept["told_until"] > 0
            broker.stop()
            with pytest.raises(DeviceLost):
                async with asyncio.timeout(WAIT_S):
                    await task
        hearer.speaker.stop()
        broker.start()
        hearer.speaker = Speaker([PYTHON, str(HEARER), str(broker.port)]).ready()
        until = node.kept["told_until"]
        node.at = until + 1  # something was observed meanwhile
        node.past = [(NOW + 5_000_000, 7.5), (NOW + 6_000_000, 8.5)]
        async with telling(opened(broker.port), node):  # as after a restart
            assert (await hearer.next("NBIRTH"))["metrics"]["bdSeq"] == 1
            data = await hearer.next("DDATA")
            assert data["historical"] == [True, True]
            assert node.asked[0][0] == until

    with_broker(body)


@heard_by_peer
def test_it_waits_for_its_primary_host_and_walks_from_server_to_server() -> None:
    async def body(broker: Broker, hearer: Hearer) -> None:
        other = Broker()
        node = Node()
        teller = opened(broker.port, primary_host="scada", servers=[f"mqtt://127.0.0.1:{other.port}"])
        elsewhere = Hearer(other.port)
        try:
            async with telling(teller, node) as task:
                await asyncio.sleep(0.4)
                hearer.speaker.tell("state true 500")
                await hearer.next("DBIRTH")
                hearer.speaker.tell("state false 499")  # old news
                hearer.speaker.tell("state false 500")
                with pytest.raises(DeviceLost, match="primary host"):
                    async with asyncio.timeout(WAIT_S):
                        await task
                await hearer.next("NDEATH")
            elsewhere.speaker.tell("state true 9")
            async with telling(teller, node):
                assert (await elsewhere.next("NBIRTH"))["metrics"]["bdSeq"] == 1
        finally:
            elsewhere.speaker.stop()
            other.stop()

    with_broker(body)


class Recorder:
    """A server of our own codec that keeps what a client sent."""

    def __init__(self, version: int) -> None:
        self.packets: list[Packet] = []
        self.port = free_port()
        self._version = version

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = Decoder()
        while data := await reader.read(65_536):
            decoder.feed(data)
            for packet in decoder.packets():
                self.packets.append(packet)
                if isinstance(packet, Connect):
                    writer.write(encode(Connack(False, 0), self._version))
                elif isinstance(packet, Subscribe):
                    granted = tuple(one.qos for one in packet.subscriptions)
                    writer.write(encode(Suback(packet.packet_id, granted), self._version))
        writer.close()

    def of(self, kind: type[Packet]) -> list[Any]:
        return [packet for packet in self.packets if isinstance(packet, kind)]


@pytest.mark.parametrize("version", [4, 5])
def test_both_roles_connect_with_a_clean_session_and_go_by_a_death(version: int) -> None:
    async def session(start: Callable[[int], Awaitable[None]], wanted: int) -> Recorder:
        recorder = Recorder(version)
        server = await asyncio.start_server(recorder.serve, "127.0.0.1", recorder.port)
        task = asyncio.ensure_future(start(recorder.port))
        async with asyncio.timeout(WAIT_S):
            while len(recorder.of(Publish)) < wanted:
                await asyncio.sleep(0.01)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            while not recorder.of(Disconnect):
                await asyncio.sleep(0.01)
        server.close()
        return recorder

    def host(port: int) -> Awaitable[None]:
        connection = Connection(name="h", url=f"sparkplug+mqtt://127.0.0.1:{port}", options={"version": version})
        driver = SparkplugDriver.open(connection, SystemClock(), DEFAULT)
        from tests.drivers.conformance import Collected

        return driver.run(Plan(things=(ThingPlan(name="x"),)), Collected())

    def edge(port: int) -> Awaitable[None]:
        return opened(port, version=version).tell(Node())

    for start, wanted, death in ((host, 1, b'"online":false'), (edge, 2, b"bdSeq")):
        recorder = asyncio.run(session(start, wanted))
        (connect,) = recorder.of(Connect)
        assert connect.clean_start and connect.will is not None
        assert connect.properties.get("session_expiry_interval", 0) == 0
        assert death in connect.will.payload
        kinds = [type(packet) for packet in recorder.packets]
        assert kinds[:3] == [Connect, Subscribe, Publish]
        assert kinds[-2:] == [Publish, Disconnect]
        assert death in recorder.of(Publish)[-1].payload
        (goodbye,) = recorder.of(Disconnect)
        assert goodbye.reason == (4 if version == 5 and start is edge else 0)


def test_metrics_say_types_units_quality_and_whether_they_can_be_set() -> None:
    values = [Newest("pump", "speed", 2, NOW, False), Newest("pump", "state", "on", NOW, True)]
    speed, state = metrics_of(values, {"speed": SPEED, "state": STATE})
    assert (speed.kind, speed.value, speed.timestamp) == (Type.DOUBLE, 2.0, NOW // 1_000_000)
    assert speed.properties == {
        "Quality": PropertyValue(Type.INT32, 192),
        "readOnly": PropertyValue(Type.BOOLEAN, False),
        "engUnit": PropertyValue(Type.STRING, "m/s"),
    }
    assert (state.kind, state.value) == (Type.STRING, None)
    assert state.properties is not None and state.properties["Quality"] == PropertyValue(Type.INT32, 500)


@pytest.mark.parametrize(
    "url", ["sparkplug-edge+mqtt://h/only-a-group", "sparkplug-edge+mqtt:///g/n", "sparkplug-edge+mqtt://h/a+/n"]
)
def test_a_url_that_names_no_edge_node_is_refused(url: str) -> None:
    with pytest.raises(DeviceRefused):
        SparkplugTeller.open(Connection(name="t", url=url), SystemClock(), DEFAULT)


def test_adding_it_tries_the_server() -> None:
    broker = Broker()
    try:
        plan = asyncio.run(opened(broker.port).discover())
        assert not plan.things and "lets it in" in plan.notes[0]
    finally:
        broker.stop()
    with pytest.raises(DeviceLost):
        asyncio.run(opened(broker.port).discover())
