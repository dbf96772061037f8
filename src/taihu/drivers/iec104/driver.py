"""The IEC 104 driver: interrogates a station, then takes what it tells by itself; commands by the station's own words.

`iec104://HOST:PORT/STATION`, or `iec104s://…` by TLS, where STATION is the common address. A value that the station
calls invalid or not topical is left out and counted: missing is missing (§3). A value with a time is observed then, in
the station's time zone.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self
from zoneinfo import ZoneInfo

import msgspec

from taihu.drivers.address import endpoint_of, open_stream, trust_of, where_of
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
    ThingPlan,
)
from taihu.kernel.clock import NS_PER_S, Clock, to_datetime
from taihu.kernel.limits import Limits
from taihu.protocols.iec104.asdu import (
    CLOCK,
    COUNTER_INTERROGATION,
    GENERAL_COUNTERS,
    INTERROGATION,
    MONITORED,
    SELECT,
    STATION_INTERROGATION,
    Asdu,
    Cause,
    Quality,
    Value,
)
from taihu.protocols.iec104.client import Client, Started, Timers
from taihu.protocols.iec104.errors import Iec104Error
from taihu.things.property import DataType, Kind, Property

_READ_BYTES = 65_536
_SECURE = "iec104s"
_EXAMPLE = "iec104://host:2404/1"
_PAGE = "docs/iec104.md"
_DISCOVER_S = 30.0
_CONFIRM_S = 10.0
_DONE_S = 3.0
_POINTS_MAX = 100_000
_UNUSABLE = Quality.INVALID | Quality.NOT_TOPICAL
_DOUBTFUL = Quality.OVERFLOW | Quality.BLOCKED | Quality.SUBSTITUTED
_KINDS = {1: "single", 3: "double", 5: "step", 7: "bits", 9: "normalized", 11: "scaled", 13: "float", 15: "counter",
          21: "normalized", 30: "single", 31: "double", 32: "step", 33: "bits", 34: "normalized", 35: "scaled",
          36: "float", 37: "counter"}  # fmt: skip
_COMMANDS = {"single": 45, "double": 46, "step": 47, "normalized": 48, "scaled": 49, "float": 50, "bits": 51}
_FAILED = {
    Cause.UNKNOWN_TYPE: "it does not know this type of command",
    Cause.UNKNOWN_CAUSE: "it does not know this cause",
    Cause.UNKNOWN_STATION: "it is another station",
    Cause.UNKNOWN_OBJECT: "it has no such object",
}


class Address(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a point is: its object address, the object that commands it (the same unless said), and of which type."""

    address: Annotated[int, msgspec.Meta(ge=0, lt=1 << 24)]
    command: Annotated[int, msgspec.Meta(ge=0, lt=1 << 24)] | None = None
    type: str = "float"
    select: bool = False


