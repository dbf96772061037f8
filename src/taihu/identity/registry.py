"""Projects, models, things and their properties: what is declared, and what is inferred from traffic."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from taihu.identity import records
from taihu.identity.memory import ProjectMemory, Unknown
from taihu.identity.principal import Change, Event, Project
from taihu.identity.writer import Writer
from taihu.kernel.errors import LimitError, RefusedError
from taihu.kernel.ids import check_name, check_project
from taihu.kernel.limits import Limits
from taihu.things.property import Property, Thing, ThingModel


class Exists(RefusedError):
    """There is one of that name already: take another name, or change that one."""

    code = "exists"


class Registry(Writer):
    """The part of the directory that changes projects, models and things. `by` is who, for the audit."""

    def create_project(self, project: Project, by: str = "") -> Project:
        """Create a project. Raises NameRefused, Exists, and RefusedError for a time zone or limit there is not."""
        with self._writing:
            if self.project(project.name):
                raise Exists(f"There is a project {project.name} already.", "Take another name.")
            return self._put_project(project, by)

    def put_project(self, project: Project, by: str = "") -> Project:
        """Create a project, or replace its title, time zone and limits; writes nothing when it is as given."""
        with self._writing:
            return self._put_project(project, by)

    def put_model(self, project: str, model: ThingModel, by: str = "") -> None:
        """Add a model, or the version of it that counts from now on; writes nothing when it counts already."""
        with self._writing:
            state = self._memory.project(project)
            if state.models.get(check_name(model.name)) == model:
                return
            with self._transaction() as connection:
                records.put_model(connection, project, model, self._clock.now_ns())
                self._note(connection, by, "model", f"{project}/{model.name} version {model.version}", project)
            with self._changing:
                state.put_model(model)
        self._tell(Change(Event.MODEL, project, model.name))

    def create_thing(self, project: str, thing: Thing, by: str = "") -> Thing:
        """Create one thing; see `create_things`."""
        return self.create_things(project, [thing], by)[0]

    def create_things(self, project: str, things: Sequence[Thing], by: str = "") -> list[Thing]:
        """Create things in one transaction, all or none. Raises NameRefused, Exists, Unknown and LimitError."""
        with self._writing:
            known = self._memory.project(project).things
            for thing in things:
                if thing.name in known:
                    raise Exists(f"There is a thing {project}/{thing.name} already.", "Take another name.")
            return self._put_things(project, things, by)

    def put_things(self, project: str, things: Sequence[Thing], by: str = "") -> list[Thing]:
        """Create things, or give them another model, title and place; writes only what differs.

        A thing that exists keeps what was declared or inferred for it beside the properties given. Raises as
        `create_things`, except Exists.
        """
        with self._writing:
            return self._put_things(project, things, by)

    def adopt_thing(self, project: str, name: str) -> Thing:
        """Register a thing that another speaks for, as a gateway does; in memory at once, stored by `flush`.

        A thing that exists is returned as it is. Raises NameRefused, Unknown and LimitError.
        """
        with self._changing:
            state = self._memory.project(project)
            if known := state.things.get(check_name(name)):
                return known
            check_room(state, 1)
            thing = Thing(name=name, inferred=True, created_at=self._clock.now_ns())
            state.put_thing(thing)
            self._dirty_things.add((project, name))
        self._tell(Change(Event.THING, project, name))
        return thing

    def declare_property(self, project: str, thing: str, definition: Property, by: str = "") -> None:
        """Define or replace a property of a thing, as a person or a mapping does. Raises Unknown and LimitError."""
        declared = msgspec.structs.replace(definition, inferred=False)
        fresh = {check_name(declared.name): declared}
        with self._writing:
            state = self._memory.project(project)
            with self._transaction() as connection:
                records.put_things(connection, [(project, _with(state, thing, fresh))])
                self._note(connection, by, "property", f"{project}/{thing}/{declared.name}", project)
            with self._changing:
                state.put_thing(_with(state, thing, fresh))
        self._tell(Change(Event.PROPERTY, project, thing))

    def declare_actions(self, project: str, thing: str, actions: Mapping[str, Any], by: str = "") -> None:
        """Say what a thing can be told to do, beside what its model says; writes only what differs. Raises Unknown."""
        with self._writing:
            state = self._memory.project(project)
            known = state.things.get(thing)
            if known is None:
                raise _unknown(state, thing)
            if known.actions == actions:
                return
            with self._transaction() as connection:
                records.put_things(connection, [(project, msgspec.structs.replace(known, actions=dict(actions)))])
                self._note(connection, by, "actions", f"{project}/{thing}: {_some(sorted(actions))}", project)
            with self._changing:
                state.put_thing(msgspec.structs.replace(state.things[thing], actions=dict(actions)))
        self._tell(Change(Event.THING_CHANGED, project, thing))

    def infer_properties(self, project: str, thing: str, definitions: Iterable[Property]) -> Mapping[str, Property]:
        """Add definitions a thing does not have yet and return all it has; in memory at once, stored by `flush`.

        What is defined already stays as it is. Raises NameRefused, Unknown and LimitError.
        """
        with self._changing:
            state = self._memory.project(project)
            known = state.definitions(thing)
            if known is None:
                raise _unknown(state, thing)
            fresh = {one.name: one for one in definitions if check_name(one.name) not in known}
            if not fresh:
                return known
            state.put_thing(_with(state, thing, fresh))
            self._dirty_things.add((project, thing))
        self._tell(Change(Event.PROPERTY, project, thing))
        return state.definitions(thing) or known

    def _put_project(self, project: Project, by: str) -> Project:
        known = self.project(check_project(project.name))
        _check_fields(project)
        created_at = known.created_at if known else project.created_at or self._clock.now_ns()
        project = msgspec.structs.replace(project, created_at=created_at)
        if project == known:
            return known
        with self._transaction() as connection:
            records.put_project(connection, project, new=known is None)
            self._note(connection, by, "project", project.name, project.name)
        self._memory.put_project(project)
        self._tell(Change(Event.PROJECT, project.name))
        return project

    def _put_things(self, project: str, things: Sequence[Thing], by: str) -> list[Thing]:
        state = self._memory.project(project)
        names = {check_name(thing.name) for thing in things}
        if len(names) < len(things):
            raise Exists(f"Two of the new things of {project} have one name.", "Give each its own.")
        fresh = names.difference(state.things)
        check_room(state, len(fresh))
        now = self._clock.now_ns()
        changed = [thing for thing in things if state.things.get(thing.name) != _settled(state, thing, now)]
        if changed:
            with self._transaction() as connection:
                records.put_things(connection, [(project, _settled(state, thing, now)) for thing in changed])
                self._note(connection, by, "things", f"{project}: {_some([thing.name for thing in changed])}", project)
            with self._changing:
                for thing in changed:
                    state.put_thing(_settled(state, thing, now))
            events = ((Event.THING if thing.name in fresh else Event.THING_CHANGED, thing.name) for thing in changed)
            self._tell(*(Change(event, project, name) for event, name in events))
        return [state.things[thing.name] for thing in things]


def _check_fields(project: Project) -> None:
    for name, value in project.limits.items():
        if name not in Limits.__struct_fields__ or not value >= 0:
            raise RefusedError(f"{name} = {value} is not a limit:", "use a name of [limits], and 0 or more.")
    try:
        ZoneInfo(project.timezone)
    except (OSError, ValueError, KeyError):
        raise RefusedError(f"{project.timezone!r} is not a time zone:", "use an IANA name, or UTC.") from None


def _settled(state: ProjectMemory, thing: Thing, now_ns: int) -> Thing:
    """`thing` as it will be stored: with the properties and the age that one of its name has already."""
    known = state.things.get(thing.name)
    if known is None:
        return msgspec.structs.replace(thing, created_at=thing.created_at or now_ns)
    properties = {**known.properties, **thing.properties} if thing.properties else known.properties
    commissioned_at = thing.commissioned_at or known.commissioned_at
    return msgspec.structs.replace(
        thing, properties=properties, commissioned_at=commissioned_at, created_at=known.created_at,
        registered_id=known.registered_id, actions=thing.actions or known.actions,
    )  # fmt: skip


def _with(state: ProjectMemory, name: str, fresh: dict[str, Property]) -> Thing:
    """The thing with `fresh` added to its own properties."""
    thing = state.things.get(name)
    if thing is None:
        raise _unknown(state, name)
    properties = {**thing.properties, **fresh}
    if len((state.definitions(name) or {}).keys() | fresh.keys()) > state.limits.properties_per_thing_max:
        raise LimitError(f"{name} has as many properties as it may.", "Raise [limits] properties_per_thing_max.")
    inferred = thing.inferred and any(one.inferred for one in properties.values())
    return msgspec.structs.replace(thing, properties=state.share(properties), inferred=inferred)


def check_room(state: ProjectMemory, fresh: int) -> None:
    """Raise LimitError when the project may not have so many more things."""
    if len(state.things) + fresh > state.limits.things_per_project_max:
        raise LimitError(
            f"{state.project.name} has {len(state.things)} things and may have no more than "
            f"{state.limits.things_per_project_max}.",
            "Raise [limits] things_per_project_max.",
        )


def _unknown(state: ProjectMemory, thing: str) -> Unknown:
    return Unknown(f"There is no thing {state.project.name}/{thing}.", "List them with: taihu things")


def _some(names: list[str]) -> str:
    """The first few names, and how many there are."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
