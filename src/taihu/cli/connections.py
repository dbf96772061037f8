"""Commands about connections: add a device by its address, list connections, remove one."""

import re
from pathlib import Path
from typing import Any

import click

from taihu.cli.output import MISSING, printable, show, show_json
from taihu.kernel.errors import RefusedError

_FOLDER = click.Path(file_okay=False, path_type=Path)
_site = click.option("--site", type=_FOLDER, default=".", show_default=True, help="The site's folder.")
_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")
_SHOWN_MAX = 40


@click.command()
@click.argument("url")
@click.option("--project", required=True, help="Whose things they will be.")
@click.option("--name", help="What to call the connection.  [default: from the address]")
@click.option("--driver", help="Which driver.  [default: by the scheme of URL]")
@click.option(
    "--period", type=click.FloatRange(0.01), default=10.0, show_default=True, help="Seconds between readings."
)
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the driver's own.")
@click.option("--secret", "secrets", multiple=True, metavar="NAME", help="A secret, such as password: it is asked for.")
@click.option("--dry-run", is_flag=True, help="Show what is found, and write nothing.")
@click.option("--scan", "scans", is_flag=True, help="List the devices at URL's gateway or network, and write nothing.")
@_site
@_json
def add(
    url: str,
    project: str,
    name: str | None,
    driver: str | None,
    period: float,
    options: tuple[str, ...],
    secrets: tuple[str, ...],
    dry_run: bool,
    scans: bool,
    site: Path,
    as_json: bool,
) -> None:
    """Find out what is at URL, and have it as things of a project."""
    from taihu.kernel.config import load_site
    from taihu.runtime.field.discovery import Asked, discover, keep

    load_site(site)
    kept = {secret: click.prompt(secret, hide_input=True, err=True) for secret in secrets}
    asked = Asked(
        project=project,
        name=name or _name_of(url),
        url=url,
        driver=driver or "",
        period_s=period,
        options=dict(map(_option, options)),
        secrets=kept,
    )
    if scans:
        _scan(asked, site, as_json)
        return
    file = discover(asked, site)
    path = None if dry_run else keep(site, file)
    if as_json:
        import msgspec

        show_json({"connection": msgspec.to_builtins(file.plan), "file": str(path or ""), "driver": file.driver})
        return
    rows = [
        (
            printable(f"{thing.name}/{point.definition.name}"),
            point.definition.kind.value,
            point.definition.unit or MISSING,
            "yes" if point.definition.writable else "",
            printable(point.definition.title),
        )
        for thing in file.plan.things
        for point in thing.points
    ]
    rows += [
        (printable(f"{thing.name}/{action.name}"), "action", MISSING, "", printable(action.title))
        for thing in file.plan.things
        for action in thing.actions
    ]
    show(("property", "kind", "unit", "writable", "title"), rows[:_SHOWN_MAX])
    if len(rows) > _SHOWN_MAX:
        click.echo(f"and {len(rows) - _SHOWN_MAX} more")
    for note in file.plan.notes:
        click.echo(printable(note), err=True)
    if path is not None:
        click.echo(f"Written to {path}; a running node takes it over by itself.", err=True)


@click.command()
@_site
@_json
def connections(site: Path, as_json: bool) -> None:
    """List the connections of a site and how they are."""
    from taihu.kernel.config import load_site
    from taihu.runtime.field.discovery import states

    found = states(load_site(site))
    if as_json:
        show_json({"connections": found})
        return
    rows = [
        (
            printable(one["name"]),
            printable(one["project"]),
            one["driver"],
            one["state"],
            str(one["counts"].get("readings", 0)),
            printable(one["why"]),
        )
        for one in found
    ]
    show(("connection", "project", "driver", "state", "readings", "why"), rows, ("readings",))


@click.command()
@click.argument("name")
@_json
@_site
def disconnect(name: str, site: Path, as_json: bool) -> None:
    """Remove the connection NAME and its secrets; its things and their history stay."""
    from taihu.kernel.config import load_site
    from taihu.runtime.field.discovery import remove

    load_site(site)
    remove(site, name)
    if as_json:
        show_json({"removed": name})
    else:
        click.echo(f"{name} is removed")


def _scan(asked: Any, site: Path, as_json: bool) -> None:
    from taihu.runtime.field.discovery import scan

    found = scan(asked, site)
    if as_json:
        show_json({"found": [one._asdict() for one in found]})
        return
    show(("address", "device"), [(printable(one.url), printable(one.title)) for one in found])
    click.echo(f"{len(found)} found; add one by its address.", err=True)


def _name_of(url: str) -> str:
    found = re.sub(r"[^a-z0-9]+", "-", url.partition("://")[2].rpartition("@")[2].lower()).strip("-")
    if not found:
        raise RefusedError(f"{url!r} is no address:", "write one such as modbus+tcp://192.0.2.7:502/1.")
    return found


def _option(text: str) -> tuple[str, Any]:
    import msgspec

    name, sign, value = text.partition("=")
    if not sign:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE")
    try:
        return name, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return name, value
