"""Who is asking: credentials, principals and projects as the rest of the system sees them."""

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
    PERSON = "person"  # a person, by a session or a token of their own: what their roles say, as far as it reaches
    INVITE = "invite"  # sets one person's password, once
    CONSOLE = "console"  # says for which address a person signs in, and nothing else


class Scope(StrEnum):
    """What a credential may be used for."""

    READ = "read"
    WRITE = "write"  # desired values
    INGEST = "ingest"  # readings
    COMMAND = "command"
    ADMIN = "admin"  # things, tokens, grants and members of a project


class Role(StrEnum):
    """What a person is to a project; an owner without a project is one of the node, and so of every project."""

    OWNER = "owner"
    OPERATOR = "operator"
    VIEWER = "viewer"


ALL_SCOPES = frozenset(Scope)
SCOPES_OF_ROLE = {
    Role.OWNER: ALL_SCOPES,
    Role.OPERATOR: ALL_SCOPES - {Scope.ADMIN},
    Role.VIEWER: frozenset({Scope.READ}),
}


class Reach(msgspec.Struct, frozen=True, gc=False):
    """How far a credential reaches: whose it is, what for, and to which things; no patterns stand for all things."""

    user: str = ""
    scopes: frozenset[Scope] = ALL_SCOPES
    things: tuple[str, ...] = ()


class Principal(msgspec.Struct, frozen=True, gc=False):
    """Who a token or session stands for. `expires_at` is UTC nanoseconds; None never expires.

    Without a `reach` a credential does all that its kind may: most have none, and 100,000 of these are in memory.
    """

    project: str
    kind: CredentialKind
    thing: str = ""
    credential_id: str = ""
    expires_at: int | None = None
    reach: Reach | None = None

    @property
    def user(self) -> str:
        """The person it stands for; empty for a program or thing."""
        return self.reach.user if self.reach is not None else ""

    @property
    def who(self) -> str:
        """How the audit calls it: a person by name, anything else by its credential."""
        return self.user or self.credential_id or str(self.kind)


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """A credential as it is listed; the token itself is not kept anywhere. Times are UTC nanoseconds.

    `user` is the person it stands for; no `scopes` stand for all its kind has, no `things` for all things.
    """

    id: str
    kind: CredentialKind
    project: str
    thing: str = ""
    user: str = ""
    scopes: tuple[Scope, ...] = ()
    things: tuple[str, ...] = ()
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


class Event(StrEnum):
    """What changed in the directory."""

    PROJECT = "project"
    THING = "thing"  # a new one
    THING_CHANGED = "thing-changed"
    THING_REMOVED = "thing-removed"
    MODEL = "model"
    PROPERTY = "property"
    TOKEN_ISSUED = "token-issued"  # noqa: S105 - the name of an event, not a secret
    TOKEN_REVOKED = "token-revoked"  # noqa: S105 - the name of an event, not a secret
    GRANTED = "granted"
    GRANT_REVOKED = "grant-revoked"
    PERSON = "person"  # somebody's roles, or whether they may come in at all
    SESSION_ENDED = "session-ended"
    PROJECT_REMOVED = "project-removed"


class Change(msgspec.Struct, frozen=True):
    """One change: for grants `project` is the side that grants and `other` the side that uses it.

    Of a thing that was removed `other` is the identifier of its description.
    """

    event: Event
    project: str = ""
    thing: str = ""
    credential_id: str = ""
    other: str = ""
    user: str = ""


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a name is one of some patterns such as `meter*`; no patterns stand for all names.

    An empty name asks for every name there may be, so that only no patterns cover it.

    >>> matches("meter-1", ("meter*",)), matches("", ("meter*",)), matches("", ()), matches("pv", ("meter*",))
    (True, False, True, False)
    """
    return not patterns or (bool(name) and any(fnmatchcase(name, pattern) for pattern in patterns))
