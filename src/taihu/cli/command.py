"""Commands to things: send, list, show, approve, take back, follow; and standing permits."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import click

from taihu.cli.acting import operator
from taihu.cli.client import NodeClient, node_options
from taihu.cli.output import MISSING, printable, show, show_json, time_text
from taihu.kernel.errors import RefusedError
from taihu.kernel.ids import parse_address

_PAGE = 1_000
_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.group()
def command() -> None:
    """Give commands to things, and see what became of them."""


@command.command()
@click.argument("address")
@click.argument("value", required=False)
@click.option("--action", is_flag=True, help="ADDRESS names an action, not a property.")
@click.option("--why", default="", help="The reason, for the record.")
@click.option("--deadline", type=float, help="Seconds until it expires.  [default: 60]")
@click.option("--key", default="", help="An idempotency key: the same key is the same command.")
@click.option("--priority", type=click.IntRange(0, 9), default=5, show_default=True, help="The highest goes first.")
@click.option("--standing", default="", help="The standing permit it is given under.")
@click.option("--wait", "wait_s", default=5.0, show_default=True, help="Wait so many seconds for its end.")
@_json
@node_options
def send(
    node: NodeClient,
    address: str,
    value: str | None,
    action: bool,
    why: str,
    deadline: float | None,
    key: str,
    priority: int,
    standing: str,
    wait_s: float,
    as_json: bool,
) -> None:
    """Write VALUE (JSON, or plain text) to the property project/thing/property ADDRESS, or invoke an action with it."""
    where = parse_address(address)
    if not where.property:
        raise RefusedError(f"{address} names no property or action:", "write project/thing/name.")
    body = {
        "thing": where.thing, "action" if action else "property": where.property, "input": _value(value), "why": why,
        "key": key, "priority": priority, "standing": standing, "wait_s": wait_s,
    }  # fmt: skip
    if deadline is not None:
        body["deadline_s"] = deadline
    with operator(node, where.project, "taihu command") as giver:
        given = giver.post("projects", where.project, "commands", body=body)
    _tell(given, as_json)
    if given["state"] in ("refused", "failed", "expired"):
        raise RefusedError(f"It is {given['state']}: {given['steps'][-1].get('detail', '')}.", "")


@command.command("list")
@click.argument("project")
@click.option("--thing", help="Only of this thing.")
@click.option("--state", help="Only in this state.")
@click.option("--since", help="From the log: ISO 8601 with an offset, or back from now such as -7d.")
@click.option("--limit", type=click.IntRange(1), help="At most so many.  [default: 100; with --since all]")
@_json
@node_options
def list_(
    node: NodeClient,
    project: str,
    thing: str | None,
    state: str | None,
    since: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """List the commands of PROJECT, newest first: the last ones, or all since a time."""
    if since is None:
        body = node.get("projects", project, "commands", thing=thing, state=state, limit=limit)
    else:
        body = {"commands": list(islice(_logged(node, project, thing, state, since), limit))}
    if as_json:
        show_json(body)
        return
    rows = [
        (
            one["id"],
            printable(f"{one['thing']}/{one['name']}"),
            printable(str(one.get("input", MISSING))),
            one["state"],
            time_text(one["at"]),
            printable(one.get("who", "")),
            printable(one["steps"][-1].get("detail", "")),
        )
        for one in body["commands"]
    ]
    show(("id", "for", "input", "state", "given", "by", "detail"), rows)


@command.command("show")
@click.argument("project")
@click.argument("number", metavar="ID")
@_json
@node_options
def show_(node: NodeClient, project: str, number: str, as_json: bool) -> None:
    """Show one command of PROJECT with every step of its life."""
    _tell(node.get("projects", project, "commands", number), as_json)


@command.command()
@click.argument("project")
@click.argument("number", metavar="ID")
@_json
@node_options
def approve(node: NodeClient, project: str, number: str, as_json: bool) -> None:
    """Agree, as a second person, to a command that waits for one."""
    _tell(node.post("projects", project, "commands", number, "approve", body={}), as_json)


@command.command()
@click.argument("project")
@click.argument("number", metavar="ID")
@_json
@node_options
def cancel(node: NodeClient, project: str, number: str, as_json: bool) -> None:
    """Take back a command that has not been sent."""
    with operator(node, project, "taihu command") as giver:
        _tell(giver.delete("projects", project, "commands", number), as_json)


@command.command()
@click.argument("project")
@click.option("--limit", type=click.IntRange(1), help="Stop after so many steps.  [default: at Ctrl-C]")
@_json
@node_options
def follow(node: NodeClient, project: str, limit: int | None, as_json: bool) -> None:
    """Follow the commands of PROJECT, step by step."""
    for count, one in enumerate(node.events("projects", project, "commands", "steps"), 1):
        if as_json:
            show_json(one)
        else:
            last = one["steps"][-1]
            detail = f"  {last['detail']}" if last.get("detail") else ""
            line = f"{time_text(last['at'])}  {one['state']:<12}  {one['id']}  {one['thing']}/{one['name']}{detail}"
            click.echo(printable(line))
        if count == limit:
            return


@click.group()
def permit() -> None:
    """Standing permits: let a loop act inside a corridor."""


@permit.command()
@click.argument("address")
@click.option("--low", type=float, required=True, help="The lowest value.")
@click.option("--high", type=float, required=True, help="The highest value.")
@click.option("--per-minute", type=click.IntRange(1), default=60, show_default=True, help="So many commands at most.")
@click.option("--hours", type=float, default=24.0, show_default=True, help="Until it expires.")
@click.option("--holder", default="", help="Who may use it.  [default: who issues it]")
@click.option("--rest", type=float, help="What is told at its end, but where its holder gives it back.")
@_json
@node_options
def issue(
    node: NodeClient,
    address: str,
    low: float,
    high: float,
    per_minute: int,
    hours: float,
    holder: str,
    rest: float | None,
    as_json: bool,
) -> None:
    """Issue a standing permit for project/things/property ADDRESS, where things may be a pattern."""
    project, _, path = address.partition("/")
    things, _, name = path.partition("/")
    if not name:
        raise RefusedError(f"{address} names no property:", "write project/things/property.")
    body = {"things": things, "name": name, "low": low, "high": high, "per_minute": per_minute, "hours": hours}
    given = node.post("projects", project, "standing", body=body | {"holder": holder, "rest": rest})
    if as_json:
        show_json(given)
    else:
        click.echo(given["id"])


@permit.command("list")
@click.argument("project")
@_json
@node_options
def permits(node: NodeClient, project: str, as_json: bool) -> None:
    """List the standing permits of PROJECT."""
    body = node.get("projects", project, "standing")
    if as_json:
        show_json(body)
        return
    rows = [
        (
            one["id"],
            printable(f"{one['things']}/{one['name']}"),
            f"{one['low']:g} to {one['high']:g}",
            "" if one["rest"] is None else f"{one['rest']:g}",
            str(one["per_minute"]),
            time_text(one["expires_at"]),
            printable(one["holder"]),
        )
        for one in body["standing"]
    ]
    show(("id", "for", "corridor", "at its end", "a minute", "until", "holder"), rows, ("at its end", "a minute"))


@permit.command()
@click.argument("project")
@click.argument("number", metavar="ID")
@_json
@node_options
def withdraw(node: NodeClient, project: str, number: str, as_json: bool) -> None:
    """End a standing permit at once: what it drove is told what the permit says for its end."""
    node.delete("projects", project, "standing", number)
    if as_json:
        show_json({"withdrawn": number})
    else:
        click.echo(f"{number} has ended")


def _logged(node: NodeClient, project: str, thing: str | None, state: str | None, since: str) -> Iterator[Any]:
    """All commands since a time, page by page."""
    before: str | None = None
    while True:
        body = node.get(
            "projects", project, "commands", thing=thing, state=state, since=since, before=before, limit=_PAGE
        )
        yield from body["commands"]
        if (before := body.get("next")) is None:
            return


def _value(text: str | None) -> Any:
    import msgspec

    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _tell(one: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(one)
        return
    click.echo(printable(f"{one['id']}  {one['thing']}/{one['name']}  {one['state']}"))
    for step in one["steps"]:
        click.echo(printable(f"  {time_text(step['at'])}  {step['state']:<12}  {step.get('detail', '')}").rstrip())
