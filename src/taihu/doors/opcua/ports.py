"""What the OPC UA door needs of the node: who comes in, what they may see, and commands."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import msgspec

Rights = Mapping[str, Mapping[str, frozenset[str]]]
"""By project and thing, the properties and actions that somebody may see."""


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who was let in. `credential` opens the node's API for them; `rights` are as of when they were asked."""

    who: str
    credential: str
    commands: bool
    rights: Rights
    signed_in: bool = False  # by a password: the session that this made is ended when they leave

    def may_see(self, project: str, thing: str = "", name: str = "") -> bool:
        """Whether they may see a property or action, a thing that has one, or a project that has one."""
        things = self.rights.get(project)
        if things is None or not thing:
            return things is not None
        names = things.get(thing)
        return names is not None and (not name or name in names)

    def __repr__(self) -> str:
        return f"Visitor({self.who!r})"


class Ending(NamedTuple):
    """How far a command came: its state, what the device returned, and why."""

    state: str
    value: Any = None
    detail: str = ""


class Node(Protocol):
    """The node, as the door asks it."""

    async def sign_in(self, user: str, password: str) -> Visitor | None:
        """Who comes with a token as password, or is a person; None when nobody is. TransientError."""
        ...

    async def guest(self) -> Visitor | None:
        """Who comes without a name; None when nobody may."""
        ...

    async def still_known(self, visitor: Visitor) -> bool:
        """Whether their credential still opens the node. TransientError."""
        ...

    async def renewed(self, visitor: Visitor) -> Visitor | None:
        """What they may now; None when they may no longer come in. TransientError."""
        ...

    async def sign_out(self, visitor: Visitor) -> None:
        """They have left."""
        ...

    async def write(self, visitor: Visitor, project: str, thing: str, name: str, value: Any) -> Ending:
        """Command a property's value. RefusedError, TransientError."""
        ...

    async def invoke(self, visitor: Visitor, project: str, thing: str, name: str, value: Any) -> Ending:
        """Command an action. RefusedError, TransientError."""
        ...
