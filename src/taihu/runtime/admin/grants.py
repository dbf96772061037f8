"""Grants over the API: either side proposes, the other accepts, both see them and either ends them (§11)."""

from collections.abc import Mapping
from typing import Any

import msgspec

from taihu.identity.directory import Directory
from taihu.identity.grant import Grant, Right
from taihu.identity.principal import Principal
from taihu.runtime.actions import Action, ActionRefused, gives, own


class _Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"source": "from"}):
    """The body of a proposal; times are UTC nanoseconds."""

    source: str
    to: str
    rights: tuple[Right, ...] = (Right.READ,)
    things: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()
    begins_at: int = 0
    ends_at: int | None = None


def _grant_add(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    """Grant something of one's own project; it holds once the other side has accepted it."""
    wanted = _wanted(arguments)
    own(directory, principal, wanted.from_project)
    _gives(directory, principal, wanted)
    takes = directory.may_administer(principal, wanted.to_project)
    return _shown(directory, directory.propose(wanted, principal.who, gives=True, takes=takes))


def _grant_request(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    """Ask another project for something; it holds once that one has accepted."""
    wanted = _wanted(arguments)
    own(directory, principal, wanted.to_project)
    both = directory.may_administer(principal, wanted.from_project)
    if both:
        _gives(directory, principal, wanted)
    return _shown(directory, directory.propose(wanted, principal.who, gives=both, takes=True))


def _grant_accept(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    grant = _seen(directory, principal, str(arguments["id"]))
    giver = directory.may_administer(principal, grant.from_project)
    taker = directory.may_administer(principal, grant.to_project)
    if giver and not grant.given_at:
        _gives(directory, principal, grant)
    return _shown(directory, directory.accept_grant(grant.id, principal.who, gives=giver, takes=taker))


def _grant_list(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    return {"grants": [_shown(directory, grant) for grant in directory.grants() if _sees(directory, principal, grant)]}


def _grant_remove(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    """End one grant by its id, or all from one project to another; either side may."""
    if "id" in arguments:
        found = [_seen(directory, principal, str(arguments["id"]))]
    else:
        source, target = str(arguments["from"]), str(arguments["to"])
        found = [
            grant
            for grant in directory.grants_to(target)
            if grant.from_project == source and _sees(directory, principal, grant)
        ]
    if not found:
        raise ActionRefused("There is no such grant of a project you administer.", "List them with: taihu grant list")
    return {"removed": [directory.end_grant(grant.id, principal.who).id for grant in found]}


def _gives(directory: Directory, principal: Principal, grant: Grant) -> None:
    gives(directory, principal, grant.from_project, frozenset(right.scope for right in grant.rights))


def _wanted(arguments: Mapping[str, Any]) -> Grant:
    terms = msgspec.convert(dict(arguments), _Terms)
    fields = msgspec.structs.asdict(terms)
    return Grant(from_project=fields.pop("source"), to_project=fields.pop("to"), **fields)


def _sees(directory: Directory, principal: Principal, grant: Grant) -> bool:
    return any(directory.may_administer(principal, side) for side in (grant.from_project, grant.to_project))


def _seen(directory: Directory, principal: Principal, number: str) -> Grant:
    for grant in directory.grants():
        if grant.id == number and _sees(directory, principal, grant):
            return grant
    raise ActionRefused(f"There is no grant {number[:80]!r} of a project you administer.", "List them: grant-list.")


def _shown(directory: Directory, grant: Grant) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(grant)
    return shown | {"state": grant.state(directory.now_ns())}


ACTIONS: dict[str, Action] = {
    "grant-add": _grant_add,
    "grant-request": _grant_request,
    "grant-accept": _grant_accept,
    "grant-list": _grant_list,
    "grant-remove": _grant_remove,
}
