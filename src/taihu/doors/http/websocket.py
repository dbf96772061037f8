"""The WoT operations over one WebSocket a thing: the Web Thing Protocol (W3C community draft, `webthingprotocol`).

Requests are answered one after the other; each message is a JSON object of at most `http_socket_message_bytes_max`.
What the draft demands and this does not need (`thingID`, `messageID`) may be left out of a request.
"""

import asyncio
import logging
from typing import Any
from uuid import uuid4

import msgspec
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from taihu.doors.http.answers import bad_request, not_found, problem_of, refusal, unauthorized
from taihu.doors.http.ports import Caller
from taihu.doors.http.requests import node_of, readable_thing, stream_token, wisher
from taihu.doors.http.streams import GONE, event_of, observable, permission
from taihu.doors.http.wot import read
from taihu.doors.http.wot_ports import Notice
from taihu.doors.http.writing import write
from taihu.kernel.clock import format_iso
from taihu.kernel.errors import TaihuError
from taihu.things.forms import WEB_THING, thing_id

log = logging.getLogger("taihu.http")

_END_CODE = 1008  # policy violation: the token or the grant has ended
_encode = msgspec.json.Encoder(enc_hook=str).encode
Json = dict[str, Any]


async def socket(websocket: WebSocket) -> None:
    """Read, write, observe and subscribe to one thing over one connection."""
    try:
        session = _opened(websocket)
    except TaihuError as error:
        await websocket.send_denial_response(refusal(error, websocket.url.path))
        return
    observer = session.observer
    try:
        await websocket.accept(WEB_THING if websocket.scope["subprotocols"] else None)
        tasks = [asyncio.create_task(session.tell()), asyncio.create_task(session.listen())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        observer.end(GONE)
    for result in results:
        if isinstance(result, Exception):
            raise result


class _Session:
    """One open socket; `named` and `every` have what is observed, with the correlation its notices are told with."""

    def __init__(self, websocket: WebSocket, project: str, thing: str, token: str, caller: Caller) -> None:
        self.websocket = websocket
        self.node = node_of(websocket)
        self.project = project
        self.thing = thing
        self.token = token
        self.caller = caller
        self.permitted = permission(self.node, token, caller, project, thing)
        self.observer = self.node.observe(project, thing, self.permitted)
        self.named: dict[str, tuple[str, Any]] = {}
        self.every: dict[bool, tuple[str, Any]] = {}
        self._thing_id = thing_id(project, thing)

    async def tell(self) -> None:
        """Send notices until the observation ends."""
        observer = self.observer
        while not observer.reason:
            for notice in await observer.take():
                watched = self.named.get(notice.name) or self.every.get(notice.event)
                if watched is not None and not await self._send(self._notification(notice, *watched)):
                    return
        await self.websocket.close(_END_CODE, observer.reason)

    async def listen(self) -> None:
        """Answer requests until the other end leaves."""
        while True:
            message = await self.websocket.receive()
            if message["type"] != "websocket.receive":
                return
            if not await self._send(await self._answer(message.get("text") or message.get("bytes") or b"")):
                return

    async def _send(self, message: Json) -> bool:
        """False when the other end has gone, or takes nothing."""
        timeout_s = self.node.limits.http_request_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await self.websocket.send_text(_encode(message).decode())
        except TimeoutError:
            log.warning("an observer took nothing for %g s and is disconnected", timeout_s)
            return False
        except WebSocketDisconnect:
            return False
        return True

    async def _answer(self, text: str | bytes) -> Json:
        message = self._head("response")
        try:
            request = self._request(text)
            message |= {key: request[key] for key in ("operation", "name", "correlationID") if key in request}
            message |= await _serve(self, request)
        except TaihuError as error:
            message["error"] = problem_of(error)
        return message | {"timestamp": format_iso(self.node.clock.now_ns())}

    def _request(self, text: str | bytes) -> Json:
        if reason := self.permitted():
            self.observer.end(reason)
            raise unauthorized()
        try:
            request = msgspec.json.decode(text, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise bad_request("The message is not a JSON object.") from None
        if request.get("messageType", "request") != "request":
            raise bad_request("Only requests are taken here.", 'Send "messageType": "request".')
        if request.get("thingID", self._thing_id) != self._thing_id:
            raise not_found("thing of that id")
        return request

    def _notification(self, notice: Notice, operation: str, correlation: Any) -> Json:
        member = "data" if operation.startswith("subscribe") else "value"
        message = self._head("notification") | {"operation": operation, "name": notice.name}
        message |= {member: msgspec.Raw(notice.data), "timestamp": format_iso(notice.observed_at)}
        if correlation is not None:
            message["correlationID"] = correlation
        if self.observer.missed:
            message["missed"], self.observer.missed = self.observer.missed, 0
        return message

    def _head(self, kind: str) -> Json:
        return {"thingID": self._thing_id, "messageID": str(uuid4()), "messageType": kind}


def _opened(websocket: WebSocket) -> _Session:
    token, thing = stream_token(websocket), websocket.path_params["thing"]
    caller, project = readable_thing(websocket, thing, token)
    if node_of(websocket).definitions(project, thing) is None:
        raise not_found(f"thing {thing!r}")
    offered = websocket.scope["subprotocols"]
    if offered and WEB_THING not in offered:
        raise bad_request(f"The subprotocol here is {WEB_THING}.", f"Offer {WEB_THING}.")
    return _Session(websocket, project, thing, token, caller)


async def _serve(session: _Session, request: Json) -> Json:
    """What the answer to a request says beside what all answers say."""
    match request.get("operation"):
        case "readproperty":
            name = _name(request)
            found = _read(session, [name])
            if name not in found:
                raise not_found(f"value of {session.thing}/{name}")
            return {"value": found[name]}
        case "readallproperties":
            return {"values": _read(session, [])}
        case "readmultipleproperties":
            return {"values": _read(session, _names(request))}
        case "writeproperty":
            return await _write(session, {_name(request): _member(request, "value")})
        case "writemultipleproperties":
            values = _member(request, "values")
            if not isinstance(values, dict):
                raise bad_request('"values" is not an object.', "Send a value for each property by its name.")
            return await _write(session, values)
        case "observeproperty" | "unobserveproperty" | "subscribeevent" | "unsubscribeevent" as operation:
            return _one(session, operation, _name(request), request.get("correlationID"))
        case "observeallproperties" | "unobserveallproperties" | "subscribeallevents" | "unsubscribeallevents" as all_:
            return _all(session, all_, request.get("correlationID"))
    raise bad_request("There is no such operation here.", "The forms of the Thing Description name those there are.")


def _one(session: _Session, operation: str, name: str, correlation: Any) -> Json:
    """Begin or end to observe one property, or to subscribe to one event."""
    check = event_of if operation.endswith("event") else observable
    check(session.node, session.project, session.thing, name)
    if operation.startswith("un"):
        session.observer.names.discard(name)
        session.named.pop(name, None)
    else:
        session.named[name] = (operation, correlation)
        session.observer.begin(name)
    return {}


def _all(session: _Session, operation: str, correlation: Any) -> Json:
    """Begin or end to observe all properties, or to subscribe to all events."""
    events = operation.endswith("events")
    if not operation.startswith("un"):
        session.every[events] = (operation, correlation)
        session.observer.begin_all(events=events)
        return {}
    session.every.pop(events, None)
    if events:
        session.observer.events = False
    else:
        session.observer.properties = False
    return {}


def _read(session: _Session, names: list[str]) -> Json:
    return read(session.node, session.caller, session.project, session.thing, names)


async def _write(session: _Session, values: Json) -> Json:
    """The answer has no value: it waits for no device, and nobody knows yet what that makes of the command or wish."""
    caller, _ = wisher(session.websocket, session.thing, values, session.token)
    await write(session.node, caller, session.project, session.thing, values, wait_s=0)
    return {}


def _member(request: Json, key: str) -> Any:
    if key not in request:
        raise bad_request(f"{key!r} is missing.", "Add it to the message.")
    return request[key]


def _name(request: Json) -> str:
    name = _member(request, "name")
    if not isinstance(name, str):
        raise bad_request('"name" is not a string.', "Send the name of a property or event.")
    return name


def _names(request: Json) -> list[str]:
    names = _member(request, "names")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise bad_request('"names" is not an array of strings.', "Send the names of properties.")
    return names


ROUTES = [WebSocketRoute("/api/v1/projects/{project}/things/{thing}/socket", socket)]
