"""A grant: what one project lets another do, to which things and properties, from when, and until when (§11)."""

from enum import StrEnum

import msgspec

from taihu.identity.principal import Scope, matches


class Right(StrEnum):
    """What can be granted. Each is used with the scope of the same name in the project it was granted to."""

    READ = "read"
    WRITE = "write"
    COMMAND = "command"

    @property
    def scope(self) -> Scope:
        """What a credential needs to use the right."""
        return Scope(self.value)


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """`to_project` may do `rights` to the things of `from_project`; no patterns stand for all things, or properties.

    It holds from `begins_at` until `ends_at` (UTC ns; None is never), once both sides have agreed: `given_at` is when
    the side that grants did, `taken_at` the side that uses it; 0 is not yet.
    """

    id: str = ""
    from_project: str
    to_project: str
    rights: tuple[Right, ...] = (Right.READ,)
    things: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()
    begins_at: int = 0
    ends_at: int | None = None
    created_at: int = 0
    given_by: str = ""
    given_at: int = 0
    taken_by: str = ""
    taken_at: int = 0

    @property
    def agreed(self) -> bool:
        """Whether both sides have agreed."""
        return self.given_at > 0 and self.taken_at > 0

    @property
    def terms(self) -> tuple[object, ...]:
        """What is granted, apart from who agreed to it when."""
        return self.rights, self.things, self.properties, self.begins_at, self.ends_at

    def holds(self, right: Right, now_ns: int) -> bool:
        """Whether `right` can be used now, on whatever it covers."""
        ended = self.ends_at is not None and self.ends_at <= now_ns
        return right in self.rights and self.agreed and self.begins_at <= now_ns and not ended

    def covers(self, thing: str, name: str = "") -> bool:
        """Whether the property `name` of `thing` is granted; an empty name asks for all of them."""
        return matches(thing, self.things) and matches(name, self.properties)

    def state(self, now_ns: int) -> str:
        """How it stands: offered, requested, waiting (for its time), active or ended."""
        if self.ends_at is not None and self.ends_at <= now_ns:
            return "ended"
        if not self.agreed:
            return "offered" if self.given_at else "requested"
        return "active" if self.begins_at <= now_ns else "waiting"
