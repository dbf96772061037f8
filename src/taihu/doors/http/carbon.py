"""The endpoints of the carbon ledger: rows, reports, matching, certificates and factors."""

from functools import wraps
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from taihu.doors.http.answers import Problem, bad_request, not_found, shown_refusal
from taihu.doors.http.endpoint import JSON, Endpoint, Handler, Operation, Parameter
from taihu.doors.http.negotiation import form_of, preferred
from taihu.doors.http.requests import (
    caller_of,
    moment,
    node_of,
    object_of,
    own_project,
    password_of,
    readable_project,
    whole,
)
from taihu.kernel.clock import DAY_NS
from taihu.kernel.errors import TaihuError

_YEAR_NS = 365 * DAY_NS
_PAGES_MAX = 1_000_000
_SELECTING = ("behind", "quality", "restated", "reason", "having", "factor", "balance", "hour", "figure")
_PROJECTS_MAX = 1_000


def _for_people(handler: Handler) -> Handler:
    """The handler, with what it refuses as a page where a page is asked for."""

    @wraps(handler)
    async def shown(request: Request) -> Response:
        try:
            return await handler(request)
        except TaihuError as error:
            if preferred(request.headers.get("accept", ""), [JSON, "text/html"]) != "text/html":
                raise
            return shown_refusal(error, request.url.path)

    return shown


@_for_people
async def factors(request: Request) -> Response:
    """All emission factors, those that come with Taihu and the site's own, as JSON or as a page."""
    caller_of(request, password_of(request) or None)
    arguments: dict[str, Any] = {name: request.query_params.get(name, "") for name in ("id", "region")}
    arguments |= {"as_of": moment(request, "as_of", 0), "format": form_of(request, _LISTED), "language": _said(request)}
    return await _ask(request, "factors", arguments)


@_for_people
async def rows(request: Request) -> Response:
    """Rows of the ledger, and with a `figure` what each is of it, as JSON, CSV or a page."""
    project, query = _whole_project(request), request.query_params
    selection: dict[str, Any] = {name: query[name] for name in _SELECTING if name in query}
    selection |= {name: query.getlist(name) for name in ("meter", "role")}
    selection |= {name: moment(request, name, 0) for name in ("since", "until", "as_of")}
    arguments = {
        "project": project,
        "selection": selection | _range(request, DAY_NS),
        "versions": query.get("versions") == "true",
        "page": whole(request, "page", 1, _PAGES_MAX),
        "format": form_of(request, _TRACED),
        "language": _said(request),
    }
    return await _ask(request, "rows", arguments | _addresses(request, project))


@_for_people
async def report(request: Request) -> Response:
    """An inventory of a period, as JSON, CSV, a page or a PDF."""
    return await _ask(request, "report", _reported(request))


@_for_people
async def hourly(request: Request) -> Response:
    """How each hour of a project's load was matched by carbon-free energy, as JSON, CSV, a page or a PDF."""
    return await _ask(request, "hourly", _reported(request))


async def matching(request: Request) -> Response:
    """How far carbon-free generation meets the load: over the period, by the hour, and shared between projects."""
    return await _ask(request, "matching", {"projects": _named_projects(request)} | _range(request, _YEAR_NS))


async def summary(request: Request) -> Response:
    """Of each project: totals by scope, matching, energy balances and certificates; and the matching of all of them."""
    return await _ask(request, "summary", {"projects": _named_projects(request)} | _range(request, _YEAR_NS))


async def certificates(request: Request) -> Response:
    """A project's granular certificates, or one operation on them."""
    if request.method == "GET":
        arguments = {"project": _whole_project(request)}
        return await _ask(request, "certificates", arguments | _range(request, _YEAR_NS))
    caller, project = own_project(request)
    if not node_of(request).may_want(caller, project, ""):
        raise Problem(403, "refused", "Only an operator deals in certificates.", "Use an operator's token.")
    return await _ask(request, "certify", {"project": project, "event": await object_of(request)})


def _whole_project(request: Request) -> str:
    """The project of the path, if the caller may read all of it; 404 otherwise (§11)."""
    caller, project = readable_project(request, password_of(request) or None)
    if caller.thing or not node_of(request).may_read(caller, project):
        raise not_found(f"project {project!r}")
    return project


def _named_projects(request: Request) -> list[str]:
    """The projects asked for, if the caller may read all of each; 404 otherwise (§11)."""
    node, caller = node_of(request), caller_of(request)
    named = [name for name in request.query_params.getlist("project") if name]
    if not named or len(named) > _PROJECTS_MAX:
        raise bad_request("Which projects?", "Add ?project=…, as often as there are projects.")
    for name in named:
        if caller.thing or not node.may_read(caller, name):
            raise not_found(f"project {name!r}")
    return list(dict.fromkeys(named))


