"""What a property nobody declared is taken to be, from its first value.

The guess is deliberately plain and final: every number is a gauge of type number, since a device that sends 20 may send
20.5 next. A later value of another type is refused like any other wrong type, never widened in silence.
"""

from collections.abc import Mapping
from typing import Any

from taihu.kernel.ids import NameRefused, check_name
from taihu.kernel.limits import Limits
from taihu.things.property import DataType, Kind, Property

_GUESSES: dict[type, tuple[DataType, Kind]] = {
    float: (DataType.NUMBER, Kind.GAUGE),
    int: (DataType.NUMBER, Kind.GAUGE),
    bool: (DataType.BOOLEAN, Kind.STATE),
    str: (DataType.STRING, Kind.STATE),
    dict: (DataType.OBJECT, Kind.EVENT),
    list: (DataType.OBJECT, Kind.EVENT),
}


def infer_property(name: str, value: Any) -> Property | None:
    """The definition that a first value suggests, `unit undeclared` (§2); None when it suggests nothing, as null does.

    Raises NameRefused when `name` cannot name a property.

    >>> infer_property("power", 20).data_type
    <DataType.NUMBER: 'number'>
    """
    guess = _GUESSES.get(type(value))
    if guess is None:
        return None
    data_type, kind = guess
    return Property(name=check_name(name), kind=kind, data_type=data_type, inferred=True)


def infer_properties(
    values: Mapping[str, Any], known: Mapping[str, Property], limits: Limits
) -> tuple[dict[str, Property], list[tuple[str, str]]]:
    """Definitions of what `values` holds beyond `known`, and the names refused, each with its reason.

    A thing has at most `properties_per_thing_max` properties (§6).
    """
    inferred: dict[str, Property] = {}
    refused: list[tuple[str, str]] = []
    room = limits.properties_per_thing_max - len(known)
    for name, value in values.items():
        if name in known:
            continue
        try:
            definition = infer_property(name, value)
        except NameRefused as error:
            refused.append((name, str(error)))
            continue
        if definition is None:
            refused.append((name, f"nothing can be inferred from a value of type {_type_name(value)}"))
        elif len(inferred) >= room:
            refused.append((name, f"the thing already has {limits.properties_per_thing_max} properties"))
        else:
            inferred[name] = definition
    return inferred, refused


def _type_name(value: Any) -> str:
    return "null" if value is None else type(value).__name__
