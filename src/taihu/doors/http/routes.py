"""The endpoints of the HTTP API, version 1."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from taihu.doors.http import shapes
from taihu.doors.http.answers import (
    NEVER_THE_SAME,
    Problem,
    answer,
    bad_request,
    not_found,
    unauthorized,
)
from taihu.doors.http.conditions import check_unchanged, next_page
from taihu.doors.http.endpoint import IF_MATCH, JSON, Endpoint, Operation, Parameter
from taihu.doors.http.openapi import PROBLEM, openapi
from taihu.doors.http.ports import Caller, IngestReport, Node
from taihu.doors.http.requests import (
    body_of,
    caller_of,
    node_of,
    object_of,
    own_project,
    readable_project,
    token_of,
    visible_thing,
    whole,
    wisher,
    writer,
)
from taihu.doors.http.streams import permission, while_permitted
from taihu.things.description import part_of

_THINGS_PAGE_MAX = 1_000
_CRITERIA = ("site", "building", "group", "tag", "role")
_encode = msgspec.json.Encoder(enc_hook=str).encode


async def health(request: Request) -> Response:
    """Whether the node serves."""
    return answer({"status": "ok"}, headers=NEVER_THE_SAME)


async def metrics(request: Request) -> Response:
    """Counters for Prometheus; without a token only where HTTP listens for this machine alone."""
    node, token = node_of(request), token_of(request)
    if not node.may_see_metrics(node.caller(token) if token else None):
        raise unauthorized()
    return PlainTextResponse(node.metrics(), headers=NEVER_THE_SAME, media_type="text/plain; version=0.0.4")


async def status(request: Request) -> Response:
    """Counters of what the token may read, and states of the node."""
    return answer(node_of(request).status(caller_of(request)), headers=NEVER_THE_SAME)


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
    body: dict[str, Any] = {"things": [found for found in page if node.may_see(caller, project, found.name)]}
    if len(page) < limit:
        return answer(body)
    body["next"] = page[-1].name
    return answer(body, headers=next_page(request, after=page[-1].name))


async def thing(request: Request) -> Response:
    """A thing's Thing Description."""
    name, node = request.path_params["thing"], node_of(request)
    caller, project = visible_thing(request, name)
    base = f"{request.url.scheme}://{request.url.netloc}/api/v1/projects/{project}/things"
    description = node.description(project, name, base)
    if description is None:
        raise not_found(f"thing {name!r}")
    if not node.may_read(caller, project, name):
        description = part_of(description, lambda prop: node.may_read(caller, project, name, prop))
    return Response(_encode(description), media_type="application/td+json")


async def topology(request: Request) -> Response:
    """Things by site, building, group, tag and role, and the main meter of each site with its submeters."""
    caller, project = readable_project(request)
    if caller.thing:
        raise not_found("topology")
    criteria = {name: request.query_params[name] for name in _CRITERIA if name in request.query_params}
    node = node_of(request)
    return answer(node.topology(project, criteria, lambda thing: node.may_see(caller, project, thing)))


async def desired(request: Request) -> Response:
    """What is wanted of a thing: read it, or change it with a JSON object of values (null takes a wish back)."""
    node = node_of(request)
    name = request.path_params["thing"]
    caller_of(request)  # nobody's body is read
    values = await object_of(request) if request.method == "PUT" else {}
    caller, project = wisher(request, name, values) if values else visible_thing(request, name)
    if node.definitions(project, name) is None:
        raise not_found(f"thing {name!r}")
    found = _wishes(node, caller, project, name)
    if values:
        check_unchanged(request, bytes(found.body))
        await node.want(caller, project, name, values)
        found = _wishes(node, caller, project, name)
    return found


def _wishes(node: Node, caller: Caller, project: str, thing: str) -> Response:
    wishes = node.desired(project, thing)
    readable = {prop: wish for prop, wish in wishes.items() if node.may_read(caller, project, thing, prop)}
    return answer({"desired": {prop: msgspec.structs.asdict(wish) for prop, wish in readable.items()}})


async def join(request: Request) -> Response:
    """A device registers itself with a join token and gets a token of its own, this once."""
    token = token_of(request)
    body = await object_of(request)
    if not token or not isinstance(body.get("thing"), str):
        raise bad_request('Send a join token and {"thing": "its-name"}.')
    joined = await node_of(request).join(token, body["thing"])
    return answer({"project": joined.project, "thing": joined.thing.name, "token": joined.token}, 201)


async def readings(request: Request) -> Response:
    """Take over a batch of readings; 200 comes after the sync (§4)."""
    thing = request.query_params.get("thing", "")
    caller = writer(request, thing)
    return await _ingest(request, caller, thing or caller.thing)


