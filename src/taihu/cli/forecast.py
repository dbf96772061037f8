"""Commands about forecasts: show, models, errors."""

from typing import Any

import click

from taihu.cli.client import NodeClient, node_options
from taihu.cli.look import property_of, time_zone
from taihu.cli.output import (
    MISSING,
    age_text,
    number_text,
    on_terminal,
    printable,
    share_text,
    show,
    show_json,
    time_text,
)

_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")
_every = click.option(
    "--every", type=click.Choice(["15m", "1h"]), help="The length of a step.  [default: as kept, or 1h]"
)
_BAND_WIDTH = 40
_PARTS = ("mase", "ratio", "first_mae", "persistence_mae")
_QUANTILES = ("q10", "q25", "median", "q75", "q90")


class _Showing(click.Group):
    """A group that shows when its first word is none of its commands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = ctx.resilient_parsing or not args or args[0] in (*self.commands, *ctx.help_option_names)
        return super().parse_args(ctx, args if known else ["show", *args])


@click.group(cls=_Showing)
def forecast() -> None:
    """What a property will be: taihu forecast ADDRESS."""


@forecast.command("show")
@click.argument("address")
@click.option("--horizon", help="How far: 15m to 7d.  [default: as kept, or 24h]")
@_every
@click.option("--at", help="As it was foretold by then: ISO 8601 with an offset, or back from now such as -24h.")
@click.option("--tz", "zone", callback=time_zone, help="IANA time zone in which times are shown.  [default: UTC]")
@_json
@node_options
def show_(
    node: NodeClient,
    address: str,
    horizon: str | None,
    every: str | None,
    at: str | None,
    zone: str | None,
    as_json: bool,
) -> None:
    """Show what project/thing/property ADDRESS will be: the median, and in how wide a range it lies 8 times of 10."""
    where = property_of(address)
    body = node.get(
        *("projects", where.project, "forecast"),
        thing=where.thing,
        property=where.property,
        horizon=horizon,
        every=every,
        at=at,
    )
    if as_json:
        show_json(body)
        return
    rows = [
        (time_text(step["start"], zone or ""), *(number_text(_short(step[name])) for name in _QUANTILES))
        for step in body["values"]
    ]
    names = ("from", "10 %", "25 %", "median", "75 %", "90 %")
    if on_terminal():
        bands = _bands(body["values"])
        show((*names, "range"), [(*row, band) for row, band in zip(rows, bands, strict=True)], names[1:])
    else:
        show(names, rows, names[1:])
    click.echo(f"{body['unit'] or 'no unit'}; by {printable(body['model'])}, {_kept(body)}", err=True)


@forecast.command()
@click.argument("project")
@click.option("--all", "every_one", is_flag=True, help="Every candidate, not the champions alone.")
@_json
@node_options
def models(node: NodeClient, project: str, every_one: bool, as_json: bool) -> None:
    """Show who forecasts each series of PROJECT that is kept forecast, and how they did in the back-test."""
    body = node.get("projects", project, "forecast", "models")
    if as_json:
        show_json(body)
        return
    found = body["models"]
    now = node.get("node")["now"]
    rows = []
    for one in found:
        name = printable(f"{one['thing']}/{one['property']}")
        judged: list[tuple[str, dict[str, Any]]] = [
            (model, did) for model, did in one["candidates"].items() if every_one or model == one["model"]
        ]
        for model, did in judged or [(MISSING, {})]:
            rows.append(
                (
                    name,
                    printable(model) + (" *" if every_one and model == one["model"] else ""),
                    f"{number_text(_short(did.get('mae')))} {printable(one['unit'] or '')}".rstrip(),
                    *(number_text(_short(did.get(part))) for part in _PARTS),
                    share_text(did.get("covered")),
                    age_text((now - one["trained_at"]) / 1e9) if one["trained_at"] else MISSING,
                    str(one["known"] or 0),
                )
            )
    heads = (
        *("series", "model", "error", "MASE", "to day before", "1st step", "last value"),
        *("80 % held", "trained", "known"),
    )
    show(heads, rows, heads[2:])
    if not found and not body["left_out"]:
        remedy = "Write [[project.forecast]] in site.toml (docs/forecasts.md), then: taihu reload"
        click.echo(f"No series of {project} is kept forecast. {remedy}", err=True)
    for one in found:
        for path, steps in one["lacking"].items():
            name = printable(f"{one['thing']}/{one['property']}")
            click.echo(f"{name}: {printable(path)} lacks its last {steps} steps, and is taken for as usual", err=True)
    if body["left_out"]:
        click.echo(f"{body['left_out']} series are not kept: forecast_series_max is reached", err=True)


@forecast.command()
@click.argument("address")
@_every
@click.option("--start", help="Issued from when on, such as -7d.  [default: a week before the end]")
@click.option("--end", help="Issued until when; not included.  [default: now]")
@_json
@node_options
def errors(
    node: NodeClient, address: str, every: str | None, start: str | None, end: str | None, as_json: bool
) -> None:
    """Show how the forecasts of project/thing/property ADDRESS did that were issued, by how far they looked ahead."""
    where = property_of(address)
    body = node.get(
        *("projects", where.project, "forecast", "errors"),
        thing=where.thing,
        property=where.property,
        every=every,
        start=start,
        end=end,
    )
    if as_json:
        show_json(body)
        return
    parts = ("mae", "bias", "persistence_mae", "naive_mae")
    rows = [
        (
            _lead(row["lead_s"]),
            str(row["count"]),
            *(number_text(_short(row[part])) for part in parts),
            share_text(row["held"]),
        )
        for row in body["leads"]
    ]
    heads = ("lead to", "steps", "error", "bias", "last value", "day before", "80 % held")
    show(heads, rows, heads[1:])
    click.echo(f"{body['unit'] or 'no unit'}; {body['issued']} forecasts", err=True)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _lead(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds < 3_600 else f"{seconds / 3_600:g} h"


def _kept(body: dict[str, Any]) -> str:
    issued = time_text(body["issued_at"])
    return f"issued {issued}" if body["kept"] else f"made now from what was known at {issued}; it is not kept forecast"


def _bands(steps: list[dict[str, Any]]) -> list[str]:
    """A bar a step: where the inner half lies, the outer 80 %, and the median."""
    known = [value for step in steps for name in _QUANTILES if (value := step[name]) is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    width = (high - low) or 1.0

    def place(value: float) -> int:
        return round((value - low) / width * (_BAND_WIDTH - 1))

    bands = []
    for step in steps:
        cells = [" "] * _BAND_WIDTH
        for first, last, mark in (("q10", "q90", "░"), ("q25", "q75", "▒")):
            if step[first] is not None and step[last] is not None:
                begin, end = place(step[first]), place(step[last])
                cells[begin : end + 1] = [mark] * (end - begin + 1)
        if step["median"] is not None:
            cells[place(step["median"])] = "█"
        bands.append("".join(cells).rstrip())
    return bands
