"""`taihu export`: the readings of a project as Parquet or CSV files, with a manifest that says what they mean.

The history is fetched in slices of time, each by one question in SQL, so that neither end holds more than a slice, and
an export that was interrupted goes on at the slice that was missing.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from taihu.cli.client import NodeClient, NodeRefused, node_options
from taihu.cli.output import Progress, progress, show, show_json
from taihu.cli.transfer.manifest import (
    FORMAT,
    VERSION,
    Alike,
    Column,
    Manifest,
    Slice,
    ViewFiles,
    read_manifest,
    write_manifest,
)
from taihu.cli.transfer.moments import moment_ns
from taihu.cli.transfer.slices import rows_of_slice, slices
from taihu.kernel.clock import HOUR_NS, to_datetime
from taihu.kernel.errors import RefusedError
from taihu.things.deletion import TIME_MIN
from taihu.things.property import Property

_READ_BYTES = 1 << 20
_CALCULATED = "calculated"
_FIXED = {"readings", _CALCULATED, "rollups", "things", "properties", "deletions"}


@click.command()
@click.argument("project")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--format",
    "files_as",
    type=click.Choice(["parquet", "csv"]),
    default="parquet",
    show_default=True,
    help="The files.",
)
@click.option("--thing", "things", multiple=True, help="Only these; a name or a pattern such as 'meter-*'.")
@click.option("--property", "properties", multiple=True, help="Only these.")
@click.option("--start", help="Readings from this time on: ISO 8601 with an offset, or back from now such as -30d.")
@click.option("--end", help="Likewise; not included.  [default: now]")
@click.option("--json", "as_json", is_flag=True, help="The manifest as JSON.")
@node_options
def export(
    node: NodeClient,
    project: str,
    folder: Path,
    files_as: str,
    things: tuple[str, ...],
    properties: tuple[str, ...],
    start: str | None,
    end: str | None,
    as_json: bool,
) -> None:
    """Write the readings of PROJECT into FOLDER. Given again after an interruption, go on where it stopped."""
    asked = {"things": list(things), "properties": list(properties), "start": start, "end": end}
    manifest = read_manifest(folder)
    if manifest is None:
        if folder.exists() and any(folder.iterdir()):
            raise RefusedError(f"{folder} holds other files:", "name a folder that is new or empty.")
        manifest = _Plan(node, project, things, properties).manifest(asked, files_as, start, end)
        folder.mkdir(parents=True, exist_ok=True)
        write_manifest(folder, manifest)
    elif (manifest.project, manifest.asked, manifest.files_as) != (project, asked, files_as):
        raise RefusedError(f"{folder} holds an export of something else:", "name another folder.")
    with progress(f"Exporting {project}") as bar:
        bar.begin(manifest.rows)
        manifest = _fetch_all(node, manifest, folder, bar)
    if as_json:
        show_json(manifest)
    else:
        rows = [(view.name, str(sum(one.rows for one in view.files)), str(len(view.files))) for view in manifest.views]
        show(("view", "rows", "files"), rows, ("rows", "files"))


class _Plan:
    """What is to be fetched: the views with a row, their columns and slices."""

    def __init__(self, node: NodeClient, project: str, things: tuple[str, ...], properties: tuple[str, ...]) -> None:
        self._node = node
        self._project = project
        self._things = things
        self._properties = properties

    def manifest(self, asked: dict[str, Any], files_as: str, start: str | None, end: str | None) -> Manifest:
        """The plan. What is observed later than now is left for the next export."""
        now = self._node.get("node")["now"]
        first = moment_ns(start, now) if start else TIME_MIN
        last = moment_ns(end, now) if end else now
        known = self._node.get("projects", self._project, "sql", "views")["views"]
        views = [
            made for view in known if view["name"] not in _FIXED and (made := self._view(view, files_as, first, last))
        ]
        definitions = tuple(self._definitions())
        if any(one.formula for alike in definitions for one in alike.properties):
            begin = min((one.start for view in views for one in view.files), default=first)
            made = self._view(next(view for view in known if view["name"] == _CALCULATED), files_as, begin, last)
            views += [made] if made else []
        return Manifest(
            format=FORMAT,
            version=VERSION,
            project=self._project,
            asked=asked,
            files_as=files_as,
            start=min((one.start for view in views for one in view.files), default=first),
            end=last,
            things=tuple(self._metadata()),
            definitions=definitions,
            views=tuple(views),
        )

    def _view(self, view: dict[str, Any], files_as: str, first: int, last: int) -> ViewFiles | None:
        """The files of one view; None without a row."""
        columns = tuple(msgspec.convert(column, Column) for column in view["columns"])
        calculated = view["name"] == _CALCULATED
        if self._properties and not calculated:
            columns = tuple(one for one in columns if not one.property or one.property in self._properties)
            if all(not one.property for one in columns):
                return None
        sql = (
            f"SELECT epoch_ns(observed_at) // {HOUR_NS} AS h, count(*) FROM {_name(view['name'])} "  # noqa: S608 (quoted)
            f"WHERE {condition(columns, _wanted(view['name'], self._things, self._properties))} GROUP BY h ORDER BY h"
        )
        counts = self._counts(sql, first, last)
        files = []
        for start, end, rows in slices(counts, HOUR_NS, rows_of_slice(len(columns))):
            start, end = max(start, first), min(end, last)
            files.append(Slice(_file(view["name"], start, end, files_as), start, end, rows))
        return ViewFiles(view["name"], columns, tuple(files), calculated) if files else None

    def _counts(self, sql: str, start: int, end: int) -> list[tuple[int, int]]:
        """When each hour with a row begins, and its rows; asked in halves where they are too many for one answer."""
        try:
            return [(hour * HOUR_NS, count) for hour, count in self._ask(sql, start=start, end=end)]
        except NodeRefused as error:
            middle = (start + end) // 2 // HOUR_NS * HOUR_NS
            if error.problem != "limit" or not start < middle < end:
                raise
            return [*self._counts(sql, start, middle), *self._counts(sql, middle, end)]

    def _metadata(self) -> Iterator[dict[str, Any]]:
        body = self._body(f"SELECT * FROM things WHERE {_pattern(self._things)} ORDER BY thing")  # noqa: S608 (quoted)
        names = [column["name"] for column in body["columns"]]
        for row in body["rows"]:
            yield {name: value for name, value in zip(names, row, strict=True) if value not in (None, [])}

    def _definitions(self) -> Iterator[Alike]:
        wanted = _wanted("properties", self._things, self._properties)
        each = f"SELECT thing, list(definition ORDER BY property) AS d FROM properties WHERE {wanted}"  # noqa: S608
        for texts, things in self._ask(f"SELECT d, list(thing ORDER BY thing) FROM ({each} GROUP BY thing) GROUP BY d"):  # noqa: S608
            properties = tuple(msgspec.json.decode(text, type=Property) for text in texts)
            yield Alike(tuple(things), properties)

    def _ask(self, sql: str, **bounds: int) -> list[list[Any]]:
        rows: list[list[Any]] = self._body(sql, **bounds)["rows"]
        return rows

    def _body(self, sql: str, **bounds: int) -> Any:
        return self._node.post("projects", self._project, "sql", body={"sql": sql}, **bounds)


def condition(columns: Iterable[Column], wanted: str) -> str:
    """SQL for the rows of a file: of those wanted, and not silent on all properties."""
    said = " OR ".join(f"{_name(column.name)} IS NOT NULL" for column in columns if column.property)
    return f"({wanted}) AND ({said or 'true'})"


def question(view: ViewFiles, wanted: str, files_as: str) -> str:
    """The SELECT that fills a view's files. Text says in which zone its times are; Parquet has a type for them."""
    shown = [
        f"replace(CAST({column.name} AS VARCHAR), ' ', 'T') || 'Z' AS {column.name}"
        if files_as == "csv" and column.type == "TIMESTAMP_NS"
        else _name(column.name)
        for column in view.columns
    ]
    return f"SELECT {', '.join(shown)} FROM {_name(view.name)} WHERE {condition(view.columns, wanted)}"  # noqa: S608 (quoted)


