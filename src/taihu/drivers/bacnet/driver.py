"""The BACnet/IP driver: finds a device's objects, subscribes to their changes, commands them with a priority.

`bacnet://HOST:PORT/INSTANCE`, or without the instance for the one device at that address. Subscriptions are renewed at
half of their lifetime, and each renewal brings the value again. An object that takes no subscription is polled. A
device that was silent for a period is asked, so that one that went is noticed.
"""

import asyncio
from collections.abc import Iterable
from typing import Any as AnyValue
from typing import ClassVar, Self

from bacpypes3.apdu import ReadPropertyRequest, SubscribeCOVRequest, WritePropertyRequest
from bacpypes3.basetypes import StatusFlags
from bacpypes3.constructeddata import Any
from bacpypes3.errors import RejectException
from bacpypes3.pdu import Address as Place
from bacpypes3.primitivedata import Null, ObjectIdentifier

from taihu.drivers.address import endpoint_of, where_of
from taihu.drivers.bacnet.finding import find
from taihu.drivers.bacnet.objects import PAGE, Address, coded, is_doubtful, is_fault, plain
from taihu.drivers.bacnet.stack import Station, local_address, read_several, told_of
from taihu.drivers.port import (
    Act,
    ActionPlan,
    Connection,
    DeviceLost,
    DeviceRefused,
    Found,
    Out,
    Plan,
    Point,
    Reading,
    Result,
)
from taihu.kernel.clock import Clock
from taihu.kernel.limits import Limits

_EXAMPLE = "bacnet://host:47808/1234"
_PROCESS = 1
_PRESENT_VALUE, _STATUS_FLAGS = 85, 111
_AT_ONCE = 8
_PENDING_MAX = 1_000
_SCAN_S = 2

Told = tuple[AnyValue, dict[int, AnyValue]]
"""An object's identifier, and values of its properties by their numbers, as they are encoded."""
Owner = tuple[str, str, Address]
"""A thing, one of its properties, and where that is."""


