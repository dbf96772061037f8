"""The MQTT driver: devices behind another broker, by the conventions that they keep.

`mqtt://HOST:PORT`, or `mqtts://…`. The session is persistent, and a message at QoS 1 is acknowledged when the node
holds it durably: what the broker keeps while the line is cut comes afterwards, without a gap. A command is done when
the device tells the value; the broker's acknowledgement alone leaves it unconfirmed.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, ClassVar, Self

from taihu.drivers.line import Line
from taihu.drivers.mqtt.conventions import load, plan_of
from taihu.drivers.mqtt.places import Routes, body_of, filled, place_of, same
from taihu.drivers.port import Act, ActionPlan, Connection, DeviceLost, DeviceRefused, Out, Plan, Point, Reading, Result
from taihu.drivers.server import Server
from taihu.kernel.clock import Clock
from taihu.kernel.errors import TaihuError
from taihu.kernel.ids import new_id
from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.packets import Connack, Packet, Publish, Suback, Subscription

_FILTERS_A_PACKET = 100
_WAITING_MAX = 1_000
_ONLY_NEW = 1  # retained messages with a new subscription alone


class MqttDriver:
    """One client of one broker."""

    schemes: ClassVar[tuple[str, ...]] = ("mqtt", "mqtts")

    def __init__(self, connection: Connection, clock: Clock, limits: Limits) -> None:
        self._server = Server(connection)
        self._clock = clock
        self._limits = limits
        self._conventions = load(connection.option("conventions", []))
        self._discover_s = connection.option("discover_s", 8.0)
        self._confirm_s = connection.option("confirm_s", 10.0)
        self._client_id = connection.option("client_id", f"taihu-{connection.name}")
        self._line: Line | None = None
        self._due: list[int] = []
        self._has_due = asyncio.Event()
        self._waiting: dict[tuple[str, str], list[tuple[Any, asyncio.Future[None]]]] = {}

    @classmethod
    def open(cls, connection: Connection, clock: Clock, limits: Limits) -> Self:
        """See `Driver.open`."""
        return cls(connection, clock, limits)

    async def discover(self) -> Plan:
        """What the messages of some seconds, the retained ones with them, say by the conventions."""
        heard: dict[str, bytes] = {}
        size = 0
        filters = sorted({place for one in self._conventions.values() for place in one.listen})
        line = self._server.line(f"{self._client_id}-{new_id()}"[:64], self._clock)

        async def took(packets: Sequence[Packet]) -> None:
            nonlocal size
            for packet in packets:
                if isinstance(packet, Connack | Suback):
                    self._server.check(packet)
                    if isinstance(packet, Connack):
                        line.client.subscribe([Subscription(one, 0) for one in filters])
                elif isinstance(packet, Publish):
                    grown = size + len(packet.payload) - len(heard.get(packet.topic, b""))
                    if grown <= self._limits.bridge_heard_bytes_max and (
                        packet.topic in heard or len(heard) < self._limits.bridge_topics_max
                    ):
                        heard[packet.topic], size = packet.payload, grown

        with suppress(TimeoutError):
            async with asyncio.timeout(self._discover_s):
                await self._server.serve(line, took, lambda: _leave(line))
        note = f"Heard {len(heard)} topics in {self._discover_s:g} s. The option discover_s hears longer."
        return plan_of(heard, self._conventions, (note,))

    async def run(self, plan: Plan, out: Out) -> None:
        """See `Driver.run`."""
        routes = Routes(plan)
        line = self._server.line(self._client_id, self._clock, resumes=True)
        self._due.clear()

        async def took(packets: Sequence[Packet]) -> None:
            rows: list[Reading] = []
            due: list[int] = []
            for packet in packets:
                if isinstance(packet, Publish):
                    rows += self._message(packet, routes, out)
                    if packet.qos:
                        due.append(packet.packet_id)
                elif isinstance(packet, Connack | Suback):
                    self._server.check(packet)
                    if isinstance(packet, Connack):
                        self._connected(line, routes, plan, out)
            if rows:
                await out.readings(rows)
                self._tell(rows)
            if due:
                self._due += due
                self._has_due.set()

        acknowledging = asyncio.create_task(self._acknowledge(line, out))
        self._line = line
        try:
            await self._server.serve(line, took, lambda: _leave(line))
        finally:
            self._line = None
            acknowledging.cancel()
            await asyncio.gather(acknowledging, return_exceptions=True)
            self._forget()

    async def write(self, thing: str, point: Point, value: Any) -> Act:
        """See `Driver.write`: done when the device tells the value, unconfirmed when it does not in time."""
        place = place_of(point)
        if not place.set:
            raise DeviceRefused(f"{point.definition.name} has no topic to set it by.", "See docs/mqtt-bridge.md.")
        if self._line is None:
            raise DeviceLost(f"{self._server.host} is not connected.")
        if sum(map(len, self._waiting.values())) >= _WAITING_MAX:
            raise DeviceLost(f"{_WAITING_MAX} commands wait for their answers.")
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault((thing, point.definition.name), [])
        waiting.append((value, told))
        try:
            self._line.client.publish(place.set, body_of(place, value), qos=1)
            self._line.flush()
            async with asyncio.timeout(self._confirm_s):
                await told
        except TimeoutError:
            return Act(Result.UNCONFIRMED)
        except DeviceLost:
            raise
        except TaihuError as error:
            raise DeviceRefused(f"{place.set}: {error.message}", "See the point's set and body.") from None
        finally:
            waiting.remove((value, told))
            if not waiting and self._waiting.get((thing, point.definition.name)) is waiting:
                del self._waiting[thing, point.definition.name]
        return Act(Result.DONE)

    async def invoke(self, thing: str, action: ActionPlan, value: Any) -> Act:
        """See `Driver.invoke`: what the action's `where` says is published, and nothing answers."""
        topic, body = action.where.get("topic"), action.where.get("body", "{value}")
        if not isinstance(topic, str) or not topic:
            raise DeviceRefused(f"{thing} has no action {action.name}.", "See the connection's plan.")
        if self._line is None:
            raise DeviceLost(f"{self._server.host} is not connected.")
        try:
            self._line.client.publish(topic, filled(body, "" if value is None else value), qos=1)
        except TaihuError as error:
            raise DeviceRefused(f"{topic}: {error.message}", "See the action's topic.") from None
        self._line.flush()
        return Act(Result.UNCONFIRMED)

    async def close(self) -> None:
        """See `Driver.close`."""
        if self._line is not None:
            _leave(self._line)

    def _connected(self, line: Line, routes: Routes, plan: Plan, out: Out) -> None:
        topics = routes.topics()
        handling = _ONLY_NEW if line.client.version == 5 else 0
        for begin in range(0, len(topics), _FILTERS_A_PACKET):
            some = topics[begin : begin + _FILTERS_A_PACKET]
            line.client.subscribe([Subscription(one, 1, retain_handling=handling) for one in some])
        for thing in plan.things:
            if thing.name not in routes.told:
                out.online(thing.name)

    def _message(self, packet: Publish, routes: Routes, out: Out) -> list[Reading]:
        for thing, online in routes.alive(packet.topic, packet.payload):
            if online:
                out.online(thing)
            else:
                out.offline(thing, f"{packet.topic} says so")
        rows = routes.rows(packet.topic, packet.payload)
        if not packet.retain:  # what the broker kept says nothing of now
            for thing in {row.thing for row in rows} & routes.told:
                out.online(thing)
        return rows

    async def _acknowledge(self, line: Line, out: Out) -> None:
        """Acknowledge what the node holds durably, all that waits at a time (§4)."""
        while True:
            await self._has_due.wait()
            self._has_due.clear()
            due, self._due = self._due, []
            await out.durable()
            with suppress(TaihuError):  # the connection is gone: the broker sends them again
                for packet_id in due:
                    line.client.acknowledge(packet_id)
            line.flush_soon()

    def _tell(self, rows: Sequence[Reading]) -> None:
        """Whoever waits for a value hears that it came."""
        if self._waiting:
            for row in rows:
                for name, value in row.values.items():
                    for expected, told in self._waiting.get((row.thing, name), ()):
                        if same(expected, value) and not told.done():
                            told.set_result(None)

    def _forget(self) -> None:
        for waiting in self._waiting.values():
            for _, told in waiting:
                if not told.done():
                    told.set_exception(DeviceLost(f"{self._server.host} was lost before the value was told."))


def _leave(line: Line) -> None:
    with suppress(TaihuError):
        line.client.disconnect()
    line.flush()
