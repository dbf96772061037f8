"""Which source a file is: as it is told, or as its name and first bytes say."""

from pathlib import Path

import msgspec

from taihu.cli.transfer import homeassistant, thingsboard
from taihu.cli.transfer.csvfile import UTF_8, CsvSource, headings_of
from taihu.cli.transfer.exported import ExportSource
from taihu.cli.transfer.influxlines import LineSource
from taihu.cli.transfer.manifest import read_manifest
from taihu.cli.transfer.parquetfile import ParquetSource
from taihu.cli.transfer.rows import Source, SourceRefused
from taihu.cli.transfer.tables import Layout

FORMATS = ("taihu", "csv", "parquet", "influx", "thingsboard", "home-assistant")
_BY_ENDING = {
    ".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".lp": "influx", ".line": "influx", ".gz": "influx",
    ".json": "thingsboard", ".db": "home-assistant", ".sqlite": "home-assistant",
}  # fmt: skip


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """How to read a source, as far as it was said."""

    form: str | None
    layout: Layout
    delimiter: str = ""
    encoding: str = UTF_8
    devices: Path | None = None
    keys: Path | None = None
    table: str = homeassistant.STATES
    entities: Path | None = None


def open_source(path: Path, asked: Asked) -> Source:
    """The rows of a file or folder; SourceRefused when it cannot be read as asked."""
    form = asked.form or _told(path, asked.encoding)
    names = homeassistant.names_of(asked.entities) if asked.entities else {}
    match form:
        case "taihu":
            manifest = read_manifest(path)
            if manifest is None:
                raise SourceRefused(f"{path} holds no export:", "name a folder that taihu export wrote.")
            return ExportSource(path, manifest)
        case "parquet":
            paths = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
            return ParquetSource(paths, msgspec.structs.replace(asked.layout, typed=True))
        case "influx":
            return LineSource(path)
        case "thingsboard":
            if path.suffix == ".csv":
                return thingsboard.TsKv(path, asked.devices, asked.keys)
            return thingsboard.TelemetryJson(path, asked.layout.thing)
        case "home-assistant":
            if path.suffix == ".csv":
                return homeassistant.HistoryCsv(path, names)
            return (homeassistant.States if asked.table == homeassistant.STATES else homeassistant.Statistics)(
                path, names
            )
    return CsvSource(path, asked.layout, asked.delimiter, asked.encoding)


def _told(path: Path, encoding: str) -> str:
    """The format that a name says, and of a CSV file its headings."""
    if path.is_dir():
        return "taihu" if read_manifest(path) else "parquet"
    form = _BY_ENDING.get(path.suffix.lower())
    if form is None:
        raise SourceRefused(f"The name {path.name} does not say what it is:", f"use --format {'|'.join(FORMATS)}.")
    if form == "csv":
        headings = set(headings_of(path, encoding))
        if {"entity_id", "state", "last_changed"} <= headings:
            return "home-assistant"
        if {"entity_id", "key", "ts"} <= headings:
            return "thingsboard"
    return form
