"""What a driver is: how it finds a device's things, reads them, and acts on them.

A driver serves one connection. It knows nothing of projects, journals or commands' rights: it gets a plan, gives
readings, and does what it is told, by a host that checks permits. `tests/drivers/conformance.py` holds every driver to
the duties said here; docs/writing-a-driver.md walks through an example.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, Self, runtime_checkable
from urllib.parse import SplitResult, urlsplit

import msgspec

from taihu.kernel.clock import Clock
from taihu.kernel.errors import RefusedError, TransientError
from taihu.kernel.limits import Limits
from taihu.things.property import Property


class DeviceLost(TransientError):
    """The device does not answer, or not sensibly: the host connects again, with a growing, jittered pause."""

    code = "device-lost"


class DeviceRefused(RefusedError):
    """The device says no, or cannot be what the plan says: trying again changes nothing."""

    code = "device-refused"


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One property of a thing, and where its device has it: `where` is the driver's own address, as plain JSON."""

    definition: Property
    where: dict[str, Any] = {}


class ActionPlan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something a thing can be told to do; `input` and `output` are W3C data schemas, empty for none."""

    name: str
    title: str = ""
    input: dict[str, Any] = {}
    output: dict[str, Any] = {}
    where: dict[str, Any] = {}


class ThingPlan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A thing behind a connection."""

    name: str
    title: str = ""
    description: str = ""
    points: tuple[Point, ...] = ()
    actions: tuple[ActionPlan, ...] = ()

    def point(self, name: str) -> Point | None:
        """The point of a property, or None."""
        return next((point for point in self.points if point.definition.name == name), None)


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was found behind a connection; `notes` tell a person what was left out and why.

    `options` join those of the connection, such as the fingerprint of a server that is trusted from now on.
    """

    things: tuple[ThingPlan, ...] = ()
    notes: tuple[str, ...] = ()
    options: Mapping[str, Any] = {}

    def thing(self, name: str) -> ThingPlan | None:
        """The plan of a thing, or None."""
        return next((thing for thing in self.things if thing.name == name), None)


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach a device.

    `options` are the driver's own; `secrets` come from the keyring and are in no file of a plan. `period_s` is how
    often what is polled is read. `folder` is where a driver may keep what is its own, such as a certificate; without
    one it keeps nothing.
    """

    name: str
    url: str
    period_s: float = 10.0
    options: Mapping[str, Any] = {}
    secrets: Mapping[str, str] = {}
    folder: Path | None = None

    @property
    def parts(self) -> SplitResult:
        """The URL in its parts."""
        return urlsplit(self.url)

    def option(self, name: str, default: Any) -> Any:
        """An option of the driver's own, of the type of its default.

        Raises:
            DeviceRefused: it has another type.
        """
        value = self.options.get(name, default)
        if default is not None and not isinstance(value, int | float if isinstance(default, float) else type(default)):
            raise DeviceRefused(
                f"The option {name} of the connection {self.name} is {value!r}.",
                f"Write a {type(default).__name__} such as {default!r}.",
            )
        return value

    def __repr__(self) -> str:
        return f"Connection(name={self.name!r}, url={self.parts.hostname!r})"  # a URL may hold a password


class Reading(NamedTuple):
    """Values of one thing at one time (UTC ns; None where the device says none).

    `suspect` says that the device itself doubts them; what it calls wrong is no reading (§3).
    """

    thing: str
    values: Mapping[str, Any]
    observed_at: int | None = None
    suspect: bool = False


class Result(StrEnum):
    """What became of an act."""

    ACKNOWLEDGED = "acknowledged"  # the device's own answer says that it has it
    DONE = "done"  # the device's own answer says that it did it
    UNCONFIRMED = "unconfirmed"  # it left, and this protocol gives no answer


class Act(NamedTuple):
    """An act that was not refused; `value` is what the device returned."""

    result: Result
    value: Any = None


class Found(NamedTuple):
    """A device that a scan found: the address to add it by, and what it says that it is."""

    url: str
    title: str = ""


class Out(Protocol):
    """Where a driver's readings go."""

    async def readings(self, rows: Sequence[Reading]) -> None:
        """Pass readings on; waits while the node is slow, so that the driver slows down or samples (§6)."""
        ...

    async def durable(self) -> None:
        """Return when the node holds durably what was passed on until now: the driver may acknowledge it (§4)."""
        ...

    def online(self, thing: str) -> None:
        """The thing answers: commands can reach it."""
        ...

    def offline(self, thing: str, why: str) -> None:
        """The thing behind a connection that lives does not answer. Its values age; none is made up (§3)."""
        ...

    def count(self, what: str, number: int = 1) -> None:
        """Count what was left out by a declared rule, such as `sampled`."""
        ...


class Driver(Protocol):
    """One connection to a device, or to what speaks for several.

    Whatever a device sends, methods raise DeviceLost or DeviceRefused and nothing else. `close` may be called at any
    time, more than once.
    """

    schemes: ClassVar[tuple[str, ...]]

    @classmethod
    def open(cls, connection: Connection, clock: Clock, limits: Limits) -> Self:
        """A driver for a connection; nothing is connected yet.

        Raises:
            DeviceRefused: the URL or an option cannot be.
        """
        ...

    async def discover(self) -> Plan:
        """Connect and find out what is there. Bounded in time and size."""
        ...

    async def run(self, plan: Plan, out: Out) -> None:
        """Connect and bring readings, until cancelled; DeviceLost when the device goes."""
        ...

    async def write(self, thing: str, point: Point, value: Any) -> Act:
        """Write a property, while `run` runs."""
        ...

    async def invoke(self, thing: str, action: ActionPlan, value: Any) -> Act:
        """Do an action, while `run` runs."""
        ...

    async def close(self) -> None:
        """Let go of the device."""
        ...


@runtime_checkable
class Scanner(Protocol):
    """A driver whose protocol can be searched: behind a gateway's address, or on a network."""

    async def scan(self) -> list[Found]:
        """The devices there; bounded in time. Nothing but questions is sent."""
        ...
