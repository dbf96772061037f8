"""Which steps of a JSONPath search read nothing of descriptions but their heads, which cost a tenth to make."""

from collections.abc import Iterator, Sequence
from typing import Any

from taihu.things.description import HEADING


def reads_heads(query: Any) -> bool:
    """Whether a search of all descriptions reads their heads alone."""
    from jsonpath_rfc9535.selectors import WildcardSelector

    first, *rest = query.segments
    return all(isinstance(one, WildcardSelector) for one in first.selectors) and _reads_heads(rest)


def picks_by_heads(segment: Any) -> bool:
    """Whether a first step picks descriptions by one filter that reads heads alone."""
    from jsonpath_rfc9535.segments import JSONPathChildSegment
    from jsonpath_rfc9535.selectors import FilterSelector

    if not isinstance(segment, JSONPathChildSegment) or len(segment.selectors) != 1:
        return False
    (selector,) = segment.selectors
    if not isinstance(selector, FilterSelector):
        return False
    return all(_reads_heads(query.segments) for query in _queries(selector.expression))


def _reads_heads(segments: Sequence[Any]) -> bool:
    """Whether steps from a description on read its head alone: the first of them takes members of it by name."""
    from jsonpath_rfc9535.segments import JSONPathChildSegment
    from jsonpath_rfc9535.selectors import NameSelector

    if not segments or not isinstance(segments[0], JSONPathChildSegment):
        return False
    return all(isinstance(one, NameSelector) and one.name in HEADING for one in segments[0].selectors)


def _queries(expression: Any) -> Iterator[Any]:
    """The queries from `@` on in the expression of a filter; those in a query's own filters are of what it found."""
    from jsonpath_rfc9535.filter_expressions import FilterQuery

    if isinstance(expression, FilterQuery):
        yield expression.query
        return
    parts = [getattr(expression, name, None) for name in ("expression", "left", "right")]
    for part in [*parts, *getattr(expression, "args", ())]:
        if part is not None:
            yield from _queries(part)
