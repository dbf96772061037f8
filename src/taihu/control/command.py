"""A command and its life: a record that tells the truth about itself (§7).

    queued -> permitted -> sent -> acknowledged -> done | failed
                             `---> unconfirmed ---^
    refused before it is sent; expired from wherever it waits; back to permitted when the connection was lost and
    sending it again does no harm; whatever ended stays as it is

`acknowledged` is the device's own answer. A protocol without one leaves a command `unconfirmed`: it may become done
when the property reads back as wanted, and never says more than is known.
"""

from enum import StrEnum
from typing import Any

import msgspec

from taihu.kernel.errors import LocalError


class State(StrEnum):
    """How far a command has come."""

    QUEUED = "queued"  # taken over, durable; not allowed yet
    PERMITTED = "permitted"  # allowed; waits for its turn or for the device's next contact
    SENT = "sent"  # handed to the device's connection; no answer yet
    UNCONFIRMED = "unconfirmed"  # sent, and the device will not say whether it came
    ACKNOWLEDGED = "acknowledged"  # the device answered that it has it
    DONE = "done"
    FAILED = "failed"
    EXPIRED = "expired"
    REFUSED = "refused"


ENDED = frozenset({State.DONE, State.FAILED, State.EXPIRED, State.REFUSED})
NEXT: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.PERMITTED, State.REFUSED, State.EXPIRED}),
    State.PERMITTED: frozenset({State.SENT, State.REFUSED, State.FAILED, State.EXPIRED}),
    State.SENT: frozenset(
        {State.ACKNOWLEDGED, State.UNCONFIRMED, State.DONE, State.FAILED, State.EXPIRED, State.PERMITTED}
    ),
    State.UNCONFIRMED: frozenset({State.DONE, State.FAILED, State.EXPIRED}),
    State.ACKNOWLEDGED: frozenset({State.DONE, State.FAILED, State.EXPIRED}),
    **{state: frozenset() for state in ENDED},
}


class Affordance(StrEnum):
    """What of a thing a command is for."""

    PROPERTY = "property"  # write it
    ACTION = "action"  # invoke it


class WrongStep(LocalError):
    """A command was to take a step that its state does not allow."""

    code = "command-step"


class Step(msgspec.Struct, frozen=True, array_like=True):
    """One step of a command's life, at a time (UTC ns); `detail` says why or what came back."""

    state: State
    at: int
    detail: str = ""
    result: Any = None


class Command(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What somebody wants done to one thing. Times are UTC ns.

    `key` makes it idempotent: the same key again is the same command. `standing` names the standing permit it is given
    under, and `last` is given by the end of that permit. A higher `priority` (0 to 9) goes first.
    """

    id: str
    project: str
    thing: str
    affordance: Affordance
    name: str
    input: Any = None
    who: str = ""
    why: str = ""
    at: int
    deadline: int
    key: str = ""
    priority: int = 5
    standing: str = ""
    last: bool = False
    steps: tuple[Step, ...] = ()
    approved_by: tuple[str, ...] = ()

    @property
    def state(self) -> State:
        """How far it has come."""
        return self.steps[-1].state if self.steps else State.QUEUED

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDED

    @property
    def address(self) -> str:
        """`project/thing/name`."""
        return f"{self.project}/{self.thing}/{self.name}"

    def when(self, state: State) -> int | None:
        """When it came to a state, the last time; None when it never did."""
        return next((step.at for step in reversed(self.steps) if step.state is state), None)

    def step(self, state: State, at: int, detail: str = "", result: Any = None) -> "Command":
        """The command one step further; raises WrongStep."""
        if self.steps and state not in NEXT[self.state]:
            raise WrongStep(f"A command that is {self.state} does not become {state}.")
        return msgspec.structs.replace(self, steps=(*self.steps, Step(state, at, detail, result)))
