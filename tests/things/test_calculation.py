"""What formulas mean: units, natures, cycles and bounds; and that what is missing stays missing (§2, §3, §9, §11)."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.kernel.limits import DEFAULT, Limits
from taihu.kernel.units import convert
from taihu.things.calculation import bind
from taihu.things.formula import FormulaError, Members
from taihu.things.property import DataType, Kind, Property
from taihu.things.terms import PLAIN, Nature, Plan, Signal, work_out


def gauge(name: str, unit: str | None = "kW", **more: Any) -> Property:
    return Property(name=name, unit=unit, **more)


def counter(name: str, unit: str = "kW.h") -> Property:
    return Property(name=name, kind=Kind.COUNTER, unit=unit)


class Site:
    """Properties by thing, of one project and its neighbour `n`; all things but the formula's are its submeters."""

    def __init__(self, **things: Sequence[Property]) -> None:
        self.things = {name: {one.name: one for one in properties} for name, properties in things.items()}
        self.grants: set[tuple[str, str, str, str]] = set()

    def definition(self, project: str, thing: str, name: str) -> Property | None:
        return self.things.get(thing, {}).get(name)

    def members(self, project: str, thing: str, members: Members) -> Sequence[str]:
        return [name for name in self.things if name != thing] if members.relatives == "submeters" else []

    def granted(self, reader: str, project: str, thing: str, name: str) -> bool:
        return (reader, project, thing, name) in self.grants

    def bind(self, formula: str, unit: str = "kW", limits: Limits = DEFAULT, **more: Any) -> Plan:
        definition = Property(name="made", unit=unit, formula=formula, **more)
        return bind("p", "main", definition, self, limits)


METERS = [
    gauge("power"),
    counter("energy"),
    gauge("voltage", "V"),
    gauge("current", "A"),
    gauge("price", "{EUR}/(kW.h)"),
]


def site() -> Site:
    return Site(
        main=[*METERS, gauge("watts", "W"), gauge("indoor", "Cel"), gauge("outdoor", "[degF]"), gauge("raw", None)],
        one=METERS,
        two=METERS,
        odd=[gauge("power", None), Property(name="on", kind=Kind.STATE, data_type=DataType.BOOLEAN, unit="1")],
    )


def value(plan: Plan, *values: float) -> float:
    """The value of a level when its inputs have these."""

    def leaf(term: Any) -> Any:
        return work_out(term.of, leaf, PLAIN) if isinstance(term, Signal) else values[term.index]

    return float(work_out(plan.root, leaf, PLAIN))


@pytest.mark.parametrize(
    ("formula", "unit", "values", "result"),
    [
        ("power + watts", "kW", (1.0, 500.0), 1.5),
        ("watts + power", "kW", (500.0, 1.0), 1.5),
        ("power - 5 [W]", "kW", (1.0,), 0.995),
        ("-power", "W", (1.5,), -1500.0),
        ("voltage * current", "kW", (230.0, 10.0), 2.3),
        ("voltage * current / power", "1", (230.0, 10.0, 2.0), 1.15),
        ("voltage * current / power", "%", (230.0, 10.0, 2.0), 115.0),
        ("2 * power * 3", "kW", (1.5,), 9.0),
        ("power / 4 * 2", "kW", (1.0,), 0.5),
        ("indoor - outdoor", "K", (20.0, 50.0), 10.0),
        ("indoor + 2 [K]", "Cel", (20.0,), 22.0),
        ("indoor + (indoor - outdoor) * 0.5", "Cel", (20.0, 50.0), 25.0),
        ("min(indoor, outdoor)", "Cel", (20.0, 50.0), 10.0),
        ("max(power - 2 [kW], 0 [W])", "kW", (1.5,), 0.0),
        ("abs(power - {one/power})", "kW", (1.0, 3.0), 2.0),
        ("sum(power of submeters)", "kW", (1.0, 2.0), 3.0),
        ("power - sum(power of submeters)", "kW", (5.0, 1.0, 2.0), 2.0),
        ("mean(power of submeters)", "W", (1.0, 2.0), 1500.0),
        ("max(power of submeters)", "kW", (1.0, 2.0), 2.0),
        ("(2 + 3) * power", "kW", (1.0,), 5.0),
        ("power / (1 + 1)", "kW", (1.0,), 0.5),
    ],
)
def test_units_are_worked_out(formula: str, unit: str, values: tuple[float, ...], result: float) -> None:
    """§2"""
    plan = site().bind(formula, unit)
    assert plan.nature is Nature.LEVEL
    assert not plan.lacking
    assert value(plan, *values) == pytest.approx(result, rel=1e-12)


@pytest.mark.parametrize(
    ("formula", "unit", "kind", "at", "word"),
    [
        ("power + voltage", "kW", Kind.GAUGE, 0, "different things"),
        ("power - 5", "kW", Kind.GAUGE, 0, "different things"),
        ("power", "V", Kind.GAUGE, 0, "different things"),
        ("power + energy", "kW", Kind.GAUGE, 0, "do not go together"),
        ("energy", "kW.h", Kind.GAUGE, 0, "gives an amount"),
        ("power", "kW", Kind.INTERVAL, 0, "gives a level"),
        ("power * (energy + 5 [kW.h])", "kW2.h", Kind.INTERVAL, 9, "window's length"),
        ("energy * energy", "kW2.h2", Kind.INTERVAL, 0, "multiplied"),
        ("abs(energy)", "kW.h", Kind.INTERVAL, 0, "window's length"),
        ("min(energy, {one/energy})", "kW.h", Kind.INTERVAL, 0, "window's length"),
        ("integral(energy)", "kW.h2", Kind.INTERVAL, 0, "integral of an amount"),
        ("power / energy", "/h", Kind.GAUGE, 0, "divided"),
        ("indoor + outdoor", "Cel", Kind.GAUGE, 0, "do not add up"),
        ("indoor - outdoor", "Cel", Kind.GAUGE, 0, "no point on the scale"),
        ("indoor * 2", "Cel", Kind.GAUGE, 0, "not multiplied"),
        ("5 [kW]", "kW", Kind.GAUGE, 0, "no input"),
        ("power / 0", "kW", Kind.GAUGE, 0, "by zero"),
        ("{odd/on}", "1", Kind.GAUGE, 0, "is a state"),
        ("power * 1e300 * 1e300", "kW", Kind.GAUGE, 0, "out of range"),
    ],
)
def test_what_does_not_go_together_is_refused(formula: str, unit: str, kind: Kind, at: int, word: str) -> None:
    with pytest.raises(FormulaError, match=word) as caught:
        site().bind(formula, unit, kind=kind, interval_s=900.0)
    assert caught.value.at == at


