"""`manifest.json` of an export: what was asked for, which files there are, and what their columns mean."""

import os
from pathlib import Path
from typing import Any

import msgspec

from taihu.kernel.errors import RefusedError
from taihu.things.property import Property

NAME = "manifest.json"
FORMAT, VERSION = "taihu-export", 1


class Column(msgspec.Struct, frozen=True, omit_defaults=True):
    """A column of the files, and the property whose values it holds."""

    name: str
    type: str
    property: str = ""


class Slice(msgspec.Struct, frozen=True):
    """One file: the readings observed in [start, end) ns, `rows` of them when it was planned."""

    file: str
    start: int
    end: int
    rows: int


class ViewFiles(msgspec.Struct, frozen=True):
    """The files of one view, in the order of time. `calculated` says that they are worked out of those of others."""

    name: str
    columns: tuple[Column, ...]
    files: tuple[Slice, ...]
    calculated: bool = False


class Alike(msgspec.Struct, frozen=True):
    """Things that share their properties."""

    things: tuple[str, ...]
    properties: tuple[Property, ...]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """An export. Times are UTC ns; `things` are as the view `things` has them."""

    format: str
    version: int
    project: str
    asked: dict[str, Any]
    files_as: str
    start: int
    end: int
    things: tuple[dict[str, Any], ...]
    definitions: tuple[Alike, ...]
    views: tuple[ViewFiles, ...]

    @property
    def rows(self) -> int:
        """All rows planned."""
        return sum(one.rows for view in self.views for one in view.files)

    @property
    def readings(self) -> "Manifest":
        """Without what is calculated."""
        views = tuple(view for view in self.views if not view.calculated)
        return msgspec.structs.replace(self, views=views)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder, None without one; RefusedError when it is none of ours or a later release's."""
    try:
        found = msgspec.json.decode((folder / NAME).read_bytes(), type=Manifest)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(f"{folder / NAME} is no manifest of an export ({error}):", "name another folder.") from None
    if found.format != FORMAT or found.version > VERSION:
        raise RefusedError(
            f"{folder / NAME} has format {found.format} {found.version}, this release knows {FORMAT} {VERSION}:",
            "use the release that wrote it, or a later one.",
        )
    return found


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it, whole or not at all."""
    draft = folder / f"{NAME}.part"
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    os.replace(draft, folder / NAME)
