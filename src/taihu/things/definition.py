"""Whether a property's definition makes sense, however it came: from a Thing Model, a person or a program."""

from collections.abc import Mapping, Sequence

from taihu.kernel.errors import RefusedError
from taihu.kernel.ids import check_name
from taihu.kernel.limits import DEFAULT
from taihu.kernel.retention import check_retention
from taihu.kernel.units import parse_unit
from taihu.things.calculation import bind
from taihu.things.document import DescriptionError, join
from taihu.things.formula import FormulaError, Members, parse_formula
from taihu.things.property import DataType, Kind, Property

_NUMBERS = (DataType.NUMBER, DataType.INTEGER)
_MAX_AGE_S = 100 * 366 * 86_400  # nanoseconds of it fit into 64 bits


class DefinitionRefused(RefusedError):
    """A property's definition contradicts itself: the message says how."""

    code = "definition"


def check_definition(definition: Property) -> Property:
    """Return `definition` if it can be used.

    Raises:
        NameRefused: its name cannot name a property.
        UnitError: its unit is not UCUM (§2).
        RetentionRefused: how long it is kept is no age.
        DefinitionRefused: its kind, type and bounds do not go together.
        FormulaError: its formula cannot be read.
    """
    check_name(definition.name)
    if definition.unit is not None:
        parse_unit(definition.unit)
    if definition.retention is not None:
        check_retention(definition.retention)
    for wrong, remedy in _contradictions(definition).items():
        raise DefinitionRefused(f"{definition.name}: {wrong}.", remedy)
    if definition.formula:
        parse_formula(definition.formula)
    return definition


def formula_fault(kind: str, data_type: str, unit: str | None, writable: bool) -> tuple[str, str] | None:
    """Why a property cannot be calculated, and what to write instead; None when it can."""
    if kind not in (Kind.GAUGE, Kind.INTERVAL) or data_type != DataType.NUMBER:
        return f"a {kind} of type {data_type} is not calculated", "Make it a gauge or an interval of type number."
    if unit is None:
        return "a calculated property has no unit", "Declare the unit of the result; 1 for none."
    if writable:
        return "a calculated property is not written", "Leave writable out."
    return None


def check_formulas(definitions: Mapping[str, Property]) -> None:
    """Raise DescriptionError for a formula that means nothing among the properties of its own thing.

    What it names of other things is not looked at here.
    """
    for definition in definitions.values():
        if definition.formula:
            try:
                bind("", "", definition, _OwnScope(definitions), DEFAULT)
            except FormulaError as error:
                pointer = join("/properties", definition.name) + "/taihu:formula"
                raise DescriptionError(pointer, error.message, error.remedy) from None


class _OwnScope:
    """One thing by itself."""

    def __init__(self, definitions: Mapping[str, Property]) -> None:
        self._definitions = definitions

    def definition(self, project: str, thing: str, name: str) -> Property | None:
        return None if thing else self._definitions.get(name)

    def members(self, project: str, thing: str, members: Members) -> Sequence[str]:
        return ()

    def granted(self, reader: str, project: str, thing: str, name: str) -> bool:
        return False


def _contradictions(definition: Property) -> dict[str, str]:
    numeric = definition.data_type in _NUMBERS
    low, high = definition.minimum, definition.maximum
    faults = {
        "an interval has no length": (
            "Set interval_s: how many seconds its amount is of.",
            definition.kind is Kind.INTERVAL and definition.interval_s is None,
        ),
        "interval_s is not above 0, or beyond a century": (
            "Say how many seconds its amount is of.",
            definition.interval_s is not None and not 0 < definition.interval_s <= _MAX_AGE_S,
        ),
        f"a {definition.kind} must be a number": (
            "Use data_type number or integer.",
            definition.kind in (Kind.COUNTER, Kind.INTERVAL) and not numeric,
        ),
        "the minimum is above the maximum": ("Exchange them.", low is not None and high is not None and low > high),
        "max_age_s is not above 0": ("Say how long a value holds.", definition.max_age_s <= 0),
        "max_age_s is beyond a century": ("Say how long a value holds.", definition.max_age_s > _MAX_AGE_S),
        "the ratio is not above 0": ("Use 1 where there is no transformer.", definition.ratio <= 0),
    }
    found = {fault: remedy for fault, (remedy, holds) in faults.items() if holds}
    if definition.formula and (
        fault := formula_fault(definition.kind, definition.data_type, definition.unit, definition.writable)
    ):
        found |= {fault[0]: fault[1]}
    return found
