"""Devices that npm's coap and libcoap make are found on their group, and one is read, observed and written."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.drivers.broker import Speaker
from tests.drivers.conformance import Collected, free_port
from tests.waiting import WAIT_S

pytest.importorskip("aiocoap", reason="aiocoap is not installed (the extra coap)")

from taihu.drivers.coap.driver import CoapDriver
from taihu.drivers.port import Connection, DeviceLost, DeviceRefused, Found, Point, Result, Scanner
from taihu.kernel.clock import SystemClock
from taihu.kernel.limits import DEFAULT

SCRIPT = Path(__file__).parents[2] / "peers" / "coap" / "serve.js"
MODULES = os.environ.get("TAIHU_NODE_COAP", "")
GROUP = "224.0.1.187"
needs_node = pytest.mark.skipif(
    not MODULES or shutil.which("node") is None,
    reason="npm's coap is not installed: TAIHU_NODE_COAP names no folder with its node_modules, or there is no node",
)


def opened(host: str, port: int, **options: object) -> CoapDriver:
    given = {"timeout_s": 1.0, **options}
    return CoapDriver.open(Connection(name="node", url=f"coap://{host}:{port}", options=given), SystemClock(), DEFAULT)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    port = free_port()
    speaker = Speaker(["node", str(SCRIPT), str(port), GROUP], Path(MODULES)).ready()
    yield port
    speaker.stop()


@needs_node
def test_it_is_found_read_block_by_block_observed_and_written(port: int) -> None:
    async def body() -> None:
        driver = opened("127.0.0.1", port)
        plan = await driver.discover()
        (thing,) = plan.things
        level, first = thing.point("level"), thing.point("document.words.0")
        assert level and first
        assert (level.where, level.definition.title) == ({"observe": "/level"}, "Level")
        level = Point(definition=level.definition, where=level.where | {"write": {"href": "/level"}})
        out = Collected()
        task = asyncio.create_task(driver.run(plan, out))
        async with asyncio.timeout(WAIT_S):
            while out.newest().get("node", {}).get("level") != 1.5 or "document.words.31" not in out.newest()["node"]:
                await asyncio.sleep(0.01)
            assert await driver.write("node", level, 2.5) == (Result.DONE, None)
            while out.newest()["node"]["level"] != 2.5:
                await asyncio.sleep(0.01)
        nowhere = Point(definition=level.definition, where={"href": "/x", "write": {"href": "/x"}})
        with pytest.raises(DeviceRefused, match=r"4\.04 there is no such thing"):
            await driver.write("node", nowhere, 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await driver.close()

    asyncio.run(body())


def found(host: str, port: int, **options: object) -> list[Found]:
    driver = opened(host, port, **{"scan_s": 1.0, **options})
    assert isinstance(driver, Scanner)
    return asyncio.run(driver.scan())


@needs_node
def test_a_scan_of_the_group_finds_it(port: int) -> None:
    expected = [Found(f"coap://127.0.0.1:{port}", "Level, Document")]
    assert found(GROUP, port, bind="127.0.0.1") == expected
    assert found("127.0.0.1", port) == expected


def test_a_scan_of_the_group_finds_libcoaps_server() -> None:
    server = shutil.which("coap-server-notls") or shutil.which("coap-server")
    if server is None:
        pytest.skip("libcoap is not installed: there is no coap-server")
    port = free_port()
    command = [server, "-A", "0.0.0.0", "-p", str(port), "-g", GROUP, "-G", "lo"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(12):  # it takes up to five seconds to answer a group, as RFC 7252 has it
            if listed := found(GROUP, port, bind="127.0.0.1", scan_s=2.0):
                break
        assert listed == [
            Found(f"coap://127.0.0.1:{port}", "General Info, Internal Clock, /async and 1 more"),
        ]
    finally:
        process.kill()
        process.wait()


def test_a_scan_takes_answers_to_its_own_question_alone_13() -> None:
    """Garbage, another's token, and an answer that lists nothing."""

    class Babbler(asyncio.DatagramProtocol):
        def __init__(self, answers: bool) -> None:
            self._answers = answers

        def connection_made(self, transport: Any) -> None:
            self._transport = transport

        def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
            token = data[4 : 4 + (data[0] & 0x0F)]
            for answer in (b"", b"\xff" * 50, b"\x54\x45\x00\x01abcd\xffno", b"\x54\x01\x00\x01" + token):
                self._transport.sendto(answer, address)
            if self._answers:
                self._transport.sendto(b"\x54\x84\x00\x01" + token, address)

    async def body(answers: bool) -> int:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: Babbler(answers), ("127.0.0.1", 0))
        with closing(transport):
            port = transport.get_extra_info("sockname")[1]
            return len(await opened("127.0.0.1", port, scan_s=0.2).scan())

    assert [asyncio.run(body(answers)) for answers in (False, True)] == [0, 1]


def test_a_scan_that_cannot_be_is_refused() -> None:
    for options in ({"bind": "192.0.2.77"}, {"bind": "lo"}, {"scan_s": 0.0}):
        with pytest.raises(DeviceRefused):
            found(GROUP, 5683, **{"scan_s": 0.1, **options})
    with pytest.raises(DeviceLost):
        found("no-such-host.invalid", 5683)
