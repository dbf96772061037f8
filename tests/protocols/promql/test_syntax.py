"""The part of PromQL that is answered, and that the rest is refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taihu.protocols.promql import (
    FUNCTIONS,
    Aggregate,
    Binary,
    Call,
    Expression,
    Matcher,
    Negation,
    Number,
    PromqlError,
    Selector,
    is_scalar,
    parse,
    selectors,
)

M = 60 * 10**9
UP = Selector((Matcher("__name__", "=", "up"),))


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("up", UP),
        ("1+1", Binary("+", Number(1), Number(1), False)),
        ("-2^2", Negation(Binary("^", Number(2), Number(2), False))),
        ("2^3^2", Binary("^", Number(2), Binary("^", Number(3), Number(2), False), False)),
        ("1 - 2 - 3", Binary("-", Binary("-", Number(1), Number(2), False), Number(3), False)),
        ("up * 2 > bool 1", Binary(">", Binary("*", UP, Number(2), False), Number(1), True)),
        ('{__name__="up"}', UP),
        (
            "up{a=\"x\\n\",b!='y',c=~`a|b.*`,d!~\"\"} offset 5m",
            Selector(
                (*UP.matchers, Matcher("a", "=", "x\n"), Matcher("b", "!=", "y"), Matcher("c", "=~", "a|b.*"),
                 Matcher("d", "!~", "")),
                0, 5 * M,
            ),
        ),
        ("rate(up[1h30m] offset -1m) # why", Call("rate", Selector(UP.matchers, 90 * M, -M))),
        ("sum by (a, b) (up)", Aggregate("sum", UP, ("a", "b"), False)),
        ("count(up) without (a)", Aggregate("count", UP, ("a",), True)),
        ("avg(rate(up[5m]))", Aggregate("avg", Call("rate", Selector(UP.matchers, 5 * M)), (), False)),
        ("sum{a='1'}", Selector((Matcher("__name__", "=", "sum"), Matcher("a", "=", "1")))),
        (".5e1", Number(5.0)),
        ("Inf", Number(float("inf"))),
    ],
)  # fmt: skip
def test_what_is_answered_is_read(text: str, expression: Expression) -> None:
    assert parse(text) == expression


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "end of input"),
        ("up{", "end of input"),
        ("up[5m]]", "unexpected"),
        ("up[5]", "unexpected"),
        ("up{}{}", "unexpected"),
        ("{}", "not empty"),
        ('{a=~".*"}', "not empty"),
        ("rate(up)", "range selector"),
        ("up[5m] + 1", "in a function"),
        ("sum(up[5m])", "in a function"),
        ("sum(1)", "of series"),
        ("1 > 2", "bool"),
        ("up + up", "between series is not answered"),
        ("up and up", "operator and is not answered"),
        ("histogram_quantile(0.9, up)", "function histogram_quantile is not answered"),
        ("up @ 5", "modifier @ is not answered"),
        ("rate(up[5m])[5m:1m]", "subquery is not answered"),
        ("up[5m:1m]", "subquery is not answered"),
        ("topk(5, up)", "function topk is not answered"),
        ('up{a=~"("}', "regular expression"),
        ('up{a=~"(a+)+b"}', "repeats more"),
        ('up{a=~"' + "a?" * 30 + '"}', "repeats more"),
        ("(" * 40 + "1" + ")" * 40, "deeper"),
        ("1 + " * 9_000 + "1", "characters"),
        ('"text"', "text is not answered"),
        ("up offset up", "unexpected"),
        ("up[200y]", "duration"),
    ],
)
def test_what_is_not_answered_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(PromqlError, match=message.replace("(", "\\(")):
        parse(text)


PIECES = st.sampled_from(
    ["up", "sum", "rate", "by", "offset", "bool", "(", ")", "[", "]", "{", "}", ",", "=", "=~", "!=", "+", "-", "^",
     ">", "5m", "1", ".5", '"a"', "'b", "`c`", " ", "#", "\n", "@", ":", "inf", "and", "é", "\\"]
)  # fmt: skip


@given(st.text(max_size=40) | st.lists(PIECES, max_size=20).map("".join) | st.lists(PIECES, max_size=20).map(" ".join))
def test_any_text_gives_an_expression_or_the_error(text: str) -> None:
    """§13"""
    try:
        found = parse(text)
    except PromqlError as error:
        assert error.message
        return
    assert is_scalar(found) == (not selectors(found))


EXPRESSIONS = st.recursive(
    st.sampled_from(["up", "5", 'up{a="b"}', *(f"{name}(up[5m])" for name in FUNCTIONS)]),
    lambda inner: st.one_of(
        st.builds("({})".format, inner),
        st.builds("-{}".format, inner),
        st.builds("{} * 2".format, inner),
        st.builds("1 - ({})".format, inner),
    ),
    max_leaves=4,
)


@given(EXPRESSIONS)
def test_parentheses_and_spaces_change_nothing(text: str) -> None:
    assert parse(f" ( {text} ) ") == parse(text)
