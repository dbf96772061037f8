"""The HTTP connection of a device: whatever comes, in whatever pieces, is an answer or DeviceLost (§13)."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from taihu.drivers.http.line import Line, Response
from taihu.drivers.port import DeviceLost

HEADS = ["HTTP/1.1 200 OK", "HTTP/1.0 204 No Content", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created", "HTTP/9 x"]
HEADERS = ["content-length: 4", "content-length: -1", "transfer-encoding: chunked", "content-type: text/plain",
           "connection: close", "x", ": y"]  # fmt: skip
BODIES = [b"", b"body", b"4\r\nbody\r\n0\r\n\r\n", b"zz\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"\0" * 50]
ANSWERS = st.binary(max_size=80) | st.builds(
    lambda head, headers, body: "\r\n".join([head, *headers, "", ""]).encode() + body,
    st.sampled_from(HEADS), st.lists(st.sampled_from(HEADERS), max_size=3), st.sampled_from(BODIES),
)  # fmt: skip


class Wire:
    """Where a line writes to."""

    def write(self, data: bytes) -> None:
        pass

    def abort(self) -> None:
        pass


def outcome(pieces: list[bytes]) -> Response | None:
    """What a line makes of an answer that comes in pieces and then ends; None when the device is lost by it."""

    async def body() -> Response | None:
        line: Any = Line("device", 100)
        line.connection_made(Wire())
        asked = asyncio.ensure_future(line.ask(b"GET / HTTP/1.1\r\n\r\n"))
        await asyncio.sleep(0)
        for piece in pieces:
            line.data_received(piece)
        line.connection_lost(None)
        try:
            answer: Response = await asked
        except DeviceLost:
            return None
        return answer

    return asyncio.run(body())


@settings(deadline=None, max_examples=80)
@given(ANSWERS)
def test_byte_by_byte_equals_all_at_once_and_any_bytes_are_an_answer_or_lost_13(data: bytes) -> None:
    whole = outcome([data] if data else [])
    assert outcome([data[at : at + 1] for at in range(len(data))]) == whole
    assert whole is None or len(whole.body) <= 100


def test_answers_are_taken() -> None:
    assert outcome([b"HTTP/1.1 200 OK\r\nX-Y: z\r\ncontent-length: 4\r\n\r\n", b"body"]) == Response(
        200, {"x-y": "z", "content-length": "4"}, b"body"
    )
    assert outcome([b"HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n" + b"x" * 101]) is None
