"""The command for calculated properties: calculate."""

from typing import Any

import click

from taihu.cli.client import NodeClient, node_options
from taihu.cli.output import MISSING, printable, show, show_json, time_text
from taihu.kernel.errors import RefusedError
from taihu.kernel.ids import parse_address


@click.command()
@click.argument("address", metavar="PROJECT/THING/PROPERTY")
@click.argument("formula", required=False)
@click.option("--unit", help="The UCUM unit of the result; 1 for none.")
@click.option(
    "--kind",
    type=click.Choice(["gauge", "interval"]),
    default="gauge",
    show_default=True,
    help="A level or a ratio of amounts is a gauge; an amount is an interval.",
)
@click.option("--interval", type=click.FloatRange(1), help="The length in seconds of one reading of an interval.")
@click.option("--title", default="", help="What people call it.")
@click.option("--dry-run", is_flag=True, help="Only say what it would be worked out of.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@node_options
def calculate(
    node: NodeClient,
    address: str,
    formula: str | None,
    unit: str | None,
    kind: str,
    interval: float | None,
    title: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Declare a property that is calculated by FORMULA; without one, show what it is worked out of now."""
    where = parse_address(address)
    if not where.property:
        raise RefusedError(f"{address!r} names no property.", "Write PROJECT/THING/PROPERTY.")
    if formula is None:
        _show(node.get("projects", where.project, "things", where.thing, "properties", where.property, "calculation"),
              as_json)  # fmt: skip
        return
    definition: dict[str, Any] = {"name": where.property, "formula": formula, "kind": kind, "unit": unit or "1"}
    definition |= {"interval_s": interval or 900.0} if kind == "interval" else {}
    definition |= {"title": title} if title else {}
    answer = node.post("admin", "property-calculate", body=definition | {
        "project": where.project, "thing": where.thing, "dry_run": dry_run,
    })  # fmt: skip
    if as_json:
        show_json(answer)
        return
    click.echo(f"{address} {'is' if answer['declared'] else 'would be'} worked out of:")
    for name in answer["inputs"]:
        click.echo(f"  {printable(name)}")
    _warn(answer)


def _show(body: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(body)
        return
    value = MISSING if body["value"] is None else f"{body['value']:g} {body['unit']}"
    click.echo(f"{printable(body['formula'])} = {value}")
    rows = [
        (
            printable("/".join((one["project"], one["thing"], one["property"]))),
            one["kind"],
            MISSING if one["value"] is None else f"{one['value']:g}",
            one["unit"] or MISSING,
            MISSING if one["observed_at"] is None else time_text(one["observed_at"]),
            "stale" if one["stale"] else one["quality"] or MISSING,
        )
        for one in body["inputs"]
    ]
    show(("input", "kind", "value", "unit", "observed", "quality"), rows)
    if body["hidden"]:
        click.echo(f"{body['hidden']} inputs are not yours to see.")
    _warn(body)


def _warn(body: dict[str, Any]) -> None:
    for lacking in body["lacking"]:
        click.echo(f"Missing while {printable(lacking)}.", err=True)
    for name in body["undeclared"]:
        click.echo(f"Left out, as its unit is not declared: {printable(name)}.", err=True)
