"""The address space: an object for each project and thing, a variable for each property, a method for each action.

A node's identifier is its address, `project/thing/property`, in the namespace `urn:taihu:things`; it stays the same
over restarts. Nodes are made from Thing Descriptions, and made again where a description has changed.
"""

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from asyncua import Server, ua

from taihu.doors.opcua.values import data_value, no_value, type_of
from taihu.drivers.opcua.units import UNECE, unece_of

log = logging.getLogger("taihu.opcua")

URI = "urn:taihu:things"
_OLD = ("created", "modified", "registration", "retrieved")
_ANY = {ua.VariantType.Double: 0.0, ua.VariantType.Int64: 0, ua.VariantType.Boolean: False, ua.VariantType.String: ""}
_UNCERTAIN = ua.StatusCode(ua.StatusCodes.UncertainNoCommunicationLastUsableValue)


class Owner(NamedTuple):
    """What a node stands for; the name is empty for a thing, the thing for a project."""

    project: str
    thing: str = ""
    name: str = ""


class Leaf(NamedTuple):
    """A property or action: its schema, whether it can be commanded, and the members of an action's input in order."""

    owner: Owner
    schema: dict[str, Any]
    writable: bool = False
    inputs: tuple[str, ...] = ()


class Space:
    """The nodes of one server; `owners` and `leaves` say by node what it stands for."""

    def __init__(self, server: Server, nodes_max: int) -> None:
        self.owners: dict[ua.NodeId, Owner] = {}
        self.leaves: dict[ua.NodeId, Leaf] = {}
        self.left_out = 0
        self._server = server
        self._nodes_max = nodes_max
        self._index = 0
        self._known: dict[Owner, dict[str, Any]] = {}
        self._shown: dict[ua.NodeId, tuple[Any, ...]] = {}

    async def open(self) -> None:
        """Make the namespace."""
        self._index = await self._server.register_namespace(URI)

    async def take(self, projects: Mapping[str, Mapping[str, dict[str, Any]]]) -> None:
        """Have the things that descriptions, by project and name, tell of, and no others."""
        wanted = {Owner(project, thing): _lasting(document) for project, things in projects.items()
                  for thing, document in things.items()}  # fmt: skip
        for owner in [one for one in self._known if wanted.get(one) != self._known[one]]:
            await self._remove(owner)
        for project in [one for one in self._projects() if one not in projects]:
            await self._delete(self._node(project))
        left_out = 0
        for owner, document in wanted.items():
            if owner in self._known:
                continue
            if len(self.owners) >= self._nodes_max:
                left_out += 1
                continue
            self._known[owner] = document
            try:
                await self._add(owner, document)
            except ua.UaError as error:
                log.warning("%s/%s is left out: %s", owner.project, owner.thing, error)
        if left_out != self.left_out:
            self.left_out = left_out
            log.warning("%d things are left out: the limit opcua_nodes_max is %d", left_out, self._nodes_max)

    async def show(self, project: str, values: list[dict[str, Any]]) -> None:
        """Show newest values, those that have changed."""
        for newest in values:
            place = self._node(f"{project}/{newest['thing']}/{newest['property']}")
            leaf = self.leaves.get(place)
            if leaf is None:
                continue
            seen = (newest["observed_at"], newest["received_at"], newest["value"], newest.get("stale"))
            if self._shown.get(place) != seen:
                self._shown[place] = seen
                await self._server.write_attribute_value(place, data_value(leaf.schema, newest))

    async def doubt(self) -> None:
        """Call every value uncertain: the node does not answer."""
        for place in list(self._shown):
            del self._shown[place]
            held = self._server.read_attribute_value(place)
            told = ua.DataValue(Value=held.Value, StatusCode=_UNCERTAIN, SourceTimestamp=held.SourceTimestamp,
                                ServerTimestamp=held.ServerTimestamp)  # fmt: skip
            await self._server.write_attribute_value(place, told)

    def _projects(self) -> list[str]:
        return [owner.project for owner in self.owners.values() if not owner.thing]

    async def _add(self, owner: Owner, document: dict[str, Any]) -> None:
        project = self._node(owner.project)
        if project not in self.owners:
            await self._server.nodes.objects.add_folder(project, self._name(owner.project))
            self.owners[project] = Owner(owner.project)
        place = self._node(f"{owner.project}/{owner.thing}")
        thing = await self._server.get_node(project).add_object(place, self._name(owner.thing))
        await _describe(thing, document)
        self.owners[place] = owner
        for name, schema in document.get("properties", {}).items():
            if not schema.get("writeOnly"):
                await self._add_property(thing, owner._replace(name=name), schema)
        for name, schema in document.get("actions", {}).items():
            await self._add_action(thing, owner._replace(name=name), schema)

    async def _add_property(self, thing: Any, owner: Owner, schema: dict[str, Any]) -> None:
        place = self._node("/".join(owner))
        kind = type_of(schema)
        node = await thing.add_variable(place, self._name(owner.name), _ANY[kind], kind, ua.NodeId(kind.value))
        await _describe(node, schema)
        writable = not schema.get("readOnly", True)
        if writable:
            await node.set_writable()
        self.owners[place], self.leaves[place] = owner, Leaf(owner, schema, writable)
        extension = ua.VariantType.ExtensionObject
        if unit := schema.get("unit"):
            units = ua.EUInformation(UNECE, unece_of(unit), ua.LocalizedText(unit), ua.LocalizedText(unit))
            part = self._node("/".join(owner) + "/unit")
            await node.add_property(part, ua.QualifiedName("EngineeringUnits", 0), ua.Variant(units, extension))
            self.owners[part] = owner
        low, high = schema.get("minimum"), schema.get("maximum")
        if low is not None and high is not None:
            part = self._node("/".join(owner) + "/range")
            bounds = ua.Variant(ua.Range(float(low), float(high)), extension)
            await node.add_property(part, ua.QualifiedName("EURange", 0), bounds)
            self.owners[part] = owner
        await self._server.write_attribute_value(place, no_value())

    async def _add_action(self, thing: Any, owner: Owner, schema: dict[str, Any]) -> None:
        place = self._node("/".join(owner) + "()")
        given = schema.get("input", {})
        members = given.get("properties", {}) if given.get("type") == "object" else {"input": given} if given else {}
        inputs = [_argument(name, member) for name, member in members.items()]
        outputs = [_argument("output", schema["output"])] if schema.get("output") else []
        node = await thing.add_method(place, self._name(owner.name), None, inputs, outputs)
        await _describe(node, schema)
        self.owners[place] = owner
        self.leaves[place] = Leaf(owner, schema, True, tuple(members))
        for part in await node.get_children():
            self.owners[part.nodeid] = owner

    async def _remove(self, owner: Owner) -> None:
        del self._known[owner]
        await self._delete(self._node(f"{owner.project}/{owner.thing}"))

    async def _delete(self, place: ua.NodeId) -> None:
        gone = self.owners.get(place)
        if gone is None:
            return
        await self._server.delete_nodes([self._server.get_node(place)], recursive=True)
        below = 2 if gone.thing else 1
        for node in [node for node, owner in self.owners.items() if owner[:below] == gone[:below]]:
            del self.owners[node]
            self.leaves.pop(node, None)
            self._shown.pop(node, None)

    def _node(self, identifier: str) -> ua.NodeId:
        return ua.NodeId(identifier, self._index)

    def _name(self, name: str) -> ua.QualifiedName:
        return ua.QualifiedName(name, self._index)


async def _describe(node: Any, document: dict[str, Any]) -> None:
    """The names that people gave it."""
    for term, attribute in (("title", ua.AttributeIds.DisplayName), ("description", ua.AttributeIds.Description)):
        if text := document.get(term):
            content = ua.Variant(ua.LocalizedText(text), ua.VariantType.LocalizedText)
            await node.write_attribute(attribute, ua.DataValue(content))


def _argument(name: str, schema: dict[str, Any]) -> ua.Argument:
    kind = ua.NodeId(type_of(schema).value)
    told = ua.LocalizedText(schema.get("description") or schema.get("title") or "")
    return ua.Argument(Name=name, DataType=kind, ValueRank=ua.Int32(-1), Description=told)


def _lasting(document: dict[str, Any]) -> dict[str, Any]:
    """A description without the times at which it was asked for and changed."""
    return {term: value for term, value in document.items() if term not in _OLD}
