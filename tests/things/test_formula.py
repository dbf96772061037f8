"""The language of formulas: what it reads, and that every fault is one error with its place."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.things.formula import (
    FORMULA_LENGTH_MAX,
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

_SIGNS = st.sampled_from(["+", "-", "*", "/", "(", ")", ",", " ", "sum", "min", "of", "a", "1", "[kW]", "{b/c}", "'"])


def without_places(node: Expression) -> Expression:
    """The tree as it would be at the beginning of every text."""
    match node:
        case Number() | Reference() | Over():
            return msgspec.structs.replace(node, at=0)
        case Sum():
            return Sum(0, tuple((minus, without_places(term)) for minus, term in node.terms))
        case Product():
            return Product(0, tuple((divides, without_places(factor)) for divides, factor in node.factors))
        case Call():
            return Call(0, node.function, tuple(map(without_places, node.arguments)))


def written(node: Expression) -> str:
    """A text of the tree."""
    match node:
        case Number():
            return f"{node.value!r} [{node.unit}]"
        case Reference():
            return "{" + "/".join(part for part in (node.project, node.thing, node.name) if part) + "}"
        case Over():
            words = [node.members.relatives] if node.members.relatives else []
            words += [f'{name} "{value}"' for name, value in node.members.criteria]
            return f"{node.function}({{{node.name}}} of {' and '.join(words)})"
        case Sum():
            parts = [(" - " if minus else " + ") + f"({written(term)})" for minus, term in node.terms]
            return "".join(parts).removeprefix(" + ").strip()
        case Product():
            parts = [("/" if divides else "*") + f"({written(factor)})" for divides, factor in node.factors]
            return "".join(parts)[1:]
        case Call():
            return f"{node.function}({', '.join(map(written, node.arguments))})"


_NAMES = st.sampled_from(["power", "a b", "流量", "x-1", "sum", "e*f"])
_LEAVES = st.one_of(
    st.builds(Number, st.just(0), st.floats(0, 1e9), st.sampled_from(["1", "kW", "[degF]", "m3/h"])),
    st.builds(Reference, st.just(0), _NAMES),
    st.builds(Reference, st.just(0), _NAMES, _NAMES),
    st.builds(Reference, st.just(0), _NAMES, _NAMES, st.just("house-3")),
    st.builds(
        Over, st.just(0), st.sampled_from(["sum", "mean", "min", "max"]), _NAMES,
        st.sampled_from([Members("submeters"), Members("", (("group", "a b"),)), Members("children", (("tag", "x"),))]),
    ),
)  # fmt: skip


def _grow(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    many = st.lists(st.tuples(st.booleans(), inner), min_size=2, max_size=3).map(tuple)
    factors = st.lists(st.tuples(st.booleans(), inner), min_size=1, max_size=2)
    return st.one_of(
        st.builds(Sum, st.just(0), many),
        st.tuples(inner, factors).map(lambda pair: Product(0, ((False, pair[0]), *pair[1]))),
        st.builds(Call, st.just(0), st.sampled_from(["abs", "integral"]), st.tuples(inner)),
        st.builds(Call, st.just(0), st.sampled_from(["min", "max"]), st.tuples(inner, inner)),
    )


@given(st.recursive(_LEAVES, _grow, max_leaves=5))
def test_what_is_written_is_read_again(tree: Expression) -> None:
    assert without_places(parse_formula(written(tree))) == tree


@given(st.one_of(st.text(max_size=60), st.lists(_SIGNS, max_size=30).map(" ".join)))
def test_any_text_is_a_formula_or_the_one_error(text: str) -> None:
    """§13"""
    try:
        parse_formula(text)
    except FormulaError as error:
        assert 0 <= error.at <= len(text)
        assert error.remedy


@pytest.mark.parametrize(
    ("text", "at", "word"),
    [
        ("", 0, "missing"),
        ("a +", 3, "missing"),
        ("a b", 2, "not expected"),
        ("a + 5 [kWh]", 6, "kW.h"),
        ("wurzel(a)", 0, "no function"),
        ("(a", 2, "')' is missing"),
        ("sum(a, b)", 0, "over things"),
        ("min(a)", 0, "several"),
        ("abs(a, b)", 0, "one value"),
        ("sum(a of floors)", 9, "chooses no things"),
        ('sum(a of group "")', 15, "no name"),
        ("{a/b/c/d}", 0, "three parts"),
        ("{House/b/c}", 0, "project"),
        ("{a+b}", 0, "cannot name"),
        ("1e999", 0, "too large"),
        ("a & b", 2, "means nothing"),
        ("(" * 40 + "a" + ")" * 40, 16, "too deeply"),
        ("a" * (FORMULA_LENGTH_MAX + 1), 0, "characters"),
    ],
)
def test_a_fault_is_told_with_its_place_and_a_remedy(text: str, at: int, word: str) -> None:
    with pytest.raises(FormulaError) as caught:
        parse_formula(text)
    assert caught.value.at == at
    assert word in str(caught.value)
    assert caught.value.remedy
