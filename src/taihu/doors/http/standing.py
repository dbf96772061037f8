"""The endpoints of standing permits: one, or many in one request with one commit and an outcome for each."""

import secrets
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from taihu.control.permit import Standing
from taihu.control.request import Who
from taihu.doors.http.answers import answer, bad_request, large_answer, not_found, problem_of
from taihu.doors.http.commands import commands_everything, shaped
from taihu.doors.http.endpoint import JSON, Endpoint, Operation
from taihu.doors.http.requests import node_of, own_project
from taihu.kernel.clock import HOUR_NS
from taihu.kernel.errors import TaihuError

_HOURS_MAX = 24 * 366


class StandingBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A standing permit: who holds it, for what, inside which corridor, and for how long."""

    things: str
    name: str
    low: float
    high: float
    per_minute: int
    hours: float
    holder: str = ""
    rest: float | None = None


class StandingsBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Permits to issue, in this order, and the ids of those that end."""

    standing: list[StandingBody] = []
    withdraw: list[str] = []


async def standings(request: Request) -> Response:
    """The project's standing permits; POST issues one."""
    caller, project = own_project(request)
    node = node_of(request)
    if request.method == "GET":
        return answer({"standing": list(node.commands.book.standing_of(project))})
    who = commands_everything(request, caller)
    standing = _standing(await shaped(request, StandingBody), who, node.clock.now_ns())
    (refused,), _ = await node.commands.permit(project, [standing], (), who.name)
    if refused is not None:
        raise refused
    return answer(standing, 201)


async def standing_batch(request: Request) -> Response:
    """Issue and end many standing permits. One that is refused does not hold up the others."""
    caller, project = own_project(request)
    who, node = commands_everything(request, caller), node_of(request)
    body: StandingsBody = await shaped(request, StandingsBody)
    asked, most = len(body.standing) + len(body.withdraw), node.limits.commands_per_batch_max
    if asked > most:
        raise bad_request(f"{asked} permits are too many at once.", f"At most {most} in one request.")
    now = node.clock.now_ns()
    wanted: list[Standing | TaihuError] = []
    for one in body.standing:
        try:
            wanted.append(_standing(one, who, now))
        except TaihuError as error:
            wanted.append(error)
    given = [one for one in wanted if isinstance(one, Standing)]
    refused, _ = await node.commands.permit(project, given, body.withdraw, who.name)
    faults = iter(refused)
    found = [(next(faults) or one) if isinstance(one, Standing) else one for one in wanted]
    return large_answer(request, {"outcomes": [_outcome(one) for one in found]})


async def standing(request: Request) -> Response:
    """End a standing permit at once; what it drove is told its `rest`."""
    caller, project = own_project(request)
    who = commands_everything(request, caller)
    _, ended = await node_of(request).commands.permit(project, (), [request.path_params["id"]], who.name)
    if not ended:
        raise not_found("standing permit")
    return Response(status_code=204)


def _standing(body: StandingBody, who: Who, now: int) -> Standing:
    """What a body asks for; raises a Problem for a corridor, a rate or a time that is none."""
    if not (body.low <= body.high and body.per_minute > 0 and 0 < body.hours <= _HOURS_MAX):
        raise bad_request("The corridor, the rate or the time is empty.", "low <= high, per_minute > 0, hours > 0.")
    if body.rest is not None and not body.low <= body.rest <= body.high:
        raise bad_request("What is told at the end is outside the corridor.", "low <= rest <= high.")
    return Standing(
        id=f"p-{secrets.token_hex(8)}", project=who.project, things=body.things, name=body.name, low=body.low,
        high=body.high, per_minute=body.per_minute, expires_at=now + int(body.hours * HOUR_NS),
        holder=body.holder or who.name, issued_by=who.name, rest=body.rest,
    )  # fmt: skip


def _outcome(one: Standing | TaihuError) -> dict[str, Any]:
    """The permit's id and end (UTC ns), or the problem because of which it is none."""
    return {"id": one.id, "expires_at": one.expires_at} if isinstance(one, Standing) else {"problem": problem_of(one)}


_PATH = "/api/v1/projects/{project}/standing"
ROUTES = [
    Endpoint(
        _PATH,
        standings,
        get=Operation(summary="The project's standing permits."),
        post=Operation(body={JSON: StandingBody}, status=201, summary="Issue a standing permit."),
    ),
    Endpoint(
        f"{_PATH}/batch",
        standing_batch,
        post=Operation(body={JSON: StandingsBody}, summary="Issue and end many standing permits at once."),
    ),
    Endpoint(f"{_PATH}/{{id}}", standing, delete=Operation(answer={}, status=204)),
]
