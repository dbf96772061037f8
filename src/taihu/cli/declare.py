"""The command for what a property is: declare."""

from typing import Any

import click
import msgspec

from taihu.cli.client import NodeClient, node_options
from taihu.cli.output import printable, show_json
from taihu.cli.transfer.known import definitions_of
from taihu.kernel.errors import RefusedError
from taihu.kernel.ids import parse_address
from taihu.kernel.units import spelled
from taihu.things.property import Kind


@click.command()
@click.argument("address", metavar="PROJECT/THING/PROPERTY")
@click.argument("unit", required=False)
@click.option("--kind", type=click.Choice(list(Kind)), help="How it behaves in time.  [default: as it is, or gauge]")
@click.option("--interval", type=click.FloatRange(1), help="The seconds of one reading of an interval.")
@click.option("--max-age", type=click.FloatRange(1), help="For so many seconds a gauge or state holds.")
@click.option("--minimum", type=float, help="No number below it is taken.")
@click.option("--maximum", type=float, help="Nor above it.")
@click.option("--writable", is_flag=True, default=None, help="Commands may write it.")
@click.option("--title", help="What people call it.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@node_options
def declare(node: NodeClient, address: str, unit: str | None, as_json: bool, **said: Any) -> None:
    """Say what a property is: its UNIT, and what else is given. The rest stays as it is known."""
    where = parse_address(address)
    if not where.property:
        raise RefusedError(f"{address!r} names no property.", "Write PROJECT/THING/PROPERTY.")
    names = {"interval": "interval_s", "max_age": "max_age_s"}
    wanted: dict[str, Any] = {"unit": spelled(unit)} if unit else {}
    wanted |= {names.get(name, name): value for name, value in said.items() if value is not None}
    own = f"thing = {_quoted(where.thing)} AND property = {_quoted(where.property)}"
    known = [one for alike in definitions_of(node, where.project, own) for one in alike.properties]
    definition = (msgspec.to_builtins(known[0]) if known else {}) | {"name": where.property, "inferred": False} | wanted
    body = {"project": where.project, "thing": where.thing, "property": definition}
    node.post("admin", "property-declare", body=body)
    if as_json:
        show_json(definition)
        return
    told = ", ".join(f"{name} = {value}" for name, value in wanted.items())
    click.echo(printable(f"{address} is declared: {told or 'as it was inferred'}."))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
