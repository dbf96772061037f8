"""BACnet objects as points: which types there are, what their values are, and where a point has its own."""

import math
from typing import Annotated, Any, NamedTuple

import msgspec
from bacpypes3.basetypes import BinaryPV
from bacpypes3.primitivedata import CharacterString, Double, Integer, Null, ObjectIdentifier, Real, Unsigned

from taihu.drivers.bacnet.units import UNITS
from taihu.drivers.port import DeviceRefused, Point
from taihu.kernel.errors import TaihuError
from taihu.kernel.ids import check_name
from taihu.things.property import DataType, Kind, Property

PAGE = "docs/bacnet.md"
PRIORITY = 8  # manual operator
_FAULT = 1  # of status-flags: in-alarm, fault, overridden, out-of-service


class Type(NamedTuple):
    """An object type: how its present value is encoded, and what it is as a property."""

    coding: Any
    data_type: DataType = DataType.NUMBER
    kind: Kind = Kind.GAUGE


TYPES: dict[str, Type] = {
    "analog-input": Type(Real),
    "analog-output": Type(Real),
    "analog-value": Type(Real),
    "large-analog-value": Type(Double),
    "integer-value": Type(Integer),
    "positive-integer-value": Type(Unsigned),
    "accumulator": Type(Unsigned, kind=Kind.COUNTER),
    "pulse-converter": Type(Real),
    "binary-input": Type(BinaryPV, DataType.BOOLEAN, Kind.STATE),
    "binary-output": Type(BinaryPV, DataType.BOOLEAN, Kind.STATE),
    "binary-value": Type(BinaryPV, DataType.BOOLEAN, Kind.STATE),
    "multi-state-input": Type(Unsigned, DataType.INTEGER, Kind.STATE),
    "multi-state-output": Type(Unsigned, DataType.INTEGER, Kind.STATE),
    "multi-state-value": Type(Unsigned, DataType.INTEGER, Kind.STATE),
    "characterstring-value": Type(CharacterString, DataType.STRING, Kind.STATE),
}


class Address(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a point is: an object such as `analog-value,3`, what its states are called, and how it is commanded."""

    object: str
    states: tuple[str, ...] = ()
    priority: Annotated[int, msgspec.Meta(ge=1, le=16)] = PRIORITY
    cov: bool = True

    @property
    def type(self) -> Type:
        """Its object type; DeviceRefused when it is none of those that are read."""
        found = TYPES.get(self.object.partition(",")[0])
        if found is None or not self.object.partition(",")[2].isdigit():
            raise DeviceRefused(f"{self.object[:80]!r} is no object.", f"Write one such as analog-value,3 ({PAGE}).")
        return found

    @property
    def identifier(self) -> Any:
        """Its object identifier."""
        kind = self.type
        assert kind
        name, _, number = self.object.partition(",")
        if int(number) >= 4_194_303:
            raise DeviceRefused(f"{self.object[:80]!r} has an instance that cannot be.", "It goes up to 4194302.")
        return ObjectIdentifier(f"{name},{number}")


def plain(value: Any, address: Address) -> Any:
    """A present value as JSON has it; None for one that is no value, such as a number that is none."""
    data_type = address.type.data_type
    if data_type is DataType.STRING:
        return str(value)
    if data_type is DataType.BOOLEAN:
        return int(value) == 1
    if data_type is DataType.INTEGER:
        state = int(value)
        if address.states:
            return address.states[state - 1] if 0 < state <= len(address.states) else None
        return state
    number = float(value)
    return number if math.isfinite(number) else None


def coded(value: Any, address: Address) -> Any:
    """A value as BACnet has it; null gives the command up. DeviceRefused when it is of another type."""
    if value is None:
        return Null(())
    kind = address.type
    try:
        if kind.data_type is DataType.BOOLEAN and isinstance(value, bool):
            return BinaryPV(1 if value else 0)
        if address.states and value in address.states:
            return Unsigned(address.states.index(value) + 1)
        if kind.data_type is DataType.STRING and isinstance(value, str):
            return CharacterString(value)
        if kind.data_type in (DataType.NUMBER, DataType.INTEGER) and type(value) in (int, float):
            if kind.coding in (Unsigned, Integer):
                if value != int(value):
                    raise ValueError("no whole number")
                return kind.coding(int(value))
            if not math.isfinite(value):
                raise ValueError("no number")
            return kind.coding(float(value))
    except (ValueError, TypeError, OverflowError) as error:
        raise DeviceRefused(f"{value!r:.40} cannot be written: {error}.", "Write a value of its type.") from None
    raise DeviceRefused(f"{value!r:.40} is no value of {address.object}.", "Write a value of its type.")


def is_fault(flags: Any) -> bool:
    """Whether status flags say that the value is none."""
    return len(flags) > _FAULT and bool(flags[_FAULT])


def is_doubtful(flags: Any) -> bool:
    """Whether status flags say that somebody sets the value by hand: it is overridden, or out of service."""
    return any(flags[_FAULT + 1 :])


def point_of(identifier: str, told: dict[str, Any], taken: set[str]) -> Point:
    """A point of an object, from the properties it told; its name is the object's, where it can be one."""
    kind = TYPES[identifier.partition(",")[0]]
    name = str(told.get("object-name", "")).strip().replace("/", ".")
    try:
        check_name(name)
    except TaihuError:
        name = ""
    if not name or name in taken:
        name = identifier.replace(",", "-")
    taken.add(name)
    states = tuple(str(one) for one in told.get("state-text") or ())
    if len(set(states)) < len(states):
        states = ()
    writable = "priority-array" in told
    units = told.get("units")
    definition = Property(
        name=name,
        kind=kind.kind,
        data_type=DataType.STRING if states else kind.data_type,
        unit=UNITS.get(int(units)) if units is not None else None,
        enum=states,
        writable=writable,
        description=str(told.get("description", ""))[:500],
    )
    where: dict[str, Any] = {"object": identifier} | ({"states": list(states)} if states else {})
    return Point(definition=definition, where=where)
