"""One request and its answer on a connection: uvicorn's, with the head of an answer written together with its body."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

_IN_NAMES = re.compile(rb'[\x00-\x1f\x7f()<>@,;:\\[\]={} \t"]')
_IN_VALUES = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_BODILESS = (204, 304)


class Exchange(RequestResponseCycle):
    """Holds the head of an answer until the first part of its body: what fits in one write wakes the client once.

    A client that takes nothing of its answer for `patience_s` is given up.
    """

    patience_s: float
    give_up: Callable[[], None]
    _start: Message | None = None
    _left: int | None = None

    async def send(self, message: Any) -> None:
        """Take the next message of the application; waits while the client takes nothing."""
        if self.flow.write_paused and not self.disconnected:
            await self._drain()
        if self.disconnected:
            return
        if not self.response_started:
            self.response_started, self.waiting_for_100_continue = True, False
            self._start = message
            return
        if self.response_complete:
            raise RuntimeError(f"{message['type']} after the end of the answer")
        start, self._start = self._start, None
        parts = self._head(start) if start is not None else []
        body, more = message.get("body", b""), message.get("more_body", False)
        if self.scope["method"] != "HEAD":
            if self._left is not None:
                self._left -= len(body)
                if self._left < 0 or (self._left and not more):
                    raise RuntimeError("the body of an answer has not the length that its head says")
            if not self.chunked_encoding:
                parts.append(body)
            elif body:
                parts += (b"%x\r\n" % len(body), body, b"\r\n")
        if self.chunked_encoding and not more:
            parts.append(b"0\r\n\r\n")
        self.transport.write(b"".join(parts))
        if not more:
            self._complete()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self.patience_s):
                await self.flow.drain()
        except TimeoutError:
            self.disconnected = True
            self.give_up()

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def _head(self, start: Message) -> list[bytes]:
        """The lines of an answer's head; says how its body is framed."""
        headers = [*self.default_headers, *start["headers"]]
        if _IN_NAMES.search(b"".join([name for name, _ in headers])):
            raise RuntimeError("a header's name has a character that ends it")
        if _IN_VALUES.search(b"".join([value for _, value in headers])):
            raise RuntimeError("a header's value has a character that ends it")
        parts = [STATUS_LINE[start["status"]], *[b"%b: %b\r\n" % pair for pair in headers]]
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
        length = dict(headers).get(b"content-length")
        if length is not None:
            self._left = int(length)
        elif start["status"] not in _BODILESS and self.scope["method"] != "HEAD":
            self.chunked_encoding = self.scope["http_version"] != "1.0"  # 1.0 knows no chunks: the end says it
            if self.chunked_encoding:
                parts.append(b"transfer-encoding: chunked\r\n")
        return [*parts, b"\r\n"]
