"""What the directory answers from: dicts that are only ever changed by single assignments.

Readers on the event loop take no lock: each read sees the value before a change or the value after it. Changes that
depend on the present value are made by the directory under its own lock.
"""

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Mapping

import msgspec

from taihu.identity.codes import Code
from taihu.identity.grant import Grant
from taihu.identity.person import Person, Session
from taihu.identity.principal import Principal, Project
from taihu.kernel.errors import RefusedError
from taihu.kernel.limits import Limits
from taihu.things.forms import thing_id
from taihu.things.property import Property, Thing, ThingModel

_SHARED_MAX = 10_000


class Unknown(RefusedError):
    """There is no such project, thing, credential, grant, person or session: check the name."""

    code = "unknown"


class ProjectMemory:
    """One project's models and things."""

    __slots__ = ("_ids", "_merged", "_names", "_shared", "limits", "models", "project", "registered", "things")

    def __init__(self, project: Project, limits: Limits) -> None:
        self.project = project
        self.limits = msgspec.structs.replace(limits, **project.limits)
        self.models: dict[str, ThingModel] = {}
        self.things: dict[str, Thing] = {}
        self.registered: dict[str, str] = {}  # the names of things by the identifier they were registered under
        self._merged: dict[str, dict[str, Property]] = {}
        self._shared: dict[bytes, dict[str, Property]] = {}
        self._names: list[str] | None = None
        self._ids: list[str] | None = None

    def definitions(self, name: str) -> Mapping[str, Property] | None:
        """The properties of a thing: its model's and its own; None when there is no such thing."""
        merged = self._merged.get(name)
        if merged is not None:
            return merged
        thing = self.things.get(name)
        if thing is None:
            return None
        model = self.models.get(thing.model)
        return model.properties if model else thing.properties

    def put_thing(self, thing: Thing) -> None:
        """Add or replace a thing."""
        if thing.properties and thing.model in self.models:
            self._merged[thing.name] = self._merge(thing)
        else:
            self._merged.pop(thing.name, None)
        new = thing.name not in self.things
        self.things[thing.name] = thing
        if thing.registered_id:
            self.registered[thing.registered_id] = thing.name
        if new:
            self._names = None
            if (ids := self._ids) is not None:
                insort(ids, self.id_of(thing))

    def drop_thing(self, name: str) -> Thing:
        """Forget a thing."""
        thing = self.things.pop(name)
        self._merged.pop(name, None)
        self.registered.pop(thing.registered_id, None)
        self._names = None
        ids, gone = self._ids or [], self.id_of(thing)
        place = bisect_left(ids, gone)
        if ids[place : place + 1] == [gone]:
            del ids[place]
        return thing

    def id_of(self, thing: Thing) -> str:
        """The identifier in a thing's description."""
        return thing.registered_id or thing_id(self.project.name, thing.name)

    def ids(self) -> list[str]:
        """The identifiers of all things, by code point; it grows and shrinks with them, and is not to be changed."""
        if self._ids is None or len(self._ids) != len(self.things):
            self._ids = sorted(map(self.id_of, list(self.things.values())))
        return self._ids

    def put_model(self, model: ThingModel) -> None:
        """Add or replace a model, and with it the definitions of its things."""
        self.models[model.name] = model
        for thing in list(self.things.values()):
            if thing.model == model.name and thing.properties:
                self._merged[thing.name] = self._merge(thing)

    def share(self, properties: dict[str, Property]) -> dict[str, Property]:
        """The one dict that all things with equal properties hold; nobody changes it."""
        key = msgspec.json.encode(properties)
        shared = self._shared.get(key)
        if shared is None:
            if len(self._shared) >= _SHARED_MAX:
                self._shared.clear()
            shared = self._shared[key] = properties
        return shared

    def page(self, cursor: str, limit: int) -> list[Thing]:
        """At most `limit` things whose names come after `cursor`, by name."""
        names = self._names
        if names is None:
            names = self._names = sorted(self.things)
        start = bisect_right(names, cursor) if cursor else 0
        found = [self.things.get(name) for name in names[start : start + limit]]
        return [thing for thing in found if thing is not None]

    def _merge(self, thing: Thing) -> dict[str, Property]:
        return self.share({**self.models[thing.model].properties, **thing.properties})


class Memory:
    """All projects, principals, people, sessions and grants.

    Principals and sessions are found by the digest of their secret, never by the secret itself; `grants` by the project
    that uses them, and then by the one that gives them.
    """

    def __init__(self, limits: Limits) -> None:
        self.default_limits = limits
        self.projects: dict[str, ProjectMemory] = {}
        self.principals: dict[bytes, Principal] = {}
        self.unused: set[bytes] = set()
        self.grants: dict[str, dict[str, tuple[Grant, ...]]] = {}
        self.people: dict[str, Person] = {}
        self.claims: dict[bytes, Code] = {}
        self.attempts: dict[str, deque[int]] = {}
        self.sessions: dict[bytes, Session] = {}

    def project(self, name: str) -> ProjectMemory:
        """A project's memory; raises Unknown."""
        try:
            return self.projects[name]
        except KeyError:
            raise Unknown(f"There is no project {name!r}.", "List them with: taihu project list") from None

    def put_project(self, project: Project) -> None:
        """Add a project, or replace its own fields and keep what it owns."""
        fresh = ProjectMemory(project, self.default_limits)
        if known := self.projects.get(project.name):
            known.limits, known.project = fresh.limits, project
        else:
            self.projects[project.name] = fresh

    def drop_project(self, name: str) -> None:
        """Forget a project, and the grants it gives and uses."""
        self.projects.pop(name, None)
        self.grants.pop(name, None)
        for user, given in list(self.grants.items()):
            self.grants[user] = {source: rest for source, rest in given.items() if source != name}

    def put_principal(self, digest: bytes, principal: Principal) -> None:
        """Add a principal whose token was never used."""
        self.unused.add(digest)
        self.principals[digest] = principal

    def drop_principal(self, digest: bytes) -> Principal:
        """Forget a principal."""
        self.unused.discard(digest)
        return self.principals.pop(digest)

    def move(self, project: str, thing: str, to_project: str, name: str) -> list[str]:
        """Let what opens a thing open another; returns the ids of those credentials."""
        found = {
            digest: one
            for digest, one in list(self.principals.items())
            if (one.project, one.thing) == (project, thing) and thing
        }
        for digest, one in found.items():
            self.principals[digest] = msgspec.structs.replace(one, project=to_project, thing=name)
        return [one.credential_id for one in found.values()]

    def put_grant(self, grant: Grant) -> None:
        """Add a grant, or replace the one of its id."""
        self._put_grants(grant, (grant,))

    def drop_grant(self, grant: Grant) -> None:
        """Forget a grant."""
        self._put_grants(grant, ())

    def _put_grants(self, old: Grant, new: tuple[Grant, ...]) -> None:
        given = dict(self.grants.get(old.to_project, {}))
        rest = tuple(grant for grant in given.pop(old.from_project, ()) if grant.id != old.id) + new
        self.grants[old.to_project] = given | ({old.from_project: rest} if rest else {})
