"""The rows of a folder that `taihu export` wrote, with what its manifest knows of the things."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from taihu.cli.transfer.csvfile import CsvSource
from taihu.cli.transfer.manifest import Manifest, ViewFiles
from taihu.cli.transfer.parquetfile import ParquetSource
from taihu.cli.transfer.rows import Item, SourceRefused
from taihu.cli.transfer.tables import Column, Layout
from taihu.things.property import Property, Thing


class ExportSource:
    """An export's folder."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        manifest = manifest.readings
        missing = [one.file for view in manifest.views for one in view.files if not (folder / one.file).exists()]
        if missing:
            raise SourceRefused(f"{len(missing)} files of the export are missing:", "give the same taihu export again.")
        self._known = _things(manifest)
        self._folder = folder
        self._manifest = manifest
        self.total = manifest.rows
        self._done = self.skipped = 0

    def about(self, thing: str) -> Thing | None:
        return self._known.get(thing)

    def items(self, after: int) -> Iterator[Item]:
        number = 0
        for view in self._manifest.views:
            for one in self._files(view):
                for item in one.items(0):
                    number += 1
                    self._done = number
                    if number > after:
                        yield item._replace(number=number)

    def done(self) -> int:
        return self._done

    def _files(self, view: ViewFiles) -> Iterator[CsvSource | ParquetSource]:
        columns = {one.name: Column("", Property(name=one.property)) for one in view.columns if one.property}
        layout = Layout(time="observed_at", thing_column="thing", columns=columns, zone=ZoneInfo("UTC"))
        for one in view.files:
            path = self._folder / one.file
            yield CsvSource(path, layout, ",") if self._manifest.files_as == "csv" else ParquetSource([path], layout)


def _things(manifest: Manifest) -> Mapping[str, Thing]:
    """What the manifest knows of each thing, its properties among it."""
    found = {}
    fields = set(Thing.__struct_fields__) - {"name", "properties"}
    metadata = {one["thing"]: {name: value for name, value in one.items() if name in fields} for one in manifest.things}
    for alike in manifest.definitions:
        for name in alike.things:
            known = metadata.get(name, {})
            found[name] = msgspec.convert(
                known | {"name": name, "properties": {one.name: one for one in alike.properties}}, Thing
            )
    return found
