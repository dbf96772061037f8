"""The W3C Web of Things over HTTP: properties read and written as Thing Descriptions say."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from taihu.doors.http import shapes
from taihu.doors.http.answers import NEVER_THE_SAME, answer, bad_request, large_answer, not_found
from taihu.doors.http.endpoint import JSON, Endpoint, Operation, Parameter
from taihu.doors.http.ports import Caller, Node
from taihu.doors.http.requests import (
    WAIT_S_MAX,
    body_of,
    caller_of,
    node_of,
    object_of,
    readable_thing,
    token_of,
    visible_thing,
    wait_s_of,
    wisher,
)
from taihu.doors.http.shared import shared_by
from taihu.doors.http.writing import arrived, write
from taihu.kernel.clock import NS_PER_S, format_iso
from taihu.things.forms import quoted
from taihu.things.ports import Reading
from taihu.things.property import Property, is_stale

_encode = msgspec.json.Encoder(enc_hook=str).encode


async def property_value(request: Request) -> Response:
    """The newest value of one property; PUT writes another."""
    thing, name = request.path_params["thing"], request.path_params["property"]
    node = node_of(request)
    if request.method == "PUT":
        caller, project = wisher(request, thing, [name])
        async with body_of(request) as body:
            value = _value(body)
        return await _write(request, caller, project, thing, {name: value})
    _, project = readable_thing(request, thing, prop=name)
    reading = node.newest(project, thing).get(name)
    if reading is None:
        raise not_found(f"value of {thing}/{name}")
    definition = (node.definitions(project, thing) or {}).get(name)
    headers = _origin(reading, definition, node.clock.now_ns())
    return Response(_encode(reading.value), headers=headers, media_type="application/json")


async def property_values(request: Request) -> Response:
    """The newest values of all properties or of those named, by name; PUT writes others."""
    thing = request.path_params["thing"]
    node = node_of(request)
    if request.method == "PUT":
        caller_of(request)  # nobody's body is read
        values = await object_of(request)
        caller, project = wisher(request, thing, values)
        return await _write(request, caller, project, thing, values)
    caller, project = visible_thing(request, thing)
    return large_answer(request, read(node, caller, project, thing, request.query_params.getlist("property")))


async def ticket(request: Request) -> Response:
    """A ticket that opens streams in place of the token."""
    caller = caller_of(request)
    given, ends = shared_by(request).tickets.issue(token_of(request), caller.project)
    return answer({"ticket": given, "expires_at": ends}, 201)


def read(node: Node, caller: Caller, project: str, thing: str, names: list[str]) -> dict[str, Any]:
    """The newest value of each property named, or of all the caller may read; one without a value is left out (§3)."""
    definitions = node.definitions(project, thing)
    if definitions is None:
        raise not_found(f"thing {thing!r}")
    for name in names:
        if name not in definitions or not node.may_read(caller, project, thing, name):
            raise not_found(f"property {thing}/{name}")
    newest = node.newest(project, thing)
    wanted = names or [name for name in newest if node.may_read(caller, project, thing, name)]
    return {name: newest[name].value for name in wanted if name in newest}


async def _write(request: Request, caller: Caller, project: str, thing: str, values: dict[str, Any]) -> Response:
    """204 when the device has what was written, else 202 and where to see what becomes of it."""
    wait_s, key = wait_s_of(request), request.headers.get("idempotency-key", "")
    given = await write(node_of(request), caller, project, thing, values, wait_s=wait_s, key=key)
    if arrived(given):
        return Response(status_code=204)
    place = f"/api/v1/projects/{quoted(project)}"
    location = f"{place}/things/{quoted(thing)}/desired"
    if given:
        last = next(one for one in given if not arrived([one]))
        location = f"{place}/commands/{last.id}"
    return Response(status_code=202, headers={"Location": location})


def _value(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise bad_request("The body is not JSON.", 'Send the value alone, such as 21.5 or "on".') from None


def _origin(reading: Reading, definition: Property | None, now_ns: int) -> dict[str, str]:
    """When the value was observed and whether it still holds, as headers."""
    age_s = (now_ns - reading.observed_at) / NS_PER_S
    stale = definition is not None and is_stale(definition, age_s)
    origin = {"Taihu-Observed-At": format_iso(reading.observed_at), "Taihu-Stale": str(stale).lower()}
    return origin | NEVER_THE_SAME


_THING = "/api/v1/projects/{project}/things/{thing}"
_WRITES: Any = {
    "query": (Parameter("wait_s", f"Wait so long for the device's answer, to {WAIT_S_MAX}; 5.", float),),
    "headers": (Parameter("Idempotency-Key", "The same key is the same command."),),
    "answer": {},
    "status": 204,
    "others": {202: {}},
    "refuses": (502,),
}
_NAMES = (Parameter("property", "Only of these.", many=True),)
ROUTES = [
    Endpoint(
        f"{_THING}/properties",
        property_values,
        get=Operation(query=_NAMES, summary="The newest values of a thing's properties, by name."),
        put=Operation(body={JSON: dict[str, Any]}, summary="Write values of properties.", **_WRITES),
    ),
    Endpoint(
        f"{_THING}/properties/{{property}}",
        property_value,
        get=Operation(answer={JSON: Any}, summary="The newest value of one property."),
        put=Operation(body={JSON: Any}, summary="Write another value of one property.", **_WRITES),
    ),
    Endpoint("/api/v1/tickets", ticket, post=Operation(answer={JSON: shapes.Ticket}, status=201)),
]
