"""The endpoints of the history."""

from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response

from taihu.doors.http import shapes
from taihu.doors.http.answers import answer, bad_request, not_found
from taihu.doors.http.endpoint import JSON, Endpoint, Operation, Parameter
from taihu.doors.http.negotiation import form_of
from taihu.doors.http.paged import Question, Series, paged
from taihu.doors.http.ports import Caller
from taihu.doors.http.requests import moment, node_of, readable_project, readable_thing, required, whole
from taihu.kernel.clock import DAY_NS
from taihu.kernel.errors import LimitError

_LIMIT = 10_000
_FORMS = {"json": JSON, "csv": "text/csv", "arrow": "application/vnd.apache.arrow.stream"}


async def history(request: Request) -> Response:
    """Readings of properties, or windows of them when `every` is given."""
    node = node_of(request)
    caller, project = readable_project(request)
    form = form_of(request, _FORMS)
    series = _series(request, caller, project)
    end = moment(request, "end", node.clock.now_ns())
    start = moment(request, "start", end - DAY_NS)
    if start >= end:
        raise bad_request("start is not before end.")
    every = request.query_params.get("every", "")
    wanted: dict[str, Any] = {"project": project, "start": start, "end": end}
    if every:
        wanted |= {"every": every, "tz": request.query_params.get("tz", "UTC")}
    else:
        limited = form == "json" or "limit" in request.query_params
        wanted |= {
            "limit": whole(request, "limit", _LIMIT, node.limits.query_rows_max) if limited else None,
            "newest_first": request.query_params.get("order") == "desc",
            "revisions": request.query_params.get("revisions") == "true",
        }
    question = Question(node, caller, series, wanted, form)
    if form != "json":
        node.exported(caller, project, form)
    return await paged(request, question, _FORMS[form])


def _series(request: Request, caller: Caller, project: str) -> list[Series]:
    """The properties and things named, each thing's own; all where none is named. At most `query_series_max`."""
    node, most = node_of(request), node_of(request).limits.query_series_max
    given = list(dict.fromkeys(request.query_params.getlist("thing")))
    names = set(request.query_params.getlist("property"))
    found: list[Series] = []
    for thing in given or node.thing_names(project, "", most + 1):
        definitions = node.definitions(project, thing) if node.may_see(caller, project, thing) else None
        if definitions is None:
            if given:
                raise not_found(f"thing {thing!r}")
            continue
        found += [
            Series(thing, definition)
            for name, definition in definitions.items()
            if (not names or name in names) and node.may_read(caller, project, thing, name)
        ]
        if len(found) > most:
            raise LimitError(f"These are more than {most} series (query_series_max).", "Ask for fewer at once.")
    if not found:
        raise not_found("such property")
    return found


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
                Parameter("thing", "Of these things; all that may be read.", many=True),
                Parameter("property", "Of these properties; all.", many=True),
                Parameter("start", "The first time; a day before the end."),
                Parameter("end", "The time after the last; now."),
                Parameter("limit", "At most so many readings of each property; 10000 as JSON, else all.", int),
                Parameter("order", "`desc` for the newest first.", Literal["asc", "desc"]),
                Parameter("revisions", "`true` for what was corrected, too.", bool),
                Parameter("every", "The length of a window: 1s 10s 1m 5m 15m 30m 1h 6h 1d 1w 1mo 1y."),
                Parameter("tz", "The time zone of days and longer windows; UTC."),
                Parameter("format", "The form, before Accept.", Literal["json", "csv", "arrow"]),
            ),
            answer={JSON: shapes.HistoryAnswer, _FORMS["csv"]: bytes, _FORMS["arrow"]: bytes},
            refuses=(404, 406),
        ),
    ),
    Endpoint(
        f"{_PROJECT}/asof",
        asof,
        get=Operation(query=(_ONE_THING, _ONE_PROPERTY, Parameter("at", "The time; now.")), answer={JSON: shapes.AsOf}),
    ),
]
