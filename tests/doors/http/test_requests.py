"""What a request says is read as Starlette reads it."""

from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from taihu.doors.http.requests import Asked

PIECES = st.sampled_from([b"a", b"b", b"=", b"&", b"%41", b"%", b"+", b";", b"\xe9", b"%C3%A9", b" ", b"?", b"7"])


@given(st.lists(PIECES, max_size=12).map(b"".join))
def test_a_query_says_what_it_says(query: bytes) -> None:
    scope = {"type": "http", "query_string": query, "headers": []}
    ours, theirs = Asked(dict(scope)).query_params, Request(dict(scope)).query_params
    assert ours.multi_items() == theirs.multi_items()
    assert dict(ours) == dict(theirs)
