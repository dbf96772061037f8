"""The file port: everything that must survive a power loss is written through it (§4)."""

import fcntl
import os
import zlib
from pathlib import Path
from typing import Protocol

_PIECE_BYTES = 4_194_304


class AppendFile(Protocol):
    """A file that only grows."""

    def write(self, data: bytes) -> None:
        """Append `data`; raises OSError (as ENOSPC does) and leaves what was written undefined."""
        ...

    def datasync(self) -> None:
        """Return once everything written survives power loss."""
        ...

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes."""
        ...

    def close(self) -> None:
        """Close without syncing."""
        ...


class Files(Protocol):
    """What stores may ask of a file system. Paths are absolute."""

    def append(self, path: Path) -> AppendFile:
        """Open for appending, creating it when absent."""
        ...

    def read(self, path: Path, start: int = 0, size: int = -1) -> bytes:
        """Up to `size` bytes from `start`; all when negative."""
        ...

    def size(self, path: Path) -> int:
        """Bytes in the file; FileNotFoundError when absent."""
        ...

    def names(self, folder: Path) -> list[str]:
        """Names in a folder, sorted; empty when the folder is absent."""
        ...

    def make_folder(self, folder: Path) -> None:
        """Create with parents and make that survive power loss; nothing happens when it exists."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Replace `target` atomically and make that survive power loss."""
        ...

    def remove(self, path: Path) -> None:
        """Delete; nothing happens when it is absent."""
        ...

    def sync(self, path: Path) -> None:
        """Make an existing file's content and its name survive power loss."""
        ...


class OsAppendFile:
    """An append-only file over a raw descriptor."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def datasync(self) -> None:
        os.fdatasync(self._fd)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class OsFiles:
    """The operating system's files."""

    def append(self, path: Path) -> AppendFile:
        return OsAppendFile(path)

    def read(self, path: Path, start: int = 0, size: int = -1) -> bytes:
        with path.open("rb", buffering=0) as file:
            file.seek(start)
            if size < 0:
                return file.read()
            return file.read(size)

    def size(self, path: Path) -> int:
        return path.stat().st_size

    def names(self, folder: Path) -> list[str]:
        try:
            return sorted(os.listdir(folder))
        except FileNotFoundError:
            return []

    def make_folder(self, folder: Path) -> None:
        missing = []
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for path in reversed(missing):
            path.mkdir(mode=0o700, exist_ok=True)
            _sync_folder(path.parent)

    def rename(self, source: Path, target: Path) -> None:
        source.rename(target)
        _sync_folder(target.parent)
        if source.parent != target.parent:
            _sync_folder(source.parent)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def sync(self, path: Path) -> None:
        _sync_descriptor(path, os.O_RDONLY)
        _sync_folder(path.parent)


def checksum(files: Files, path: Path) -> int:
    """The CRC-32 of a file's content, read piece by piece."""
    found = start = 0
    while piece := files.read(path, start, _PIECE_BYTES):
        found, start = zlib.crc32(piece, found), start + len(piece)
    return found


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock file `path`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def write_atomic(files: Files, path: Path, data: bytes) -> None:
    """Replace the content of `path` so that a reader, now or after a power loss, sees the old or the new whole."""
    draft = path.with_name(path.name + ".new")
    files.remove(draft)
    file = files.append(draft)
    try:
        file.write(data)
        file.datasync()
    finally:
        file.close()
    files.rename(draft, path)


def _sync_folder(folder: Path) -> None:
    _sync_descriptor(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync_descriptor(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
