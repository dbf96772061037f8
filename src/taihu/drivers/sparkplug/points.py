"""From what sources were born with to things, and from metrics to readings."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import msgspec

from taihu.drivers.port import ActionPlan, DeviceRefused, Plan, Point, Reading, ThingPlan
from taihu.kernel.ids import NAME_LENGTH_MAX
from taihu.kernel.units import alias
from taihu.protocols.sparkplug.kinds import BASIC, BLOBS, FLOATS, SIGNED, TEXTS, UNSIGNED
from taihu.protocols.sparkplug.kinds import DataType as Type
from taihu.protocols.sparkplug.messages import BD_SEQ
from taihu.protocols.sparkplug.payload import DataSet, Metric, Properties, Template
from taihu.protocols.sparkplug.topics import Source
from taihu.things.property import DataType, Kind, Property

_NS_PER_MS = 1_000_000
_TIME_MS_MAX = 9_000_000_000_000  # in ns, what 64 bits hold: a later time is none
_UNITS = ("engunit", "engunits", "unit", "units", "engineering units")
_GOOD = 192
_OWN = (BD_SEQ, "Node Control/", "Device Control/")


class Address(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose metric a point is; `members` lead into a template."""

    group: Annotated[str, msgspec.Meta(min_length=1)]
    node: Annotated[str, msgspec.Meta(min_length=1)]
    metric: str
    device: str = ""
    members: tuple[str, ...] = ()

    @property
    def source(self) -> Source:
        """Who tells it."""
        return Source(self.group, self.node, self.device)


def address_of(where: Mapping[str, Any], name: str) -> Address:
    """A point's address; raises DeviceRefused."""
    try:
        return msgspec.convert(where, Address)
    except msgspec.ValidationError as error:
        raise DeviceRefused(f"{name}: {error}.", "docs/sparkplug.md has what where holds.") from None


def plan_of(births: Mapping[Source, Sequence[Metric]], notes: Iterable[str] = ()) -> Plan:
    """A thing for each source, a point for each metric, the members of templates as points of their own."""
    groups = {source.group for source in births}
    things, said, taken = [], list(notes), set[str]()
    for source in sorted(births):
        parts = source if len(groups) > 1 else source[1:]
        name = _free("-".join(part for part in parts if part), taken)
        points, left = _points(source, births[source])
        said += [f"{name}: {one}" for one in left]
        actions = () if source.device else (
            ActionPlan(name="rebirth", title="Tell all again", where={"group": source.group, "node": source.node}),
        )  # fmt: skip
        things.append(ThingPlan(name=name, title=str(source), points=tuple(points), actions=actions))
    return Plan(things=tuple(things), notes=tuple(said))


def _points(source: Source, metrics: Sequence[Metric]) -> tuple[list[Point], list[str]]:
    points: list[Point] = []
    notes: list[str] = []
    taken: set[str] = set()

    def add(metric: Metric, path: tuple[str, ...]) -> None:
        if isinstance(metric.value, Template) and not metric.value.definition:
            for member in metric.value.members:
                add(member, (*path, member.name or ""))
        elif metric.kind in BLOBS or metric.kind == Type.TEMPLATE or metric.transient:
            notes.append(f"{'/'.join(path)} is left out: it is {'transient' if metric.transient else 'no value'}.")
        else:
            name = _free(".".join(path).replace("/", "."), taken)
            where: dict[str, Any] = {"group": source.group, "node": source.node}
            where |= {"device": source.device} if source.device else {}
            where |= {"metric": path[0]} | ({"members": list(path[1:])} if path[1:] else {})
            points.append(Point(definition=_definition(name, metric, len(path) == 1), where=where))

    for metric in metrics:
        if metric.name and not metric.name.startswith(_OWN):
            add(metric, (metric.name,))
    return points, notes


def _definition(name: str, metric: Metric, whole: bool) -> Property:
    kind = metric.kind
    number = kind in SIGNED or kind in UNSIGNED or kind in FLOATS
    data_type = (
        DataType.NUMBER if kind in FLOATS
        else DataType.INTEGER if number
        else DataType.BOOLEAN if kind == Type.BOOLEAN
        else DataType.STRING if kind in TEXTS
        else DataType.OBJECT
    )  # fmt: skip
    said = {key.lower(): value.value for key, value in (metric.properties or {}).items()}
    unit = next((str(said[key]) for key in _UNITS if said.get(key)), "")
    return Property(
        name=name,
        kind=Kind.GAUGE if number and kind != Type.DATETIME else Kind.STATE,
        data_type=data_type,
        unit=alias(unit) if number and unit else None,
        writable=whole and kind in BASIC and said.get("readonly") is not True,
        title=name if not isinstance(said.get("documentation"), str) else said["documentation"],
    )


def _free(name: str, taken: set[str]) -> str:
    """A name that can name a thing or property, and is not taken yet."""
    plain = "".join(sign if sign.isprintable() and sign not in "/+#" else "-" for sign in name).strip().lstrip("$")
    plain = found = plain[: NAME_LENGTH_MAX - 4] or "unnamed"
    number = 2
    while found in taken:
        found, number = f"{plain}-{number}", number + 1
    taken.add(found)
    return found


class Places:
    """Which thing's property each metric is, by a plan."""

    def __init__(self, plan: Plan) -> None:
        self._things: dict[Source, set[str]] = {}
        self._names: dict[tuple[Source, str], list[tuple[str, str, tuple[str, ...]]]] = {}
        for thing in plan.things:
            for point in thing.points:
                place = address_of(point.where, point.definition.name)
                self._things.setdefault(place.source, set()).add(thing.name)
                key = (place.source, place.metric)
                self._names.setdefault(key, []).append((thing.name, point.definition.name, place.members))
            for action in thing.actions:
                self._things.setdefault(Source(action.where["group"], action.where["node"]), set()).add(thing.name)

    def nodes(self) -> list[Source]:
        """The edge nodes of all things."""
        return sorted({Source(*source[:2]) for source in self._things})

    def things(self, source: Source) -> set[str]:
        """The things that have something of a source."""
        return self._things.get(source, set())

    def rows(self, source: Source, at_ms: int, metrics: Iterable[Metric]) -> tuple[list[Reading], int]:
        """Readings of metrics, each at its own time, and how many metrics had no good value."""
        together: dict[tuple[str, int | None], dict[str, Any]] = {}
        bad = 0
        for metric in metrics:
            places = self._names.get((source, metric.name or ""))
            if places is None:
                continue
            if metric.value is None or _is_bad(metric.properties):
                bad += 1
                continue
            time_ms = at_ms if metric.timestamp is None else metric.timestamp
            time_ns = time_ms * _NS_PER_MS if 0 < time_ms < _TIME_MS_MAX else None
            for thing, name, members in places:
                value = _value(metric, members)
                if value is not None:
                    together.setdefault((thing, time_ns), {})[name] = value
        return [Reading(thing, values, time_ns) for (thing, time_ns), values in together.items()], bad


def _is_bad(properties: Properties | None) -> bool:
    """Whether the source calls a value bad or stale."""
    quality = None if properties is None else properties.get("Quality")
    return quality is not None and quality.value != _GOOD


def _value(metric: Metric, members: tuple[str, ...]) -> Any:
    value = metric.value
    for name in members:
        inner = value.members if isinstance(value, Template) else ()
        value = next((one.value for one in inner if one.name == name), None)
    if isinstance(value, DataSet):
        return {"columns": list(value.columns), "rows": [list(row) for row in value.rows]}
    return None if isinstance(value, Template | bytes) else value
