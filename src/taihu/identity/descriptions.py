"""Things registered by a Thing Description that others wrote, and the removal of things."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import msgspec

from taihu.identity import description_records, records
from taihu.identity.memory import ProjectMemory, Unknown
from taihu.identity.principal import Change, Event
from taihu.identity.registry import Exists, Registry, check_room
from taihu.kernel.errors import LimitError
from taihu.kernel.ids import check_name
from taihu.things.property import Property, Thing


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """A Thing Description as it was registered, without what the directory adds; times are UTC nanoseconds.

    `ttl_s` is how long after its last change it expires, where its producer said so.
    """

    document: bytes
    created_at: int = 0
    modified_at: int = 0
    expires_at: int | None = None
    ttl_s: float | None = None


Revision = tuple[Thing, Registered | None]
"""A thing, and its description where it was registered by one."""


class Descriptions(Registry):
    """The part of the directory that registers and removes things. `by` is who, for the audit."""

    _described_bytes: Counter[str] | None = None

    def registered(self, project: str, names: Iterable[str]) -> Mapping[str, Registered]:
        """The descriptions by which things were registered, by name; blocks."""
        with self._writing, self._store.transaction() as connection:
            found = description_records.load(connection, project, list(names))
        return {name: Registered(**fields) for name, fields in found.items()}

    def register(self, project: str, thing: Thing, registered: Registered | None, by: str = "") -> Thing:
        """Create a thing, by a description if one is given.

        Raises NameRefused, Exists, Unknown, and LimitError when the project has as many things or bytes as it may.
        """
        with self._writing:
            state = self._memory.project(project)
            if check_name(thing.name) in state.things or thing.registered_id in state.registered:
                raise Exists(f"There is a thing {project}/{thing.name} already.", "Take another name or identifier.")
            check_room(state, 1)
            now = self._clock.now_ns()
            thing = msgspec.structs.replace(thing, created_at=thing.created_at or now)
            self._store_revision(state, thing, _at(registered, now), 0, by, "thing registered")
        self._tell(Change(Event.THING, project, thing.name))
        return thing

    def revise(
        self, project: str, name: str, change: Callable[[Thing, Registered | None], Revision], by: str = ""
    ) -> Thing:
        """Give a thing another definition, whole, and another description where it was registered by one.

        `change` makes them of what there is. Its age, what was inferred from its traffic and the meters that a counter
        had before are kept. Raises what `change` raises, Unknown and LimitError.
        """
        with self._writing:
            state = self._memory.project(project)
            known = state.things.get(name)
            if known is None:
                raise Unknown(f"There is no thing {project}/{name}.", "List them with: taihu things")
            with self._store.transaction() as connection:
                found = description_records.load(connection, project, [name]).get(name)
            before = Registered(**found) if found else None
            thing, registered = change(known, before)
            now = self._clock.now_ns()
            if registered is not None:
                registered = msgspec.structs.replace(registered, created_at=before.created_at if before else now)
            size = len(before.document) if before else 0
            thing = self._store_revision(state, thing, _at(registered, now), size, by, "thing changed")
        self._tell(Change(Event.THING_CHANGED, project, name))
        return thing

    def remove_thing(self, project: str, name: str, by: str = "") -> None:
        """Take a thing out of the directory and revoke its credentials; its history is not touched. Raises Unknown."""
        with self._writing:
            state = self._memory.project(project)
            if name not in state.things:
                raise Unknown(f"There is no thing {project}/{name}.", "List them with: taihu things")
            self._bytes()
            with self._transaction() as connection:
                size = description_records.remove(connection, project, name)
                records.remove_thing(connection, project, name)
                revoked = records.revoke_of_thing(connection, project, name, self._clock.now_ns())
                self._note(connection, by, "thing removed", f"{project}/{name}", project)
            with self._changing:
                identifier = state.id_of(state.drop_thing(name))
                self._dirty_things.discard((project, name))
                claims = self._memory.claims.items()
                self._memory.claims = {key: one for key, one in claims if (one.project, one.thing) != (project, name)}
                for number, digest in revoked:
                    if digest in self._memory.principals:
                        self._memory.drop_principal(digest)
                    self._first_uses.pop(number, None)
            self._bytes()[project] -= size
        self._tell(
            Change(Event.THING_REMOVED, project, name, other=identifier),
            *(Change(Event.TOKEN_REVOKED, project, name, number) for number, _ in revoked),
        )

    def expired(self, now_ns: int) -> list[tuple[str, str]]:
        """The things, as (project, name), whose registration ended before `now_ns`; blocks."""
        with self._writing, self._store.transaction() as connection:
            return description_records.expired(connection, now_ns)

    def _store_revision(
        self, state: ProjectMemory, thing: Thing, registered: Registered | None, size: int, by: str, what: str
    ) -> Thing:
        """Make a thing durable with its description, whose size was `size`, and then known."""
        project = state.project.name
        thing = _kept(state, thing)
        count, limits = len(thing.properties), state.limits
        if count > limits.properties_per_thing_max:
            raise LimitError(f"{thing.name} has {count} properties.", "Raise [limits] properties_per_thing_max.")
        grown = (len(registered.document) if registered else 0) - size
        if grown > 0 and self._bytes()[project] + grown > limits.descriptions_bytes_per_project_max:
            raise LimitError(
                f"All descriptions of {project} may have {limits.descriptions_bytes_per_project_max} bytes.",
                "Remove some, or raise [limits] descriptions_bytes_per_project_max.",
            )
        with self._transaction() as connection:
            records.put_things(connection, [(project, thing)])
            if registered is not None:
                fields = msgspec.structs.asdict(registered)
                description_records.put(connection, project, thing.name, fields)
            self._note(connection, by, what, f"{project}/{thing.name}", project)
        with self._changing:
            thing = _kept(state, thing)
            state.put_thing(thing)
        self._bytes()[project] += grown
        return thing

    def _bytes(self) -> Counter[str]:
        """The bytes of all descriptions of each project."""
        if self._described_bytes is None:
            with self._store.transaction() as connection:
                self._described_bytes = Counter(description_records.sizes(connection))
        return self._described_bytes


def _at(registered: Registered | None, now_ns: int) -> Registered | None:
    """The description as changed now."""
    if registered is None:
        return None
    return msgspec.structs.replace(registered, created_at=registered.created_at or now_ns, modified_at=now_ns)


def _kept(state: ProjectMemory, thing: Thing) -> Thing:
    """The thing with what no description says: what was inferred meanwhile, and the meters of before."""
    known = state.things.get(thing.name)
    before: Mapping[str, Property] = state.definitions(thing.name) or {}
    own = known.properties if known else {}
    properties = {name: one for name, one in own.items() if one.inferred} | thing.properties
    for name, definition in properties.items():
        swaps = before[name].swaps if name in before else ()
        if swaps and definition.kind is before[name].kind:
            properties[name] = msgspec.structs.replace(definition, swaps=swaps)
    actions = known.actions if known else thing.actions
    return msgspec.structs.replace(thing, properties=state.share(properties), actions=actions)
