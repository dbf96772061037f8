"""Makes a backup of a site while its node runs, beside it and without its help (§4).

What is read comes in an order that makes one whole of it: the history's list with its files, then ledger and snapshots,
then the journal from the oldest position that one of them needs to its end, and the metadata last. So the journal has
what the history lacks, and the metadata knows every thing of the journal, and every deletion. When something that was
needed went meanwhile, as when files are merged, another round reads what is new.
"""

import errno
import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import msgspec

from taihu.journal import format as layout
from taihu.journal.scan import Hole, mark_of_first_frame, read_header, scan
from taihu.kernel.clock import NS_PER_S, Clock, to_datetime
from taihu.kernel.errors import DamagedError, RefusedError
from taihu.kernel.files import Files
from taihu.kernel.sections import Site
from taihu.runtime.backup.repository import PIECE_BYTES, BackupBusy, Entry, Manifest, Repository
from taihu.runtime.edge.state import read_state, upstream_of
from taihu.runtime.ingest.spool import chunk_files
from taihu.runtime.paths import Paths
from taihu.things.deletion import Deletion

_ROUNDS = 20
_DATABASES = (".db", ".sqlite")
_PASSING = (".lock", ".sock", ".new", ".draft", "-wal", "-shm", "-journal", ".damaged")
_BEGINS = ("before-upgrade-", "node.json", "control.key", ".")  # what a start makes anew, or saved
_decode = msgspec.json.Decoder(Deletion).decode


class Watcher(Protocol):
    """Who looks on."""

    def begin(self, total: int) -> None:
        """There are about `total` bytes."""
        ...

    def advance(self, steps: int = 1) -> None:
        """So many more are done."""
        ...


class Made(msgspec.Struct, frozen=True):
    """A backup as it was made: bytes that were read of the site, and that the folder grew by.

    `damaged` are files of the history that do not have the checksum of its list; they are in the backup as they are.
    """

    name: str
    made_at: int
    expires_at: int
    position: int
    files: int
    bytes: int
    read: int
    added: int
    damaged: list[str] = []


class _Changed(Exception):
    """Something that was needed went while it was read."""


