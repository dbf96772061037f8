"""The Sparkplug B driver: a host application on another's MQTT server, or on our own.

`sparkplug+mqtt://HOST:PORT[/GROUP]`, or `sparkplug+mqtts://…`. What sources tell is a reading at their own times; a
command is done when its source tells the value back. Sparkplug reports by exception: a value that a source holds
without telling it is told again here, every `hold_s`, for as long as the source is there.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Self

from taihu.drivers.line import Line
from taihu.drivers.port import (
    Act,
    ActionPlan,
    Connection,
    DeviceLost,
    DeviceRefused,
    Out,
    Plan,
    Point,
    Reading,
    Result,
)
from taihu.drivers.server import Server
from taihu.drivers.sparkplug.points import Places, address_of, plan_of
from taihu.kernel.clock import Clock
from taihu.kernel.errors import TaihuError
from taihu.kernel.ids import new_id
from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.packets import Connack, Packet, Publish, Suback, Subscription, Will
from taihu.protocols.sparkplug.errors import SparkplugError
from taihu.protocols.sparkplug.host import Born, Died, Event, Host, Told
from taihu.protocols.sparkplug.messages import REBIRTH
from taihu.protocols.sparkplug.payload import Metric
from taihu.protocols.sparkplug.topics import Source, check_id
from taihu.things.property import DataType

_NS_PER_MS = 1_000_000
_TICK_S = 0.25
_WAITING_MAX = 1_000

Heard = Callable[[Sequence[Event]], Any]


class SparkplugDriver:
    """One host application on one MQTT server."""

    schemes: ClassVar[tuple[str, ...]] = ("sparkplug+mqtt", "sparkplug+mqtts")

    def __init__(self, connection: Connection, clock: Clock, limits: Limits) -> None:
        self._server = Server(connection)
        self._clock = clock
        self._limits = limits
        group = connection.parts.path.strip("/")
        try:
            self._groups = (check_id(group),) if group else ()
            self._host_id = check_id(connection.option("host_id", "taihu"))
        except SparkplugError as error:
            raise DeviceRefused(error.message, "Write sparkplug+mqtt://host:1883/group.") from None
        self._announces = connection.option("announce", True)
        self._reorder_s = connection.option("reorder_s", 5.0)
        self._discover_s = connection.option("discover_s", 8.0)
        self._echo_s = connection.option("echo_s", 10.0)
        self._hold_s = connection.option("hold_s", 300.0)
        self._client_id = f"taihu-{connection.name[:40]}-{new_id()}"
        self._host = self._new_host()
        self._line: Line | None = None
        self._echoes: dict[tuple[Source, str], list[tuple[Any, asyncio.Future[None]]]] = {}

    @classmethod
    def open(cls, connection: Connection, clock: Clock, limits: Limits) -> Self:
        """See `Driver.open`."""
        return cls(connection, clock, limits)

    async def discover(self) -> Plan:
        """All that is born while it listens; nodes that only tell changes are asked to be born again."""
        births: dict[Source, tuple[Metric, ...]] = {}

        async def heard(events: Sequence[Event]) -> None:
            births.update({event.source: event.metrics for event in events if isinstance(event, Born)})

        with suppress(TimeoutError):
            async with asyncio.timeout(self._discover_s):
                await self._serve(heard)
        note = f"Heard for {self._discover_s:g} s: who told nothing is not here. The option discover_s hears longer."
        return plan_of(births, (note,))

    async def run(self, plan: Plan, out: Out) -> None:
        """See `Driver.run`."""
        places = Places(plan)
        held: dict[str, dict[str, Any]] = {}

        async def heard(events: Sequence[Event]) -> None:
            rows: list[Reading] = []
            for event in events:
                if isinstance(event, Born):
                    for thing in places.things(event.source):
                        out.online(thing)
                if isinstance(event, Born | Told):
                    fresh, bad = places.rows(event.source, event.at_ms, event.metrics)
                    rows += fresh
                    out.count("bad", bad) if bad else None
                elif isinstance(event, Died):
                    for thing in places.things(event.source):
                        held.pop(thing, None)
                        out.offline(thing, f"{event.source} is dead")
            for row in rows:
                held.setdefault(row.thing, {}).update(row.values)
            if rows:
                await out.readings(rows)

        holding = asyncio.create_task(self._hold(held, out))
        try:
            await self._serve(heard, places.nodes())
        finally:
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)
            out.count("dropped", self._host.dropped)

    async def write(self, thing: str, point: Point, value: Any) -> Act:
        """See `Driver.write`: done when the source tells the value back, unconfirmed when it does not in time."""
        place = address_of(point.where, point.definition.name)
        if place.members:
            raise DeviceRefused(f"{point.definition.name} is a member of a template.", "Command a metric of its own.")
        if point.definition.data_type is DataType.INTEGER and isinstance(value, float) and value.is_integer():
            value = int(value)
        expected = self._command(place.source, place.metric, value)
        return await self._echo(place.source, place.metric, expected)

    async def invoke(self, thing: str, action: ActionPlan, value: Any) -> Act:
        """See `Driver.invoke`: a node's rebirth, done when it is born again."""
        node = Source(action.where.get("group", ""), action.where.get("node", ""))
        if action.name != "rebirth" or not all(node[:2]):
            raise DeviceRefused(f"{thing} has no action {action.name}.", "See the connection's plan.")
        self._command(node, REBIRTH, True)
        return await self._echo(node, "", None)

    async def close(self) -> None:
        """See `Driver.close`."""
        if self._line is not None:
            self._leave(self._line)

    async def _serve(self, heard: Heard, nodes: Sequence[Source] = ()) -> None:
        """Be a host on the server until it is lost, by DeviceLost or DeviceRefused; ask `nodes` to be born again."""
        await self.close()
        host = self._host = self._new_host()
        death = host.will(self._now_ms())
        will = Will(death.topic, death.payload, death.qos, death.retain)
        line = self._server.line(self._client_id, self._clock, will)

        async def took(packets: Sequence[Packet]) -> None:
            events: list[Event] = []
            for packet in packets:
                events += self._take(line, host, packet)
                for node in nodes if isinstance(packet, Suback) else ():
                    host.ask_rebirth(node, self._clock.monotonic(), self._now_ms())
            await self._heard(events, heard)
            self._publish(line)

        ticking = asyncio.create_task(self._tick(line, host))
        self._line = line
        try:
            await self._server.serve(line, took, lambda: self._leave(line))
        finally:
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)
            self._line = None
            self._forget()
            with suppress(TaihuError):
                await self._heard(host.connection_lost(self._now_ms()), heard)

    def _leave(self, line: Line) -> None:
        """Tell that the host goes, and go."""
        self._host.goodbye(self._now_ms())
        self._publish(line)
        with suppress(TaihuError):
            line.client.disconnect()
        line.flush()

    def _take(self, line: Line, host: Host, packet: Packet) -> list[Event]:
        match packet:
            case Connack():
                self._server.check(packet)
                line.client.subscribe([Subscription(place, qos) for place, qos in host.filters()])
            case Suback():
                self._server.check(packet)
                host.connected()
            case Publish():
                with suppress(SparkplugError):
                    return host.receive(packet.topic, packet.payload, self._clock.monotonic(), self._now_ms())
                host.dropped += 1
        return []

    async def _heard(self, events: Sequence[Event], heard: Heard) -> None:
        if events:
            await heard(events)
        for event in events:
            if isinstance(event, Born | Told):
                self._answer(event)

    async def _tick(self, line: Line, host: Host) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            host.handle_timer(self._clock.monotonic(), self._now_ms())
            self._publish(line)

    async def _hold(self, held: dict[str, dict[str, Any]], out: Out) -> None:
        """Tell again what sources hold, so that its age says whether they are there."""
        while self._hold_s > 0:
            await asyncio.sleep(self._hold_s)
            now = self._clock.now_ns()
            await out.readings([Reading(thing, dict(values), now) for thing, values in held.items()])

    def _command(self, source: Source, metric: str, value: Any) -> Any:
        """Send a command; returns what its source tells when it has obeyed."""
        if self._line is None:
            raise DeviceLost(f"{self._server.host} is not connected.")
        try:
            return self._host.command(source, metric, value, self._now_ms())
        except SparkplugError as error:
            raise DeviceRefused(error.message, "Write a value of its type to a source that is there.") from None

    async def _echo(self, source: Source, name: str, expected: Any) -> Act:
        key = (source, name)
        if sum(map(len, self._echoes.values())) >= _WAITING_MAX:
            raise DeviceLost(f"{_WAITING_MAX} commands wait for their answers.")
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._echoes.setdefault(key, [])
        waiting.append((expected, told))
        assert self._line is not None
        self._publish(self._line)
        try:
            async with asyncio.timeout(self._echo_s):
                await told
        except TimeoutError:
            return Act(Result.UNCONFIRMED)
        finally:
            waiting.remove((expected, told))
            if not waiting and self._echoes.get(key) is waiting:
                del self._echoes[key]
        return Act(Result.DONE)

    def _answer(self, event: Born | Told) -> None:
        """Whoever waits for a value, or for a birth, hears that it came."""
        values = [("", None)] if isinstance(event, Born) else []
        for name, value in [*values, *((metric.name or "", metric.value) for metric in event.metrics)]:
            for expected, told in self._echoes.get((event.source, name), ()):
                if expected == value and not told.done():
                    told.set_result(None)

    def _forget(self) -> None:
        for waiting in self._echoes.values():
            for _, told in waiting:
                if not told.done():
                    told.set_exception(DeviceLost(f"{self._server.host} was lost before the value was told back."))

    def _publish(self, line: Line) -> None:
        for topic, payload, qos, retain in self._host.take_output():
            with suppress(TaihuError):  # the connection is gone: what it was about is gone with it
                line.client.publish(topic, payload, qos, retain)
        line.flush()

    def _new_host(self) -> Host:
        nodes, metrics = self._limits.sparkplug_nodes_max, self._limits.sparkplug_metrics_max
        return Host(self._host_id, self._reorder_s, self._groups, self._announces, nodes, metrics)

    def _now_ms(self) -> int:
        return self._clock.now_ns() // _NS_PER_MS
