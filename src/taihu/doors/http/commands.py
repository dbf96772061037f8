"""The endpoints of commands: give, follow, approve and take back; W3C actions."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from taihu.control.command import ENDED, Affordance, Command, State
from taihu.control.request import Wanted, Who
from taihu.control.rule import Role
from taihu.doors.http.answers import Problem, answer, bad_request, not_found
from taihu.doors.http.endpoint import JSON, Endpoint, Operation, Parameter
from taihu.doors.http.ports import Caller
from taihu.doors.http.requests import (
    WAIT_S_MAX,
    body_of,
    moment,
    node_of,
    object_of,
    own_project,
    token_of,
    wait_s_of,
    whole,
)
from taihu.doors.http.streams import permission, while_permitted
from taihu.kernel.clock import format_iso
from taihu.things.forms import quoted

_PAGE_MAX = 1_000
_DIGITS, _FOREVER = 19, (1 << 63) - 1
_encode = msgspec.json.Encoder(enc_hook=str).encode


class OrderBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A command among others: exactly one of `property` and `action` names what it is for."""

    thing: str
    property: str = ""
    action: str = ""
    input: Any = None
    why: str = ""
    deadline_s: float | None = None
    key: str = ""
    priority: int = 5
    standing: str = ""


class CommandBody(OrderBody, forbid_unknown_fields=True, omit_defaults=True):
    """A command that is waited for as long as `wait_s`."""

    wait_s: float = 0.0


async def commands(request: Request) -> Response:
    """A project's commands, newest first; POST gives one."""
    caller, project = own_project(request)
    if request.method == "POST":
        return await _give(request, caller)
    thing, state = request.query_params.get("thing", ""), request.query_params.get("state", "")
    if state and state not in {str(one) for one in State}:
        raise bad_request(f"There is no state {state[:40]!r}.", f"There are: {', '.join(State)}.")
    node = node_of(request)
    if request.query_params.keys() & {"since", "before"}:
        return await _logged(request, caller, project, {"thing": thing, "state": state})
    found = [
        one
        for one in node.commands.book.of_project(project, thing)
        if state in ("", one.state) and node.may_read(caller, project, one.thing)
    ]
    return answer({"commands": [_shown(one) for one in found[: whole(request, "limit", 100, _PAGE_MAX)]]})


async def _logged(request: Request, caller: Caller, project: str, wanted: dict[str, str]) -> Response:
    """A page of all commands that are kept; `next` is the `before` of the next page."""
    node, limit = node_of(request), whole(request, "limit", 100, _PAGE_MAX)
    at, _, number = request.query_params.get("before", "").partition("/")
    if at and not (at.isascii() and at.isdigit() and len(at) <= _DIGITS and int(at) <= _FOREVER):
        raise bad_request(f"before={at[:40]!r} is no place in the log.", "Write the `next` of an answer.")
    body = {"project": project, "since": moment(request, "since", 0), "limit": limit, **wanted}
    rows = await node.worker.ask("commands", body | {"before": (int(at) if at else _FOREVER, number)})
    found = [msgspec.convert(row, Command) for row in rows]
    shown: dict[str, Any] = {"commands": [_shown(one) for one in found if node.may_read(caller, project, one.thing)]}
    return answer(shown | ({"next": f"{found[-1].at}/{found[-1].id}"} if len(found) == limit else {}))


async def command(request: Request) -> Response:
    """One command, with every step of its life; DELETE takes it back while it has not been sent."""
    caller, project = own_project(request)
    node, number = node_of(request), request.path_params["id"]
    found = node.commands.book.find(project, number)
    if found is None and request.method == "GET":
        logged = await node.worker.ask("commands", {"project": project, "id": number, "limit": 1})
        found = msgspec.convert(logged[0], Command) if logged else None
    if found is None or not node.may_read(caller, project, found.thing):
        raise not_found(f"command {number[:40]!r}")
    if request.method == "DELETE":
        found = await node.commands.cancel(number, giver(request, caller, found.thing))
    return answer(_shown(found))


