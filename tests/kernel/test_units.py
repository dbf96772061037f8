"""Units (§2): parsing, conversion, and agreement with pint."""

import math
import warnings
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.kernel.unit_table import ALIASES, BASES, CUSTOMARY, METRIC, OFFSET, PREFIXES
from taihu.kernel.units import UnitError, alias, commensurable, convert, converter, parse_unit

# UCUM code, how pint writes the same.
PEERS = {
    "kW": "kW",
    "kW.h": "kW*h",
    "MJ": "MJ",
    "[Btu_IT]": "Btu_it",
    "cal": "cal",
    "eV": "eV",
    "Pa": "Pa",
    "bar": "bar",
    "[psi]": "psi",
    "mm[Hg]": "mmHg",
    "atm": "atm",
    "m3/h": "m^3/h",
    "L/min": "L/min",
    "[gal_us]": "gallon",
    "kg": "kg",
    "t": "tonne",
    "[lb_av]": "lb",
    "[oz_av]": "oz",
    "m/s2": "m/s^2",
    "km/h": "km/h",
    "[mi_i]/h": "mph",
    "[kn_i]": "knot",
    "[ft_i]": "ft",
    "har": "hectare",
    "deg": "deg",
    "gon": "gradian",
    "rad": "rad",
    "s": "s",
    "h": "h",
    "d": "day",
    "mol/L": "mol/L",
    "A.h": "A*h",
    "V": "V",
    "Ohm": "ohm",
    "uF": "uF",
    "lx": "lx",
    "Cel": "degC",
    "[degF]": "degF",
    "K": "K",
    "[degR]": "degR",
    "%": "percent",
    "[ppm]": "ppm",
    "MiBy": "MiB",
    "kbit/s": "kbit/s",
    "g/(kW.h)": "g/(kW*h)",
    "[HP]": "hp",
    "St": "stokes",
}
SAME = [(a, b) for a in PEERS for b in PEERS if a != b and commensurable(a, b)]

simple_units = st.sampled_from([*METRIC, *(BASES - {"B"}), "min", "h", "d", "[lb_av]", "[ft_i]"]).filter(
    lambda code: not parse_unit(code).alone
)
products = st.lists(
    st.tuples(st.sampled_from("./"), simple_units, st.sampled_from(["", "2", "-1"])), min_size=1, max_size=2
).map(lambda parts: "1" + "".join(f"{sign}{unit}{power}" for sign, unit, power in parts))


@cache
def pint_registry() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pint

        return pint.UnitRegistry(autoconvert_offset_to_baseunit=True)


@pytest.mark.parametrize(("source", "target"), SAME)
def test_conversion_agrees_with_pint(source: str, target: str) -> None:
    registry = pint_registry()
    theirs = registry.Quantity(36.6, PEERS[source]).to(PEERS[target]).magnitude
    assert convert(36.6, source, target) == pytest.approx(float(theirs), rel=1e-7)


def test_every_unit_of_the_table_parses() -> None:
    for code in [*METRIC, *CUSTOMARY, *BASES, *OFFSET]:
        assert parse_unit(code).code == code
    for code in METRIC:
        for prefix in PREFIXES:
            prefixed = parse_unit(prefix + code)
            assert prefixed.dimension == parse_unit(code).dimension or prefix + code in (*METRIC, *CUSTOMARY, *BASES)


def test_every_everyday_spelling_means_a_code() -> None:
    for spelling, code in ALIASES.items():
        assert alias(spelling) == code


@pytest.mark.parametrize(
    ("spelling", "code"),
    [
        ("kWh", "kW.h"),
        ("mWh", "mW.h"),
        ("MWh", "MW.h"),
        ("°C", "Cel"),
        ("C", "Cel"),
        ("F", "[degF]"),
        ("m³/h", "m3/h"),
        ("µg/m³", "ug/m3"),
        ("kWh/m²", "kW.h/m2"),
        ("gCO2/kWh", "g{CO2}/(kW.h)"),
        ("kgCO2e", "kg{CO2}"),
        ("kvarh", "kvar.h"),
        ("RPM", "{rev}/min"),
        ("Ω", "Ohm"),
        (" kW ", "kW"),
        ("mwh", None),
        ("furlong", None),
        ("x" * 1000, None),
    ],
)
def test_alias(spelling: str, code: str | None) -> None:
    assert alias(spelling) == code


