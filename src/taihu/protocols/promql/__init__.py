"""PromQL, the part of it that is answered: text to expressions, pure."""

from taihu.protocols.promql.syntax import (
    AGGREGATES,
    COMPARISONS,
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
    parse_duration,
    selectors,
)

__all__ = [
    "AGGREGATES",
    "COMPARISONS",
    "FUNCTIONS",
    "Aggregate",
    "Binary",
    "Call",
    "Expression",
    "Matcher",
    "Negation",
    "Number",
    "PromqlError",
    "Selector",
    "is_scalar",
    "parse",
    "parse_duration",
    "selectors",
]
