"""Long answers of the history, sent page by page as the client takes them: memory holds one page (§6)."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from taihu.doors.http.answers import Problem
from taihu.doors.http.conditions import next_page
from taihu.doors.http.ports import Caller, Node
from taihu.doors.http.requests import node_of
from taihu.doors.http.shared import shared_by
from taihu.kernel.errors import TaihuError
from taihu.things.property import Property

log = logging.getLogger("taihu.http")

_PIECE_BYTES = 65_536
_SERIES_A_QUESTION = 400  # more than a page has room for
_ARROW_END = b"\xff\xff\xff\xff\0\0\0\0"
_encode = msgspec.json.Encoder(enc_hook=str).encode


class Series(NamedTuple):
    """A property of a thing."""

    thing: str
    definition: Property


class Question:
    """One long question: asks for its pages in their order."""

    def __init__(self, node: Node, caller: Caller, series: Sequence[Series], wanted: dict[str, Any], form: str) -> None:
        self._node = node
        self._caller = caller
        self._series = series
        self.wanted = wanted
        self._form = form
        self._place: tuple[int, int | None, int] | None = (0, None, 0)
        self.alone = len(series) == 1
        self.last: int | None = None

    @property
    def ended(self) -> bool:
        """Whether the last page was given."""
        return self._place is None

    async def page(self) -> bytes:
        """The next page; the parts around all of them included."""
        assert self._place is not None
        at, bound, given = self._place
        head = self._head() if self._place == (0, None, 0) else b""
        part = self._series[at : at + _SERIES_A_QUESTION]
        found = await self._node.ask_page(self._arguments(part, at, bound, given))
        self.last = found.last
        if found.place is not None:
            self._place = (at + found.place[0], *found.place[1:])
        else:
            self._place = (at + len(part), None, 0) if at + len(part) < len(self._series) else None
        return head + found.data + (b"" if self._place else self._tail())

    def _arguments(self, part: Sequence[Series], before: int, bound: int | None, given: int) -> dict[str, Any]:
        names = [(one.thing, one.definition.name) for one in part]
        labels = [(*name, one.definition.unit, one.definition.kind) for name, one in zip(names, part, strict=True)]
        ask = {
            "wanted": self.wanted | {"series": names}, "labels": labels, "place": (0, bound, given),
            "form": self._form, "before": before, "alone": self.alone,
        }  # fmt: skip
        if self._form == "json":
            ask["notes"] = [self._note(one) for one in part]
        known = [(one.thing, one.definition) for one in part] if self.wanted.get("every") else []
        return {"project": self.wanted["project"], "ask": ask, "definitions": known}

    def _note(self, one: Series) -> dict[str, Any]:
        """What the answer says of where a series comes from (§10)."""
        if not one.definition.formula:
            return {}
        return self._node.inputs_seen(self._caller, self.wanted["project"], one.thing, one.definition.name)

    def _head(self) -> bytes:
        several = self._form == "json" and not self.alone
        return b'{"project":%b,"series":[' % _encode(self.wanted["project"]) if several else b""

    def _tail(self) -> bytes:
        if self._form == "arrow":
            return _ARROW_END
        return b"]}" if self._form == "json" and not self.alone else b""


async def paged(request: Request, question: Question, media_type: str) -> Response:
    """The answer to a question: whole when its first page is all, else page by page.

    What goes wrong before the first page is an error like any other; later the connection is cut: the status is out.
    """
    limits, shared = node_of(request).limits, shared_by(request)
    first = await question.page()
    if question.ended:
        return Response(first, headers=_next(request, question), media_type=media_type)
    if shared.answer_bytes + len(first) > limits.http_answers_bytes_max:
        raise Problem(503, "busy", "Too much is being read at once.", "Ask for less, or try again in a moment.")
    return _Paged(request, question, first, media_type)


def _next(request: Request, question: Question) -> dict[str, str]:
    """Where the readings are that a limit left out."""
    if question.last is None:
        return {}
    wanted, again = question.wanted, int(question.wanted["revisions"])
    if wanted["newest_first"]:
        start, end = wanted["start"], question.last + again
    else:
        start, end = question.last + 1 - again, wanted["end"]
    return next_page(request, start=start, end=end) if start < end else {}


class _Paged(Response):
    """Sends the first page and asks for the others."""

    def __init__(self, request: Request, question: Question, first: bytes, media_type: str) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._request = request
        self._question = question
        self._first = first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        page: bytes | None = self._first
        try:
            while page is not None:
                await self._send(page, send)
                page = await self._next()
        except TaihuError as error:
            log.warning("a long answer was cut: %s", error)

    async def _next(self) -> bytes | None:
        """The next page; None when there is nobody to send it to."""
        if self._question.ended or self._request.method == "HEAD" or await self._request.is_disconnected():
            return None
        return await self._question.page()

    async def _send(self, page: bytes, send: Send) -> None:
        shared = shared_by(self._request)
        shared.answer_bytes += len(page)
        try:
            for piece in _pieces(page):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            if self._question.ended:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            shared.answer_bytes -= len(page)


def _pieces(page: bytes) -> Iterator[bytes]:
    for place in range(0, len(page), _PIECE_BYTES):
        yield page[place : place + _PIECE_BYTES]
