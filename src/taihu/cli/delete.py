"""Commands that delete, and show what was deleted: delete, deletions."""

from typing import Any

import click

from taihu.cli.client import NodeClient, node_options
from taihu.cli.output import MISSING, printable, show, show_json, time_text
from taihu.kernel.clock import SystemClock
from taihu.kernel.errors import TransientError
from taihu.kernel.ids import parse_address

_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")
_POLL_S = 0.5
_STATES = {"accepted": "accepted", "hidden": "in no answer", "erased": "in no file"}


class NotErasedYet(TransientError):
    """What was deleted is in no answer, but still in a file: it goes from there without further ado."""

    code = "not-erased"


@click.command()
@click.argument("address")
@click.option("--start", help="Only readings observed from here on: ISO 8601 with an offset, or back from now as -24h.")
@click.option("--end", help="Only readings observed before; likewise.")
@click.option("--readings", is_flag=True, help="All readings of a thing, but not the thing itself.")
@click.option("--wait", is_flag=True, help="Until no file of the node holds it.")
@click.option("--timeout", type=click.FloatRange(0), default=600.0, show_default=True, help="Seconds to wait at most.")
@click.option("--yes", is_flag=True, help="Without asking.")
@_json
@node_options
def delete(
    node: NodeClient,
    address: str,
    start: str | None,
    end: str | None,
    readings: bool,
    wait: bool,
    timeout: float,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete what is at ADDRESS: project/thing/property, project/thing, or a whole project.

    A thing or project goes with its credentials, unless a range or --readings is given. It cannot be undone.
    """
    where = parse_address(address)
    only_readings = bool(where.property or start or end or readings)
    if not yes:
        what = "readings of" if only_readings else "with its credentials and all readings: the thing"
        what = what if where.thing or only_readings else "with all that is its own: the project"
        click.confirm(f"Delete for good {what} {address}?", abort=True, err=True)
    path = ["projects", where.project]
    if only_readings:
        query = {"thing": where.thing or None, "property": where.property or None, "start": start, "end": end}
        receipt = node.delete(*path, "readings", **query)
    else:
        receipt = node.delete(*path, *(["things", where.thing] if where.thing else []))
    if wait:
        receipt = _await(node, receipt, timeout)
    if as_json:
        show_json(receipt)
    else:
        click.echo(f"Deleted {address}: {_STATES[receipt['state']]}. Its receipt: {receipt['id']}")


@click.command()
@click.argument("project", required=False)
@_json
@node_options
def deletions(node: NodeClient, project: str | None, as_json: bool) -> None:
    """List what was deleted of PROJECT, or of all that the token administers, and how far each deletion has come."""
    body = node.get("deletions", project=project)
    if as_json:
        show_json(body)
        return
    rows = [
        (
            one["id"],
            printable("/".join(part for part in (one["project"], one["thing"], one["property"]) if part)),
            time_text(one["start"]),
            time_text(one["end"]),
            "yes" if one["removes"] else "no",
            _STATES[one["state"]],
            time_text(one["at"]),
            printable(one["by"]) or MISSING,
        )
        for one in body["deletions"]
    ]
    show(("receipt", "what", "from", "to", "removed", "state", "asked for", "by"), rows)


def _await(node: NodeClient, receipt: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """The receipt once no file holds it."""
    from threading import Event

    clock, pause = SystemClock(), Event()
    until = clock.monotonic() + timeout_s
    while receipt["state"] != "erased":
        if clock.monotonic() > until:
            raise NotErasedYet(
                f"After {timeout_s:g} s a file still holds it; no answer does.",
                "Look again with: taihu deletions",
            )
        pause.wait(_POLL_S)
        receipt = node.get("deletions", receipt["id"])
    return receipt
