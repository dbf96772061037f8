"""One HTTP connection: uvicorn's, bounded in the time and size of a request (§6)."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import unquote

from httptools import parse_url
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from taihu.doors.http.answers import Problem, bad_request, refusal
from taihu.doors.http.exchange import Exchange
from taihu.identity.presented import Presented, presented_by
from taihu.kernel.limits import Limits

log = logging.getLogger("taihu.http")

_WINDOW_S = 10.0
_LINES_PER_WINDOW = 20
CERTIFICATE = "taihu.certificate"


def bounded(limits: Limits, streams: Callable[[], int]) -> type[HttpToolsProtocol]:
    """The protocol class for these limits; `streams` says how many observe, each on a connection of its own.

    A request's head is at most `http_head_bytes_max`, head and body come within `http_request_timeout_s`, and within
    that again something of the answer is taken; otherwise the connection is closed, with one log line, or one for many
    alike.
    """
    told = Told(log)

    class Bounded(Connection):
        head_bytes_max = limits.http_head_bytes_max
        timeout_s = limits.http_request_timeout_s

        @property
        def limit_concurrency(self) -> int:
            return limits.http_requests_pending_max + streams()

        @limit_concurrency.setter
        def limit_concurrency(self, value: int) -> None:
            """Set by uvicorn, which knows nothing of observers."""

        def tell(self, text: str, *values: object) -> None:
            told.line(self.loop.time(), text, *values)

    return Bounded


class Told:
    """Log lines about clients, of which many alike are summed up."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._lines = 0
        self._until = 0.0

    def line(self, now: float, text: str, *values: object) -> None:
        """Write a line at `now` (monotonic seconds), or count it."""
        if now >= self._until:
            if self._lines > _LINES_PER_WINDOW:
                self._log.warning("and %d more such lines in %g s", self._lines - _LINES_PER_WINDOW, _WINDOW_S)
            self._lines = 0
            self._until = now + _WINDOW_S
        self._lines += 1
        if self._lines <= _LINES_PER_WINDOW:
            self._log.warning(text, *values)


class Connection(HttpToolsProtocol):
    """A connection whose next request must come whole in time.

    One timer serves all requests: it is moved on when it fires, and not with each of them.
    """

    head_bytes_max: int
    timeout_s: float
    _head_bytes = 0
    _in_head = True
    _due: float | None = None
    _timer: asyncio.TimerHandle | None = None
    certificate: Presented | None = None

    def tell(self, text: str, *values: object) -> None:
        """One log line about this client."""
        raise NotImplementedError

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is told as any other error is; uvicorn would write plain text."""
        self._refuse(bad_request("This is no HTTP request that can be understood.", "Send HTTP/1.1."))

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.certificate = presented_by(transport)
        self._expect(self.timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._due = None
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > self.head_bytes_max:
            reason = f"the head of its request is larger than {self.head_bytes_max} bytes"
            self._give_up(reason, Problem(431, "head-too-large", _sentence(reason), "Send fewer or shorter headers."))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self.certificate is not None:
            cast(dict[str, Any], self.scope)[CERTIFICATE] = self.certificate  # for `token_of`
        self._in_head = True
        self._expect(self.timeout_s)

    def on_headers_complete(self) -> None:
        """Begin to answer, or put the request behind those before it. ValueError for what is no sound request."""
        self._in_head = False
        self._head_bytes = 0
        self._check_framing()
        version, scope = self.parser.get_http_version(), cast(dict[str, Any], self.scope)
        scope["method"], scope["http_version"] = self.parser.get_method().decode("ascii"), version
        if self.parser.should_upgrade() and self._should_upgrade():
            return
        url = parse_url(self.url)
        scope["raw_path"], scope["query_string"] = url.path, url.query or b""
        scope["path"] = unquote(url.path.decode("ascii"))
        app = _busy if self._is_busy() else self.app
        before, exchange = self.cycle, Exchange(
            self.scope, self.transport, self.flow, self.logger, self.access_logger, self.access_log,
            self.server_state.default_headers, asyncio.Event(), self.expect_100_continue,
            version != "1.0" and self.parser.should_keep_alive(), self.on_response_complete,
        )  # fmt: skip
        exchange.patience_s, exchange.give_up = self.timeout_s, self._unread
        self.cycle = exchange
        if before is None or before.response_complete:
            self._start_asgi_task(exchange, app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, app))

    def on_message_complete(self) -> None:
        self._in_head = True
        self._due = None
        cycle = self.cycle
        if cycle is not None and cycle.scope is self.scope and cycle.response_complete:
            self._expect(self.timeout_keep_alive)  # it was answered before it had come whole
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The next request may be answered; where none waits, one has to come in time."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._due is None:
            self._expect(self.timeout_keep_alive)

    def _is_busy(self) -> bool:
        return max(len(self.connections), len(self.tasks)) >= (self.limit_concurrency or 0)

    def _expect(self, seconds: float) -> None:
        """Close the connection in so many seconds, unless what it waits for has come."""
        self._due = self.loop.time() + seconds
        if self._timer is None or self._timer.when() > self._due:
            self._set_timer(self._due)

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(at, self._look)

    def _look(self) -> None:
        """The timer fired: what it was set for may have come meanwhile, and something else be due later."""
        self._timer = None
        if self._due is None:
            return
        if self.loop.time() < self._due:
            self._set_timer(self._due)
            return
        begun = self._head_bytes > 0 or not self._in_head
        if not begun and self.cycle is not None:
            self.transport.close()  # a client that had its answers
            return
        reason = f"no whole request came within {self.timeout_s:g} s"
        late = Problem(408, "too-slow", _sentence(reason), "Send it faster, or in parts.") if begun else None
        self._give_up(reason, late)

    def _check_framing(self) -> None:
        """Raise ValueError, which the parser takes for a bad request, where two readers could see two requests.

        The parser itself refuses a length beside chunks, two lengths, and what is neither.
        """
        named = [name for name, _ in self.headers]
        if named.count(b"host") != 1 and self.parser.get_http_version() == "1.1":
            raise ValueError("a request has one Host")
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings not in ([], [b"chunked"]):
            raise ValueError("a body is in chunks or has a length")

    def _unread(self) -> None:
        self.tell("%s took nothing of its answer for %g s and is disconnected", self._who(), self.timeout_s)
        self.transport.abort()

    def _who(self) -> str:
        return f"HTTP client {self.client[0] if self.client else '(unknown)'}"

    def _give_up(self, reason: str, problem: Problem | None) -> None:
        """Close the connection, and say why if a request can be answered."""
        if self.transport is not None and not self.transport.is_closing():
            self.tell("%s disconnected: %s", self._who(), reason)
            self._refuse(problem)

    def _refuse(self, problem: Problem | None) -> None:
        """Answer with a problem and close; where an answer is on its way already it is cut."""
        waiting = self.cycle is None or self.cycle.response_complete or not self.cycle.response_started
        if problem is None or not waiting:
            self.transport.abort()
            return
        answer = refusal(problem, "")
        head = [STATUS_LINE[answer.status_code], *(b"%s: %s\r\n" % pair for pair in answer.raw_headers)]
        self.transport.write(b"".join([*head, b"connection: close\r\n\r\n", bytes(answer.body)]))
        self.transport.close()


async def _busy(scope: Any, receive: Any, send: Any) -> None:
    """The answer when as many requests are pending as may."""
    problem = Problem(503, "busy", "Too many requests are pending.", "Try again in a moment.")
    await refusal(problem, scope["path"])(scope, receive, send)


def _sentence(reason: str) -> str:
    return f"{reason[0].upper()}{reason[1:]}."
