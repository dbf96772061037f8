"""What the directory answers from memory: nothing here blocks, takes a lock or changes anything."""

from collections.abc import Mapping, Sequence

from taihu.identity import rights
from taihu.identity.grant import Grant
from taihu.identity.memory import Memory
from taihu.identity.person import Person
from taihu.identity.principal import Principal, Project, Scope
from taihu.kernel.clock import Clock
from taihu.kernel.limits import Limits
from taihu.things.forms import own_name
from taihu.things.property import Property, Thing, ThingModel


class Lookups:
    """The reading half of the directory."""

    def __init__(self, clock: Clock, limits: Limits) -> None:
        self._clock = clock
        self._memory = Memory(limits)

    def now_ns(self) -> int:
        """The time by which grants and tokens begin and end: that of the site's clock."""
        return self._clock.now_ns()

    @property
    def node_limits(self) -> Limits:
        """The limits of the node."""
        return self._memory.default_limits

    def projects(self) -> list[Project]:
        """All projects, by name."""
        return [state.project for _, state in sorted(self._memory.projects.items())]

    def project(self, name: str) -> Project | None:
        """A project, or None."""
        state = self._memory.projects.get(name)
        return state.project if state else None

    def limits(self, project: str) -> Limits:
        """The node's limits with the project's own values in their place; raises Unknown."""
        return self._memory.project(project).limits

    def thing(self, project: str, name: str) -> Thing | None:
        """A thing, or None."""
        state = self._memory.projects.get(project)
        return state.things.get(name) if state else None

    def things(self, project: str, cursor: str = "", limit: int = 1_000) -> list[Thing]:
        """At most `limit` things by name, from the first after `cursor`; raises Unknown for an unknown project."""
        return self._memory.project(project).page(cursor, limit)

    def ids(self, project: str) -> Sequence[str]:
        """The identifiers of all things' descriptions, by code point; changes with the things. Raises Unknown."""
        return self._memory.project(project).ids()

    def thing_of(self, project: str, identifier: str) -> Thing | None:
        """The thing whose description has this identifier, or None."""
        state = self._memory.projects.get(project)
        if state is None:
            return None
        name = state.registered.get(identifier) or own_name(project, identifier)
        thing = state.things.get(name)
        return thing if thing is not None and state.id_of(thing) == identifier else None

    def thing_count(self, project: str) -> int:
        """How many things the project has; raises Unknown for an unknown project."""
        return len(self._memory.project(project).things)

    def model(self, project: str, name: str) -> ThingModel | None:
        """The newest version of a Thing Model, or None."""
        state = self._memory.projects.get(project)
        return state.models.get(name) if state else None

    def models(self, project: str) -> list[ThingModel]:
        """The newest version of each of the project's models; raises Unknown for an unknown project."""
        return list(self._memory.project(project).models.values())

    def definitions(self, project: str, thing: str) -> Mapping[str, Property] | None:
        """A thing's properties, its model's and its own, shared by all things alike; None when there is no such thing.

        The mapping is never changed: after a change there is another one.
        """
        state = self._memory.projects.get(project)
        return state.definitions(thing) if state else None

    def grants_to(self, project: str) -> list[Grant]:
        """What other projects let `project` do, or offer it."""
        return [grant for grants in self._memory.grants.get(project, {}).values() for grant in grants]

    def grants(self) -> list[Grant]:
        """All grants, those not agreed yet too."""
        return [grant for project in list(self._memory.grants) for grant in self.grants_to(project)]

    def people(self) -> list[Person]:
        """All people, by name."""
        return [person for _, person in sorted(self._memory.people.items())]

    def person(self, name: str) -> Person | None:
        """A person, or None."""
        return self._memory.people.get(name)

    def may_see(self, principal: Principal, project: str, thing: str = "") -> bool:
        """Whether `principal` may read anything of a thing, or of the project when `thing` is empty (§11)."""
        return rights.may_see(principal, project, thing, self._memory, self._clock.now_ns())

    def may_read(self, principal: Principal, project: str, thing: str = "", name: str = "") -> bool:
        """Whether `principal` may read a property; without a name all of the thing, without a thing all (§11)."""
        return self._may(principal, Scope.READ, project, thing, name)

    def may_write(self, principal: Principal, project: str, thing: str) -> bool:
        """Whether `principal` may send readings of a thing; of any thing when `thing` is empty (§11)."""
        return self._may(principal, Scope.INGEST, project, thing)

    def may_want(self, principal: Principal, project: str, thing: str, name: str = "") -> bool:
        """Whether `principal` may say what is wanted of a property, or of the whole thing without a name (§11)."""
        return self._may(principal, Scope.WRITE, project, thing, name)

    def may_command(self, principal: Principal, project: str, thing: str, name: str = "") -> bool:
        """Whether `principal` may ask for a command of a thing (§11); whether it is given is for `control` to say."""
        return self._may(principal, Scope.COMMAND, project, thing, name)

    def may_administer(self, principal: Principal, project: str) -> bool:
        """Whether `principal` may change the project's tokens, things, grants and members; without one, the node's."""
        return self._may(principal, Scope.ADMIN, project, "")

    def scopes_in(self, principal: Principal, project: str) -> frozenset[Scope]:
        """What `principal` may do in a project as one of its own, grants aside (§11)."""
        return rights.scopes_in(principal, project, self._memory)

    def home_of(self, principal: Principal, project: str) -> Principal:
        """A person with a role in `project` as one of that project; any other principal as it is."""
        return rights.home_of(principal, project, self._memory)

    def _may(self, principal: Principal, scope: Scope, project: str, thing: str, name: str = "") -> bool:
        return rights.may(principal, scope, project, thing, name, self._memory, self._clock.now_ns())
