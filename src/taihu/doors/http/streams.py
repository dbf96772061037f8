"""Observation by server-sent events: the WoT operations observeproperty and subscribeevent, of one or of all."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from taihu.doors.http.answers import Problem, not_found
from taihu.doors.http.endpoint import Endpoint, Operation, Parameter
from taihu.doors.http.ports import Caller, Node
from taihu.doors.http.requests import node_of, readable_thing, stream_token
from taihu.doors.http.wot_ports import Notice, Observer, Stream
from taihu.things.property import Kind, Property

T = TypeVar("T")
Frame = Callable[[Notice], bytes]
GONE = "gone"

_MEDIA_TYPE = "text/event-stream"
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_HEARTBEAT = b":\n\n"
_LOOK_S = 1.0


def unnamed(notice: Notice) -> bytes:
    """A message as EventSource's `onmessage` hears it."""
    return b"id: %d\ndata: %b\n\n" % (notice.seq, notice.data)


def named(notice: Notice) -> bytes:
    """A message that says what it is of."""
    return b"event: %b\nid: %d\ndata: %b\n\n" % (notice.name.encode(), notice.seq, notice.data)


class EventStream(Response):
    """What an observer is told, as it comes. No name begins with `$`, so `$missed` and `$end` are nobody's."""

    media_type = _MEDIA_TYPE

    def __init__(self, observer: Stream, frame: Frame) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._observer = observer
        self._frame = frame

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        observer = self._observer
        leaving = asyncio.ensure_future(_until_gone(receive, observer))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            body = _HEARTBEAT
            while body:
                await send({"type": "http.response.body", "body": body, "more_body": True})
                body = await self._next()
            if observer.reason != GONE:
                body = b"event: $end\ndata: %b\n\n" % msgspec.json.encode({"reason": observer.reason})
                await send({"type": "http.response.body", "body": body})
        finally:
            leaving.cancel()
            observer.end(GONE)
            with suppress(asyncio.CancelledError):
                await leaving

    async def _next(self) -> bytes:
        """What to send next; empty at the end."""
        observer = self._observer
        frames = list(map(self._frame, await observer.take()))
        if observer.missed != 0 and not observer.reason:
            frames.insert(0, b"event: $missed\ndata: %b\n\n" % msgspec.json.encode({"count": observer.missed}))
            observer.missed = 0
        return b"".join(frames) or (b"" if observer.reason else _HEARTBEAT)


def permission(
    node: Node, token: str, caller: Caller, project: str, thing: str = "", name: str = ""
) -> Callable[[], str]:
    """Says why a stream of a property, a thing or a project may go on no longer, or nothing (§11)."""

    def ended() -> str:
        known = node.caller(token)
        if known is None or node.home_of(known, project) != caller:
            return "the token is not valid any more"
        return "" if node.may_read(caller, project, thing, name) else "this is not granted any more"

    return ended


async def while_permitted(events: AsyncGenerator[T], ended: Callable[[], str]) -> AsyncIterator[T]:
    """The events until they may be followed no longer: looks before each, and each second while there are none."""
    coming: asyncio.Future[T] | None = None
    try:
        while not ended():
            coming = coming or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait({coming}, timeout=_LOOK_S)
            if done and not ended():
                event, coming = coming.result(), None
                yield event
    except StopAsyncIteration:
        return
    finally:
        if coming is not None:
            coming.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration):
                await coming
        await events.aclose()


def observable(node: Node, project: str, thing: str, name: str) -> Property:
    """A property that may be observed; a problem when there is none."""
    definition = (node.definitions(project, thing) or {}).get(name)
    if definition is None:
        raise not_found(f"property {thing}/{name}")
    if not definition.observable:
        raise Problem(403, "refused", f"{thing}/{name} may not be observed.", "Read it.")
    return definition


def event_of(node: Node, project: str, thing: str, name: str) -> Property:
    """A property of kind event, which somebody may subscribe to."""
    definition = (node.definitions(project, thing) or {}).get(name)
    if definition is None or definition.kind is not Kind.EVENT:
        raise not_found(f"event {thing}/{name}")
    return definition


async def observe_property(request: Request) -> Response:
    """The values of one property from now on, the newest first."""
    name = request.path_params["property"]
    node, project, thing, token = _opening(request, name)
    observable(node, project, thing, name)
    return _stream(request, token, unnamed, lambda observer, after: observer.begin(name, after), name)


async def observe_properties(request: Request) -> Response:
    """The values of all properties of a thing, each named."""
    token = _opening(request)[-1]
    return _stream(request, token, named, lambda observer, after: observer.begin_all(events=False, after=after))


async def subscribe_event(request: Request) -> Response:
    """What one event of a thing brings."""
    name = request.path_params["event"]
    node, project, thing, token = _opening(request, name)
    event_of(node, project, thing, name)
    return _stream(request, token, unnamed, lambda observer, after: observer.begin(name, after), name)


async def subscribe_events(request: Request) -> Response:
    """What all events of a thing bring, each named."""
    token = _opening(request)[-1]
    return _stream(request, token, named, lambda observer, after: observer.begin_all(events=True, after=after))


def _opening(request: Request, name: str = "") -> tuple[Node, str, str, str]:
    """The node, project and thing of the path and the token it is asked with, if the caller may read what is named."""
    token, thing, node = stream_token(request), request.path_params["thing"], node_of(request)
    _, project = readable_thing(request, thing, token, name)
    if node.definitions(project, thing) is None:
        raise not_found(f"thing {thing!r}")
    return node, project, thing, token


def _stream(
    request: Request, token: str, frame: Frame, begin: Callable[[Observer, int | None], None], name: str = ""
) -> Response:
    node, thing = node_of(request), request.path_params["thing"]
    caller, project = readable_thing(request, thing, token, name)
    if request.method == "HEAD":
        return no_stream()
    observer = node.observe(project, thing, permission(node, token, caller, project, thing, name))
    begin(observer, after_of(request))
    return EventStream(observer, frame)


def after_of(request: Request) -> int | None:
    """The number of the last event that the client has heard; None when it says none of ours."""
    last = request.headers.get("last-event-id", "")
    return int(last) if last.isascii() and last.isdigit() and len(last) < 20 else None


def no_stream() -> Response:
    """What a stream begins with, and no more: the answer to HEAD."""
    return Response(headers=_HEADERS, media_type=_MEDIA_TYPE)


async def _until_gone(receive: Receive, observer: Stream) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    observer.end(GONE)


TICKET = Parameter("ticket", "A ticket in place of the token.")
LAST_EVENT = Parameter("Last-Event-ID", "The id of the last event that was heard.")
STREAM = Operation(query=(TICKET,), headers=(LAST_EVENT,), answer={_MEDIA_TYPE: bytes})
_THING = "/api/v1/projects/{project}/things/{thing}"
ROUTES = [
    Endpoint(f"{_THING}/properties/{{property}}/observe", observe_property, get=STREAM),
    Endpoint(f"{_THING}/observe", observe_properties, get=STREAM),
    Endpoint(f"{_THING}/events/{{event}}", subscribe_event, get=STREAM),
    Endpoint(f"{_THING}/events", subscribe_events, get=STREAM),
]