async def approve(request: Request) -> Response:
    """A second person agrees to a command that waits for one."""
    caller, project = own_project(request)
    node, number = node_of(request), request.path_params["id"]
    found = node.commands.book.find(project, number)
    if found is None or not node.may_read(caller, project, found.thing):
        raise not_found(f"command {number[:40]!r}")
    return answer(_shown(await node.commands.approve(number, giver(request, caller, found.thing))))


async def steps(request: Request) -> Response:
    """Each step of the project's commands as it is taken, as server-sent events."""
    caller, project = own_project(request)
    node = node_of(request)
    if not node.may_read(caller, project):
        raise Problem(403, "refused", "You may not follow all of the project.", "Use an operator's token.")
    permitted = permission(node, token_of(request), caller, project)
    following = while_permitted(node.commands.follow(project), permitted)

    async def events() -> AsyncIterator[bytes]:
        yield b": commands\n\n"
        async for one in following:
            yield b"data: " + _encode(_shown(one)) + b"\n\n"

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def action(request: Request) -> Response:
    """Invoke an action: 200 with its output when it is done within `wait_s`, else 201 with where its status is."""
    caller, project = own_project(request)
    node, thing, name = node_of(request), request.path_params["thing"], request.path_params["action"]
    who = giver(request, caller, thing)
    async with body_of(request) as body:
        value = _json(body)
    wanted = Wanted(
        thing=thing,
        affordance=Affordance.ACTION,
        name=name,
        input=value,
        key=request.headers.get("idempotency-key", ""),
    )
    if node.definitions(project, thing) is None:
        raise not_found(f"thing {thing!r}")
    given = await node.commands.submit(wanted, who, wait_s_of(request))
    if given.state is State.REFUSED:
        raise Problem(403, "command", f"The command was refused: {given.steps[-1].detail}.", "See docs/commands.md.")
    if given.state is State.DONE:
        return answer(given.steps[-1].result)
    location = f"/api/v1/projects/{quoted(project)}/things/{quoted(thing)}/actions/{quoted(name)}/{given.id}"
    headers = {"Location": location}
    return Response(_encode(_status(given, location)), 201, headers, media_type="application/json")


async def action_status(request: Request) -> Response:
    """The status of an action that was invoked (queryaction); DELETE cancels it while it has not been sent."""
    caller, project = own_project(request)
    node, number = node_of(request), request.path_params["id"]
    found = node.commands.book.find(project, number)
    here = (request.path_params["thing"], request.path_params["action"])
    if found is None or (found.thing, found.name) != here:
        raise not_found("such action")
    if request.method == "DELETE":
        await node.commands.cancel(number, giver(request, caller))
        return Response(status_code=204)
    return answer(_status(found, request.url.path))


async def _give(request: Request, caller: Caller) -> Response:
    body = await shaped(request, CommandBody)
    who = giver(request, caller, body.thing)
    wanted = wanted_of(body, request.headers.get("idempotency-key", ""))
    given = await node_of(request).commands.submit(wanted, who, min(max(body.wait_s, 0.0), WAIT_S_MAX))
    return answer(_shown(given), 201)


def wanted_of(body: OrderBody, key: str = "") -> Wanted:
    """What a body asks for; raises a Problem when it is not exactly one thing."""
    if bool(body.property) == bool(body.action):
        raise bad_request("A command is for a property or for an action.", "Name exactly one of them.")
    return Wanted(
        thing=body.thing,
        affordance=Affordance.PROPERTY if body.property else Affordance.ACTION,
        name=body.property or body.action,
        input=body.input,
        why=body.why,
        deadline_s=body.deadline_s,
        key=body.key or key,
        priority=body.priority,
        standing=body.standing,
    )


def giver(request: Request, caller: Caller, thing: str = "") -> Who:
    """As whom the caller commands a thing, or anything of the project; 403 for who may not."""
    node, project = node_of(request), request.path_params["project"]
    who = node.who(caller)
    if who.role < Role.OPERATOR or who.project != project or (thing and not node.may_command(caller, project, thing)):
        raise may_not()
    return who