def test_intensity_per_energy_is_not_multiplied_by_hours() -> None:
    code = alias("g/kWh")
    assert code is not None
    assert commensurable(code, "g/J")


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("kW", "kW.h"),
        ("W", "VA"),
        ("kvar", "kVA"),
        ("Cel", "J"),
        ("rad/s", "Hz"),
        ("By", "1"),
        ("dB", "1"),
        ("dB[SPL]", "dB"),
        ("mol", "1"),
    ],
)
def test_different_quantities_do_not_convert(source: str, target: str) -> None:
    """§2, §9: a wrong unit is refused; power and energy differ."""
    assert not commensurable(source, target)
    with pytest.raises(UnitError, match="measure different things"):
        converter(source, target)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("kWh", "Write kW.h."),
        ("kw", "Write kW."),
        ("°C", "Write Cel."),
        ("", "Write 1"),
        ("x" * 65, "Write 1"),
        ("furlong", "case-sensitive"),
        ("Cel/min", "write K"),
        ("dB.m", "write K"),
        ("m0", "case-sensitive"),
        ("m31", "case-sensitive"),
        ("0", "case-sensitive"),
        ("(kW", "case-sensitive"),
        ("kW)", "case-sensitive"),
        ("kW..h", "case-sensitive"),
        ("/", "case-sensitive"),
        ("Ym30", "smaller exponents"),
    ],
)
def test_bad_code_names_the_remedy(text: str, remedy: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_unit(text)
    assert remedy in caught.value.remedy


def test_annotations_change_nothing() -> None:
    assert commensurable("kg{CO2}", "g")
    assert commensurable("{vehicles}", "1")
    assert parse_unit("kg{CO2}").code == "kg{CO2}"


def test_exact_factors() -> None:
    assert converter("kW.h", "J") == (3_600_000.0, 0.0)
    assert converter("L/min", "m3/h") == (0.06, 0.0)
    assert converter("Cel", "K") == (1.0, 273.15)
    assert convert(-40.0, "Cel", "[degF]") == -40.0
    assert convert(180.0, "deg", "rad") == math.pi


@given(st.text(max_size=70))
def test_any_text_is_a_unit_or_the_one_error(text: str) -> None:
    """§13."""
    try:
        unit = parse_unit(text)
    except UnitError as error:
        assert error.remedy
    else:
        assert unit.code == text
        assert unit.factor > 0


@given(st.text(alphabet="kWh.m2-/()[]{}10*^sgC ", max_size=20))
def test_any_unit_like_text_is_a_unit_or_the_one_error(text: str) -> None:
    alias(text)
    try:
        parse_unit(text)
    except UnitError as error:
        assert error.remedy


@given(products)
def test_a_unit_divided_by_itself_is_a_pure_number(code: str) -> None:
    assert parse_unit(f"({code})/({code})").dimension == ()
    assert converter(f"({code})/({code})", "1") == (1.0, 0.0)


@given(st.sampled_from(SAME), st.floats(-1e6, 1e6))
def test_round_trip(pair: tuple[str, str], value: float) -> None:
    there = convert(value, *pair)
    assert convert(there, pair[1], pair[0]) == pytest.approx(value, rel=1e-9, abs=1e-9)


@given(st.sampled_from(SAME), st.sampled_from(list(PEERS)), st.floats(-1e6, 1e6))
def test_transitivity(pair: tuple[str, str], third: str, value: float) -> None:
    if commensurable(pair[0], third):
        by_way_of = convert(convert(value, pair[0], third), third, pair[1])
        assert by_way_of == pytest.approx(convert(value, *pair), rel=1e-9, abs=1e-9)
