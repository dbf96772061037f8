"""Commands of an edge node: its tokens of the centre, how far it has sent, and the proof that both sides are equal."""

from pathlib import Path
from typing import Any

import click

from taihu.cli.client import NodeClient, connect, node_options
from taihu.cli.output import MISSING, number_text, printable, show, show_json
from taihu.kernel.errors import RefusedError

_FOLDER = click.Path(file_okay=False, path_type=Path)
_site = click.option("--site", type=_FOLDER, default=".", show_default=True, help="The site's folder.")
_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")
_HELD = """
    SELECT thing, property, count(*) AS held, bit_xor(hash(observed_at, value, text))::VARCHAR AS sum
    FROM readings GROUP BY ALL ORDER BY ALL"""


@click.group()
def upstream() -> None:
    """Send to a centre, and prove that it has everything."""


@upstream.command()
@click.argument("project")
@_site
def login(project: str, site: Path) -> None:
    """Keep a token of the centre for PROJECT: an operator's with the scope ingest, which is asked for."""
    from taihu.drivers.files import FOLDER, read_keyring, write_keyring
    from taihu.kernel.config import load_site
    from taihu.runtime.edge.state import KEYS

    known = {one.name for one in load_site(site).projects}
    if project not in known:
        raise RefusedError(f"There is no project {project[:80]!r} in site.toml.", f"There are: {', '.join(known)}.")
    token = click.prompt("Token", hide_input=True, err=True)
    tokens = read_keyring(site / FOLDER).get(KEYS, {})
    write_keyring(site / FOLDER, KEYS, tokens | {project: token})
    click.echo(f"{project} sends to the centre from the next start on.", err=True)


@upstream.command()
@click.argument("project")
@_site
def logout(project: str, site: Path) -> None:
    """Forget the token of the centre for PROJECT."""
    from taihu.drivers.files import FOLDER, read_keyring, write_keyring
    from taihu.runtime.edge.state import KEYS

    tokens = read_keyring(site / FOLDER).get(KEYS, {})
    if project not in tokens:
        raise RefusedError(f"{project[:80]} has no token of a centre.", "See: taihu upstream status")
    del tokens[project]
    write_keyring(site / FOLDER, KEYS, tokens)


@upstream.command()
@_site
@_json
def status(site: Path, as_json: bool) -> None:
    """Show how far each project has sent: what the centre lacks, what was lost, what could not be sent."""
    from taihu.kernel.config import load_site
    from taihu.runtime.edge.state import read_state
    from taihu.runtime.paths import Paths

    projects = read_state(Paths(load_site(site).data).upstream).projects
    body = [
        {
            "project": name,
            "connected": one.connected,
            "sent": sum(one.ledger.sent.values()),
            "behind": one.behind,
            "lost": sum(last - first + 1 for first, last in one.ledger.lost),
            "aside": len(one.ledger.aside),
        }
        for name, one in projects.items()
    ]
    if as_json:
        show_json({"projects": body})
        return
    rows = [
        (printable(str(one["project"])), "yes" if one["connected"] else "no", *(
            number_text(one[name]) for name in ("sent", "behind", "lost", "aside")
        ))
        for one in body
    ]  # fmt: skip
    show(("project", "connected", "values sent", "positions behind", "lost", "aside"), rows, ("values sent",))


@upstream.command()
@click.argument("project")
@click.option("--centre", required=True, metavar="URL", help="The centre's API, such as https://centre.example:8443.")
@click.option("--start", help="Only readings from this time on: ISO 8601 with an offset, or back from now such as -7d.")
@click.option("--end", help="Likewise; not included.")
@_json
@node_options
def ledger(node: NodeClient, project: str, centre: str, start: str | None, end: str | None, as_json: bool) -> None:
    """Compare what PROJECT holds here and at the centre, value by value; TAIHU_CENTRE_TOKEN may read it there.

    Ends with 1 when they differ.
    """
    import os

    token = os.environ.get("TAIHU_CENTRE_TOKEN") or click.prompt("Token of the centre", hide_input=True, err=True)
    here = _held(node, project, start, end)
    there = _held(connect(centre, token, None), project, start, end)
    lines = [_line(thing, here.get(thing, {}), there.get(thing, {})) for thing in sorted({*here, *there})]
    equal = all(line["equal"] for line in lines)
    if as_json:
        show_json({"project": project, "equal": equal, "things": lines})
    else:
        show(
            ("thing", "here", "centre", "gaps", "equal"),
            [
                (
                    printable(line["thing"]),
                    number_text(line["here"]),
                    number_text(line["centre"]),
                    number_text(line["gaps"]),
                    "yes" if line["equal"] else "NO",
                )
                for line in lines
            ],
            ("here", "centre", "gaps"),
        )
    if not equal:
        raise RefusedError("The two sides differ.", "While it is behind, wait: taihu upstream status")


def _held(node: NodeClient, project: str, start: str | None, end: str | None) -> dict[str, dict[str, tuple[int, str]]]:
    """How many values are held of each property of each thing, and a sum over all of them."""
    found: dict[str, dict[str, tuple[int, str]]] = {}
    rows = node.post("projects", project, "sql", body={"sql": _HELD}, start=start, end=end)["rows"]
    for thing, name, held, checksum in rows:
        found.setdefault(thing, {})[name] = (held, checksum or MISSING)
    return found


def _line(thing: str, here: dict[str, tuple[int, str]], there: dict[str, tuple[int, str]]) -> dict[str, Any]:
    gaps = sum(max(0, held - there.get(name, (0, ""))[0]) for name, (held, _) in here.items())
    return {
        "thing": thing,
        "here": sum(held for held, _ in here.values()),
        "centre": sum(held for held, _ in there.values()),
        "gaps": gaps,
        "equal": here == there,
    }
