"""The endpoint of calculated properties: what one is worked out of."""

from starlette.requests import Request
from starlette.responses import Response

from taihu.doors.http import shapes
from taihu.doors.http.answers import NEVER_THE_SAME, answer, not_found
from taihu.doors.http.endpoint import JSON, Endpoint, Operation
from taihu.doors.http.requests import node_of, readable_thing


async def calculation(request: Request) -> Response:
    """A calculated property's formula and inputs, each as it is now."""
    thing, name = request.path_params["thing"], request.path_params["property"]
    caller, project = readable_thing(request, thing, prop=name)
    found = node_of(request).explain(caller, project, thing, name)
    if found is None:
        raise not_found(f"calculated property {thing}/{name}")
    return answer(found, headers=NEVER_THE_SAME)


ROUTES = [
    Endpoint(
        "/api/v1/projects/{project}/things/{thing}/properties/{property}/calculation",
        calculation,
        get=Operation(answer={JSON: shapes.Calculation}),
    ),
]
