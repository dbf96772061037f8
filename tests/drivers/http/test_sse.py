"""Server-sent events: byte by byte equals all at once, any bytes give events or the one error."""

from hypothesis import given
from hypothesis import strategies as st

from taihu.drivers.http.sse import EventParser
from taihu.drivers.port import DeviceLost

LINES = st.sampled_from(
    [
        b"data: 1",
        b"data:x",
        b"data",
        b"event: level",
        b"id: 7",
        b"id",
        b": comment",
        b"retry: 50",
        b"retry: x",
        b"",
        b"\xff",
    ]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


def test_the_standards_example() -> None:
    parser = EventParser()
    stream = b"\xef\xbb\xbf: test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"
    assert [tuple(event) for event in parser.feed(stream)] == [
        ("message", "first event", "1"),
        ("message", "second event", ""),
        ("message", " third event", ""),
    ]
    assert EventParser().feed(b"data\n\ndata\ndata\n\ndata:") == [("message", "", ""), ("message", "\n", "")]


@given(st.lists(st.tuples(LINES, ENDS)))
def test_byte_by_byte_equals_all_at_once(lines: list[tuple[bytes, bytes]]) -> None:
    stream = b"".join(line + end for line, end in lines)
    whole, bytewise = EventParser("3"), EventParser("3")
    expected = whole.feed(stream)
    assert [event for at in range(len(stream)) for event in bytewise.feed(stream[at : at + 1])] == expected
    assert (whole.last_id, whole.retry_s) == (bytewise.last_id, bytewise.retry_s)


@given(st.binary(max_size=400))
def test_any_bytes_give_events_or_nothing_13(data: bytes) -> None:
    for event in EventParser().feed(data + b"\n\n"):
        assert isinstance(event.data, str)


def test_an_event_without_end_is_an_error_6() -> None:
    parser = EventParser()
    try:
        for _ in range(3):
            parser.feed(b"data: " + b"x" * 500_000 + b"\n")
    except DeviceLost:
        return
    raise AssertionError("it grew")
