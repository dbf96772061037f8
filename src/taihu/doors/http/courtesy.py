"""What every answer is given that asks for it: entity tags and 304, gzip and zstd, HEAD without a body, CORS."""

import asyncio
from collections.abc import Callable, Collection
from functools import partial

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taihu.doors.http.conditions import matches, tag_of
from taihu.doors.http.encoding import Packer, chosen_encoding, packer

_PACKED_MIN = 1_024  # smaller answers gain nothing
_THREAD_MIN = 16_384  # smaller parts are encoded sooner than a thread takes them
_PIECE = 262_144
_TAGGED_MAX = 1_048_576
_PACKED_TYPES = (b"application/json", b"application/td+json", b"application/vnd.", b"text/")
_LIVE_TYPE = b"text/event-stream"
_EXPOSED = b"ETag, Link, Location, Retry-After, Taihu-Observed-At, Taihu-Stale"
_ALLOWED = b"Authorization, Content-Type, Content-Encoding, If-Match, If-None-Match, Last-Event-ID"
_PREFLIGHT_S = b"600"

Headers = list[tuple[bytes, bytes]]
Origins = Callable[[], Collection[str]]


class Courtesy:
    """An ASGI application around the door's own.

    `origins` are the web origins whose pages may ask, `*` for all; without any, answers say nothing of CORS.
    """

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; anything but HTTP goes through as it is."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = {name: value for name, value in scope["headers"] if name in _READ}
        cross = self._cross(asked) if b"origin" in asked else []
        if len(cross) > 1 and scope["method"] == "OPTIONS" and b"access-control-request-method" in asked:
            await _preflight(asked, cross, send)
            return
        await self._app(scope, receive, _Answer(scope["method"], asked, cross, send))

    def _cross(self, asked: dict[bytes, bytes]) -> Headers:
        """What an answer to a page of the request's origin says; nothing of it unless it is allowed."""
        allowed, origin = self._origins(), asked[b"origin"]
        if "*" not in allowed and origin.decode("latin-1") not in allowed:
            return [(b"vary", b"Origin")] if allowed else []
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED),
            (b"vary", b"Origin"),
        ]


_READ = {b"accept-encoding", b"if-none-match", b"origin", b"access-control-request-method"}


async def _preflight(asked: dict[bytes, bytes], cross: Headers, send: Send) -> None:
    headers = [
        *cross,
        (b"access-control-allow-methods", asked[b"access-control-request-method"]),
        (b"access-control-allow-headers", _ALLOWED),
        (b"access-control-max-age", _PREFLIGHT_S),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


class _Answer:
    """Takes one answer's messages and sends what the client asked for."""

    def __init__(self, method: str, asked: dict[bytes, bytes], cross: Headers, send: Send) -> None:
        self._head_only = method == "HEAD"
        self._reads = self._head_only or method == "GET"
        self._asked = asked
        self._cross = cross
        self._send = send
        self._start: Message | None = None
        self._has: dict[bytes, bytes] = {}
        self._packer: Packer | None = None
        self._through = False
        self._ended = False

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            await self._open(message)
        elif self._through or kind != "http.response.body":
            await self._send(message)
        elif self._start is not None:
            start, self._start = self._start, None
            await self._begin(start, message.get("body", b""), message.get("more_body", False))
        elif not self._ended:
            await self._continue(message.get("body", b""), message.get("more_body", False))

    async def _open(self, start: Message) -> None:
        """Keep the head until its body says what becomes of it; a stream's goes at once, for its events may be late."""
        start["headers"] += self._cross
        has = self._has = dict(start["headers"])
        plain = not self._reads or b"cache-control" in has
        live = has.get(b"content-type", b"").startswith(_LIVE_TYPE)
        if live and self._head_only:
            await self._finish(start)
        elif live or (plain and not self._head_only and b"accept-encoding" not in self._asked):
            self._through = True
            await self._send(start)
        else:
            self._start = start

    async def _begin(self, start: Message, body: bytes, more: bool) -> None:
        headers, has = start["headers"], self._has
        tagged = self._reads and start["status"] == 200 and b"cache-control" not in has
        if tagged and not more and b"etag" not in has and len(body) <= _TAGGED_MAX:
            has[b"etag"] = tag_of(body).encode()
            headers.append((b"etag", has[b"etag"]))
        if tagged and b"etag" in has and self._known(has[b"etag"]):
            kept = [pair for pair in headers if pair[0] not in (b"content-length", b"content-type")]
            await self._finish({**start, "status": 304, "headers": kept})
            return
        if self._head_only:
            await self._finish(start)
            return
        encoding = self._encoding(has, len(body), more)
        if encoding:
            start["headers"] = _encoded(headers, encoding)
            self._packer = packer(encoding)
            if not more and len(body) < _THREAD_MIN:
                body = self._packer.compress(body) + self._packer.flush()
                start["headers"].append((b"content-length", b"%d" % len(body)))
                self._packer = None
        await self._send(start)
        await self._continue(body, more)

    async def _continue(self, body: bytes, more: bool) -> None:
        if self._packer is None:
            await self._send({"type": "http.response.body", "body": body, "more_body": more})
            return
        for place in range(0, len(body), _PIECE):
            packed = await self._pack(self._packer.compress, body[place : place + _PIECE])
            if packed:
                await self._send({"type": "http.response.body", "body": packed, "more_body": True})
        if not more:
            await self._send({"type": "http.response.body", "body": self._packer.flush(), "more_body": False})

    async def _pack(self, work: Callable[[bytes], bytes], data: bytes) -> bytes:
        if len(data) < _THREAD_MIN:
            return work(data)
        return await asyncio.get_running_loop().run_in_executor(None, partial(work, data))

    async def _finish(self, start: Message) -> None:
        """Send the head alone; what the application still says is dropped, and it hears that the client is gone."""
        self._ended = True
        await self._send(start)
        await self._send({"type": "http.response.body", "body": b""})

    def _known(self, tag: bytes) -> bool:
        named = self._asked.get(b"if-none-match")
        return named is not None and matches(named.decode("latin-1"), tag.decode("latin-1"))

    def _encoding(self, has: dict[bytes, bytes], size: int, more: bool) -> str:
        accepted = self._asked.get(b"accept-encoding")
        if accepted is None or b"content-encoding" in has or (size < _PACKED_MIN and not more):
            return ""
        if not has.get(b"content-type", b"").startswith(_PACKED_TYPES):
            return ""
        return chosen_encoding(accepted.decode("latin-1"))


def _encoded(headers: Headers, encoding: str) -> Headers:
    """The head of an encoded answer: another length and another tag."""
    found = [(name, value) for name, value in headers if name not in (b"content-length", b"etag")]
    for name, value in headers:
        if name == b"etag":
            found.append((name, value[:-1] + b"-" + encoding.encode() + b'"'))
    return [*found, (b"content-encoding", encoding.encode()), (b"vary", b"Accept-Encoding")]
