"""One HTTP/1.1 connection: one request at a time, parsed by llhttp, bounded in size.

What comes unasked, such as the late answer to a request that was given up, ends the connection: it can be nobody's
answer. An answer without a length ends with the connection, as RFC 9112, 6.3 says.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, cast

import httptools

from taihu.drivers.port import DeviceLost
from taihu.drivers.resources import json_of, word_of

_HEAD_BYTES_MAX = 65_536
_STREAM_BYTES_MAX = 262_144


class Response(NamedTuple):
    """A device's answer; names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """What it says: JSON, or one word of plain text; DeviceLost when it is neither."""
        if self.headers.get("content-encoding", "identity") != "identity":
            raise DeviceLost("It compresses its answers, unasked.")
        return word_of(self.body) if self.media_type.startswith("text/plain") else json_of(self.body)

    @property
    def media_type(self) -> str:
        """Its media type, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class Line(asyncio.Protocol):
    """A connection to a device; `ask` and `stream` raise DeviceLost whatever goes wrong, and it is then of no use."""

    def __init__(self, host: str, bytes_max: int) -> None:
        self._host = host
        self._bytes_max = bytes_max
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Response] | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._fault: DeviceLost | None = None
        self._news = asyncio.Event()
        self._streams = False
        self._begin()

    @property
    def usable(self) -> bool:
        """Whether another request may be sent on it."""
        return self._fault is None

    async def ask(self, request: bytes) -> Response:
        """The answer to a request."""
        answer = self._send(request)
        try:
            return await answer
        finally:
            self._waiting = None
            if not answer.done() or answer.cancelled() or not self._keeps:
                self.close()

    async def open(self, request: bytes) -> Response:
        """The head of an answer that has no end; its body comes by `stream`."""
        self._streams = True
        return await self._send(request)

    async def stream(self, idle_s: float) -> AsyncIterator[bytes]:
        """Pieces of the body as they come, until it ends; DeviceLost when nothing comes for `idle_s`."""
        while True:
            if self._body:
                piece = bytes(self._body)
                self._body.clear()
                if self._transport is not None:
                    self._transport.resume_reading()
                yield piece
            elif self._fault is not None or self._complete:
                return
            else:
                self._news.clear()
                try:
                    async with asyncio.timeout(idle_s):
                        await self._news.wait()
                except TimeoutError:
                    raise DeviceLost(f"{self._host} was silent for {idle_s:g} s.") from None

    def close(self) -> None:
        """Let go."""
        self._fail("the connection is closed")

    def _send(self, request: bytes) -> asyncio.Future[Response]:
        if self._fault is not None or self._transport is None:
            raise self._fault or DeviceLost(f"{self._host} is not connected.")
        self._begin()
        self._parser = httptools.HttpResponseParser(self)
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._waiting

    def _begin(self) -> None:
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._body = bytearray()
        self._status = 0
        self._keeps = False
        self._complete = False

    def _fail(self, why: str) -> None:
        if self._fault is None:
            self._fault = DeviceLost(f"{self._host}: {why}.")
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(self._fault)
        self._news.set()
        if self._transport is not None:
            self._transport.abort()

    def _answer(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(Response(self._status, self._headers, b"" if self._streams else bytes(self._body)))

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of no class of asyncio's

    def data_received(self, data: bytes) -> None:
        """Parse what came; what nobody asked for ends the connection."""
        if self._parser is None or self._fault is not None:
            self._fail("it sent what nobody asked for")
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"it is no HTTP: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        """End the answer that ends with the connection; fail any other."""
        unbounded = self._status and not {"content-length", "transfer-encoding"} & self._headers.keys()
        if unbounded and not self._complete and self._fault is None:
            self._complete = True
            self._answer()
        self._fail(str(error) if error else "it closed the connection")

    # What the parser calls

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > _HEAD_BYTES_MAX:
            raise ValueError("the head of its answer is too large")
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Know the status; one that streams has its answer now."""
        if self._parser is None:
            raise ValueError("a second answer to one request")
        self._status = self._parser.get_status_code()
        if self._streams and self._status >= 200:
            self._answer()

    def on_body(self, piece: bytes) -> None:
        """Keep a piece of the body, as many as may be."""
        self._body += piece
        if self._streams:
            self._news.set()
            if len(self._body) > _STREAM_BYTES_MAX and self._transport is not None:
                self._transport.pause_reading()
        elif len(self._body) > self._bytes_max:
            raise ValueError(f"its answer is larger than {self._bytes_max} bytes")

    def on_message_complete(self) -> None:
        """Give the answer, unless it is only an interim one."""
        if self._parser is None or self._status < 200:
            self._begin()
            return
        self._keeps = self._parser.should_keep_alive()
        self._parser = None
        self._complete = True
        self._answer()
        self._headers = {}
        self._news.set()
