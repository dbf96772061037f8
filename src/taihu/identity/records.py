"""Rows of the metadata store, and what they stand for."""

from collections.abc import Iterator, Mapping, Sequence
from sqlite3 import Connection
from typing import Any

import msgspec

from taihu.identity.grant import Grant
from taihu.identity.join import Joined
from taihu.identity.principal import ALL_SCOPES, Credential, CredentialKind, Principal, Project, Reach, Scope
from taihu.identity.rows import as_dicts, delete, insert, select, update, value
from taihu.kernel.ids import token_hash
from taihu.things.property import Property, Thing, ThingModel

_properties = msgspec.json.Decoder(dict[str, Property])
_labels = msgspec.json.Decoder(tuple[tuple[str, ...], tuple[str, ...]])
_actions = msgspec.json.Decoder(dict[str, dict[str, Any]])
_NO_ACTIONS = b"{}"
_reaches = msgspec.json.Decoder(tuple[frozenset[Scope], tuple[str, ...]])
_json = msgspec.json.Encoder().encode
_PATTERNS = ("rights", "things", "properties")
_ALL_THINGS = (
    "SELECT project, name, model, title, delta, site, building, parent, role, labels, inferred, created_at,"
    " commissioned_at, registered_id, actions FROM things"
)
_LIVE = {"revoked_at": None}


def load_projects(connection: Connection) -> list[Project]:
    """All projects."""
    found = as_dicts(connection.execute("SELECT * FROM projects"))
    return [Project(**row | {"limits": msgspec.json.decode(row["limits"])}) for row in found]


def load_models(connection: Connection) -> Iterator[tuple[str, ThingModel]]:
    """All models with their projects, older versions of a name before newer ones."""
    query = "SELECT project, name, version, title, properties, document FROM models ORDER BY created_at"
    for project, name, version, title, properties, document in connection.execute(query).fetchall():
        definitions = _properties.decode(properties)
        yield project, ThingModel(name=name, title=title, version=version, properties=definitions, document=document)


