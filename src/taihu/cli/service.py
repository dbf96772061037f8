"""Commands for whoever runs a site as a service: status, reload, systemd, completion."""

import sys
from pathlib import Path

import click

from taihu.cli.client import NodeClient, node_options
from taihu.cli.output import show, show_json, time_text

_FOLDER = click.Path(file_okay=False, path_type=Path)
_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.command()
@click.argument("site_folder", metavar="[FOLDER]", type=_FOLDER, required=False)
@_json
@node_options
def status(node: NodeClient, as_json: bool) -> None:
    """Show how the node is, that of the site in FOLDER: its counters, and whether its worker runs.

    Exits with 4 where none answers.
    """
    found = node.get("node")
    if as_json:
        show_json(found)
        return
    rows = [(name, _shown(name, value)) for name, value in found.items() if not isinstance(value, dict)]
    rows += [(f"mqtt {name}", f"{value:,}") for name, value in found.get("mqtt", {}).items()]
    show(("what", "value"), rows, ("value",))


@click.command()
@click.argument("site_folder", metavar="[FOLDER]", type=_FOLDER, required=False)
@_json
@node_options
def reload(node: NodeClient, as_json: bool) -> None:
    """Let a running node, that of the site in FOLDER, take over a changed site.toml and the files it names."""
    report = node.post("admin", "reload", body={})
    if as_json:
        show_json(report)
        return
    rows = [(name, "applied") for name in report["applied"]] + [(name, "restart") for name in report["restart"]]
    if rows:
        show(("setting", "counts"), rows)
    else:
        click.echo("No setting changed; certificates and the files that are named were read again.")


@click.command()
@click.argument("site", type=_FOLDER, default=".")
@click.option("--user", default="taihu", show_default=True, help="The user it runs as.")
@click.option("--console", is_flag=True, help="The unit of its pages, not that of the node.")
def systemd(site: Path, user: str, console: bool) -> None:
    """Print a systemd unit that runs the site in folder SITE."""
    from taihu.kernel.config import load_site
    from taihu.runtime.systemd import unit_text

    executable = Path(sys.argv[0]).absolute()
    click.echo(unit_text(load_site(site), executable, user, console=console), nl=False)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script with which a shell completes taihu's commands and options."""
    from click.shell_completion import get_completion_class

    from taihu.cli.main import taihu

    kind = get_completion_class(shell)
    assert kind is not None
    maker = kind(taihu, {}, "taihu", "_TAIHU_COMPLETE")
    click.echo(maker.source_template % maker.source_vars())


def _shown(name: str, value: object) -> str:
    if name == "now" and isinstance(value, int):
        return time_text(value)
    return f"{value:,}" if isinstance(value, int) else str(value)
