"""A folder of backups: files in pieces, each piece once under its hash, and a manifest for each backup (§14).

    taihu-backups            the format's version, and of sealed ones a line about the key; the lock is on it
    pieces/ab/abcdef...      at most PIECE_BYTES each
    manifests/NAME.json      a line with the SHA-256 of the next, which is the manifest; both are sealed with the pieces

A piece appears whole, and a manifest after all of its pieces are synced: what was cut off is no backup, and its pieces
are used by the next one.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from taihu.kernel.errors import DamagedError, RefusedError, TransientError
from taihu.kernel.files import Files, write_atomic
from taihu.runtime.backup.sealing import BackupKey, Marker, Plain, Seal, changed_marker, known_seal, new_marker
from taihu.things.deletion import Deletion

FORMAT = 1
_SEALED = 2  # the format of a folder whose pieces and manifests are sealed
PIECE_BYTES = 1_048_576
_MARKER = "taihu-backups"


class BackupDamaged(DamagedError):
    """A piece or manifest of a backup does not have its checksum: take another backup, and look at the disk."""

    code = "backup-damaged"


class BackupBusy(TransientError):
    """The folder is in use, or the site changes faster than it can be read: try again."""

    code = "backup-busy"


class NoBackup(RefusedError):
    """There is no such backup, or the folder is none of backups."""

    code = "no-backup"


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One file: `path` begins with `site/` or `data/`; `stamp` says by size, time and inode what it was read from."""

    path: str
    size: int
    pieces: tuple[str, ...]
    stamp: tuple[int, int] = (0, 0)


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One backup. Times are UTC nanoseconds; it holds every record of the journal up to `position`, exactly once.

    `deletions` are all that were asked for until it was made.
    """

    format: int = FORMAT
    name: str
    site: str
    release: str
    made_at: int
    expires_at: int
    position: int
    entries: tuple[Entry, ...]
    deletions: tuple[Deletion, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(entry.size for entry in self.entries)


class Fault(msgspec.Struct, frozen=True):
    """A file of a backup that cannot be put back; `piece` is where the damage lies, below the folder."""

    backup: str
    file: str
    piece: str


class Repository:
    """The backups of one folder."""

    def __init__(self, files: Files, folder: Path, *, create: bool = False, passphrase: bytes = b"") -> None:
        """Open, or make when told to, sealed when there is a passphrase.

        Raises NoBackup for a folder of anything else, or of a later release, and BackupKey.
        """
        self.folder = folder
        self._files = files
        self._touched: set[Path] = set()
        marker = folder / _MARKER
        if create and not marker.exists():
            if files.names(folder):
                raise NoBackup(f"{folder} holds something else than backups.", "Name an empty folder, or a new one.")
            files.make_folder(folder)
            text = b"%d\n" % FORMAT
            if passphrase:
                text = _marker_text(new_marker(passphrase))
            write_atomic(files, marker, text)
        try:
            found = files.read(marker)
        except OSError:
            raise NoBackup(f"There are no backups in {folder}.", "Make one: taihu backup create FOLDER") from None
        self._seal = self._opened(found, passphrase)

    @property
    def sealed(self) -> bool:
        """Whether only who has the key can read what is in it."""
        return not isinstance(self._seal, Plain)

    def change_passphrase(self, old: bytes, new: bytes) -> None:
        """Let another passphrase open what is sealed; nothing else changes. Raises BackupKey."""
        of_key = self._of_key(self._files.read(self.folder / _MARKER))
        if of_key is None:
            raise BackupKey(f"The backups in {self.folder} are not encrypted.", "Name a folder whose backups are.")
        write_atomic(self._files, self.folder / _MARKER, _marker_text(changed_marker(of_key, old, new)))

    @contextmanager
    def held(self, *, alone: bool) -> Iterator[None]:
        """Keep out who would change it; with `alone`, everybody else. Raises BackupBusy."""
        descriptor = os.open(self.folder / _MARKER, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise BackupBusy(f"Another command uses {self.folder}.", "Try again when it is done.") from None
        finally:
            os.close(descriptor)

    def names(self) -> list[str]:
        """The backups, the oldest first."""
        names = self._files.names(self.folder / "manifests")
        return sorted(name[:-5] for name in names if name.endswith(".json"))

    def manifest(self, name: str) -> Manifest:
        """One backup; "" is the newest. Raises NoBackup, BackupDamaged."""
        names = self.names()
        name = name or (names[-1] if names else "")
        if name not in names:
            raise NoBackup(f"There is no backup {name!r} in {self.folder}.", f"See: taihu backup list {self.folder}")
        kept = self._seal.open(f"manifest {name}", self._files.read(self._manifest_path(name)))
        digest, _, body = (kept or b"").partition(b"\n")
        try:
            if hashlib.sha256(body).hexdigest().encode() != digest:
                raise msgspec.DecodeError
            found = msgspec.json.decode(body, type=Manifest)
        except msgspec.DecodeError:
            raise BackupDamaged(
                f"The manifest of backup {name} is damaged.", f"Use another backup, and: rm {self._manifest_path(name)}"
            ) from None
        if found.format > FORMAT:
            raise NoBackup(f"A later release made backup {name}.", "Use that release, or a later one.")
        return found

    def manifests(self) -> list[Manifest]:
        """All of them, the oldest first; errors as of `manifest`."""
        return [self.manifest(name) for name in self.names()]

    def has(self, entry: Entry) -> bool:
        """Whether each piece of a file is there, as long as it should be."""
        starts = range(0, entry.size, PIECE_BYTES)
        return len(starts) == len(entry.pieces) and all(
            self._holds(piece, min(PIECE_BYTES, entry.size - start))
            for piece, start in zip(entry.pieces, starts, strict=True)
        )

    def put(self, data: bytes) -> tuple[str, int]:
        """Keep a piece; its name, and how many bytes that took: none when it was there. Raises OSError."""
        name = self._seal.name(data)
        if self._holds(name, len(data)):
            return name, 0
        path = self._piece_path(name)
        self._files.make_folder(path.parent)
        draft = path.with_suffix(".new")
        self._files.remove(draft)
        with closing(self._files.append(draft)) as file:
            file.write(self._seal.close(name, data))
            file.datasync()
        draft.rename(path)  # its folder is synced before the manifest is
        self._touched.add(path.parent)
        return name, len(data) + self._seal.overhead

    def get(self, name: str) -> bytes | None:
        """A piece; None when it is damaged or not there."""
        try:
            data = self._seal.open(name, self._files.read(self._piece_path(name)))
        except OSError:
            return None
        return data if data is not None and self._seal.name(data) == name else None

    def commit(self, manifest: Manifest) -> None:
        """Make a backup one: all of it is durable when this returns. Raises OSError."""
        for folder in sorted(self._touched):
            self._files.sync(folder)
        self._touched.clear()
        body = msgspec.json.encode(manifest)
        self._files.make_folder(self.folder / "manifests")
        digest = hashlib.sha256(body).hexdigest().encode()
        kept = self._seal.close(f"manifest {manifest.name}", digest + b"\n" + body)
        write_atomic(self._files, self._manifest_path(manifest.name), kept)

    def faults(self, manifests: Iterable[Manifest]) -> Iterator[tuple[int, Fault | None]]:
        """Read every piece of some backups once: the bytes of each file as it is done, with its fault if it has one."""
        good: set[str] = set()
        for manifest in manifests:
            for entry in manifest.entries:
                bad = ""
                for piece in entry.pieces:
                    if piece not in good and self.get(piece) is None:
                        bad = piece
                        break
                    good.add(piece)
                where = str(self._piece_path(bad).relative_to(self.folder)) if bad else ""
                yield entry.size, Fault(manifest.name, entry.path, where) if bad else None

    def prune(self, now_ns: int) -> tuple[list[str], int]:
        """Remove the backups whose time is over, and pieces that none of the others has; their names, and the bytes.

        Raises BackupDamaged, before anything is removed, when it cannot be told what a backup needs.
        """
        manifests = self.manifests()
        over = [one.name for one in manifests if one.expires_at <= now_ns]
        needed = {piece for one in manifests if one.name not in over for entry in one.entries for piece in entry.pieces}
        for name in over:
            self._files.remove(self._manifest_path(name))
        if over:
            self._files.sync(self.folder / "manifests")
        freed = 0
        for folder in self._files.names(self.folder / "pieces"):
            for name in self._files.names(self.folder / "pieces" / folder):
                if name not in needed:
                    path = self.folder / "pieces" / folder / name
                    freed += self._files.size(path)
                    self._files.remove(path)
        return over, freed

    def _holds(self, piece: str, size: int) -> bool:
        try:
            return self._files.size(self._piece_path(piece)) == size + self._seal.overhead
        except FileNotFoundError:
            return False

    def _opened(self, marker: bytes, passphrase: bytes) -> Seal:
        """What names and keeps the pieces of a folder with this marker."""
        of_key = self._of_key(marker)
        if of_key is None:
            if passphrase:
                raise BackupKey(f"The backups in {self.folder} are not encrypted.", "Name a new folder for such ones.")
            return Plain()
        if not passphrase:
            raise BackupKey(f"The backups in {self.folder} are encrypted.", "Give their --passphrase-file.")
        return known_seal(of_key, passphrase)

    def _of_key(self, marker: bytes) -> Marker | None:
        """What a marker says of the key; None where there is none."""
        number, _, text = marker.strip().partition(b"\n")
        if number == b"%d" % FORMAT and not text:
            return None
        try:
            if number != b"%d" % _SEALED:
                raise msgspec.DecodeError
            return msgspec.json.decode(text, type=Marker)
        except msgspec.DecodeError:
            raise NoBackup(
                f"The backups in {self.folder} have another format.", "Use the release that made them, or later."
            ) from None

    def _piece_path(self, name: str) -> Path:
        return self.folder / "pieces" / name[:2] / name

    def _manifest_path(self, name: str) -> Path:
        return self.folder / "manifests" / f"{name}.json"


def _marker_text(of_key: Marker) -> bytes:
    return b"%d\n%b\n" % (_SEALED, msgspec.json.encode(of_key))
