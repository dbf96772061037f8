"""`taihu import`: readings of files into a project, through the node as any sender's; twice changes nothing."""

from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
import msgspec

from taihu.cli.acting import operator
from taihu.cli.client import NodeClient, node_options
from taihu.cli.output import Progress, progress, show, show_json
from taihu.cli.transfer.csvfile import UTF_8
from taihu.cli.transfer.known import Known
from taihu.cli.transfer.opening import FORMATS, Asked, open_source
from taihu.cli.transfer.rows import Item, Line, Refused, Row, Source
from taihu.cli.transfer.sink import Place, Report, Sink, read_place
from taihu.cli.transfer.tables import Layout, parse_column
from taihu.kernel.errors import RefusedError

_CELLS, _ROWS = 20_000, 2_000  # of a batch
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class ImportRefused(RefusedError):
    """Some rows were not taken; the report says which and why."""

    code = "import-refused"


def _zone(context: click.Context, option: click.Parameter, name: str | None) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (KeyError, ValueError, OSError):
        raise click.BadParameter(f"{name!r} is no time zone; write an IANA name such as Asia/Shanghai.") from None


def _encoding(context: click.Context, option: click.Parameter, name: str) -> str:
    try:
        if "\n".encode(name) == b"\n":
            return name
    except LookupError:
        pass
    raise click.BadParameter(f"{name!r} is none that lines can be read in; write utf-8, gb18030, cp1252 or the like.")


@click.command("import")
@click.argument("project")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--format", "form", type=click.Choice(FORMATS), help="What it is.  [default: told by name and content]")
@click.option("--thing", default="", help="All rows are of this thing.")
@click.option("--thing-column", default="", help="The column that names the thing.  [default: thing]")
@click.option("--time", default="", help="The column of the time.  [default: time, timestamp, ts, …]")
@click.option("--tz", "zone", callback=_zone, help="Time zone of times without an offset; without it they are refused.")
@click.option(
    "--column", "columns", multiple=True, metavar="HEADING=[THING/]PROPERTY[:UNIT[:KIND]]", help="Only such columns."
)
@click.option("--property-column", default="", help="Of a table with one value a row: the column of the name.")
@click.option("--value-column", default="", help="And that of the value.")
@click.option("--delimiter", default="", help="Between cells.  [default: told by the first line]")
@click.option("--encoding", callback=_encoding, default=UTF_8, show_default=True, help="Of a CSV file, as gb18030.")
@click.option("--decimal", type=click.Choice([".", ","]), default=".", show_default=True, help="As in 3.5 or 3,5.")
@click.option("--devices", type=_FILE, help="ThingsBoard's table device as CSV.")
@click.option("--keys", type=_FILE, help="ThingsBoard's table key_dictionary as CSV.")
@click.option(
    "--table",
    type=click.Choice(["states", "statistics"]),
    default="states",
    show_default=True,
    help="Of Home Assistant.",
)
@click.option("--entities", type=_FILE, help="CSV of entity_id, thing, property: names for Home Assistant's entities.")
@click.option("--create", is_flag=True, help="Make the things and properties that the project lacks.")
@click.option("--dry-run", is_flag=True, help="Send nothing, make nothing: only say what would be refused.")
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("import-refused.csv"),
    show_default=True,
    help="Where refusals go.",
)
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where is noted how far it came.  [default: a hidden file here]",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@node_options
def import_(
    node: NodeClient,
    project: str,
    source: Path,
    form: str | None,
    create: bool,
    dry_run: bool,
    report: Path,
    state: Path | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Import the readings in SOURCE into PROJECT. Given again after an interruption, go on where it stopped."""
    opened = open_source(source, _asked(form, how))
    begun = Place(source=str(source.absolute()), project=f"{node.url} {project}", size=opened.total)
    path = state or Path(f".taihu-import-{sha256(msgspec.json.encode(begun)).hexdigest()[:12]}.json")
    place = begun if dry_run else read_place(path, begun)
    if not place.number:
        report.unlink(missing_ok=True)
    refusals = Report(report, place.refused)
    with operator(node, project, "taihu import") as own, progress(f"Importing {source.name}") as bar:
        known = Known(own, project, opened.about, create=create, dry_run=dry_run)
        sink = None if dry_run else Sink(own, project, refusals)
        _Run(sink, refusals, known, opened, place, path).run(bar)
    path.unlink(missing_ok=True)
    result = {"accepted": place.accepted, "refused": place.refused, "skipped": place.skipped, "created": known.created}
    if as_json:
        show_json(result)
    else:
        show(tuple(result), [tuple(map(str, result.values()))], tuple(result))
    if place.refused:
        raise ImportRefused(f"{place.refused} rows or values were refused:", f"{report} says which and why.")


class _Run:
    """One import at work: rows are checked, gathered into batches, sent, and the place noted after each."""

    def __init__(
        self, sink: Sink | None, report: Report, known: Known, source: Source, place: Place, path: Path
    ) -> None:
        self._sink = sink
        self._report = report
        self._known = known
        self._source = source
        self._place = place
        self._path = path
        self._shown = 0

    def run(self, bar: Progress) -> None:
        """All rows beyond the place."""
        bar.begin(self._source.total)
        items: list[Item] = []
        cells = 0
        for item in self._source.items(self._place.number):
            full = cells >= _CELLS or len(items) >= _ROWS
            if full and item.number != items[-1].number:  # a record is sent whole: the place is that of a record
                self._send(items, bar)
                items, cells = [], 0
            items.append(item)
            cells += len(item.values) if isinstance(item, Row) else 1
        self._send(items, bar)
        self._place.skipped += self._source.skipped

    def _send(self, items: list[Item], bar: Progress) -> None:
        if not items:
            return
        rows: list[Row | Line] = []
        self._known.see(item for item in items if isinstance(item, Row))
        for item in items:
            match item:
                case Refused():
                    self._report.add([item])
                case Line():
                    rows.append(item)
                case Row():
                    values, refused = self._known.check(item)
                    self._report.add(refused)
                    if values:
                        rows.append(item._replace(values=values))
        self._place.accepted += self._sink.send(rows) if self._sink else len(rows)
        self._place.refused = self._report.count
        self._place.number = items[-1].number
        if self._sink:
            self._path.write_bytes(msgspec.json.encode(self._place))
        bar.advance(self._source.done() - self._shown)
        self._shown = self._source.done()


def _asked(form: str | None, how: dict[str, Any]) -> Asked:
    layout = Layout(
        time=how["time"],
        thing=how["thing"],
        thing_column=how["thing_column"],
        property_column=how["property_column"],
        value_column=how["value_column"],
        columns=dict(map(parse_column, how["columns"])),
        zone=how["zone"],
        decimal=how["decimal"],
    )
    others = {name: how[name] for name in ("delimiter", "encoding", "devices", "keys", "table", "entities")}
    return Asked(form=form, layout=layout, **others)
