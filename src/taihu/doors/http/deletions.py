"""The endpoints that delete: readings, a thing, a project; and the receipts of what was deleted."""

from typing import Any, Literal, TypedDict

from starlette.requests import Request
from starlette.responses import Response

from taihu.doors.http.answers import answer, bad_request, not_found
from taihu.doors.http.endpoint import JSON, Endpoint, Operation, Parameter
from taihu.doors.http.requests import caller_of, moment, node_of, own_project

_NEVER = -(1 << 63)


class Receipt(TypedDict):
    """A deletion and how far it has come: from `hidden_at` on no query returns it, from `erased_at` on no file has it.

    `start` and `end` are null where it has no bound. `removes` says that the thing or project went too.
    """

    id: str
    project: str
    thing: str
    property: str
    start: int | None
    end: int | None
    removes: bool
    by: str
    at: int
    state: Literal["accepted", "hidden", "erased"]
    hidden_at: int | None
    erased_at: int | None


class Receipts(TypedDict):
    """Deletions, the newest first."""

    deletions: list[Receipt]


async def readings(request: Request) -> Response:
    """Delete readings that have been received: of a thing, of one of its properties, of a range of time."""
    query = request.query_params
    wanted: dict[str, Any] = {name: query[name] for name in ("thing", "property") if query.get(name)}
    bounds = {name: moment(request, name, _NEVER) for name in ("start", "end") if query.get(name)}
    if not wanted and not bounds:
        raise bad_request("Which readings?", "Add ?thing=, ?property=, ?start= or ?end=.")
    return await _delete(request, wanted | bounds | {"readings": True})


async def thing(request: Request) -> Response:
    """Remove a thing with its credentials, and delete all of its readings."""
    return await _delete(request, {"thing": request.path_params["thing"]})


async def project(request: Request) -> Response:
    """Remove a project with all that is its own."""
    return await _delete(request, {})


async def receipts(request: Request) -> Response:
    """What was deleted, of a project or of all that the caller administers, and how far each deletion has come."""
    caller = caller_of(request)
    return answer({"deletions": await node_of(request).receipts(caller, request.query_params.get("project", ""))})


async def receipt(request: Request) -> Response:
    """One deletion."""
    number = request.path_params["id"]
    found = [one for one in await node_of(request).receipts(caller_of(request)) if one["id"] == number]
    if not found:
        raise not_found(f"deletion {number[:40]!r}")
    return answer(found[0])


async def _delete(request: Request, wanted: dict[str, Any]) -> Response:
    caller, name = own_project(request)
    found = await node_of(request).delete(caller, name, wanted)
    accepted = answer(found, 202)
    accepted.headers["Location"] = f"/api/v1/deletions/{found['id']}"
    return accepted


_PROJECT = "/api/v1/projects/{project}"
_ACCEPTED = Operation(answer={JSON: Receipt}, status=202)
_PROJECT_ONLY = Parameter("project", "Only of this project.")
_WHICH = (
    Parameter("thing", "Whose readings."),
    Parameter("property", "Only of this property; it needs a thing."),
    Parameter("start", "Only those observed at this time or later."),
    Parameter("end", "Only those observed before this time."),
)
ROUTES = [
    Endpoint(_PROJECT, project, delete=_ACCEPTED),
    Endpoint(f"{_PROJECT}/things/{{thing}}", thing, delete=_ACCEPTED),
    Endpoint(f"{_PROJECT}/readings", readings, delete=Operation(query=_WHICH, answer={JSON: Receipt}, status=202)),
    Endpoint("/api/v1/deletions", receipts, get=Operation(query=(_PROJECT_ONLY,), answer={JSON: Receipts})),
    Endpoint("/api/v1/deletions/{id}", receipt, get=Operation(answer={JSON: Receipt})),
]
