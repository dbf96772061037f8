"""What an administrative action is, and the refusals that all of them share."""

from collections.abc import Callable, Mapping
from typing import Any

from taihu.identity.directory import Directory
from taihu.identity.principal import ALL_SCOPES, Principal, Scope
from taihu.kernel.errors import RefusedError

Action = Callable[[Directory, Principal, Mapping[str, Any]], Any]


class ActionRefused(RefusedError):
    """The caller may not do this, or there is no such action: the message says which."""

    code = "admin"


def own(directory: Directory, principal: Principal, project: str) -> None:
    """Raise ActionRefused unless the caller administers the project."""
    if not directory.may_administer(principal, project):
        raise ActionRefused(
            f"You may not administer project {project[:80]!r}.", "It takes one of its owners, or an operator's token."
        )


def own_node(directory: Directory, principal: Principal) -> None:
    """Raise ActionRefused unless the caller owns the node."""
    if not directory.may_administer(principal, ""):
        raise ActionRefused("Only an owner of the node does this.", "Use the token in data/admin.token.")


def gives(directory: Directory, principal: Principal, project: str, scopes: frozenset[Scope]) -> None:
    """Raise ActionRefused when the caller would hand on what it lacks in the project itself.

    The owner of the node speaks for every project; with a token for less than all, only as far as that goes.
    """
    unlimited = principal.reach is None or principal.reach.scopes == ALL_SCOPES
    if unlimited and directory.may_administer(principal, ""):
        return
    missing = scopes - directory.scopes_in(principal, project)
    if missing:
        raise ActionRefused(f"You may not hand on what you lack: {', '.join(sorted(missing))}.", "Name fewer scopes.")