def _reported(request: Request) -> dict[str, Any]:
    """What a report is of, and where it leads to its rows."""
    project = _whole_project(request)
    arguments = {
        "project": project,
        "by": request.query_params.get("by", "1mo"),
        "format": request.query_params.get("format", "json"),
        "language": _said(request),
        "as_of": moment(request, "as_of", 0),
    }
    return arguments | _addresses(request, project) | _range(request, _YEAR_NS)


def _said(request: Request) -> str:
    language = request.query_params.get("language", "en")
    if language not in ("en", "zh"):
        raise bad_request("There is no report in that language.", "Ask for en or zh.")
    return language


def _addresses(request: Request, project: str) -> dict[str, str]:
    """Where a page leads to."""
    paths = {"rows": f"/api/v1/projects/{quote(project)}/carbon/rows", "factors": "/api/v1/factors"}
    return {name: str(request.url.replace(path=path, query="")) for name, path in paths.items()}


def _range(request: Request, default: int) -> dict[str, int]:
    end = moment(request, "end", node_of(request).clock.now_ns())
    start = moment(request, "start", end - default)
    if start >= end:
        raise bad_request("start is not before end.")
    return {"start": start, "end": end}


async def _ask(request: Request, question: str, arguments: dict[str, Any]) -> Response:
    media_type, body = await node_of(request).ask_carbon(question, arguments)
    return Response(body, media_type=media_type)


_PERIOD = (
    Parameter("start", "From when: ISO 8601 with an offset, UTC nanoseconds, or back from now such as -24h."),
    Parameter("end", "Until when, not included; now."),
)
_AS_OF = Parameter("as_of", "What the ledger said at that moment; now.")
_REPORTED = (
    Parameter("by", "Parts of 1d, 1w, 1mo or 1y; 1mo."),
    Parameter("format", "json, csv, html or pdf; json."),
    Parameter("language", "Of html and pdf, en or zh; en."),
    *_PERIOD,
    _AS_OF,
)
_FORMATS = {JSON: dict[str, Any], "text/csv": bytes, "text/html": bytes, "application/pdf": bytes}
_LISTED = {"json": JSON, "html": "text/html"}
_TRACED = _LISTED | {"csv": "text/csv"}
_LISTED_SHAPES = {JSON: dict[str, Any], "text/html": bytes}
_TRACED_SHAPES = _LISTED_SHAPES | {"text/csv": bytes}
_READ = (
    Parameter("format", "json, html, or csv of rows; what Accept says, else json."),
    Parameter("language", "Of html, en or zh; en."),
)
_SELECTED = (
    Parameter("figure", "What they are rows of: a report's addresses have it."),
    Parameter("role", "Only of meters that count this.", many=True),
    Parameter("behind", "Only of meters behind this one."),
    Parameter("quality", "Only what is measured, estimated or missing."),
    Parameter("restated", "Only what was restated.", bool),
    Parameter("reason", "Only what was restated for this, each row against the one before."),
    Parameter("having", "Only of meters that have a figure of this name."),
    Parameter("factor", "Only what was computed with this factor or property."),
    Parameter("balance", "Only hours that take part in the balance of this meter."),
    Parameter("hour", "Only this hour of the local day.", int),
    Parameter("since", "When the period begins that figures by the hour are of."),
    Parameter("until", "When it ends."),
)
_MANY = (Parameter("project", "Of these.", required=True, many=True), *_PERIOD)
_PROJECT = "/api/v1/projects/{project}/carbon"
ROUTES = [
    Endpoint(
        "/api/v1/factors",
        factors,
        get=Operation(
            query=(
                Parameter("id", "Only this one."),
                Parameter("region", "Only of this region."),
                *_READ,
                Parameter("as_of", "As they were known at that moment; now."),
            ),
            answer=_LISTED_SHAPES,
            refuses=(503,),
        ),
    ),
    Endpoint("/api/v1/matching", matching, get=Operation(query=_MANY, refuses=(404,))),
    Endpoint("/api/v1/carbon", summary, get=Operation(query=_MANY, refuses=(404,))),
    Endpoint(
        f"{_PROJECT}/rows",
        rows,
        get=Operation(
            query=(
                Parameter("meter", "Only of these meters.", many=True),
                Parameter("versions", "Also what was restated.", bool),
                *_SELECTED,
                *_READ,
                Parameter("page", "Which page of html; 1.", int),
                *_PERIOD,
                _AS_OF,
            ),
            answer=_TRACED_SHAPES,
            refuses=(503,),
        ),
    ),
    Endpoint(f"{_PROJECT}/report", report, get=Operation(query=_REPORTED, answer=_FORMATS, refuses=(503,))),
    Endpoint(f"{_PROJECT}/hourly", hourly, get=Operation(query=_REPORTED, answer=_FORMATS, refuses=(503,))),
    Endpoint(
        f"{_PROJECT}/certificates",
        certificates,
        get=Operation(query=_PERIOD, refuses=(503,), summary="A project's granular certificates, and who holds them."),
        post=Operation(
            body={JSON: dict[str, Any]},
            refuses=(503,),
            summary="Do one operation on certificates: issue, transfer, cancel, charge, discharge.",
        ),
    ),
]
