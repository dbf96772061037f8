"""Administration over the API: projects, things, tokens, grants and definitions, each only for who may."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from taihu.identity.directory import Directory
from taihu.identity.principal import ALL_SCOPES, CredentialKind, Principal, Project, Scope
from taihu.runtime.actions import Action, ActionRefused, gives, own, own_node
from taihu.runtime.admin import audit as admin_audit
from taihu.runtime.admin import grants as admin_grants
from taihu.runtime.admin import people as admin_people
from taihu.runtime.admin import things as admin_things
from taihu.runtime.serving import formulas
from taihu.things.definition import check_definition
from taihu.things.property import Kind, Property, Swap, Thing

_ISSUED = (CredentialKind.THING, CredentialKind.JOIN, CredentialKind.OPERATOR, CredentialKind.VIEWER)


def administer(
    directory: Directory,
    principal: Principal,
    action: str,
    arguments: Mapping[str, Any],
    more: Mapping[str, Action] = MappingProxyType({}),
) -> Any:
    """Do an action, of these or of `more`; blocks for a disk sync. Raises ActionRefused and what the directory does."""
    known = ACTIONS.get(action) or more.get(action)
    if known is None:
        there_are = ", ".join(sorted({*ACTIONS, *more}))
        raise ActionRefused(f"There is no action {action[:80]!r}.", f"There are: {there_are}.")
    try:
        return known(directory, principal, arguments)
    except KeyError as error:
        raise ActionRefused(f"The action {action} needs {error.args[0]!r}.", "Add it to the body.") from None
    except msgspec.ValidationError as error:
        raise ActionRefused(f"{error}.", "Correct the body.") from None


def _project_create(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    own_node(directory, principal)
    wanted = msgspec.convert(dict(arguments), Project)
    return msgspec.to_builtins(directory.create_project(wanted, principal.who))


def _thing_create(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    project = str(arguments["project"])
    own(directory, principal, project)
    given = {name: value for name, value in arguments.items() if name not in ("project", "registered_id", "actions")}
    wanted = msgspec.convert(given, Thing)
    for name, definition in wanted.properties.items():
        if check_definition(definition).name != name:
            raise ActionRefused(f"The property {name[:80]!r} calls itself {definition.name!r}.", "Give it one name.")
    return msgspec.to_builtins(directory.create_thing(project, wanted, principal.who))


def _property_declare(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    project = str(arguments["project"])
    own(directory, principal, project)
    definition = check_definition(msgspec.convert(arguments["property"], Property))
    thing = str(arguments["thing"])
    if definition.formula:
        known = directory.definitions(project, thing) or {}
        formulas.plan_of(directory, project, thing, definition, {**known, definition.name: definition})
    directory.declare_property(project, thing, definition, principal.who)
    return {"declared": definition.name}


def _meter_swap(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    """A counter's meter was replaced: its history goes on as one."""
    project, thing, name = (str(arguments[part]) for part in ("project", "thing", "property"))
    own(directory, principal, project)
    definition = (directory.definitions(project, thing) or {}).get(name)
    if definition is None or definition.kind is not Kind.COUNTER:
        raise ActionRefused(f"There is no counter {thing[:80]}/{name[:80]}.", "Declare it as a counter first.")
    wanted = {part: arguments[part] for part in ("at", "old_final", "new_initial")}
    swap = msgspec.convert(wanted, Swap)
    swaps = tuple(sorted({*definition.swaps, swap}, key=lambda one: one.at))
    changed = msgspec.structs.replace(definition, swaps=swaps)
    directory.declare_property(project, thing, changed, principal.who)
    return {"swaps": len(swaps)}


def _token_issue(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    project = str(arguments["project"])
    own(directory, principal, project)
    kind = msgspec.convert(arguments.get("kind", "thing"), CredentialKind)
    if kind not in _ISSUED:
        raise ActionRefused(f"A token of kind {kind} is not issued here.", f"Issue one of: {', '.join(_ISSUED)}.")
    scopes = msgspec.convert(arguments.get("scopes", ()), tuple[Scope, ...])
    things = msgspec.convert(arguments.get("things", ()), tuple[str, ...])
    gives(directory, principal, project, frozenset(scopes) or _scopes_of(kind, things))
    number, token = directory.issue_token(
        kind,
        project,
        thing=str(arguments.get("thing", "")),
        scopes=scopes,
        things=things,
        label=str(arguments.get("label", "")),
        expires_at=msgspec.convert(arguments.get("expires_at"), int | None),
        limits=msgspec.convert(arguments.get("limits"), dict[str, int] | None),
        by=principal.who,
    )
    return {"id": number, "token": token}


def _scopes_of(kind: CredentialKind, things: tuple[str, ...]) -> frozenset[Scope]:
    """What a token of a kind may be used for, when nothing else is said."""
    if kind is CredentialKind.VIEWER:
        return frozenset({Scope.READ})
    if kind is CredentialKind.OPERATOR and not things:
        return ALL_SCOPES
    return ALL_SCOPES - {Scope.ADMIN, Scope.COMMAND}


def _token_list(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    project = str(arguments["project"])
    own(directory, principal, project)
    directory.limits(project)  # raises Unknown: no project is not one without tokens
    return {"tokens": msgspec.to_builtins(directory.credentials(project))}


def _token_revoke(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    project, number = str(arguments["project"]), str(arguments["id"])
    own(directory, principal, project)
    directory.revoke(number, principal.who, project)
    return {"revoked": number}


ACTIONS: dict[str, Action] = {
    "project-create": _project_create,
    "thing-create": _thing_create,
    "property-declare": _property_declare,
    "meter-swap": _meter_swap,
    "token-issue": _token_issue,
    "token-list": _token_list,
    "token-revoke": _token_revoke,
    **admin_audit.ACTIONS,
    **admin_grants.ACTIONS,
    **admin_things.ACTIONS,
    **admin_people.ACTIONS,
    **formulas.ACTIONS,
}
