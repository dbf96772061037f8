"""What a teller is: a connection that tells another system what our things are, and brings its commands.

A teller knows nothing of the node but this view of it; the host checks rights, and keeps what is to survive a restart.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, Self, runtime_checkable

from taihu.drivers.port import Connection, Plan
from taihu.kernel.clock import Clock
from taihu.kernel.limits import Limits
from taihu.things.property import Property


class Newest(NamedTuple):
    """The newest value of a property; a stale one is older than it holds (§3)."""

    thing: str
    name: str
    value: Any
    observed_at: int
    stale: bool


class View(Protocol):
    """The node, as a teller sees it. Every method raises TransientError while the node does not answer."""

    async def properties(self, thing: str) -> Mapping[str, Property]:
        """What a thing has."""
        ...

    async def newest(self) -> Sequence[Newest]:
        """The newest values of the things to tell of."""
        ...

    async def history(self, thing: str, name: str, start: int, end: int) -> Sequence[tuple[int, Any]]:
        """Times and values over [start, end) ns, oldest first, bounded."""
        ...

    async def command(self, thing: str, name: str, value: Any, why: str) -> None:
        """Have a property set, by the node's own rules; RefusedError when they say no."""
        ...

    def told(self) -> None:
        """Say that who is told has heard: the connection is not lost."""
        ...

    def recall(self) -> Mapping[str, Any]:
        """What was remembered last; nothing at first."""
        ...

    def remember(self, kept: Mapping[str, Any]) -> None:
        """Keep a few values for the next start, durably."""
        ...


@runtime_checkable
class Teller(Protocol):
    """One connection to who is told."""

    schemes: ClassVar[tuple[str, ...]]

    @classmethod
    def open(cls, connection: Connection, clock: Clock, limits: Limits) -> Self:
        """A teller for a connection; raises DeviceRefused when the URL or an option cannot be."""
        ...

    async def discover(self) -> Plan:
        """Try the connection; there is nothing to find."""
        ...

    async def tell(self, view: View) -> None:
        """Connect and tell, until cancelled; DeviceLost when who is told goes."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...
