"""The endpoints of the HTTP API, version 1."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from taihu.doors.http.answers import Problem, answer, bad_request, large_answer, not_found, unauthorized
from taihu.doors.http.ports import Caller
from taihu.doors.http.requests import (
    body_of,
    caller_of,
    moment,
    node_of,
    object_of,
    own_project,
    readable_project,
    readable_thing,
    required,
    token_of,
    whole,
)
from taihu.kernel.clock import NS_PER_S

_THINGS_PAGE_MAX = 1_000
_CRITERIA = ("site", "building", "group", "tag", "role")
_VALUES_MAX = 20_000
_DAY_NS = 86_400 * NS_PER_S
_encode = msgspec.json.Encoder(enc_hook=str).encode


async def health(request: Request) -> Response:
    """Whether the node serves."""
    return answer({"status": "ok"})


async def metrics(request: Request) -> Response:
    """Counters for Prometheus; without a token only where HTTP listens for this machine alone."""
    node, token = node_of(request), token_of(request)
    if not node.may_see_metrics(node.caller(token) if token else None):
        raise unauthorized()
    return PlainTextResponse(node.metrics(), media_type="text/plain; version=0.0.4")


async def status(request: Request) -> Response:
    """Counters of what the token may read, and states of the node."""
    return answer(node_of(request).status(caller_of(request)))


async def projects(request: Request) -> Response:
    """The projects the caller may read."""
    return answer({"projects": node_of(request).projects(caller_of(request))})


async def things(request: Request) -> Response:
    """A page of a project's things."""
    caller, project = readable_project(request)
    limit = whole(request, "limit", 100, _THINGS_PAGE_MAX)
    if caller.thing:
        raise Problem(403, "refused", "A thing's token may not list things.", "Use an operator's or viewer's token.")
    node = node_of(request)
    page = node.things(project, request.query_params.get("after", ""), limit)
    whole_project = node.may_read(caller, project)
    body: dict[str, Any] = {
        "things": [found for found in page if whole_project or node.may_read(caller, project, found.name)]
    }
    if len(page) == limit:
        body["next"] = page[-1].name
    return answer(body)


async def thing(request: Request) -> Response:
    """A thing's Thing Description."""
    name = request.path_params["thing"]
    _, project = readable_thing(request, name)
    base = f"{request.url.scheme}://{request.url.netloc}/api/v1/projects/{project}/things"
    description = node_of(request).description(project, name, base)
    if description is None:
        raise not_found(f"thing {name!r}")
    return Response(_encode(description), media_type="application/td+json")


async def topology(request: Request) -> Response:
    """Things by site, building, group, tag and role, and the main meter of each site with its submeters."""
    caller, project = readable_project(request)
    if caller.thing:
        raise not_found("topology")
    criteria = {name: request.query_params[name] for name in _CRITERIA if name in request.query_params}
    return answer(node_of(request).topology(project, criteria))


async def values(request: Request) -> Response:
    """The newest values: of one property, one thing, named things, or all of a project."""
    caller, project = readable_project(request)
    node = node_of(request)
    given = [name for name in request.query_params.getlist("thing") if name]
    names = given or [summary.name for summary in node.things(project, "", _VALUES_MAX)]
    whole_project = node.may_read(caller, project)
    only = request.query_params.get("property")
    now = node.clock.now_ns()
    found: list[dict[str, Any]] = []
    for name in names:
        readable = whole_project or node.may_read(caller, project, name)
        if not readable and not given:
            continue
        definitions = node.definitions(project, name)
        if definitions is None or not readable:
            raise not_found(f"thing {name!r}")
        for reading in node.newest(project, name).values():
            if only and reading.property != only:
                continue
            definition = definitions.get(reading.property)
            entry = {
                "thing": name,
                "property": reading.property,
                "value": reading.value,
                "unit": definition.unit if definition else None,
                "quality": reading.quality,
                "observed_at": reading.observed_at,
                "received_at": reading.received_at,
                "age_s": (now - reading.observed_at) / NS_PER_S,
            }
            if definition is not None:
                entry["kind"] = definition.kind
                hold_s = max(definition.max_age_s, definition.interval_s or 0.0)
                entry["stale"] = entry["age_s"] > hold_s and definition.kind in ("gauge", "state")
            found.append(entry)
    return large_answer(request, {"project": project, "now": now, "values": found})


async def history(request: Request) -> Response:
    """Readings of a property, or windows of it when `every` is given."""
    node = node_of(request)
    readable_project(request)
    name, prop = required(request, "thing"), required(request, "property")
    _, project = readable_thing(request, name)
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
    _, project = readable_thing(request, name)
    definitions = node.definitions(project, name)
    if definitions is None or prop not in definitions:
        raise not_found(f"property {name}/{prop}")
    at = moment(request, "at", node.clock.now_ns())
    arguments = {"project": project, "thing": name, "property": prop, "at": at}
    return answer({"unit": definitions[prop].unit} | await node.ask_history("asof", arguments))


