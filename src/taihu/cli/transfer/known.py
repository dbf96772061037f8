"""What a project has already, and what an import adds to it: things and the definitions of their properties."""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from statistics import median
from typing import Any

import msgspec

from taihu.cli.client import NodeClient, NodeRefused
from taihu.cli.transfer.manifest import Alike
from taihu.cli.transfer.rows import Refused, Row, SourceRefused, Text
from taihu.cli.transfer.values import BadValue, defined_value, plain_value
from taihu.kernel.clock import NS_PER_S
from taihu.kernel.errors import TaihuError
from taihu.kernel.ids import NameRefused, check_name
from taihu.kernel.limits import DEFAULT
from taihu.kernel.units import commensurable, convert
from taihu.things.infer import infer_property
from taihu.things.property import DataType, Kind, Property, Thing
from taihu.things.validate import check_time, check_value

_PAGE = 1_000
_HELD = (
    1.5  # times as long as readings are apart a value holds, so that a late one leaves no hole and a missing one does
)
_USUAL_AGE_S = Property(name="").max_age_s


def definitions_of(node: NodeClient, project: str, where: str = "true") -> Iterator[Alike]:
    """The definitions of a project's things, those alike together; `where` is SQL over the view `properties`."""
    each = f"SELECT thing, list(definition ORDER BY property) AS d FROM properties WHERE {where} GROUP BY thing"  # noqa: S608
    sql = f"SELECT d, list(thing ORDER BY thing) FROM ({each}) GROUP BY d"  # noqa: S608
    for texts, things in node.post("projects", project, "sql", body={"sql": sql})["rows"]:
        yield Alike(tuple(things), tuple(msgspec.json.decode(text, type=Property) for text in texts))