class BacnetDriver:
    """One BACnet device."""

    schemes: ClassVar[tuple[str, ...]] = ("bacnet",)

    def __init__(self, connection: Connection, clock: Clock, limits: Limits) -> None:
        self._endpoint = endpoint_of(connection, 47_808, _EXAMPLE)
        instance = self._endpoint.path
        if instance and not (instance.isdecimal() and int(instance) < 4_194_303):
            raise DeviceRefused(f"{connection.url} names no device.", f"Write {_EXAMPLE}.")
        self._connection = connection
        self._clock = clock
        self._limits = limits
        self._instance = int(instance) if instance else None
        self._timeout_s = float(connection.option("timeout_s", 3.0))
        self._retries = int(connection.option("retries", 1))
        self._lifetime_s = int(connection.option("lifetime_s", 300))
        self._confirmed = bool(connection.option("confirmed", False))
        self._bind = str(connection.option("bind", ""))
        self._station: Station | None = None
        self._place: AnyValue = None
        self._owners: dict[AnyValue, list[Owner]] = {}
        self._out: Out | None = None
        self._heard = self._pending = 0

    @classmethod
    def open(cls, connection: Connection, clock: Clock, limits: Limits) -> Self:
        """See `Driver.open`."""
        return cls(connection, clock, limits)

    async def discover(self) -> Plan:
        """The device's objects, as one thing."""
        station = await self._connect()
        return await find(station, self._place, self._instance, self._connection.name, self._limits)

    async def scan(self) -> list[Found]:
        """Who answers who-is: at the address, or with the option bind and its mask on the whole network."""
        station = await self._connect()
        everybody = "/" in self._bind
        answers = await station.ask(
            station.who_is(timeout=_SCAN_S) if everybody else station.who_is(address=self._place, timeout=_SCAN_S)
        )
        found = []
        for answer in answers:
            instance = int(answer.iAmDeviceIdentifier[1])
            found.append(
                Found(f"bacnet://{answer.pduSource}/{instance}", f"device {instance} of vendor {answer.vendorID}")
            )
        return found

    async def run(self, plan: Plan, out: Out) -> None:
        """See `Driver.run`."""
        self._owners = {}
        for thing in plan.things:
            for point in thing.points:
                address = where_of(point, Address, PAGE)
                self._owners.setdefault(address.identifier, []).append((thing.name, point.definition.name, address))
        self._out = out
        await self._connect()
        try:
            wanted = [key for key, owners in self._owners.items() if owners[0][2].cov]
            refused = await self._subscribe(wanted)
            out.count("polled", len(refused)) if refused else None
            subscribed = [key for key in wanted if key not in refused]
            polled = [key for key in self._owners if key not in subscribed]
            if not self._owners:
                await self._read_one(ObjectIdentifier(f"device,{self._instance or 4_194_303}"), "object-identifier")
            for thing in plan.things:
                out.online(thing.name)
            tasks = [asyncio.create_task(one) for one in (self._renew(subscribed), self._poll(polled, subscribed))]
            try:
                ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                await next(iter(ended))
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            await self.close()

    async def write(self, thing: str, point: Point, value: AnyValue) -> Act:
        """See `Driver.write`; the device's acknowledgement says that it did it. Null gives the command up."""
        address = where_of(point, Address, PAGE)
        await self._command(address.identifier, coded(value, address), address.priority)
        return Act(Result.DONE)

    async def invoke(self, thing: str, action: ActionPlan, value: AnyValue) -> Act:
        """The one action is `relinquish`: the command of a property is given up at its priority."""
        objects, priority = action.where.get("objects"), action.where.get("priority")
        if not isinstance(objects, dict) or not isinstance(priority, int) or not 1 <= priority <= 16:
            raise DeviceRefused(f"{thing} has no action {action.name}.", f"{PAGE} has relinquish.")
        if not isinstance(value, str) or value not in objects:
            raise DeviceRefused(f"{thing} commands no {value!r:.80}.", f"There are: {', '.join(objects)[:500]}.")
        await self._command(Address(object=str(objects[value])).identifier, Null(()), priority)
        return Act(Result.DONE)

    async def close(self) -> None:
        """See `Driver.close`."""
        station, self._station = self._station, None
        if station is not None:
            station.close()
            await asyncio.sleep(0)  # for its sockets to be gone

    async def _connect(self) -> Station:
        await self.close()
        host, ours = await local_address(self._endpoint.host, self._endpoint.port)
        self._place = Place(f"{host}:{self._endpoint.port}")
        try:
            self._station = Station(self._bind or f"{ours}:0", self._timeout_s, self._retries, self._notified)
        except ValueError as error:
            raise DeviceRefused(f"The option bind: {error}.", "Write one such as 192.0.2.5/24:47808.") from None
        return self._station

    def _need_station(self) -> Station:
        if self._station is None:
            raise DeviceLost(f"{self._endpoint.host} is not connected.")
        return self._station

    async def _command(self, identifier: AnyValue, value: AnyValue, priority: int) -> None:
        station = self._need_station()
        request = WritePropertyRequest(
            objectIdentifier=identifier, propertyIdentifier="present-value", propertyValue=Any(value),
            priority=priority, destination=self._place,
        )  # fmt: skip
        await station.ask(station.request(request))

    async def _subscribe(self, keys: list[AnyValue]) -> set[AnyValue]:
        """Subscribe, or renew; those that the device does not take."""
        refused = set()

        async def one(key: AnyValue) -> None:
            station = self._need_station()
            request = SubscribeCOVRequest(
                subscriberProcessIdentifier=_PROCESS, monitoredObjectIdentifier=key, lifetime=self._lifetime_s,
                issueConfirmedNotifications=self._confirmed, destination=self._place,
            )  # fmt: skip
            try:
                await station.ask(station.request(request))
            except DeviceRefused:
                refused.add(key)

        for some in _some(keys, _AT_ONCE):
            await asyncio.gather(*map(one, some))
        return refused

    async def _renew(self, keys: list[AnyValue]) -> None:
        while True:
            await asyncio.sleep(self._lifetime_s / 2)
            if lost := await self._subscribe(keys):
                raise DeviceLost(f"{self._endpoint.host} does not renew {len(lost)} subscriptions.")

    async def _poll(self, polled: list[AnyValue], subscribed: list[AnyValue]) -> None:
        """Read what takes no subscription; where all do, ask a device that was silent for a value of the first."""
        due = self._clock.monotonic()
        while True:
            heard = self._heard
            due = max(due + self._connection.period_s, self._clock.monotonic())
            for some in _some(polled, _AT_ONCE):
                await self._pass_on(await self._read(some))
            await asyncio.sleep(due - self._clock.monotonic())
            if subscribed and not polled and self._heard == heard:
                await self._pass_on(await self._read(subscribed[:1]))

    async def _read(self, keys: list[AnyValue]) -> list[Told]:
        """Values and their flags: in one question, or value by value of a device that takes none of several."""
        station = self._need_station()
        try:
            answer = await station.ask(station.request(read_several(self._place, keys)))
            return told_of(answer)
        except DeviceRefused:
            return [(key, {_PRESENT_VALUE: await self._read_one(key)}) for key in keys]

    async def _read_one(self, key: AnyValue, name: str = "present-value") -> AnyValue:
        """A value as the device encodes it; None where it has none now."""
        station = self._need_station()
        request = ReadPropertyRequest(objectIdentifier=key, propertyIdentifier=name, destination=self._place)
        try:
            return (await station.ask(station.request(request))).propertyValue
        except DeviceRefused:
            return None

    async def _notified(self, apdu: AnyValue) -> None:
        """A change of a value; while the node is slow those beyond a bound are left out, and counted (§6)."""
        if apdu.pduSource != self._place or apdu.subscriberProcessIdentifier != _PROCESS or self._out is None:
            return
        self._heard += 1
        if self._pending >= _PENDING_MAX:
            self._out.count("sampled")
            return
        told = {int(one.propertyIdentifier): one.value for one in apdu.listOfValues}
        self._pending += 1
        try:
            await self._pass_on([(apdu.monitoredObjectIdentifier, told)])
        finally:
            self._pending -= 1

    async def _pass_on(self, found: Iterable[Told]) -> None:
        """Pass values on; one that its flags call faulty, or that is none, is left out and counted (§3)."""
        assert self._out is not None
        now = self._clock.now_ns()
        rows = []
        for key, told in found:
            coding, flags = told.get(_PRESENT_VALUE), told.get(_STATUS_FLAGS)
            if coding is None:
                self._out.count("unreadable")
                continue
            for thing, name, address in self._owners.get(key, ()):
                try:
                    status = [] if flags is None else flags.cast_out(StatusFlags)
                    suspect = is_doubtful(status)
                    value = None if is_fault(status) else plain(coding.cast_out(address.type.coding), address)
                except (ValueError, TypeError, AttributeError, IndexError, OverflowError, RejectException):
                    value = None
                if value is None:
                    self._out.count("invalid")
                else:
                    rows.append(Reading(thing, {name: value}, now, suspect))
        if rows:
            await self._out.readings(rows)


def _some(keys: list[AnyValue], number: int) -> Iterable[list[AnyValue]]:
    return (keys[at : at + number] for at in range(0, len(keys), number))
