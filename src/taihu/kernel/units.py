"""Units of measurement: UCUM codes, what they measure, and conversion between them (§2).

Handled: case-sensitive codes with prefixes, exponents, `.`, `/`, parentheses, integer factors and annotations. Not
handled: UCUM's clinical and obsolete units. Three departures keep quantities apart that UCUM lets mix: mol, bit and rad
are dimensions of their own; so are apparent power (VA) and reactive power (var), which UCUM has no code for; and
logarithmic units (dB, pH) convert only to themselves.

Source: The Unified Code for Units of Measure 2.1, Regenstrief Institute.
"""

import math
import re
from fractions import Fraction
from functools import lru_cache

import msgspec

from taihu.kernel.errors import RemoteError
from taihu.kernel.unit_table import ALIASES, BASES, CUSTOMARY, LOGARITHMIC, METRIC, OFFSET, PREFIXES

CODE_LENGTH_MAX = 64
_EXPONENT_MAX = 30
_CACHE_SIZE = 1024
_BITS_MAX = 900  # of a factor's numerator and denominator: floats end at 1024

Dimension = tuple[tuple[str, int], ...]  # base symbol and exponent, sorted by symbol


class UnitError(RemoteError):
    """A unit that is no UCUM code, or cannot become the unit asked for; the remedy says what to write."""

    code = "unit"


class Unit(msgspec.Struct, frozen=True):
    """A parsed unit: a value in it is `value * factor + offset` in the base units of its dimension.

    A unit that is `alone` has an offset or a logarithmic scale: it cannot be part of a product.
    """

    code: str
    dimension: Dimension
    factor: Fraction
    offset: Fraction = Fraction(0)
    alone: bool = False

    def difference(self) -> "Unit":
        """The unit of what lies between two values: K for Cel. It has no code."""
        return Unit("", self.dimension, self.factor)


@lru_cache(maxsize=_CACHE_SIZE)
def parse_unit(code: str) -> Unit:
    """The unit a UCUM code stands for; raises UnitError.

    >>> parse_unit("kW.h").dimension
    (('g', 1), ('m', 2), ('s', -2))
    """
    if not 0 < len(code) <= CODE_LENGTH_MAX:
        raise UnitError(f"A unit has 1 to {CODE_LENGTH_MAX} characters, not {len(code)}.", "Write 1 for no unit.")
    try:
        return _Parser(code).whole()
    except _NoCode:
        meant = alias(code)
        remedy = f"Write {meant}." if meant else "Write a case-sensitive UCUM code such as kW, kW.h, Cel, m3/h, % or 1."
        raise UnitError(f"{code!r} is not a UCUM code.", remedy) from None


def commensurable(source: str, target: str) -> bool:
    """Whether a value in one unit can be given in the other; raises UnitError when either is no unit."""
    return parse_unit(source).dimension == parse_unit(target).dimension


@lru_cache(maxsize=_CACHE_SIZE)
def converter(source: str, target: str) -> tuple[float, float]:
    """Factor and offset with which `value * factor + offset` turns a value in `source` into one in `target`.

    Raises UnitError when either is no unit or they measure different things.

    >>> converter("kW.h", "MJ")
    (3.6, 0.0)
    """
    one, other = parse_unit(source), parse_unit(target)
    if one.dimension != other.dimension:
        raise UnitError(
            f"{source} cannot be converted to {target}: they measure different things.",
            f"{source} is {_describe(one.dimension)}, {target} is {_describe(other.dimension)}.",
        )
    return float(one.factor / other.factor), float((one.offset - other.offset) / other.factor)


def convert(value: float, source: str, target: str) -> float:
    """`value` in `source`, given in `target`; raises UnitError as `converter` does.

    >>> convert(20.0, "Cel", "[degF]")
    68.0
    """
    factor, offset = converter(source, target)
    return value * factor + offset


def spelled(text: str) -> str:
    """The UCUM code that a person's spelling means; raises UnitError.

    >>> spelled("kWh"), spelled("kW.h")
    ('kW.h', 'kW.h')
    """
    try:
        return parse_unit(text).code
    except UnitError:
        meant = alias(text)
        if meant is None:
            raise
        return meant


@lru_cache(maxsize=_CACHE_SIZE)
def alias(text: str) -> str | None:
    """The UCUM code that an everyday spelling means, or None; a code means itself, except C and F (temperatures).

    >>> alias("kWh"), alias("°C"), alias("m³/h"), alias("gCO2/kWh")
    ('kW.h', 'Cel', 'm3/h', 'g{CO2}/(kW.h)')
    """
    if len(text) > CODE_LENGTH_MAX:
        return None
    plain = text.strip().translate(_PLAIN)
    spelled = _ENERGY.sub(r"\1.h", _ENERGY_BELOW.sub(r"/(\1.h)", _CARBON.sub(r"\1{CO2}", plain)))
    for code in (ALIASES.get(plain), spelled, ALIASES.get(plain.lower())):
        if code:
            try:
                return _Parser(code).whole().code
            except (UnitError, _NoCode):
                continue
    return None


