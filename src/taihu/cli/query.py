"""`taihu query`: read-only SQL over the views of one project."""

import sys
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import click
from msgspec.json import encode

from taihu.cli.client import NodeClient, node_options
from taihu.cli.output import number_text, on_terminal, show, show_json
from taihu.kernel.errors import RefusedError

_READ_BYTES = 1 << 20
_NUMBERS = ("INT", "DOUBLE", "FLOAT", "DECIMAL")
_ROWS_SHOWN = 1_000  # on a terminal: a person reads no more, and rich lays out every one


@click.command()
@click.argument("project")
@click.argument("sql", required=False)
@click.option("--start", help="Readings from this time on: ISO 8601 with an offset, or back from now such as -7d.")
@click.option("--end", help="Likewise; not included.")
@click.option("--format", "form", type=click.Choice(["csv", "parquet", "arrow"]), help="As a file.  [default: a table]")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the answer to a file.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@node_options
def query(
    node: NodeClient,
    project: str,
    sql: str | None,
    start: str | None,
    end: str | None,
    form: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Answer one SELECT over the views of PROJECT; list the views without one. `-` reads it from standard input."""
    if sql is None:
        _show_views(node, project, as_json)
        return
    if form in ("parquet", "arrow") and out is None and on_terminal():
        raise RefusedError(f"{form.capitalize()} is nothing to look at:", "name a file with --out.")
    body = {"sql": sys.stdin.read() if sql == "-" else sql}
    if form is None and out is None and not as_json:
        _show_rows(node.post("projects", project, "sql", body=body, start=start, end=end))
    else:
        path, options = ("projects", project, "sql"), {"start": start, "end": end, "format": form or "json"}
        with node.exchange("POST", path, encode(body), "application/json", options) as answer:
            _copy(answer, out)


def _copy(answer: HTTPResponse, out: Path | None) -> None:
    """An answer as it comes, into a file or to standard output."""
    with click.open_file(str(out) if out else "-", "wb") as target:
        while data := answer.read(_READ_BYTES):
            target.write(data)
        if not out and answer.headers.get_content_subtype() == "json":
            target.write(b"\n")


def _show_views(node: NodeClient, project: str, as_json: bool) -> None:
    body = node.get("projects", project, "sql", "views")
    if as_json:
        show_json(body)
        return
    rows = [
        (view["name"], column["name"], column["type"], column.get("property", ""))
        for view in body["views"]
        for column in view["columns"]
    ]
    show(("view", "column", "type", "property"), rows)


def _show_rows(body: dict[str, Any]) -> None:
    names = [column["name"] for column in body["columns"]]
    numeric = [column["name"] for column in body["columns"] if any(kind in column["type"] for kind in _NUMBERS)]
    rows = [tuple(map(number_text, row)) for row in body["rows"]]
    shown = rows[:_ROWS_SHOWN] if on_terminal() else rows
    show(names, shown, numeric)
    if len(shown) < len(rows):
        click.echo(f"{len(rows) - len(shown)} more rows are not shown: use --format csv, or LIMIT.", err=True)
