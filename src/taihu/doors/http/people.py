"""People over HTTP: who there is, what they are to each project, and the tokens of one's own."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from taihu.doors.http.answers import answer
from taihu.doors.http.endpoint import JSON, Endpoint, Operation, Parameter
from taihu.doors.http.requests import caller_of, node_of, object_of


async def people(request: Request) -> Response:
    """The people of a project, or of the node; POST adds somebody."""
    if request.method == "POST":
        return await _act(request, "user-add", await _body(request))
    return await _act(request, "user-list", {"project": request.query_params.get("project", "")})


async def person(request: Request) -> Response:
    """Change somebody's title or standing, or remove them."""
    name = {"name": request.path_params["user"]}
    if request.method == "DELETE":
        return await _act(request, "user-remove", name)
    return await _act(request, "user-change", await _body(request) | name)


async def role(request: Request) -> Response:
    """Give somebody a role in a project, or take it away with null."""
    return await _act(request, "user-role", await _body(request) | {"name": request.path_params["user"]})


async def link(request: Request) -> Response:
    """A one-time code by which somebody sets a password."""
    return await _act(request, "user-link", {"name": request.path_params["user"]})


async def tokens(request: Request) -> Response:
    """One's own tokens; POST makes one, from a session alone."""
    if request.method == "POST":
        return await _act(request, "token-personal", await _body(request))
    return await _act(request, "token-own", {})


async def token(request: Request) -> Response:
    """Revoke one of one's own tokens."""
    return await _act(request, "token-drop", {"id": request.path_params["number"]})


async def _body(request: Request) -> dict[str, Any]:
    caller_of(request)  # nobody's body is read
    return await object_of(request)


async def _act(request: Request, action: str, arguments: dict[str, Any]) -> Response:
    return answer(await node_of(request).administer(caller_of(request), action, arguments))


_BODY = {JSON: dict[str, Any]}
_USER = "/api/v1/users/{user}"
ROUTES = [
    Endpoint(
        "/api/v1/users",
        people,
        get=Operation(query=(Parameter("project", "Only of this project."),), summary="The people there are."),
        post=Operation(body=_BODY, summary="Add somebody."),
    ),
    Endpoint(_USER, person, put=Operation(body=_BODY, summary="Change somebody."), delete=Operation(summary="Remove.")),
    Endpoint(f"{_USER}/role", role, put=Operation(body=_BODY)),
    Endpoint(f"{_USER}/link", link, post=Operation()),
    Endpoint(
        "/api/v1/tokens",
        tokens,
        get=Operation(summary="One's own tokens."),
        post=Operation(body=_BODY, summary="Make a token of one's own."),
    ),
    Endpoint("/api/v1/tokens/{number}", token, delete=Operation()),
]
