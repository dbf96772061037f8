"""The W3C Thing Description Directory of each project, and how it is found.

Source: W3C Recommendation "Web of Things (WoT) Discovery", 5 December 2023, sections 6.2 and 7.3.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal
from urllib.parse import quote, urlencode

import msgspec
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response

from taihu.doors.http.answers import bad_request, large_content, not_found
from taihu.doors.http.conditions import check_unchanged, tag_of
from taihu.doors.http.endpoint import IF_MATCH, JSON, Endpoint, Operation, Parameter
from taihu.doors.http.ports import Caller, Node
from taihu.doors.http.requests import (
    body_of,
    caller_of,
    node_of,
    readable_project,
    required,
    stream_token,
    token_of,
    whole,
)
from taihu.doors.http.streams import LAST_EVENT, TICKET, EventStream, after_of, named, no_stream
from taihu.kernel.errors import RefusedError
from taihu.things.directory_description import build_directory
from taihu.things.forms import quoted
from taihu.things.registration import DISCOVERY

_TD, _LD, _PATCH = "application/td+json", "application/ld+json", "application/merge-patch+json"
_DOCUMENTS = (_TD, JSON, _LD, "")
_KINDS = ("thing_created", "thing_updated", "thing_deleted")
_encode = msgspec.json.Encoder().encode


class NotReadHere(RefusedError):
    """The directory reads no body of this content type: the message names those that it reads."""

    code = "content-type"


async def introduction(request: Request) -> Response:
    """The directory's description: of the token's project, without a token of whichever a token is of."""
    node, token = node_of(request), token_of(request)
    caller = caller_of(request) if token else None
    project = caller.project if caller else ""
    if caller is not None and project:
        return _description(request, node, caller, project)
    document = build_directory("", "Things of your project", f"{_origin(request)}/api/v1/directory", writable=False)
    return Response(_encode(document), media_type=_TD)


async def own_directory(request: Request) -> Response:
    """The same address in the directory of the token's own project."""
    project = caller_of(request, stream_token(request)).project
    if not project:
        raise bad_request("This token is of no project.", "Name one: /api/v1/projects/{project}/directory/…")
    path = f"{_path(project)}/{quote(request.path_params['rest'])}"
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(path + query, 307)


async def directory_description(request: Request) -> Response:
    """The directory's own Thing Description."""
    caller, project = readable_project(request)
    return _description(request, node_of(request), caller, project)


async def directory_things(request: Request) -> Response:
    """A page of descriptions by identifier; POST registers a thing by one without an identifier."""
    caller, project = readable_project(request)
    node = node_of(request)
    if request.method == "POST":
        identifier = await node.catalogue.create(caller, project, await _document(request, *_DOCUMENTS))
        return Response(status_code=201, headers={"Location": f"{_path(project)}/things/{quoted(identifier)}"})
    return await _page(request, node, caller, project)


async def directory_thing(request: Request) -> Response:
    """One description; PUT registers or replaces it, PATCH changes a part, DELETE takes the thing out."""
    caller, project = readable_project(request)
    catalogue, identifier = node_of(request).catalogue, request.path_params["id"]
    if request.method == "PUT":
        document, check = await _document(request, *_DOCUMENTS), partial(check_unchanged, request)
        new = await catalogue.put(caller, project, identifier, document, check)
        return Response(status_code=201 if new else 204)
    if request.method == "PATCH":
        patch, check = await _document(request, _PATCH), partial(check_unchanged, request)
        await catalogue.patch(caller, project, identifier, patch, check)
        return Response(status_code=204)
    if request.method == "DELETE":
        await catalogue.remove(caller, project, identifier)
        return Response(status_code=204)
    found = await catalogue.retrieve(caller, project, identifier, _base(request, project))
    if found is None:
        raise not_found("such thing")
    document, lasting = found
    return Response(document, headers={"ETag": tag_of(lasting)} if lasting else None, media_type=_TD)


async def directory_search(request: Request) -> Response:
    """What a JSONPath query (RFC 9535) finds in the array of all descriptions."""
    caller, project = readable_project(request)
    query = required(request, "query")
    found = await node_of(request).catalogue.search(caller, project, query, _base(request, project))
    return large_content(request, found, JSON)


async def directory_events(request: Request) -> Response:
    """What happens to the things from now on: created, updated, deleted."""
    return _events(request, _KINDS)


async def directory_events_of_kind(request: Request) -> Response:
    """The things that are created, updated or deleted from now on."""
    kind = request.path_params["kind"]
    if kind not in _KINDS:
        readable_project(request, stream_token(request))
        raise not_found(f"event {kind!r}")
    return _events(request, (kind,))


def _events(request: Request, kinds: tuple[str, ...]) -> Response:
    token = stream_token(request)
    caller, project = readable_project(request, token)
    diff = request.query_params.get("diff", "false")
    if diff not in ("true", "false"):
        raise bad_request("diff is neither true nor false.")
    if request.method == "HEAD":
        return no_stream()
    node = node_of(request)
    permitted = _permission(node, token, caller, project)
    watcher = node.catalogue.watch(caller, project, kinds, diff == "true", after_of(request), permitted)
    return EventStream(watcher, named)


