"""InfluxDB's write endpoints, versions 1 and 2: Telegraf and InfluxDB's clients send their points here unchanged.

A database or bucket is a project, a password or token one of its tokens. Errors have InfluxDB's own forms.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Callable
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from taihu import __version__
from taihu.doors.http import shapes
from taihu.doors.http.answers import Problem, answer, refusal, unauthorized
from taihu.doors.http.endpoint import JSON, Endpoint, Operation, Parameter
from taihu.doors.http.ports import LINES, Caller
from taihu.doors.http.requests import body_of, node_of
from taihu.kernel.errors import TaihuError
from taihu.things.mapping.lineprotocol import PRECISIONS

_HEADERS = {"X-Influxdb-Version": f"taihu-{__version__}", "X-Influxdb-Build": "Taihu"}
_CODES = {
    400: "invalid", 401: "unauthorized", 403: "forbidden", 404: "not found", 413: "request too large",
    422: "unprocessable entity", 429: "too many requests", 503: "unavailable",
}  # fmt: skip
_CREATE = re.compile(r'\s*CREATE\s+DATABASE\s+("?)([^"\s;]+)\1(?:\s+WITH\s.*)?\s*;?\s*', re.IGNORECASE | re.DOTALL)
_UNPRINTABLE = re.compile(r"[^ -~]")
_SHOW = re.compile(r"\s*SHOW\s+DATABASES\s*;?\s*", re.IGNORECASE)

Dialect = Callable[[int, str], Response]


async def write(request: Request) -> Response:
    """InfluxDB 1.x's write: `db` is the project."""
    return await _write(request, "db", "database", _error_v1)


async def write_bucket(request: Request) -> Response:
    """InfluxDB 2.x's write: `bucket` is the project; `org` says nothing here."""
    return await _write(request, "bucket", "bucket", _error_v2)


async def query(request: Request) -> Response:
    """InfluxDB 1.x's query as far as writers need it: CREATE DATABASE of a project that exists, and SHOW DATABASES."""
    try:
        caller, node = _caller(request), node_of(request)
        statement = request.query_params.get("q", "")
        async with body_of(request) as body:
            statement = statement or dict(parse_qsl(body.decode("utf-8", "replace"))).get("q", "")
        found = _CREATE.fullmatch(statement)
        if found:
            _home(request, caller, found[2], "database")
            return answer({"results": [{"statement_id": 0}]})
        if _SHOW.fullmatch(statement):
            names = [[project["name"]] for project in node.projects(caller)]
            series = {"name": "databases", "columns": ["name"], "values": names}
            return answer({"results": [{"statement_id": 0, "series": [series]}]})
        raise Problem(400, "bad-request", "error parsing query: InfluxQL is not answered here; see docs/influx.md")
    except TaihuError as error:
        return _told(request, error, _error_v1)


async def ping(request: Request) -> Response:
    """Whether the node serves, as InfluxDB's clients ask."""
    return Response(status_code=204, headers=_HEADERS)


async def _write(request: Request, parameter: str, what: str, error_of: Dialect) -> Response:
    try:
        caller = _caller(request)
        name = request.query_params.get(parameter, "")
        if not name:
            raise Problem(400, "bad-request", f"{what} is required")
        caller = _home(request, caller, name, what)
        precision = request.query_params.get("precision") or "ns"
        if precision not in PRECISIONS:
            raise Problem(400, "bad-request", f"invalid precision {precision[:20]!r} (use n, u, ms, s, m or h)")
        async with body_of(request) as body:
            report = await node_of(request).ingest(caller, caller.thing, LINES, body, PRECISIONS[precision])
    except TaihuError as error:
        return _told(request, error, error_of)
    if not report.refusals:
        return Response(status_code=204, headers=_HEADERS)
    reasons = "\n".join(report.refused)
    if report.accepted:
        return error_of(400, f"partial write: {reasons} dropped={report.refusals}")
    return error_of(400, reasons)


def _caller(request: Request) -> Caller:
    """Who writes: a token by any of the ways in which InfluxDB's clients send a token or password."""
    scheme, _, secret = request.headers.get("authorization", "").strip().partition(" ")
    token = request.query_params.get("p", "")
    match scheme.lower():
        case "token" | "bearer":
            token = secret.strip().rpartition(":")[2]
        case "basic":
            try:
                token = b64decode(secret).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                token = ""
    caller = node_of(request).caller(token)
    if caller is None:
        raise unauthorized()
    return caller


def _home(request: Request, caller: Caller, name: str, what: str) -> Caller:
    """The caller as one of the project of a database or bucket, if it may write there (§11)."""
    project, node = name.partition("/")[0], node_of(request)
    caller = node.home_of(caller, project)
    if caller.project == project and node.may_write(caller, project, caller.thing):
        return caller
    if not node.may_see(caller, project):
        raise Problem(404, "not-found", f'{what} not found: "{name[:80]}"')
    raise Problem(403, "refused", f'this token is not authorized to write to {what} "{name[:80]}"')


def _told(request: Request, error: TaihuError, error_of: Dialect) -> Response:
    """An error in InfluxDB's form, with the status and headers that any other endpoint would give it."""
    usual = refusal(error, request.url.path)
    told = error_of(usual.status_code, str(error))
    for name in ("retry-after", "www-authenticate"):
        if name in usual.headers:
            told.headers[name] = usual.headers[name]
    return told


def _error_v1(status: int, message: str) -> Response:
    headers = _HEADERS | {"X-Influxdb-Error": _one_line(message)}
    return Response(msgspec.json.encode({"error": message}), status, headers, JSON)


def _error_v2(status: int, message: str) -> Response:
    code = _CODES.get(status, "internal error")
    headers = _HEADERS | {"X-Platform-Error-Code": code}
    return Response(msgspec.json.encode({"code": code, "message": message}), status, headers, JSON)


def _one_line(message: str) -> str:
    """The message as a header may carry it."""
    return _UNPRINTABLE.sub("?", message.replace("\n", " "))[:500]


_PRECISION = Parameter("precision", "What times count: ns, u, ms, s, m or h; ns.")
_BODY = {"text/plain": bytes, "application/octet-stream": bytes, LINES: bytes}
_REFUSES = (400, 401, 403, 404, 413, 415, 429, 503)
_V1 = {status: {JSON: shapes.InfluxError} for status in _REFUSES}
_V2 = {status: {JSON: shapes.InfluxError2} for status in _REFUSES}
_QUERY = Operation(query=(Parameter("q", "The statement."), Parameter("p", "A token.")), others=_V1)
ROUTES = [
    Endpoint(
        "/write",
        write,
        post=Operation(
            query=(Parameter("db", "The project."), _PRECISION, Parameter("p", "A token.")),
            body=_BODY,
            answer={},
            status=204,
            others=_V1,
        ),
    ),
    Endpoint(
        "/api/v2/write",
        write_bucket,
        post=Operation(
            query=(Parameter("bucket", "The project."), Parameter("org", "Anything."), _PRECISION),
            body=_BODY,
            answer={},
            status=204,
            others=_V2,
        ),
    ),
    Endpoint("/query", query, get=_QUERY, post=_QUERY),
    Endpoint("/ping", ping, get=Operation(answer={}, status=204, public=True)),
]
