"""What a formula comes to: terms over inputs, worked out of numbers or of columns of them."""

import math
from collections.abc import Callable
from enum import StrEnum
from functools import reduce
from typing import Any, NamedTuple

import msgspec

from taihu.things.property import Property


class Nature(StrEnum):
    """How a part of a formula behaves in time."""

    FIXED = "number"
    LEVEL = "level"
    AMOUNT = "amount"
    RATIO = "ratio of amounts"


class Input(msgspec.Struct, frozen=True):
    """A property that readings come of."""

    project: str
    thing: str
    definition: Property

    @property
    def key(self) -> tuple[str, str, str]:
        """Its project, thing and name."""
        return self.project, self.thing, self.definition.name


class Fixed(msgspec.Struct, frozen=True):
    """A number; NaN for what there is not."""

    value: float


class Of(msgspec.Struct, frozen=True):
    """The input with this index."""

    index: int


class Affine(msgspec.Struct, frozen=True):
    """`of * factor + offset`."""

    of: "Term"
    factor: float
    offset: float = 0.0


class Total(msgspec.Struct, frozen=True):
    """A sum."""

    of: tuple["Term", ...]


class Times(msgspec.Struct, frozen=True):
    """A product."""

    of: tuple["Term", ...]


class Quotient(msgspec.Struct, frozen=True):
    """A division."""

    above: "Term"
    below: "Term"


class Extreme(msgspec.Struct, frozen=True):
    """The largest, or the smallest."""

    of: tuple["Term", ...]
    largest: bool


class Absolute(msgspec.Struct, frozen=True):
    """Without its sign."""

    of: "Term"


class Integral(msgspec.Struct, frozen=True):
    """A level times the seconds for which it is known (§9)."""

    of: "Term"


class Signal(msgspec.Struct, frozen=True):
    """A level, or an amount by the rate at which it comes, worked out at every instant."""

    of: "Term"
    amount: bool


Term = Fixed | Of | Affine | Total | Times | Quotient | Extreme | Absolute | Integral | Signal


class Plan(msgspec.Struct, frozen=True):
    """A formula with its inputs. `lacking` says in words what it names and there is not: with any, it has no value.

    `undeclared` are members left out of an aggregate because their unit is (§2).
    """

    root: Term
    nature: Nature
    inputs: tuple[Input, ...]
    lacking: tuple[str, ...] = ()
    undeclared: tuple[str, ...] = ()


class Arithmetic(NamedTuple):
    """The operations that differ between numbers and columns of them; NaN is missing."""

    divide: Callable[[Any, Any], Any]
    smaller: Callable[[Any, Any], Any]
    larger: Callable[[Any, Any], Any]
    absolute: Callable[[Any], Any]


def work_out(term: Term, leaf: Callable[[Any], Any], arithmetic: Arithmetic) -> Any:
    """The value of a term; `leaf` gives those of inputs, signals and integrals."""

    def of(inner: Term) -> Any:
        return work_out(inner, leaf, arithmetic)

    match term:
        case Fixed():
            return term.value
        case Affine():
            return of(term.of) * term.factor + term.offset
        case Total():
            return reduce(lambda one, other: one + other, map(of, term.of))
        case Times():
            return reduce(lambda one, other: one * other, map(of, term.of))
        case Quotient():
            return arithmetic.divide(of(term.above), of(term.below))
        case Extreme():
            return reduce(arithmetic.larger if term.largest else arithmetic.smaller, map(of, term.of))
        case Absolute():
            return arithmetic.absolute(of(term.of))
        case _:
            return leaf(term)


def inputs_of(term: Term) -> set[int]:
    """The indices of the inputs of a term."""
    match term:
        case Fixed():
            return set()
        case Of():
            return {term.index}
        case Total() | Times() | Extreme():
            return set().union(*map(inputs_of, term.of))
        case Quotient():
            return inputs_of(term.above) | inputs_of(term.below)
        case _:
            return inputs_of(term.of)


def _divide(one: float, other: float) -> float:
    return one / other if other else math.nan


PLAIN = Arithmetic(
    _divide,
    lambda one, other: one if one <= other or math.isnan(one) else other,
    lambda one, other: one if one >= other or math.isnan(one) else other,
    abs,
)
"""Of floats."""