def _description(request: Request, node: Node, caller: Caller, project: str) -> Response:
    writable = node.may_administer(caller, project)
    address = f"{_origin(request)}{_path(project)}"
    document = build_directory(project, f"Things of {project}", address, writable=writable)
    return Response(_encode(document), media_type=_TD)


async def _page(request: Request, node: Node, caller: Caller, project: str) -> Response:
    parameters = request.query_params
    for name in ("sort_by", "sort_order"):
        if name in parameters:
            raise bad_request(f"{name} is not supported here.", "Descriptions come by their identifiers.")
    collection = parameters.get("format", "array")
    if collection not in ("array", "collection"):
        raise bad_request("format is neither array nor collection.")
    limit = whole(request, "limit", node.limits.directory_page_max, 10**12)
    offset = whole(request, "offset", 0, 10**12) if parameters.get("offset") != "0" else 0
    page_max = min(limit, node.limits.directory_page_max)
    page, total = await node.catalogue.page(caller, project, offset, page_max, _base(request, project))
    address = f"{_origin(request)}{_path(project)}/things"
    shape = {"format": "collection"} if collection == "collection" else {}
    links = [f'<{address}>; rel="canonical"; etag="{node.catalogue.etag(project)}"']
    following = f"{address}?{urlencode({'offset': offset + len(page), 'limit': limit} | shape)}"
    more = bool(page) and offset + len(page) < total
    if more:
        links.insert(0, f'<{following}>; rel="next"')
    body: Any = page
    if shape:
        here = f"{address}?{urlencode({'offset': offset, 'limit': limit} | shape)}"
        body = {"@context": DISCOVERY, "@type": "ThingCollection", "total": total, "members": page, "@id": here}
        body |= {"next": following} if more else {}
    return large_content(request, _encode(body), _LD, {"Link": ", ".join(links)})


async def _document(request: Request, *types: str) -> bytes:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in types:
        wanted = ", ".join(filter(None, types))
        raise NotReadHere(f"The directory reads no {given[:80]!r} here.", f"Send {wanted}.")
    async with body_of(request) as body:
        return body


def _permission(node: Node, token: str, caller: Caller, project: str) -> Callable[[], str]:
    def ended() -> str:
        known = node.caller(token)
        if known is None or node.home_of(known, project) != caller:
            return "the token is not valid any more"
        return "" if node.may_see(caller, project) else "this is not granted any more"

    return ended


def _origin(request: HTTPConnection) -> str:
    return f"{request.url.scheme}://{request.url.netloc}"


def _path(project: str) -> str:
    return f"/api/v1/projects/{quoted(project)}/directory"


def _base(request: Request, project: str) -> str:
    return f"{_origin(request)}/api/v1/projects/{quoted(project)}/things"


_DIRECTORY = "/api/v1/projects/{project}/directory"
_BODY = {_TD: dict[str, Any]}
_DIFF = Parameter("diff", "`true` for whole descriptions and what of them changed.", Literal["true", "false"])
_STREAM = Operation(query=(_DIFF, TICKET), headers=(LAST_EVENT,), answer={"text/event-stream": bytes})
ROUTES: list[Endpoint] = [
    Endpoint("/.well-known/wot", introduction, get=Operation(answer=_BODY, public=True)),
    Endpoint("/api/v1/directory/{rest:path}", own_directory, get=Operation(answer={}, status=307)),
    Endpoint(_DIRECTORY, directory_description, get=Operation(answer=_BODY)),
    Endpoint(
        f"{_DIRECTORY}/things",
        directory_things,
        get=Operation(
            query=(
                Parameter("offset", "So many before the page; 0.", int),
                Parameter("limit", "At most so many, and no more than `directory_page_max`.", int),
                Parameter("format", "`collection` for an object with the total.", Literal["array", "collection"]),
            ),
            answer={_LD: Any},
            summary="A page of descriptions, by identifier.",
        ),
        post=Operation(body=_BODY, answer={}, status=201, summary="Register a thing without an identifier."),
    ),
    Endpoint(
        f"{_DIRECTORY}/things/{{id:path}}",
        directory_thing,
        get=Operation(answer=_BODY, summary="One description."),
        put=Operation(
            body=_BODY,
            headers=(IF_MATCH,),
            answer={},
            status=204,
            others={201: {}},
            refuses=(412,),
            summary="Register or replace a description.",
        ),
        patch=Operation(
            body={_PATCH: dict[str, Any]},
            headers=(IF_MATCH,),
            answer={},
            status=204,
            refuses=(412,),
            summary="Change a part of a description.",
        ),
        delete=Operation(answer={}, status=204, summary="Take a thing out of the directory."),
    ),
    Endpoint(
        f"{_DIRECTORY}/search/jsonpath",
        directory_search,
        get=Operation(query=(Parameter("query", "The query.", required=True),), answer={JSON: list[Any]}),
    ),
    Endpoint(f"{_DIRECTORY}/events", directory_events, get=_STREAM),
    Endpoint(f"{_DIRECTORY}/events/{{kind}}", directory_events_of_kind, get=_STREAM),
]
