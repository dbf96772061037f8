"""A connection waits for its next request as long as it may, and answers in the order it was asked."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
import uvicorn
from tests.waiting import WAIT_S
from uvicorn.server import ServerState

from taihu.doors.http.connection import bounded
from taihu.kernel.limits import DEFAULT

KEEP_ALIVE_S = 0.2
ASK = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"

Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Any]]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Say which path was asked for, the later the longer it is."""
    body = scope["path"].encode()
    await asyncio.sleep(0.05 / len(body))
    head = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


def serve(client: Client, timeout_s: float = 5.0, app: Any = echo) -> Any:
    """Connect a client to a server of such connections."""

    async def run() -> Any:
        limits = msgspec.structs.replace(DEFAULT, http_request_timeout_s=timeout_s)
        config = uvicorn.Config(app, timeout_keep_alive=0, access_log=False, log_config=None, proxy_headers=False)
        config.load()
        config.timeout_keep_alive = KEEP_ALIVE_S  # type: ignore[assignment]
        made, state = bounded(limits, lambda: 0), ServerState()
        server = await asyncio.get_running_loop().create_server(lambda: made(config, state, {}), "127.0.0.1", 0)
        async with server, asyncio.timeout(WAIT_S):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            try:
                return await client(reader, writer)
            finally:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()

    return asyncio.run(run())


async def one(reader: asyncio.StreamReader) -> bytes:
    """The body of the next answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    return await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))


def test_a_client_with_its_answers_is_let_go_without_a_word() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        for path in (b"a", b"b"):
            writer.write(ASK % path)
            assert await one(reader) == b"/" + path
        return await reader.read()

    began = time.monotonic()
    assert serve(client) == b""
    assert time.monotonic() - began >= KEEP_ALIVE_S


def test_a_client_that_asks_again_in_time_is_kept() -> None:
    """Longer than it may be idle in all, and longer than the timer of its first request."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(8):
            writer.write(ASK % b"x")
            assert await one(reader) == b"/x"
            await asyncio.sleep(KEEP_ALIVE_S / 3)

    serve(client, timeout_s=KEEP_ALIVE_S)


def test_a_request_that_does_not_end_is_told_so() -> None:
    """After others too: what was on time before says nothing of it."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(ASK % b"x")
        assert await one(reader) == b"/x"
        writer.write(b"GET / HTTP/1.1\r\nHost:")
        return await reader.read()

    assert serve(client, timeout_s=0.1).startswith(b"HTTP/1.1 408 ")


def test_empty_lines_hold_no_connection() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(ASK % b"x")
        assert await one(reader) == b"/x"
        ended = asyncio.ensure_future(reader.read())
        while not ended.done():
            writer.write(b"\r\n")
            await asyncio.sleep(KEEP_ALIVE_S / 10)
        with suppress(ConnectionError):  # it was still writing
            return ended.result()
        return b""

    assert b"HTTP/1.1 200" not in serve(client)


def test_a_client_that_was_answered_before_its_body_came_is_let_go_too() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
        assert await one(reader) == b"/x"
        writer.write(b"hello")
        return await reader.read()

    assert serve(client) == b""


def test_requests_that_come_together_are_answered_one_after_the_other() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[bytes]:
        paths = [b"x", b"much-longer-and-so-sooner", b"", b"last"]
        writer.write(b"".join(ASK % path for path in paths))
        assert [await one(reader) for _ in paths] == [b"/" + path for path in paths]
        return await reader.read()  # type: ignore[return-value]

    assert serve(client) == b""


def test_a_client_that_takes_nothing_of_its_answer_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """§6: whoever answers hears that there is nobody, and goes on to other work."""
    ended = []

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        message = asyncio.ensure_future(receive())
        while not message.done():
            await send({"type": "http.response.body", "body": bytes(65_536), "more_body": True})
            await asyncio.sleep(0)
        ended.append(message.result()["type"])

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(ASK % b"x")
        while not ended:
            await asyncio.sleep(0.02)

    serve(client, timeout_s=0.2, app=endless)
    assert ended == ["http.disconnect"]
    assert "took nothing of its answer for 0.2 s" in caplog.text
