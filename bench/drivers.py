"""Drivers: what each brings a second from a device in another process, beside a bare loop on the same library."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import httpx
from pymodbus.client import AsyncModbusTcpClient

from bench.devices import IEC104_POINTS, OFFERED, SUBSCRIBED
from bench.harness import ROOT, Options, Report, Row, side_by_side
from bench.peers import free_port
from taihu.drivers.http.driver import HttpDriver
from taihu.drivers.iec104.driver import Iec104Driver
from taihu.drivers.modbus.driver import ModbusDriver
from taihu.drivers.port import Connection, Driver, Plan, Point, Reading, ThingPlan
from taihu.kernel.clock import SystemClock
from taihu.kernel.limits import DEFAULT
from taihu.protocols.iec104.client import Client
from taihu.things.property import Property

NAME = "drivers"
_EXTRAS = ("bacpypes3", "aiocoap")
_NO_PAUSE_S = 1e-6  # what is polled is polled again at once
Loop = Callable[[int, float], Awaitable[int]]
"""Runs against a port for some seconds; how many of its unit it got."""


class Case(NamedTuple):
    """A driver, and the library that it stands on, alone."""

    driver: str
    unit: str
    goal: int
    taihu: Loop
    bare: Loop
    library: str


class Counter:
    """Where readings go: they are counted, in the unit of the case."""

    def __init__(self, values: bool) -> None:
        self.got = 0
        self._values = values

    async def readings(self, rows: Sequence[Reading]) -> None:
        self.got += sum(len(row.values) for row in rows) if self._values else len(rows)

    async def durable(self) -> None: ...
    def online(self, thing: str) -> None: ...
    def offline(self, thing: str, why: str) -> None: ...
    def count(self, what: str, number: int = 1) -> None: ...


def run(options: Options) -> Report:
    """Every driver in turn with its library."""
    report = Report(NAME, "Drivers: what each brings a second, beside a bare loop on the same library")
    for case in CASES:
        if case.library in _EXTRAS and find_spec(case.library) is None:
            report.note(f"{case.driver} is left out: {case.library} is not installed.")
            continue
        contenders: dict[str, Callable[[], Row]] = {
            f"{case.driver}: Taihu": lambda case=case: _row(case, True, options),  # type: ignore[misc]
            f"{case.driver}: {case.library}": lambda case=case: _row(case, False, options),  # type: ignore[misc]
        }
        side_by_side(report, contenders, 1 if options.smoke else options.runs, "per s")
    report.note(
        "Each device is a process of its own that answers from memory, on the same cores; CPU is the caller's alone "
        "and says more than the rate. Taihu's side ends where a reading would be published."
    )
    return report


def _row(case: Case, ours: bool, options: Options) -> Row:
    import_module(f"taihu.drivers.{case.driver}.driver")  # before the clock runs
    with device(case.driver) as port:
        loop = case.taihu if ours else case.bare
        for length in (options.seconds, 20 * options.seconds):  # a busy machine may take the first to connect
            began, cpu = time.perf_counter(), time.process_time()
            got: int = asyncio.run(loop(port, length))  # type: ignore[arg-type]
            cpu, seconds = time.process_time() - cpu, time.perf_counter() - began
            if got:
                break
    assert got > 0
    return {
        "driver": f"{case.driver}: {'Taihu' if ours else case.library}",
        "unit": case.unit,
        "per s": got / seconds,
        "CPU us": cpu / got * 1e6,
        "goal per s": float(case.goal) if ours else None,
    }


@contextmanager
def device(kind: str) -> Iterator[int]:
    """A device at work."""
    port = free_port()
    command = [sys.executable, "-m", "bench.devices", kind, str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip() == "ready"
        yield port
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def drive(driver: Driver, plan: Plan, seconds: float, *, values: bool = False) -> int:
    """How much a driver brings in some seconds."""
    out = Counter(values)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await driver.run(plan, out)
    await driver.close()
    return out.got


def opened(kind: type[Driver], url: str, period_s: float = _NO_PAUSE_S) -> Driver:
    connection = Connection(name="bench", url=url, period_s=period_s)
    return kind.open(connection, SystemClock(), DEFAULT)


def thing(*points: tuple[str, dict[str, Any]]) -> Plan:
    made = tuple(Point(definition=Property(name=name), where=where) for name, where in points)
    return Plan(things=(ThingPlan(name="device", points=made),))


async def http_taihu(port: int, seconds: float) -> int:
    """Four values of one resource."""
    pointers = ("/meters/0/power", "/meters/0/total", "/temperature", "/relays/0/ison")
    plan = thing(*((f"p{at}", {"href": "/status", "pointer": one}) for at, one in enumerate(pointers)))
    return await drive(opened(HttpDriver, f"http://127.0.0.1:{port}/"), plan, seconds)


async def http_bare(port: int, seconds: float) -> int:
    got, end = 0, time.perf_counter() + seconds
    async with httpx.AsyncClient(trust_env=False) as client:
        while time.perf_counter() < end:
            document = (await client.get(f"http://127.0.0.1:{port}/status")).json()
            got += document["meters"][0]["power"] == 42.5
    return got


async def modbus_taihu(port: int, seconds: float) -> int:
    plan = thing(*((f"r{at}", {"register": at}) for at in range(100)))
    return await drive(opened(ModbusDriver, f"modbus+tcp://127.0.0.1:{port}/1"), plan, seconds)


async def modbus_bare(port: int, seconds: float) -> int:
    client = AsyncModbusTcpClient("127.0.0.1", port=port, retries=0)
    await client.connect()
    got, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        answer = await client.read_holding_registers(0, count=100, device_id=1)
        got += len(answer.registers) == 100
    client.close()
    return got


async def iec104_taihu(port: int, seconds: float) -> int:
    plan = thing(*((f"o{at}", {"address": at}) for at in range(1, IEC104_POINTS + 1)))
    return await drive(opened(Iec104Driver, f"iec104://127.0.0.1:{port}/1"), plan, seconds, values=True)


async def iec104_bare(port: int, seconds: float) -> int:
    """Our codec alone, since it is the library."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client, clock = Client(), SystemClock()
    client.start(clock.monotonic())
    got = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                writer.write(client.take_output())
                events: list[Any] = client.receive(await reader.read(65_536), clock.monotonic())
                got += sum(len(event.values) for event in events if hasattr(event, "values"))
    writer.close()
    return got


