"""The DL/T 645 driver: reads the meters of one line in turn.

`dlt645+tcp://HOST:PORT/ADDRESS`, with the 12 digits of a meter, or without them for the one meter of the line. The line
has one talker at a time. A meter that does not answer is offline alone; a line on which nobody answers is lost.
"""

import asyncio
from typing import Annotated, Any, ClassVar, Self

import msgspec

from taihu.drivers.address import endpoint_of, open_stream, where_of
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
    ThingPlan,
)
from taihu.kernel.clock import Clock
from taihu.kernel.limits import Limits
from taihu.protocols.dlt645.errors import Dlt645Error
from taihu.protocols.dlt645.frame import ANY_METER, Control, Decoder, Frame, encode, read_frame
from taihu.protocols.dlt645.items import ITEMS, number_of
from taihu.things.property import Kind, Property

_READ_BYTES = 4_096
_EXAMPLE = "dlt645+tcp://host:port/123456789012"


class Address(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a point is: the data item's eight digits, its octets and decimals, and which meter of the line has it."""

    item: Annotated[str, msgspec.Meta(pattern="^[0-9A-Fa-f]{8}$")]
    size: Annotated[int, msgspec.Meta(ge=1, le=8)] = 4
    decimals: Annotated[int, msgspec.Meta(ge=0, le=8)] = 2
    signed: bool = False
    meter: str = ""


class Dlt645Driver:
    """One line."""

    schemes: ClassVar[tuple[str, ...]] = ("dlt645+tcp",)

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._endpoint = endpoint_of(connection, None, _EXAMPLE)
        self._host = self._endpoint.host
        meter = self._endpoint.path
        if meter and not (meter.isdecimal() and len(meter) <= 12):
            raise DeviceRefused(f"{connection.url} names no meter.", f"Write {_EXAMPLE}.")
        self._connection = connection
        self._clock = clock
        self._meter = meter.rjust(12, "0") if meter else ""
        self._timeout_s = float(connection.option("timeout_s", 1.5))
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._decoder = Decoder()

    @classmethod
    def open(cls, connection: Connection, clock: Clock, limits: Limits) -> Self:
        """See `Driver.open`."""
        return cls(connection, clock)

    async def discover(self) -> Plan:
        """The meter of the line, and which of the usual items it has."""
        await self._connect()
        if not self._meter:
            answer = await self._ask(Frame(ANY_METER, Control.READ_ADDRESS))
            if answer is None or len(answer.data) < 6:
                raise DeviceLost(f"No meter on the line of {self._host} tells its address.", "Give it in the URL.")
            self._meter = answer.data[5::-1].hex().upper()
        points = []
        silent = 0
        for item in ITEMS:
            where = {"item": f"{item.number:08X}", "size": item.size, "decimals": item.decimals, "signed": item.signed}
            try:
                value = await self._read(msgspec.convert(where | {"meter": self._meter}, Address))
            except TimeoutError:
                silent += 1
                if silent > 2:
                    raise DeviceLost(f"The meter {self._meter} does not answer.", "Look at its address.") from None
                continue
            if value is None:
                continue
            kind = Kind.COUNTER if item.counter else Kind.GAUGE
            definition = Property(name=item.name, kind=kind, unit=item.unit, resolution=10.0**-item.decimals)
            points.append(Point(definition=definition, where={**where, "meter": self._meter}))
        name = f"meter-{self._meter.lstrip('0') or '0'}"
        return Plan(things=(ThingPlan(name=name, title=f"Meter {self._meter}", points=tuple(points)),))

    async def run(self, plan: Plan, out: Out) -> None:
        """See `Driver.run`."""
        addresses = {
            thing.name: [(one.definition.name, where_of(one, Address, "docs/dlt645.md")) for one in thing.points]
            for thing in plan.things
        }
        await self._connect()
        due = self._clock.monotonic()
        while True:
            answered = False
            for thing, points in addresses.items():
                values = await self._read_all(points)
                if values is None:
                    out.offline(thing, "its meter gives no answer")
                    continue
                answered = True
                out.online(thing)
                await out.readings([Reading(thing, values, self._clock.now_ns())])
            if addresses and not answered:
                raise DeviceLost(f"Nobody answers on the line of {self._host}.")
            due = max(due + self._connection.period_s, self._clock.monotonic())
            await asyncio.sleep(due - self._clock.monotonic())

    async def write(self, thing: str, point: Point, value: Any) -> Act:
        """A meter that bills is read, and not set."""
        raise DeviceRefused("Meters are not written.", "Set them by the means of whoever owns them.")

    async def invoke(self, thing: str, action: ActionPlan, value: Any) -> Act:
        """A meter has no actions here."""
        raise DeviceRefused(f"{thing} has no action {action.name}.", "Meters are read here.")

    async def close(self) -> None:
        """See `Driver.close`."""
        writer, self._writer, self._reader = self._writer, None, None
        if writer is not None:
            writer.close()

    async def _read_all(self, points: list[tuple[str, Address]]) -> dict[str, float] | None:
        """What a meter has of some points; None when it does not answer at all."""
        values: dict[str, float] = {}
        answered = not points
        for name, address in points:
            try:
                value = await self._read(address)
            except TimeoutError:
                if not answered:
                    return None
                continue
            answered = True
            if value is not None:
                values[name] = value
        return values

    async def _read(self, address: Address) -> float | None:
        """One item; None where the meter has none. TimeoutError when it does not answer."""
        meter = address.meter or self._meter or ANY_METER
        item = int(address.item, 16)
        try:
            answer = await self._ask(read_frame(meter, item))
        except Dlt645Error as error:
            raise DeviceRefused(error.message, error.remedy) from None
        if answer is None:
            raise TimeoutError
        if answer.refused:
            return None
        return number_of(answer.data[4 : 4 + address.size], address.decimals, signed=address.signed)

    async def _ask(self, request: Frame) -> Frame | None:
        """The answer to a request; None when none comes in time. DeviceLost when the line is closed."""
        if self._writer is None or self._reader is None:
            raise DeviceLost(f"{self._host} is not connected.")
        try:
            self._writer.write(encode(request))
            async with asyncio.timeout(self._timeout_s):
                while True:
                    data = await self._reader.read(_READ_BYTES)
                    if not data:
                        raise DeviceLost(f"{self._host} closed the connection.")
                    for frame in self._decoder.feed(data):
                        if frame.answers(request):
                            return frame
        except TimeoutError:
            return None
        except OSError as error:
            raise DeviceLost(f"{self._host}: {error}.") from None

    async def _connect(self) -> None:
        await self.close()
        self._decoder = Decoder()
        self._reader, self._writer = await open_stream(self._endpoint)