async def property_value(request: Request) -> Response:
    """The newest value of one property, as its Thing Description's form says."""
    name, prop = request.path_params["thing"], request.path_params["property"]
    _, project = readable_thing(request, name)
    reading = node_of(request).newest(project, name).get(prop)
    if reading is None:
        raise not_found(f"value of {name}/{prop}")
    return answer(reading.value)


async def desired(request: Request) -> Response:
    """What is wanted of a thing: read it, or change it with a JSON object of values (null takes a wish back)."""
    node = node_of(request)
    name = request.path_params["thing"]
    caller, project = readable_thing(request, name)
    if node.definitions(project, name) is None:
        raise not_found(f"thing {name!r}")
    if request.method == "PUT":
        _writer(request)
        await node.want(caller, name, await object_of(request))
    wishes = node.desired(project, name)
    return answer({"desired": {prop: msgspec.structs.asdict(wish) for prop, wish in wishes.items()}})


async def join(request: Request) -> Response:
    """A device registers itself with a join token and gets a token of its own, this once."""
    token = token_of(request)
    body = await object_of(request)
    if not token or not isinstance(body.get("thing"), str):
        raise bad_request('Send a join token and {"thing": "its-name"}.')
    joined = await run_in_threadpool(node_of(request).join, token, body["thing"])
    return answer({"project": joined.project, "thing": joined.thing.name, "token": joined.token}, 201)


async def readings(request: Request) -> Response:
    """Take over a batch of readings; 200 comes after the sync (§4)."""
    caller = _writer(request)
    return await _ingest(request, caller, request.query_params.get("thing", caller.thing))


async def device_telemetry(request: Request) -> Response:
    """ThingsBoard's HTTP device API: the token is in the path."""
    caller = node_of(request).caller(request.path_params["token"])
    if caller is None or not caller.thing:
        raise unauthorized()
    return await _ingest(request, caller, caller.thing)


async def tail(request: Request) -> Response:
    """Accepted and refused messages as they come, as server-sent events."""
    caller, project = own_project(request)
    if caller.thing:
        raise Problem(403, "refused", "A thing's token may not follow others.", "Use an operator's or viewer's token.")
    node = node_of(request)
    token = token_of(request)
    following = node.tail(project)

    async def events() -> AsyncIterator[bytes]:
        yield b": tail\n\n"
        async for event in following:
            if node.caller(token) != caller:
                return  # revoked or expired meanwhile
            yield b"data: " + _encode(event) + b"\n\n"

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def quarantine(request: Request) -> Response:
    """What was refused, with the reasons; a thing sees its own."""
    caller, project = own_project(request)
    entries = node_of(request).quarantine(project, caller.thing or request.query_params.get("thing"))
    return answer({"refused": [_shown(entry) for entry in entries]})


async def administer(request: Request) -> Response:
    """Create or remove projects, things, tokens and grants; the action is the path's last word."""
    caller = caller_of(request)
    arguments = await object_of(request)
    return answer(await node_of(request).administer(caller, request.path_params["action"], arguments))


def _writer(request: Request) -> Caller:
    """The caller, if it may change the project of the path."""
    caller, project = own_project(request)
    if caller.kind == "viewer":
        raise unauthorized()
    if caller.project != project:
        raise Problem(403, "refused", f"The node's owner writes nothing in {project!r}.", "Use one of its tokens.")
    return caller


async def _ingest(request: Request, caller: Caller, thing: str) -> Response:
    content_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    async with body_of(request) as body:
        report = await node_of(request).ingest(caller, thing, content_type, body)
    refused_all = bool(report.refused) and not report.accepted
    return answer(report, 400 if refused_all else 200)


def _shown(entry: Any) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.structs.asdict(entry)
    shown["payload"] = entry.payload.decode("utf-8", "replace")
    return shown


_PROJECT = "/api/v1/projects/{project}"
ROUTES = [
    Route("/healthz", health),
    Route("/metrics", metrics),
    Route("/api/v1/node", status),
    Route("/api/v1/projects", projects),
    Route(f"{_PROJECT}/things", things),
    Route(f"{_PROJECT}/things/{{thing}}", thing),
    Route(f"{_PROJECT}/things/{{thing}}/properties/{{property}}", property_value),
    Route(f"{_PROJECT}/things/{{thing}}/desired", desired, methods=["GET", "PUT"]),
    Route(f"{_PROJECT}/topology", topology),
    Route(f"{_PROJECT}/values", values),
    Route(f"{_PROJECT}/history", history),
    Route(f"{_PROJECT}/asof", asof),
    Route(f"{_PROJECT}/readings", readings, methods=["POST"]),
    Route(f"{_PROJECT}/tail", tail),
    Route(f"{_PROJECT}/quarantine", quarantine),
    Route("/api/v1/join", join, methods=["POST"]),
    Route("/api/v1/admin/{action}", administer, methods=["POST"]),
    Route("/api/v1/{token}/telemetry", device_telemetry, methods=["POST"]),
]
