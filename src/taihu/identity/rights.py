"""Who may do what (§11). Nothing crosses a project's border without a grant that names both sides."""

from collections.abc import Mapping

from taihu.identity.principal import CredentialKind, Grant, Principal


def may_read(principal: Principal, project: str, thing: str, grants: Mapping[str, Mapping[str, Grant]]) -> bool:
    """Whether `principal` may read `thing` of `project`, or all of the project when `thing` is empty.

    A thing reads itself, an operator or viewer its project and what is granted to that, an admin everything, a join
    token nothing. `grants` is by reading project and then by granting project.
    """
    if principal.kind is CredentialKind.ADMIN:
        return True
    if principal.kind is CredentialKind.JOIN:
        return False
    if principal.kind is CredentialKind.THING:
        return principal.project == project and principal.thing == thing != ""
    if principal.project == project:
        return True
    grant = grants.get(principal.project, {}).get(project)
    return grant is not None and "read" in grant.rights and grant.covers(thing)


def may_see(principal: Principal, project: str, grants: Mapping[str, Mapping[str, Grant]]) -> bool:
    """Whether `principal` may read anything of `project`."""
    if principal.kind is CredentialKind.THING:
        return principal.project == project
    grant = grants.get(principal.project, {}).get(project)
    granted = principal.kind is not CredentialKind.JOIN and grant is not None and "read" in grant.rights
    return granted or may_read(principal, project, "", grants)


def may_write(principal: Principal, project: str, thing: str) -> bool:
    """Whether `principal` may send readings of `thing`: the thing itself, or an operator of its project."""
    if principal.project != project:
        return False
    if principal.kind is CredentialKind.THING:
        return principal.thing == thing != ""
    return principal.kind is CredentialKind.OPERATOR


def may_administer(principal: Principal, project: str) -> bool:
    """Whether `principal` may issue and revoke the tokens of `project` and change its things and grants."""
    return principal.kind is CredentialKind.ADMIN or (
        principal.kind is CredentialKind.OPERATOR and principal.project == project
    )
