"""`taihu audit`: who did what when, and whether anybody changed what is written of it."""

from pathlib import Path
from typing import Any

import click

from taihu.cli.admin import Administration, administration_options, json_option
from taihu.cli.output import MISSING, printable, show, show_json, time_text
from taihu.kernel.errors import DamagedError

_HASH_SHOWN = 12


class AuditBroken(DamagedError):
    """The audit is not what was written: somebody changed, removed or added entries, or the disk did."""

    code = "audit-broken"


@click.group()
def audit() -> None:
    """Show and check who did what."""


@audit.command("show")
@click.argument("project", required=False)
@click.option("--limit", type=click.IntRange(1, 1_000), default=100, show_default=True, help="At most so many entries.")
@click.option("--before", type=click.IntRange(1), help="Only entries before this number.")
@json_option
@administration_options
def audit_show(to: Administration, project: str | None, limit: int, before: int | None, as_json: bool) -> None:
    """Show the newest entries, of PROJECT or of all the node."""
    answer = to.act("audit-show", project=project or "", limit=limit, before=before)
    if as_json:
        show_json(answer)
        return
    rows = [
        (
            str(one["number"]),
            time_text(one["at"]),
            printable(one["who"]) or MISSING,
            one["what"],
            printable(one["detail"]),
            one["hash"][:_HASH_SHOWN],
        )
        for one in answer["entries"]
    ]
    show(("number", "at", "who", "what", "detail", "hash"), rows, ("number",))


@audit.command("verify")
@click.option("--head", default="", help="A head noted earlier, NUMBER:HASH, that must be part of the audit.")
@click.option("--url", envvar="TAIHU_URL", help="The node's address [TAIHU_URL].")
@click.option("--token", envvar="TAIHU_TOKEN", help="A token of an owner of the node [TAIHU_TOKEN].")
@click.option("--site", type=click.Path(file_okay=False, path_type=Path), help="The folder of a site, running or not.")
@json_option
def audit_verify(head: str, url: str | None, token: str | None, site: Path | None, as_json: bool) -> None:
    """Read the whole audit and check that nothing of it was changed, removed, added or cut off.

    A site's files are read as they are, whether its node runs or not.
    """
    if site is None and url is None and token is None and Path("site.toml").exists():
        site = Path()
    answer = _of_node(url, token, head) if site is None else _of_files(site, head)
    if as_json:
        show_json(answer)
    else:
        click.echo(f"{answer['entries']} entries checked; the head is {answer['head']}")
        for fault in answer["faults"]:
            click.echo(printable(fault))
    if answer["faults"]:
        raise AuditBroken("The audit is not what was written.", "Keep the site's files as they are, and look into it.")


def _of_files(site: Path, head: str) -> dict[str, Any]:
    from taihu.identity.auditing import verify_audit
    from taihu.kernel.config import load_site
    from taihu.runtime.admin.audit import expected_head, verdict_shown
    from taihu.runtime.paths import Paths

    return verdict_shown(verify_audit(Paths(load_site(site).data).metadata, expected_head(head)))


def _of_node(url: str | None, token: str | None, head: str) -> dict[str, Any]:
    from taihu.cli.client import connect

    answer: dict[str, Any] = connect(url, token, None).post("admin", "audit-verify", body={"head": head})
    return answer
