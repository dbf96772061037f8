"""The newest values of a project, in turns: devices are served between them, however many things there are."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from taihu.doors.http import shapes
from taihu.doors.http.answers import NEVER_THE_SAME, large_content, not_found
from taihu.doors.http.conditions import next_page
from taihu.doors.http.endpoint import JSON, Endpoint, Operation, Parameter
from taihu.doors.http.ports import Caller, Node
from taihu.doors.http.requests import node_of, readable_project, whole
from taihu.kernel.clock import NS_PER_S
from taihu.things.property import is_stale

_THINGS_MAX = 20_000
_AT_ONCE = 200
_encode = msgspec.json.Encoder(enc_hook=str).encode


async def values(request: Request) -> Response:
    """The newest values: of one property, one thing, named things, or all of a project, page by page."""
    caller, project = readable_project(request)
    node = node_of(request)
    only = request.query_params.get("property")
    now = node.clock.now_ns()
    limit = whole(request, "limit", _THINGS_MAX, _THINGS_MAX)
    after = request.query_params.get("after", "")
    given = [name for name in request.query_params.getlist("thing") if name]
    everything = node.may_read(caller, project)
    parts, taken, last = [], 0, ""
    async for names in _in_turns(given) if given else _of_project(node, project, after, limit):
        taken, last = taken + len(names), names[-1]
        found = [
            entry
            for name in names
            for entry in _of_thing(node, caller, project, name, only, now, everything=everything, named=bool(given))
        ]
        if found:
            parts.append(_encode(found)[1:-1])
    body: dict[str, Any] = {"project": project, "now": now, "values": msgspec.Raw(b"[" + b",".join(parts) + b"]")}
    headers = dict(NEVER_THE_SAME)
    if not given and taken == limit:
        body["next"] = last
        headers |= next_page(request, after=last)
    return large_content(request, _encode(body), JSON, headers)


async def _in_turns(names: Sequence[str]) -> AsyncIterator[Sequence[str]]:
    for start in range(0, len(names), _AT_ONCE):
        yield names[start : start + _AT_ONCE]
        await asyncio.sleep(0)


async def _of_project(node: Node, project: str, after: str, limit: int) -> AsyncIterator[Sequence[str]]:
    """At most `limit` names of a project's things from the first after `after`."""
    while names := [summary.name for summary in node.things(project, after, min(limit, _AT_ONCE))]:
        yield names
        limit, after = limit - len(names), names[-1]
        if limit <= 0:
            break
        await asyncio.sleep(0)


def _of_thing(
    node: Node, caller: Caller, project: str, name: str, only: str | None, now: int, *, everything: bool, named: bool
) -> Iterator[dict[str, Any]]:
    """The values of a thing that the caller may read; one that was `named` and may not be seen is not there."""
    definitions = node.definitions(project, name)
    whole_thing = everything or node.may_read(caller, project, name)
    if definitions is None or not (whole_thing or node.may_see(caller, project, name)):
        if named:
            raise not_found(f"thing {name!r}")
        return
    for reading in node.newest(project, name).values():
        if only and reading.property != only:
            continue
        if not whole_thing and not node.may_read(caller, project, name, reading.property):
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
            entry["stale"] = is_stale(definition, entry["age_s"])
        yield entry


ROUTES = [
    Endpoint(
        "/api/v1/projects/{project}/values",
        values,
        get=Operation(
            query=(
                Parameter("thing", "Only of these.", many=True),
                Parameter("property", "Only of this name."),
                Parameter("limit", f"Of so many things of a project, at most {_THINGS_MAX}, which it is.", int),
                Parameter("after", "The last name of the page before."),
            ),
            answer={JSON: shapes.NewestValues},
        ),
    ),
]
