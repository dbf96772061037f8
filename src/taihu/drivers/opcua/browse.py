"""Walks a server's address space from its Objects folder, in few large requests, within bounds."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from asyncua import ua

from taihu.drivers.opcua.session import Session
from taihu.drivers.port import DeviceLost

_BATCH = 100
_REFERENCES_MAX = 1_000
_HIERARCHICAL, _HAS_PROPERTY = ua.NodeId(33), ua.NodeId(46)
_HAS_SUBTYPE = ua.NodeId(45)
_OBJECTS = ua.NodeId(85)
_MASK = ua.NodeClass.Object | ua.NodeClass.Variable | ua.NodeClass.Method
NODES_MAX = 100_000
_DEPTH_MAX = 20


class Node(msgspec.Struct):
    """A node of the address space, with what hangs below it."""

    id: ua.NodeId
    name: str
    title: str
    node_class: int
    type: ua.NodeId | None = None
    parent: "Node | None" = None
    properties: dict[str, ua.NodeId] = {}
    below: list["Node"] = []

    @property
    def path(self) -> list[str]:
        """Names from below the Objects folder to here."""
        return [*(self.parent.path if self.parent else []), self.name]

    def of_class(self, node_class: ua.NodeClass) -> list["Node"]:
        """The nodes just below of a class."""
        return [one for one in self.below if one.node_class == node_class]


async def walk(session: Session, root: ua.NodeId | None = None) -> tuple[list[Node], bool]:
    """Every object, variable and method under a node, parents first, and whether that was all.

    Nodes of the standard's own namespace right under Objects, such as Server, are left out.
    """
    start = Node(id=root or _OBJECTS, name="", title="", node_class=ua.NodeClass.Object)
    found: list[Node] = []
    seen = {start.id}
    level = [start]
    for _ in range(_DEPTH_MAX):
        following: list[Node] = []
        for first in range(0, len(level), _BATCH):
            batch = level[first : first + _BATCH]
            answers = await browse(session, [node.id for node in batch])
            for node, references in zip(batch, answers, strict=True):
                node.properties, node.below = {}, []
                _hang(node, references, seen, following, top=node is start)
            await asyncio.sleep(0)
        found += following
        if len(found) > NODES_MAX:
            return [start, *found[:NODES_MAX]], False
        level = following
        if not level:
            return [start, *found], True
    return [start, *found], False


async def browse(
    session: Session, nodes: Sequence[ua.NodeId], reference: ua.NodeId = _HIERARCHICAL, inverse: bool = False
) -> list[list[ua.ReferenceDescription]]:
    """The references of nodes, all of them: what does not fit into one answer is asked for again."""
    request = ua.BrowseRequest()
    request.Parameters.RequestedMaxReferencesPerNode = ua.UInt32(_REFERENCES_MAX)
    request.Parameters.NodesToBrowse = [
        ua.BrowseDescription(
            NodeId=node,
            BrowseDirection=ua.BrowseDirection.Inverse if inverse else ua.BrowseDirection.Forward,
            ReferenceTypeId=reference,
            IncludeSubtypes=True,
            NodeClassMask=ua.UInt32(0 if inverse else _MASK),
            ResultMask=ua.UInt32(ua.BrowseResultMask.All),
        )
        for node in nodes
    ]
    results = (await session.request(request, ua.BrowseResponse)).Results
    if len(results) != len(nodes):
        raise DeviceLost(f"{session.target.host} answered {len(results)} of {len(nodes)} browses.")
    found = [list(result.References or ()) for result in results]
    rest = {place: result.ContinuationPoint for place, result in enumerate(results) if result.ContinuationPoint}
    while rest and sum(map(len, found)) < NODES_MAX:
        more = ua.BrowseNextRequest()
        more.Parameters.ContinuationPoints = list(rest.values())
        answers: Any = (await session.request(more, ua.BrowseNextResponse)).Parameters.Results
        if len(answers) != len(rest):
            raise DeviceLost(f"{session.target.host} loses its place while it is browsed.")
        for place, answer in zip(list(rest), answers, strict=True):
            found[place] += answer.References or ()
            rest[place] = answer.ContinuationPoint
            if not answer.ContinuationPoint:
                del rest[place]
    return found


async def base_type(session: Session, kind: ua.NodeId, known: dict[ua.NodeId, int]) -> int:
    """The built-in type (1 to 25, 29 for an enumeration, 0 for none) that a data type comes from."""
    chain = []
    node = kind
    while node not in known:
        if node.NamespaceIndex == 0 and isinstance(node.Identifier, int) and 0 < node.Identifier <= 29:
            known[node] = node.Identifier
            break
        chain.append(node)
        (above,) = await browse(session, [node], _HAS_SUBTYPE, inverse=True)
        if not above or len(chain) > _DEPTH_MAX:
            known[node] = 0
            break
        node = above[0].NodeId
    for one in chain:
        known[one] = known[node]
    return known[kind]


def _hang(
    node: Node, references: Sequence[ua.ReferenceDescription], seen: set[ua.NodeId], following: list[Node], top: bool
) -> None:
    """Put what a node refers to under it; what was seen elsewhere stays there."""
    for one in references:
        target = one.NodeId
        name = (one.BrowseName.Name or "") if one.BrowseName else ""
        if one.ReferenceTypeId == _HAS_PROPERTY:
            node.properties.setdefault(name, ua.NodeId(target.Identifier, target.NamespaceIndex, target.NodeIdType))
            continue
        if target in seen or (top and target.NamespaceIndex == 0) or getattr(target, "ServerIndex", 0):
            continue
        plain = ua.NodeId(target.Identifier, target.NamespaceIndex, target.NodeIdType)
        seen.add(plain)
        title = (one.DisplayName.Text or "") if one.DisplayName else ""
        below = Node(
            id=plain, name=name, title=title, node_class=int(one.NodeClass), type=one.TypeDefinition, parent=node,
            properties={}, below=[],
        )  # fmt: skip
        node.below.append(below)
        following.append(below)