class Known:
    """A project's things while an import goes on. What breaks a definition is refused here, with its place.

    Args:
        node: whose project it is.
        project: its name.
        about: what the source knows of a thing.
        create: whether things and properties that the project lacks are made.
        dry_run: nothing is made, and all goes on as if it was.
    """

    def __init__(
        self, node: NodeClient, project: str, about: Callable[[str], Thing | None], *, create: bool, dry_run: bool
    ) -> None:
        self.created = 0
        self._node = node
        self._project = project
        self._about = about
        self._create = create
        self._dry_run = dry_run
        self._definitions: dict[str, dict[str, Property]] = {name: {} for name in _names(node, project)}
        for alike in definitions_of(node, project):
            shared = {one.name: one for one in alike.properties}
            self._definitions |= dict.fromkeys(alike.things, shared)
        self._now = int(node.get("node")["now"])
        self._units: dict[tuple[str, str], tuple[str, str] | None] = {}
        self._hopeless: dict[str, str] = {}  # things that cannot be, and why
        self._apart_s: dict[str, float] = {}  # how far readings of a thing are apart, as first seen

    def see(self, rows: Iterable[Row]) -> None:
        """Learn how far apart readings are of things that are new to it, before their rows are checked."""
        times: dict[str, set[int]] = {}
        for row in rows:
            if row.thing not in self._apart_s:
                times.setdefault(row.thing, set()).add(row.observed_at)
        for thing, some in times.items():
            if len(some) > 1:
                self._apart_s[thing] = median(after - before for before, after in pairwise(sorted(some))) / NS_PER_S

    def check(self, row: Row) -> tuple[dict[str, Any], list[Refused]]:
        """The values as the node will take them, and what it would refuse."""
        reason = self._thing(row.thing) or check_time(row.observed_at, self._now, 0, DEFAULT)
        if reason:
            return {}, [Refused(row.number, row.where, row.thing, "", reason)]
        values: dict[str, Any] = {}
        refused = []
        for name, value in row.values.items():
            try:
                values[name] = self._value(row.thing, name, value)
            except (BadValue, TaihuError) as error:
                refused.append(Refused(row.number, row.where, row.thing, name, str(error)))
        return values, refused

    def _thing(self, name: str) -> str | None:
        """Why there is no such thing; None when there is, or now is."""
        if name in self._definitions:
            return None
        if name in self._hopeless:
            return self._hopeless[name]
        try:
            check_name(name)
        except NameRefused as error:
            return str(error)
        if not self._create:
            reason = "There is no such thing in the project. Create it, or import with --create."
        elif refusal := self._make(self._thing_told(name)):
            reason = refusal
        else:
            return None
        self._hopeless[name] = reason
        return reason

    def _make(self, thing: Thing) -> str | None:
        """Create a thing with its properties; returns why not."""
        if not self._dry_run:
            body = msgspec.to_builtins(thing) | {"project": self._project, "inferred": False}
            try:
                self._node.post("admin", "thing-create", body=body)
            except NodeRefused as error:
                return str(error)
        self.created += 1
        self._definitions[thing.name] = dict(thing.properties)
        return None

    def _value(self, thing: str, name: str, value: Any) -> Any:
        definition = self._definitions[thing].get(name) or self._define(thing, name, value)
        if definition is None:
            raise BadValue(f"nothing can be inferred from a value of type {type(value).__name__}")
        value = _fitted(value, definition)
        if units := self._units_of(thing, name, definition):
            value = convert(value, *units)
        if reason := check_value(definition, value):
            raise BadValue(reason)
        return value

    def _define(self, thing: str, name: str, value: Any) -> Property | None:
        """A property the thing lacks: declared as the source knows it, or left for the node to infer."""
        told = self._told(thing, name) if self._create else None
        known = guess = told or infer_property(name, plain_value(value) if isinstance(value, Text) else value)
        if known is not None and self._create:
            known = self._paced(thing, known)
            if (told or known != guess) and not self._dry_run:
                body = {"project": self._project, "thing": thing, "property": msgspec.to_builtins(known)}
                self._node.post("admin", "property-declare", body=body)
        if known is not None:
            self._definitions[thing] = {**self._definitions[thing], name: known}
        return known

    def _told(self, thing: str, name: str) -> Property | None:
        return self._thing_told(thing).properties.get(name)

    def _thing_told(self, name: str) -> Thing:
        """What the source knows of a thing."""
        thing = self._about(name) or Thing(name=name)
        paced = {
            key: msgspec.structs.replace(self._paced(name, one), inferred=False)
            for key, one in thing.properties.items()
        }
        return msgspec.structs.replace(thing, properties=paced)

    def _paced(self, thing: str, told: Property) -> Property:
        """A definition that was guessed, so that it holds between readings as far apart as the thing's."""
        apart_s = self._apart_s.get(thing)
        if apart_s is None or not told.inferred:
            return told
        if told.kind is Kind.INTERVAL and told.interval_s is None:
            return msgspec.structs.replace(told, interval_s=apart_s)
        if told.max_age_s == _USUAL_AGE_S < _HELD * apart_s:
            return msgspec.structs.replace(told, max_age_s=_HELD * apart_s)
        return told

    def _units_of(self, thing: str, name: str, definition: Property) -> tuple[str, str] | None:
        """The unit of the source and that of the node, where they differ. A unit that cannot be is refused (§2)."""
        key = (thing, name)
        if key not in self._units:
            theirs = self._told(thing, name)
            unit = theirs.unit if theirs else None
            if not unit or not definition.unit or unit == definition.unit:
                self._units[key] = None
            elif commensurable(unit, definition.unit):
                self._units[key] = (unit, definition.unit)
            else:
                raise SourceRefused(f"{name} is in {unit} and defined in {definition.unit}:", "correct the mapping.")
        return self._units[key]


def _names(node: NodeClient, project: str) -> Iterator[str]:
    """All things of a project."""
    after: str | None = None
    while True:
        page = node.get("projects", project, "things", limit=_PAGE, after=after)
        yield from (thing["name"] for thing in page["things"])
        after = page.get("next")
        if after is None:
            return


def _fitted(value: Any, definition: Property) -> Any:
    """A value in the type of its property, where it means the same."""
    if isinstance(value, Text):
        return defined_value(value, definition)
    if definition.data_type is DataType.BOOLEAN and value in (0, 1):
        return bool(value)
    if definition.data_type is DataType.INTEGER and isinstance(value, float) and value.is_integer():
        return int(value)
    if definition.data_type is DataType.OBJECT and isinstance(value, str):
        return defined_value(value, definition)
    return value
