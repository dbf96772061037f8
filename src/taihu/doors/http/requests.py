"""What a request says: who asks, for which project, between which times."""

import base64
import binascii
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from hmac import compare_digest
from typing import Any
from urllib.parse import urlsplit

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect, HTTPConnection, Request

from taihu.doors.http.answers import Problem, bad_request, not_found, unauthorized
from taihu.doors.http.connection import CERTIFICATE
from taihu.doors.http.encoding import unpacker
from taihu.doors.http.ports import Caller, Node
from taihu.doors.http.shared import shared_by
from taihu.identity.cookie import COOKIE, SECRET_MARK, csrf_token
from taihu.identity.principal import CredentialKind
from taihu.kernel.clock import NS_PER_S, parse_iso

WAIT_S_MAX = 25.0
_SAFE = ("GET", "HEAD", "OPTIONS")
_DIGITS_MAX = 12
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class _Plain(QueryParams):
    """The parameters of a query in which nothing is encoded, read without a look at each character."""

    def __init__(self, query: str) -> None:
        parts = (part.partition("=") for part in query.split("&") if part)
        self._list = [(name, value) for name, _, value in parts]
        self._dict = dict(self._list)


class Asked(Request):
    """A request whose query is read sooner where it is plain."""

    @property
    def query_params(self) -> QueryParams:
        """The parameters of the query."""
        if not hasattr(self, "_query_params"):
            query: bytes = self.scope["query_string"]
            encoded = b"%" in query or b"+" in query
            self._query_params = QueryParams(query) if encoded else _Plain(query.decode("latin-1"))
        return self._query_params


def node_of(request: HTTPConnection) -> Node:
    """The node behind the door."""
    return shared_by(request).node


def token_of(request: HTTPConnection) -> str:
    """The bearer token that came with a request, else the secret of the session in its cookie, else the certificate.

    Empty without any. A request by cookie that changes something has to prove that one of our own pages sent it, and
    not another site's; one of another site's page has no certificate, though a browser shows it for every page.
    """
    authorization = request.headers.get("authorization")
    if authorization is not None:
        return _bearer(authorization)
    secret = request.cookies.get(COOKIE, "")
    if secret.startswith(SECRET_MARK):
        _check_forgery(request, secret)
        return secret
    certificate: str = request.scope.get(CERTIFICATE, "")
    return certificate if "origin" not in request.headers or same_origin(request) else ""


def bearer_of(request: HTTPConnection) -> str:
    """The bearer token that came with a request; empty when none did."""
    return _bearer(request.headers.get("authorization", ""))


