"""People, their sessions and their own tokens over the API. What concerns an account itself takes a session."""

from collections.abc import Mapping
from typing import Any

import msgspec

from taihu.identity.directory import Directory
from taihu.identity.person import Person, Session
from taihu.identity.principal import ALL_SCOPES, CredentialKind, Principal, Role, Scope
from taihu.kernel.clock import NS_PER_S
from taihu.runtime.actions import Action, ActionRefused, own, own_node


class _Fresh(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body that adds somebody: `roles` by project, `owner` of the node; `password`, or `link` for a one-time code.

    With `issuer` and `subject` they sign in there.
    """

    name: str
    title: str = ""
    roles: dict[str, Role] = {}
    owner: bool = False
    password: str = ""
    link: bool = False
    issuer: str = ""
    subject: str = ""


class _Personal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a token of one's own; `user` is for an owner of the node alone."""

    user: str = ""
    project: str = ""
    scopes: tuple[Scope, ...] = ()
    things: tuple[str, ...] = ()
    label: str = ""
    expires_at: int | None = None


def _user_add(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    _own_people(directory, principal)
    wanted = msgspec.convert(dict(arguments), _Fresh)
    roles = wanted.roles | ({"": Role.OWNER} if wanted.owner else {})
    person = Person(name=wanted.name, title=wanted.title, roles=roles, issuer=wanted.issuer, subject=wanted.subject)
    hashed = directory.passwords.hash(wanted.name, wanted.password) if wanted.password else ""
    shown = _shown(directory.add_person(person, principal.who, hashed))
    return shown | (_link(directory, principal, wanted.name) if wanted.link else {})


def _user_list(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    """All people for an owner of the node; for one of a project those with a role there, and that role alone."""
    project = str(arguments.get("project", ""))
    if not project:
        own_node(directory, principal)
        return {"users": [_shown(person) for person in directory.people()]}
    own(directory, principal, project)
    directory.limits(project)  # raises Unknown: no project is not one without people
    people = [(person, person.roles.get(project)) for person in directory.people()]
    return {
        "users": [
            {"name": person.name, "title": person.title, "roles": {project: role}, "disabled": person.disabled}
            for person, role in people
            if role
        ]
    }


def _user_change(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    _own_people(directory, principal)
    title = msgspec.convert(arguments.get("title"), str | None)
    disabled = msgspec.convert(arguments.get("disabled"), bool | None)
    return _shown(directory.change_person(str(arguments["name"]), principal.who, title=title, disabled=disabled))


def _user_role(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    """An owner of a project gives its roles, an owner of the node every role."""
    name, project = str(arguments["name"]), str(arguments.get("project", ""))
    role = msgspec.convert(arguments["role"], Role | None)
    if project:
        own(directory, principal, project)
        _check_unlimited(principal)
    else:
        _own_people(directory, principal)
    person = directory.change_person(name, principal.who, roles={project: role})
    return {"name": name, "project": project, "role": person.roles.get(project)}


def _user_remove(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    _own_people(directory, principal)
    name = str(arguments["name"])
    directory.remove_person(name, principal.who)
    return {"removed": name}


def _user_password(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    _own_people(directory, principal)
    name = str(arguments["name"])
    hashed = directory.passwords.hash(name, msgspec.convert(arguments["password"], str))
    directory.set_password(name, hashed, principal.who)
    return {"changed": name}


def _user_link(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    _own_people(directory, principal)
    return _link(directory, principal, str(arguments["name"]))


def _session_list(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    user = str(arguments.get("user", ""))
    if user or arguments.get("all"):
        own_node(directory, principal)
    else:
        user = _session_of(directory, principal)
    found = directory.sessions(None if arguments.get("all") else user)
    return {"sessions": [_session(one, principal) for one in found]}


def _session_end(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    """End a session of one's own by its id; an owner of the node ends any, and all of a `user`."""
    number, user = str(arguments.get("id", "")), str(arguments.get("user", ""))
    if not (number or user):
        raise ActionRefused("Which session?", "Say its id, or whose.")
    if not directory.may_administer(principal, ""):
        if user not in ("", principal.user):
            raise ActionRefused("These are somebody else's sessions.", "Ask an owner of the node.")
        user = _session_of(directory, principal)
    ended = directory.end_sessions(principal.who, user=user, number=number)
    return {"ended": [one.id for one in ended]}


def _token_personal(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    """A token that does what its person may, as far as its scopes and things go."""
    wanted = msgspec.convert(dict(arguments), _Personal)
    if wanted.user and wanted.user != principal.user:
        _own_people(directory, principal)
    else:
        _session_of(directory, principal)
    number, token = directory.issue_token(
        CredentialKind.PERSON,
        wanted.project,
        user=wanted.user or principal.user,
        scopes=wanted.scopes,
        things=wanted.things,
        label=wanted.label,
        expires_at=wanted.expires_at,
        by=principal.who,
    )
    return {"id": number, "token": token}


def _token_own(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    return {"tokens": msgspec.to_builtins(directory.credentials(user=_session_of(directory, principal)))}


def _token_drop(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    number = str(arguments["id"])
    directory.revoke(number, principal.who, user=_session_of(directory, principal))
    return {"revoked": number}


def _own_people(directory: Directory, principal: Principal) -> None:
    """Who makes people could make one that may more than oneself: that takes all an owner of the node may."""
    own_node(directory, principal)
    _check_unlimited(principal)


def _check_unlimited(principal: Principal) -> None:
    reach = principal.reach
    limited = reach is not None and (reach.scopes != ALL_SCOPES or reach.things or principal.project)
    if limited or principal.kind is CredentialKind.OPERATOR:
        raise ActionRefused("People are changed by people, and by the owner of the node.", "Sign in as an owner.")


def _session_of(directory: Directory, principal: Principal) -> str:
    """The person who is signed in; what concerns an account itself is not for its tokens."""
    if directory.session(principal.credential_id) is None:
        raise ActionRefused("This takes a session, not a token.", "Sign in, and do it from there.")
    return principal.user


def _link(directory: Directory, principal: Principal, name: str) -> dict[str, Any]:
    ends = directory.now_ns() + directory.node_limits.invite_lifetime_s * NS_PER_S
    number, code = directory.issue_token(CredentialKind.INVITE, "", user=name, expires_at=ends, by=principal.who)
    return {"id": number, "code": code, "expires_at": ends}


def _shown(person: Person) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(person)
    return shown | {"owner": person.owns_node}


def _session(session: Session, principal: Principal) -> dict[str, Any]:
    return msgspec.structs.asdict(session) | {"here": session.id == principal.credential_id}


ACTIONS: dict[str, Action] = {
    "user-add": _user_add,
    "user-list": _user_list,
    "user-change": _user_change,
    "user-role": _user_role,
    "user-remove": _user_remove,
    "user-password": _user_password,
    "user-link": _user_link,
    "session-list": _session_list,
    "session-end": _session_end,
    "token-personal": _token_personal,
    "token-own": _token_own,
    "token-drop": _token_drop,
}
