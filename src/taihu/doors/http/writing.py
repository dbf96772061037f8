"""Writing properties: a command to a thing that listens for commands, and a durable wish of any other."""

import asyncio
from typing import Any

from taihu.control.command import Affordance, Command, State
from taihu.control.request import Wanted
from taihu.control.rule import Role
from taihu.doors.http.answers import Problem, not_found
from taihu.doors.http.ports import Caller, Node
from taihu.kernel.errors import RefusedError
from taihu.things.validate import ValueRefused

Values = dict[str, Any]


async def write(
    node: Node, caller: Caller, project: str, thing: str, values: Values, *, wait_s: float, key: str = ""
) -> list[Command]:
    """Write properties that their definitions let be written; returns after the sync (§4).

    The commands, each as far as it came within `wait_s`; none when the values are only wanted: the thing does not
    listen for commands, or the caller may not give it any (§7).

    Raises:
        Problem: a property is not there, or a command was refused by a rule or by the device.
        ValueRefused: a value may not be written; then none is.
    """
    _check(node, project, thing, values)
    if not _commanded(node, caller, project, thing):
        await node.want(caller, project, thing, values)
        return []
    who = node.who(caller)
    wanted = [
        Wanted(thing=thing, affordance=Affordance.PROPERTY, name=name, input=value, key=key and f"{key}/{name}")
        for name, value in values.items()
    ]
    given = await asyncio.gather(*(node.commands.submit(one, who, wait_s) for one in wanted))
    for command in given:
        if command.state in (State.REFUSED, State.FAILED):
            raise _said_no(command)
    return given


def arrived(commands: list[Command]) -> bool:
    """Whether the device has said of every command that it has it."""
    return bool(commands) and all(one.state in (State.DONE, State.ACKNOWLEDGED) for one in commands)


def _check(node: Node, project: str, thing: str, values: Values) -> None:
    definitions = node.definitions(project, thing)
    if definitions is None:
        raise not_found(f"thing {thing!r}")
    for name, value in values.items():
        definition = definitions.get(name)
        if definition is None:
            raise not_found(f"property {thing}/{name}")
        if not definition.writable:
            raise ValueRefused(f"{name} is read-only.", "Declare it writable in its Thing Model.")
        if value is None:
            raise ValueRefused(f"{name}: null is no value.", "To take a wish back, PUT null to the thing's desired.")
    if not values:
        raise RefusedError("Nothing is to be written.", "Send an object with a value for each property.")


def _commanded(node: Node, caller: Caller, project: str, thing: str) -> bool:
    who = node.who(caller)
    may = who.role >= Role.OPERATOR and who.project == project and node.may_command(caller, project, thing)
    return may and node.commands.takes(project, thing)


def _said_no(command: Command) -> Problem:
    by_rule = command.state is State.REFUSED
    detail = command.steps[-1].detail or "it gave no reason"
    said = "was refused" if by_rule else "failed: the device says"
    return Problem(
        403 if by_rule else 502,
        "command",
        f"Writing {command.name} {said}: {detail}." if by_rule else f"Writing {command.name} {said} {detail!r}.",
        f"See its steps: taihu command show {command.project} {command.id}",
    )
