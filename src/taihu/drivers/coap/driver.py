"""The CoAP driver: reads and observes resources, writes and acts by forms; confirmable, blockwise, under OSCORE.

`coap://HOST:PORT/PATH`: a Thing Description, a resource, or without a path what `/.well-known/core` lists. What is
observed is observed anew every `renew_s`, which brings it again; a device that was silent for a period is asked, so
that one that went is noticed.
"""

import asyncio
from typing import Any, ClassVar, Self

from taihu.drivers.address import where_of
from taihu.drivers.coap.client import CoapClient, document_of, refuse
from taihu.drivers.coap.finding import find
from taihu.drivers.coap.scanning import ask_all
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
from taihu.drivers.resources import PAGE, Address, Place, call_of, pick, place_of, raw_of, request_of
from taihu.kernel.clock import Clock
from taihu.kernel.limits import Limits

_OBSERVED_MAX = 256


class CoapDriver:
    """One CoAP device."""

    schemes: ClassVar[tuple[str, ...]] = ("coap",)

    def __init__(self, connection: Connection, clock: Clock, limits: Limits) -> None:
        self._connection = connection
        self._clock = clock
        self._limits = limits
        self._client = CoapClient(connection, limits)
        self._renew_s = float(connection.option("renew_s", 120.0))
        self._heard = 0
        self._failing: dict[str, str] = {}

    @classmethod
    def open(cls, connection: Connection, clock: Clock, limits: Limits) -> Self:
        """See `Driver.open`."""
        return cls(connection, clock, limits)

    async def discover(self) -> Plan:
        """See `Driver.discover`."""
        await self._client.connect()
        return await find(self._client, self._connection, self._limits)

    async def scan(self) -> list[Found]:
        """Who answers at the address: one device, or all of a group such as 224.0.1.187."""
        bind, seconds = self._connection.option("bind", ""), float(self._connection.option("scan_s", 6.0))
        if not 0 < seconds <= 60:
            raise DeviceRefused("The option scan_s is not from 0 to 60.", "Correct the option.")
        return await ask_all(self._client.endpoint, bind, seconds)

    async def run(self, plan: Plan, out: Out) -> None:
        """See `Driver.run`."""
        polled: dict[str, list[Place]] = {}
        observed: dict[str, list[Place]] = {}
        for thing in plan.things:
            for point in thing.points:
                place = place_of(thing.name, point)
                kept, href = (
                    (observed, place.address.observe) if place.address.observe else (polled, place.address.href)
                )
                kept.setdefault(self._target(href), []).append(place)
        if len(observed) > _OBSERVED_MAX:
            raise DeviceRefused(f"The plan observes {len(observed)} resources.", f"At most {_OBSERVED_MAX} are.")
        await self._client.connect()
        self._failing = {}
        doing = [self._poll_all(polled, observed, plan, out), *(self._observe(*one, out) for one in observed.items())]
        tasks = [asyncio.create_task(one) for one in doing]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await next(iter(ended))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._client.close()

    async def write(self, thing: str, point: Point, value: Any) -> Act:
        """See `Driver.write`: the device's 2.xx says that it did it."""
        address = where_of(point, Address, PAGE)
        if address.write is None:
            raise DeviceRefused(f"{point.definition.name} cannot be written.", f"Give it write ({PAGE}).")
        return await self._tell(address.write.method, *request_of(address.write, raw_of(address, value)))

    async def invoke(self, thing: str, action: ActionPlan, value: Any) -> Act:
        """See `Driver.invoke`; what the device answers is the value."""
        call = call_of(action)
        return await self._tell(call.method, *request_of(call, value))

    async def close(self) -> None:
        """See `Driver.close`."""
        await self._client.close()

    async def _tell(self, method: str, href: str, content: str, body: bytes) -> Act:
        answer = await self._client.ask(method, self._target(href), content, body)
        refuse(answer, href)
        return Act(Result.DONE, document_of(answer) if answer.payload else None)

    def _target(self, href: str) -> str:
        target = self._client.target_of(href)
        if target is None:
            raise DeviceRefused(f"{href[:200]} is not at this device.", "Connect that device by itself.")
        return target

    async def _poll_all(
        self, polled: dict[str, list[Place]], observed: dict[str, list[Place]], plan: Plan, out: Out
    ) -> None:
        """Read what is polled, one after the other as CoAP wants it; ask a device that was silent for what it tells."""
        due = self._clock.monotonic()
        while True:
            heard = self._heard
            for target, places in polled.items():
                await self._read(target, places, out)
            self._tell_presence(polled | observed, plan, out)
            due += self._connection.period_s
            late = self._clock.monotonic() - due
            if late > 0:
                missed = int(late / self._connection.period_s) + 1
                out.count("late", missed)
                due += missed * self._connection.period_s
            await asyncio.sleep(max(0.0, due - self._clock.monotonic()))
            if self._heard == heard and observed:
                target, places = next(iter(observed.items()))
                await self._read(target, places, out)

    async def _read(self, target: str, places: list[Place], out: Out) -> None:
        answer = await self._client.ask("GET", target)
        if answer.code.is_successful():
            self._failing.pop(target, None)
            await self._take(answer, places, out)
        else:
            self._failing[target] = f"it answers {answer.code.dotted} to {target}"
            out.count("unreadable")

    async def _observe(self, target: str, places: list[Place], out: Out) -> None:
        """Follow a resource, anew after `renew_s`; one that cannot be followed is tried again then."""
        while True:
            try:
                async with asyncio.timeout(self._renew_s), self._client.observe(target) as answers:
                    async for answer in answers:
                        self._heard += 1
                        self._failing.pop(target, None)
                        await self._take(answer, places, out)
                raise DeviceLost(f"{self._client.endpoint.host} ended the observation of {target}.")
            except TimeoutError:
                continue
            except DeviceRefused as error:
                self._failing[target] = str(error)
                out.count("unreadable")
                await asyncio.sleep(self._renew_s)

    async def _take(self, answer: Any, places: list[Place], out: Out) -> None:
        values = pick(places, document_of(answer))
        now = self._clock.now_ns()
        for thing in values:
            out.online(thing)
        if values:
            await out.readings([Reading(thing, found, now) for thing, found in values.items()])

    def _tell_presence(self, resources: dict[str, list[Place]], plan: Plan, out: Out) -> None:
        """A thing of which no resource can be read is offline."""
        for thing in plan.things:
            its = [target for target, places in resources.items() if any(one.thing == thing.name for one in places)]
            if its and all(target in self._failing for target in its):
                out.offline(thing.name, self._failing[its[0]])
            else:
                out.online(thing.name)
