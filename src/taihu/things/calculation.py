"""What a calculated property means: its formula bound to its inputs, with units, and how it is worked out by kind.

Every part of a formula has a unit and a nature. A *level* (of gauges) has a value at each instant; in a window it
stands for its time-weighted mean. An *amount* (of counters and intervals) has one only over time: its increase or sum.
A *ratio* of amounts too: that of the amounts, never a mean of ratios. Sums, differences and quotients are worked out of
the windows of their inputs. What means do not answer (a product of two levels, `min`, `max`, `abs`) is a *signal*:
worked out at every instant at which all of its inputs are known, and only then averaged, or added up where one factor
is an amount.

What is missing makes missing whatever it is a part of, and so does a division by zero (§3).
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple, NoReturn, Protocol

from taihu.kernel.limits import Limits
from taihu.kernel.units import Unit, parse_unit, product
from taihu.things.formula import (
    Call,
    Expression,
    FormulaError,
    Members,
    Number,
    Over,
    Product,
    Reference,
    Sum,
    parse_formula,
)
from taihu.things.property import DataType, Kind, Property
from taihu.things.terms import (
    PLAIN,
    Absolute,
    Affine,
    Extreme,
    Fixed,
    Input,
    Integral,
    Nature,
    Of,
    Plan,
    Quotient,
    Signal,
    Term,
    Times,
    Total,
    work_out,
)


class Scope(Protocol):
    """Where a formula finds its inputs."""

    def definition(self, project: str, thing: str, name: str) -> Property | None:
        """A property's definition, None when there is none."""
        ...

    def members(self, project: str, thing: str, members: Members) -> Sequence[str]:
        """The things chosen, by name."""
        ...

    def granted(self, reader: str, project: str, thing: str, name: str) -> bool:
        """Whether the project `reader` may read a property of another one (§11)."""
        ...


def bind(project: str, thing: str, definition: Property, scope: Scope, limits: Limits) -> Plan:
    """The plan of a calculated property.

    Raises FormulaError when its units or natures do not go together, when it depends on itself, is built on more than
    `calculation_depth_max` others in a row, or has more than `calculation_inputs_max` inputs.
    """
    return _Binder(scope, limits).plan(project, thing, definition)


class _Part(NamedTuple):
    """A bound part of a formula. A point is a value on a scale that has its own zero, such as 20 Cel."""

    term: Term
    unit: Unit
    nature: Nature
    point: bool = False


_ONE = parse_unit("1")
_SECOND = parse_unit("s")
_DEPTH_MAX = 48  # of all that a formula is built on, expression in expression
_NATURES = {Kind.GAUGE: Nature.LEVEL, Kind.COUNTER: Nature.AMOUNT, Kind.INTERVAL: Nature.AMOUNT}
_A = {Nature.FIXED: "a number", Nature.LEVEL: "a level", Nature.AMOUNT: "an amount", Nature.RATIO: "a ratio of amounts"}
_NUMBERS = (DataType.NUMBER, DataType.INTEGER)
_PATH = "{}/{}/{}".format


class _Binder:
    """Binds one property and all that it is built on; inputs named twice are one."""

    def __init__(self, scope: Scope, limits: Limits) -> None:
        self.scope = scope
        self.limits = limits
        self.inputs: dict[tuple[str, str, str], tuple[int, Input]] = {}
        self.lacking: list[str] = []
        self.undeclared: list[str] = []
        self.terms = 0
        self.depth = 0

    def plan(self, project: str, thing: str, definition: Property) -> Plan:
        part = _Formula(self, project, thing, definition, ()).whole()
        found = tuple(one for _, one in self.inputs.values())
        return Plan(part.term, part.nature, found, tuple(self.lacking), tuple(self.undeclared))

    def input(self, one: Input) -> Of:
        index, _ = self.inputs.setdefault(one.key, (len(self.inputs), one))
        return Of(index)