class Iec104Driver:
    """One connection to one controlled station."""

    schemes: ClassVar[tuple[str, ...]] = ("iec104", _SECURE)

    def __init__(self, connection: Connection, clock: Clock) -> None:
        secure = connection.parts.scheme == _SECURE
        self._endpoint = endpoint_of(connection, 19_998 if secure else 2404, _EXAMPLE)
        self._tls = trust_of(connection) if secure else None
        self._host = self._endpoint.host
        station = self._endpoint.path or "1"
        if not station.isdigit() or not 0 < int(station) < 65_536:
            raise DeviceRefused(f"{connection.url} names no station.", f"Write {_EXAMPLE}.")
        self._station = int(station)
        self._clock = clock
        self._every_s = float(connection.option("interrogate_s", 3_600.0))
        self._counters_s = float(connection.option("counters_s", 0.0))
        self._sets_clock = bool(connection.option("set_clock", False))
        try:
            self._zone = ZoneInfo(str(connection.option("timezone", "UTC")))
        except (KeyError, ValueError, OSError):
            raise DeviceRefused("The option timezone is no time zone.", "Write one such as Asia/Shanghai.") from None
        answer_s, idle_s = float(connection.option("answer_s", 15.0)), float(connection.option("idle_s", 20.0))
        self._timers = Timers(send_s=answer_s, acknowledge_s=min(10.0, answer_s * 0.6), idle_s=idle_s)
        self._client = Client(self._timers)
        self._writer: asyncio.StreamWriter | None = None
        self._confirmed: dict[tuple[int, int], asyncio.Future[Asdu]] = {}
        self._done: dict[tuple[int, int], asyncio.Future[Asdu]] = {}

    @classmethod
    def open(cls, connection: Connection, clock: Clock, limits: Limits) -> Self:
        """See `Driver.open`."""
        return cls(connection, clock)

    async def discover(self) -> Plan:
        """Everything that a general interrogation brings; names are object addresses, units are undeclared."""
        found: dict[int, Point] = {}
        reader = await self._connect()

        def take(asdu: Asdu) -> bool:
            for value in asdu.values if asdu.type in MONITORED else ():
                if len(found) < _POINTS_MAX:
                    found.setdefault(value.address, _point(asdu.type, value.address))
            return asdu.type == INTERROGATION and asdu.cause == Cause.ACTIVATION_TERM

        ended = False
        with suppress(TimeoutError):
            async with asyncio.timeout(_DISCOVER_S):
                while not ended:
                    for asdu in await self._events(reader):
                        ended = take(asdu) or ended
        notes = () if ended else (f"The interrogation did not end within {_DISCOVER_S:g} s.",)
        thing = ThingPlan(name=f"station-{self._station}", points=tuple(found[place] for place in sorted(found)))
        note = "Units and names are yours to write into the connection's file (docs/iec104.md)."
        return Plan(things=(thing,), notes=(*notes, note))

    async def run(self, plan: Plan, out: Out) -> None:
        """See `Driver.run`."""
        owners = _owners(plan)
        reader = await self._connect()
        asking = asyncio.create_task(self._ask_again())
        try:
            for thing in plan.things:
                out.online(thing.name)
            while True:
                rows: list[Reading] = []
                for asdu in await self._events(reader):
                    if asdu.type in MONITORED and asdu.station == self._station:
                        rows += self._rows(asdu, owners, out)
                    elif not asdu.known:
                        out.count("unknown")
                if rows:
                    await out.readings(rows)
                if asking.done():
                    await asking
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            self._forget("the station was lost")
            await self.close()

    async def write(self, thing: str, point: Point, value: Any) -> Act:
        """See `Driver.write`: acknowledged by the station's confirmation, done by its termination."""
        address = where_of(point, Address, _PAGE)
        kind = _COMMANDS.get(address.type)
        if kind is None:
            raise DeviceRefused(f"A {address.type} cannot be commanded.", f"Types: {', '.join(_COMMANDS)}.")
        place = address.address if address.command is None else address.command
        if address.select:
            await self._command(kind, place, value, Quality(SELECT))
        done = self._expect(self._done, kind, place)
        try:
            await self._command(kind, place, value, Quality(0))
            async with asyncio.timeout(_DONE_S):
                await done
        except TimeoutError:
            return Act(Result.ACKNOWLEDGED)
        finally:
            self._done.pop((kind, place), None)
        return Act(Result.DONE)

    async def invoke(self, thing: str, action: ActionPlan, value: Any) -> Act:
        """A station has no actions beside commands to its objects."""
        raise DeviceRefused(f"{thing} has no action {action.name}.", "Write a property.")

    async def close(self) -> None:
        """See `Driver.close`."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    async def _command(self, kind: int, place: int, value: Any, qualifier: Quality) -> None:
        confirmed = self._expect(self._confirmed, kind, place)
        asdu = Asdu(type=kind, cause=Cause.ACTIVATION, station=self._station, values=(Value(place, value, qualifier),))
        try:
            self._send(asdu)
            async with asyncio.timeout(_CONFIRM_S):
                answer = await confirmed
        except TimeoutError:
            raise DeviceLost(f"{self._host} does not confirm within {_CONFIRM_S:g} s.") from None
        except Iec104Error as error:
            raise DeviceRefused(error.message, "Write a value of its type.") from None
        finally:
            self._confirmed.pop((kind, place), None)
        if answer.negative or answer.cause in _FAILED:
            why = _FAILED.get(Cause(answer.cause), "it says no") if answer.cause in _FAILED else "it says no"
            raise DeviceRefused(f"The station refuses the command: {why}.", "See the station's parameters.")

    def _expect(
        self, waiting: dict[tuple[int, int], asyncio.Future[Asdu]], kind: int, place: int
    ) -> asyncio.Future[Asdu]:
        if (kind, place) in waiting:
            raise DeviceLost(f"Another command to object {place} is under way.")
        future: asyncio.Future[Asdu] = asyncio.get_running_loop().create_future()
        waiting[kind, place] = future
        return future

    def _answer(self, asdu: Asdu) -> None:
        """A confirmation or termination of a command, by its own station: whoever waits for it hears."""
        if asdu.station != self._station:
            return
        for value in asdu.values:
            key = (asdu.type, value.address)
            confirms = asdu.cause == Cause.ACTIVATION_CON or asdu.cause in _FAILED
            future = self._confirmed.get(key) if confirms else None
            if asdu.cause == Cause.ACTIVATION_TERM:
                future = self._done.get(key)
            if future is not None and not future.done():
                future.set_result(asdu)

    def _forget(self, why: str) -> None:
        for future in (*self._confirmed.values(), *self._done.values()):
            if not future.done():
                future.set_exception(DeviceLost(f"{self._host}: {why}."))

    async def _ask_again(self) -> None:
        """Interrogate, and count, in their rhythms."""
        due = {INTERROGATION: self._every_s, COUNTER_INTERROGATION: self._counters_s}
        at = {kind: self._clock.monotonic() + every for kind, every in due.items() if every > 0}
        while at:
            kind = min(at, key=lambda one: at[one])
            await asyncio.sleep(max(0.0, at[kind] - self._clock.monotonic()))
            self._interrogate(kind)
            at[kind] += due[kind]
        await asyncio.Event().wait()

    def _interrogate(self, kind: int) -> None:
        what = STATION_INTERROGATION if kind == INTERROGATION else GENERAL_COUNTERS
        self._send(Asdu(type=kind, cause=Cause.ACTIVATION, station=self._station, values=(Value(0, what),)))

    async def _connect(self) -> asyncio.StreamReader:
        await self.close()
        self._client = Client(self._timers)
        reader, self._writer = await open_stream(self._endpoint, self._tls)
        self._client.start(self._clock.monotonic())
        self._flush()
        return reader

    async def _events(self, reader: asyncio.StreamReader) -> Sequence[Asdu]:
        """What comes next; DeviceLost when the station goes, or breaks the standard."""
        due = self._client.next_timer()
        wait = None if due is None else max(0.0, due - self._clock.monotonic())
        try:
            try:
                async with asyncio.timeout(wait):
                    data = await reader.read(_READ_BYTES)
            except TimeoutError:
                self._client.handle_timer(self._clock.monotonic())
                self._flush()
                return ()
            if not data:
                raise DeviceLost(f"{self._host} closed the connection.")
            events = self._client.receive(data, self._clock.monotonic())
        except (Iec104Error, OSError) as error:
            raise DeviceLost(f"{self._host}: {error}") from None
        found = []
        for event in events:
            if isinstance(event, Started):
                self._greet()
            else:
                self._answer(event)
                found.append(event)
        self._flush()
        return found

    def _greet(self) -> None:
        if self._sets_clock:
            now = self._clock.now_ns()
            offset = to_datetime(now).astimezone(self._zone).utcoffset()
            shown = now + (int(offset.total_seconds()) * NS_PER_S if offset else 0)
            self._send(Asdu(type=CLOCK, cause=Cause.ACTIVATION, station=self._station, values=(Value(0, shown),)))
        self._interrogate(INTERROGATION)
        if self._counters_s > 0:
            self._interrogate(COUNTER_INTERROGATION)

    def _send(self, asdu: Asdu) -> None:
        if self._writer is None:
            raise DeviceLost(f"{self._host} is not connected.")
        self._client.send(asdu, self._clock.monotonic())
        self._flush()

    def _flush(self) -> None:
        output = self._client.take_output()
        if output and self._writer is not None:
            self._writer.write(output)

    def _rows(self, asdu: Asdu, owners: dict[int, list[tuple[str, str]]], out: Out) -> list[Reading]:
        """Values without a time are one row a thing; each value with a time is a row at it."""
        now = self._clock.now_ns()
        together: dict[tuple[str, bool], dict[str, Any]] = {}
        rows = []
        for address, value, quality, time_ns in asdu.values:
            if quality & _UNUSABLE:
                out.count("invalid")
                continue
            suspect = bool(quality & _DOUBTFUL)
            for thing, name in owners.get(address, ()):
                if time_ns is None:
                    together.setdefault((thing, suspect), {})[name] = value
                else:
                    rows.append(Reading(thing, {name: value}, self._utc(time_ns), suspect))
        return rows + [Reading(thing, values, now, suspect) for (thing, suspect), values in together.items()]

    def _utc(self, shown_ns: int) -> int:
        """The instant at which the station's clock shows a time."""
        if self._zone.key == "UTC":
            return shown_ns
        seconds, rest = divmod(shown_ns, NS_PER_S)
        wall = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=self._zone)
        return int(wall.timestamp()) * NS_PER_S + rest


def _owners(plan: Plan) -> dict[int, list[tuple[str, str]]]:
    """The things and properties of each object address."""
    owners: dict[int, list[tuple[str, str]]] = {}
    for thing in plan.things:
        for point in thing.points:
            owners.setdefault(where_of(point, Address, _PAGE).address, []).append((thing.name, point.definition.name))
    return owners


def _point(kind: int, address: int) -> Point:
    """A point for an object nobody has named yet."""
    word = _KINDS[kind]
    types = {"single": DataType.BOOLEAN, "double": DataType.INTEGER, "bits": DataType.INTEGER, "step": DataType.INTEGER}
    state = word in ("single", "double", "bits", "step")
    definition = Property(
        name=f"o{address}",
        kind=Kind.STATE if state else Kind.COUNTER if word == "counter" else Kind.GAUGE,
        data_type=types.get(word, DataType.NUMBER),
        max_age_s=7_200.0,
    )
    return Point(definition=definition, where={"address": address, "type": word})
