"""What the payload decoders share: bytes to a document, a document to values."""

from decimal import Decimal
from math import isfinite
from typing import Any

import msgspec

from taihu.kernel.ids import NAME_LENGTH_MAX
from taihu.kernel.limits import DEFAULT, Limits
from taihu.kernel.units import alias
from taihu.things.mapping.errors import PayloadError
from taihu.things.mapping.rules import Mapping, Nested
from taihu.things.mapping.times import parse_time

INT_END = 1 << 63


class Source(msgspec.Struct, frozen=True):
    """What the topic says about a payload: the mapping, and the thing and property it names.

    `thing` is None for that of the connection, and where the payload names it. `own` is that of the connection, where a
    payload may but need not name another. Times of line protocol count `unit_ns`.
    """

    mapping: Mapping
    thing: str | None = None
    property: str = ""
    limits: Limits = DEFAULT
    own: str | None = None
    unit_ns: int = 1


class InexactTime(Exception):
    """A time has decimals that a float may not hold: read the document again with Decimals."""


def load_json(payload: bytes, exact: bool = False) -> Any:
    """The document of a JSON text; numbers with decimals as float, or as Decimal when `exact`."""
    try:
        return (_exact if exact else _plain).decode(payload)
    except msgspec.ValidationError:
        raise PayloadError("bad-value", "A number is too large.", "Send numbers below 1e308.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PayloadError("not-json", f"This is not JSON in UTF-8: {error}.", "Send one JSON text.") from None
    except RecursionError:
        raise too_deep() from None


def time_of(value: Any) -> int | None:
    """`parse_time`, but None for None, and InexactTime for a float."""
    if value is None:
        return None
    if type(value) is float:
        raise InexactTime
    return parse_time(value)


def take_time(document: dict[str, Any], keys: tuple[str, ...]) -> int | None:
    """The time under the first of `keys` that the document has."""
    for key in keys:
        if key in document:
            return time_of(document[key])
    return None


def leaf(value: Any) -> Any:
    """A value as it is stored: an integer beyond 64 bits becomes a float; NaN and infinities are refused."""
    kind = type(value)
    if kind is bool or kind is str:
        return value
    if kind is int and -INT_END <= value < INT_END:
        return value
    try:
        number = float(value)
    except (OverflowError, ValueError, TypeError):
        raise _bad_value(value) from None
    if not isfinite(number):
        raise _bad_value(value)
    return number


def tree(value: Any, limits: Limits, depth: int = 1) -> Any:
    """A value as it is stored, objects and arrays whole."""
    if type(value) is not dict and type(value) is not list:
        return None if value is None else leaf(value)
    if depth > limits.payload_depth_max:
        raise too_deep()
    if type(value) is dict:
        return {key: tree(item, limits, depth + 1) for key, item in value.items()}
    return [tree(item, limits, depth + 1) for item in value]


def properties(document: dict[str, Any], source: Source, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """The values of an object's properties by name, but for the keys in `skip`; null is no reading (§3)."""
    values: dict[str, Any] = {}
    for key, value in document.items():
        if key in skip or value is None:
            continue
        if type(value) is not dict and type(value) is not list:
            values[key] = leaf(value)
        elif source.mapping.nested is Nested.OBJECT:
            values[key] = tree(value, source.limits)
        else:
            _flatten(key, value, values, source.limits, 1)
    if len(values) > source.limits.properties_per_thing_max:
        raise too_many("properties", source.limits.properties_per_thing_max)
    rename = source.mapping.rename
    return {rename.get(key, key): value for key, value in values.items()} if rename else values


def _flatten(path: str, value: dict[str, Any] | list[Any], values: dict[str, Any], limits: Limits, depth: int) -> None:
    if depth > limits.payload_depth_max:
        raise too_deep()
    if len(path) > NAME_LENGTH_MAX:  # each leaf repeats it
        raise PayloadError("bad-name", f"{path[:40]!r}... is too long a name.", f"Use {NAME_LENGTH_MAX} characters.")
    if type(value) is list and len(value) > limits.payload_array_items_max:
        raise too_many("items in an array", limits.payload_array_items_max)
    for key, item in value.items() if type(value) is dict else enumerate(value):
        name = f"{path}.{key}"
        if type(item) is dict or type(item) is list:
            _flatten(name, item, values, limits, depth + 1)
        elif item is not None:
            values[name] = leaf(item)
    if len(values) > limits.properties_per_thing_max:
        raise too_many("properties", limits.properties_per_thing_max)


def unit_code(unit: Any) -> str:
    """The UCUM code of a unit as a payload declares it; the text itself when it is none known."""
    if type(unit) is not str:
        raise PayloadError("bad-unit", "The unit is not text.", 'Send a UCUM code such as "kW".')
    return alias(unit) or unit


def too_deep() -> PayloadError:
    """The document is nested beyond `payload_depth_max`."""
    return PayloadError("too-deep", "Objects are nested too deep.", "Send fewer levels, or raise payload_depth_max.")


def too_many(what: str, most: int) -> PayloadError:
    """The document holds more of something than its limit."""
    return PayloadError("too-many", f"There are more than {most} {what}.", "Send several messages.")


def no_values() -> PayloadError:
    """The document holds no reading."""
    return PayloadError("no-values", "There is no value in this payload.", "Send at least one that is not null.")


def _bad_value(value: Any) -> PayloadError:
    return PayloadError("bad-value", f"A {type(value).__name__} cannot be stored.", "Send finite numbers below 1e308.")


_plain = msgspec.json.Decoder()
_exact = msgspec.json.Decoder(float_hook=Decimal)
