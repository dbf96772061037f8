"""The language in which calculated properties are written: text to a tree, and one error with its place.

    import_kwh - sum(import_kwh of submeters)
    {heat-pump/heat} / {heat-pump/power}
    max({house-03/meter/power} - 5 [kW], 0 [kW])

A name alone is a property of the same thing; braces hold `property`, `thing/property` or `project/thing/property`,
each with any characters that names may have. A number may have a UCUM unit in brackets. There are `+ - * /`,
parentheses, `abs(x)`, `min(x, y, ...)`, `max(x, y, ...)`, `integral(x)`, and `sum`, `mean`, `min` and `max` of one
property over many things. What a formula means is told by `things.calculation`.
"""

import math
import re
from typing import NoReturn

import msgspec

from taihu.kernel.errors import RemoteError
from taihu.kernel.ids import NameRefused, check_name, check_project
from taihu.kernel.units import UnitError, parse_unit

FORMULA_LENGTH_MAX = 2_048
NESTING_MAX = 16
CRITERIA = ("site", "building", "group", "tag", "role")
RELATIVES = ("submeters", "children", "descendants")
FUNCTIONS = ("abs", "integral")
AGGREGATES = ("sum", "mean", "min", "max")


class FormulaError(RemoteError):
    """A formula that cannot be read or means nothing.

    Args:
        formula: the text.
        at: where in it the fault is, counted from 0.
        message: what is wrong.
        remedy: what to write instead.
    """

    code = "formula"

    def __init__(self, formula: str, at: int, message: str, remedy: str = "") -> None:
        super().__init__(f"At {at + 1} of {_shown(formula, at)!r}: {message}", remedy)
        self.formula = formula
        self.at = at


class Number(msgspec.Struct, frozen=True):
    """A number with its unit."""

    at: int
    value: float
    unit: str = "1"


class Reference(msgspec.Struct, frozen=True):
    """A property; an empty thing or project is that of the formula."""

    at: int
    name: str
    thing: str = ""
    project: str = ""


class Members(msgspec.Struct, frozen=True):
    """Things of the project, chosen by what they are to the formula's thing, by criteria, or by both."""

    relatives: str = ""
    criteria: tuple[tuple[str, str], ...] = ()


class Over(msgspec.Struct, frozen=True):
    """An aggregate of one property over many things."""

    at: int
    function: str
    name: str
    members: Members


class Sum(msgspec.Struct, frozen=True):
    """Terms added up, those with True taken away."""

    at: int
    terms: tuple[tuple[bool, "Expression"], ...]


class Product(msgspec.Struct, frozen=True):
    """Factors multiplied, those with True divided by."""

    at: int
    factors: tuple[tuple[bool, "Expression"], ...]


class Call(msgspec.Struct, frozen=True):
    """A function of expressions."""

    at: int
    function: str
    arguments: tuple["Expression", ...]


Expression = Number | Reference | Over | Sum | Product | Call


def parse_formula(text: str) -> Expression:
    """The expression that `text` writes; raises FormulaError.

    >>> parse_formula("a - 2 [kW]").terms[1][1].unit
    'kW'
    """
    if len(text) > FORMULA_LENGTH_MAX:
        raise FormulaError(text, 0, f"it has {len(text)} characters.", f"At most {FORMULA_LENGTH_MAX} do.")
    return _Parser(text).whole()


_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?)"
    r"|(?P<unit>\[(?:[^\[\]]|\[[^\[\]]*\])*\])"
    r"|(?P<word>[^\W\d]\w*)"
    r"|(?P<place>\{[^{}]*\})"
    r"|(?P<text>\"[^\"]*\"|'[^']*')"
    r"|(?P<sign>[-+*/(),])"
    r"|(?P<end>$))"
)


