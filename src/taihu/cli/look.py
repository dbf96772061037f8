"""Commands that look: things, read, history, tail."""

from collections.abc import Iterator
from typing import Any

import click

from taihu.cli.admin import Administration, administration_options
from taihu.cli.client import NodeClient, node_options
from taihu.cli.output import MISSING, age_text, number_text, printable, share_text, show, show_json, time_text
from taihu.kernel.errors import RefusedError
from taihu.kernel.ids import Address, parse_address

_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")
_PAGE = 1_000


def time_zone(context: click.Context, option: click.Parameter, name: str | None) -> str | None:
    """Check an option that names a time zone."""
    from zoneinfo import ZoneInfo

    try:
        if name:
            ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise click.BadParameter(f"{name!r} is no time zone; write an IANA name such as Asia/Shanghai.") from None
    return name


class _Listing(click.Group):
    """A group that lists when its first word is none of its commands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = ctx.resilient_parsing or (args and (args[0] in self.commands or args[0] in ctx.help_option_names))
        return super().parse_args(ctx, args if known else ["list", *args])


@click.group(cls=_Listing)
def things() -> None:
    """List things, or change many at once."""


@things.command("list")
@click.argument("project", required=False)
@_json
@node_options
def things_list(node: NodeClient, project: str | None, as_json: bool) -> None:
    """List the things of PROJECT, or of every project the token may read."""
    projects = [project] if project else [one["name"] for one in node.get("projects")["projects"]]
    found = [{"project": name} | thing for name in projects for thing in _things(node, name)]
    if as_json:
        show_json({"things": found})
        return
    now = node.get("node")["now"]
    rows = [
        (
            printable(f"{thing['project']}/{thing['name']}"),
            thing.get("state", "never"),
            age_text((now - thing["heard_at"]) / 1e9) if thing.get("heard_at") else MISSING,
            thing.get("model") or ("inferred" if thing.get("inferred") else MISSING),
            str(thing.get("refused", 0)),
            printable(thing.get("title", "")),
        )
        for thing in found
    ]
    show(("thing", "state", "heard", "model", "refused", "title"), rows, ("heard", "refused"))


@things.command("edit")
@click.argument("project")
@click.option("--where", "where", multiple=True, help="FIELD=PATTERN, such as site=wuxi*; all are to be met.")
@click.option("--set", "wanted", multiple=True, help="FIELD=VALUE; of tag and group a list with commas.")
@click.option("--add", "added", multiple=True, help="A tag=VALUE or group=VALUE to add.")
@click.option("--remove", "removed", multiple=True, help="A tag=VALUE or group=VALUE to take away.")
@click.option("--apply", "apply", is_flag=True, help="Do it.  [default: show what would change]")
@_json
@administration_options
def things_edit(
    to: Administration,
    project: str,
    where: tuple[str, ...],
    wanted: tuple[str, ...],
    added: tuple[str, ...],
    removed: tuple[str, ...],
    apply: bool,
    as_json: bool,
) -> None:
    """Change all things of PROJECT that meet the criteria; without --apply only show what would change."""
    given = {"where": where, "set": wanted, "add": added, "remove": removed}
    arguments = {name: [_pair(text, name) for text in texts] for name, texts in given.items()}
    answer = to.act("things-edit", project=project, **arguments)
    if apply and answer["changed"]:
        answer = to.act("things-edit", project=project, preview=answer["preview"], **arguments)
    if as_json:
        show_json(answer)
        return
    rows = [
        (one["thing"], one["field"], printable(one["before"]) or MISSING, printable(one["after"]) or MISSING)
        for one in answer["changes"]
    ]
    if rows:
        show(("thing", "field", "before", "after"), rows)
    done = "changed" if answer["applied"] else "would change; add --apply"
    click.echo(f"{answer['changed']:,} of {answer['matched']:,} things {done}.", err=True)


def _pair(text: str, option: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark:
        raise click.BadParameter(f"{text!r} is not FIELD=VALUE.", param_hint=f"--{option}")
    return name.strip(), value


@click.command()
@click.argument("address")
@_json
@node_options
def read(node: NodeClient, address: str, as_json: bool) -> None:
    """Show the newest values at ADDRESS: project, project/thing or project/thing/property."""
    where = parse_address(address)
    only = {"thing": where.thing or None, "property": where.property or None}
    body = node.get("projects", where.project, "values", **only)
    while following := body.pop("next", ""):
        page = node.get("projects", where.project, "values", after=following, **only)
        body |= page | {"values": body["values"] + page["values"]}
    if where.property and not body["values"]:
        raise RefusedError(f"There is no value of {address} yet.", "Look with: taihu tail " + where.project)
    if as_json:
        show_json(body)
        return
    rows = [
        (
            printable(f"{value['thing']}/{value['property']}"),
            number_text(value["value"]),
            value["unit"] or MISSING,
            age_text(value["age_s"]),
            "stale" if value.get("stale") else value["quality"],
            time_text(value["observed_at"]),
        )
        for value in body["values"]
    ]
    show(("property", "value", "unit", "age", "quality", "observed"), rows, ("value", "age"))


@click.command()
@click.argument("address")
@click.option(
    "--start", help="ISO 8601 with an offset, or back from now such as -24h.  [default: a day before the end]"
)
@click.option("--end", help="Likewise; not included.  [default: now]")
@click.option("--every", help="Windows of 1m, 15m, 1h, 1d and the like, in place of readings.")
@click.option(
    "--tz", "zone", callback=time_zone, help="IANA time zone in which days begin and times are shown.  [default: UTC]"
)
@click.option("--limit", type=click.IntRange(1), help="At most so many readings.  [default: 10000]")
@_json
@node_options
def history(
    node: NodeClient,
    address: str,
    start: str | None,
    end: str | None,
    every: str | None,
    zone: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Show the readings of project/thing/property ADDRESS, or windows of them."""
    where = property_of(address)
    body = node.get(
        "projects",
        where.project,
        "history",
        thing=where.thing,
        property=where.property,
        start=start,
        end=end,
        every=every,
        tz=zone,
        limit=limit,
    )
    if as_json:
        show_json(body)
    elif every:
        _show_windows(body["windows"], zone or "")
    else:
        rows = [
            (time_text(one["observed_at"], zone or ""), number_text(one["value"]), one["quality"])
            for one in body["readings"]
        ]
        show(("observed", "value", "quality"), rows, ("value",))


