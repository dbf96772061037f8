"""A running door with an in-memory group commit, for clients that others wrote."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import pytest
import uvloop
from cryptography import x509
from tests.waiting import WAIT_S

from taihu.doors.mqtt import MqttDoor, Sleeper, Source
from taihu.doors.mqtt.sockets import Sockets
from taihu.identity.presented import Presented
from taihu.kernel.clock import SystemClock
from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.broker import Broker
from taihu.protocols.mqtt.broker import Identity as IdentityPort
from taihu.protocols.mqtt.packets import Connect
from taihu.protocols.mqtt.reasons import Reason


class Identity(NamedTuple):
    space: str
    key: str
    thing: str = ""


def common_name(certificate: Presented) -> str:
    subject = x509.load_der_x509_certificate(certificate.der).subject
    return str(subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


class OpenPolicy:
    """Anybody may do nearly anything; `readings/...` is claimed; the user name `space:key` picks the project."""

    def authenticate(self, connect: Connect, peer: str, certificate: str | None) -> IdentityPort | int:
        if connect.username == "stranger":
            return Reason.BAD_USER_NAME_OR_PASSWORD
        named = common_name(certificate) if isinstance(certificate, Presented) else None
        space, _, key = (connect.username or named or "default").partition(":")
        return Identity(space, key)

    def connected(self, identity: IdentityPort, up: bool) -> None:
        pass

    def may_publish(self, identity: IdentityPort, topic: str, retain: bool) -> int:
        return Reason.NOT_AUTHORIZED if topic.startswith("forbidden/") else Reason.SUCCESS

    def may_subscribe(self, identity: IdentityPort, topic_filter: str) -> int:
        return Reason.UNSPECIFIED_ERROR if topic_filter.endswith("nosubscribe") else Reason.SUCCESS

    def denied(self, space: str, topic: str) -> bool:
        return topic.startswith("silent/")

    def answer(self, identity: IdentityPort, topic: str, payload: bytes) -> Sequence[tuple[str, bytes]] | None:
        return None

    def claim(self, identity: IdentityPort, topic: str) -> object | None:
        return topic if topic.startswith("readings/") else None


class MemoryPipeline:
    """A group commit whose disk is a list; a group starts in the next turn of the loop."""

    def __init__(self, broker: Broker) -> None:
        self.full = False
        self.broker = broker
        self.readings: list[tuple[object, bytes]] = []
        self.log: list[bytes] = []
        self.waiting: dict[Source, None] = {}
        self.paused: dict[Sleeper, None] = {}

    def submit(self, source: Source, size: int = 0, senders: int = 1) -> None:
        if not self.waiting:
            asyncio.get_running_loop().call_soon(self._commit)
        self.waiting[source] = None

    def pause(self, sleeper: Sleeper) -> None:
        self.paused[sleeper] = None

    def make_room(self) -> None:
        self.full = False
        paused, self.paused = self.paused, {}
        for sleeper in paused:
            sleeper.resume()

    def _commit(self) -> None:
        group, self.waiting = list(self.waiting), {}
        for source in group:
            self.readings += source.take()
        self.log += [msgspec.msgpack.encode(event) for event in self.broker.take_log()]
        for source in group:
            source.committed()


class Running:
    """A door in a thread of its own, for blocking clients."""

    def __init__(self, limits: Limits, tls: ssl.SSLContext | None, loop: str) -> None:
        self.limits = limits
        self.tls = tls
        self.broker = Broker(OpenPolicy(), limits, iter(f"id{n}" for n in range(1_000_000)).__next__)
        self.pipeline = MemoryPipeline(self.broker)
        self.host = "127.0.0.1"
        self.port = self.websocket_port = self.tls_port = 0
        self.door: MqttDoor
        self.loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        ready = threading.Event()
        factory = asyncio.new_event_loop if loop == "asyncio" else uvloop.new_event_loop

        def run() -> None:
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(self._run(ready))

        self._thread = threading.Thread(target=run)
        self._thread.start()
        assert ready.wait(WAIT_S)

    async def _run(self, ready: threading.Event) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.door = MqttDoor(self.broker, self.pipeline, SystemClock(), self.limits)
        _, self.port = await self.door.listen(self.host, 0)
        _, self.websocket_port = await self.door.listen(self.host, 0, websocket=True)
        if self.tls is not None:
            _, self.tls_port = await self.door.listen(self.host, 0, ssl=self.tls)
        ready.set()
        await self._stop.wait()
        await self.door.close()

    def call(self, function: Callable[[], Any]) -> Any:
        """Run `function` in the door's loop and return its result."""

        async def run() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(WAIT_S)

    def stop(self) -> None:
        if not self._thread.is_alive():
            return
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()


@pytest.fixture
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Running]]:
    """Starts doors, on uvloop unless parametrized with asyncio, or transports for a system without epoll."""
    started: list[Running] = []
    loop = getattr(request, "param", "uvloop")
    if loop == "transports":
        monkeypatch.setattr(Sockets, "available", lambda: False)

    def start_one(limits: Limits | None = None, tls: ssl.SSLContext | None = None) -> Running:
        started.append(Running(limits or Limits(), tls, loop))
        return started[-1]

    yield start_one
    for each in started:
        each.stop()


@pytest.fixture
def running(start: Callable[..., Running]) -> Running:
    """A door with the default limits."""
    return start()
