"""What a server has, as a plan: objects are things, their variables properties, their methods actions.

An object that holds variables or methods, or tells of events, is a thing; variables below variables are properties with
a dotted name. Units come from EUInformation, bounds from EURange or InstrumentRange, symbols from enumerations.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, get_args

import msgspec
from asyncua import ua

from taihu.drivers.opcua.browse import Node, base_type, walk
from taihu.drivers.opcua.session import Session
from taihu.drivers.opcua.units import unit_of
from taihu.drivers.opcua.values import (
    Address,
    Argument,
    Method,
    Type,
    data_type_of,
    persistent,
    plain,
    resolve,
    schema_of,
    usable,
)
from taihu.drivers.port import ActionPlan, Plan, Point, ThingPlan
from taihu.kernel.ids import NAME_LENGTH_MAX
from taihu.things.property import DataType, Kind, OnBad, Property

EVENTS = "events"
_SERVER = ua.NodeId(2253)
_A = ua.AttributeIds
_READABLE, _WRITABLE = 1, 2
_ENUMERATION = 29
_ABSTRACT = (24, 26, 27, 28)  # BaseDataType, Number, Integer, UInteger
_TYPES: dict[int, Type] = {ua.VariantType[name].value: name for name in get_args(Type)}
_SUPERTYPES: dict[int, Type] = {24: "Variant", 26: "Double", 27: "Int64", 28: "UInt64", _ENUMERATION: "Int32"}
_NAMED = ("EngineeringUnits", "EURange", "InstrumentRange", "EnumStrings", "EnumValues", "TrueState", "FalseState",
          "InputArguments", "OutputArguments")  # fmt: skip
_CONDITION = {"EventId", "ConditionName", "Retain"}
_FORBIDDEN = re.compile(r"[/+#\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


class _Facts(NamedTuple):
    """What was read of the nodes."""

    attributes: dict[tuple[ua.NodeId, int], Any]
    named: dict[ua.NodeId, dict[str, Any]]
    kinds: dict[ua.NodeId, int]
    held: dict[ua.NodeId, int]  # what a variable holds whose type leaves it open


async def discover(session: Session, name: str, root: str, properties_max: int) -> Plan:
    """The plan of everything below `root` (the Objects folder when empty); the server itself is the thing `name`."""
    start = resolve(root, session.namespaces) if root else None
    nodes, whole = await walk(session, start)
    wanted = [node for node in nodes if not _is_condition(node) and not (node.parent and _in_condition(node))]
    variables = [node for node in wanted if node.node_class == ua.NodeClass.Variable]
    objects = [node for node in wanted if node.node_class == ua.NodeClass.Object]
    facts = await _facts(session, variables, objects, [n for n in wanted if n.node_class == ua.NodeClass.Method])
    notes = [] if whole else [f"There are more than {len(nodes)} nodes: set --option root=NODE."]
    left: dict[str, int] = {}
    things: list[ThingPlan] = []
    names = _Names()
    for node in objects:
        thing = _thing(session, node, name, facts, left)
        if thing.points or thing.actions:
            things += _parts(thing, names.free([one for one in node.path if one], name), properties_max)
    if _tells_events(facts, _SERVER) and start is None:
        things = _with_server(things, name, names)
    notes += [f"{number} variables are left out: {why}." for why, number in left.items()]
    return Plan(things=tuple(things), notes=tuple(notes))


def _thing(session: Session, node: Node, name: str, facts: _Facts, left: dict[str, int]) -> ThingPlan:
    points, actions = [], []
    names = _Names()
    for variable, path in _variables(node):
        point = _point(session, variable, facts, left)
        if point is not None:
            points.append(_renamed(point, names.free([".".join(path)], "value")))
    if _tells_events(facts, node.id) and node.parent is not None:
        points.append(_events(persistent(node.id, session.namespaces), names.free([EVENTS], EVENTS)))
    for method in node.of_class(ua.NodeClass.Method):
        actions.append(_action(session, node, method, facts, names))
    return ThingPlan(name=name, title=node.title, points=tuple(points), actions=tuple(actions))


def _parts(thing: ThingPlan, name: str, most: int) -> Iterable[ThingPlan]:
    """A thing under its name; in several, numbered, where it has more properties than a thing may have."""
    for number, start in enumerate(range(0, max(len(thing.points), 1), most), 1):
        yield msgspec.structs.replace(
            thing,
            name=name if number == 1 else f"{name[: NAME_LENGTH_MAX - 6]}-{number}",
            points=thing.points[start : start + most],
            actions=thing.actions if number == 1 else (),
        )


def _with_server(things: list[ThingPlan], name: str, names: "_Names") -> list[ThingPlan]:
    """The server's own events, on the thing that has the connection's name."""
    events = _events(_SERVER.to_string(), EVENTS)
    for place, thing in enumerate(things):
        if thing.name == name and thing.point(EVENTS) is None:
            return [
                *things[:place],
                msgspec.structs.replace(thing, points=(*thing.points, events)),
                *things[place + 1 :],
            ]
    return [*things, ThingPlan(name=names.free([name], name), title="Server", points=(events,))]


def _events(node: str, name: str) -> Point:
    definition = Property(name=name, kind=Kind.EVENT, data_type=DataType.OBJECT, title="Events and alarms")
    return Point(definition=definition, where={"node": node, "events": True})


def _variables(node: Node, above: tuple[str, ...] = ()) -> Iterable[tuple[Node, tuple[str, ...]]]:
    """The variables of an object, and those below variables."""
    for one in node.of_class(ua.NodeClass.Variable):
        path = (*above, one.name)
        yield one, path
        yield from _variables(one, path)


def _point(session: Session, node: Node, facts: _Facts, left: dict[str, int]) -> Point | None:
    def read(attribute: int) -> Any:
        return facts.attributes.get((node.id, attribute))

    mine = read(_A.UserAccessLevel)
    access = int((read(_A.AccessLevel) if mine is None else mine) or 0)
    rank = read(_A.ValueRank)
    built_in = facts.kinds.get(read(_A.DataType), 0) if isinstance(read(_A.DataType), ua.NodeId) else 0
    kind = _TYPES.get(facts.held.get(node.id, built_in)) or _SUPERTYPES.get(built_in)
    why = "they cannot be read" if not access & _READABLE else ""
    if kind is None:
        why = why or "their type is not known here"
    elif isinstance(rank, int) and rank > 1:
        why = why or "they have more than one dimension"
    if why or kind is None:
        left[why] = left.get(why, 0) + 1
        return None
    array = rank in (0, 1)
    named = facts.named.get(node.id, {})
    symbols = _symbols(named) or (_symbols(facts.named.get(read(_A.DataType), {})) if built_in == _ENUMERATION else {})
    if built_in == 1 or array:
        symbols = {}
    data_type = data_type_of(kind, array, bool(symbols))
    numeric = data_type in (DataType.NUMBER, DataType.INTEGER)
    low, high = _range(named) if numeric else (None, None)
    units = named.get("EngineeringUnits")
    definition = Property(
        name=node.name or "value",
        kind=Kind.GAUGE if numeric else Kind.EVENT if data_type is DataType.OBJECT else Kind.STATE,
        data_type=data_type,
        unit=_unit(units) if numeric else None,
        minimum=low,
        maximum=high,
        on_bad=OnBad.FLAG if low is not None else OnBad.REFUSE,  # a range is what is likely, and no limit
        enum=tuple(symbols.values()),
        writable=bool(access & _WRITABLE),
        title=node.title if node.title != node.name else "",
        description=said if (said := str(plain(read(_A.Description)) or "")[:500]) != node.name else "",
    )
    address = Address(node=persistent(node.id, session.namespaces), type=kind, array=array, symbols=symbols)
    where: dict[str, Any] = {
        member: value for member, value in msgspec.to_builtins(address).items() if value or member in ("node", "type")
    }
    return Point(definition=definition, where=where)


def _members(arguments: Sequence[Argument]) -> dict[str, Any]:
    """The schema of an object that has these as its members; empty for none."""
    members = {one.name: schema_of(one) for one in arguments}
    return {"type": "object", "properties": members, "required": list(members)} if members else {}


def _action(session: Session, node: Node, method: Node, facts: _Facts, names: "_Names") -> ActionPlan:
    named = facts.named.get(method.id, {})
    inputs, outputs = (_arguments(named.get(one), facts) for one in ("InputArguments", "OutputArguments"))
    where = Method(
        object=persistent(node.id, session.namespaces),
        method=persistent(method.id, session.namespaces),
        inputs=inputs,
        outputs=outputs,
    )
    return ActionPlan(
        name=names.free([method.name], "call"),
        title=method.title,
        input=_members(inputs),
        output=schema_of(outputs[0]) if len(outputs) == 1 else _members(outputs),
        where=msgspec.to_builtins(where),
    )


def _arguments(value: Any, facts: _Facts) -> tuple[Argument, ...]:
    found = []
    for place, one in enumerate(value if isinstance(value, list) else ()):
        built_in = facts.kinds.get(one.DataType, 0)
        kind = _TYPES.get(built_in) or _SUPERTYPES.get(built_in) or "ExtensionObject"
        found.append(Argument(name=one.Name or f"argument{place + 1}", type=kind, array=one.ValueRank in (0, 1)))
    return tuple(found)


async def _facts(
    session: Session, variables: Sequence[Node], objects: Sequence[Node], methods: Sequence[Node]
) -> _Facts:
    """Read, in few requests, what the plan is made of."""
    of_variables = (_A.DataType, _A.ValueRank, _A.AccessLevel, _A.UserAccessLevel, _A.Description)
    wanted = [(node.id, int(attribute)) for node in variables for attribute in of_variables]
    wanted += [(node.id, int(_A.EventNotifier)) for node in objects] + [(_SERVER, int(_A.EventNotifier))]
    attributes = dict(zip(wanted, map(_value, await session.read_all(wanted)), strict=True))
    kinds: dict[ua.NodeId, int] = {}
    places = [(node.id, one, target) for node in (*variables, *methods) for one, target in node.properties.items()
              if one in _NAMED]  # fmt: skip
    values = await session.read([target for _, _, target in places])
    named: dict[ua.NodeId, dict[str, Any]] = {}
    for (node, one, _), value in zip(places, values, strict=True):
        named.setdefault(node, {})[one] = _value(value)
    types = [value for (_, attribute), value in attributes.items() if attribute == _A.DataType]
    for members in named.values():
        for one in ("InputArguments", "OutputArguments"):
            types += [argument.DataType for argument in members.get(one) or ()]
    for kind in dict.fromkeys(one for one in types if isinstance(one, ua.NodeId)):
        if await base_type(session, kind, kinds) == _ENUMERATION and kind != ua.NodeId(_ENUMERATION):
            named[kind] = await _enumeration(session, kind)
    abstract = [node.id for node in variables if kinds.get(attributes.get((node.id, int(_A.DataType)))) in _ABSTRACT]
    held = {
        node: value.Value.VariantType.value
        for node, value in zip(abstract, await session.read(abstract), strict=True)
        if value.Value is not None and value.Value.VariantType.value
    }
    return _Facts(attributes, named, kinds, held)


async def _enumeration(session: Session, kind: ua.NodeId) -> dict[str, Any]:
    """The names that an enumeration's type gives to its numbers."""
    nodes, _ = await walk(session, kind)
    held = {name: node for name, node in nodes[0].properties.items() if name in ("EnumStrings", "EnumValues")}
    values = await session.read(list(held.values()))
    return dict(zip(held, map(_value, values), strict=True))


