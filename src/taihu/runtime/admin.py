"""Administration over the API: projects, things, tokens, grants and definitions, each only for who may."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from taihu.identity.directory import Directory
from taihu.identity.principal import CredentialKind, Principal, Project
from taihu.kernel.errors import RefusedError
from taihu.things.definition import check_definition
from taihu.things.property import Kind, Property, Swap, Thing

Action = Callable[[Directory, Principal, Mapping[str, Any]], Any]


class ActionRefused(RefusedError):
    """The caller may not do this, or there is no such action: the message says which."""

    code = "admin"


def administer(directory: Directory, principal: Principal, action: str, arguments: Mapping[str, Any]) -> Any:
    """Do one action; blocks for a disk sync. Raises ActionRefused and what the directory raises."""
    known = ACTIONS.get(action)
    if known is None:
        raise ActionRefused(f"There is no action {action[:80]!r}.", f"There are: {', '.join(sorted(ACTIONS))}.")
    try:
        return known(directory, principal, arguments)
    except KeyError as error:
        raise ActionRefused(f"The action {action} needs {error.args[0]!r}.", "Add it to the body.") from None
    except msgspec.ValidationError as error:
        raise ActionRefused(f"{error}.", "Correct the body.") from None


def _own(directory: Directory, principal: Principal, project: str) -> None:
    if not directory.may_administer(principal, project):
        raise ActionRefused(f"This token may not administer project {project[:80]!r}.", "Use one of its operators.")


def _project_create(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    if principal.kind is not CredentialKind.ADMIN:
        raise ActionRefused("Only the node's owner creates projects.", "Use the token in data/admin.token.")
    wanted = msgspec.convert(dict(arguments), Project)
    return msgspec.to_builtins(directory.create_project(wanted, principal.credential_id))


def _thing_create(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    project = str(arguments["project"])
    _own(directory, principal, project)
    wanted = msgspec.convert({name: value for name, value in arguments.items() if name != "project"}, Thing)
    return msgspec.to_builtins(directory.create_thing(project, wanted, principal.credential_id))


def _property_declare(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    project = str(arguments["project"])
    _own(directory, principal, project)
    definition = check_definition(msgspec.convert(arguments["property"], Property))
    directory.declare_property(project, str(arguments["thing"]), definition, principal.credential_id)
    return {"declared": definition.name}


def _meter_swap(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    """A counter's meter was replaced: its history goes on as one."""
    project, thing, name = (str(arguments[part]) for part in ("project", "thing", "property"))
    _own(directory, principal, project)
    definition = (directory.definitions(project, thing) or {}).get(name)
    if definition is None or definition.kind is not Kind.COUNTER:
        raise ActionRefused(f"There is no counter {thing[:80]}/{name[:80]}.", "Declare it as a counter first.")
    wanted = {part: arguments[part] for part in ("at", "old_final", "new_initial")}
    swap = msgspec.convert(wanted, Swap)
    swaps = tuple(sorted({*definition.swaps, swap}, key=lambda one: one.at))
    changed = msgspec.structs.replace(definition, swaps=swaps)
    directory.declare_property(project, thing, changed, principal.credential_id)
    return {"swaps": len(swaps)}


def _token_issue(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    project = str(arguments["project"])
    _own(directory, principal, project)
    kind = msgspec.convert(arguments.get("kind", "thing"), CredentialKind)
    if kind is CredentialKind.ADMIN:
        raise ActionRefused("An admin token is not issued here.", "The node makes its own at first start.")
    number, token = directory.issue_token(
        kind,
        project,
        thing=str(arguments.get("thing", "")),
        label=str(arguments.get("label", "")),
        expires_at=msgspec.convert(arguments.get("expires_at"), int | None),
        limits=msgspec.convert(arguments.get("limits"), dict[str, int] | None),
        by=principal.credential_id,
    )
    return {"id": number, "token": token}


def _token_list(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    project = str(arguments["project"])
    _own(directory, principal, project)
    return {"tokens": msgspec.to_builtins(directory.credentials(project))}


def _token_revoke(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    project, number = str(arguments["project"]), str(arguments["id"])
    _own(directory, principal, project)
    directory.revoke(number, principal.credential_id, project)
    return {"revoked": number}


def _grant_add(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    source = str(arguments["from"])
    _own(directory, principal, source)
    directory.grant(
        source,
        str(arguments["to"]),
        msgspec.convert(arguments.get("rights", ("read",)), tuple[str, ...]),
        msgspec.convert(arguments.get("things", ()), tuple[str, ...]),
        principal.credential_id,
    )
    return {"granted": f"{source} to {arguments['to']}"}


def _grant_list(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    return {
        "grants": [
            msgspec.to_builtins(grant)
            for grant in directory.grants()
            if directory.may_administer(principal, grant.from_project)
            or directory.may_administer(principal, grant.to_project)
        ]
    }


def _grant_remove(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    source = str(arguments["from"])
    _own(directory, principal, source)
    directory.revoke_grant(source, str(arguments["to"]), principal.credential_id)
    return {"removed": f"{source} to {arguments['to']}"}


ACTIONS: dict[str, Action] = {
    "project-create": _project_create,
    "thing-create": _thing_create,
    "property-declare": _property_declare,
    "meter-swap": _meter_swap,
    "token-issue": _token_issue,
    "token-list": _token_list,
    "token-revoke": _token_revoke,
    "grant-add": _grant_add,
    "grant-list": _grant_list,
    "grant-remove": _grant_remove,
}
