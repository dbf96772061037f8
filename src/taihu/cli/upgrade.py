"""The command that upgrades a site."""

from pathlib import Path

import click

from taihu.cli.output import progress, show, show_json
from taihu.kernel.errors import TransientError


@click.command()
@click.argument("site", type=click.Path(file_okay=False, path_type=Path), default=".")
@click.option("--check", is_flag=True, help="Only show the versions.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def upgrade(site: Path, check: bool, as_json: bool) -> None:
    """Bring the stores of the site in folder SITE, whose node does not run, to this release's versions."""
    from taihu.kernel.config import load_site
    from taihu.kernel.files import is_locked
    from taihu.runtime.upgrade import Upgraded, versions
    from taihu.runtime.upgrade import upgrade as bring

    content = load_site(site)
    if check:
        done = Upgraded(versions(content), "")
    elif is_locked(content.data / "metadata.db.lock"):
        raise TransientError(f"The node of {site} runs.", "Stop it, upgrade, and start it again.")
    else:
        with progress("Upgrading") as bar:
            done = bring(content, lambda step: bar.advance(0))
    if as_json:
        show_json(done)
        return
    rows = [
        (
            store.name,
            str(store.found or "-"),
            str(store.newest),
            "new" if store.found in (0, store.newest) else "older" if check else "upgraded",
        )
        for store in done.stores
    ]
    show(("store", "version", "newest", "state"), rows, ("version", "newest"))
    if done.saved:
        click.echo(f"What was before is in {done.saved}; remove it when you are content.", err=True)
