"""`taihu storage`: what projects take on the disk, how they grow, and when it is full."""

from typing import Any

import click

from taihu.cli.client import NodeClient, node_options
from taihu.cli.output import MISSING, printable, share_text, show, show_json, time_text

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_WARN_SHARE = 0.8
_NUMERIC = ("readings", "rollups", "journal", "metadata", "rows", "a day", "limit", "used")


@click.command()
@click.argument("project", required=False)
@click.option("--things", type=click.IntRange(0, 1_000), default=10, show_default=True, help="So many of its things.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@node_options
def storage(node: NodeClient, project: str | None, things: int, as_json: bool) -> None:
    """Show what projects store, or PROJECT with its biggest things."""
    found = node.get("projects", project, "storage", things=things) if project else node.get("storage")
    if as_json:
        show_json(found)
        return
    show(("project", *_NUMERIC, "state"), [_row(one) for one in found["projects"]], _NUMERIC)
    if found["things"]:
        click.echo()
        rows = [(printable(one["thing"]), f"{one['rows']:,}", size_text(one["bytes"])) for one in found["things"]]
        show(("thing", "rows", "about"), rows, ("rows", "about"))
    if found["disk"] is not None:
        click.echo()
        click.echo(_disk(found))


def size_text(size: float | None) -> str:
    """Bytes as people read them.

    >>> size_text(1_500_000), size_text(999), size_text(-2_000)
    ('1.5 MB', '999 B', '-2.0 kB')
    """
    if size is None:
        return MISSING
    number, unit = float(size), 0
    while abs(number) >= 1_000 and unit < len(_UNITS) - 1:
        number, unit = number / 1_000, unit + 1
    return f"{number:.1f} {_UNITS[unit]}" if unit else f"{number:.0f} B"


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    share = (one["readings_bytes"] + one["rollups_bytes"]) / max(one["bytes_max"], 1)
    return (
        printable(one["project"]),
        size_text(one["readings_bytes"]),
        size_text(one["rollups_bytes"]),
        size_text(one["journal_bytes"]),
        size_text(one["metadata_bytes"]),
        f"{one['rows']:,}",
        size_text(one["growth_bytes"]),
        size_text(one["bytes_max"]),
        share_text(share),
        "full" if one["full"] else "nearly full" if share >= _WARN_SHARE else "",
    )


def _disk(found: dict[str, Any]) -> str:
    disk = found["disk"]
    said = f"{size_text(disk['free_bytes'])} of {size_text(disk['bytes'])} are free"
    if found["growth_bytes"] is None:
        return f"{said}; how fast that shrinks is known after an hour."
    if found["full_at"] is None:
        return f"{said}; at this rate that lasts for more than a hundred years."
    return f"{said}; at {size_text(found['growth_bytes'])} a day the disk is full on {time_text(found['full_at'])}."
