"""Definitions inferred from traffic (§2)."""

import math
from typing import Any

import pytest

from taihu.kernel.ids import NameRefused
from taihu.kernel.limits import Limits
from taihu.things.infer import infer_properties, infer_property
from taihu.things.property import DataType, Kind, Property
from taihu.things.validate import pack_column


@pytest.mark.parametrize(
    ("value", "data_type", "kind"),
    [
        (20, DataType.NUMBER, Kind.GAUGE),
        (20.5, DataType.NUMBER, Kind.GAUGE),
        (math.nan, DataType.NUMBER, Kind.GAUGE),
        (True, DataType.BOOLEAN, Kind.STATE),
        ("on", DataType.STRING, Kind.STATE),
        ({"a": 1}, DataType.OBJECT, Kind.EVENT),
        ([1, 2], DataType.OBJECT, Kind.EVENT),
    ],
)
def test_first_value_decides(value: Any, data_type: DataType, kind: Kind) -> None:
    """§2: inferred, unit undeclared."""
    definition = infer_property("x", value)
    assert definition == Property(name="x", data_type=data_type, kind=kind, unit=None, inferred=True)


@pytest.mark.parametrize("value", [None, b"x", object()])
def test_nothing_is_inferred_from_null_or_strange_values(value: Any) -> None:
    assert infer_property("x", value) is None


def test_integers_widen_but_types_do_not_change() -> None:
    definition = infer_property("x", 20)
    assert definition is not None
    _, refused, _ = pack_column(definition, [20, 20.5, "21", True])
    assert [row for row, _ in refused] == [2, 3]


def test_a_name_that_cannot_be_is_refused() -> None:
    with pytest.raises(NameRefused):
        infer_property("a/b", 1)


def test_many_at_once_are_bounded_and_reported() -> None:
    """§6: at most `properties_per_thing_max`."""
    known = {"p": Property(name="p")}
    new, refused = infer_properties(
        {"p": "other", "a": 1, "b/c": 2, "n": None, "d": 3, "e": 4}, known, Limits(properties_per_thing_max=3)
    )
    assert list(new) == ["a", "d"]
    assert [name for name, _ in refused] == ["b/c", "n", "e"]
    assert all(reason for _, reason in refused)
