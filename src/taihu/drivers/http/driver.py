"""The HTTP driver: polls resources, follows event streams, writes and acts by forms.

`http://HOST:PORT/PATH` or `https://…`: the address of a Thing Description, an OpenAPI document, or JSON taken as it is.
What a device is asked and told stays on its host. A resource that answers with an error is asked ever more rarely; the
things that have nothing else are offline alone.
"""

import asyncio
from typing import Any, ClassVar, Self

from taihu.drivers.address import where_of
from taihu.drivers.http.client import SCHEMES, HttpClient
from taihu.drivers.http.finding import find
from taihu.drivers.http.line import Response
from taihu.drivers.http.resource import Resource, Values
from taihu.drivers.http.sse import EventParser
from taihu.drivers.http.webhook import Signatures, Webhook
from taihu.drivers.port import Act, ActionPlan, Connection, DeviceLost, DeviceRefused, Out, Plan, Point, Reading, Result
from taihu.drivers.resources import (
    PAGE,
    Address,
    Place,
    call_of,
    json_of,
    pick,
    place_of,
    raw_of,
    request_of,
    word_of,
)
from taihu.kernel.clock import Clock
from taihu.kernel.limits import Limits

_STREAMS_MAX = 64
_RETRY_S = 1.0
_ACCEPTED = (201, 202)


