"""Commands about carbon: report, rows, matching, certificates, factors."""

from pathlib import Path
from typing import Any

import click

from taihu.cli.client import NodeClient, node_options
from taihu.cli.output import MISSING, number_text, printable, share_text, show, show_json, time_text
from taihu.kernel.errors import RefusedError

_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")
_start = click.option("--start", help="ISO 8601 with an offset, or back from now such as -30d.")
_end = click.option("--end", help="Likewise; not included.  [default: now]")
_FIGURES = ("import_kwh", "export_kwh", "generation_kwh", "location_kg", "market_kg", "scope1_kg")
_HEADS = ("drawn kWh", "given kWh", "made kWh", "location kg", "market kg", "scope 1 kg")


@click.group()
def carbon() -> None:
    """What each hour emitted, and why."""


@carbon.command()
@click.argument("project")
@_start
@_end
@click.option("--by", default="1mo", show_default=True, help="Parts of 1d, 1w, 1mo or 1y.")
@click.option("--out", type=click.Path(path_type=Path), help="Write a .html, .pdf, .csv or .json file.")
@_json
@node_options
def report(
    node: NodeClient, project: str, start: str | None, end: str | None, by: str, out: Path | None, as_json: bool
) -> None:
    """Show what PROJECT emitted, by both rules of scope 2; or write it to a file."""
    where = ("projects", project, "carbon", "report")
    if out is not None:
        kind = out.suffix.removeprefix(".")
        if kind not in ("html", "pdf", "csv", "json"):
            raise RefusedError(f"{out.name} says no format:", "end it with .html, .pdf, .csv or .json.")
        out.write_bytes(node.get_bytes(*where, start=start, end=end, by=by, format=kind))
        click.echo(out)
        return
    body = node.get(*where, start=start, end=end, by=by)
    if as_json:
        show_json(body)
        return
    zone = body["timezone"]
    lines = [(f"{line['meter']} {time_text(line['start'], zone)[:10]}", line["figures"]) for line in body["parts"]]
    table = [(printable(name), *_cells(figures)) for name, figures in [*lines, (project, body["total"])]]
    show(("meter, from", *_HEADS, "known"), table, (*_HEADS, "known"))


@carbon.command()
@click.argument("project")
@_start
@_end
@click.option("--meter", help="Of this meter alone.")
@click.option("--versions", is_flag=True, help="Also what was restated.")
@_json
@node_options
def rows(
    node: NodeClient,
    project: str,
    start: str | None,
    end: str | None,
    meter: str | None,
    versions: bool,
    as_json: bool,
) -> None:
    """Show the ledger's rows of PROJECT: each interval, its figures, and what they were computed with."""
    body = node.get(
        "projects", project, "carbon", "rows", start=start, end=end, meter=meter, versions="true" if versions else None
    )
    if as_json:
        show_json(body)
        return
    table = [
        (
            printable(row["meter"]),
            time_text(row["start"]),
            *(number_text(row[name]) for name in _FIGURES),
            row["quality"],
            str(row["version"]),
            printable(", ".join(row["factors"]) or MISSING),
        )
        for row in body["rows"]
    ]
    show(("meter", "start", *_HEADS, "quality", "version", "factors"), table, (*_HEADS, "version"))
    for account in body["accounts"]:
        if account["broken"]:
            click.echo(f"{account['meter']} is not accounted: {account['broken']}", err=True)


@carbon.command()
@click.argument("projects", nargs=-1, required=True)
@_start
@_end
@_json
@node_options
def matching(node: NodeClient, projects: tuple[str, ...], start: str | None, end: str | None, as_json: bool) -> None:
    """Show how far carbon-free generation meets the load of PROJECTS: in sum, by the hour, and shared."""
    body = node.get("matching", project=list(projects), start=start, end=end)
    if as_json:
        show_json(body)
        return
    found = [*body["projects"].items(), *([("all, shared", body["shared"])] if len(projects) > 1 else [])]
    table = [
        (
            printable(name),
            *(MISSING if one[part] is None else f"{one[part]:.1%}" for part in ("annual", "hourly", "shared")),
            share_text(one["coverage"]),
        )
        for name, one in found
    ]
    show(("project", "in sum", "by the hour", "shared", "known"), table, ("in sum", "by the hour", "shared", "known"))


@carbon.command()
@click.argument("project")
@click.option("--do", "operation", metavar="JSON", help="One operation: docs/carbon.md has them all.")
@_json
@node_options
def certificates(node: NodeClient, project: str, operation: str | None, as_json: bool) -> None:
    """Show the granular certificates of PROJECT, or do one operation on them."""
    where = ("projects", project, "carbon", "certificates")
    if operation is not None:
        show_json(node.post(*where, body=_operation(operation)))
        return
    body = node.get(*where)
    if as_json:
        show_json(body)
        return
    holders = {name: [owner for owner, held in body["held"].items() if name in held] for name in _names(body)}
    table = [
        (
            printable(one["name"]),
            printable(one["device"]),
            time_text(one["start"]),
            str(one["issued_wh"]),
            printable(", ".join(holders[one["name"]]) or MISSING),
        )
        for one in body["bundles"]
    ]
    show(("bundle", "device", "start", "issued Wh", "held by"), table, ("issued Wh",))


@click.command()
@click.option("--region", help="Of this region alone.")
@_json
@node_options
def factors(node: NodeClient, region: str | None, as_json: bool) -> None:
    """List the emission factors, each with its source; a hyphen is still to be provided."""
    found = [one for one in node.get("factors")["factors"] if region in (None, one["region"])]
    if as_json:
        show_json({"factors": found})
        return
    table = [
        (
            printable(one["id"]),
            one["kind"],
            printable(one["region"] or MISSING),
            number_text(one["value"]),
            one["unit"],
            printable(one["source"]),
        )
        for one in found
    ]
    show(("factor", "kind", "region", "value", "unit", "source"), table, ("value",))


def _cells(figures: dict[str, Any]) -> list[str]:
    known = figures["measured"] + figures["estimated"]
    cells = [MISSING if figures[name] is None else f"{figures[name]:,.2f}" for name in _FIGURES]
    whole = known + figures["missing"]
    return [*cells, share_text(known / whole if whole else 0.0)]


def _names(body: dict[str, Any]) -> list[str]:
    return [one["name"] for one in body["bundles"]]


def _operation(text: str) -> Any:
    import msgspec

    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise RefusedError(f"That is no JSON object: {error}.", 'Write one such as {"type": "issue", …}.') from None
