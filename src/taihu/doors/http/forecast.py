"""The endpoints of forecasts: of any numeric property, the models that make them, and how they did."""

from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response

from taihu.doors.http import forecast_shapes as shapes
from taihu.doors.http.answers import answer, bad_request, not_found
from taihu.doors.http.endpoint import JSON, Endpoint, Operation, Parameter
from taihu.doors.http.requests import moment, node_of, readable_project, readable_thing, required
from taihu.kernel.clock import DAY_NS
from taihu.kernel.sections import seconds_of
from taihu.things.property import Property

_WEEK_NS = 7 * DAY_NS


async def forecast(request: Request) -> Response:
    """What a property will be: quantiles of each step from now on, or as they were foretold at a time."""
    project, thing, definition = _property(request)
    horizon = request.query_params.get("horizon", "")
    if horizon and not seconds_of(horizon):
        raise bad_request(f"horizon={horizon[:40]!r} is no length of time.", "Write 15m, 24h or 7d.")
    asked = {"horizon_s": seconds_of(horizon) or None, "at": moment(request, "at", 0) or None}
    found = await node_of(request).ask_forecast("forecast", _of(request, project, thing, definition) | asked)
    return answer({"thing": thing, "property": definition.name, "unit": definition.unit} | found)


async def models(request: Request) -> Response:
    """The series that are kept forecast: who forecasts each, and how all candidates did in the back-test."""
    node = node_of(request)
    caller, project = readable_project(request)
    found = await node.ask_forecast("models", {"project": project})
    shown = [one for one in found["models"] if node.may_read(caller, project, one["thing"], one["property"])]
    for one in shown:
        definition = (node.definitions(project, one["thing"]) or {}).get(one["property"])
        one["unit"] = definition.unit if definition else None
    beyond = found["left_out"] if node.may_read(caller, project) else 0
    return answer({"models": shown, "left_out": beyond, "forecasters": found["forecasters"]})


async def outlook(request: Request) -> Response:
    """A property's day before, as it was expected and as it came, and its day ahead; of what is kept forecast."""
    project, thing, definition = _property(request)
    asked = _of(request, project, thing, definition) | {"now": node_of(request).clock.now_ns()}
    found = await node_of(request).ask_forecast("outlook", asked)
    return answer({"thing": thing, "property": definition.name, "unit": definition.unit} | found)


async def errors(request: Request) -> Response:
    """How forecasts that were issued in a range of time did, by lead."""
    project, thing, definition = _property(request)
    end = moment(request, "end", node_of(request).clock.now_ns())
    start = moment(request, "start", end - _WEEK_NS)
    if start >= end:
        raise bad_request("start is not before end.")
    asked = _of(request, project, thing, definition) | {"start": start, "end": end}
    found = await node_of(request).ask_forecast("errors", asked)
    return answer({"thing": thing, "property": definition.name, "unit": definition.unit} | found)


def _property(request: Request) -> tuple[str, str, Property]:
    """The property named, if the caller may read it (§11)."""
    thing, name = required(request, "thing"), required(request, "property")
    _, project = readable_thing(request, thing, prop=name)
    definition = (node_of(request).definitions(project, thing) or {}).get(name)
    if definition is None:
        raise not_found(f"property {thing}/{name}")
    return project, thing, definition


def _of(request: Request, project: str, thing: str, definition: Property) -> dict[str, Any]:
    every = request.query_params.get("every", "")
    return {"project": project, "thing": thing, "property": definition.name, "every": every}


_PROJECT = "/api/v1/projects/{project}/forecast"
_EVERY = Parameter("every", "The length of a step; as it is kept, else 1h.", Literal["15m", "1h"])
_ONE = (
    Parameter("thing", "The thing's name.", required=True),
    Parameter("property", "The property's name.", required=True),
    _EVERY,
)
ROUTES = [
    Endpoint(
        _PROJECT,
        forecast,
        get=Operation(
            query=(
                *_ONE,
                Parameter("horizon", "How far: 15m to 7d; as it is kept, else 24h."),
                Parameter("at", "As it was foretold by then; only of what is kept forecast."),
            ),
            answer={JSON: shapes.ForecastAnswer},
            refuses=(404, 503),
        ),
    ),
    Endpoint(f"{_PROJECT}/models", models, get=Operation(answer={JSON: shapes.ForecastModels}, refuses=(404, 503))),
    Endpoint(
        f"{_PROJECT}/outlook",
        outlook,
        get=Operation(query=_ONE, answer={JSON: shapes.ForecastOutlook}, refuses=(404, 503)),
    ),
    Endpoint(
        f"{_PROJECT}/errors",
        errors,
        get=Operation(
            query=(
                *_ONE,
                Parameter(
                    "start", "Issued from when on: ISO 8601 with an offset, or back from now such as -7d; a week."
                ),
                Parameter("end", "Issued until when, not included; now."),
            ),
            answer={JSON: shapes.ForecastErrors},
            refuses=(404, 503),
        ),
    ),
]