def _value(found: ua.DataValue) -> Any:
    good = found.StatusCode is None or found.StatusCode.is_good()
    return found.Value.Value if good and found.Value is not None else None


def _symbols(named: dict[str, Any]) -> dict[str, str]:
    strings, values = named.get("EnumStrings"), named.get("EnumValues")
    if isinstance(strings, list):
        pairs = [(str(number), plain(text)) for number, text in enumerate(strings)]
    elif isinstance(values, list):
        pairs = [(str(one.Value), plain(one.DisplayName)) for one in values if hasattr(one, "DisplayName")]
    else:
        return {}
    found = {number: str(text) for number, text in pairs if text}
    return found if len(set(found.values())) == len(found) else {}


def _range(named: dict[str, Any]) -> tuple[float | None, float | None]:
    for name in ("InstrumentRange", "EURange"):
        bounds = named.get(name)
        low, high = getattr(bounds, "Low", None), getattr(bounds, "High", None)
        if isinstance(low, float) and isinstance(high, float) and usable(low) and usable(high) and low < high:
            return low, high
    return None, None


def _unit(units: Any) -> str | None:
    if not hasattr(units, "UnitId"):
        return None
    return unit_of(units.NamespaceUri or "", int(units.UnitId), plain(units.DisplayName) or "")


