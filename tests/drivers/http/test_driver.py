"""The HTTP driver against a Starlette device in another process."""

import asyncio
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.drivers.conformance import Collected, Conformance, Peer
from tests.waiting import WAIT_S

from taihu.drivers.http.driver import HttpDriver
from taihu.drivers.port import Connection, DeviceLost, DeviceRefused, Driver, Plan, Point, Result, ThingPlan
from taihu.kernel.clock import SystemClock
from taihu.kernel.limits import DEFAULT
from taihu.things.property import DataType, Kind, Property

PEER = Path(__file__).with_name("peer.py")


def point(name: str, data_type: DataType = DataType.NUMBER, **where: Any) -> Point:
    kind = Kind.GAUGE if data_type is DataType.NUMBER else Kind.STATE
    return Point(definition=Property(name=name, data_type=data_type, kind=kind, writable="write" in where), where=where)


def driver_at(port: int, path: str = "/", secrets: dict[str, str] | None = None, **options: Any) -> Driver:
    connection = Connection(
        name="peer",
        url=f"http://127.0.0.1:{port}{path}",
        period_s=0.05,
        options={"timeout_s": 10.0, **options},
        secrets=secrets or {},
    )
    return HttpDriver.open(connection, SystemClock(), DEFAULT)


class TestHttp(Conformance):
    driver = HttpDriver
    late_s = 2.5  # later than timeout_s, though head and body come together
    ignores_strangers = True
    bad_urls: ClassVar = ("http://", "http://host:99999/", "http://user:pass@host/", "https://:80/")
    garbage: ClassVar = (*Conformance.garbage, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort")

    def peer(self) -> Peer:
        return Peer(PEER)

    def url(self, port: int) -> str:
        return f"http://127.0.0.1:{port}/status"

    def options(self) -> dict[str, Any]:
        return {"timeout_s": 2.0}

    def plan(self) -> Plan:
        points = (
            point("temperature", href="/status", pointer="/temperature"),
            point("fahrenheit", href="/temperature", scale=1.8, offset=32.0),
            point("running", DataType.BOOLEAN, href="/status", pointer="/pump/running"),
            point("name", DataType.STRING, href="/status", pointer="/pump/name", words={"p-7": "pump 7"}),
            point("second", href="/status", pointer="/list/1"),
            point("absent", href="/status", pointer="/list/9"),
            point("setpoint", href="/setpoint", write={"href": "/setpoint"}),
        )
        return Plan(things=(ThingPlan(name="pump", points=points),))

    def expected(self) -> dict[str, dict[str, Any]]:
        values = {"temperature": 21.5, "fahrenheit": 70.7, "running": True, "name": "pump 7", "second": 2.5}
        return {"pump": {**values, "setpoint": 20.0}}

    def to_write(self) -> tuple[str, str, Any]:
        return "pump", "setpoint", 18.5

    def astray(self, data: bytes) -> bytes:
        """After each answer another, that nobody asked for."""
        ended = not data.startswith(b"HTTP/") or not data.endswith(b"\r\n\r\n")  # its head may come alone
        return data + b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-type: application/json\r\n\r\n7" * ended


async def found(driver: Driver) -> Plan:
    """What a driver finds."""
    try:
        return await driver.discover()
    finally:
        await driver.close()


async def following(driver: Driver, plan: Plan, ready: Any) -> Collected:
    """What a driver passes on until `ready` of it."""
    out = Collected()
    task = asyncio.create_task(driver.run(plan, out))
    try:
        async with asyncio.timeout(WAIT_S):
            while not ready(out):
                if task.done():
                    await task
                await asyncio.sleep(0.01)
        return out
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, DeviceLost, DeviceRefused):
            await task
        await driver.close()


async def state_of(port: int) -> dict[str, Any]:
    driver = driver_at(port, "/state")
    plan = Plan(things=(ThingPlan(name="s", points=(point("all", DataType.OBJECT, href="/state"),)),))
    out = await following(driver, plan, lambda out: out.rows)
    found: dict[str, Any] = out.newest()["s"]["all"]
    return found


@pytest.fixture(scope="module")
def peer() -> Any:
    one = Peer(PEER)
    yield one
    one.stop()


def of(*points: Point) -> Plan:
    return Plan(things=(ThingPlan(name="thing", points=points),))


def test_what_has_not_changed_is_not_sent_again_and_is_still_a_reading(peer: Peer) -> None:
    async def body() -> None:
        plan = of(point("temperature", href="/status", pointer="/temperature"))
        before = await state_of(peer.port)
        out = await following(driver_at(peer.port), plan, lambda out: len(out.rows) >= 5)
        assert all(row.values == {"temperature": 21.5} for row in out.rows)
        assert len({row.observed_at for row in out.rows}) >= 5
        state = await state_of(peer.port)
        assert state["asked"] - before["asked"] >= 5
        assert state["fresh"] - before["fresh"] == 1
        slow = await following(driver_at(peer.port, slow_s=30.0), plan, lambda out: len(out.rows) >= 4)
        times = [row.observed_at or 0 for row in slow.rows]
        assert times[3] - times[2] > 0.15e9  # 0.05 s doubled twice

    asyncio.run(body())


def test_a_busy_device_is_left_alone_as_long_as_it_asks(peer: Peer) -> None:
    async def body() -> None:
        out = await following(driver_at(peer.port), of(point("load", href="/busy", pointer="/load")), lambda o: o.rows)
        assert out.counts["unreadable"] == 1
        assert out.things == {"thing"}
        assert (await state_of(peer.port))["busy"] == 2

    asyncio.run(body())


