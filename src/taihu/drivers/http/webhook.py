"""Pushes of a device: POST with JSON, signed by HMAC as Standard Webhooks has it, answered when they are durable.

The signature is over identifier, time and body (`webhook-id`, `webhook-timestamp`, `webhook-signature`), with a secret
that both sides know. What is older or newer than five minutes is refused, and so is no push taken twice: one that comes
again under its identifier is answered as it was, and passed on no more.

Source: Standard Webhooks 1.0.0.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
from collections.abc import Awaitable, Callable
from typing import Any, cast

import httptools

from taihu.drivers.port import DeviceLost, DeviceRefused
from taihu.kernel.clock import NS_PER_S, Clock
from taihu.kernel.errors import TaihuError
from taihu.kernel.limits import Limits

TOLERANCE_S = 300
_IDENTIFIERS_MAX = 10_000
_ID_LENGTH_MAX = 256
_CONNECTIONS_MAX = 64
_HEAD_BYTES_MAX = 16_384
_IDLE_S = 30.0  # of a request, and of what is done with it
_REASONS = {204: "No Content", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed",
            413: "Content Too Large", 429: "Too Many Requests", 503: "Service Unavailable"}  # fmt: skip

Take = Callable[[str, bytes], Awaitable[None]]
"""Passes on the body of a push to a path, and returns when it is durable; DeviceLost for a body that is none."""


class Signatures:
    """Who may push: the secret, the time, and the identifiers that were taken."""

    def __init__(self, secret: str, clock: Clock) -> None:
        try:
            self._key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            self._key = b""
        if len(self._key) < 24:
            raise DeviceRefused("The secret webhook_secret is too weak.", "Give whsec_ and 24 random octets in base64.")
        self._clock = clock
        self._taken: dict[str, int] = {}

    def fault(self, headers: dict[str, str], body: bytes) -> int:
        """The status that refuses a push; 0 for one that is genuine, and new."""
        number, sent, signatures = (headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
        now = self._clock.now_ns() // NS_PER_S
        fresh = sent.isascii() and sent.isdigit() and abs(now - int(sent[:18])) <= TOLERANCE_S
        signed = f"{number}.{sent}.".encode() + body
        wanted = base64.b64encode(hmac.new(self._key, signed, hashlib.sha256).digest())
        given = [one.removeprefix("v1,").encode("latin-1") for one in signatures.split(" ") if one.startswith("v1,")]
        genuine = [hmac.compare_digest(wanted, one) for one in given[:8]]
        if not fresh or not any(genuine) or not 0 < len(number) <= _ID_LENGTH_MAX:
            return 401
        for old in [old for old, until in self._taken.items() if until < now]:
            del self._taken[old]
        return 429 if len(self._taken) >= _IDENTIFIERS_MAX else 0

    def was_taken(self, headers: dict[str, str]) -> bool:
        """Whether a genuine push was taken before."""
        return headers["webhook-id"] in self._taken

    def remember(self, headers: dict[str, str]) -> None:
        """That a push was taken: as long as its time could be given again."""
        self._taken[headers["webhook-id"]] = int(headers["webhook-timestamp"]) + TOLERANCE_S


class Webhook:
    """A listener for pushes."""

    def __init__(self, listen: str, signatures: Signatures, limits: Limits, take: Take) -> None:
        host, _, port = listen.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65_535:
            raise DeviceRefused(f"The option listen is {listen!r}.", "Write one such as 127.0.0.1:8801.")
        self._host, self._port = host.strip("[]"), int(port)
        self._signatures = signatures
        self.limits = limits
        self._take = take
        self.open = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self._doing: set[str] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen; the port. DeviceLost when the address cannot be had."""
        try:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _Pusher(self), self._host, self._port)
        except OSError as error:
            raise DeviceLost(f"{self._host}, port {self._port}, cannot be listened on: {error}.") from None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def stop(self) -> None:
        """Listen no more."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in self.tasks:
            task.cancel()

    async def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> int:
        """The status that answers a push."""
        if method != "POST":
            return 405
        if fault := self._signatures.fault(headers, body):
            return fault
        if self._signatures.was_taken(headers):
            return 204
        number = headers["webhook-id"]
        if number in self._doing or len(self._doing) >= _CONNECTIONS_MAX:
            return 503
        self._doing.add(number)
        try:
            async with asyncio.timeout(_IDLE_S):
                await self._take(path, body)
            self._signatures.remember(headers)
            return 204
        except LookupError:
            return 404
        except DeviceLost:
            return 400
        except (TaihuError, TimeoutError):
            return 503
        finally:
            self._doing.discard(number)


class _Pusher(asyncio.Protocol):
    """One connection of a device that pushes: one request, one answer."""

    def __init__(self, hook: Webhook) -> None:
        self._hook = hook
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._url = b""
        self._body = bytearray()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve it while there is room, and as long as it may take."""
        self._transport = cast(asyncio.Transport, transport)
        self._hook.open += 1
        if self._hook.open > _CONNECTIONS_MAX:
            self._transport.abort()
            return
        self._timer = asyncio.get_running_loop().call_later(_IDLE_S, self._transport.abort)

    def connection_lost(self, error: Exception | None) -> None:
        """Let go."""
        self._hook.open -= 1
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._parser is None:
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._say(413 if self._too_much() else 400)

    def on_url(self, url: bytes) -> None:
        """Keep the address."""
        self._url += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self._count(len(name) + len(value))
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, piece: bytes) -> None:
        """Keep a piece of the body, as many as may be."""
        self._body += piece
        if self._too_much():
            raise ValueError("too much")

    def on_message_complete(self) -> None:
        """Answer it when it is dealt with."""
        task = asyncio.get_running_loop().create_task(self._serve(self._parser.get_method().decode("latin-1")))
        self._parser = None
        self._hook.tasks.add(task)
        task.add_done_callback(self._hook.tasks.discard)

    async def _serve(self, method: str) -> None:
        path = self._url.decode("latin-1").partition("?")[0]
        self._say(await self._hook.answer(method, path, self._headers, bytes(self._body)))

    def _say(self, status: int) -> None:
        self._parser = None
        head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nConnection: close\r\n"
        self._transport.write((head + ("\r\n" if status == 204 else "Content-Length: 0\r\n\r\n")).encode())
        self._transport.close()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._too_much():
            raise ValueError("too much")

    def _too_much(self) -> bool:
        return self._head_bytes > _HEAD_BYTES_MAX or len(self._body) > self._hook.limits.device_answer_bytes_max
