"""What every driver owes, told to its face: run against a peer that is stopped, frozen, replaced by garbage, late, or
answers for another question."""

import asyncio
import os
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
import uvloop
from tests import ports
from tests.link import DatagramLink, Link
from tests.waiting import WAIT_S

from taihu.drivers.port import Act, Connection, DeviceLost, DeviceRefused, Driver, Plan, Point, Reading, Result
from taihu.kernel.clock import SystemClock
from taihu.kernel.limits import DEFAULT


class Collected:
    """What a driver passed on."""

    def __init__(self) -> None:
        self.rows: list[Reading] = []
        self.things: set[str] = set()
        self.counts: Counter[str] = Counter()

    async def readings(self, rows: Sequence[Reading]) -> None:
        self.rows += rows

    async def durable(self) -> None:
        await asyncio.sleep(0)

    def online(self, thing: str) -> None:
        self.things.add(thing)

    def offline(self, thing: str, why: str) -> None:
        assert why
        self.things.discard(thing)

    def count(self, what: str, number: int = 1) -> None:
        self.counts[what] += number

    def newest(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for thing, values, *_ in self.rows:
            found.setdefault(thing, {}).update(values)
        return found


class Peer:
    """A device in a process of its own, on a port of its own."""

    def __init__(self, script: Path, *arguments: str) -> None:
        self.port = free_port()
        self._command = [sys.executable, str(script), str(self.port), *arguments]
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        self._process = process

    def freeze(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None


class Babbler(asyncio.DatagramProtocol):
    """Answers every datagram with the same bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self._transport.sendto(self._data, address)


free_port = ports.free_port


class Conformance(ABC):
    """Subclass it in a driver's tests; say how to reach the peer and what is true of it."""

    driver: ClassVar[type[Driver]]
    garbage: ClassVar[Sequence[bytes]] = (b"", b"\0" * 300, bytes(range(256)) * 4, b"HTTP/1.1 200 OK\r\n\r\n")
    bad_urls: ClassVar[Sequence[str]] = ()
    datagrams: ClassVar[bool] = False
    read_only: ClassVar[bool] = False
    late_s: ClassVar[float] = 1.5
    ignores_strangers: ClassVar[bool] = False

    @abstractmethod
    def peer(self) -> Any:
        """A fresh peer, serving."""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def planned(cls) -> None:
        """A plan that is found takes a loop of its own: before any other runs."""
        cls().plan()

    @pytest.fixture(scope="class")
    @classmethod
    def kept(cls) -> Iterator[Any]:
        """A peer that is as it was when it began."""
        peer = cls().peer()
        yield peer
        peer.stop()

    @pytest.fixture
    def fresh(self) -> Iterator[Any]:
        """A peer of one test alone."""
        peer = self.peer()
        yield peer
        peer.stop()

    @abstractmethod
    def url(self, port: int) -> str:
        """How the driver reaches a peer on a port."""

    @abstractmethod
    def plan(self) -> Plan:
        """A plan that fits the peer."""

    @abstractmethod
    def expected(self) -> dict[str, dict[str, Any]]:
        """Values that the peer has, by thing and property."""

    def options(self) -> dict[str, Any]:
        return {}

    @abstractmethod
    def to_write(self) -> tuple[str, str, Any]:
        """A thing, property and value that can be written and then read back; refused where all is `read_only`."""

    @abstractmethod
    def astray(self, data: bytes) -> bytes:
        """What came from the peer, as the answer to another question.

        A device that answers so is lost, unless the driver `ignores_strangers` and goes on with what is true.
        """

    def open(self, port: int, period_s: float = 0.05) -> Driver:
        connection = Connection(name="peer", url=self.url(port), period_s=period_s, options=self.options())
        return self.driver.open(connection, SystemClock(), DEFAULT)

    async def running(self, driver: Driver, out: Collected) -> asyncio.Task[None]:
        """The driver at work, with every expected value passed on."""
        task = asyncio.create_task(driver.run(self.plan(), out))
        await self.until(task, lambda: self.all_there(out))
        return task

    @asynccontextmanager
    async def working(self, port: int) -> AsyncIterator[tuple[Driver, Collected, asyncio.Task[None]]]:
        """A driver that has passed on every expected value, what it passes on, and its task; closed at the end."""
        driver, out = self.open(port), Collected()
        try:
            task = await self.running(driver, out)
            yield driver, out, task
            task.cancel()
        finally:
            await driver.close()

    async def found_again(self, driver: Driver, ready: Callable[[Collected], bool]) -> Collected:
        """What a driver passed on until `ready`, called again while the device is lost, as the host does."""
        out = Collected()
        async with asyncio.timeout(WAIT_S):
            while True:
                task = asyncio.create_task(driver.run(self.plan(), out))
                with suppress(DeviceLost):
                    await self.until(task, lambda: ready(out))
                    task.cancel()
                    return out

    async def until(self, task: asyncio.Task[Any], ready: Any) -> None:
        async with asyncio.timeout(WAIT_S):
            while not ready():
                if task.done():
                    await task
                await asyncio.sleep(0.01)

    def false_of(self, out: Collected) -> list[tuple[str, str, Any]]:
        """What a driver passed on that the peer does not have."""
        expected = self.expected()
        return [(thing, name, value) for thing, values, *_ in out.rows for name, value in values.items()
                if expected.get(thing, {}).get(name, value) != value]  # fmt: skip

    def linked(self, port: int) -> Link | DatagramLink:
        """A link to a peer."""
        return DatagramLink(port) if self.datagrams else Link(port)

    def back(self, out: Collected) -> bool:
        """Whether a device that was late has been found again."""
        return self.all_there(out)

    def all_there(self, out: Collected) -> bool:
        newest = out.newest()
        return all(newest.get(thing, {}).get(name) == value for thing, values in self.expected().items()
                   for name, value in values.items())  # fmt: skip

    def test_it_reads_what_the_device_has(self, kept: Any) -> None:
        async def body() -> None:
            driver, out = self.open(kept.port), Collected()
            try:
                task = await self.running(driver, out)
                assert out.things == {thing.name for thing in self.plan().things}
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            finally:
                await driver.close()
                await driver.close()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # the loop of the field process
            runner.run(body())

    def test_it_writes_and_says_no_more_than_the_device_did(self, fresh: Any) -> None:
        thing, name, value = self.to_write()

        async def body() -> None:
            async with self.working(fresh.port) as (driver, out, task):
                point = self.point(thing, name)
                if self.read_only:
                    with pytest.raises(DeviceRefused):
                        await driver.write(thing, point, value)
                else:
                    act = await driver.write(thing, point, value)
                    assert isinstance(act, Act) and act.result in Result
                    await self.until(task, lambda: out.newest()[thing].get(name) == value)

        asyncio.run(body())

    @pytest.mark.parametrize("way", ["killed", "frozen"])
    def test_a_device_that_goes_is_lost_and_found_again(self, fresh: Any, way: str) -> None:
        async def body() -> None:
            async with self.working(fresh.port) as (driver, _, task):
                fresh.stop() if way == "killed" else fresh.freeze()
                with pytest.raises(DeviceLost):
                    async with asyncio.timeout(WAIT_S):
                        await task
                thing, name, value = self.to_write()
                with pytest.raises(DeviceRefused if self.read_only else DeviceLost):
                    async with asyncio.timeout(WAIT_S):
                        await driver.write(thing, self.point(thing, name), value)
                fresh.stop()
                fresh.start()
                await self.found_again(driver, self.all_there)

        asyncio.run(body())

    def test_a_device_that_answers_late_is_lost_and_found_again(self, kept: Any) -> None:
        """What comes after its time is nobody's answer."""
        link = self.linked(kept.port)

        async def body() -> None:
            async with self.working(link.port) as (driver, out, task):
                link.delay_s = self.late_s
                for doing in (task, driver.run(self.plan(), out)):
                    with pytest.raises(DeviceLost):
                        async with asyncio.timeout(WAIT_S):
                            await doing
                link.delay_s = 0.0
                link.drop()
                after = await self.found_again(driver, self.back)
            assert not self.false_of(out) + self.false_of(after)

        try:
            asyncio.run(body())
        finally:
            link.close()

    def test_an_answer_to_another_question_is_not_taken(self, kept: Any) -> None:
        """Another transaction's, another device's, or one that nobody asked for."""
        link = self.linked(kept.port)
        link.change = self.astray

        async def body() -> None:
            driver, out = self.open(link.port), Collected()
            try:
                if self.ignores_strangers:
                    task = await self.running(driver, out)
                    task.cancel()
                else:
                    with pytest.raises(DeviceLost):
                        async with asyncio.timeout(WAIT_S):
                            await driver.run(self.plan(), out)
                    assert not out.rows
            finally:
                await driver.close()
            assert not self.false_of(out)

        try:
            asyncio.run(body())
        finally:
            link.close()

    def test_garbage_and_silence_are_told_by_the_two_errors_13(self) -> None:
        async def body(data: bytes) -> None:
            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write(data)
                with suppress(ConnectionError):
                    await reader.read(100)
                    writer.write(data)
                    await writer.drain()
                writer.close()

            server: asyncio.AbstractServer | asyncio.DatagramTransport
            if self.datagrams:
                loop = asyncio.get_running_loop()
                server, _ = await loop.create_datagram_endpoint(lambda: Babbler(data), ("127.0.0.1", 0))
                driver = self.open(server.get_extra_info("sockname")[1])
            else:
                server = await asyncio.start_server(serve, "127.0.0.1", 0)
                driver = self.open(server.sockets[0].getsockname()[1])
            try:
                for doing in (driver.discover(), driver.run(self.plan(), Collected())):
                    with pytest.raises((DeviceLost, DeviceRefused)):
                        async with asyncio.timeout(WAIT_S):
                            await doing
            finally:
                await driver.close()
                server.close()

        async def all_at_once() -> None:
            await asyncio.gather(*map(body, self.garbage))

        asyncio.run(all_at_once())

    def test_nobody_there_is_lost(self) -> None:
        async def body() -> None:
            driver = self.open(free_port())
            with pytest.raises(DeviceLost):
                async with asyncio.timeout(WAIT_S):
                    await driver.run(self.plan(), Collected())
            with pytest.raises(DeviceLost):
                await driver.discover()
            await driver.close()

        asyncio.run(body())

    def test_what_cannot_be_is_refused_before_anything_is_called(self) -> None:
        for url in self.bad_urls:
            with pytest.raises(DeviceRefused):
                self.driver.open(Connection(name="bad", url=url), SystemClock(), DEFAULT)
        for scheme in self.driver.schemes:
            with pytest.raises(DeviceRefused) as refused:
                self.driver.open(Connection(name="bad", url=f"{scheme}://u:hunter2@host:1/1"), SystemClock(), DEFAULT)
            assert "hunter2" not in str(refused.value)

    def point(self, thing: str, name: str) -> Point:
        plan = self.plan().thing(thing)
        assert plan is not None
        point = plan.point(name)
        assert point is not None
        return point
