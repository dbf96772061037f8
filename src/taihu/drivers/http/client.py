"""Requests to one device: a few kept connections, credentials that go nowhere else, bounds on size and time.

An own client over llhttp, since a poll must cost little: 80 us of CPU a request where httpx takes 1,300 and h11 180
(bench/drivers.py). It goes to the host of its connection alone: a redirect to another is refused.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import quote, urljoin, urlsplit

from taihu.drivers.address import connecting, endpoint_of, trust_of
from taihu.drivers.http.line import Line, Response
from taihu.drivers.port import Connection, DeviceLost, DeviceRefused
from taihu.kernel.limits import Limits

Pieces = AsyncIterator[bytes]
SCHEMES = ("http", "https")
_REDIRECTS_MAX = 3
_REDIRECTS = (301, 302, 303, 307, 308)
_SAFE = "%/:?#[]@!$&'()*+,;=~"
_EXAMPLE = "http://host/path"


class HttpClient:
    """Requests to the device of a connection; every method raises DeviceLost or DeviceRefused."""

    def __init__(self, connection: Connection, limits: Limits) -> None:
        parts = connection.parts
        self._scheme = parts.scheme
        default = 443 if parts.scheme == "https" else 80
        self.endpoint = endpoint_of(connection, default, _EXAMPLE)
        self.timeout_s = float(connection.option("timeout_s", 5.0))
        self._limits = limits
        self._lines_max = int(connection.option("connections", 2))
        if not 0 < self._lines_max <= 64:
            raise DeviceRefused("The option connections is not from 1 to 64.", "Most devices serve one to four.")
        self._tls = trust_of(connection) if parts.scheme == "https" else None
        port = "" if self.endpoint.port == default else f":{self.endpoint.port}"
        self.origin = f"{parts.scheme}://{self.endpoint.bracketed}{port}"
        self._fixed, self._query = _credentials(connection)
        self._fixed += f"Host: {self.origin.partition('://')[2]}\r\nUser-Agent: taihu\r\n"
        self._idle: list[Line] = []
        self._turn = asyncio.Semaphore(self._lines_max)
        self._streams: set[Line] = set()

    def target_of(self, href: str, base: str = "/") -> str | None:
        """What to ask this device for, for an address relative to `base`; None when it is another host's."""
        try:
            parts = urlsplit(urljoin(urljoin(self.origin, base), href))
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            return None
        if (parts.scheme, parts.hostname, port) != (self._scheme, self.endpoint.host, self.endpoint.port):
            return None
        return quote(parts.path or "/", _SAFE) + (f"?{quote(parts.query, _SAFE)}" if parts.query else "")

    async def ask(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        """The device's answer. A GET follows redirects within the device; nothing else is ever sent twice."""
        for _ in range(_REDIRECTS_MAX + 1):
            answer = await self._once(method, target, headers or {}, body)
            if answer.status not in _REDIRECTS:
                return answer
            where = self.target_of(answer.headers.get("location", ""), target)
            if where is None or method != "GET":
                raise DeviceRefused(
                    f"{self.endpoint.host} sends the request to {answer.headers.get('location', 'nowhere')[:200]!r}.",
                    "Give that address itself, if you trust it.",
                )
            target = where
        raise DeviceRefused(f"{self.endpoint.host} redirects without end.", "Give the last address itself.")

    @asynccontextmanager
    async def stream(self, target: str, headers: Mapping[str, str], idle_s: float) -> AsyncIterator[Pieces]:
        """The pieces of an answer without end."""
        line = await self._line()
        self._streams.add(line)
        try:
            try:
                async with asyncio.timeout(self.timeout_s):
                    answer = await line.open(self._request("GET", target, headers, b""))
            except TimeoutError:
                raise self._late() from None
            if answer.status != 200 or answer.media_type != "text/event-stream":
                told = f"{answer.status} {answer.media_type}".rstrip()
                raise DeviceRefused(f"{self.endpoint.host} answers {told} to {target}.", "It is no event stream.")
            yield line.stream(idle_s)
        finally:
            self._streams.discard(line)
            line.close()

    def close(self) -> None:
        """Let go of all connections."""
        for line in (*self._idle, *self._streams):
            line.close()
        self._idle.clear()

    async def _once(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Response:
        request = self._request(method, target, headers, body)
        async with self._turn:
            try:
                async with asyncio.timeout(self.timeout_s):
                    answer = await self._on_kept(request) if method == "GET" else None
                    if answer is None:
                        while len(self._idle) >= self._lines_max:
                            self._idle.pop(0).close()
                        line = await self._line()
                        answer = await line.ask(request)
                        self._keep(line)
                    return answer
            except TimeoutError:
                raise self._late() from None

    async def _on_kept(self, request: bytes) -> Response | None:
        """The answer on a kept connection; None when there is none, or the device has just ended it."""
        while self._idle:
            line = self._idle.pop()
            if line.usable:
                try:
                    answer = await line.ask(request)
                except DeviceLost:
                    return None
                self._keep(line)
                return answer
        return None

    def _keep(self, line: Line) -> None:
        if line.usable:
            self._idle.append(line)

    async def _line(self) -> Line:
        loop = asyncio.get_running_loop()
        async with connecting(self.endpoint):
            _, line = await loop.create_connection(
                lambda: Line(self.endpoint.host, self._limits.device_answer_bytes_max),
                self.endpoint.host,
                self.endpoint.port,
                ssl=self._tls,
            )
        return line

    def _request(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
        if self._query:
            target += ("&" if "?" in target else "?") + self._query
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        if body or method not in ("GET", "DELETE"):
            lines += f"Content-Length: {len(body)}\r\n"
        return f"{method} {target} HTTP/1.1\r\n{self._fixed}{lines}\r\n".encode("latin-1", "replace") + body

    def _late(self) -> DeviceLost:
        return DeviceLost(f"{self.endpoint.host} does not answer within {self.timeout_s:g} s.")


def _credentials(connection: Connection) -> tuple[str, str]:
    """Header lines and a part of the query that say who asks."""
    secrets = connection.secrets
    for name, secret in secrets.items():
        if not secret.isprintable():
            raise DeviceRefused(f"The secret {name} has a character that no header can hold.", "Give it again.")
    if token := secrets.get("token"):
        return f"Authorization: Bearer {token}\r\n", ""
    if password := secrets.get("password"):
        user = connection.parts.username or str(connection.option("user", ""))
        word = base64.b64encode(f"{user}:{password}".encode()).decode()
        return f"Authorization: Basic {word}\r\n", ""
    if key := secrets.get("api_key"):
        if query := str(connection.option("api_key_query", "")):
            return "", f"{quote(query)}={quote(key, '')}"
        header = str(connection.option("api_key_header", "X-API-Key"))
        if not header.isascii() or not header.replace("-", "").replace("_", "").isalnum():
            raise DeviceRefused(f"{header!r} is no name of a header.", "Write one such as X-API-Key.")
        return f"{header}: {key}\r\n", ""
    return "", ""
