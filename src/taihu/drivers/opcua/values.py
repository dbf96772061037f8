"""Values between OPC UA and JSON, and the addresses that a connection's file holds for them."""

import base64
import math
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Literal, TypeVar
from uuid import UUID

import msgspec
from asyncua import ua

from taihu.drivers.port import DeviceRefused, Point
from taihu.kernel.clock import parse_iso, to_datetime
from taihu.protocols.opcua.publish import plain_time
from taihu.things.property import DataType

Type = Literal[
    "Boolean", "SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "Float", "Double",
    "String", "DateTime", "Guid", "ByteString", "LocalizedText", "StatusCode", "ExtensionObject", "Variant",
]  # fmt: skip

_BITS = {"SByte": (-7, 7), "Byte": (0, 8), "Int16": (-15, 15), "UInt16": (0, 16), "Int32": (-31, 31),
         "UInt32": (0, 32), "Int64": (-63, 63), "UInt64": (0, 64)}  # fmt: skip
_SCHEMAS = {"Boolean": "boolean", "Float": "number", "Double": "number", "ExtensionObject": "object"} | dict.fromkeys(
    _BITS, "integer"
)
_TICKS_1970 = 116_444_736_000_000_000
_DEPTH_MAX = 8

Where = TypeVar("Where", bound=msgspec.Struct)


class Address(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a point is.

    `node` is a node identifier as the standard writes it, with the namespace's URI (`nsu=URI;s=Boiler`) or index
    (`ns=2;i=7`). `symbols` are what an enumeration's numbers are called. `deadband` is in the value's unit,
    `deadband_percent` of its range; changes below it are not told. With `repeats` the same value at a new time of the
    device is told too. `events` says that it is what the node tells of.
    """

    node: str
    type: Type = "Double"
    array: bool = False
    symbols: dict[str, str] = {}
    deadband: float = 0.0
    deadband_percent: float = 0.0
    repeats: bool = False
    events: bool = False


class Argument(msgspec.Struct, frozen=True, kw_only=True):
    """One argument of a method, into it or out of it."""

    name: str
    type: Type
    array: bool = False


class Method(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an action is: a method of an object, and what goes in and out of it in order."""

    object: str
    method: str
    inputs: tuple[Argument, ...] = ()
    outputs: tuple[Argument, ...] = ()


def address_of(point: Point) -> Address:
    """A point's address; DeviceRefused when it is none."""
    return read_where(point.where, Address, point.definition.name)


def read_where(where: dict[str, Any], kind: type[Where], name: str) -> Where:
    """What `where` says; DeviceRefused with the name of the point or action when it says nothing sensible."""
    try:
        return msgspec.convert(where, kind)
    except msgspec.ValidationError as error:
        raise DeviceRefused(f"The address of {name} cannot be: {error}.", "See docs/opcua.md.") from None


def data_type_of(kind: Type, array: bool, symbols: bool) -> DataType:
    """The type of a property that holds such values."""
    if array:
        return DataType.OBJECT
    return DataType.STRING if symbols else DataType(_SCHEMAS.get(kind, "string"))


def schema_of(argument: Argument) -> dict[str, Any]:
    """The W3C data schema of an argument."""
    plain = {"type": _SCHEMAS.get(argument.type, "string")}
    return {"type": "array", "items": plain} if argument.array else plain


def plain(value: Any, depth: int = 0) -> Any:
    """What asyncua decoded, as JSON has it; None where there is none."""
    if value is None or isinstance(value, bool | int | float | str):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, list | tuple):
        return [plain(one, depth + 1) for one in value] if depth < _DEPTH_MAX else None
    if isinstance(value, ua.LocalizedText):
        return value.Text
    if isinstance(value, ua.QualifiedName):
        return value.Name
    if isinstance(value, ua.StatusCode):
        return value.value
    if isinstance(value, ua.NodeId):
        return value.to_string()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return plain_time(ticks_of(value))
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, ua.Variant):
        return plain(value.Value, depth + 1)
    if is_dataclass(value) and depth < _DEPTH_MAX:
        return {field.name: plain(getattr(value, field.name), depth + 1) for field in fields(value)}
    return str(value)


