"""Commands about carbon: report, rows, matching, summary, certificates."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from taihu.cli.client import NodeClient, node_options, zone_of
from taihu.cli.output import MISSING, number_text, printable, share_text, show, show_json, time_text
from taihu.kernel.errors import RefusedError

_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")
_start = click.option("--start", help="ISO 8601 with an offset, or back from now such as -30d.")
_end = click.option("--end", help="Likewise; not included.  [default: now]")
_month = click.option("--month", help="A month of the project's time zone such as 2026-10, for --start and --end.")
_by = click.option("--by", default="1mo", show_default=True, help="Parts of 1h, 1d, 1w, 1mo or 1y.")
_as_of = click.option("--as-of", help="As the ledger knew it at that moment.  [default: now]")
_out = click.option("--out", type=click.Path(path_type=Path), help="Write a .html, .pdf, .csv or .json file.")
_language = click.option("--language", type=click.Choice(("en", "zh")), default="en", help="Of a .html or .pdf file.")
_CLOSED = 0.001
_FIGURES = ("import_kwh", "export_kwh", "generation_kwh", "location_kg", "market_kg", "scope1_kg")
_HEADS = ("drawn kWh", "given kWh", "made kWh", "location kg", "market kg", "scope 1 kg")
_ROW_FIGURES = {  # shown where a row has one
    "import_kwh": "drawn kWh",
    "export_kwh": "given kWh",
    "generation_kwh": "made kWh",
    "certified_kwh": "certified kWh",
    "amount": "amount",
    "fuel_kwh": "fuel kWh",
    "location_kg": "location kg",
    "market_kg": "market kg",
    "scope1_kg": "scope 1 kg",
    "co2_kg": "CO2 kg",
    "ch4_kg": "CH4 kg",
    "n2o_kg": "N2O kg",
    "gases_kg": "other gases kg CO2e",
    "upstream_kg": "scope 3 kg",
    "carbon_free": "grid carbon-free",
    "without_kwh": "without control kWh",
    "with_kwh": "with control kWh",
    "avoided_kg": "avoided kg",
}


@click.group()
def carbon() -> None:
    """What each hour emitted, and why."""


@carbon.command()
@click.argument("project")
@_start
@_end
@_month
@_by
@_as_of
@_out
@_language
@_json
@node_options
def report(
    node: NodeClient,
    project: str,
    start: str | None,
    end: str | None,
    month: str | None,
    by: str,
    as_of: str | None,
    out: Path | None,
    language: str,
    as_json: bool,
) -> None:
    """Show what PROJECT emitted, by both rules of scope 2, and whether its meters agree; or write it to a file."""
    where = ("projects", project, "carbon", "report")
    start, end = _period(node, project, start, end, month)
    period = {"start": start, "end": end, "by": by, "as_of": as_of}
    if out is not None:
        _write(node, out, *where, **period, language=language)
        return
    body = node.get(*where, **period)
    if as_json:
        show_json(body)
        return
    zone = body["timezone"]
    lines = [(f"{line['meter']} {_begin(line['start'], zone)}", line["figures"]) for line in body["parts"]]
    table = [(printable(name), *_cells(figures)) for name, figures in [*lines, (project, body["total"])]]
    show(("meter, from", *_HEADS, "known"), table, (*_HEADS, "known"))
    if estimated := body["total"]["estimated_kwh"]:
        click.echo(f"{_two(estimated)} kWh were not metered in full, and are estimated: taihu carbon rows {project}")
    for name in dict.fromkeys(line["meter"] for line in body["parts"] if _unpriced(line)):
        remedy = "give its account a region, an intensity or a mix, and since when, and taihu reload."
        click.echo(f"{printable(name)}: no factor prices what it drew: {remedy}")
    for one in body["balances"]:
        click.echo(f"{printable(one['meter'])}: {_balance_text(one)}")
    for one in body["lacking"]:
        click.echo(f"{printable(one['meter'])} is not accounted: {printable(one['why'])}")
    for one in body["avoided"]["meters"] if body["avoided"] else ():
        click.echo(printable(avoided_text(one)))
    for one in body["restated"]:
        change = f"location {one['location_kg']:+,.2f} kg, market {one['market_kg']:+,.2f} kg"
        click.echo(f"restated for {printable(one['reason'])}, {one['intervals']} intervals: {change}")


def avoided_text(one: dict[str, Any]) -> str:
    """What a controller avoided, in a line that says that it is no part of the inventory.

    >>> counts = {"measured": 2, "estimated": 1, "missing": 0}
    >>> avoided_text({"meter": "battery-avoided", "avoided_kg": 1.234, **counts})
    'battery-avoided, in no inventory: 1.23 kg avoided by marginal intensity (2 h measured, 1 estimated, 0 missing)'
    """
    counts = f"{one['measured']} h measured, {one['estimated']} estimated, {one['missing']} missing"
    return f"{one['meter']}, in no inventory: {_two(one['avoided_kg'])} kg avoided by marginal intensity ({counts})"


@carbon.command()
@click.argument("project")
@_start
@_end
@click.option("--meter", help="Of this meter alone.")
@click.option("--versions", is_flag=True, help="Also what was restated.")
@_as_of
@_json
@node_options
def rows(
    node: NodeClient,
    project: str,
    start: str | None,
    end: str | None,
    meter: str | None,
    versions: bool,
    as_of: str | None,
    as_json: bool,
) -> None:
    """Show the ledger's rows of PROJECT: each interval, its figures, and what they were computed with."""
    wanted = {"start": start, "end": end, "meter": meter, "versions": "true" if versions else None, "as_of": as_of}
    body = node.get("projects", project, "carbon", "rows", **wanted)
    if as_json:
        show_json(body)
        return
    shown = {name: head for name, head in _ROW_FIGURES.items() if any(row[name] is not None for row in body["rows"])}
    table = [
        (
            printable(row["meter"]),
            time_text(row["start"]),
            time_text(row["end"]),
            row["role"],
            *(number_text(row[name]) + (f" {row['unit']}" if name == "amount" else "") for name in shown),
            row["quality"],
            share_text(row["coverage"]),
            str(row["version"]),
            printable(row["reason"] or MISSING),
            printable(", ".join(row["factors"]) or MISSING),
            printable(", ".join(row["inputs"]) or MISSING),
        )
        for row in body["rows"]
    ]
    heads = ("meter", "start", "end", "counts", *shown.values(), "quality", "known")
    numeric = (*shown.values(), "known", "version")
    show((*heads, "version", "restated for", "factors", "inputs"), table, numeric)
    for account in body["accounts"]:
        if account["broken"]:
            click.echo(f"{account['meter']} is not accounted: {account['broken']}", err=True)


