"""Puts a backup into a folder of its own, and takes out what was deleted since it was made (§4, §10).

Each piece is compared with its checksum as it is written, and `site.toml` is written last: what was cut off is no site.
"""

import shutil
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath

import msgspec

from taihu.history.manifest import Erasure
from taihu.identity.directory import Directory
from taihu.identity.memory import Unknown
from taihu.kernel.clock import SystemClock
from taihu.kernel.config import FILE_NAME
from taihu.kernel.errors import DamagedError, RefusedError
from taihu.kernel.files import Files
from taihu.kernel.sections import SiteFile
from taihu.kernel.toml import read_toml
from taihu.runtime.backup.making import Watcher
from taihu.runtime.backup.repository import BackupDamaged, Entry, Manifest, Repository
from taihu.runtime.paths import Paths
from taihu.things.deletion import TIME_MAX, TIME_MIN, Deletion

_ALL = 1 << 62


class TargetTaken(RefusedError):
    """There is something already where a backup is to be put: name a folder that is new or empty."""

    code = "restore-target"


class Restored(msgspec.Struct, frozen=True):
    """What was put back. `deletions` are those that were asked for after the backup was made: they count."""

    name: str
    folder: str
    data: str
    position: int
    files: int
    bytes: int
    deletions: int


def restore(
    files: Files,
    repository: Repository,
    manifest: Manifest,
    target: Path,
    later: Iterable[Deletion],
    watcher: Watcher,
) -> Restored:
    """Put a backup into `target`, which is new or empty, with `later` deletions and those of all other backups.

    Things and credentials that were removed since are gone at once; readings that were deleted since are carried out
    by the node's start, before a door opens.

    Raises:
        TargetTaken: there is something in `target`, or where `site.toml` has its data.
        BackupDamaged: a file cannot be put back; nothing is left of what was.
        ConfigError: its `site.toml` does not stand.
        OSError: the disk refuses; likewise.
    """
    target = target.absolute()
    entries = {entry.path: entry for entry in manifest.entries}
    own = entries.get(f"site/{FILE_NAME}")
    if own is None:
        raise BackupDamaged(f"Backup {manifest.name} has no {FILE_NAME}.", "Use another one.")
    text = b"".join(_checked(repository, manifest, own, number) for number in range(len(own.pieces)))
    data = target / read_toml(text.decode("utf-8", "replace"), SiteFile, FILE_NAME).node.data
    roots = {"site": target, "data": data}
    for root in roots.values():
        if files.names(root):
            raise TargetTaken(f"{root} is not empty.", "Name a folder that is new; see docs/backup.md on [node] data.")
    deletions = {one.id: one for each in (*repository.manifests(), manifest) for one in each.deletions}
    deletions |= {one.id: one for one in later}
    watcher.begin(manifest.size)
    try:
        last = [entry for entry in manifest.entries if entry is not own]
        for entry in (*last, own):
            if entry is own:
                missing = _settle(Paths(data), manifest, deletions)
            _write(files, repository, manifest, entry, _place(roots, entry), watcher)
        for folder in sorted({_place(roots, entry).parent for entry in manifest.entries}):
            files.sync(folder)
    except BaseException:
        for root in roots.values():
            shutil.rmtree(root, ignore_errors=True)
        raise
    return Restored(
        name=manifest.name,
        folder=str(target),
        data=str(data),
        position=manifest.position,
        files=len(manifest.entries),
        bytes=manifest.size,
        deletions=missing,
    )


def deletions_of(path: Path) -> list[Deletion]:
    """The deletions that a live site knows: its folder, its data folder, or what `taihu deletions --json` says.

    Raises:
        RefusedError: it is none of these.
    """
    for store in (path / "metadata.db", path / "data" / "metadata.db"):
        if store.exists():
            try:
                with closing(sqlite3.connect(f"{store.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as database:
                    found = database.execute("SELECT document FROM deletions").fetchall()
                return [msgspec.json.decode(document, type=Deletion) for (document,) in found]
            except (sqlite3.DatabaseError, msgspec.DecodeError) as error:
                raise DamagedError(f"The deletions in {store} cannot be read: {error}.", "See: taihu doctor") from None
    try:
        content = msgspec.json.decode(path.read_bytes(), type=_Told)
    except (OSError, msgspec.DecodeError) as error:
        raise RefusedError(f"{path} holds no deletions: {error}.", "Write them with: taihu deletions --json") from None
    return [
        Deletion(
            id=one.id,
            project=one.project,
            thing=one.thing,
            property=one.property,
            start=TIME_MIN if one.start is None else one.start,
            end=TIME_MAX if one.end is None else one.end,
            removes=one.removes,
            at=one.at,
            by=one.by,
        )
        for one in content.deletions
    ]


class _Receipt(msgspec.Struct):
    id: str
    project: str
    thing: str
    property: str
    start: int | None
    end: int | None
    removes: bool
    at: int
    by: str


class _Told(msgspec.Struct):
    """What `taihu deletions --json` prints."""

    deletions: list[_Receipt]


def _place(roots: Mapping[str, Path], entry: Entry) -> Path:
    root, *parts = PurePosixPath(entry.path).parts
    if root not in roots or not parts or ".." in parts:
        raise BackupDamaged(f"A backup cannot hold {entry.path!r}.", "Somebody changed it: use another.")
    return roots[root].joinpath(*parts)


def _write(
    files: Files, repository: Repository, manifest: Manifest, entry: Entry, path: Path, watcher: Watcher
) -> None:
    files.make_folder(path.parent)
    with closing(files.append(path)) as file:
        for number in range(len(entry.pieces)):
            data = _checked(repository, manifest, entry, number)
            file.write(data)
            watcher.advance(len(data))
        file.datasync()


def _checked(repository: Repository, manifest: Manifest, entry: Entry, number: int) -> bytes:
    data = repository.get(entry.pieces[number])
    if data is None:
        raise BackupDamaged(
            f"{entry.path} of backup {manifest.name} is damaged.", f"See: taihu backup verify {repository.folder}"
        )
    return data


def _settle(paths: Paths, manifest: Manifest, deletions: Mapping[str, Deletion]) -> int:
    """Bring the metadata to what the other files are; returns how many deletions came after the backup."""
    if not paths.metadata.exists():
        return 0
    directory = Directory(paths.metadata, SystemClock())
    try:
        directory.take_up_again(manifest.position, _erased(paths))
        known = {receipt.deletion.id for receipt in directory.receipts(limit=_ALL)}
        missing: Sequence[Deletion] = sorted(
            (one for one in deletions.values() if one.id not in known), key=lambda one: one.at
        )
        count = 0
        for one in missing:
            try:
                directory.accept(one, bounded=False)
            except Unknown:
                continue  # its project is younger than the backup
            count += 1
        directory.record("", "restored", f"backup {manifest.name}, made with {manifest.release}")
    finally:
        directory.close()
    return count


def _erased(paths: Paths) -> set[str]:
    """The deletions of which no file of the history or the journal has anything."""
    path = paths.history / "manifest.sqlite"
    if not path.exists():
        return set()
    with closing(sqlite3.connect(path)) as database:
        try:
            return {
                number for (number,) in database.execute("SELECT id FROM deletions WHERE state = ?", (Erasure.ERASED,))
            }
        except sqlite3.OperationalError:
            return set()  # of a release before there were any
