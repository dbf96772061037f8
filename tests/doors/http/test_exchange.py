"""An answer is framed as uvicorn frames it, in as few writes as its parts."""

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from taihu.doors.http.exchange import Exchange


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        if data:
            self.writes.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def told(kind: Any, messages: list[Any], method: str = "GET", version: str = "1.1", alive: bool = True) -> Transport:
    """What a kind of exchange makes of an application's messages."""
    transport, log = Transport(), logging.getLogger("test")

    async def run() -> None:
        scope = {"type": "http", "method": method, "http_version": version}
        flow = FlowControl(transport)  # type: ignore[arg-type]
        ended = asyncio.Event()
        date = [(b"date", b"Thu, 26 Nov 2026 00:00:00 GMT")]
        cycle = kind(scope, transport, flow, log, log, False, date, asyncio.Event(), False, alive, ended.set)
        for message in messages:
            await cycle.send(message)
        assert cycle.response_complete and ended.is_set()

    asyncio.run(run())
    return transport


def answer(status: int, headers: list[tuple[bytes, bytes]], parts: list[bytes]) -> list[Any]:
    """The messages of an answer."""
    last = len(parts) - 1
    bodies = [
        {"type": "http.response.body", "body": part, "more_body": place < last} for place, part in enumerate(parts)
    ]
    return [{"type": "http.response.start", "status": status, "headers": headers}, *bodies]


texts = st.text(st.characters(min_codepoint=32, max_codepoint=126)).map(str.encode)


@given(
    st.sampled_from([200, 204, 304, 404, 500]),
    st.lists(st.binary(max_size=40), min_size=1, max_size=5),
    st.lists(st.tuples(st.sampled_from([b"etag", b"x-note", b"vary"]), texts), max_size=3),
    st.sampled_from(["GET", "HEAD", "POST"]),
    st.booleans(),
    st.booleans(),
)
def test_the_bytes_are_uvicorns(
    status: int, parts: list[bytes], headers: list[tuple[bytes, bytes]], method: str, sized: bool, alive: bool
) -> None:
    if status in (204, 304):
        parts = [b""]
    elif sized:
        headers = [*headers, (b"content-length", b"%d" % sum(map(len, parts)))]
    messages = answer(status, headers, parts)
    ours, theirs = (told(kind, messages, method, alive=alive) for kind in (Exchange, RequestResponseCycle))
    assert b"".join(ours.writes) == b"".join(theirs.writes)
    assert ours.closed == theirs.closed != alive
    assert len(ours.writes) <= len(parts)


def test_a_whole_answer_is_one_write() -> None:
    (written,) = told(Exchange, answer(200, [(b"content-length", b"2")], [b"ok"])).writes
    assert written.startswith(b"HTTP/1.1 200 OK\r\n") and written.endswith(b"\r\n\r\nok")


def test_a_client_of_1_0_gets_no_chunks() -> None:
    """It knows none (RFC 9112, 7.1): the end of the connection is that of the body."""
    transport = told(Exchange, answer(200, [], [b"a", b"b"]), version="1.0", alive=False)
    head, _, body = b"".join(transport.writes).partition(b"\r\n\r\n")
    assert body == b"ab" and b"chunked" not in head and transport.closed


@pytest.mark.parametrize("header", [(b"x", b"a\r\nSet-Cookie: b"), (b"x\n", b"a"), (b"x:", b"a"), (b"x", b"a\x00")])
def test_no_header_ends_itself(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(RuntimeError, match="header"):
        told(Exchange, answer(200, [header], [b""]))


@pytest.mark.parametrize("parts", [[b"abc"], [b"a", b"b", b"c"], [b"a"], [b""]])
def test_a_body_is_as_long_as_its_head_says(parts: list[bytes]) -> None:
    with pytest.raises(RuntimeError, match="length"):
        told(Exchange, answer(200, [(b"content-length", b"2")], parts))


def test_nothing_follows_the_end() -> None:
    messages = answer(200, [(b"content-length", b"0")], [b""])
    with pytest.raises(RuntimeError, match="after the end"):
        told(Exchange, [*messages, messages[-1]])
