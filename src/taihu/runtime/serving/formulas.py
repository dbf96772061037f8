"""Formulas as somebody writes them: who may, whether they mean something here, and what one is worked out of."""

from collections.abc import Mapping
from typing import Any

import msgspec

from taihu.doors.http.ports import Caller
from taihu.identity.directory import Directory
from taihu.identity.principal import Principal
from taihu.kernel.clock import NS_PER_S
from taihu.kernel.errors import RefusedError
from taihu.runtime.actions import Action, own
from taihu.runtime.serving.calculations import Calculations
from taihu.runtime.serving.live import Live
from taihu.things.definition import check_definition
from taihu.things.document import DescriptionError, join
from taihu.things.formula import FormulaError
from taihu.things.model import definitions
from taihu.things.property import Property, Thing, is_stale
from taihu.things.terms import Plan


def check_formulas(directory: Directory, caller: Principal, project: str, thing: Thing) -> None:
    """Raise unless each formula that is new of a thing means something here, and the caller administers the project.

    What a formula names and there is not (yet) is no error: its property is missing until there is.

    Raises:
        RefusedError: a thing may describe itself, but not read others by a formula (§11).
        DescriptionError: with the pointer of the formula.
    """
    before = directory.definitions(project, thing.name) or {}
    after = definitions(thing, directory.model(project, thing.model) if thing.model else None)
    changed = [one for one in after.values() if one.formula and before.get(one.name) != one]
    if changed and not directory.may_administer(caller, project):
        raise RefusedError("You may not write formulas.", "It takes an owner, or an operator's token.")
    for definition in changed:
        try:
            plan_of(directory, project, thing.name, definition, after)
        except FormulaError as error:
            pointer = join("/properties", definition.name) + "/taihu:formula"
            raise DescriptionError(pointer, error.message, error.remedy) from None


def plan_of(
    directory: Directory, project: str, thing: str, definition: Property, own_properties: Mapping[str, Property]
) -> Plan:
    """What a property would be worked out of if its thing had these; blocks for long where there are many things."""

    def known(other_project: str, other: str) -> Mapping[str, Property] | None:
        if (other_project, other) == (project, thing):
            return own_properties
        return directory.definitions(other_project, other)

    return Calculations(directory, known, directory.node_limits).check(project, thing, definition)


def calculate(directory: Directory, principal: Principal, arguments: Mapping[str, Any]) -> Any:
    """Declare a calculated property of a thing; with `dry_run` only say what it would be worked out of."""
    project, thing = str(arguments["project"]), str(arguments["thing"])
    own(directory, principal, project)
    given = {name: value for name, value in arguments.items() if name not in ("project", "thing", "dry_run")}
    definition = check_definition(msgspec.convert(given, Property))
    if not definition.formula:
        raise RefusedError("There is no formula.", "Write one, such as power - sum(power of submeters).")
    known = directory.definitions(project, thing) or {}
    plan = plan_of(directory, project, thing, definition, {**known, definition.name: definition})
    if not arguments.get("dry_run"):
        directory.declare_property(project, thing, definition, principal.who)
    return {
        "project": project,
        "thing": thing,
        "property": definition.name,
        "declared": not arguments.get("dry_run"),
        "inputs": ["/".join(one.key) for one in plan.inputs],
        "lacking": list(plan.lacking),
        "undeclared": list(plan.undeclared),
    }


def inputs_seen(
    live: Live, directory: Directory, caller: Caller, project: str, thing: str, name: str
) -> dict[str, Any]:
    """The formula of a calculated property, and its inputs by name; `hidden` counts those the caller may not read."""
    definition = (directory.definitions(project, thing) or {}).get(name)
    if definition is None or not definition.formula:
        return {}
    plan = live.calculations.plan(project, thing, definition)
    seen = [one for one in plan.inputs if directory.may_read(caller, *one.key)]
    found: dict[str, Any] = {"formula": definition.formula, "inputs": ["/".join(one.key) for one in seen]}
    return found | ({"hidden": len(plan.inputs) - len(seen)} if len(seen) < len(plan.inputs) else {})


def explain(
    live: Live, directory: Directory, caller: Caller, project: str, thing: str, name: str, now_ns: int
) -> dict[str, Any] | None:
    """What a calculated property is worked out of, each input as it is now (§10); None when it is not calculated."""
    definition = (directory.definitions(project, thing) or {}).get(name)
    if definition is None or not definition.formula:
        return None
    plan = live.calculations.plan(project, thing, definition)
    seen = [one for one in plan.inputs if directory.may_read(caller, *one.key)]
    value = live.value(project, thing, definition)
    inputs = []
    for one in seen:
        reading = live.reading(*one.key)
        inputs.append({
            "project": one.project, "thing": one.thing, "property": one.definition.name,
            "kind": one.definition.kind, "unit": one.definition.unit,
            "value": reading.value if reading else None,
            "observed_at": reading.observed_at if reading else None,
            "quality": reading.quality if reading else None,
            "stale": reading is None or is_stale(one.definition, (now_ns - reading.observed_at) / NS_PER_S),
        })  # fmt: skip
    return {
        "project": project, "thing": thing, "property": name, "kind": definition.kind, "unit": definition.unit,
        "formula": definition.formula, "nature": plan.nature, "value": value.value if value else None,
        "observed_at": value.observed_at if value else None, "quality": value.quality if value else None,
        "inputs": inputs, "hidden": len(plan.inputs) - len(seen),
        "lacking": list(plan.lacking), "undeclared": list(plan.undeclared),
    }  # fmt: skip


ACTIONS: dict[str, Action] = {"property-calculate": calculate}
