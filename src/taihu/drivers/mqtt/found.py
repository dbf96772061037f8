"""Properties found on a broker, and the things that they make."""

from collections.abc import Iterable, Sequence
from typing import Any

from taihu.drivers.port import Plan, Point, ThingPlan
from taihu.kernel.ids import NAME_LENGTH_MAX
from taihu.kernel.units import alias
from taihu.things.property import DataType, Kind, Property

_TYPES = {
    "float": DataType.NUMBER, "numeric": DataType.NUMBER, "number": DataType.NUMBER, "integer": DataType.INTEGER,
    "boolean": DataType.BOOLEAN, "binary": DataType.BOOLEAN, "enum": DataType.STRING, "string": DataType.STRING,
    "text": DataType.STRING, "color": DataType.STRING, "datetime": DataType.STRING, "json": DataType.OBJECT,
    "composite": DataType.OBJECT, "list": DataType.OBJECT,
}  # fmt: skip
_MAX_AGE_S = 7_200.0  # many report on change, and every hour at least


class Found:
    """One property: whose it is, where it is, a value that was heard, and what was said of it."""

    def __init__(
        self, thing: str, name: str, where: dict[str, Any], value: Any, *, unit: str = "", title: str = "",
        said_type: str = "", counter: bool = False,
    ) -> None:  # fmt: skip
        self.thing = thing
        self.name = name
        self.where = where
        self.unit = unit
        self.title = title
        self.counter = counter
        self.data_type = _TYPES.get(said_type.lower()) or _type_of(value, where)


def _type_of(value: Any, where: dict[str, Any]) -> DataType:
    if isinstance(value, bool) or any(isinstance(one, bool) for one in where.get("values", {}).values()):
        return DataType.BOOLEAN
    if isinstance(value, int | float):
        return DataType.NUMBER
    if isinstance(value, str):
        if value.lower() in ("true", "false", "on", "off"):
            return DataType.BOOLEAN
        try:
            float(value)
        except ValueError:
            return DataType.STRING
        return DataType.NUMBER
    return DataType.OBJECT if isinstance(value, dict | list) else DataType.NUMBER


def join(found: Iterable[Found], notes: Sequence[str]) -> Plan:
    """Things of what was found; of two with one name, or at one place, the first counts, or the one that can be set."""
    things: dict[str, dict[str, Found]] = {}
    names: dict[tuple[str, str, str], str] = {}
    for one in found:
        thing = _plain(one.thing)
        place = (thing, one.where["topic"], str(one.where.get("path", "")))
        name = names.setdefault(place, _plain(one.name))
        properties = things.setdefault(thing, {})
        known = properties.setdefault(name, one)
        if known is not one and "alive" in one.where:
            known.where.setdefault("alive", one.where["alive"])
        if "set" in one.where and "set" not in known.where:
            properties[name] = one
    plans = tuple(
        ThingPlan(name=name, title=next(iter(properties.values())).thing,
                  points=tuple(Point(definition=_definition(key, one), where=one.where)
                               for key, one in properties.items()))
        for name, properties in sorted(things.items())
    )  # fmt: skip
    return Plan(things=plans, notes=tuple(notes))


def _definition(name: str, one: Found) -> Property:
    number = one.data_type in (DataType.NUMBER, DataType.INTEGER)
    return Property(
        name=name,
        kind=Kind.COUNTER if one.counter and number else Kind.GAUGE if number else Kind.STATE,
        data_type=one.data_type,
        unit=alias(one.unit) if one.unit and number else None,
        writable="set" in one.where,
        title=one.title,
        max_age_s=_MAX_AGE_S,
    )


def _plain(name: str) -> str:
    plain = "".join(sign if sign.isprintable() and sign not in "/+#" else "-" for sign in name).strip().lstrip("$")
    return plain[:NAME_LENGTH_MAX].strip() or "unnamed"
