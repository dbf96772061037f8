"""The CoAP driver against an aiocoap device in another process, and libcoap's server."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.drivers.conformance import Collected, Conformance, Peer, free_port
from tests.waiting import WAIT_S

pytest.importorskip("aiocoap", reason="aiocoap is not installed (the extra coap)")

from taihu.drivers.coap.driver import CoapDriver
from taihu.drivers.coap.finding import links_of
from taihu.drivers.port import Connection, DeviceLost, DeviceRefused, Plan, Point, Result, ThingPlan
from taihu.kernel.clock import SystemClock
from taihu.kernel.limits import DEFAULT
from taihu.things.property import DataType, Kind, Property

PEER = Path(__file__).with_name("peer.py")
LIBCOAP = shutil.which("coap-server-notls") or shutil.which("coap-server") or ""


def point(name: str, data_type: DataType = DataType.NUMBER, **where: Any) -> Point:
    kind = Kind.GAUGE if data_type is DataType.NUMBER else Kind.STATE
    return Point(definition=Property(name=name, data_type=data_type, kind=kind, writable="write" in where), where=where)


def driver_at(
    port: int, path: str = "", secrets: dict[str, str] | None = None, folder: Path | None = None, **options: Any
) -> CoapDriver:
    connection = Connection(
        name="peer",
        url=f"coap://127.0.0.1:{port}{path}",
        period_s=0.05,
        options={"timeout_s": 1.0, "retries": 1, **options},
        secrets=secrets or {},
        folder=folder,
    )
    return CoapDriver.open(connection, SystemClock(), DEFAULT)


async def found(driver: CoapDriver) -> Plan:
    try:
        return await driver.discover()
    finally:
        await driver.close()


async def following(driver: CoapDriver, plan: Plan, ready: Any, doing: Any = None) -> Collected:
    """What a driver passes on until `ready` of it; `doing` is awaited meanwhile."""
    out = Collected()
    task = asyncio.create_task(driver.run(plan, out))
    try:
        async with asyncio.timeout(WAIT_S):
            while not ready(out):
                if task.done():
                    await task
                await asyncio.sleep(0.01)
            if doing is not None:
                await doing(out)
        return out
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, DeviceLost, DeviceRefused):
            await task
        await driver.close()


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    one = Peer(PEER)
    yield one
    one.stop()


class TestCoap(Conformance):
    driver = CoapDriver
    datagrams = True
    bad_urls: ClassVar = ("coap://", "coap://host:99999/")
    garbage: ClassVar = (b"", b"\0" * 300, b"\xff" * 50, b"\x60\x45\x00\x01\xff\xff", b"\x70\x00\x12\x34")

    def peer(self) -> Peer:
        return Peer(PEER)

    def url(self, port: int) -> str:
        return f"coap://127.0.0.1:{port}"

    def options(self) -> dict[str, Any]:
        return {"timeout_s": 0.2, "retries": 1, "answer_s": 1.5}

    def plan(self) -> Plan:
        points = (
            point("temperature", href="/temperature"),
            point("running", DataType.BOOLEAN, href="/status", pointer="/pump/running"),
            point("last", href="/large", pointer="/v899"),
            point("setpoint", observe="/setpoint", write={"href": "/setpoint"}),
            point("nothing", href="/nowhere"),
        )
        return Plan(things=(ThingPlan(name="pump", points=points),))

    def expected(self) -> dict[str, dict[str, Any]]:
        return {"pump": {"temperature": 21.5, "running": True, "last": 899, "setpoint": 20.0}}

    def to_write(self) -> tuple[str, str, Any]:
        return "pump", "setpoint", 18.5

    def astray(self, data: bytes) -> bytes:
        """The answer to a request with another token."""
        token = slice(4, 4 + (data[0] & 0x0F))
        return data[:4] + bytes(byte ^ 0x55 for byte in data[token]) + data[token.stop :]


def test_descriptions_and_listed_resources_are_found(peer: Peer) -> None:
    async def body() -> None:
        plan = await found(driver_at(peer.port, "/td"))
        (thing,) = plan.things
        setpoint, temperature = thing.point("setpoint"), thing.point("temperature")
        assert setpoint and temperature
        assert setpoint.where == {"href": "/setpoint", "write": {"href": "/setpoint", "method": "PUT"},
                                  "observe": "/setpoint"}  # fmt: skip
        assert (temperature.where, temperature.definition.unit) == ({"href": "/temperature"}, "Cel")
        assert thing.actions[0].where == {"href": "/reset", "method": "POST", "body": ""}
        one = await found(driver_at(peer.port, "/status"))
        assert [each.definition.name for each in one.things[0].points] == [
            "status.pump.running",
            "status.pump.name",
            "status.list.0",
            "status.list.1",
        ]
        listed = await found(driver_at(peer.port))
        assert listed.things[0].name == "boiler"  # the list leads to a description

    asyncio.run(body())


def test_links_are_read_as_rfc_6690_has_them() -> None:
    text = '</sensors>;ct=40;title="Sensor, Index",</sensors/temp>;rt="temperature-c";obs;if="s;x",</t>;anchor="/a"'
    assert list(links_of(text)) == [
        ("/sensors", {"ct": "40", "title": "Sensor, Index"}),
        ("/sensors/temp", {"rt": "temperature-c", "obs": "", "if": "s;x"}),
        ("/t", {"anchor": "/a"}),
    ]


@given(st.text(st.sampled_from('<>;=,"\\ a/'), max_size=60))
def test_any_text_gives_links_or_none_13(text: str) -> None:
    for href, attributes in links_of(text):
        assert href in text and all(name for name in attributes)


def test_a_device_says_no_and_answers_an_action(peer: Peer) -> None:
    async def body() -> None:
        driver = driver_at(peer.port, "/td")
        plan = await found(driver)
        (thing,) = plan.things

        async def doing(out: Collected) -> None:
            setpoint = thing.point("setpoint")
            assert setpoint
            with pytest.raises(DeviceRefused, match=r"4\.00 a number, please"):
                await driver.write("boiler", setpoint, "much")
            assert await driver.write("boiler", setpoint, 19.0) == (Result.DONE, None)
            assert await driver.invoke("boiler", thing.actions[0], None) == (Result.DONE, {"was": 19.0})
            while out.newest()["boiler"]["setpoint"] != 19.0:
                await asyncio.sleep(0.01)

        await following(driver, plan, lambda out: "setpoint" in out.newest().get("boiler", {}), doing)

    asyncio.run(body())


def test_a_thing_without_a_readable_resource_is_offline_alone(peer: Peer) -> None:
    async def body() -> None:
        good = ThingPlan(name="good", points=(point("t", href="/temperature"),))
        bad = ThingPlan(name="bad", points=(point("t", href="/nowhere"), point("u", observe="/gone")))
        out = await following(driver_at(peer.port), Plan(things=(good, bad)), lambda out: len(out.rows) >= 3)
        assert out.things == {"good"}
        assert set(out.newest()) == {"good"}

    asyncio.run(body())


def test_what_is_observed_is_observed_anew(peer: Peer) -> None:
    async def body() -> None:
        plan = Plan(things=(ThingPlan(name="t", points=(point("s", observe="/setpoint"),)),))
        driver = driver_at(peer.port, renew_s=0.2)
        driver._connection = Connection(name="peer", url="coap://127.0.0.1", period_s=60.0)
        out = await following(driver, plan, lambda out: len(out.rows) >= 3)
        assert out.things == {"t"}

    asyncio.run(body())


@pytest.mark.skipif(not LIBCOAP, reason="libcoap is not installed: there is no coap-server")
def test_libcoaps_server_is_read_observed_and_written() -> None:
    """Its `/time` is observable and tells every second; `/example_data` is written and read back."""
    port = free_port()
    process = subprocess.Popen(
        [LIBCOAP, "-A", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    async def body() -> None:
        plan = await found(driver_at(port))
        names = {each.definition.name: each.where for each in plan.things[0].points}
        assert names["time"] == {"observe": "/time"}
        data = point("data", DataType.STRING, href="/example_data",
                     write={"href": "/example_data", "content": "text/plain"})  # fmt: skip
        plan = Plan(things=(ThingPlan(name="t", points=(point("time", DataType.STRING, observe="/time"), data)),))
        driver = driver_at(port)

        async def doing(out: Collected) -> None:
            long = "hello " * 500  # several blocks, there and back
            assert (await driver.write("t", data, long.strip())).result is Result.DONE
            while (
                out.newest()["t"].get("data") != long.strip()
                or len({str(row.values.get("time")) for row in out.rows}) < 3
            ):
                await asyncio.sleep(0.02)

        await following(driver, plan, lambda out: "time" in out.newest().get("t", {}), doing)

    try:
        time.sleep(0.3)
        asyncio.run(body())
    finally:
        process.kill()
        process.wait()
