"""Who is asking: credentials, principals, projects and grants as the rest of the system sees them."""

from enum import StrEnum
from fnmatch import fnmatchcase

import msgspec


class CredentialKind(StrEnum):
    """What a credential opens."""

    THING = "thing"  # its own thing
    JOIN = "join"  # registers things of one project, and nothing else
    OPERATOR = "operator"  # reads and writes one project, reads what is granted to it
    VIEWER = "viewer"  # reads one project and what is granted to it
    ADMIN = "admin"  # the owner of the node: no project of its own, administers and reads all


class Principal(msgspec.Struct, frozen=True, gc=False):
    """Who a token stands for. `expires_at` is UTC nanoseconds; None never expires."""

    project: str
    kind: CredentialKind
    thing: str = ""
    credential_id: str = ""
    expires_at: int | None = None


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """A credential as it is listed; the token itself is not kept anywhere. Times are UTC nanoseconds."""

    id: str
    kind: CredentialKind
    project: str
    thing: str = ""
    label: str = ""
    issued_by: str = ""
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    first_used_at: int | None = None


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A project. `timezone` is an IANA name; `limits` are its own values of `kernel.limits`; `created_at` UTC ns."""

    name: str
    title: str = ""
    timezone: str = "UTC"
    limits: dict[str, float] = {}
    created_at: int = 0


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """`to_project` may do `rights` to the things of `from_project` (§11); no patterns stand for all things."""

    from_project: str
    to_project: str
    rights: tuple[str, ...] = ("read",)
    things: tuple[str, ...] = ()
    created_at: int = 0

    def covers(self, thing: str) -> bool:
        """Whether `thing` is granted; an empty name asks for the whole project."""
        if not self.things:
            return True
        return bool(thing) and any(fnmatchcase(thing, pattern) for pattern in self.things)


class Event(StrEnum):
    """What changed in the directory."""

    PROJECT = "project"
    THING = "thing"
    MODEL = "model"
    PROPERTY = "property"
    TOKEN_ISSUED = "token-issued"  # noqa: S105 - the name of an event, not a secret
    TOKEN_REVOKED = "token-revoked"  # noqa: S105 - the name of an event, not a secret
    GRANTED = "granted"
    GRANT_REVOKED = "grant-revoked"


class Change(msgspec.Struct, frozen=True):
    """One change: for grants `project` is the side that grants and `other` the side that reads."""

    event: Event
    project: str = ""
    thing: str = ""
    credential_id: str = ""
    other: str = ""


class AuditEntry(msgspec.Struct, frozen=True):
    """Who did what when; `at` is UTC nanoseconds, `who` a credential id or a name such as `cli`."""

    at: int
    who: str
    what: str
    detail: str
