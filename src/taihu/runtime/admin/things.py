"""Administration of many things: provisioning, claims, and changes of all that meet some criteria."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Any

import msgspec

from taihu.identity.directory import Directory
from taihu.identity.principal import Principal
from taihu.identity.provisioning import Wanted
from taihu.kernel.clock import HOUR_NS
from taihu.kernel.errors import LimitError, RefusedError
from taihu.kernel.ids import check_name
from taihu.runtime.actions import Action, ActionRefused, own
from taihu.things.property import Thing
from taihu.things.structure import check_actions
from taihu.things.topology import Topology

_HOURS_MAX = 24 * 365
_SCALARS = ("title", "model", "site", "building", "parent", "role")
_LISTS = {"tag": "tags", "group": "groups"}
_CRITERIA = ("name", *_SCALARS, *_LISTS)


class ChangedMeanwhile(RefusedError):
    """Things changed since the preview was made: look at a new one."""

    code = "changed-meanwhile"


class ThingEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A thing to provision, with the SHA-256 of its secrets in hexadecimal."""

    name: str
    title: str = ""
    model: str = ""
    site: str = ""
    building: str = ""
    parent: str = ""
    role: str = ""
    tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    token_hash: str = ""
    enrolment_hash: str = ""
    claim_hash: str = ""


class Change(msgspec.Struct, frozen=True):
    """What one field of a thing is, and would be."""

    thing: str
    field: str
    before: str
    after: str


def provision(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    """Make things and the credentials whose hashes the caller sends."""
    project = str(arguments["project"])
    own(directory, principal, project)
    entries = msgspec.convert(arguments["things"], tuple[ThingEntry, ...])
    if len(entries) > directory.limits(project).provision_things_max:
        raise LimitError(f"{len(entries)} things are too many at once.", "Send fewer; taihu provision does.")
    known = {model.name for model in directory.models(project)}
    for entry in entries:
        if entry.model and entry.model not in known:
            raise ActionRefused(f"There is no model {entry.model[:80]!r} in {project}.", "Name it in site.toml first.")
    try:
        wanted = [_wanted(entry) for entry in entries]
    except ValueError:
        raise ActionRefused("A hash is not hexadecimal.", "Send the SHA-256 in hexadecimal.") from None
    expires_at = directory.now_ns() + _hours(arguments) * HOUR_NS
    things, tokens = directory.provision(project, wanted, expires_at, principal.who)
    return {"things": things, "tokens": tokens, "expires_at": expires_at}


def claim(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    """Move the thing that a code is for into the caller's project."""
    project = str(arguments["project"])
    own(directory, principal, project)
    moved = directory.claim(
        project,
        str(arguments["code"]),
        str(arguments.get("thing", "")),
        str(arguments.get("name", "")),
        principal.who,
    )
    return {"project": project, "thing": moved.name}


def edit(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    """Show what a change of many things would do; do it when it comes again with the id of that preview."""
    project = str(arguments["project"])
    own(directory, principal, project)
    where = _pairs(arguments.get("where"), "where", _CRITERIA)
    wanted = _pairs(arguments.get("set"), "set", (*_SCALARS, *_LISTS))
    added, removed = (_pairs(arguments.get(part), part, tuple(_LISTS)) for part in ("add", "remove"))
    if not (wanted or added or removed):
        raise ActionRefused("Nothing would change.", "Say what to set, add or remove.")
    things = directory.things(project, "", directory.thing_count(project))
    chosen = [thing for thing in things if all(_meets(thing, name, pattern) for name, pattern in where)]
    edited = [(thing, _edited(thing, wanted, added, removed)) for thing in chosen]
    edited = [(before, after) for before, after in edited if before != after]
    changes = [change for pair in edited for change in _changes(*pair)]
    preview = sha256(msgspec.json.encode((project, changes))).hexdigest()[:32]
    given = str(arguments.get("preview", ""))
    if given and given != preview:
        raise ChangedMeanwhile("Something changed since that preview.", "Ask for a new one, and look at it.")
    if given:
        names = {thing.name: thing for thing in things} | {after.name: after for _, after in edited}
        Topology(names.values())
        models = {model.name for model in directory.models(project)} | {""}
        for _, after in edited:
            if after.model not in models:
                raise ActionRefused(f"There is no model {after.model[:80]!r} in {project}.", "Name it in site.toml.")
        directory.put_things(project, [after for _, after in edited], principal.who)
    return {
        "preview": preview,
        "matched": len(chosen),
        "changed": len(edited),
        "applied": bool(given),
        "changes": [msgspec.to_builtins(change) for change in changes],
    }


def declare_actions(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    """Say what a thing can be told to do, as action affordances without forms: all of it, in the place of before."""
    project = str(arguments["project"])
    own(directory, principal, project)
    actions = msgspec.convert(arguments["actions"], dict[str, dict[str, Any]])
    check_actions(actions, directory.limits(project))
    for name in actions:
        check_name(name)
    directory.declare_actions(project, str(arguments["thing"]), actions, principal.who)
    return {"declared": sorted(actions)}


def _wanted(entry: ThingEntry) -> Wanted:
    fields = {name: getattr(entry, name) for name in ("name", *_SCALARS, "tags", "groups")}
    hashes = {name: bytes.fromhex(getattr(entry, name)) for name in ("token_hash", "enrolment_hash", "claim_hash")}
    return Wanted(thing=Thing(**fields), **hashes)


def _hours(arguments: Mapping[str, Any]) -> int:
    hours = arguments.get("hours", 24 * 7)
    if type(hours) is not int or not 1 <= hours <= _HOURS_MAX:
        raise ActionRefused(f"hours is not a number from 1 to {_HOURS_MAX}.", "Correct the body.")
    return hours


def _pairs(given: Any, part: str, names: Sequence[str]) -> list[tuple[str, str]]:
    pairs = msgspec.convert(given or [], list[tuple[str, str]])
    for name, _ in pairs:
        if name not in names:
            raise ActionRefused(f"{name[:40]!r} cannot stand in {part}.", f"Name one of: {', '.join(names)}.")
    return pairs


def _meets(thing: Thing, name: str, pattern: str) -> bool:
    values = getattr(thing, _LISTS[name]) if name in _LISTS else (getattr(thing, name),)
    return any(fnmatchcase(value, pattern) for value in values)


def _edited(
    thing: Thing, wanted: list[tuple[str, str]], added: list[tuple[str, str]], removed: list[tuple[str, str]]
) -> Thing:
    fields: dict[str, Any] = {name: value for name, value in wanted if name in _SCALARS}
    for name, field in _LISTS.items():
        values = list(getattr(thing, field))
        for other, text in wanted:
            values = [part.strip() for part in text.split(",") if part.strip()] if other == name else values
        values += [value for other, value in added if other == name and value not in values]
        gone = {value for other, value in removed if other == name}
        fields[field] = tuple(dict.fromkeys(value for value in values if value not in gone))
    return msgspec.structs.replace(thing, **fields)


def _changes(before: Thing, after: Thing) -> list[Change]:
    return [
        Change(before.name, field, _shown(getattr(before, field)), _shown(getattr(after, field)))
        for field in (*_SCALARS, *_LISTS.values())
        if getattr(before, field) != getattr(after, field)
    ]


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


ACTIONS: dict[str, Action] = {
    "things-provision": provision,
    "thing-claim": claim,
    "things-edit": edit,
    "actions-declare": declare_actions,
}