class _Parser:
    """Recursive descent; `kind` and `text` are of the token in hand, which begins at `at`."""

    def __init__(self, formula: str) -> None:
        self.formula = formula
        self.next = 0
        self.depth = 0
        self.advance()

    def whole(self) -> Expression:
        found = self.sum()
        if self.kind != "end":
            self.fail(f"{self.text!r} is not expected.", "Write + - * or / between two values.")
        return found

    def sum(self) -> Expression:
        self.depth += 1
        if self.depth > NESTING_MAX:
            self.fail("it is nested too deeply.", f"At most {NESTING_MAX} levels are read.")
        at, minus = self.at, self.take("-")
        terms = [(minus, self.product())]
        while self.text in ("+", "-") and self.kind == "sign":
            minus = self.text == "-"
            self.advance()
            terms.append((minus, self.product()))
        self.depth -= 1
        return terms[0][1] if len(terms) == 1 and not terms[0][0] else Sum(at, tuple(terms))

    def product(self) -> Expression:
        at = self.at
        factors = [(False, self.value())]
        while self.text in ("*", "/") and self.kind == "sign":
            divides = self.text == "/"
            self.advance()
            factors.append((divides, self.value()))
        return factors[0][1] if len(factors) == 1 else Product(at, tuple(factors))

    def value(self) -> Expression:
        at, kind, text = self.at, self.kind, self.text
        if self.take("("):
            found = self.sum()
            self.need(")")
            return found
        if kind not in ("number", "place", "word"):
            self.fail("a value is missing." if kind == "end" else f"{text!r} is no value.", _VALUES)
        self.advance()
        if kind == "number":
            return self.number(at, text)
        if kind == "place":
            return self.reference(at, text[1:-1])
        if not self.take("("):
            return Reference(at, self.name(at, text))
        if text not in (*FUNCTIONS, *AGGREGATES):
            self.fail(f"there is no function {text!r}.", f"There are {', '.join((*FUNCTIONS, *AGGREGATES))}.", at)
        found = self.over(at, text) if text in AGGREGATES and self.looks_over() else self.call(at, text)
        self.need(")")
        return found

    def number(self, at: int, text: str) -> Number:
        value = float(text)
        if not math.isfinite(value):
            self.fail("the number is too large.", "Write one below 1e300.", at)
        if self.kind != "unit":
            return Number(at, value)
        at_unit, code = self.at, self.text[1:-1]
        self.advance()
        try:
            return Number(at, value, parse_unit(code).code)
        except UnitError as error:
            self.fail(error.message, error.remedy, at_unit)

    def reference(self, at: int, path: str) -> Reference:
        parts = path.split("/")
        if len(parts) > 3:
            self.fail("it has more than three parts.", "Write {property}, {thing/property} or three parts.", at)
        project, thing, name = ["", "", *parts][-3:]
        if len(parts) == 3:
            try:
                check_project(project)
            except NameRefused as error:
                self.fail(error.message, error.remedy, at)
        return Reference(at, self.name(at, name), self.name(at, thing) if len(parts) > 1 else "", project)

    def name(self, at: int, text: str) -> str:
        try:
            return check_name(text)
        except NameRefused as error:
            self.fail(error.message, error.remedy, at)

    def looks_over(self) -> bool:
        """Whether `property of ...` comes now, and not an expression."""
        following = _TOKEN.match(self.formula, self.next)
        return self.kind in ("word", "place") and following is not None and following["word"] == "of"

    def over(self, at: int, function: str) -> Over:
        at_name, text = self.at, self.text
        name = self.name(at_name, text[1:-1] if self.kind == "place" else text)
        self.advance()
        self.advance()  # over `of`
        relatives = ""
        criteria: list[tuple[str, str]] = []
        while True:
            word, at_word = self.text, self.at
            if self.kind != "word" or word not in (*RELATIVES, *CRITERIA) or (word in RELATIVES and relatives):
                there_are = f"submeters, children, descendants, or {', '.join(CRITERIA)} with a name in quotes"
                self.fail(f"{word!r} chooses no things.", f"Write {there_are}.", at_word)
            self.advance()
            if word in RELATIVES:
                relatives = word
            elif self.kind != "text" or len(self.text) < 3:
                self.fail(f"the {word} has no name.", f'Write {word} "name".')
            else:
                criteria.append((word, self.text[1:-1]))
                self.advance()
            if not (self.kind == "word" and self.text == "and"):
                return Over(at, function, name, Members(relatives, tuple(criteria)))
            self.advance()

    def call(self, at: int, function: str) -> Call:
        arguments = [self.sum()]
        while self.take(","):
            arguments.append(self.sum())
        if function in FUNCTIONS and len(arguments) > 1:
            self.fail(f"{function} is of one value.", "Leave the others out.", at)
        if function in AGGREGATES and len(arguments) == 1:
            self.fail(f"{function} is of several values.", f"Write {function}(x, y) or {function}(x of submeters).", at)
        if function in ("sum", "mean"):
            self.fail(f"{function} is over things.", f"Write {function}(x of submeters), or use + and /.", at)
        return Call(at, function, tuple(arguments))

    def take(self, sign: str) -> bool:
        found = self.kind == "sign" and self.text == sign
        if found:
            self.advance()
        return found

    def need(self, sign: str) -> None:
        if not self.take(sign):
            self.fail(f"{sign!r} is missing.", "Close every parenthesis.")

    def advance(self) -> None:
        match = _TOKEN.match(self.formula, self.next)
        if match is None:
            at = self.next + len(self.formula[self.next :]) - len(self.formula[self.next :].lstrip())
            self.fail(f"{self.formula[at : at + 1]!r} means nothing here.", _VALUES, at)
        self.kind = match.lastgroup or ""
        self.text = match[self.kind]
        self.at = match.start(self.kind)
        self.next = match.end()

    def fail(self, message: str, remedy: str, at: int | None = None) -> NoReturn:
        raise FormulaError(self.formula, self.at if at is None else at, message, remedy)


_VALUES = "Write a number, a property, one in braces as {thing/property}, or a function."
_SHOWN_MAX = 60


def _shown(formula: str, at: int) -> str:
    """The part of a formula around a place."""
    start = max(0, at - _SHOWN_MAX // 2) if len(formula) > _SHOWN_MAX else 0
    return formula[start : start + _SHOWN_MAX]
