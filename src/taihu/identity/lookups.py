"""What the directory answers from memory: nothing here blocks, takes a lock or changes anything."""

from collections.abc import Mapping

from taihu.identity import rights
from taihu.identity.memory import Memory
from taihu.identity.principal import Grant, Principal, Project
from taihu.kernel.limits import Limits
from taihu.things.property import Property, Thing, ThingModel


class Lookups:
    """The reading half of the directory."""

    def __init__(self, limits: Limits) -> None:
        self._memory = Memory(limits)

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
        """What other projects let `project` do."""
        return list(self._memory.grants.get(project, {}).values())

    def grants(self) -> list[Grant]:
        """All grants."""
        return [grant for grants in list(self._memory.grants.values()) for grant in grants.values()]

    def may_read(self, principal: Principal, project: str, thing: str = "") -> bool:
        """Whether `principal` may read a thing, or all of the project when `thing` is empty (§11)."""
        return rights.may_read(principal, project, thing, self._memory.grants)

    def may_see(self, principal: Principal, project: str) -> bool:
        """Whether `principal` may read anything of the project (§11)."""
        return rights.may_see(principal, project, self._memory.grants)

    def may_write(self, principal: Principal, project: str, thing: str) -> bool:
        """Whether `principal` may send readings of a thing (§11)."""
        return rights.may_write(principal, project, thing)

    def may_administer(self, principal: Principal, project: str) -> bool:
        """Whether `principal` may change the project's tokens, things and grants (§11)."""
        return rights.may_administer(principal, project)
