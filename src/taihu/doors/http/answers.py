"""How answers and errors look: JSON by msgspec, and RFC 9457 problem details."""

from collections.abc import Mapping
from html import escape
from math import ceil
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from taihu.doors.http.shared import Shared, shared_by
from taihu.kernel.errors import LimitError, RefusedError, RemoteError, TaihuError, TransientError
from taihu.things.document import DescriptionError

NEVER_THE_SAME = {"Cache-Control": "no-store"}
"""For an answer that tells of now: it is not kept, and has no entity tag."""
_PIECE_BYTES = 65_536
_encoder = msgspec.json.Encoder(enc_hook=str)
_LATER = {"Retry-After": "1"}
_STATUS_OF = {"content-type": 415, "sign-in": 401}
_WORKER_STATUS = {"limit": 429, "transient": 503, "refused": 400, "remote": 400, "local": 400}


class Problem(TaihuError):
    """An HTTP error answer.

    Args:
        status: the HTTP status.
        code: stable and documented; becomes the problem's type.
        message: what is wrong.
        remedy: what to do about it.
    """

    def __init__(self, status: int, code: str, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.status = status
        self.problem = code


def unauthorized() -> Problem:
    """No valid token came with the request."""
    return Problem(401, "unauthorized", "This needs a valid token.", "Send 'Authorization: Bearer TOKEN'.")


def not_found(what: str) -> Problem:
    """It does not exist, or the caller may not know that it does."""
    return Problem(404, "not-found", f"There is no {what} here, or this token may not see it.", "Check the name.")


def bad_request(message: str, remedy: str = "") -> Problem:
    """A parameter or body cannot be used."""
    return Problem(400, "bad-request", message, remedy)


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(_encoder.encode(body), status, headers, media_type="application/json")


def large_answer(request: Request, body: Any, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer of any size. All of them together hold at most `http_answers_bytes_max` (§6)."""
    return large_content(request, _encoder.encode(body), "application/json", headers)


def large_content(request: Request, data: bytes, media_type: str, headers: Mapping[str, str] | None = None) -> Response:
    """As `large_answer`, of any media type."""
    if len(data) <= _PIECE_BYTES:
        return Response(data, headers=headers, media_type=media_type)
    shared = shared_by(request)
    if shared.answer_bytes + len(data) > shared.node.limits.http_answers_bytes_max:
        raise Problem(503, "busy", "Too much is being read at once.", "Ask for less, or try again in a moment.")
    return _Pieces(data, media_type, shared, headers)


class _Pieces(Response):
    """An answer sent as the client takes it."""

    def __init__(self, data: bytes, media_type: str, shared: Shared, headers: Mapping[str, str] | None) -> None:
        super().__init__(data, headers=headers, media_type=media_type)
        self._shared = shared

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        data, last = memoryview(self.body), len(self.body) - _PIECE_BYTES
        self._shared.answer_bytes += len(data)
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for place in range(0, len(data), _PIECE_BYTES):
                piece = bytes(data[place : place + _PIECE_BYTES])
                await send({"type": "http.response.body", "body": piece, "more_body": place < last})
        finally:
            self._shared.answer_bytes -= len(data)


_PLAIN = "font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto; padding: 0 1rem"
_READ_BY_PEOPLE = ("/carbon/rows", "/carbon/report", "/carbon/hourly", "/api/v1/factors")


def refusal(error: TaihuError, instance: str) -> Response:
    """The answer to a request at `instance` that fails."""
    body = problem_of(error, instance)
    status = body["status"]
    headers = dict(_LATER) if status in (429, 503) else {}
    if (wait_s := getattr(error, "retry_after_s", 0.0)) > 0:
        headers = {"Retry-After": str(ceil(wait_s))}
    refused = Response(_encoder.encode(body), status, headers, media_type="application/problem+json")
    for challenge in _challenges(instance) if status == 401 else ():
        refused.headers.append("WWW-Authenticate", challenge)
    return refused


def shown_refusal(error: TaihuError, instance: str) -> Response:
    """The same as a page, for a person who followed a link."""
    found = refusal(error, instance)
    words = f"<h1>{escape(error.message)}</h1><p>{escape(error.remedy)}</p>"
    page = f"<!doctype html><meta charset=utf-8><title>Taihu</title><body style='{_PLAIN}'>{words}"
    shown = Response(page, found.status_code, media_type="text/html")
    for name in ("www-authenticate", "retry-after"):
        for value in found.headers.getlist(name):
            shown.headers.append(name, value)
    return shown


def _challenges(path: str) -> tuple[str, ...]:
    """What to come with; an enrolment client knows Basic alone (RFC 7030, 3.2.3).

    A browser that reads a report's rows asks for a token as password; it takes only one challenge from each line.
    """
    if path.startswith("/.well-known/est/"):
        return ('Basic realm="enrolment"',)
    return ("Bearer", 'Basic realm="a token as password"') if path.endswith(_READ_BY_PEOPLE) else ("Bearer",)


def problem_of(error: TaihuError, instance: str = "") -> dict[str, Any]:
    """The problem details (RFC 9457) of an error."""
    status, code = _status(error)
    problem: dict[str, Any] = {"type": f"urn:taihu:problem:{code}", "title": error.message, "status": status}
    problem |= {"instance": instance} if instance else {}
    problem |= {"detail": error.remedy} if error.remedy else {}
    if isinstance(error, DescriptionError):
        problem["validationErrors"] = [{"field": error.pointer or "(root)", "description": error.message}]
    return problem


def _status(error: TaihuError) -> tuple[int, str]:
    if isinstance(error, Problem):
        return error.status, error.problem
    if isinstance(error, LimitError):
        return 429, error.code
    if isinstance(error, TransientError):
        return 503, error.code
    if error.code in _STATUS_OF:
        return _STATUS_OF[error.code], error.code
    if isinstance(error, RefusedError):
        return 403, error.code
    if isinstance(error, RemoteError):
        return 400, error.code
    return _WORKER_STATUS.get(getattr(error, "fault_kind", ""), 500), getattr(error, "fault_code", error.code)
