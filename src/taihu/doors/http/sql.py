"""The endpoints of SQL: read-only questions over the views of one project."""

from typing import Any, Literal, NotRequired, TypedDict

from starlette.requests import Request
from starlette.responses import Response

from taihu.doors.http.answers import answer, bad_request, large_content, not_found
from taihu.doors.http.endpoint import JSON, Endpoint, Operation, Parameter
from taihu.doors.http.ports import Caller
from taihu.doors.http.requests import moment, node_of, object_of, readable_project

_TIME_MIN, _TIME_MAX = -(1 << 63), (1 << 63) - 1
_MEDIA = {
    "json": JSON,
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}

SqlFormat = Literal["json", "csv", "parquet", "arrow"]


class SqlColumn(TypedDict):
    """A column of an answer in SQL, or of a view; `property` is whose values it holds."""

    name: str
    type: str
    property: NotRequired[str]


class SqlBody(TypedDict):
    """One SELECT over the project's views."""

    sql: str


class SqlAnswer(TypedDict):
    """The columns, and each row as an array."""

    columns: list[SqlColumn]
    rows: list[list[Any]]


class SqlView(TypedDict):
    """A view and its columns."""

    name: str
    columns: list[SqlColumn]


class SqlViews(TypedDict):
    """The views of a project."""

    views: list[SqlView]


async def sql(request: Request) -> Response:
    """The answer to one SELECT over the views of the project."""
    caller, project = _asker(request)
    start, end = moment(request, "start", _TIME_MIN), moment(request, "end", _TIME_MAX)
    if start >= end:
        raise bad_request("start is not before end.")
    form = request.query_params.get("format", "json")
    if form not in _MEDIA:
        raise bad_request(f"format={form[:40]!r} is not one of {', '.join(_MEDIA)}.")
    body = await object_of(request)
    if not isinstance(body.get("sql"), str):
        raise bad_request('The body has no "sql".', 'Send {"sql": "SELECT 1"}.')
    arguments = {"sql": body["sql"], "start": start, "end": end, "format": form}
    data = await node_of(request).ask_sql(caller, project, "sql", arguments)
    if form != "json":
        node_of(request).exported(caller, project, form)
    return large_content(request, data, _MEDIA[form])


async def sql_views(request: Request) -> Response:
    """The views of the project that a question in SQL may read, with their columns."""
    caller, project = _asker(request)
    return answer(await node_of(request).ask_sql(caller, project, "sql_views", {}))


def _asker(request: Request) -> tuple[Caller, str]:
    """Who asks, and of which project; a thing asks nothing."""
    caller, project = readable_project(request)
    if caller.thing:
        raise not_found("SQL")
    return caller, project


ROUTES = [
    Endpoint(
        "/api/v1/projects/{project}/sql",
        sql,
        post=Operation(
            query=(
                Parameter("start", "The views hold readings from this time on; all."),
                Parameter("end", "The time after the last."),
                Parameter("format", "json, csv, parquet or arrow; json.", SqlFormat),
            ),
            body={JSON: SqlBody},
            answer={JSON: SqlAnswer, **{_MEDIA[form]: bytes for form in ("csv", "parquet", "arrow")}},
        ),
    ),
    Endpoint("/api/v1/projects/{project}/sql/views", sql_views, get=Operation(answer={JSON: SqlViews})),
]