def make(site: Site, files: Files, repository: Repository, clock: Clock, keep_s: int, watcher: Watcher) -> Made:
    """Add a backup of `site` to the folder; it is to be removed after `keep_s`. Call it while the folder is `held`.

    Raises:
        RefusedError: the folder lies in the data folder, or has another site's backups.
        BackupBusy: the site changes faster than it can be read.
        DamagedError: a database of the site cannot be read.
        OSError: a disk refuses.
    """
    data = site.data.resolve()
    if repository.folder.resolve().is_relative_to(data):
        raise RefusedError(f"{repository.folder} lies in the data folder.", "Name a folder elsewhere, on another disk.")
    if site.folder.resolve().is_relative_to(data):
        raise RefusedError("The site lies in its own data folder.", "Set [node] data to a folder of its own.")
    names = repository.names()
    last = repository.manifest(names[-1]) if names else None
    if last is not None and last.site != site.site.name:
        raise RefusedError(f"{repository.folder} has the backups of {last.site!r}.", "Name a folder of its own.")
    draft = _Draft(site, files, repository, last, watcher)
    for _ in range(_ROUNDS):
        try:
            position = draft.round()
        except _Changed:
            continue
        now = clock.now_ns()
        manifest = Manifest(
            name=_name(now, names),
            site=site.site.name,
            release=version("taihu"),
            made_at=now,
            expires_at=(now // NS_PER_S + keep_s) * NS_PER_S,
            position=position,
            entries=tuple(draft.entries.values()),
            deletions=draft.deletions,
        )
        repository.commit(manifest)
        return Made(
            name=manifest.name,
            made_at=now,
            expires_at=manifest.expires_at,
            position=position,
            files=len(manifest.entries),
            bytes=manifest.size,
            read=draft.read,
            added=draft.added,
            damaged=sorted(draft.damaged & draft.entries.keys()),
        )
    raise BackupBusy("The site's files change faster than they can be read.", "Try again when less comes in.")


class _Draft:
    """What is read of one site, round by round."""

    def __init__(
        self, site: Site, files: Files, repository: Repository, last: Manifest | None, watcher: Watcher
    ) -> None:
        self.entries: dict[str, Entry] = {}
        self.deletions: tuple[Deletion, ...] = ()
        self.damaged: set[str] = set()
        self.read = self.added = 0
        self._site = site
        self._paths = Paths(site.data)
        self._files = files
        self._repository = repository
        self._watcher = watcher
        self._known = {entry.path: entry for entry in last.entries} if last else {}
        # A sealed folder may be anywhere: nothing goes there that is not.
        self._passing = (self._paths.data if repository.sealed else repository.folder) / "copy.new"

    def round(self) -> int:
        """Read the site once; what an earlier round read is not read again. Returns the last position."""
        self._known |= self.entries
        self.entries = {}
        try:
            checkpoint = self._history()
            unsent = read_state(self._paths.upstream).keep_from if upstream_of(self._site) else None
            snapshot = self._data()
            needed = checkpoint if snapshot is None else min(checkpoint, snapshot)
            position = self._journal(needed, needed if unsent is None else min(needed, unsent - 1))
            if (heads := self._paths.data / "audit.head").exists():
                self._file(heads, "data/audit.head")  # before the store: it may be behind it, and never ahead
            self._metadata()
        finally:
            self._files.remove(self._passing)
        for path in _walk(self._site.folder, (self._paths.data, self._repository.folder)):
            self._file(path, f"site/{path.relative_to(self._site.folder).as_posix()}")
        return position

    def _history(self) -> int:
        """The list of live files, and the files; returns the checkpoint."""
        source = self._paths.history / "manifest.sqlite"
        if not source.exists():
            return 0
        self._copy(source)
        with closing(_open(self._passing)) as database:
            checkpoint = int(database.execute("SELECT value FROM meta WHERE key = 'checkpoint'").fetchone()[0])
            columns = {row[1] for row in database.execute("PRAGMA table_info(files)")}
            crc32 = "crc32" if "crc32" in columns else "NULL"
            live = database.execute(f"SELECT path, bytes, {crc32} FROM files ORDER BY id").fetchall()  # noqa: S608
        self._watcher.begin(sum(size for _, size, _ in live))
        for name, size, checksum in live:
            self._file(self._paths.history / name, f"data/history/{name}", checksum=checksum)
            self._watcher.advance(size)
        self._file(self._passing, "data/history/manifest.sqlite", stamped=False)
        return checkpoint

    def _data(self) -> int | None:
        """All but history, journal and metadata; returns the position of the oldest snapshot, None without one.

        The broker's snapshot is the last of those that ingest writes at a time: the others are no older.
        """
        position = None
        if (broker := self._paths.broker).exists():
            snapshot = self._files.read(broker)
            self._file(broker, "data/broker.snapshot")
            self._spool(snapshot)
            if self._files.read(broker) != snapshot:
                raise _Changed
            position = int.from_bytes(snapshot[4:12], "little")
        special = (self._paths.history, self._paths.journal, self._paths.spool, self._repository.folder)
        for path in _walk(self._paths.data, special):
            name = f"data/{path.relative_to(self._paths.data).as_posix()}"
            if name in ("data/metadata.db", "data/audit.head", "data/broker.snapshot"):
                continue
            if path.suffix in _DATABASES:
                self._copy(path)
                self._file(self._passing, name, stamped=False)
            else:
                self._file(path, name)
        return position

    def _spool(self, snapshot: bytes) -> None:
        """The messages that wait for MQTT clients, as far as the snapshot of the broker is sound and they are there."""
        with suppress(DamagedError):
            for name in chunk_files(snapshot):
                with suppress(_Changed):
                    self._file(self._paths.spool / name, f"data/spool/{name}")

    def _journal(self, after: int, wanted: int) -> int:
        """The segments with what comes after a position, the last one up to its last whole frame; returns its end.

        What is still to be sent to a centre comes after `wanted`: it is taken as far as it is there.
        """
        folder = self._paths.journal
        firsts = layout.segment_firsts(self._files.names(folder))
        if not firsts:
            return after
        if firsts[0] > after + 1:
            raise _Changed
        begin = max(place for place, first in enumerate(firsts) if place == 0 or first <= wanted + 1)
        *whole, last = firsts[begin:]
        for first in whole:
            path = layout.segment_path(folder, first)
            self._file(path, f"data/journal/{path.name}")
        path = layout.segment_path(folder, last)
        self._files.remove(self._passing)
        with _opened(path) as file, closing(self._files.append(self._passing)) as copy:
            for piece in _pieces(file):
                copy.write(piece)
        end, position = _last_frame(self._files, self._passing, last)
        if end:
            with closing(self._files.append(self._passing)) as copy:
                copy.truncate(end)
            self._file(self._passing, f"data/journal/{path.name}", stamped=False)
        return position

    def _metadata(self) -> None:
        """The metadata, without sessions: who signed in then is no concern of who restores."""
        if not self._paths.metadata.exists():
            return
        self._copy(self._paths.metadata)
        with closing(_open(self._passing)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "sessions" in tables:
                database.execute("PRAGMA secure_delete = ON")
                database.execute("DELETE FROM sessions")
            if "deletions" in tables:
                found = database.execute("SELECT document FROM deletions ORDER BY id").fetchall()
                self.deletions = tuple(_decode(document) for (document,) in found)
        self._file(self._passing, "data/metadata.db", stamped=False)

    def _copy(self, source: Path) -> None:
        """A copy of a database as it is at one moment."""
        for name in ("", "-wal", "-shm"):
            self._files.remove(self._passing.with_name(self._passing.name + name))
        self._passing.touch(mode=0o600)
        uri = f"{source.absolute().as_uri()}?mode=ro"
        try:
            with closing(sqlite3.connect(uri, uri=True, timeout=10)) as old, closing(_open(self._passing)) as new:
                old.backup(new)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:  # of where the copy goes
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._passing)) from None
            raise DamagedError(f"{source} cannot be read: {error}.", "See: taihu doctor") from None

    def _file(self, path: Path, name: str, *, stamped: bool = True, checksum: int | None = None) -> None:
        """Note a file with its pieces; one that is as it was in the last backup is not read."""
        with _opened(path) as file:
            status = os.fstat(file)
            stamp = (status.st_mtime_ns, status.st_ino) if stamped else (0, 0)
            known = self._known.get(name)
            same = stamped and known and (known.size, known.stamp) == (status.st_size, stamp)
            if same and known and self._repository.has(known):
                self.entries[name] = known
                return
            pieces, size, crc32 = [], 0, 0
            for data in _pieces(file):
                piece, added = self._repository.put(data)
                pieces.append(piece)
                size += len(data)
                crc32 = zlib.crc32(data, crc32)
                self.added += added
            self.read += size
            if checksum not in (None, crc32):
                self.damaged.add(name)
                stamp = (0, 0)  # read again next time, and told of again
        self.entries[name] = Entry(name, size, tuple(pieces), stamp)


