"""The part of Prometheus's HTTP API that Grafana needs, for a data source of its own: series, labels and queries."""

import re
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from math import isfinite
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request
from starlette.responses import Response

from taihu import __version__
from taihu.doors.http import shapes
from taihu.doors.http.answers import NEVER_THE_SAME, not_found, problem_of, unauthorized
from taihu.doors.http.endpoint import JSON, Endpoint, Operation, Parameter
from taihu.doors.http.ports import Caller
from taihu.doors.http.requests import body_of, node_of
from taihu.kernel.clock import from_datetime
from taihu.kernel.errors import LimitError, TaihuError
from taihu.protocols.promql import Matcher, PromqlError, Selector, parse, parse_duration, selectors
from taihu.things.property import DataType, Property

POINTS_MAX = 11_000  # of a series, as Prometheus has it
_VERSION = "2.24.0"  # whose API this is a part of
_METRIC = re.compile(r"[^a-zA-Z0-9_:]")
_NUMBERS = (DataType.NUMBER, DataType.INTEGER, DataType.BOOLEAN)
_ERRORS = {
    400: "bad_data",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    422: "execution",
    503: "unavailable",
}
_encode = msgspec.json.Encoder(enc_hook=str).encode

Values = ImmutableMultiDict[str, str]
Found = list[tuple[str, Property, dict[str, str]]]
Handler = Callable[[Request, Caller, str, Values], Awaitable[Any]]


class Told(NamedTuple):
    """The result of a query and its warnings, as JSON."""

    data: bytes
    warnings: bytes = b"[]"


def metric_of(name: str) -> str:
    """The metric that a property is.

    >>> metric_of("phase.a"), metric_of("3d")
    ('phase_a', '_3d')
    """
    metric = _METRIC.sub("_", name)
    return metric if not metric[0].isdigit() else f"_{metric}"


async def query_at(request: Request) -> Response:
    """The result of a query at one time."""
    return await _answered(request, _query)


async def query_range(request: Request) -> Response:
    """The result of a query at every `step` from `start` to `end`."""
    return await _answered(request, _query_range)


async def series(request: Request) -> Response:
    """The labels of the series that match."""
    return await _answered(request, _series)


async def labels(request: Request) -> Response:
    """The names of labels."""
    return await _answered(request, _labels)


async def label_values(request: Request) -> Response:
    """The values of one label."""
    return await _answered(request, _label_values)


async def metadata(request: Request) -> Response:
    """The type, unit and title of each metric."""
    return await _answered(request, _metadata)


async def buildinfo(request: Request) -> Response:
    """Which version's API this is a part of."""
    return await _answered(request, _buildinfo)


async def rules(request: Request) -> Response:
    """No rules."""
    return await _answered(request, _no_rules)


async def exemplars(request: Request) -> Response:
    """No exemplars."""
    return await _answered(request, _no_exemplars)


async def _query(request: Request, caller: Caller, project: str, values: Values) -> Any:
    at = _time(request, values, "time", node_of(request).clock.now_ns())
    return await _ask(request, caller, project, values, at, at, 0)


async def _query_range(request: Request, caller: Caller, project: str, values: Values) -> Any:
    start, end = _time(request, values, "start", None), _time(request, values, "end", None)
    step = _step(values.get("step", ""))
    if end < start:
        raise PromqlError("end timestamp must not be before start time", "")
    if (end - start) // step >= POINTS_MAX:
        raise PromqlError(
            f"exceeded maximum resolution of {POINTS_MAX:,} points per timeseries.", "Take a longer step."
        )
    return await _ask(request, caller, project, values, start, end, step)


async def _ask(request: Request, caller: Caller, project: str, values: Values, start: int, end: int, step: int) -> Any:
    text = values.get("query", "")
    wanted = selectors(parse(text))
    known = [await run_in_threadpool(_matching, request, caller, project, [each]) for each in wanted]
    found = await node_of(request).ask_promql(
        {"project": project, "query": text, "start": start, "end": end, "step": step, "series": known}
    )
    return Told(bytes(found["data"]), bytes(found["warnings"]))


async def _series(request: Request, caller: Caller, project: str, values: Values) -> Any:
    return [label for _, _, label in await _named(request, caller, project, values, required=True)]


