"""Who may do what (§11). Nothing crosses a project's border without a grant that names both sides."""

from collections.abc import Iterable

from taihu.identity.grant import Grant, Right
from taihu.identity.memory import Memory
from taihu.identity.principal import (
    ALL_SCOPES,
    SCOPES_OF_ROLE,
    CredentialKind,
    Principal,
    Reach,
    Role,
    Scope,
    matches,
)

_NOTHING: frozenset[Scope] = frozenset()
_OF_KIND = {
    CredentialKind.OPERATOR: ALL_SCOPES,
    CredentialKind.VIEWER: frozenset({Scope.READ}),
}
_OF_ADMIN = frozenset({Scope.READ, Scope.ADMIN})
_OF_THING = frozenset({Scope.READ, Scope.WRITE, Scope.INGEST})


def scopes_in(principal: Principal, project: str, memory: Memory) -> frozenset[Scope]:
    """What `principal` may do in `project` as one of its own, grants aside.

    An operator or viewer in its project, a person what their role there says, an admin reads and administers
    everywhere; each as far as the credential's own scopes go. A thing has none: it is only itself.
    """
    kind = principal.kind
    if kind is CredentialKind.ADMIN:
        scopes = _OF_ADMIN
    elif kind is CredentialKind.PERSON:
        if principal.project not in ("", project):
            return _NOTHING
        role = role_of(principal.user, project, memory)
        scopes = SCOPES_OF_ROLE[role] if role else _NOTHING
    elif principal.project == project:
        scopes = _OF_KIND.get(kind, _NOTHING)
    else:
        return _NOTHING
    return scopes if principal.reach is None else scopes & principal.reach.scopes


def role_of(user: str, project: str, memory: Memory) -> Role | None:
    """What a person is to a project; an owner of the node owns every project."""
    person = memory.people.get(user)
    if person is None or person.disabled:
        return None
    return person.roles.get("") or person.roles.get(project)


def may(principal: Principal, scope: Scope, project: str, thing: str, name: str, memory: Memory, now_ns: int) -> bool:
    """Whether `principal` may do `scope` to the property `name` of `thing` of `project`.

    An empty name asks for all properties, an empty thing for all of the project.
    """
    if principal.kind is CredentialKind.THING:
        return principal.project == project and principal.thing == thing != "" and scope in _OF_THING
    if principal.reach is not None and not matches(thing, principal.reach.things):
        return False
    if scope in scopes_in(principal, project, memory):
        return True
    right = _RIGHTS.get(scope)
    return right is not None and any(
        grant.covers(thing, name) for grant in _granted(principal, right, project, memory, now_ns)
    )


def may_see(principal: Principal, project: str, thing: str, memory: Memory, now_ns: int) -> bool:
    """Whether `principal` may read anything of `thing`, or of `project` when `thing` is empty."""
    if principal.kind is CredentialKind.THING:
        return principal.project == project and thing in ("", principal.thing)
    if thing and principal.reach is not None and not matches(thing, principal.reach.things):
        return False
    if Scope.READ in scopes_in(principal, project, memory):
        return True
    grants = _granted(principal, Right.READ, project, memory, now_ns)
    return any(not thing or matches(thing, grant.things) for grant in grants)


def home_of(principal: Principal, project: str, memory: Memory) -> Principal:
    """The principal as one of `project`: for a person with a role there, what that role and the credential let it do.

    Others stay as they are, and so does a person without a role there.
    """
    if principal.kind is not CredentialKind.PERSON:
        return principal
    scopes = scopes_in(principal, project, memory)
    if not scopes or principal.reach is None:
        return principal
    kind = CredentialKind.VIEWER if scopes == SCOPES_OF_ROLE[Role.VIEWER] else CredentialKind.OPERATOR
    reach = Reach(principal.reach.user, scopes, principal.reach.things)
    return Principal(project, kind, "", principal.credential_id, principal.expires_at, reach)


def _granted(principal: Principal, right: Right, project: str, memory: Memory, now_ns: int) -> Iterable[Grant]:
    """The grants of `project` by which `principal` has `right` now."""
    for own in _homes(principal, memory):
        grants = memory.grants.get(own, {}).get(project, ())
        if grants and right.scope in scopes_in(principal, own, memory):
            yield from (grant for grant in grants if grant.holds(right, now_ns))


def _homes(principal: Principal, memory: Memory) -> Iterable[str]:
    """The projects that `principal` belongs to."""
    if principal.project:
        return (principal.project,)
    person = memory.people.get(principal.user)
    return () if person is None else person.roles


_RIGHTS = {right.scope: right for right in Right}
