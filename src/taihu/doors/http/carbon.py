"""The endpoints of the carbon ledger: rows, reports, matching, certificates and factors."""

from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from taihu.doors.http.answers import Problem, bad_request, not_found
from taihu.doors.http.endpoint import JSON, Endpoint, Operation, Parameter
from taihu.doors.http.requests import (
    caller_of,
    moment,
    node_of,
    object_of,
    own_project,
    readable_project,
)
from taihu.kernel.clock import NS_PER_S

_DAY_NS = 86_400 * NS_PER_S
_YEAR_NS = 365 * _DAY_NS
_NOW = 2**63 - 1
_PROJECTS_MAX = 1_000


async def factors(request: Request) -> Response:
    """All emission factors: those that come with Taihu, and the site's own."""
    caller_of(request)
    return await _ask(request, "factors", {})


async def rows(request: Request) -> Response:
    """Rows of the ledger; with `versions=true` also what was restated."""
    arguments = {
        "project": _whole_project(request),
        "meter": request.query_params.get("meter", ""),
        "versions": request.query_params.get("versions") == "true",
        "as_of": moment(request, "as_of", _NOW),
    }
    return await _ask(request, "rows", arguments | _range(request, _DAY_NS))


async def report(request: Request) -> Response:
    """An inventory of a period, as JSON, CSV, a page or a PDF."""
    return await _ask(request, "report", _reported(request))


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
    caller, project = readable_project(request)
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
        "language": request.query_params.get("language", "en"),
        "as_of": moment(request, "as_of", 0),
        "rows": str(request.url.replace(path=f"/api/v1/projects/{quote(project)}/carbon/rows", query="")),
    }
    if arguments["language"] not in ("en", "zh"):
        raise bad_request("There is no report in that language.", "Ask for en or zh.")
    return arguments | _range(request, _YEAR_NS)


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
_MANY = (Parameter("project", "Of these.", required=True, many=True), *_PERIOD)
_PROJECT = "/api/v1/projects/{project}/carbon"
ROUTES = [
    Endpoint("/api/v1/factors", factors, get=Operation(refuses=(503,))),
    Endpoint("/api/v1/matching", matching, get=Operation(query=_MANY, refuses=(404,))),
    Endpoint("/api/v1/carbon", summary, get=Operation(query=_MANY, refuses=(404,))),
    Endpoint(
        f"{_PROJECT}/rows",
        rows,
        get=Operation(
            query=(
                Parameter("meter", "Only of this meter."),
                Parameter("versions", "Also what was restated.", bool),
                *_PERIOD,
                _AS_OF,
            ),
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
