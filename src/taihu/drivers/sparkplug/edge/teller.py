"""Our things as a Sparkplug edge node: each thing is a device, each property a metric.

`sparkplug-edge+mqtt://HOST:PORT/GROUP/NODE`, or `sparkplug-edge+mqtts://…`. Every `period_s` what has changed is told.
What changed while nobody could hear comes from the node's own history afterwards, marked as historical.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Self

import msgspec

from taihu.drivers.line import Line
from taihu.drivers.port import Connection, DeviceLost, DeviceRefused, Plan
from taihu.drivers.server import Server
from taihu.drivers.telling import Newest, View
from taihu.kernel.clock import NS_PER_S, Clock
from taihu.kernel.errors import TaihuError
from taihu.kernel.ids import new_id
from taihu.kernel.limits import Limits
from taihu.protocols.mqtt.packets import Connack, Packet, Publish, Suback, Subscription, Will
from taihu.protocols.mqtt.reasons import Reason
from taihu.protocols.sparkplug.edge import Commanded, Edge, HostGone
from taihu.protocols.sparkplug.errors import SparkplugError
from taihu.protocols.sparkplug.kinds import DataType as Type
from taihu.protocols.sparkplug.messages import Publication
from taihu.protocols.sparkplug.payload import Metric, PropertyValue
from taihu.things.property import DataType, Property

_NS_PER_MS = 1_000_000
_KINDS = {DataType.NUMBER: Type.DOUBLE, DataType.INTEGER: Type.INT64, DataType.BOOLEAN: Type.BOOLEAN,
          DataType.STRING: Type.STRING, DataType.OBJECT: Type.STRING}  # fmt: skip
_GOOD, _STALE = 192, 500
_HISTORY_A_MESSAGE = 500
_COMMANDS_MAX = 100
_ACTION_S = 30.0


class SparkplugTeller:
    """One edge node, on one of its servers at a time."""

    schemes: ClassVar[tuple[str, ...]] = ("sparkplug-edge+mqtt", "sparkplug-edge+mqtts")

    def __init__(self, connection: Connection, clock: Clock) -> None:
        parts = [part for part in connection.parts.path.split("/") if part]
        if len(parts) != 2:
            raise DeviceRefused("The URL names no edge node.", "Write sparkplug-edge+mqtt://host:1883/GROUP/NODE.")
        others = connection.option("servers", [])
        try:
            self._servers = [Server(msgspec.structs.replace(connection, url=url)) for url in (connection.url, *others)]
            Edge(parts[0], parts[1])
        except (SparkplugError, TypeError, ValueError) as error:
            raise DeviceRefused(f"{connection.name}: {error}", "See docs/sparkplug.md.") from None
        self._descriptor = (parts[0], parts[1])
        self._primary = connection.option("primary_host", "")
        self._history_s = connection.option("history_s", 86_400.0)
        self._period_s = connection.period_s
        self._clock = clock
        self._client_id = f"taihu-{connection.name[:40]}-{new_id()}"
        self._turn = 0  # which server is next
        self._line: Line | None = None
        self._edge = Edge(*self._descriptor)
        self._commands: set[asyncio.Task[None]] = set()
        self._declared: dict[str, tuple[str, ...]] = {}
        self._observed: dict[tuple[str, str], int] = {}

    @classmethod
    def open(cls, connection: Connection, clock: Clock, limits: Limits) -> Self:
        """See `Teller.open`."""
        return cls(connection, clock)

    async def discover(self) -> Plan:
        """Connect to the first server and leave: nothing is told yet."""
        server = self._servers[0]
        line = server.line(self._client_id, self._clock)
        let_in = asyncio.Event()

        async def took(packets: Sequence[Packet]) -> None:
            for packet in packets:
                if isinstance(packet, Connack):
                    server.check(packet)
                    let_in.set()

        serving = asyncio.create_task(self._serve(server, line, took))
        waiting = asyncio.create_task(let_in.wait())
        await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if serving.done():
            await serving
        serving.cancel()
        await asyncio.gather(serving, waiting, return_exceptions=True)
        note = f"{server.host} lets it in. The option things says which things it tells of; all by default."
        return Plan(notes=(note,))

    async def tell(self, view: View) -> None:
        """See `Teller.tell`. One server at a time: after a loss, or when the primary host left it, the next one."""
        server = self._servers[self._turn % len(self._servers)]
        self._turn += 1
        kept = view.recall()
        edge = self._edge = Edge(*self._descriptor, int(kept.get("bd_seq", 0)), self._primary)
        self._declared = {}
        await self._read(edge, view)
        death = edge.will(self._now_ms())
        view.remember({**kept, "bd_seq": edge.bd_seq})
        will = Will(death.topic, death.payload, death.qos, death.retain)
        line = self._line = server.line(self._client_id, self._clock, will)
        stood = asyncio.Event()

        async def took(packets: Sequence[Packet]) -> None:
            for packet in packets:
                if isinstance(packet, Connack):
                    server.check(packet)
                    line.client.subscribe([Subscription(topic, qos) for topic, qos in edge.filters()])
                elif isinstance(packet, Suback):
                    server.check(packet)
                    edge.connected(self._now_ms())
                    stood.set()
                elif isinstance(packet, Publish):
                    self._message(packet, edge, view)
            self._publish(line, edge.take_output())

        serving = asyncio.create_task(self._serve(server, line, took, edge))
        telling = asyncio.create_task(self._tell(edge, line, view, stood))
        try:
            done, _ = await asyncio.wait((serving, telling), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
        finally:
            for task in (serving, telling, *self._commands):
                task.cancel()
            await asyncio.gather(serving, telling, *self._commands, return_exceptions=True)
            self._line = None

    async def close(self) -> None:
        """See `Teller.close`."""
        if self._line is not None:
            self._leave(self._line, self._edge)

    async def _serve(self, server: Server, line: Line, took: Any, edge: Edge | None = None) -> None:
        try:
            await server.serve(line, took, lambda: self._leave(line, edge))
        finally:
            if edge is not None:
                edge.connection_lost()

    async def _tell(self, edge: Edge, line: Line, view: View, stood: asyncio.Event) -> None:
        """Tell changes in the rhythm of the connection, and first what nobody could hear."""
        await stood.wait()
        heard = False
        while True:
            await self._read(edge, view)
            if edge.born and not heard:
                await self._catch_up(edge, line, view)
            heard = edge.born
            self._publish(line, edge.take_output())
            if heard:
                margin = 2 * self._servers[0].keep_alive_s * NS_PER_S  # what was sent last may not have arrived
                view.remember({"bd_seq": edge.bd_seq, "told_until": self._clock.now_ns() - margin})
                view.told()
            await asyncio.sleep(self._period_s)

    async def _read(self, edge: Edge, view: View) -> None:
        """Take over what the node has now: births of what is new, changes, deaths of what is stale altogether."""
        now_ms = self._now_ms()
        things: dict[str, list[Newest]] = {}
        for one in await view.newest():
            things.setdefault(one.thing, []).append(one)
            self._observed[one.thing, one.name] = one.observed_at
        alive = {thing: values for thing, values in things.items() if not all(one.stale for one in values)}
        for thing in self._declared.keys() - alive.keys():
            edge.remove(thing, now_ms)
            del self._declared[thing]
        for thing, values in alive.items():
            names = tuple(sorted(one.name for one in values))
            try:
                if self._declared.get(thing) != names:
                    edge.declare(thing, metrics_of(values, await view.properties(thing)), now_ms)
                    self._declared[thing] = names
                else:
                    edge.tell(thing, [_change(one) for one in values], now_ms)
            except SparkplugError:  # a name that cannot be Sparkplug's, or a value of another type than before
                self._declared.pop(thing, None)
                edge.remove(thing, now_ms)

    async def _catch_up(self, edge: Edge, line: Line, view: View) -> None:
        """Tell, as history, what was observed since anybody last heard."""
        until = view.recall().get("told_until")
        now = self._clock.now_ns()
        if not isinstance(until, int) or self._history_s <= 0:
            return
        begin = max(until, now - int(self._history_s * NS_PER_S))
        for thing, names in list(self._declared.items()):
            for name in names:
                if self._observed.get((thing, name), begin) < begin:
                    continue  # nothing is newer
                told = await view.history(thing, name, begin, now)
                metrics = [_metric(name, value, at) for at, value in told]
                for at in range(0, len(metrics), _HISTORY_A_MESSAGE):
                    if not edge.born:
                        return
                    with suppress(SparkplugError):
                        edge.tell_history(thing, metrics[at : at + _HISTORY_A_MESSAGE], self._now_ms())
                    self._publish(line, edge.take_output())
                    await asyncio.sleep(0)

    def _message(self, packet: Publish, edge: Edge, view: View) -> None:
        try:
            events = edge.receive(packet.topic, packet.payload, self._now_ms())
        except SparkplugError:
            return
        for event in events:
            match event:
                case HostGone():
                    self._leave(self._line, edge) if self._line is not None else None
                    raise DeviceLost(f"The primary host {self._primary} is not there.")
                case Commanded() if event.device and len(self._commands) < _COMMANDS_MAX:
                    task = asyncio.get_running_loop().create_task(_command(view, event))
                    self._commands.add(task)
                    task.add_done_callback(self._commands.discard)

    def _leave(self, line: Line, edge: Edge | None) -> None:
        """Tell the node's death, and go; in MQTT 5 the server is told to send the will as well (6.4.24)."""
        if edge is not None:
            edge.goodbye(self._now_ms())
            self._publish(line, edge.take_output())
        with suppress(TaihuError):
            five = edge is not None and line.client.version == 5
            line.client.disconnect(Reason.DISCONNECT_WITH_WILL_MESSAGE if five else Reason.SUCCESS)
        line.flush()

    def _publish(self, line: Line, publications: Sequence[Publication]) -> None:
        for topic, payload, qos, retain in publications:
            with suppress(TaihuError):  # the connection is gone: history has it
                line.client.publish(topic, payload, qos, retain)
        line.flush()

    def _now_ms(self) -> int:
        return self._clock.now_ns() // _NS_PER_MS