def usable(value: Any) -> bool:
    """Whether there is a value: none that is missing, not a number or infinite (§3)."""
    if isinstance(value, list):
        return all(map(usable, value))
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def variant(name: str, kind: Type, array: bool, value: Any, symbols: dict[str, str] | None = None) -> ua.Variant:
    """A JSON value as an OPC UA value of a type; DeviceRefused when it does not fit."""
    if array:
        if not isinstance(value, list):
            raise DeviceRefused(f"{name} holds a list.", "Write one, such as [1, 2].")
        return ua.Variant([_scalar(name, kind, one) for one in value], ua.VariantType[kind], is_array=True)
    for number, symbol in (symbols or {}).items():
        if value == symbol:
            value = int(number)
    if symbols and not isinstance(value, int):
        raise DeviceRefused(f"{name} cannot be {str(value)[:40]!r}.", f"There are: {', '.join(symbols.values())}.")
    return ua.Variant(_scalar(name, kind, value), ua.VariantType[kind])


def _scalar(name: str, kind: Type, value: Any) -> Any:
    wrong = DeviceRefused(f"{name} cannot be {str(value)[:40]!r}: it is a {kind}.", "Write a value of its type.")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "Boolean" and isinstance(value, bool):
        return value
    if kind in _BITS and number and value == int(value):
        low, high = _BITS[kind]
        if -(1 << -low) * (low < 0) <= value < 1 << high:
            return int(value)
    if kind == "Float" and number and abs(value) <= 3.4028235e38:
        return float(value)
    if kind in ("Double", "Variant") and number:
        return float(value)
    if isinstance(value, str):
        try:
            return _from_text(kind, value)
        except (ValueError, OverflowError):
            raise wrong from None
    raise wrong


def _from_text(kind: Type, value: str) -> Any:
    match kind:
        case "String":
            return value
        case "LocalizedText":
            return ua.LocalizedText(value)
        case "DateTime":
            return to_datetime(parse_iso(value)).astimezone(UTC)
        case "Guid":
            return UUID(value)
        case "ByteString":
            return base64.b64decode(value, validate=True)
    raise ValueError


def ticks_of(moment: datetime | None) -> int:
    """A time in ticks of 100 ns since 1601; 0 for none."""
    if moment is None:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1601, 1, 1, tzinfo=UTC)
    return max(0, (since.days * 86_400 + since.seconds) * 10_000_000 + since.microseconds * 10)


def time_of(source: int, server: int, prefer_source: bool) -> int | None:
    """When a value was observed (UTC ns), by the clock that is preferred and has told; None when neither did."""
    ticks = (source or server) if prefer_source else (server or source)
    ns = (ticks - _TICKS_1970) * 100
    return ns if 0 < ns < 1 << 63 else None


def resolve(node: str, namespaces: Sequence[str]) -> ua.NodeId:
    """A node identifier for a session's namespaces; DeviceRefused when it is none, or of a namespace not there."""
    try:
        uri, sign, rest = node.removeprefix("nsu=").partition(";")
        if node.startswith("nsu=") and sign:
            if uri not in namespaces:
                raise DeviceRefused(f"The server has no namespace {uri[:80]}.", "Add it again: taihu add.")
            node = f"ns={namespaces.index(uri)};{rest}"
        return ua.NodeId.from_string(node)
    except (ua.UaError, ValueError, TypeError, KeyError) as error:
        raise DeviceRefused(f"{node[:80]!r} is no node: {error}.", "Write one such as ns=2;s=Boiler.") from None


def persistent(node: ua.NodeId, namespaces: Sequence[str]) -> str:
    """A node identifier that outlives a restart of the server: with its namespace's URI."""
    index = int(node.NamespaceIndex)
    text: str = ua.NodeId(node.Identifier, ua.Int16(0), node.NodeIdType).to_string()
    if index == 0:
        return text
    return f"nsu={namespaces[index]};{text}" if index < len(namespaces) else node.to_string()
