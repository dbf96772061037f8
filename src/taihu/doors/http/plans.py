"""The endpoints of plans: what controllers decided last, why, and what they have saved."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from taihu.doors.http.answers import answer, bad_request, not_found
from taihu.doors.http.endpoint import Endpoint, Operation, Parameter
from taihu.doors.http.requests import caller_of, node_of, readable_project, whole

_LIMIT_MAX = 1_000
_PROJECTS_MAX = 1_000


async def plans(request: Request) -> Response:
    """The last decisions of a project's controllers: corridor, reason, and what no control would have emitted."""
    caller, project = readable_project(request)
    if caller.thing or not node_of(request).may_read(caller, project):
        raise not_found(f"project {project!r}")
    limit = whole(request, "limit", 1, _LIMIT_MAX)
    return await _ask(request, [project], request.query_params.get("controller", ""), limit, brief=False)


async def all_plans(request: Request) -> Response:
    """How the controllers of several projects are, and what they have saved together."""
    node, caller = node_of(request), caller_of(request)
    named = list(dict.fromkeys(name for name in request.query_params.getlist("project") if name))
    if not named or len(named) > _PROJECTS_MAX:
        raise bad_request("Which projects?", "Add ?project=…, as often as there are projects.")
    for name in named:
        if caller.thing or not node.may_read(caller, name):
            raise not_found(f"project {name!r}")
    return await _ask(request, named, "", 1, brief=True)


async def _ask(request: Request, projects: list[str], controller: str, limit: int, *, brief: bool) -> Response:
    body: dict[str, Any] = {"projects": projects, "controller": controller, "limit": limit, "brief": brief}
    return answer(await node_of(request).worker.ask("plans", body))


ROUTES = [
    Endpoint(
        "/api/v1/plans",
        all_plans,
        get=Operation(query=(Parameter("project", "Of these.", required=True, many=True),), refuses=(404, 503)),
    ),
    Endpoint(
        "/api/v1/projects/{project}/plans",
        plans,
        get=Operation(
            query=(
                Parameter("controller", "Only of this controller."),
                Parameter("limit", f"So many decisions of each, to {_LIMIT_MAX}; 1.", int),
            ),
            refuses=(503,),
        ),
    ),
]
