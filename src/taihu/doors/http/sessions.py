"""Signing in and out over HTTP: sessions in a cookie, for people; and what anybody asks about themselves."""

from typing import Any, NotRequired, TypedDict

from starlette.requests import Request
from starlette.responses import Response

from taihu.doors.http.answers import Problem, answer, bad_request
from taihu.doors.http.endpoint import JSON, Endpoint, Operation, Parameter
from taihu.doors.http.requests import (
    bearer_of,
    caller_of,
    node_of,
    object_of,
    same_origin,
    token_of,
)
from taihu.identity.cookie import COOKIE, csrf_token
from taihu.identity.person import Origin, Session

_TEXT_MAX = 4_096


class Ways(TypedDict):
    """How people can sign in: whether there are any, and the OpenID provider's name where there is one."""

    people: bool
    password: bool
    provider: str | None
    console: str


class SignedIn(TypedDict):
    """A session that begins; its secret is in the cookie, and here for who has none."""

    user: str
    session: str
    secret: str
    csrf: str
    expires_at: int


class Begun(TypedDict):
    """Where to send a browser, and the flow that its answer belongs to."""

    url: str
    flow: str


class Who(TypedDict):
    """What a caller is: a person, a program or a thing."""

    kind: str
    user: str
    title: str
    project: str
    thing: str
    owner: bool
    roles: dict[str, str]
    scopes: list[str]
    things: list[str]
    expires_at: int | None
    session: NotRequired[dict[str, Any]]
    csrf: NotRequired[str]


async def ways(request: Request) -> Response:
    """How people can sign in here."""
    return answer(node_of(request).sign_in.ways())


async def session(request: Request) -> Response:
    """Who asks; POST signs in, DELETE signs out."""
    if request.method == "POST":
        return await _sign_in(request)
    node = node_of(request)
    caller = caller_of(request)
    if request.method == "DELETE":
        provider = await node.sign_in.sign_out(caller)
        found = answer({"signed_out": caller.credential_id, "provider": provider})
        found.delete_cookie(COOKIE)
        return _private(found)
    body = node.whoami(caller)
    if "session" in body:
        body["csrf"] = csrf_token(token_of(request))
    return _private(answer(body))


async def password(request: Request) -> Response:
    """Change one's own password; every other session ends."""
    caller = caller_of(request)
    body = await object_of(request)
    old, new = _text(body, "old"), _text(body, "new")
    await node_of(request).sign_in.change_password(caller, old, new, _origin(request, body))
    return _private(answer({"changed": caller.user}))


async def sessions(request: Request) -> Response:
    """The open sessions: one's own, and with `user` or `all` those of others for an owner of the node."""
    arguments: dict[str, Any] = {"all": True} if request.query_params.get("all") == "true" else {}
    if "user" in request.query_params:
        arguments["user"] = request.query_params["user"]
    return _private(answer(await node_of(request).administer(caller_of(request), "session-list", arguments)))


async def one_session(request: Request) -> Response:
    """End a session."""
    arguments = {"id": request.path_params["session"]}
    return answer(await node_of(request).administer(caller_of(request), "session-end", arguments))


async def _sign_in(request: Request) -> Response:
    """With a name and a password, or with a one-time code and a new password."""
    _check_page(request)
    body = await object_of(request)
    node, origin = node_of(request), _origin(request, body)
    if "code" in body:
        found, secret = await node.sign_in.by_code(_text(body, "code"), _text(body, "password"), origin)
    else:
        found, secret = await node.sign_in.by_password(_text(body, "name"), _text(body, "password"), origin)
    return signed_in(request, found, secret)


async def provider(request: Request) -> Response:
    """Begin to sign in at the OpenID provider."""
    return _private(answer(await node_of(request).sign_in.begin()))


async def provider_answer(request: Request) -> Response:
    """Sign in with what the OpenID provider answered."""
    _check_page(request)
    body = await object_of(request)
    flow, state, code = (_text(body, name) for name in ("flow", "state", "code"))
    origin = _origin(request, body)
    found, secret = await node_of(request).sign_in.by_provider(flow, state, code, str(body.get("iss", "")), origin)
    return signed_in(request, found, secret)


def _check_page(request: Request) -> None:
    """Only our own pages, and programs, sign in: another site's cannot send JSON, nor hide where it is."""
    if "origin" in request.headers and not same_origin(request):
        raise Problem(403, "csrf", "Another site's page sent this.", "Sign in from a page of this address.")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise Problem(415, "content-type", "Signing in takes JSON.", f"Send Content-Type: {JSON}.")


def signed_in(request: Request, found: Session, secret: str) -> Response:
    """The answer that begins a session: its cookie, and the same for who has none."""
    body = {"user": found.user, "session": found.id, "secret": secret, "csrf": csrf_token(secret)}
    began = answer(body | {"expires_at": found.expires_at})
    secure = request.url.scheme == "https"
    age_s = node_of(request).limits.session_lifetime_s
    began.set_cookie(COOKIE, secret, max_age=age_s, path="/", secure=secure, httponly=True, samesite="lax")
    return _private(began)


def _origin(request: Request, body: dict[str, Any]) -> Origin:
    """Where a request comes from; the console says it for whom it asks."""
    address = request.client.host if request.client else ""
    agent = request.headers.get("user-agent", "")
    if node_of(request).relays(bearer_of(request)):
        address, agent = str(body.get("address", address)), str(body.get("agent", agent))
    return Origin(address, agent, request.cookies.get(COOKIE, "") or str(body.get("replaces", "")))


def _text(body: dict[str, Any], name: str) -> str:
    text = body.get(name)
    if not isinstance(text, str) or not 0 < len(text) <= _TEXT_MAX:
        raise bad_request(f"{name!r} is missing, or no text of at most {_TEXT_MAX} characters.")
    return text


def _private(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response


_SIGN_IN_REFUSES = (401, 415, 429, 503)
ROUTES = [
    Endpoint("/api/v1/sign-in", ways, get=Operation(answer={JSON: Ways}, public=True)),
    Endpoint(
        "/api/v1/session",
        session,
        get=Operation(answer={JSON: Who}, summary="Who asks."),
        post=Operation(
            body={JSON: dict[str, str]},
            answer={JSON: SignedIn},
            refuses=_SIGN_IN_REFUSES,
            public=True,
            summary="Sign in.",
        ),
        delete=Operation(summary="Sign out."),
    ),
    Endpoint(
        "/api/v1/session/password",
        password,
        put=Operation(body={JSON: dict[str, str]}, refuses=_SIGN_IN_REFUSES),
    ),
    Endpoint(
        "/api/v1/sessions",
        sessions,
        get=Operation(query=(Parameter("user", "Of this person."), Parameter("all", "`true` for everybody's.", bool))),
    ),
    Endpoint("/api/v1/oidc", provider, post=Operation(answer={JSON: Begun}, refuses=(403, 503), public=True)),
    Endpoint(
        "/api/v1/oidc/answer",
        provider_answer,
        post=Operation(body={JSON: dict[str, str]}, answer={JSON: SignedIn}, refuses=_SIGN_IN_REFUSES, public=True),
    ),
    Endpoint("/api/v1/sessions/{session}", one_session, delete=Operation()),
]
