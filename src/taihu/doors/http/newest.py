"""The newest values of a project, in turns: devices are served between them, however many things there are."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from taihu.doors.http import shapes
from taihu.doors.http.answers import NEVER_THE_SAME, large_content, not_found
from taihu.doors.http.conditions import next_page
from taihu.doors.http.endpoint import JSON, Endpoint, Operation, Parameter
from taihu.doors.http.ports import Caller, Node
from taihu.doors.http.requests import node_of, readable_project, whole
from taihu.doors.http.shapes import NewestValue
from taihu.kernel.clock import NS_PER_S
from taihu.things.property import Property, hold_s

_THINGS_MAX = 20_000
_AT_ONCE = 200
_encode = msgspec.json.Encoder(enc_hook=str).encode


async def values(request: Request) -> Response:
    """The newest values: of one property, one thing, named things, or all of a project, page by page."""
    caller, project = readable_project(request)
    limit, query = whole(request, "limit", _THINGS_MAX, _THINGS_MAX), request.query_params
    after, given = query.get("after", ""), [name for name in query.getlist("thing") if name]
    looked = _Look(node_of(request), caller, project, query.get("property"), named=bool(given))
    parts, taken, last = [], 0, ""
    async for names in _in_turns(given) if given else _of_project(looked.node, project, after, limit):
        taken, last = taken + len(names), names[-1]
        found = [value for name in names for value in looked.at(name)]
        if found:
            parts.append(_encode(found)[1:-1])
    body: dict[str, Any] = {"project": project, "now": looked.now}
    body["values"] = msgspec.Raw(b"[" + b",".join(parts) + b"]")
    headers = dict(NEVER_THE_SAME)
    if not given and taken == limit:
        body["next"] = last
        headers |= next_page(request, after=last)
    return large_content(request, _encode(body), JSON, headers)


async def _in_turns(names: Sequence[str]) -> AsyncIterator[Sequence[str]]:
    for start in range(0, len(names), _AT_ONCE):
        if start:
            await asyncio.sleep(0)
        yield names[start : start + _AT_ONCE]


async def _of_project(node: Node, project: str, after: str, limit: int) -> AsyncIterator[Sequence[str]]:
    """At most `limit` names of a project's things from the first after `after`."""
    while names := node.thing_names(project, after, min(limit, _AT_ONCE)):
        yield names
        limit, after = limit - len(names), names[-1]
        if limit <= 0:
            break
        await asyncio.sleep(0)


_Known = tuple[str | None, str | UnsetType, float]
"""Unit and kind of a property, and how old a value of it may be to be held."""
_UNKNOWN: _Known = (None, UNSET, 0.0)


class _Look:
    """One look at the newest values of things, as far as a caller may read them.

    Things that are `named` and may not be seen are not there; without `named` they are left out.
    """

    def __init__(self, node: Node, caller: Caller, project: str, only: str | None, *, named: bool) -> None:
        self.node = node
        self.now = node.clock.now_ns()
        self._caller = caller
        self._project = project
        self._only = only
        self._named = named
        self._everything = node.may_read(caller, project)
        self._known: dict[int, tuple[Any, dict[str, _Known]]] = {}

    def at(self, thing: str) -> Sequence[NewestValue]:
        """The newest values of a thing."""
        node, caller, project = self.node, self._caller, self._project
        definitions = node.definitions(project, thing)
        whole_thing = self._everything or node.may_read(caller, project, thing)
        if definitions is None or not (whole_thing or node.may_see(caller, project, thing)):
            if self._named:
                raise not_found(f"thing {thing!r}")
            return ()
        known = self._of(definitions)
        found, row = [], None
        for name, value, its_row in node.cells(project, thing, definitions):
            if (self._only and name != self._only) or not (whole_thing or node.may_read(caller, project, thing, name)):
                continue
            if its_row is not row:  # all that one message brought has the same age
                row = its_row
                quality, observed_at, received_at = row.quality, row.observed_at, row.received_at
                age_s = (self.now - observed_at) / NS_PER_S
            said = known.get(name)
            if said is None:
                one = definitions.get(name)
                said = known[name] = _UNKNOWN if one is None else (one.unit, one.kind, hold_s(one))
            unit, kind, hold = said
            stale = UNSET if kind is UNSET else age_s > hold
            found.append(NewestValue(thing, name, value, unit, quality, observed_at, received_at, age_s, kind, stale))
        return found

    def _of(self, definitions: Mapping[str, Property]) -> dict[str, _Known]:
        """What is to be said of properties, as far as it was worked out already for things alike."""
        known = self._known.get(id(definitions))
        if known is None:
            known = self._known[id(definitions)] = definitions, {}
        return known[1]


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
