"""A definition that contradicts itself is refused with what to write instead (§2)."""

import pytest

from taihu.kernel.ids import NameRefused
from taihu.kernel.units import UnitError
from taihu.things.definition import DefinitionRefused, check_definition
from taihu.things.property import DataType, Kind, Property

GOOD = Property(name="energy", kind=Kind.INTERVAL, unit="kW.h", interval_s=3600.0, minimum=0.0)


def test_a_sound_definition_is_given_back() -> None:
    assert check_definition(GOOD) is GOOD


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (Property(name="e", kind=Kind.INTERVAL), "no length"),
        (Property(name="e", kind=Kind.INTERVAL, interval_s=0.0), "interval_s is not above 0"),
        (Property(name="e", kind=Kind.INTERVAL, interval_s=-900.0), "interval_s is not above 0"),
        (Property(name="e", kind=Kind.INTERVAL, interval_s=float("inf")), "interval_s .* beyond a century"),
        (Property(name="e", kind=Kind.COUNTER, data_type=DataType.STRING), "must be a number"),
        (Property(name="e", minimum=2.0, maximum=1.0), "minimum is above"),
        (Property(name="e", max_age_s=0.0), "max_age_s"),
        (Property(name="e", max_age_s=1e10), "max_age_s is beyond a century"),
        (Property(name="e", ratio=-1.0), "ratio"),
    ],
)
def test_a_contradiction_is_told(definition: Property, message: str) -> None:
    with pytest.raises(DefinitionRefused, match=message) as told:
        check_definition(definition)
    assert told.value.remedy


def test_names_and_units_are_checked() -> None:
    with pytest.raises(NameRefused):
        check_definition(Property(name="a/b"))
    with pytest.raises(UnitError):
        check_definition(Property(name="a", unit="kWx"))