def load_things(connection: Connection) -> Iterator[tuple[str, Thing]]:
    """All things with their projects. Things with equal deltas share one dict of properties."""
    deltas: dict[bytes, dict[str, Property]] = {}
    shared: dict[str, str] = {}
    labels: dict[bytes, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    for row in connection.execute(_ALL_THINGS).fetchall():
        (
            project,
            name,
            model,
            title,
            delta,
            site,
            building,
            parent,
            role,
            label,
            inferred,
            created_at,
            commissioned_at,
            registered_id,
            actions,
        ) = row
        if (properties := deltas.get(delta)) is None:
            properties = deltas[delta] = _properties.decode(delta)
        if (pair := labels.get(label)) is None:
            pair = labels[label] = _labels.decode(label)
        yield (
            project,
            Thing(
                name=name,
                model=shared.setdefault(model, model),
                title=title,
                properties=properties,
                site=shared.setdefault(site, site),
                building=shared.setdefault(building, building),
                parent=shared.setdefault(parent, parent),
                role=shared.setdefault(role, role),
                tags=pair[0],
                groups=pair[1],
                inferred=bool(inferred),
                created_at=created_at,
                commissioned_at=commissioned_at,
                registered_id=registered_id,
                actions=_actions.decode(actions) if actions != _NO_ACTIONS else {},
            ),
        )


def load_grants(connection: Connection) -> list[Grant]:
    """All grants."""
    found = as_dicts(connection.execute("SELECT * FROM grants"))
    return [msgspec.convert(row | {name: msgspec.json.decode(row[name]) for name in _PATTERNS}, Grant) for row in found]


def load_principals(connection: Connection) -> Iterator[tuple[bytes, Principal, bool]]:
    """All live credentials: the token's hash, whom it stands for, and whether it was ever used."""
    what = "token_hash, project, kind, thing, id, expires_at, first_used_at, user, reach FROM credentials"
    live = select(connection, what, _LIVE).fetchall()
    for digest, project, kind, thing, number, expires_at, used_at, user, reach in live:
        principal = Principal(project, CredentialKind(kind), thing, number, expires_at, _reach(user, reach))
        yield digest, principal, used_at is not None


def load_credentials(connection: Connection, project: str | None, user: str | None, limit: int) -> list[Credential]:
    """Credentials of a project, of a person or of all, newest first."""
    key = {name: wanted for name, wanted in (("project", project), ("user", user)) if wanted is not None}
    found = []
    for fields in as_dicts(
        select(connection, "* FROM credentials", key, "ORDER BY created_at DESC, id LIMIT ?", limit)
    ):
        reach = _reach(fields["user"], fields.pop("reach"))
        if reach is not None:
            scopes = () if reach.scopes == ALL_SCOPES else tuple(scope for scope in Scope if scope in reach.scopes)
            fields |= {"scopes": scopes, "things": reach.things}
        found.append(msgspec.convert(fields, Credential, strict=False))
    return found


def put_project(connection: Connection, project: Project, *, new: bool) -> None:
    """Insert a project, or update one that there is."""
    row = {
        "name": project.name,
        "title": project.title,
        "timezone": project.timezone,
        "limits": _json(project.limits),
        "created_at": project.created_at,
    }
    if new:
        insert(connection, "projects", [row])
    else:
        update(connection, "projects", {"name": project.name}, row)


def put_model(connection: Connection, project: str, model: ThingModel, now_ns: int) -> None:
    """Insert a model's version, or replace it; it is the newest from now on."""
    key = {"project": project, "name": model.name, "version": model.version}
    fields = {"title": model.title, "properties": _json(model.properties), "document": model.document}
    delete(connection, "models", key)
    insert(connection, "models", [key | fields | {"created_at": now_ns}])


def put_things(connection: Connection, found: Sequence[tuple[str, Thing]]) -> None:
    """Insert things, or replace them whole."""
    here = [(project, thing.name) for project, thing in found]
    connection.executemany("DELETE FROM things WHERE project = ? AND name = ?", here)
    insert(connection, "things", [_thing_row(project, thing) for project, thing in found])


def remove_thing(connection: Connection, project: str, name: str) -> None:
    """Delete a thing, and the codes by which it would enrol."""
    delete(connection, "codes", {"project": project, "thing": name})
    delete(connection, "things", {"project": project, "name": name})


def mark_used(connection: Connection, uses: Mapping[str, int]) -> None:
    """Store when credentials were first used, by id."""
    query = "UPDATE credentials SET first_used_at = ? WHERE id = ?"
    connection.executemany(query, [(at, number) for number, at in uses.items()])


def add_credential(
    connection: Connection,
    principal: Principal,
    digest: bytes,
    now_ns: int,
    label: str,
    limits: Mapping[str, int],
    issued_by: str = "",
) -> None:
    """Insert a credential somebody issued; `issued_by` is the credential that made it, where one did."""
    row = _credential_row(principal, digest, now_ns)
    row |= {"label": label, "limits": _json(limits), "issued_by": issued_by}
    insert(connection, "credentials", [row])


def add_credentials(connection: Connection, found: Sequence[tuple[bytes, Principal]], now_ns: int, label: str) -> None:
    """Insert many credentials at once, by the hashes of their tokens."""
    rows = [_credential_row(principal, digest, now_ns) | {"label": label} for digest, principal in found]
    insert(connection, "credentials", rows)


def add_joined(connection: Connection, joined: Sequence[Joined], now_ns: int) -> None:
    """Store the new things and tokens of devices that joined."""
    put_things(connection, [(one.project, one.thing) for one in joined if one.new])
    fresh = []
    for one in joined:
        principal = Principal(one.project, CredentialKind.THING, one.thing.name, one.credential_id)
        row = _credential_row(principal, token_hash(one.token), now_ns) | {"issued_by": one.issued_by}
        if one.replaces:
            update(connection, "credentials", {"id": one.credential_id}, row)
        else:
            fresh.append(row)
    insert(connection, "credentials", fresh)


def revoke(connection: Connection, number: str, project: str | None, user: str | None, now_ns: int) -> bytes | None:
    """Revoke a live credential and return its token's hash; None when there is none of that id (in `project`)."""
    of = {name: wanted for name, wanted in (("project", project), ("user", user)) if wanted is not None}
    digest: bytes | None = value(select(connection, "token_hash FROM credentials", {"id": number} | of | _LIVE))
    if digest is not None:
        update(connection, "credentials", {"id": number}, {"revoked_at": now_ns})
    return digest


def revoke_of_thing(connection: Connection, project: str, thing: str, now_ns: int) -> list[tuple[str, bytes]]:
    """Revoke all live credentials of a thing; returns their ids and their tokens' hashes."""
    live = {"project": project, "thing": thing} | _LIVE
    found: list[tuple[str, bytes]] = select(connection, "id, token_hash FROM credentials", live).fetchall()
    update(connection, "credentials", live, {"revoked_at": now_ns})
    return found


def put_grant(connection: Connection, grant: Grant) -> None:
    """Insert a grant, or replace the one of its id."""
    remove_grant(connection, grant.id)
    row = msgspec.structs.asdict(grant)
    insert(connection, "grants", [row | {name: _json(row[name]) for name in _PATTERNS}])


def remove_grant(connection: Connection, number: str) -> None:
    """Delete a grant."""
    delete(connection, "grants", {"id": number})


def _credential_row(principal: Principal, digest: bytes, now_ns: int) -> dict[str, Any]:
    return {
        "id": principal.credential_id,
        "kind": str(principal.kind),
        "project": principal.project,
        "thing": principal.thing,
        "token_hash": digest,
        "label": "",
        "issued_by": "",
        "limits": b"{}",
        "created_at": now_ns,
        "expires_at": principal.expires_at,
        "revoked_at": None,
        "first_used_at": None,
        "user": principal.user,
        "reach": b"" if principal.reach is None else _json((sorted(principal.reach.scopes), principal.reach.things)),
    }


def _reach(user: str, stored: bytes) -> Reach | None:
    if not stored:
        return None
    scopes, patterns = _reaches.decode(stored)
    return Reach(user, scopes, patterns)


def _thing_row(project: str, thing: Thing) -> dict[str, Any]:
    """A thing as a row of `things`."""
    return {
        "project": project,
        "name": thing.name,
        "model": thing.model,
        "title": thing.title,
        "delta": _json(thing.properties),
        "site": thing.site,
        "building": thing.building,
        "parent": thing.parent,
        "role": thing.role,
        "labels": _json((thing.tags, thing.groups)),
        "inferred": thing.inferred,
        "created_at": thing.created_at,
        "commissioned_at": thing.commissioned_at,
        "registered_id": thing.registered_id,
        "actions": _json(thing.actions),
    }
