"""People: what the node knows of them, and what it keeps of a session. No secret is in any of these."""

import re
from collections.abc import Mapping

import msgspec

from taihu.identity.principal import Role
from taihu.kernel.ids import NameRefused

_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who signs in. `roles` is by project, and by the empty name for the whole node. Times are UTC ns.

    With an `issuer` they sign in there, as its `subject`, and their roles come from it.
    """

    name: str
    title: str = ""
    roles: Mapping[str, Role] = {}
    disabled: bool = False
    password: bool = False
    issuer: str = ""
    subject: str = ""
    created_at: int = 0
    changed_at: int = 0

    @property
    def owns_node(self) -> bool:
        """Whether they own the node."""
        return self.roles.get("") is Role.OWNER and not self.disabled


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A person signed in on one browser. `how` is password, link or oidc; times are UTC ns of the machine's clock."""

    id: str
    user: str
    how: str
    address: str = ""
    agent: str = ""
    created_at: int
    used_at: int
    expires_at: int


class Origin(msgspec.Struct, frozen=True):
    """Where somebody signs in from, and the secret of the session they have there, which ends."""

    address: str = ""
    agent: str = ""
    secret: str = ""


def check_user(name: str) -> str:
    """Return `name` if it may name a person: 1-64 lower-case letters, digits and . _ @ + -, a letter or digit first."""
    if not _NAME.fullmatch(name):
        raise NameRefused(
            f"{name[:80]!r} cannot name a person:",
            "use 1-64 lower-case letters, digits and . _ @ + -, such as mei.lin or mei@example.com.",
        )
    return name