async def device_telemetry(request: Request) -> Response:
    """ThingsBoard's HTTP device API: the token is in the path."""
    caller = node_of(request).caller(request.path_params["token"])
    if caller is None or not caller.thing:
        raise unauthorized()
    return await _ingest(request, caller, caller.thing)


async def tail(request: Request) -> Response:
    """Accepted and refused messages as they come, as server-sent events."""
    caller, project = own_project(request)
    node = node_of(request)
    if not node.may_read(caller, project):
        raise Problem(403, "refused", "You may not follow all of the project.", "Use an operator's or viewer's token.")
    following = while_permitted(node.tail(project), permission(node, token_of(request), caller, project))

    async def events() -> AsyncIterator[bytes]:
        yield b": tail\n\n"
        async for event in following:
            yield b"data: " + _encode(event) + b"\n\n"

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def quarantine(request: Request) -> Response:
    """What was refused, with the reasons; a thing sees its own."""
    caller, project = own_project(request)
    node, thing = node_of(request), caller.thing or request.query_params.get("thing")
    if not node.may_read(caller, project, thing or ""):
        raise Problem(403, "refused", "You may not see all of the project.", "Name a thing that you may read.")
    entries = node.quarantine(project, thing)
    return answer({"refused": [_shown(entry) for entry in entries]})


async def administer(request: Request) -> Response:
    """Create or remove projects, things, tokens and grants; the action is the path's last word."""
    caller = caller_of(request)
    arguments = await object_of(request)
    return answer(await node_of(request).administer(caller, request.path_params["action"], arguments))


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
_THING = Parameter("thing", "The thing's name.")
_TELEMETRY = {"application/json": Any}
_REPORT = {JSON: IngestReport}
ROUTES = [
    Endpoint("/healthz", health, get=Operation(answer={JSON: shapes.Health}, public=True)),
    Endpoint("/metrics", metrics, get=Operation(answer={"text/plain": bytes})),
    Endpoint("/api/v1/node", status, get=Operation(answer={JSON: shapes.Status})),
    Endpoint("/api/v1/projects", projects, get=Operation(answer={JSON: shapes.Projects})),
    Endpoint(
        f"{_PROJECT}/things",
        things,
        get=Operation(
            query=(
                Parameter("limit", f"At most so many, to {_THINGS_PAGE_MAX}; 100.", int),
                Parameter("after", "The last name of the page before."),
            ),
            answer={JSON: shapes.ThingsPage},
        ),
    ),
    Endpoint(f"{_PROJECT}/things/{{thing}}", thing, get=Operation(answer={"application/td+json": dict[str, Any]})),
    Endpoint(
        f"{_PROJECT}/things/{{thing}}/desired",
        desired,
        get=Operation(answer={JSON: shapes.Wishes}, summary="What is wanted of a thing."),
        put=Operation(
            body={JSON: dict[str, Any]},
            headers=(IF_MATCH,),
            answer={JSON: shapes.Wishes},
            refuses=(412,),
            summary="Say what is wanted of a thing; null takes a wish back.",
        ),
    ),
    Endpoint(
        f"{_PROJECT}/topology",
        topology,
        get=Operation(
            query=tuple(Parameter(name, f"Only things of this {name}.") for name in _CRITERIA),
            answer={JSON: shapes.TopologyAnswer},
        ),
    ),
    Endpoint(
        f"{_PROJECT}/readings",
        readings,
        post=Operation(
            query=(_THING,),
            body=_TELEMETRY | {"application/senml+json": list[dict[str, Any]], "application/senml+cbor": bytes},
            answer=_REPORT,
            others={400: _REPORT | {PROBLEM: shapes.Problem}},
        ),
    ),
    Endpoint(f"{_PROJECT}/tail", tail, get=Operation(answer={"text/event-stream": bytes})),
    Endpoint(
        f"{_PROJECT}/quarantine", quarantine, get=Operation(query=(_THING,), answer={JSON: shapes.QuarantineAnswer})
    ),
    Endpoint(
        "/api/v1/join", join, post=Operation(body={JSON: shapes.JoinBody}, answer={JSON: shapes.Joined}, status=201)
    ),
    Endpoint("/api/v1/admin/{action}", administer, post=Operation(body={JSON: dict[str, Any]})),
    Endpoint(
        "/api/v1/{token}/telemetry",
        device_telemetry,
        post=Operation(body=_TELEMETRY, answer=_REPORT, others={400: _REPORT | {PROBLEM: shapes.Problem}}),
    ),
    Endpoint("/api/v1/openapi.json", openapi, get=Operation(public=True)),
]
