"""Whether a value is what a W3C data schema says: the input of an action (Thing Description 1.1, clause 5.3.2)."""

from collections.abc import Callable, Mapping
from typing import Any

_DEPTH_MAX = 16


def schema_fault(value: Any, schema: Mapping[str, Any], where: str = "the input", depth: int = 0) -> str:
    """What is wrong with a value, and where; empty when nothing is. Terms that constrain nothing are passed by.

    >>> schema_fault({"level": 7}, {"type": "object", "properties": {"level": {"type": "integer", "maximum": 5}}})
    'the input/level is above 5'
    """
    if depth > _DEPTH_MAX:
        return f"{where} is nested too deep"
    kind = schema.get("type")
    if kind in _TYPES and not _TYPES[kind](value):
        return f"{where} is not of type {kind}"
    if "const" in schema and value != schema["const"]:
        return f"{where} is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{where} is not one of {schema['enum']!r}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number_fault(value, schema, where)
    if isinstance(value, str):
        return _size_fault(len(value), schema, where, "Length", "characters")
    if isinstance(value, list):
        fault = _size_fault(len(value), schema, where, "Items", "items")
        items = schema.get("items")
        if fault or not isinstance(items, Mapping):
            return fault
        faults = (schema_fault(one, items, f"{where}/{place}", depth + 1) for place, one in enumerate(value))
        return next(filter(None, faults), "")
    if isinstance(value, dict):
        return _object_fault(value, schema, where, depth)
    return ""


def _number_fault(value: float, schema: Mapping[str, Any], where: str) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and value < low:
        return f"{where} is below {low:g}"
    if high is not None and value > high:
        return f"{where} is above {high:g}"
    if above is not None and value <= above:
        return f"{where} is not above {above:g}"
    if below is not None and value >= below:
        return f"{where} is not below {below:g}"
    return ""


def _size_fault(size: int, schema: Mapping[str, Any], where: str, term: str, unit: str) -> str:
    if size < schema.get(f"min{term}", 0):
        return f"{where} has fewer than {schema[f'min{term}']} {unit}"
    if size > schema.get(f"max{term}", size):
        return f"{where} has more than {schema[f'max{term}']} {unit}"
    return ""


def _object_fault(value: Mapping[str, Any], schema: Mapping[str, Any], where: str, depth: int) -> str:
    for name in schema.get("required", ()):
        if name not in value:
            return f"{where} lacks {name}"
    for name, below in schema.get("properties", {}).items():
        if name in value and (fault := schema_fault(value[name], below, f"{where}/{name}", depth + 1)):
            return fault
    return ""


_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
