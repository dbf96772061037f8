"""What the HTTP door asks of the node for the W3C Web of Things: observers, and the directories of things."""

from collections.abc import Callable, Collection
from typing import Protocol

import msgspec

from taihu.identity.principal import Principal as Caller


class Notice(msgspec.Struct, frozen=True, gc=False):
    """A new value of a property, or one of an event: `data` is JSON, `seq` rises with every message."""

    name: str
    data: bytes
    observed_at: int
    seq: int
    event: bool


class Stream(Protocol):
    """What waits for somebody who is told of things as they happen; it is bounded (§6).

    `reason` says why it ended. `missed` counts what gave way since `take` was last asked, None when nobody knows how
    much: set it back.
    """

    reason: str
    missed: int | None

    async def take(self) -> list[Notice]:
        """What is new; an empty list says that nothing was sent for a while, or `reason` why it ended."""
        ...

    def end(self, reason: str) -> None:
        """Stop; who waits in `take` hears so."""
        ...


class Observer(Stream, Protocol):
    """Somebody who observes a thing."""

    names: set[str]
    properties: bool
    events: bool

    def begin(self, name: str, after: int | None = None) -> None:
        """Observe one more property or event; `after` is the `seq` of the last notice known of it."""
        ...

    def begin_all(self, *, events: bool, after: int | None = None) -> None:
        """Observe all properties, or all events."""
        ...


class Catalogue(Protocol):
    """The things of a project as a W3C Thing Description Directory; `base` is the address of its things here.

    What changes them raises RefusedError unless the caller may, and DescriptionError for a document that cannot be.
    """

    def etag(self, project: str) -> str:
        """Another one whenever a thing came or went."""
        ...

    async def page(
        self, caller: Caller, project: str, offset: int, limit: int, base: str
    ) -> tuple[list[msgspec.Raw], int]:
        """The descriptions from `offset` on that the caller may see, by identifier, and how many there are in all."""
        ...

    async def retrieve(self, caller: Caller, project: str, identifier: str, base: str) -> tuple[bytes, bytes] | None:
        """One description, and what its entity tag is made of, empty for a part; None when the caller may see none."""
        ...

    async def create(self, caller: Caller, project: str, document: bytes) -> str:
        """Register a thing by a description without an identifier; returns the one it gets."""
        ...

    async def put(
        self, caller: Caller, project: str, identifier: str, document: bytes, unchanged: Callable[[bytes], None]
    ) -> bool:
        """Register a thing by a description, or replace it; returns whether it is new.

        `unchanged` is handed what the entity tag is made of before, empty for none; what it raises changes nothing.
        """
        ...

    async def patch(
        self, caller: Caller, project: str, identifier: str, patch: bytes, unchanged: Callable[[bytes], None]
    ) -> None:
        """Change a part of a description by a merge patch (RFC 7396); `unchanged` is as in `put`."""
        ...

    async def remove(self, caller: Caller, project: str, identifier: str) -> None:
        """Take a thing out of the directory and revoke its credentials."""
        ...

    async def search(self, caller: Caller, project: str, query: str, base: str) -> bytes:
        """What a JSONPath query finds in the array of all descriptions that the caller may see, as a JSON array."""
        ...

    def watch(
        self,
        caller: Caller,
        project: str,
        kinds: Collection[str],
        full: bool,
        after: int | None,
        permitted: Callable[[], str],
    ) -> Stream:
        """A stream of what happens to the things that the caller may see; LimitError when as many watch as may."""
        ...