def _bearer(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def password_of(request: HTTPConnection) -> str:
    """The password that came with a request (Basic), whatever the user name; empty when none did."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value.strip(), validate=True).decode("utf-8").partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def same_origin(request: HTTPConnection) -> bool:
    """Whether a browser says that the page that sent this is from this address."""
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == request.headers.get("host", "")


def stream_token(request: HTTPConnection) -> str:
    """The token of a request for a stream: its bearer token, or the one that its `ticket` stands for."""
    return token_of(request) or shared_by(request).tickets.token_of(request.query_params.get("ticket", ""))


def caller_of(request: HTTPConnection, token: str | None = None) -> Caller:
    """Who asks, with the token of the request or another; 401 without a valid one."""
    caller = node_of(request).caller(token_of(request) if token is None else token)
    if caller is None:
        raise unauthorized()
    return caller


def home_of(request: HTTPConnection, token: str | None = None) -> tuple[Caller, str]:
    """Who asks, for the project of the path; a person with a role there is answered as one of its own."""
    node, project = node_of(request), request.path_params["project"]
    return node.home_of(caller_of(request, token), project), project


def readable_project(request: HTTPConnection, token: str | None = None) -> tuple[Caller, str]:
    """The project of the path, if the caller may read anything of it; 404 otherwise: names are not probed (§11)."""
    caller, project = home_of(request, token)
    if not node_of(request).may_see(caller, project):
        raise not_found(f"project {project!r}")
    return caller, project


def visible_thing(request: HTTPConnection, name: str, token: str | None = None) -> tuple[Caller, str]:
    """The project of the path, if the caller may read anything of the thing `name` of it; 404 otherwise (§11)."""
    caller, project = readable_project(request, token)
    if not node_of(request).may_see(caller, project, name):
        raise not_found(f"thing {name!r}")
    return caller, project


def readable_thing(request: HTTPConnection, name: str, token: str | None = None, prop: str = "") -> tuple[Caller, str]:
    """The project of the path, if the caller may read the property of its thing `name`; 404 otherwise (§11).

    Without a property, if they may read all that the thing has.
    """
    caller, project = readable_project(request, token)
    if not node_of(request).may_read(caller, project, name, prop):
        raise not_found(f"property {name}/{prop}" if prop else f"thing {name!r}")
    return caller, project


def own_project(request: HTTPConnection, token: str | None = None) -> tuple[Caller, str]:
    """The project of the path, if it is the caller's own."""
    caller, project = readable_project(request, token)
    if caller.project != project and caller.kind is not CredentialKind.ADMIN:
        raise Problem(403, "refused", f"You may only read project {project!r}.", "Use a token of that project.")
    return caller, project


def writer(request: HTTPConnection, thing: str = "") -> Caller:
    """The caller, if it may send readings of `thing` of the project of the path, or of any when none is named (§11)."""
    caller, project = home_of(request)
    if caller.project != project or not node_of(request).may_write(caller, project, thing or caller.thing):
        readable_project(request)
        raise Problem(
            403,
            "refused",
            f"You may not send readings of {thing or project!r}.",
            "Use an operator's token, or the thing's own.",
        )
    return caller


def wisher(request: HTTPConnection, thing: str, names: Iterable[str], token: str | None = None) -> tuple[Caller, str]:
    """The project of the path, if the caller may say what is wanted of these properties of its `thing` (§11)."""
    caller, project = home_of(request, token)
    if not all(node_of(request).may_want(caller, project, thing, name) for name in names):
        visible_thing(request, thing, token)
        raise Problem(
            403,
            "refused",
            f"You may not say what is wanted of {thing!r}.",
            "Use an operator's token, or the thing's own.",
        )
    return caller, project


def wait_s_of(request: Request) -> float:
    """How long to wait for the end of a command: 5 s unless the request says otherwise."""
    text = request.query_params.get("wait_s")
    try:
        return min(max(float(text), 0.0), WAIT_S_MAX) if text else 5.0
    except ValueError:
        raise bad_request(f"wait_s={text!r} is no number of seconds.") from None


def moment(request: Request, name: str, default: int) -> int:
    """A time parameter: ISO 8601 with an offset, UTC nanoseconds, or a time back from now such as -24h."""
    text = request.query_params.get(name)
    if not text:
        return default
    try:
        if text[0] == "-" and text[-1] in _UNITS_S:
            return _in_int64(node_of(request).clock.now_ns() - int(float(text[1:-1]) * _UNITS_S[text[-1]] * NS_PER_S))
        if text.lstrip("-").isdigit():
            return _in_int64(int(text))
        return _in_int64(parse_iso(text.replace(" ", "+")))
    except (ValueError, OverflowError):
        raise bad_request(
            f"{name}={text[:40]!r} is not a time.", "Write 2026-11-23T08:00:00Z, UTC nanoseconds, or -24h."
        ) from None


def whole(request: Request, name: str, default: int, highest: int) -> int:
    """A whole-number parameter from 1 to `highest`."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS_MAX or not 1 <= int(text) <= highest:
        raise bad_request(f"{name}={text[:40]!r} is not a number from 1 to {highest}.")
    return int(text)


def required(request: Request, name: str) -> str:
    """A parameter that must be there."""
    text = request.query_params.get(name, "")
    if not text:
        raise bad_request(f"The parameter {name} is missing.", f"Add ?{name}=…")
    return text


@asynccontextmanager
async def body_of(request: Request) -> AsyncIterator[bytes]:
    """The request's body, decoded from its content encoding, while it is worked on.

    It is refused as soon as it is larger, decoded, than `http_body_bytes_max`, or all bodies than
    `http_bodies_bytes_max`.
    """
    limits, shared = node_of(request).limits, shared_by(request)
    unpack = unpacker(request.headers.get("content-encoding", ""))
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            if unpack is not None and part:
                part = unpack.feed(part, limits.http_body_bytes_max - size + 1)
            size += len(part)
            shared.body_bytes += len(part)
            if size > limits.http_body_bytes_max:
                raise Problem(
                    413,
                    "too-large",
                    f"The body is larger than {limits.http_body_bytes_max} bytes.",
                    "Send several smaller ones.",
                )
            if shared.body_bytes > limits.http_bodies_bytes_max:
                raise Problem(503, "busy", "Too much is being sent at once.", "Try again in a moment.")
            parts.append(part)
        if unpack is not None:
            unpack.finish()
        yield b"".join(parts)
    except ClientDisconnect:
        raise bad_request("The body did not come whole.") from None
    finally:
        shared.body_bytes -= size


async def object_of(request: Request) -> dict[str, Any]:
    """The request's body as a JSON object; none counts as an empty one."""
    async with body_of(request) as body:
        content = body or b"{}"
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise bad_request("The body is not a JSON object.") from None


def _check_forgery(request: HTTPConnection, secret: str) -> None:
    if request.scope["type"] == "websocket":
        sound = same_origin(request)
    elif request.scope["method"] in _SAFE:
        sound = True
    else:
        sound = compare_digest(request.headers.get("x-csrf-token", "").encode(), csrf_token(secret).encode())
    if not sound:
        raise Problem(403, "csrf", "Nothing says that this was meant.", "Send X-CSRF-Token, from GET /api/v1/session.")


def _in_int64(value: int) -> int:
    if not -(2**63) <= value < 2**63:
        raise ValueError
    return value