class _opened:
    """A file for reading, by its descriptor: it stays the same when another takes its name. Raises _Changed."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise _Changed from None

    def __enter__(self) -> int:
        return self._file

    def __exit__(self, *error: object) -> None:
        os.close(self._file)


def _pieces(file: int) -> Iterator[bytes]:
    """A file's bytes, each piece but the last of PIECE_BYTES; what is appended meanwhile is not among them."""
    left = os.fstat(file).st_size
    while left > 0:
        data = b""
        while len(data) < min(left, PIECE_BYTES) and (more := os.read(file, min(left, PIECE_BYTES) - len(data))):
            data += more
        if not data:
            return
        yield data
        left -= len(data)


def _last_frame(files: Files, path: Path, first: int) -> tuple[int, int]:
    """Where the last whole frame of the journal's last segment ends, and its last position; 0 without a header."""
    header = read_header(files, path, first)
    mark = header.mark if header else mark_of_first_frame(files, path)
    if not mark:
        return 0, first - 1
    end, position = layout.HEADER_BYTES, header.follows if header else first - 1
    for piece in scan(files, path, mark, layout.HEADER_BYTES, first):
        if not isinstance(piece, Hole):
            end, position = piece.end, piece.next_position - 1
    return end, position


def _walk(folder: Path, without: tuple[Path, ...]) -> Iterator[Path]:
    """The files of a folder that are to be kept, links to files among them."""
    apart = {path.resolve() for path in without}
    for root, folders, names in os.walk(folder):
        here = Path(root)
        folders[:] = sorted(
            name for name in folders if not name.startswith(_BEGINS) and (here / name).resolve() not in apart
        )
        for name in sorted(names):
            path = here / name
            if not name.startswith(_BEGINS) and not name.endswith(_PASSING) and path.is_file():
                yield path


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def _name(now_ns: int, taken: list[str]) -> str:
    """A name that sorts by time."""
    name = begin = to_datetime(now_ns).strftime("%Y%m%dT%H%M%SZ")
    number = 1
    while name in taken:
        number += 1
        name = f"{begin}-{number}"
    return name