def _fetch_all(node: NodeClient, manifest: Manifest, folder: Path, bar: Progress) -> Manifest:
    """All files; a slice that is more than an answer may be is cut in two, and the manifest says so."""
    done: list[ViewFiles] = []
    for number, view in enumerate(manifest.views):
        wanted = _wanted(view.name, manifest.asked["things"], manifest.asked["properties"])
        sql = question(view, wanted, manifest.files_as)
        files: list[Slice] = []
        left = list(view.files)
        while left:
            one = left.pop(0)
            try:
                _fetch(node, manifest, sql, one, folder)
            except NodeRefused as error:
                middle = (one.start + one.end) // 2
                if error.problem != "limit" or middle in (one.start, one.end):
                    raise
                halves = (one.start, middle), (middle, one.end)
                left[:0] = [Slice(_file(view.name, *half, manifest.files_as), *half, one.rows // 2) for half in halves]
                rest = msgspec.structs.replace(view, files=(*files, *left))
                manifest = msgspec.structs.replace(manifest, views=(*done, rest, *manifest.views[number + 1 :]))
                write_manifest(folder, manifest)
            else:
                files.append(one)
                bar.advance(one.rows)
        done.append(msgspec.structs.replace(view, files=tuple(files)))
    return manifest


def _fetch(node: NodeClient, manifest: Manifest, sql: str, one: Slice, folder: Path) -> None:
    """One file, unless it is there; what was interrupted is fetched again."""
    path = folder / one.file
    if path.exists():
        return
    path.parent.mkdir(exist_ok=True)
    draft = path.with_name(f"{path.name}.part")
    query: dict[str, str | int | None] = {"start": one.start, "end": one.end, "format": manifest.files_as}
    where = ("projects", manifest.project, "sql")
    with (
        node.exchange("POST", where, msgspec.json.encode({"sql": sql}), "application/json", query) as answer,
        draft.open("wb") as file,
    ):
        while data := answer.read(_READ_BYTES):
            file.write(data)
    os.replace(draft, path)


def _file(view: str, start: int, end: int, files_as: str) -> str:
    """The name of a slice's file, which sorts as the slices do."""
    return f"{view}/{to_datetime(start):%Y%m%dT%H%M%S.%fZ}-{(end - start) // 1_000_000_000}s.{files_as}"


def _wanted(view: str, things: Iterable[str], properties: Sequence[str]) -> str:
    """SQL for what was asked for of a view. Where properties are rows they are chosen like things, else by columns."""
    chosen = _pattern(things)
    if view not in (_CALCULATED, "properties") or not properties:
        return chosen
    return f"({chosen}) AND property IN ({', '.join(map(_quote, properties))})"


def _pattern(things: Iterable[str]) -> str:
    """SQL for the things that were asked for."""
    return " OR ".join(f"thing GLOB {_quote(thing)}" for thing in things) or "true"


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