@click.command()
@click.argument("project")
@click.option("--limit", type=click.IntRange(1), help="Stop after so many events.  [default: at Ctrl-C]")
@_json
@node_options
def tail(node: NodeClient, project: str, limit: int | None, as_json: bool) -> None:
    """Follow what PROJECT accepts and refuses: why a device does not show up."""
    for count, event in enumerate(node.events("projects", project, "tail"), 1):
        if as_json:
            show_json(event)
        else:
            click.echo(_line(event))
        if count == limit:
            return


def _things(node: NodeClient, project: str) -> Iterator[dict[str, Any]]:
    after: str | None = None
    while True:
        page = node.get("projects", project, "things", limit=_PAGE, after=after)
        yield from page["things"]
        after = page.get("next")
        if after is None:
            return


def property_of(address: str) -> Address:
    """The parts of an address that names a property."""
    where = parse_address(address)
    if not where.property:
        raise RefusedError(f"{address} does not name a property:", "write project/thing/property.")
    return where


def _show_windows(windows: list[dict[str, Any]], zone: str) -> None:
    names = [name for name in windows[0] if name not in ("start", "end", "coverage", "gone")] if windows else []
    rows = [
        (
            time_text(window["start"], zone),
            *(number_text(window[name]) for name in names),
            share_text(window["coverage"]) + (" gone" if window.get("gone") else ""),
        )
        for window in windows
    ]
    show(("start", *names, "coverage"), rows, (*names, "coverage"))


def _line(event: dict[str, Any]) -> str:
    when = time_text(event.get("at"))
    if event["event"] == "accepted":
        last = ", ".join(f"{name} = {number_text(value)}" for name, value in (event["last"] or [{}])[-1].items())
        who = ", ".join(event["things"])
        messages = "1 message" if event["messages"] == 1 else f"{event['messages']} messages"
        return printable(f"{when}  accepted  {who}: {messages}, last {last}")
    if event["event"] == "refused":
        where = "/".join(part for part in (event["thing"], event["property"]) if part)
        return printable(f"{when}  refused   {where}: {event['reason']}  {event['payload']}").rstrip()
    return f"{when}  missed    {event.get('count', 0)} events: this terminal is too slow"