def may_not() -> Problem:
    """The caller may not command this."""
    return Problem(403, "refused", "You may not give commands here.", "Use an operator's token of this project.")


def commands_everything(request: Request, caller: Caller) -> Who:
    """As whom the caller commands whatever there is in the project; 403 for who commands some things alone."""
    who = giver(request, caller)
    if not node_of(request).may_command(caller, who.project, ""):
        raise Problem(403, "refused", "You may not give commands to every thing here.", "Use another token.")
    return who


async def shaped(request: Request, shape: type[Any]) -> Any:
    """The body of a request, of a shape; 400 for another."""
    content = await object_of(request)
    try:
        return msgspec.convert(content, shape)
    except msgspec.ValidationError as error:
        raise bad_request(f"{error}.", "See docs/commands.md.") from None


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body) if body else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise bad_request("The body is not JSON.", "Send the action's input alone, or nothing.") from None


def _shown(one: Command) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(one)
    return shown | {"state": one.state, "steps": [_step(each) for each in one.steps]}


def _step(step: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {"state": step.state, "at": step.at}
    return (
        shown
        | ({"detail": step.detail} if step.detail else {})
        | ({} if step.result is None else {"result": step.result})
    )


def _status(one: Command, location: str) -> dict[str, Any]:
    """An ActionStatus of the WoT Profile; `taihu:state` says what the profile has no word for."""
    last = one.steps[-1]
    words = {State.DONE: "completed", State.QUEUED: "pending", State.PERMITTED: "pending"}
    status = words.get(one.state, "failed" if one.state in ENDED else "running")
    body: dict[str, Any] = {"status": status, "href": location, "timeRequested": format_iso(one.at)}
    if one.ended:
        body["timeEnded"] = format_iso(last.at)
    if one.state is State.DONE:
        body["output"] = last.result
    elif one.ended:
        body["error"] = {"title": last.detail or one.state.value}
    return body | {"taihu:state": one.state, "taihu:id": one.id}


_PROJECT = "/api/v1/projects/{project}"
_ACTION = f"{_PROJECT}/things/{{thing}}/actions/{{action}}"
ROUTES = [
    Endpoint(
        f"{_PROJECT}/commands",
        commands,
        get=Operation(
            query=(
                Parameter("thing", "Only of this thing."),
                Parameter("state", "Only in this state."),
                Parameter("since", "From the log: those given since a time, or back from now such as -7d."),
                Parameter("before", "From the log: the `next` of the page before."),
                Parameter("limit", f"At most so many, to {_PAGE_MAX}; 100.", int),
            ),
            summary="A project's commands, newest first.",
        ),
        post=Operation(body={JSON: CommandBody}, status=201, summary="Give a command."),
    ),
    Endpoint(f"{_PROJECT}/commands/steps", steps, get=Operation(answer={"text/event-stream": bytes})),
    Endpoint(
        f"{_PROJECT}/commands/{{id}}",
        command,
        get=Operation(summary="One command, with every step of its life."),
        delete=Operation(summary="Take back a command that has not been sent."),
    ),
    Endpoint(f"{_PROJECT}/commands/{{id}}/approve", approve, post=Operation()),
    Endpoint(
        _ACTION,
        action,
        post=Operation(
            query=(Parameter("wait_s", f"Wait so long for its end, to {WAIT_S_MAX}; 5.", float),),
            headers=(Parameter("Idempotency-Key", "The same key is the same command."),),
            body={JSON: Any},
            answer={JSON: Any},
            others={201: {JSON: dict[str, Any]}},
        ),
    ),
    Endpoint(
        f"{_ACTION}/{{id}}",
        action_status,
        get=Operation(summary="The status of an action that was invoked."),
        delete=Operation(answer={}, status=204, summary="Cancel an action that has not been sent."),
    ),
]
