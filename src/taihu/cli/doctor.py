"""The command that examines a site."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from taihu.cli.main import EXIT_FAULTS, EXIT_WARNINGS
from taihu.cli.output import on_terminal, progress, show_json

if TYPE_CHECKING:
    from taihu.runtime.doctor.finding import Finding

_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}
_MARKS = {"error": "✗", "warning": "!", "note": "·"}
_WIDTH = 100


@click.command()
@click.argument("site", type=click.Path(file_okay=False, path_type=Path), default=".")
@click.option("--quick", is_flag=True, help="Without reading all of the journal and history.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def doctor(context: click.Context, site: Path, quick: bool, as_json: bool) -> None:
    """Examine the site in folder SITE, whether its node runs, stands or died: what is wrong, and what mends it."""
    from taihu.runtime.doctor.case import Case
    from taihu.runtime.doctor.examine import CHECKS, open_case, size_of

    with progress("Examining") as bar:
        case = open_case(site, quick=quick, seen=bar.advance)
        findings = [] if isinstance(case, Case) else [case]
        if isinstance(case, Case):
            bar.begin(size_of(case))
            for check in CHECKS.values():
                findings += check(case)
    state = str(case.state) if isinstance(case, Case) else "unknown"
    findings.sort(key=lambda one: list(_COLOURS).index(one.severity))
    if as_json:
        show_json({"state": state, "checked": list(CHECKS), "findings": findings})
    else:
        _show(state, findings, len(CHECKS))
    context.exit(_exit_code(findings))


def _exit_code(findings: list["Finding"]) -> int:
    severities = {str(one.severity) for one in findings}
    return EXIT_FAULTS if "error" in severities else EXIT_WARNINGS if "warning" in severities else 0


def _show(state: str, findings: list["Finding"], checks: int) -> None:
    for one in findings:
        colour = _COLOURS[one.severity]
        head = f"{_MARKS[one.severity]} {one.severity}: {one.check}"
        click.echo(click.style(head, fg=colour, bold=True))
        for words in (one.what, one.why):
            if words:
                click.echo(click.wrap_text(words, _WIDTH, "    ", "    "))
        click.echo(click.style("    → ", fg=colour) + one.remedy)
        click.echo()
    counts = ", ".join(
        f"{count} {name}{'s' if count != 1 else ''}"
        for name in _COLOURS
        if (count := sum(one.severity == name for one in findings))
    )
    mark = click.style("✓ ", fg="green") if not findings and on_terminal() else ""
    click.echo(f"{mark}{checks} checks, the node is {state}: {counts or 'nothing found'}.")
