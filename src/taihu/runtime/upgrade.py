"""Brings the stores of a site that stands to this release's versions: looked at, saved, migrated, and looked at again.

Each store is migrated in one transaction, so that a run that was cut off is run again; what was saved first stays.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec

from taihu.history.manifest import SCHEMA_VERSION, Manifest
from taihu.identity.directory import Directory
from taihu.identity.schema import MIGRATIONS, NewerStore
from taihu.journal import format as layout
from taihu.kernel.clock import SystemClock
from taihu.kernel.errors import DamagedError
from taihu.kernel.files import Files, OsFiles, write_atomic
from taihu.kernel.sections import Site
from taihu.runtime.doctor import stores as checks
from taihu.runtime.doctor.case import Case
from taihu.runtime.doctor.finding import Severity
from taihu.runtime.paths import Paths

_SAVED = "before-upgrade"
_SMALL = ("audit.head", "ca/ca.crt", "ca/ca.key")


class StoreVersion(msgspec.Struct, frozen=True):
    """A store with the version it has and the one that this release writes; 0 when there is none yet."""

    name: str
    found: int
    newest: int


class Upgraded(msgspec.Struct, frozen=True):
    """What was done: the stores as they were, and where the older ones were saved; empty when all were new."""

    stores: list[StoreVersion]
    saved: str


def versions(site: Site) -> list[StoreVersion]:
    """The versions of a site's stores. Raises DamagedError."""
    paths = Paths(site.data)
    return [
        StoreVersion("metadata", _number(paths.metadata, "SELECT version FROM schema_version"), len(MIGRATIONS)),
        StoreVersion("history", _number(paths.history / "manifest.sqlite", "PRAGMA user_version"), SCHEMA_VERSION),
        StoreVersion("journal", _journal_version(paths.journal), layout.VERSION),
    ]


def upgrade(site: Site, seen: Callable[[str], None] = lambda step: None) -> Upgraded:
    """Upgrade a site whose node does not run; nothing is changed when all is new.

    Raises:
        StoreBusy: its node runs: stop it.
        NewerStore: a later release wrote one of the stores.
        DamagedError: a store cannot be read, before or after.
    """
    files, paths, clock = OsFiles(), Paths(site.data), SystemClock()
    found = versions(site)
    for store in found:
        if store.found > store.newest:
            raise NewerStore(
                f"The {store.name} has version {store.found}; this release knows {store.newest}.",
                "Start the release that wrote it, or a later one.",
            )
    if all(store.found in (0, store.newest) for store in found):
        return Upgraded(found, "")
    seen("saving")
    saved = _save(files, paths, "-".join(str(store.found) for store in found))
    seen("migrating")
    if paths.metadata.exists():
        Directory(paths.metadata, clock, site.limits).close()
    if (paths.history / "manifest.sqlite").exists():
        Manifest(paths.history / "manifest.sqlite").close()
    seen("verifying")
    case = Case(site, files, clock, quick=False, seen=lambda size: None)
    faults = [each for check in (checks.metadata, checks.history, checks.journal) for each in check(case)]
    for fault in faults:
        if fault.severity is Severity.ERROR:
            raise DamagedError(f"After the upgrade: {fault.what}", f"{fault.remedy}; what was before is in {saved}.")
    return Upgraded(found, str(saved))


def _save(files: Files, paths: Paths, name: str) -> Path:
    """Copies of what migrations change, in a folder that appears whole; one that is there already is kept."""
    target = paths.data / f"{_SAVED}-{name}"
    if target.exists():
        return target
    draft = target.with_name(target.name + ".new")
    for other in draft.glob("*") if draft.exists() else ():
        other.unlink()
    files.make_folder(draft)
    for source in (paths.metadata, paths.history / "manifest.sqlite"):
        if source.exists():
            _copy_database(source, draft / source.name)
            files.sync(draft / source.name)
    for small in _SMALL:
        if (paths.data / small).exists():
            write_atomic(files, draft / Path(small).name, (paths.data / small).read_bytes())
    files.rename(draft, target)
    return target


def _copy_database(source: Path, target: Path) -> None:
    target.touch(mode=0o600)
    uri = f"{source.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def _number(path: Path, query: str) -> int:
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            return int(database.execute(query).fetchone()[0])
    except (sqlite3.DatabaseError, TypeError) as error:
        raise DamagedError(f"{path} cannot be read: {error}.", "Put a backup back: taihu restore.") from None


def _journal_version(folder: Path) -> int:
    """The newest version among the segments; 0 when there are none."""
    heads = [_head(path) for path in folder.glob("*.seg")]
    return max((int.from_bytes(head[8:12], "little") for head in heads if len(head) == 12), default=0)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(12)