class _Formula:
    """One formula in its place; `above` are the calculated properties that led here."""

    def __init__(
        self, binder: _Binder, project: str, thing: str, definition: Property, above: tuple[tuple[str, str, str], ...]
    ) -> None:
        self.binder = binder
        self.project = project
        self.thing = thing
        self.definition = definition
        self.text = definition.formula
        self.above = (*above, (project, thing, definition.name))

    def whole(self) -> _Part:
        """The formula in the unit that the property declares, of the nature that its kind asks for."""
        part = self.part(parse_formula(self.text))
        if not self.binder.inputs and not self.binder.lacking:
            self.fail(0, "it has no input.", "Name a property.")
        amount = self.definition.kind is Kind.INTERVAL
        if (part.nature is Nature.AMOUNT) is not amount and part.nature is not Nature.FIXED:
            kind = Kind.INTERVAL if part.nature is Nature.AMOUNT else Kind.GAUGE
            self.fail(0, f"it gives {_A[part.nature]}, and {self.definition.name} is of kind {self.definition.kind}.",
                      f"Declare it {kind}, or take the integral of a level.")  # fmt: skip
        return self.into(part, parse_unit(self.definition.unit or "1"), 0)

    def part(self, node: Expression) -> _Part:
        binder = self.binder
        binder.terms += 1
        binder.depth += 1
        if binder.terms > binder.limits.calculation_terms_max or binder.depth > _DEPTH_MAX:
            self.fail(node.at, "it is too large with all that it is built on.", "Write it of what those are of.")
        part = self.bound(node)
        binder.depth -= 1
        if part.nature is Nature.FIXED and not isinstance(part.term, Fixed):
            part = part._replace(term=Fixed(work_out(part.term, lambda term: math.nan, PLAIN)))
        return part

    def bound(self, node: Expression) -> _Part:
        match node:
            case Number():
                unit = parse_unit(node.unit)
                return _Part(Fixed(node.value), unit, Nature.FIXED, unit.alone)
            case Reference():
                return self.reference(node)
            case Over():
                return self.over(node)
            case Sum():
                return self.sum(node)
            case Product():
                return self.product(node)
            case Call():
                return self.call(node)

    def reference(self, node: Reference) -> _Part:
        project, thing = node.project or self.project, node.thing or self.thing
        definition = self.scope_definition(project, thing, node.name)
        if definition is None:
            return self.lack(f"{_PATH(project, thing, node.name)} is not known or not granted")
        if definition.unit is None:
            return self.lack(f"{_PATH(project, thing, node.name)} has no declared unit")
        return self.input(node.at, project, thing, definition)

    def lack(self, what: str) -> _Part:
        """A part that is not there: it fits everywhere, and all that it is a part of is missing."""
        self.binder.lacking.append(what)
        return _Part(Fixed(math.nan), _ONE, Nature.FIXED)

    def scope_definition(self, project: str, thing: str, name: str) -> Property | None:
        scope = self.binder.scope
        readers = {above for above, _, _ in self.above} - {project}  # all that this is a part of read it (§11)
        if not all(scope.granted(reader, project, thing, name) for reader in readers):
            return None
        return scope.definition(project, thing, name)

    def input(self, at: int, project: str, thing: str, definition: Property) -> _Part:
        """A property: an input, or a calculated one in the place of its formula."""
        limits, key = self.binder.limits, (project, thing, definition.name)
        if definition.formula:
            way = " on ".join(_PATH(*one) for one in (*self.above, key))
            if key in self.above:
                self.fail(at, f"it depends on itself: {way[:200]}.", "Change one of these.")
            if len(self.above) >= limits.calculation_depth_max:
                self.fail(at, f"it is built on too many others in a row: {way[:200]}.", "Write it of what they are of.")
            return _Formula(self.binder, project, thing, definition, self.above).whole()
        nature = _NATURES.get(definition.kind)
        if nature is None or definition.data_type not in _NUMBERS:
            self.fail(at, f"{definition.name} is a {definition.kind} of type {definition.data_type}.",
                      "Name a gauge, counter or interval of numbers.")  # fmt: skip
        term = self.binder.input(Input(project, thing, definition))
        if len(self.binder.inputs) > limits.calculation_inputs_max:
            self.fail(at, f"it has more than {limits.calculation_inputs_max} inputs.", "Choose fewer things.")
        unit = parse_unit(definition.unit or "1")
        return _Part(term, unit, nature, unit.alone)

    def over(self, node: Over) -> _Part:
        parts = []
        for thing in self.binder.scope.members(self.project, self.thing, node.members):
            definition = self.binder.scope.definition(self.project, thing, node.name)
            if definition is None or (self.project, thing, node.name) == self.above[-1]:
                continue
            if definition.unit is None:
                self.binder.undeclared.append(_PATH(self.project, thing, node.name))
                continue
            parts.append(self.input(node.at, self.project, thing, definition))
        if not parts:
            return self.lack(f"nothing is chosen that has {node.name}")
        if node.function in ("min", "max"):
            return self.extreme(node.at, node.function, parts)
        nature, count = self.nature(node.at, parts), len(parts)
        if node.function == "sum" and parts[0].point and count > 1:
            self.fail(node.at, f"{parts[0].unit.code} does not add up.", "Take the mean.")
        parts = self.alike(node.at, parts)
        term: Term = Total(tuple(part.term for part in parts)) if count > 1 else parts[0].term
        if node.function == "mean" and count > 1:
            term = Affine(term, 1 / count)
        return parts[0]._replace(term=term, nature=nature)

    def sum(self, node: Sum) -> _Part:
        """Terms in one unit. On a scale, points and differences are told apart: 20 Cel - 15 Cel is 5 K."""
        parts = [self.part(term) for _, term in node.terms]
        nature = self.nature(node.at, parts)
        if not all(map(_known, parts)):
            return _Part(Fixed(math.nan), _ONE, Nature.FIXED)
        if nature is Nature.AMOUNT and any(part.nature is Nature.FIXED for part in parts):
            self.fail(node.at, "a number is added to an amount, which depends on the window's length.",
                      "Take the integral of a level, such as integral(5 [kW]).")  # fmt: skip
        signs = [-1 if minus else 1 for minus, _ in node.terms]
        points = sum(sign for sign, part in zip(signs, parts, strict=True) if part.point)
        scale = next((part.unit for part in parts if part.point), None)
        if points not in (0, 1):
            self.fail(node.at, "points on a scale do not add up.", "Take a difference (K for Cel), or the mean.")
        unit = parts[0].unit if scale is None else scale.difference()
        terms = []
        for sign, part in zip(signs, parts, strict=True):
            term = self.into(part, scale if scale and part.point else unit, node.at).term
            terms.append(term if sign > 0 else Affine(term, -1.0))
        total = Total(tuple(terms)) if len(terms) > 1 else terms[0]
        return _Part(total, scale if scale and points else unit, nature, bool(points))

    def product(self, node: Product) -> _Part:
        above = [self.part(factor) for divides, factor in node.factors if not divides]
        below = [self.part(factor) for divides, factor in node.factors if divides]
        for part in (*above, *below):
            if part.point:
                self.fail(
                    node.at, f"{part.unit.code} is a point on a scale: it is not multiplied.", "Take a difference."
                )
        if not all(map(_known, (*above, *below))):
            return _Part(Fixed(math.nan), _ONE, Nature.FIXED)
        one, other = self.times(node.at, above), self.times(node.at, below)
        unit = product(one.unit, other.unit, -1)
        if unit is None:
            self.fail(node.at, "its unit is out of range.", "Use fewer factors.")
        if not below:
            return one
        natures = (one.nature, other.nature)
        match natures:
            case (_, Nature.FIXED) if isinstance(other.term, Fixed):
                if other.term.value == 0:
                    self.fail(node.at, "it divides by zero.", "Divide by another number.")
                return _Part(_scaled(one.term, 1 / other.term.value), unit, one.nature)
            case (Nature.AMOUNT, Nature.AMOUNT):
                return _Part(Quotient(one.term, other.term), unit, Nature.RATIO)
            case (Nature.LEVEL | Nature.FIXED, Nature.LEVEL):
                return _Part(Quotient(one.term, other.term), unit, Nature.LEVEL)
            case (Nature.AMOUNT, Nature.LEVEL):
                return _Part(Signal(Quotient(one.term, other.term), amount=True), unit, Nature.AMOUNT)
            case (Nature.RATIO | Nature.FIXED, Nature.RATIO):
                return _Part(Quotient(one.term, other.term), unit, Nature.RATIO)
        self.fail(
            node.at, f"{_A[natures[0]]} is divided by {_A[natures[1]]}.", "Divide amounts by amounts, levels by levels."
        )

    def times(self, at: int, parts: list[_Part]) -> _Part:
        """The product of parts; numbers become one factor."""
        unit: Unit | None = _ONE
        for part in parts:
            unit = unit and product(unit, part.unit, 1)
        fixed = math.prod(part.term.value for part in parts if isinstance(part.term, Fixed))
        if unit is None or not math.isfinite(fixed):
            self.fail(at, "the product is out of range.", "Use fewer factors.")
        varying = [part for part in parts if not isinstance(part.term, Fixed)]
        if not varying:
            return _Part(Fixed(fixed), unit, Nature.FIXED)
        amounts = sum(part.nature is Nature.AMOUNT for part in varying)
        if len(varying) == 1:
            return _Part(_scaled(varying[0].term, fixed), unit, varying[0].nature)
        if amounts > 1 or any(part.nature is Nature.RATIO for part in varying):
            self.fail(
                at, "amounts or ratios of amounts are multiplied.", "Multiply levels, at most one amount with them."
            )
        nature = Nature.AMOUNT if amounts else Nature.LEVEL
        term = Signal(Times(tuple(part.term for part in varying)), amount=bool(amounts))
        return _Part(_scaled(term, fixed), unit, nature)

    def call(self, node: Call) -> _Part:
        parts = [self.part(argument) for argument in node.arguments]
        if node.function in ("min", "max"):
            return self.extreme(node.at, node.function, parts)
        part = parts[0]
        if part.point:
            self.fail(node.at, f"{part.unit.code} is a point on a scale.", "Take a difference.")
        if not _known(part):
            return part
        if node.function == "abs":
            self.instant(node.at, node.function, part.nature)
            term = Absolute(part.term)
            return part._replace(term=Signal(term, amount=False) if part.nature is Nature.LEVEL else term)
        if part.nature not in (Nature.LEVEL, Nature.FIXED):
            self.fail(node.at, f"it is the integral of {_A[part.nature]}.", "Take that of a level, such as power.")
        unit = product(part.unit, _SECOND, 1)
        if unit is None:
            self.fail(node.at, "its unit is out of range.", "Use fewer factors.")
        return _Part(Integral(part.term), unit, Nature.AMOUNT)

    def extreme(self, at: int, function: str, parts: list[_Part]) -> _Part:
        nature = self.nature(at, parts)
        self.instant(at, function, nature)
        parts = self.alike(at, parts)
        term = Extreme(tuple(part.term for part in parts), function == "max")
        return parts[0]._replace(term=Signal(term, amount=False) if nature is Nature.LEVEL else term, nature=nature)

    def instant(self, at: int, function: str, nature: Nature) -> None:
        """Raise unless values are compared that do not depend on the length of a window."""
        if nature is Nature.AMOUNT:
            self.fail(at, f"the {function} of amounts depends on the window's length.",
                      f"Take the integral of a {function} of levels.")  # fmt: skip

    def nature(self, at: int, parts: list[_Part]) -> Nature:
        """The nature of all that vary."""
        natures = {part.nature for part in parts} - {Nature.FIXED}
        if len(natures) > 1:
            self.fail(at, f"{' and '.join(sorted(_A[one] for one in natures))} do not go together.",
                      "A level becomes an amount by integral(...).")  # fmt: skip
        return natures.pop() if natures else Nature.FIXED

    def alike(self, at: int, parts: list[_Part]) -> list[_Part]:
        """The parts in the unit of the first that is known."""
        first = next((part for part in parts if _known(part)), parts[0])
        return [self.into(part, first.unit, at) for part in parts]

    def into(self, part: _Part, unit: Unit, at: int) -> _Part:
        """The part in another unit of the same dimension; a difference does not become a point on a scale."""
        if not _known(part):
            return part._replace(unit=unit, point=unit.alone)
        if part.unit.dimension != unit.dimension:
            self.fail(at, f"{_code(part.unit)} and {_code(unit)} measure different things.",
                      "Write a number with its unit, such as 5 [kW], and declare the unit of the result.")  # fmt: skip
        if unit.alone and not part.point:
            self.fail(at, f"a difference is no point on the scale of {unit.code}.", "Declare it in K, say.")
        factor = part.unit.factor / unit.factor
        offset = (part.unit.offset - unit.offset) / unit.factor if part.point else Fraction(0)
        term = part.term if factor == 1 and offset == 0 else Affine(part.term, float(factor), float(offset))
        return _Part(term, unit, part.nature, unit.alone)

    def fail(self, at: int, message: str, remedy: str) -> NoReturn:
        raise FormulaError(self.text, at, message, remedy)


def _known(part: _Part) -> bool:
    """Whether a part stands for something: one that is lacking fits everywhere."""
    return not (isinstance(part.term, Fixed) and math.isnan(part.term.value))


def _scaled(term: Term, factor: float) -> Term:
    return term if factor == 1 else Affine(term, factor)


def _code(unit: Unit) -> str:
    """A unit in words: its code, or what it is made of."""
    made = ".".join(f"{base}{power if power != 1 else ''}" for base, power in unit.dimension)
    return unit.code or made or "a pure number"
