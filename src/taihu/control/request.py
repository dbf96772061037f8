"""What is asked of control, by whom, and what control asks of the rest of the node."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import msgspec

from taihu.control.command import Affordance
from taihu.control.rule import Role, Rule
from taihu.kernel.errors import RefusedError

DEADLINE_S = 60.0


class CommandRefused(RefusedError):
    """A command cannot be taken at all: the message says what is wrong with it."""

    code = "command"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody asks for, before it is a command."""

    thing: str
    affordance: Affordance
    name: str
    input: Any = None
    why: str = ""
    deadline_s: float | None = None  # none said: as the desk has it
    key: str = ""
    priority: int = 5
    standing: str = ""


class Who(msgspec.Struct, frozen=True):
    """Who gives a command, in which project, with which role."""

    project: str
    name: str
    role: Role


class Answer(StrEnum):
    """What a carrier says of a command it was given."""

    RECEIVED = "received"  # it is with the device, which is still to answer
    ACKNOWLEDGED = "acknowledged"  # the device answered that it has it
    DONE = "done"  # the device did it
    FAILED = "failed"  # the device says no, or the carrier could not send it
    UNCONFIRMED = "unconfirmed"  # it left, and there will be no answer
    TAKEN = "taken"  # who passes it on has it, and takes the next
    EXPIRED = "expired"  # its time is over where it was passed on to
    LOST = "lost"  # the connection went before an answer


class Facts(Protocol):
    """What the desk asks of the rest of the node; nothing of it blocks."""

    def fault(self, project: str, wanted: Wanted) -> str:
        """What is wrong with a command: no such thing, affordance, or input; empty when nothing is."""
        ...

    def rules(self, project: str) -> Sequence[Rule]:
        """The project's rules."""
        ...

    def zone(self, project: str) -> ZoneInfo:
        """The time zone in which its quiet hours are."""
        ...

    def holds(self, project: str, thing: str, name: str) -> Any:
        """The value of a property that holds now; None when it is missing or stale."""
        ...

    def reachable(self, project: str, thing: str) -> bool:
        """Whether a command to the thing can be sent now."""
        ...