def product(one: Unit, other: Unit, power: int = 1) -> Unit | None:
    """`one` times `other` to a power, without a code; None where no float holds its factor. Neither is `alone`.

    >>> converter("kW.h", "kJ")[0] == float(product(parse_unit("kW"), parse_unit("h")).factor / parse_unit("kJ").factor)
    True
    """
    powers = dict(one.dimension)
    for base, exponent in other.dimension:
        powers[base] = powers.get(base, 0) + exponent * power
    factor = one.factor * other.factor**power
    if max(factor.numerator.bit_length(), factor.denominator.bit_length()) > _BITS_MAX:
        return None
    return Unit("", tuple(sorted((base, exponent) for base, exponent in powers.items() if exponent)), factor)


def _describe(dimension: Dimension) -> str:
    return ".".join(f"{base}{power if power != 1 else ''}" for base, power in dimension) or "a pure number"


class _NoCode(Exception):
    """The text is not in UCUM's grammar or names no unit."""


class _Parser:
    """Recursive descent over one code; `at` is where it has come to."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.at = 0

    def whole(self) -> Unit:
        unit = self.term()
        if self.at < len(self.code):
            raise _NoCode
        if not -300 < math.log10(unit.factor.numerator) - math.log10(unit.factor.denominator) < 300:
            raise UnitError(f"The unit {self.code!r} is out of range.", "Use smaller exponents.")
        return msgspec.structs.replace(unit, code=self.code)

    def term(self) -> Unit:
        inverse = self.take("/")
        unit = self.component()
        if inverse:
            unit = self.product(_ONE, unit, -1)
        while True:
            if self.take("."):
                unit = self.product(unit, self.component(), 1)
            elif self.take("/"):
                unit = self.product(unit, self.component(), -1)
            else:
                return unit

    def component(self) -> Unit:
        if self.take("("):
            unit = self.term()
            if not self.take(")"):
                raise _NoCode
            return unit
        match = _COMPONENT.match(self.code, self.at)
        if match is None or match.end() == self.at:
            raise _NoCode
        self.at = match.end()
        symbol, exponent, number = match["symbol"], int(match["exponent"] or 1), match["number"]
        if number:
            if int(number) == 0:
                raise _NoCode
            return Unit("", (), Fraction(int(number)))
        atom = _ONE if symbol is None else _atom(symbol)
        if atom is None or not 0 < abs(exponent) <= _EXPONENT_MAX:
            raise _NoCode
        return atom if exponent == 1 else self.product(_ONE, atom, exponent)

    def product(self, one: Unit, other: Unit, power: int) -> Unit:
        if one.alone or other.alone:
            raise UnitError(
                f"{self.code!r} multiplies or divides a unit that only stands alone, such as Cel or dB.",
                "For a temperature difference write K.",
            )
        powers = dict(one.dimension)
        for base, exponent in other.dimension:
            powers[base] = powers.get(base, 0) + exponent * power
        dimension = tuple(sorted((base, exponent) for base, exponent in powers.items() if exponent))
        return Unit("", dimension, one.factor * other.factor**power)

    def take(self, sign: str) -> bool:
        found = self.code.startswith(sign, self.at)
        self.at += found
        return found


_COMPONENT = re.compile(
    r"(?:(?P<symbol>10[*^]|(?:[A-Za-z_%']|\[[\w.]+\])+)(?P<exponent>[+-]?[0-9]{1,3})?|(?P<number>[0-9]{1,12}))?"
    r"(?:\{[!-z|~]*\})?",
    re.ASCII,
)
_ONE = Unit("1", (), Fraction(1))
_PLAIN = str.maketrans(
    {"²": "2", "³": "3", "·": ".", "⋅": ".", "µ": "u", "μ": "u", "\u03a9": "Ohm", "\u2126": "Ohm", "⁻": "-", "¹": "1"}
)
_ENERGY = re.compile(r"\b([kMGTm]?(?:W|VA|var|A))h\b")  # kWh, Ah, kvarh
_ENERGY_BELOW = re.compile(r"/([kMGTm]?(?:W|VA|var|A))h\b")  # .../kWh: without parentheses h would be a factor
_CARBON = re.compile(r"\b([kM]?g|t)CO2e?q?(?=/|$)")


def _atom(symbol: str) -> Unit | None:
    """The unit of a symbol with or without a prefix; None when there is none."""
    plain = _plain_atom(symbol)
    if plain is not None:
        return plain
    for size in (1, 2):
        prefix, rest = PREFIXES.get(symbol[:size]), symbol[size:]
        if prefix is not None and (rest in METRIC or rest in BASES):
            unit = _plain_atom(rest)
            if unit is not None:
                return Unit("", unit.dimension, unit.factor * prefix, unit.offset, unit.alone)
    return None


def _plain_atom(symbol: str) -> Unit | None:
    if symbol in BASES:
        return Unit("", ((symbol, 1),), Fraction(1), alone=symbol in LOGARITHMIC)
    if symbol in OFFSET:
        factor, offset = OFFSET[symbol]
        return Unit("", (("K", 1),), factor, offset, alone=True)
    definition = METRIC.get(symbol) or CUSTOMARY.get(symbol)
    if definition is None:
        return None
    number, code = definition
    unit = parse_unit(code)
    return Unit("", unit.dimension, unit.factor * Fraction(number))