def _tells_events(facts: _Facts, node: ua.NodeId) -> bool:
    return bool(int(facts.attributes.get((node, int(_A.EventNotifier))) or 0) & 1)


def _is_condition(node: Node) -> bool:
    """Whether an object is the instance of an alarm or condition: its state comes as events."""
    return len(_CONDITION & (node.properties.keys() | {one.name for one in node.below})) == len(_CONDITION)


def _in_condition(node: Node) -> bool:
    above = node.parent
    while above is not None:
        if _is_condition(above):
            return True
        above = above.parent
    return False


def _renamed(point: Point, name: str) -> Point:
    return msgspec.structs.replace(point, definition=msgspec.structs.replace(point.definition, name=name))


class _Names:
    """Names that can be, each once: the shortest end of a path that is free."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def free(self, path: Sequence[str], otherwise: str) -> str:
        clean = [one for part in path if (one := _FORBIDDEN.sub("-", part).strip().lstrip("$").strip())] or [otherwise]
        for length in range(1, len(clean) + 1):
            name = "-".join(clean[-length:])[:NAME_LENGTH_MAX].strip()
            if name not in self._taken:
                self._taken.add(name)
                return name
        number = 2
        while (name := f"{'-'.join(clean)[: NAME_LENGTH_MAX - 8]}-{number}") in self._taken:
            number += 1
        self._taken.add(name)
        return name