async def _labels(request: Request, caller: Caller, project: str, values: Values) -> Any:
    return sorted({name for _, _, label in await _named(request, caller, project, values) for name in label})


async def _label_values(request: Request, caller: Caller, project: str, values: Values) -> Any:
    name = request.path_params["label"]
    found = await _named(request, caller, project, values)
    return sorted({label[name] for _, _, label in found if name in label})


async def _metadata(request: Request, caller: Caller, project: str, values: Values) -> Any:
    told: dict[str, list[dict[str, str]]] = {}
    for _, definition, label in await _named(request, caller, project, values):
        kind = "counter" if definition.kind == "counter" else "gauge"
        entry = {"type": kind, "help": definition.title or definition.description, "unit": definition.unit or ""}
        known = told.setdefault(label["__name__"], [])
        if entry not in known:
            known.append(entry)
    return told


async def _buildinfo(request: Request, caller: Caller, project: str, values: Values) -> Any:
    return {"version": _VERSION, "revision": f"taihu-{__version__}", "branch": "", "buildUser": "", "buildDate": ""}


async def _no_rules(request: Request, caller: Caller, project: str, values: Values) -> Any:
    return {"groups": []}


async def _no_exemplars(request: Request, caller: Caller, project: str, values: Values) -> Any:
    return []


async def _answered(request: Request, handler: Handler) -> Response:
    """The answer of a handler, or its error, in Prometheus's form."""
    try:
        caller, project = _caller(request)
        values: Values = request.query_params
        if request.method == "POST":
            async with body_of(request) as body:
                form = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=100)
            values = ImmutableMultiDict([*values.multi_items(), *form])
        found = await handler(request, caller, project, values)
        told = found if isinstance(found, Told) else Told(_encode(found))
    except ValueError:
        return _error(400, "bad_data", "too many parameters")
    except TaihuError as error:
        problem = problem_of(error)
        status = 422 if problem["type"].endswith((":promql-execution", ":limit")) else problem["status"]
        return _error(status, _ERRORS.get(status, "internal"), str(error))
    warnings = b',"warnings":%b' % told.warnings if told.warnings != b"[]" else b""
    body = b'{"status":"success","data":%b%b}' % (told.data, warnings)
    return Response(body, headers=NEVER_THE_SAME, media_type=JSON)


def _error(status: int, kind: str, message: str) -> Response:
    headers = {"WWW-Authenticate": 'Basic realm="taihu"'} if status == 401 else None
    return Response(_encode({"status": "error", "errorType": kind, "error": message}), status, headers, JSON)


def _caller(request: Request) -> tuple[Caller, str]:
    """Who asks, by a bearer token or one that is the password of any user; and the project, if he may see it (§11)."""
    node, project = node_of(request), request.path_params["project"]
    scheme, _, secret = request.headers.get("authorization", "").strip().partition(" ")
    token = secret.strip()
    if scheme.lower() == "basic":
        try:
            token = b64decode(token).decode().partition(":")[2]
        except ValueError:
            token = ""
    caller = node.caller(token) if scheme.lower() in ("basic", "bearer") else None
    if caller is None:
        raise unauthorized()
    caller = node.home_of(caller, project)
    if not node.may_see(caller, project):
        raise not_found(f"project {project!r}")
    return caller, project


async def _named(request: Request, caller: Caller, project: str, values: Values, required: bool = False) -> Found:
    """The series that any `match[]` picks; all where none is given."""
    given = values.getlist("match[]")
    if required and not given:
        raise PromqlError("no match[] parameter provided", "")
    wanted = [found for text in given for found in [parse(text)] if isinstance(found, Selector)]
    if len(wanted) < len(given):
        raise PromqlError("a match[] is a selector", "")
    return await run_in_threadpool(_matching, request, caller, project, wanted or [Selector(())])