async def bacnet_taihu(port: int, seconds: float) -> int:
    """Changes of ten analog values."""
    from taihu.drivers.bacnet.driver import BacnetDriver

    plan = thing(*((f"av{at}", {"object": f"analog-value,{at}"}) for at in range(SUBSCRIBED)))
    return await drive(opened(BacnetDriver, f"bacnet://127.0.0.1:{port}/599", 60.0), plan, seconds)


async def bacnet_bare(port: int, seconds: float) -> int:
    from bacpypes3.apdu import SubscribeCOVRequest
    from bacpypes3.ipv4.app import NormalApplication
    from bacpypes3.local.device import DeviceObject
    from bacpypes3.pdu import Address, IPv4Address
    from bacpypes3.primitivedata import Real

    got = 0

    class Counting(NormalApplication):  # type: ignore[misc]
        async def do_UnconfirmedCOVNotificationRequest(self, apdu: Any) -> None:
            nonlocal got
            got += apdu.listOfValues[0].value.cast_out(Real) == 21.5

    device = DeviceObject(objectIdentifier=("device", 1), objectName="bench", vendorIdentifier=999)
    app = Counting(device, IPv4Address("127.0.0.1:0"))
    for at in range(SUBSCRIBED):
        request = SubscribeCOVRequest(
            subscriberProcessIdentifier=1, monitoredObjectIdentifier=("analog-value", at), lifetime=60,
            issueConfirmedNotifications=False, destination=Address(f"127.0.0.1:{port}"),
        )  # fmt: skip
        await app.request(request)
    await asyncio.sleep(seconds)
    app.close()
    return got


async def coap_taihu(port: int, seconds: float) -> int:
    """Changes of ten resources."""
    from taihu.drivers.coap.driver import CoapDriver

    plan = thing(*((f"t{at}", {"observe": f"/t{at}"}) for at in range(SUBSCRIBED)))
    return await drive(opened(CoapDriver, f"coap://127.0.0.1:{port}", 60.0), plan, seconds)


async def coap_bare(port: int, seconds: float) -> int:
    from aiocoap import GET, Context, Message

    got = 0
    context = await Context.create_client_context(transports=["udp6"])

    async def follow(at: int) -> None:
        nonlocal got
        request = context.request(Message(code=GET, uri=f"coap://127.0.0.1:{port}/t{at}", observe=0))
        await request.response
        async for answer in request.observation:
            got += float(answer.payload) == 21.5

    tasks = [asyncio.create_task(follow(at)) for at in range(SUBSCRIBED)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await context.shutdown()
    return got


CASES = (
    Case("http", "polls", 2_000, http_taihu, http_bare, "httpx"),
    Case("modbus", "polls of 100 registers", 1_000, modbus_taihu, modbus_bare, "pymodbus"),
    Case("bacnet", f"changes of {OFFERED} offered", 1_000, bacnet_taihu, bacnet_bare, "bacpypes3"),
    Case("coap", f"changes of {OFFERED} offered", 2_000, coap_taihu, coap_bare, "aiocoap"),
    Case("iec104", "points", 50_000, iec104_taihu, iec104_bare, "codec alone"),
)