def test_natures_follow_from_kinds() -> None:
    """§9"""
    interval: Any = {"kind": Kind.INTERVAL, "interval_s": 900.0}
    assert site().bind("energy - {one/energy}", "MJ", **interval).nature is Nature.AMOUNT
    assert site().bind("integral(power)", "kW.h", **interval).nature is Nature.AMOUNT
    assert site().bind("energy * price", "{EUR}", **interval).nature is Nature.AMOUNT
    assert site().bind("energy / {one/energy}", "%").nature is Nature.RATIO
    assert site().bind("1 - {one/energy} / energy", "1").nature is Nature.RATIO


def test_what_is_not_there_is_lacking_and_never_zero() -> None:
    """§2, §3"""
    for formula in ("power + {gone/power}", "power * raw", "sum(power of children)", "integral({gone/x}) / energy"):
        plan = site().bind(formula)
        assert plan.lacking
        assert math.isnan(value(plan, 1.0, 1.0))
    plan = site().bind("sum(power of submeters)")
    assert plan.undeclared == ("p/odd/power",)
    assert math.isnan(value(plan, 1.0, math.nan))


def test_nothing_crosses_a_border_without_a_grant() -> None:
    """§11"""
    place = site()
    plan = place.bind("{n/one/power} + power")
    assert plan.lacking == ("n/one/power is not known or not granted",)
    place.grants.add(("p", "n", "one", "power"))
    assert place.bind("{n/one/power} + power").inputs[0].key == ("n", "one", "power")


def test_a_project_hands_on_nothing_that_another_gave_it() -> None:
    """§11: {n/two/net} is built on {q/one/power}, which only n may read."""
    place = site()
    place.things["two"]["net"] = Property(name="net", unit="W", formula="{q/one/power}")
    place.grants |= {("p", "n", "two", "net"), ("n", "q", "one", "power")}
    assert place.bind("{n/two/net}").lacking == ("q/one/power is not known or not granted",)
    place.grants.add(("p", "q", "one", "power"))
    assert not place.bind("{n/two/net}").lacking


def test_one_is_built_on_another_and_on_what_that_may_read() -> None:
    place = site()
    place.things["two"]["net"] = Property(name="net", unit="W", formula="power - {n/one/power}")
    place.grants.add(("p", "n", "one", "power"))
    plan = place.bind("{two/net} * 2")
    assert [one.key for one in plan.inputs] == [("p", "two", "power"), ("n", "one", "power")]
    assert value(plan, 3.0, 1.0) == 4.0


def test_circles_and_depth_end() -> None:
    place = site()
    place.things["one"]["made"] = Property(name="made", unit="kW", formula="{main/made}")
    place.things["main"]["made"] = Property(name="made", unit="kW", formula="{one/made}")
    with pytest.raises(FormulaError, match="depends on itself: p/main/made on p/one/made on p/main/made"):
        place.bind("{one/made}")
    for level in range(10):
        place.things["two"][f"l{level}"] = Property(name=f"l{level}", unit="kW", formula=f"l{level + 1} + l{level + 1}")
    place.things["two"]["l10"] = gauge("l10")
    with pytest.raises(FormulaError, match="too many others in a row"):
        place.bind("{two/l0}")
    with pytest.raises(FormulaError, match="too large"):
        place.bind("{two/l4}", limits=msgspec.structs.replace(DEFAULT, calculation_terms_max=100))
    with pytest.raises(FormulaError, match="more than 1 inputs"):
        place.bind("sum(power of submeters)", limits=msgspec.structs.replace(DEFAULT, calculation_inputs_max=1))


def test_a_member_is_not_a_part_of_itself() -> None:
    place = site()
    place.things["one"]["made"] = gauge("made")
    place.members = lambda project, thing, members: list(place.things)  # type: ignore[method-assign]
    place.things["main"]["made"] = Property(name="made", unit="kW", formula='sum(made of group "all")')
    plan = place.bind('sum(made of group "all")')
    assert [one.key for one in plan.inputs] == [("p", "one", "made")]


@given(st.lists(st.sampled_from(["kW", "W", "MW", "J/s", "[Btu_IT]/h"]), min_size=1, max_size=5), st.data())
def test_a_sum_in_any_units_is_the_sum_of_what_they_measure(units: list[str], data: st.DataObject) -> None:
    """§2"""
    values = data.draw(st.lists(st.floats(-1e6, 1e6), min_size=len(units), max_size=len(units)))
    place = Site(main=[gauge(f"p{place}", unit) for place, unit in enumerate(units)])
    plan = place.bind(" + ".join(f"p{place}" for place in range(len(units))), "kW")
    expected = math.fsum(convert(one, unit, "kW") for one, unit in zip(values, units, strict=True))
    assert value(plan, *values) == pytest.approx(expected, rel=1e-9, abs=1e-6)