def _matching(request: Request, caller: Caller, project: str, wanted: Iterable[Selector]) -> Found:
    """The series of numbers that one of some selectors picks, each once; at most `query_series_max`."""
    node, limits = node_of(request), node_of(request).limits
    conditions = [[_condition(matcher) for matcher in each.matchers] for each in wanted]
    exact = [matcher.value for each in wanted for matcher in each.matchers if matcher[:2] == ("thing", "=")]
    names = (
        sorted(set(exact))
        if len(exact) == len(conditions)
        else node.thing_names(project, "", limits.things_per_project_max)
    )
    whole = node.may_read(caller, project)
    found: Found = []
    for thing in names:
        if not whole and not node.may_see(caller, project, thing):
            continue
        place = node.place_of(project, thing)
        for name, definition in (node.definitions(project, thing) or {}).items():
            if definition.data_type not in _NUMBERS:
                continue
            label = _label(thing, name, definition, place)
            if any(all(test(label) for test in tests) for tests in conditions) and (
                whole or node.may_read(caller, project, thing, name)
            ):
                found.append((thing, definition, label))
        if len(found) > limits.query_series_max:
            raise LimitError(
                f"These are more than {limits.query_series_max} series (query_series_max).", "Match fewer."
            )
    return found


def _label(thing: str, name: str, definition: Property, place: dict[str, str]) -> dict[str, str]:
    metric = metric_of(name)
    label = {"__name__": metric, "thing": thing, "kind": str(definition.kind)}
    label |= {"unit": definition.unit} if definition.unit else {}
    label |= {"property": name} if metric != name else {}
    return label | place


def _condition(matcher: Matcher) -> Callable[[dict[str, str]], bool]:
    name, op, value = matcher
    if op in ("=", "!="):
        return lambda label: (label.get(name, "") == value) is (op == "=")
    pattern = re.compile(value)
    return lambda label: (pattern.fullmatch(label.get(name, "")) is not None) is (op == "=~")


def _time(request: Request, values: Values, name: str, default: int | None) -> int:
    text = values.get(name, "")
    if not text and default is not None:
        return default
    try:
        moment = float(text)
        if isfinite(moment) and abs(moment) < 9e9:
            return round(moment * 1_000) * 1_000_000
    except ValueError:
        try:
            return from_datetime(datetime.fromisoformat(text))
        except (ValueError, OverflowError, TypeError):
            pass
    raise PromqlError(f"invalid parameter {name!r}: cannot parse {text[:40]!r} to a valid timestamp", "")


def _step(text: str) -> int:
    try:
        step = round(float(text) * 1_000) * 1_000_000
    except (ValueError, OverflowError):
        step = parse_duration(text)
    if not 0 < step < 2**62:
        raise PromqlError("zero or negative query resolution step widths are not accepted", "Try a positive step.")
    return step


_ANSWER = {JSON: shapes.PrometheusAnswer}
_OTHERS = {status: {JSON: shapes.PrometheusError} for status in (400, 401, 403, 404, 413, 415, 422, 429, 503)}
_FORM = {"application/x-www-form-urlencoded": bytes}
_MATCH = (Parameter("match[]", "Only series that this selector picks.", many=True),)
_QUERY = Parameter("query", "PromQL, as far as it is answered.")
_AT = (_QUERY, Parameter("time", "Unix seconds or RFC 3339; now."))
_RANGE = (
    _QUERY,
    Parameter("start", "Unix seconds or RFC 3339."),
    Parameter("end", "Likewise."),
    Parameter("step", "Seconds, or a duration such as 5m."),
)


def _get(query: tuple[Parameter, ...] = ()) -> Operation:
    return Operation(query=query, answer=_ANSWER, others=_OTHERS)


def _post(query: tuple[Parameter, ...] = ()) -> Operation:
    return Operation(query=query, body=_FORM, answer=_ANSWER, others=_OTHERS)


_ROOT = "/prometheus/{project}/api/v1"
ROUTES = [
    Endpoint(f"{_ROOT}/query", query_at, get=_get(_AT), post=_post(_AT)),
    Endpoint(f"{_ROOT}/query_range", query_range, get=_get(_RANGE), post=_post(_RANGE)),
    Endpoint(f"{_ROOT}/series", series, get=_get(_MATCH), post=_post(_MATCH)),
    Endpoint(f"{_ROOT}/labels", labels, get=_get(_MATCH), post=_post(_MATCH)),
    Endpoint(f"{_ROOT}/label/{{label}}/values", label_values, get=_get(_MATCH)),
    Endpoint(f"{_ROOT}/metadata", metadata, get=_get()),
    Endpoint(f"{_ROOT}/status/buildinfo", buildinfo, get=_get()),
    Endpoint(f"{_ROOT}/rules", rules, get=_get()),
    Endpoint(f"{_ROOT}/query_exemplars", exemplars, get=_get(), post=_post()),
]
