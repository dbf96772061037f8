"""Whether a property's definition makes sense, however it came: from a Thing Model, a person or a program."""

from taihu.kernel.errors import RefusedError
from taihu.kernel.ids import check_name
from taihu.kernel.units import parse_unit
from taihu.things.property import DataType, Kind, Property

_NUMBERS = (DataType.NUMBER, DataType.INTEGER)


class DefinitionRefused(RefusedError):
    """A property's definition contradicts itself: the message says how."""

    code = "definition"


def check_definition(definition: Property) -> Property:
    """Return `definition` if it can be used.

    Raises:
        NameRefused: its name cannot name a property.
        UnitError: its unit is not UCUM (§2).
        DefinitionRefused: its kind, type and bounds do not go together.
    """
    check_name(definition.name)
    if definition.unit is not None:
        parse_unit(definition.unit)
    for wrong, remedy in _contradictions(definition).items():
        raise DefinitionRefused(f"{definition.name}: {wrong}.", remedy)
    return definition


def _contradictions(definition: Property) -> dict[str, str]:
    numeric = definition.data_type in _NUMBERS
    low, high = definition.minimum, definition.maximum
    faults = {
        "an interval has no length": (
            "Set interval_s.",
            definition.kind is Kind.INTERVAL and not definition.interval_s,
        ),
        f"a {definition.kind} must be a number": (
            "Use data_type number or integer.",
            definition.kind in (Kind.COUNTER, Kind.INTERVAL) and not numeric,
        ),
        "the minimum is above the maximum": ("Exchange them.", low is not None and high is not None and low > high),
        "max_age_s is not above 0": ("Say how long a value holds.", definition.max_age_s <= 0),
        "the ratio is not above 0": ("Use 1 where there is no transformer.", definition.ratio <= 0),
    }
    return {fault: remedy for fault, (remedy, holds) in faults.items() if holds}