def test_a_thing_without_a_readable_resource_is_offline_alone(peer: Peer) -> None:
    async def body() -> None:
        good = ThingPlan(name="good", points=(point("t", href="/temperature"),))
        bad = ThingPlan(name="bad", points=(point("t", href="/nowhere"),))
        out = await following(driver_at(peer.port), Plan(things=(good, bad)), lambda out: len(out.rows) >= 3)
        assert out.things == {"good"}
        assert set(out.newest()) == {"good"}

    asyncio.run(body())


def test_a_stream_goes_on_after_the_last_event(peer: Peer) -> None:
    """Three events a stream: each that follows begins after what was had, also after a reconnect of the driver."""

    async def body() -> None:
        driver = driver_at(peer.port)
        plan = of(point("level", observe="/events", event="level"), point("other", observe="/events", event="other"))
        out = await following(driver, plan, lambda out: len(out.rows) >= 5)
        assert [row.values["level"] for row in out.rows][:5] == [1, 2, 3, 4, 5]
        assert out.counts["resumed"] >= 1
        more = await following(driver, plan, lambda out: len(out.rows) >= 2)
        assert more.rows[0].values["level"] == out.rows[-1].values["level"] + 1

    asyncio.run(body())


def test_a_device_that_says_no_and_one_that_only_took_it(peer: Peer) -> None:
    async def body() -> None:
        driver = driver_at(peer.port, "/td")
        plan = await driver.discover()
        (thing,) = plan.things
        setpoint, (reset,) = thing.point("setpoint"), thing.actions
        assert setpoint
        with pytest.raises(DeviceLost):
            await driver.write("boiler", setpoint, 1.0)
        out = Collected()
        task = asyncio.create_task(driver.run(plan, out))
        while "setpoint" not in out.newest().get("boiler", {}):
            await asyncio.sleep(0.01)
        with pytest.raises(DeviceRefused, match="400 a number, please"):
            await driver.write("boiler", setpoint, "much")
        with pytest.raises(DeviceRefused):
            await driver.write("boiler", setpoint, float("nan"))
        assert await driver.write("boiler", setpoint, 19.0) == (Result.DONE, None)
        assert await driver.invoke("boiler", reset, {}) == (Result.DONE, {"was": 19.0})
        later = await driver.invoke("boiler", reset, {"how": "later"})
        assert later == (Result.ACKNOWLEDGED, {"status": "pending"})
        task.cancel()
        await driver.close()

    asyncio.run(body())


def test_a_redirect_stays_at_the_device_and_what_is_too_large_is_not_read(peer: Peer) -> None:
    async def body() -> None:
        near = await found(driver_at(peer.port, "/near"))
        assert near.things[0].point("temperature")
        with pytest.raises(DeviceRefused, match=r"192\.0\.2\.1"):
            await found(driver_at(peer.port, "/away"))
        with pytest.raises(DeviceLost):
            await found(driver_at(peer.port, "/large"))
        far = point("far", href="http://192.0.2.1/far")
        with pytest.raises(DeviceRefused):
            await driver_at(peer.port).run(of(far), Collected())

    asyncio.run(body())


@pytest.mark.parametrize(
    ("secrets", "options", "said"),
    [
        ({"token": "t0"}, {}, "Bearer t0"),
        ({"password": "pw"}, {"user": "ann"}, "Basic YW5uOnB3"),
        ({"api_key": "k 1"}, {"api_key_header": "X-Key"}, "k 1"),
        ({"api_key": "k 1"}, {"api_key_query": "key"}, "key=k%201"),
    ],
)
def test_credentials_go_where_they_belong(
    peer: Peer, secrets: dict[str, str], options: dict[str, Any], said: str
) -> None:
    async def body() -> None:
        with pytest.raises(DeviceRefused, match="--secret"):
            await found(driver_at(peer.port, "/secret"))
        out = await following(
            driver_at(peer.port, "/secret", secrets, **options),
            of(point("who", DataType.STRING, href="/secret", pointer="/who")),
            lambda out: out.rows,
        )
        assert out.newest()["thing"]["who"] == said

    asyncio.run(body())


def test_a_secret_that_would_break_the_request_is_refused() -> None:
    with pytest.raises(DeviceRefused):
        driver_at(1, secrets={"token": "a\r\nX: y"})
    with pytest.raises(DeviceRefused):
        driver_at(1, secrets={"api_key": "a"}, api_key_header="X\r\n")


def test_an_answer_that_comes_late_is_nobodys() -> None:
    """The first answer comes after its time: the next question is asked on another connection, and gets its own."""

    async def body() -> None:
        asked = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            with closing(writer), suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    await reader.readuntil(b"\r\n\r\n")
                    asked += 1
                    number = asked
                    if number == 1:
                        await asyncio.sleep(1.5)
                    writer.write(
                        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-type: application/json\r\n\r\n%d" % number
                    )
                    if number == 2:  # and one that nobody asked for
                        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n7")

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        plan = of(point("n", href="/n"))
        driver = driver_at(port, timeout_s=1.0)
        with pytest.raises(DeviceLost, match="within"):
            await driver.run(plan, Collected())
        out = await following(driver, plan, lambda out: len(out.rows) >= 3)
        assert [row.values["n"] for row in out.rows][:3] == [2, 3, 4]
        server.close()
        await asyncio.sleep(0.05)

    asyncio.run(body())