async def _command(view: View, event: Commanded) -> None:
    """Have the node do it; the value that the device then has is told as every other."""
    with suppress(TaihuError, TimeoutError):
        async with asyncio.timeout(_ACTION_S):
            await view.command(event.device, event.name, event.value, "a Sparkplug command")


def metrics_of(values: Sequence[Newest], properties: Mapping[str, Property]) -> list[Metric]:
    """What a thing is born with: types by its definitions, units, quality, and whether it can be set."""
    found = []
    for one in values:
        definition = properties.get(one.name)
        kind = _KINDS[definition.data_type] if definition is not None else _kind_of(one.value)
        said = {
            "Quality": PropertyValue(Type.INT32, _STALE if one.stale else _GOOD),
            "readOnly": PropertyValue(Type.BOOLEAN, definition is None or not definition.writable),
        }
        if definition is not None and definition.unit:
            said["engUnit"] = PropertyValue(Type.STRING, definition.unit)
        change = _change(one)
        value = float(change.value) if kind is Type.DOUBLE and isinstance(change.value, int) else change.value
        found.append(msgspec.structs.replace(change, kind=int(kind), value=value, properties=said))
    return found


def _kind_of(value: Any) -> Type:
    if isinstance(value, bool):
        return Type.BOOLEAN
    return Type.DOUBLE if isinstance(value, int | float) else Type.STRING


def _change(one: Newest) -> Metric:
    return _metric(one.name, None if one.stale else one.value, one.observed_at)


def _metric(name: str, value: Any, at: int) -> Metric:
    held = msgspec.json.encode(value).decode() if isinstance(value, dict | list) else value
    return Metric(name, timestamp=at // _NS_PER_MS, value=held)
