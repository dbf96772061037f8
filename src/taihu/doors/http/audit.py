"""The audit over HTTP: a page of entries, newest first."""

from typing import Any, TypedDict

from starlette.requests import Request
from starlette.responses import Response

from taihu.doors.http.answers import answer
from taihu.doors.http.endpoint import JSON, Endpoint, Operation, Parameter
from taihu.doors.http.requests import caller_of, node_of, whole

_PAGE_MAX = 1_000
_NUMBER_MAX = 10**12 - 1


class AuditEntry(TypedDict):
    """Who did what when; `hash` chains it to the entry before."""

    number: int
    at: int
    who: str
    what: str
    detail: str
    project: str
    hash: str


class AuditPage(TypedDict):
    """Entries, newest first."""

    entries: list[AuditEntry]


async def audit(request: Request) -> Response:
    """What was done in a project, for its owners; in all of the node, for the owners of that."""
    arguments: dict[str, Any] = {"limit": whole(request, "limit", 100, _PAGE_MAX)}
    if "before" in request.query_params:
        arguments["before"] = whole(request, "before", 1, _NUMBER_MAX)
    arguments["project"] = request.query_params.get("project", "")
    return answer(await node_of(request).administer(caller_of(request), "audit-show", arguments))


ROUTES = [
    Endpoint(
        "/api/v1/audit",
        audit,
        get=Operation(
            query=(
                Parameter("project", "Only of this project, which the caller administers."),
                Parameter("limit", f"At most so many, to {_PAGE_MAX}; 100.", int),
                Parameter("before", "Only entries before this number.", int),
            ),
            answer={JSON: AuditPage},
        ),
    ),
]
