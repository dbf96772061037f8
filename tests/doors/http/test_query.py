"""The parameters of a query: read sooner where nothing is encoded, and the same ones."""

from hypothesis import example, given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from taihu.doors.http.requests import Asked


@given(st.one_of(st.text("ab=&%+4 é;", max_size=20).map(lambda text: text.encode("latin-1")), st.binary(max_size=20)))
@example(b"a&b=&=c&&a=1=2")
def test_a_query_says_what_starlette_reads(query: bytes) -> None:
    asked = Asked({"type": "http", "query_string": query, "headers": []}).query_params
    assert asked.multi_items() == QueryParams(query).multi_items()
    assert dict(asked) == dict(QueryParams(query))
