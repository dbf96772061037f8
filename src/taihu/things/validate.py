"""How values are checked against their property's definition and packed into a column.

A whole column is checked by C loops; only a column with a fault is looked at value by value. What a definition cannot
hold (another type, a number that is not finite, an integer beyond 64 bits) is always refused; what it can hold but
forbids (out of range, not in the enumeration) is refused or kept as suspect by `on_bad`.
"""

from array import array
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, NamedTuple

import msgspec

from taihu.kernel.clock import NS_PER_S, format_iso
from taihu.kernel.errors import RefusedError
from taihu.kernel.limits import Limits
from taihu.things.batch import Column
from taihu.things.property import DataType, Kind, OnBad, Property

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_OBJECT_DEPTH_MAX = 32
_OBJECT_ITEMS_MAX = 10_000  # counted as expanded: CBOR can name one list many times
_SHOWN_MAX = 40
_CALCULATED = "it is calculated: nothing is sent of it"


class ValueRefused(RefusedError):
    """A property's definition forbids the value: the message says why."""

    code = "value"


Bad = tuple[int, str]  # a row and what is wrong with its value


class Packed(NamedTuple):
    """A checked column: the rows that are not in `refused`, in their order; `suspect` rows are in it too.

    Row numbers in both lists are those of the values given, ascending.
    """

    column: Column
    refused: list[Bad]
    suspect: list[Bad]


def pack_column(definition: Property, values: list[Any]) -> Packed:
    """Check `values` against `definition` and pack them.

    The column's code follows from the data type alone: number 'd', integer 'q', boolean 'b', string and object 'o'.
    """
    if definition.formula:
        return Packed(_PACK[definition.data_type]([]), [(row, _CALCULATED) for row in range(len(values))], [])
    column = _pack_good(definition, values)
    if column is not None:
        return Packed(column, [], [])
    kept: list[Any] = []
    refused: list[Bad] = []
    suspect: list[Bad] = []
    for row, value in enumerate(values):
        reason = _unfit(definition, value)
        if reason is None:
            reason = _forbidden(definition, value)
            if reason is None or definition.on_bad is OnBad.FLAG:
                kept.append(value)
                if reason is not None:
                    suspect.append((row, reason))
                continue
        refused.append((row, reason))
    return Packed(_PACK[definition.data_type](kept), refused, suspect)


def check_value(definition: Property, value: Any) -> str | None:
    """What is wrong with one value, or None."""
    return _unfit(definition, value) or _forbidden(definition, value)


def check_wish(name: str, value: Any, definition: Property | None) -> None:
    """Raise ValueRefused unless `value` may be wanted of a property; None, which takes a wish back, always may.

    A property nobody declared may be wanted: the device knows best what it listens to.
    """
    if definition is None or definition.inferred or value is None:
        return
    if not definition.writable:
        raise ValueRefused(f"{name} is read-only.", "Declare it writable in its Thing Model.")
    reason = check_value(definition, value)
    if reason is not None:
        raise ValueRefused(f"{name}: {reason}.", "Send a value that its definition allows.")


def check_times(observed: Sequence[int], received_at: int, created_at: int, limits: Limits) -> list[Bad]:
    """The rows whose `observed_at` (UTC ns) cannot be: further ahead than clocks drift, or before the device existed.

    `created_at` is 0 where nobody knows when the device came into being; then 1970 is the earliest time.
    """
    latest = received_at + int(limits.future_tolerance_s * NS_PER_S)
    if not observed or (min(observed) >= created_at and max(observed) <= latest):
        return []
    return [
        (row, reason)
        for row, moment in enumerate(observed)
        if (reason := check_time(moment, received_at, created_at, limits)) is not None
    ]


def check_time(observed_at: int, received_at: int, created_at: int, limits: Limits) -> str | None:
    """What is wrong with one `observed_at` (UTC ns), or None; see `check_times`."""
    if observed_at < created_at:
        return f"observed before the device existed ({format_iso(created_at)})"
    ahead = observed_at - received_at
    if ahead > limits.future_tolerance_s * NS_PER_S:
        return f"observed {ahead / NS_PER_S:.0f} s in the future (at most {limits.future_tolerance_s:.0f} s)"
    return None


def _pack_good(definition: Property, values: list[Any]) -> Column | None:
    """The column if every value is as defined; None sends the column to the value by value check."""
    data_type = definition.data_type
    if not set(map(type, values)) <= _FAST_TYPES[data_type]:
        return None
    if data_type is DataType.NUMBER or data_type is DataType.INTEGER:
        try:
            column = _PACK[data_type](values)
        except OverflowError:
            return None
        return column if _in_range(definition, values) else None
    if data_type is DataType.BOOLEAN:
        return _pack_booleans(values)
    if data_type is DataType.OBJECT and any(_object_fault(value) for value in values):
        return None
    if definition.enum and not set(values) <= set(definition.enum):
        return None
    try:
        return _pack_objects(values)
    except UnicodeEncodeError:
        return None


def _in_range(definition: Property, values: list[Any]) -> bool:
    """Whether all numbers are finite and in range; a sum that overflows says no and leaves it to the slow check."""
    if not values:
        return True
    try:
        if not isfinite(sum(values)):
            return False
    except OverflowError:
        return False
    upper = _upper(definition)
    return (definition.minimum is None or min(values) >= definition.minimum) and (upper is None or max(values) <= upper)


