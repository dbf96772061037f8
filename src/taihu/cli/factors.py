"""The command `factors`: of a node, of a site that does not run, or those that come with Taihu."""

from pathlib import Path
from typing import Any

import click

from taihu.cli.client import NodeAway, connect, node_address
from taihu.cli.output import MISSING, number_text, printable, show, show_json


@click.command()
@click.option("--region", help="Of this region alone.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@node_address
def factors(region: str | None, as_json: bool, url: str | None, token: str | None, site: Path | None) -> None:
    """List the emission factors, each with its source; a hyphen is still to be provided. Needs no running node."""
    if site is None and not (url or token) and Path("site.toml").exists():
        site = Path()
    listed, whence = _listed(url, token, site)
    found = [one for one in listed if region in (None, one["region"])]
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
            "the site's own" if one["own"] else "Taihu",
            printable(one["source"]),
        )
        for one in found
    ]
    show(("factor", "kind", "region", "value", "unit", "whose", "source"), table, ("value",))
    if whence:
        click.echo(whence, err=True)


def _listed(url: str | None, token: str | None, site: Path | None) -> tuple[list[dict[str, Any]], str]:
    """The factors, and where they are from when no node was asked."""
    if url or token or site is not None:
        try:
            return connect(url, token, site).get("factors")["factors"], ""
        except NodeAway:
            if url or site is None:
                raise
    if site is None:
        return _read(None), "No node was asked: these come with Taihu. With --site also a site's own."
    return _read(
        site
    ), f"No node runs on {site.absolute()}: these come with Taihu, and the site's own as its file has them."


def _read(site: Path | None) -> list[dict[str, Any]]:
    import msgspec

    from taihu.carbon.factors import load_factors
    from taihu.kernel.config import load_site

    shipped = load_factors()
    there = shipped
    if site is not None:
        known = load_site(site)
        own = known.carbon.factors
        there = load_factors(known.path(own) if own else None, known.carbon.gwp)
        shipped = load_factors(None, known.carbon.gwp)
    return [msgspec.to_builtins(one) | {"own": shipped.known(one.id) != one} for one in there]