@carbon.command()
@click.argument("projects", nargs=-1, required=True)
@_start
@_end
@_month
@_by
@_out
@_language
@_json
@node_options
def matching(
    node: NodeClient,
    projects: tuple[str, ...],
    start: str | None,
    end: str | None,
    month: str | None,
    by: str,
    out: Path | None,
    language: str,
    as_json: bool,
) -> None:
    """Show how far carbon-free generation meets the load of PROJECTS: in sum, by the hour, and shared."""
    start, end = _period(node, projects[0], start, end, month)
    if out is not None:
        if len(projects) > 1:
            raise RefusedError("A report is of one project.", "Name one, or leave --out away.")
        _write(node, out, "projects", projects[0], "carbon", "hourly", start=start, end=end, by=by, language=language)
        return
    body = node.get("matching", project=list(projects), start=start, end=end)
    if as_json:
        show_json(body)
        return
    _show_matching(body["projects"], body["shared"], body["scores"])


@carbon.command()
@click.argument("projects", nargs=-1, required=True)
@_start
@_end
@_json
@node_options
def summary(node: NodeClient, projects: tuple[str, ...], start: str | None, end: str | None, as_json: bool) -> None:
    """Show of each of PROJECTS whether its meters agree, what it emitted, how it was matched, and its certificates."""
    body = node.get("carbon", project=list(projects), start=start, end=end)
    if as_json:
        show_json(body)
        return
    numeric = ("location kg", "market kg", "in sum", "by the hour", "issued kWh", "used kWh", "known")
    table = [
        (
            printable(name),
            *(_two(one["figures"][figure]) for figure in ("location_kg", "market_kg")),
            *(_percent(one["score"][part]) for part in ("annual", "hourly")),
            *(f"{one['certificates'][part] / 1_000:,.1f}" for part in ("issued_wh", "cancelled_wh")),
            share_text(one["score"]["coverage"]),
            "; ".join(_balance_text(each) for each in one["balances"]) or MISSING,
        )
        for name, one in body["projects"].items()
    ]
    show(("project", *numeric, "balance"), table, numeric)


@carbon.command()
@_json
def houses(as_json: bool) -> None:
    """Show the matching of the demo's 17 measured houses over their whole year, batteries at rest; asks no node."""
    from taihu.carbon.matching import match
    from taihu.sim.district import District

    found = District().houses
    whole = match([house.load for house in found], [house.solar for house in found])
    alone = {house.name: match(house.load, house.solar) for house in found}
    import msgspec

    body = msgspec.to_builtins({"projects": alone, "shared": whole})
    if as_json:
        show_json(body)
    else:
        _show_matching(body["projects"], body["shared"])