def _upper(definition: Property) -> float | None:
    """The largest value allowed; a counter's register never shows more than where it wraps."""
    if definition.wrap is None or definition.kind is not Kind.COUNTER:
        return definition.maximum
    return definition.wrap if definition.maximum is None else min(definition.wrap, definition.maximum)


def _unfit(definition: Property, value: Any) -> str | None:
    """Why a column of this type cannot hold the value, or None."""
    match definition.data_type:
        case DataType.NUMBER:
            return _number_fault(value)
        case DataType.INTEGER:
            return _integer_fault(value)
        case DataType.BOOLEAN:
            return None if type(value) is bool else _other_type(value, "a boolean")
        case DataType.STRING:
            return _string_fault(value) if type(value) is str else _other_type(value, "a string")
        case DataType.OBJECT:
            if not isinstance(value, (dict, list)):
                return _other_type(value, "an object or array")
            return _object_fault(value) or _encoding_fault(value)


def _forbidden(definition: Property, value: Any) -> str | None:
    """Why the definition forbids a value that fits its type, or None."""
    if definition.data_type in (DataType.NUMBER, DataType.INTEGER):
        upper = _upper(definition)
        if definition.minimum is not None and value < definition.minimum:
            return f"{value} is below the minimum {definition.minimum:g}"
        if upper is not None and value > upper:
            return f"{value} is above the maximum {upper:g}"
    elif definition.data_type is DataType.STRING and definition.enum and value not in definition.enum:
        return f"{value[:_SHOWN_MAX]!r} is not one of {', '.join(definition.enum)[:_SHOWN_MAX]}"
    return None


def _number_fault(value: Any) -> str | None:
    if type(value) is not float and type(value) is not int:
        return _other_type(value, "a number")
    try:
        return None if isfinite(value) else f"{value} is not a finite number"
    except OverflowError:
        return "the number is too large"


def _integer_fault(value: Any) -> str | None:
    if type(value) is float:
        if not isfinite(value):
            return f"{value} is not a finite number"
        if not value.is_integer():
            return f"{value} is not an integer"
        value = int(value)
    if type(value) is not int:
        return _other_type(value, "an integer")
    return None if _INT64_MIN <= value <= _INT64_MAX else "the integer does not fit 64 bits"


def _string_fault(value: str) -> str | None:
    return None if _encodable(value) else "the string is not valid Unicode"


def _object_fault(value: Any) -> str | None:
    """Why an object is not plain JSON that can be stored, or None; iterative, so depth cannot hurt."""
    level = [value]
    for _ in range(_OBJECT_DEPTH_MAX):
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is dict:
                if not all(type(key) is str for key in item):
                    return "an object has a key that is not a string"
                below += item.values()
            elif kind is list:
                below += item
            elif kind is float or kind is int:
                fault = _number_fault(item) if kind is float else _integer_fault(item)
                if fault is not None:
                    return f"in the object, {fault}"
            elif item is not None and kind is not str and kind is not bool:
                return _other_type(item, "plain JSON")
            if len(below) > _OBJECT_ITEMS_MAX:
                return f"the object has more than {_OBJECT_ITEMS_MAX} items on one level"
        if not below:
            return None
        level = below
    return f"the object is nested deeper than {_OBJECT_DEPTH_MAX} levels"


def _encoding_fault(value: Any) -> str | None:
    try:
        msgspec.msgpack.encode(value)
    except UnicodeEncodeError:
        return "a string in the object is not valid Unicode"
    return None


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_TYPE_NAMES = {bool: "a boolean", int: "a number", float: "a number", str: "a string", dict: "an object"}


def _other_type(value: Any, wanted: str) -> str:
    if value is None:
        return f"null where {wanted} is defined"
    if type(value) is str:
        return f"the string {value[:_SHOWN_MAX]!r} where {wanted} is defined"
    got = _TYPE_NAMES.get(type(value), "an array" if type(value) is list else f"a {type(value).__name__}")
    return f"{got} where {wanted} is defined"


def _pack_numbers(values: list[Any]) -> Column:
    return Column("d", array("d", values).tobytes())


def _pack_integers(values: list[Any]) -> Column:
    try:
        return Column("q", array("q", values).tobytes())
    except TypeError:  # JSON may write an integer as 20.0
        return Column("q", array("q", map(int, values)).tobytes())


def _pack_booleans(values: list[Any]) -> Column:
    return Column("b", bytes(values))


def _pack_objects(values: list[Any]) -> Column:
    return Column("o", msgspec.msgpack.encode(values))


_FAST_TYPES: dict[DataType, frozenset[type]] = {
    DataType.NUMBER: frozenset((float, int)),
    DataType.INTEGER: frozenset((int,)),
    DataType.BOOLEAN: frozenset((bool,)),
    DataType.STRING: frozenset((str,)),
    DataType.OBJECT: frozenset((dict, list)),
}
_PACK: dict[DataType, Callable[[list[Any]], Column]] = {
    DataType.NUMBER: _pack_numbers,
    DataType.INTEGER: _pack_integers,
    DataType.BOOLEAN: _pack_booleans,
    DataType.STRING: _pack_objects,
    DataType.OBJECT: _pack_objects,
}