class HttpDriver:
    """One device that serves HTTP."""

    schemes: ClassVar[tuple[str, ...]] = SCHEMES

    def __init__(self, connection: Connection, clock: Clock, limits: Limits) -> None:
        self._connection = connection
        self._clock = clock
        self._limits = limits
        self._client = HttpClient(connection, limits)
        self._slow_s = float(connection.option("slow_s", 0.0))
        self._idle_s = float(connection.option("idle_s", 60.0))
        self._last_ids: dict[str, str] = {}
        self._runs = False
        self._pushed: dict[str, list[Place]] = {}
        listen = str(connection.option("listen", ""))
        signatures = Signatures(connection.secrets.get("webhook_secret", ""), clock) if listen else None
        self._hook = Webhook(listen, signatures, limits, self._take_push) if signatures else None
        self._out: Out | None = None

    @classmethod
    def open(cls, connection: Connection, clock: Clock, limits: Limits) -> Self:
        """See `Driver.open`."""
        return cls(connection, clock, limits)

    async def discover(self) -> Plan:
        """See `Driver.discover`."""
        return await find(self._client, self._connection, self._limits)

    async def run(self, plan: Plan, out: Out) -> None:
        """See `Driver.run`."""
        self._pushed.clear()
        polled: dict[str, list[Place]] = {}
        observed: dict[str, list[Place]] = {}
        for thing in plan.things:
            for point in thing.points:
                place = place_of(thing.name, point)
                if place.address.href:
                    polled.setdefault(self._target(place.address.href), []).append(place)
                if place.address.push:
                    self._pushed.setdefault(place.address.push, []).append(place)
                if place.address.observe:
                    observed.setdefault(self._target(place.address.observe), []).append(place)
        if len(observed) > _STREAMS_MAX:
            raise DeviceRefused(
                f"The plan has {len(observed)} streams.", f"At most {_STREAMS_MAX} do; poll the others."
            )
        resources = [
            Resource(href, places, self._connection.period_s, self._slow_s, all(one.address.observe for one in places))
            for href, places in polled.items()
        ]
        if self._hook is not None:
            await self._hook.start()
        elif self._pushed:
            raise DeviceRefused("Points are pushed, and nothing listens.", f"Set the option listen ({PAGE}).")
        self._out = out
        doing = [self._poll_all(resources, plan, out), *(self._observe(*one, out) for one in observed.items())]
        tasks = [asyncio.create_task(one) for one in doing]
        self._runs = True
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await next(iter(ended))
        finally:
            self._runs = False
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.close()

    async def write(self, thing: str, point: Point, value: Any) -> Act:
        """See `Driver.write`: 200 and 204 say that it was done, 202 that the device has it."""
        address = where_of(point, Address, PAGE)
        if address.write is None:
            raise DeviceRefused(f"{point.definition.name} cannot be written.", f"Give it write ({PAGE}).")
        return await self._tell(*request_of(address.write, raw_of(address, value)), address.write.method)

    async def invoke(self, thing: str, action: ActionPlan, value: Any) -> Act:
        """See `Driver.invoke`; what the device answers is the value."""
        call = call_of(action)
        return await self._tell(*request_of(call, value), call.method)

    async def close(self) -> None:
        """See `Driver.close`."""
        if self._hook is not None:
            self._hook.stop()
        self._client.close()
        await asyncio.sleep(0)  # for the connections to be gone

    async def _tell(self, href: str, content: str, body: bytes, method: str) -> Act:
        if not self._runs:
            raise DeviceLost(f"{self._client.endpoint.host} is not connected.")
        headers = {"Content-Type": content} if content else {}
        answer = await self._client.ask(method, self._target(href), headers, body)
        if not 200 <= answer.status < 300:
            text = answer.body[:200].decode("utf-8", "replace").strip()
            if answer.status >= 500:
                raise DeviceLost(f"It answers {answer.status} {text}".rstrip() + ".")
            raise DeviceRefused(f"It answers {answer.status} {text}".rstrip() + ".", "See the device's manual.")
        return Act(Result.ACKNOWLEDGED if answer.status in _ACCEPTED else Result.DONE, _said(answer))

    def _target(self, href: str) -> str:
        target = self._client.target_of(href)
        if target is None:
            raise DeviceRefused(f"{href[:200]} is not at this device.", "Connect that device by itself.")
        return target

    async def _poll_all(self, resources: list[Resource], plan: Plan, out: Out) -> None:
        now = self._clock.monotonic()
        for resource in resources:
            resource.due = now
        while pending := [resource for resource in resources if not resource.done]:
            await asyncio.sleep(max(0.0, min(one.due for one in pending) - self._clock.monotonic()))
            now = self._clock.monotonic()
            ready = [self._poll(resource, out) for resource in pending if resource.due <= now]
            for values in [await ready[0]] if len(ready) == 1 else await asyncio.gather(*ready):
                await self._pass_on(values, out)
            self._tell_presence(resources, plan, out)
        self._tell_presence(resources, plan, out)
        await asyncio.Event().wait()

    async def _poll(self, resource: Resource, out: Out) -> Values:
        answer = await self._client.ask("GET", resource.href, resource.headers)
        now = self._clock.monotonic()
        values = resource.take(answer, now, self._clock.now_ns())
        if resource.trouble:
            out.count("unreadable")
        if missed := resource.schedule(now):
            out.count("late", missed)
        return values

    def _tell_presence(self, resources: list[Resource], plan: Plan, out: Out) -> None:
        """A thing of which no resource can be read is offline."""
        for thing in plan.things:
            its = [resource for resource in resources if thing.name in resource.things]
            if its and all(resource.trouble for resource in its):
                out.offline(thing.name, its[0].trouble)
            else:
                out.online(thing.name)

    async def _pass_on(self, values: Values, out: Out) -> None:
        if values:
            now = self._clock.now_ns()
            await out.readings([Reading(thing, found, now) for thing, found in values.items()])

    async def _take_push(self, path: str, body: bytes) -> None:
        assert self._out is not None
        values = pick(self._pushed[path], json_of(body))
        for thing in values:
            self._out.online(thing)
        await self._pass_on(values, self._out)
        await self._out.durable()

    async def _observe(self, href: str, places: list[Place], out: Out) -> None:
        """Follow a stream; where it ends, go on after the last event (Last-Event-ID)."""
        while True:
            parser = EventParser(self._last_ids.get(href, ""))
            headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
            if parser.last_id:
                headers["Last-Event-ID"] = parser.last_id.encode().decode("latin-1")
            async with self._client.stream(href, headers, self._idle_s) as pieces:
                async for piece in pieces:
                    for event in parser.feed(piece):
                        named = [one for one in places if not one.address.event or one.address.event == event.name]
                        await self._pass_on(pick(named, _event_data(event.data)), out)
                        self._last_ids[href] = event.id
            out.count("resumed")
            await asyncio.sleep(parser.retry_s if parser.retry_s is not None else _RETRY_S)


def _said(answer: Response) -> Any:
    if not answer.body:
        return None
    return json_of(answer.body) if answer.media_type.endswith("json") else word_of(answer.body)


def _event_data(data: str) -> Any:
    """An event's data is JSON, or the text itself."""
    try:
        return json_of(data)
    except DeviceLost:
        return word_of(data.encode())
