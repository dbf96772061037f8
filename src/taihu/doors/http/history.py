"""The endpoints of the history."""

from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response

from taihu.doors.http import shapes
from taihu.doors.http.answers import answer, bad_request, large_answer, not_found
from taihu.doors.http.endpoint import JSON, Endpoint, Operation, Parameter
from taihu.doors.http.requests import moment, node_of, readable_project, readable_thing, required, whole
from taihu.kernel.clock import NS_PER_S

_DAY_NS = 86_400 * NS_PER_S


async def history(request: Request) -> Response:
    """Readings of a property, or windows of it when `every` is given."""
    node = node_of(request)
    readable_project(request)
    name, prop = required(request, "thing"), required(request, "property")
    _, project = readable_thing(request, name, prop=prop)
    definitions = node.definitions(project, name)
    if definitions is None or prop not in definitions:
        raise not_found(f"property {name}/{prop}")
    end = moment(request, "end", node.clock.now_ns())
    start = moment(request, "start", end - _DAY_NS)
    if start >= end:
        raise bad_request("start is not before end.")
    arguments: dict[str, Any] = {"project": project, "thing": name, "property": prop, "start": start, "end": end}
    every = request.query_params.get("every")
    if every:
        arguments |= {"every": every, "tz": request.query_params.get("tz", "UTC"), "now": node.clock.now_ns()}
        result = await node.ask_history("window", arguments)
    else:
        arguments |= {
            "limit": whole(request, "limit", 10_000, node.limits.query_rows_max),
            "newest_first": request.query_params.get("order") == "desc",
            "revisions": request.query_params.get("revisions") == "true",
        }
        result = await node.ask_history("read", arguments)
    head = {"project": project, "thing": name, "property": prop, "unit": definitions[prop].unit}
    return large_answer(request, head | {"kind": definitions[prop].kind} | result)


async def asof(request: Request) -> Response:
    """The value that held at a time."""
    node = node_of(request)
    readable_project(request)
    name, prop = required(request, "thing"), required(request, "property")
    _, project = readable_thing(request, name, prop=prop)
    definitions = node.definitions(project, name)
    if definitions is None or prop not in definitions:
        raise not_found(f"property {name}/{prop}")
    at = moment(request, "at", node.clock.now_ns())
    arguments = {"project": project, "thing": name, "property": prop, "at": at}
    return answer({"unit": definitions[prop].unit} | await node.ask_history("asof", arguments))


_PROJECT = "/api/v1/projects/{project}"
_ONE_THING = Parameter("thing", "The thing's name.", required=True)
_ONE_PROPERTY = Parameter("property", "The property's name.", required=True)
ROUTES = [
    Endpoint(
        f"{_PROJECT}/history",
        history,
        get=Operation(
            query=(
                _ONE_THING,
                _ONE_PROPERTY,
                Parameter("start", "The first time; a day before the end."),
                Parameter("end", "The time after the last; now."),
                Parameter("limit", "At most so many readings; 10000.", int),
                Parameter("order", "`desc` for the newest first.", Literal["asc", "desc"]),
                Parameter("revisions", "`true` for what was corrected, too.", bool),
                Parameter("every", "The length of a window: 1s 10s 1m 5m 15m 30m 1h 6h 1d 1w 1mo 1y."),
                Parameter("tz", "The time zone of days and longer windows; UTC."),
            ),
            answer={JSON: shapes.HistoryAnswer},
        ),
    ),
    Endpoint(
        f"{_PROJECT}/asof",
        asof,
        get=Operation(query=(_ONE_THING, _ONE_PROPERTY, Parameter("at", "The time; now.")), answer={JSON: shapes.AsOf}),
    ),
]