@carbon.command()
@click.argument("project")
@_start
@_end
@click.option("--do", "operation", metavar="JSON", help="One operation: docs/carbon.md has them all.")
@_json
@node_options
def certificates(
    node: NodeClient, project: str, start: str | None, end: str | None, operation: str | None, as_json: bool
) -> None:
    """Show the granular certificates of PROJECT, or do one operation on them."""
    where = ("projects", project, "carbon", "certificates")
    if operation is not None:
        show_json(node.post(*where, body=_operation(operation)))
        return
    body = node.get(*where, start=start, end=end)
    if as_json:
        show_json(body)
        return
    names = [one["name"] for one in body["bundles"]]
    holders = {name: [owner for owner, held in body["held"].items() if name in held] for name in names}
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


def _cells(figures: dict[str, Any]) -> list[str]:
    known = figures["measured"] + figures["estimated"]
    cells = [_two(figures[name]) for name in _FIGURES]
    whole = known + figures["missing"]
    return [*cells, share_text(known / whole if whole else 0.0)]


def _write(node: NodeClient, out: Path, *where: str, **wanted: str | None) -> None:
    kind = out.suffix.removeprefix(".")
    if kind not in ("html", "pdf", "csv", "json"):
        raise RefusedError(f"{out.name} says no format:", "end it with .html, .pdf, .csv or .json.")
    out.write_bytes(node.get_bytes(*where, **wanted, format=kind))
    click.echo(out)


def _show_matching(alone: dict[str, Any], shared: dict[str, Any], scores: dict[str, Any] | None = None) -> None:
    """A line for each project and one for all; with scores also what certificates and the grid add."""
    parts, further = ("annual", "hourly"), ("contracted", "cfe") if scores else ()
    table = [
        (
            printable(name),
            *(_percent(one[part]) for part in parts),
            *(_percent(scores[name][part]) for part in further if scores),
            share_text(one["coverage"]),
        )
        for name, one in alone.items()
    ]
    if len(alone) > 1:
        blank = tuple(MISSING for _ in further)
        known = share_text(shared["coverage"])
        table.append(("each by itself", *(_percent(shared[part]) for part in parts), *blank, known))
        table.append(("all, shared", _percent(shared["annual"]), _percent(shared["shared"]), *blank, known))
    heads = ("in sum", "by the hour", *(("with certificates", "with the grid") if scores else ()), "known")
    show(("project", *heads), table, heads)


def _period(
    node: NodeClient, project: str, start: str | None, end: str | None, month: str | None
) -> tuple[str | None, str | None]:
    """What is asked for: a local month of the project where one is named."""
    if month is None:
        return start, end
    if start or end:
        raise RefusedError("A month has a start and an end:", "leave --start and --end away.")
    if not (found := re.fullmatch(r"([12]\d{3})-(0[1-9]|1[0-2])", month)):
        raise RefusedError(f"{month[:40]!r} is not a month:", "write one such as 2026-10.")
    zone = ZoneInfo(zone_of(node, project))
    year, number = int(found[1]), int(found[2])
    first = datetime(year, number, 1, tzinfo=zone)
    after = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=zone)
    return first.isoformat(), after.isoformat()


def _begin(at: int, zone: str) -> str:
    """The local day of a part, with its hour where it is not a whole day's."""
    text = time_text(at, zone)
    return text[:10] if text[11:16] == "00:00" else f"{text[:10]} {text[11:16]}"


def _unpriced(line: dict[str, Any]) -> bool:
    """Whether electricity was drawn that no factor prices."""
    figures = line["figures"]
    priced = figures["location_kg"] is not None or figures["market_kg"] is not None
    return line["role"] in ("grid", "submeter") and bool(figures["import_kwh"]) and not priced


def _two(figure: float | None) -> str:
    return MISSING if figure is None else f"{figure:,.2f}"


def _percent(share: float | None) -> str:
    return MISSING if share is None else f"{share:.1%}"


def _balance_text(one: dict[str, Any]) -> str:
    """Whether a main meter agrees with what is behind it, in words."""
    if one["share"] is None:
        return "balance not known"
    words = "closes" if one["closed"] else "closes where it is known" if one["share"] <= _CLOSED else "does not close"
    known = share_text(one["coverage"])
    apart_kwh = round(one["residual_kwh"], 2) or 0.0  # no negative zero
    return f"{words}: {one['share']:.3%} apart, {apart_kwh:+,.2f} kWh, {known} of the hours known"


def _operation(text: str) -> Any:
    import msgspec

    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise RefusedError(f"That is no JSON object: {error}.", 'Write one such as {"type": "issue", …}.') from None
