"""What the calculated properties of a node are worked out of: formulas bound to the directory's things and grants."""

import math
from collections.abc import Callable, Mapping, Sequence

from taihu.identity.lookups import Lookups
from taihu.identity.principal import CredentialKind, Principal
from taihu.kernel.limits import Limits
from taihu.things.calculation import bind
from taihu.things.formula import FormulaError, Members
from taihu.things.property import Property
from taihu.things.terms import Fixed, Nature, Plan
from taihu.things.topology import Topology, TopologyError

_PLANS_MAX = 10_000
Definitions = Callable[[str, str], Mapping[str, Property] | None]


class Calculations:
    """Plans, kept until the directory changes; those that a grant can change are made anew each time.

    `definitions` may know newer ones than the directory.
    """

    def __init__(self, directory: Lookups, definitions: Definitions, limits: Limits) -> None:
        self._directory = directory
        self._definitions = definitions
        self._limits = limits
        self._plans: dict[tuple[str, str, Property], Plan] = {}
        self._topologies: dict[str, Topology] = {}

    def forget(self) -> None:
        """Anything may have changed."""
        self._plans = {}
        self._topologies = {}

    def changed(self, project: str, thing: str) -> None:
        """A thing came, went or changed, or one of its properties; without a name, more than that may have."""
        self._plans = {}
        topology = self._topologies.get(project)
        if topology is None:
            return
        known = self._directory.thing(project, thing) if thing else None
        try:
            topology.put(known) if known is not None else topology.remove(thing)
        except TopologyError:
            del self._topologies[project]

    def check(self, project: str, thing: str, definition: Property) -> Plan:
        """As `plan`; raises FormulaError for a formula that means nothing here."""
        return bind(project, thing, definition, self, self._limits)

    def plan(self, project: str, thing: str, definition: Property) -> Plan:
        """What a calculated property is worked out of; what is wrong with its formula, it lacks."""
        key = project, thing, definition
        plan = self._plans.get(key)
        if plan is not None:
            return plan
        try:
            plan = self.check(project, thing, definition)
        except (FormulaError, TopologyError) as error:
            return Plan(Fixed(math.nan), Nature.FIXED, (), (str(error),))
        if not plan.lacking and all(one.project == project for one in plan.inputs):
            if len(self._plans) >= _PLANS_MAX:
                self._plans = {}
            self._plans[key] = plan
        return plan

    def definition(self, project: str, thing: str, name: str) -> Property | None:
        """A property's definition, None when there is none."""
        return (self._definitions(project, thing) or {}).get(name)

    def granted(self, reader: str, project: str, thing: str, name: str) -> bool:
        """Whether the project `reader` may read a property of another one (§11)."""
        return self._directory.may_read(Principal(reader, CredentialKind.VIEWER), project, thing, name)

    def members(self, project: str, thing: str, members: Members) -> Sequence[str]:
        """The things chosen, by name; TopologyError when things cannot belong together as they are declared."""
        topology = self._topologies.get(project)
        if topology is None:
            count = self._directory.thing_count(project)
            topology = self._topologies[project] = Topology(self._directory.things(project, "", count))
        chosen = [set(topology.select(**{name: value})) for name, value in members.criteria]
        match members.relatives:
            case "submeters":
                chosen.append(set(topology.submeters(thing)))
            case "children":
                chosen.append(set(topology.children(thing)))
            case "descendants":
                chosen.append(set(topology.descendants(thing)))
        return sorted(set.intersection(*chosen))
