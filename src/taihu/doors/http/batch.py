"""Many commands in one request: one commit for all of them, and an answer with the outcome of each."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from taihu.control.command import Command
from taihu.control.request import Wanted
from taihu.doors.http.answers import bad_request, large_answer, problem_of
from taihu.doors.http.commands import OrderBody, giver, may_not, shaped, wanted_of
from taihu.doors.http.endpoint import JSON, Endpoint, Operation
from taihu.doors.http.requests import WAIT_S_MAX, node_of, own_project
from taihu.kernel.errors import TaihuError


class BatchBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Commands, each as if it were given alone, in this order; `standing` and `why` are for those that say none."""

    commands: list[OrderBody]
    standing: str = ""
    why: str = ""
    wait_s: float = 0.0


async def batch(request: Request) -> Response:
    """Give many commands. One that is refused, or cannot be taken, does not hold up the others."""
    caller, project = own_project(request)
    who, node = giver(request, caller), node_of(request)
    body: BatchBody = await shaped(request, BatchBody)
    most = node.limits.commands_per_batch_max
    if len(body.commands) > most:
        raise bad_request(f"{len(body.commands)} commands are too many at once.", f"At most {most} in one request.")
    wanted: list[Wanted | TaihuError] = []
    for one in body.commands:
        try:
            if not node.may_command(caller, project, one.thing):
                raise may_not()
            found = wanted_of(one)
            standing, why = found.standing or body.standing, found.why or body.why
            wanted.append(msgspec.structs.replace(found, standing=standing, why=why))
        except TaihuError as error:
            wanted.append(error)
    given = [one for one in wanted if isinstance(one, Wanted)]
    taken = iter(await node.commands.submit_all(given, who, min(max(body.wait_s, 0.0), WAIT_S_MAX)))
    outcomes = [_outcome(next(taken) if isinstance(one, Wanted) else one) for one in wanted]
    return large_answer(request, {"outcomes": outcomes})


def _outcome(one: Command | TaihuError) -> dict[str, Any]:
    """The command as far as it has come, or the problem because of which it is none."""
    if not isinstance(one, Command):
        return {"problem": problem_of(one)}
    last = one.steps[-1]
    found: dict[str, Any] = {"id": one.id, "state": one.state}
    return (
        found
        | ({"detail": last.detail} if last.detail else {})
        | ({} if last.result is None else {"result": last.result})
    )


ROUTES = [
    Endpoint(
        "/api/v1/projects/{project}/commands/batch",
        batch,
        post=Operation(body={JSON: BatchBody}, summary="Give many commands at once."),
    )
]
