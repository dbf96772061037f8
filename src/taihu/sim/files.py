"""A file system in memory that forgets what was not synced, and fails on demand (§4)."""

import errno
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from threading import RLock

SECTOR_BYTES = 512


class PowerLost(Exception):
    """The power went away in the middle of an operation; nothing works on these files any more."""


class PowerLossFiles:
    """Implements `kernel.files.Files`; keeps apart what is in memory and what would survive a power loss.

    Content survives by `datasync` or `sync`; a new name by `sync` or by a `rename` in the same folder, a removal alike.
    A failed datasync leaves its bytes readable but never written, as Linux does. `operations` counts what changes
    files, by name: create, write, datasync, truncate, rename, remove, sync. Safe to use from several threads.

    Args:
        seed: makes every choice repeatable.
        capacity_bytes: writes beyond it fail with ENOSPC; may be changed at any time; None is endless.
    """

    def __init__(self, seed: int, capacity_bytes: int | None = None) -> None:
        self.seed = seed
        self.capacity_bytes = capacity_bytes
        self.operations: Counter[str] = Counter()
        self._random = Random(seed)  # noqa: S311 - repeatable, not secret
        self._lock = RLock()
        self._folders: set[Path] = {Path("/")}
        self._names: dict[Path, _Node] = {}
        self._durable_names: dict[Path, _Node] = {}
        self._faults: dict[tuple[str, int], int] = {}
        self._power_lost_at = -1

    def append(self, path: Path) -> "PowerLossAppendFile":
        with self._lock:
            if path not in self._names:
                self._step("create")
                if path.parent not in self._folders:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
                self._names[path] = _Node()
            return PowerLossAppendFile(self, self._names[path])

    def read(self, path: Path, start: int = 0, size: int = -1) -> bytes:
        with self._lock:
            data = self._node(path).data
            return bytes(data[start:] if size < 0 else data[start : start + size])

    def size(self, path: Path) -> int:
        with self._lock:
            return len(self._node(path).data)

    def names(self, folder: Path) -> list[str]:
        with self._lock:
            inside = {path.name for path in (*self._names, *self._folders) if path.parent == folder and path != folder}
            return sorted(inside)

    def make_folder(self, folder: Path) -> None:
        with self._lock:
            self._folders.update((folder, *folder.parents))

    def rename(self, source: Path, target: Path) -> None:
        with self._lock:
            self._step("rename")
            self._names[target] = self._node(source)
            del self._names[source]
            for folder in {source.parent, target.parent}:
                self._sync_folder(folder)

    def remove(self, path: Path) -> None:
        with self._lock:
            if path in self._names:
                self._step("remove")
                del self._names[path]

    def sync(self, path: Path) -> None:
        with self._lock:
            node = self._node(path)
            self._sync_node(node, "sync")
            self._sync_folder(path.parent)

    def fail(self, operation: str, after: int = 0, error: int = errno.EIO, times: int = 1) -> None:
        """Let `times` operations of a kind fail with OSError `error`, once `after` more of them have succeeded.

        A failing write still writes a random part of its bytes.
        """
        first = self.operations[operation] + after + 1
        for number in range(first, first + times):
            self._faults[operation, number] = error

    def lose_power_after(self, operations: int) -> None:
        """Let the power go away in the next operation but `operations`: it and all later ones raise PowerLost."""
        self._power_lost_at = self.operations.total() + operations + 1

    def heal(self) -> None:
        """Forget the failures to come; the disk has room again."""
        self._faults.clear()
        self.capacity_bytes = None

    def flip_bit(self, path: Path, bit: int) -> None:
        """Flip one bit of a file, in memory and on the disk; `bit` counts from the file's start."""
        with self._lock:
            node = self._node(path)
            for data in (node.data, node.synced):
                if bit // 8 < len(data):
                    data[bit // 8] ^= 1 << bit % 8

    def power_loss(self, keep_some: bool = False) -> "PowerLossFiles":
        """The files as found after the power came back, as a new object that does not change with this one.

        Everything not synced is gone: bytes, truncations, names, renames and removals. With `keep_some` a random part
        of it has reached the disk all the same, sector by sector and name by name, in no order.
        """
        with self._lock:
            found = PowerLossFiles(self._random.getrandbits(32), self.capacity_bytes)
            found._folders = set(self._folders)
            after: dict[_Node, _Node] = {}
            for path in sorted({*self._names, *self._durable_names}):
                entries = (self._durable_names.get(path), self._names.get(path))
                node = entries[self._random.getrandbits(1)] if keep_some else entries[0]
                if node:
                    if node not in after:
                        after[node] = node.after_power_loss(self._random if keep_some else None)
                    found._names[path] = found._durable_names[path] = after[node]
            return found

    def _node(self, path: Path) -> "_Node":
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return self._names[path]

    def _step(self, operation: str) -> None:
        self.operations[operation] += 1
        if 0 <= self._power_lost_at <= self.operations.total():
            raise PowerLost(f"in {operation} number {self.operations[operation]}")
        error = self._faults.pop((operation, self.operations[operation]), 0)
        if error:
            raise OSError(error, os.strerror(error))

    def _write(self, node: "_Node", data: bytes) -> None:
        with self._lock:
            room = len(data)
            if self.capacity_bytes is not None:
                used = sum(len(known.data) for known in set(self._names.values()))
                room = max(0, self.capacity_bytes - used)
            try:
                self._step("write")
                if room < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except (OSError, PowerLost):
                node.write(data[: self._random.randint(0, min(room, len(data)))])
                raise
            node.write(data)

    def _sync_node(self, node: "_Node", operation: str) -> None:
        with self._lock:
            try:
                self._step(operation)
            except OSError:
                node.dirty.clear()
                raise
            node.sync()

    def _sync_folder(self, folder: Path) -> None:
        for path in [path for path in self._durable_names if path.parent == folder and path not in self._names]:
            del self._durable_names[path]
        self._durable_names.update({path: node for path, node in self._names.items() if path.parent == folder})

    def _truncate(self, node: "_Node", size: int) -> None:
        with self._lock:
            self._step("truncate")
            del node.data[size:]


class PowerLossAppendFile:
    """Implements `kernel.files.AppendFile`."""

    def __init__(self, files: PowerLossFiles, node: "_Node") -> None:
        self._files = files
        self._node = node

    def write(self, data: bytes) -> None:
        self._files._write(self._node, data)

    def datasync(self) -> None:
        self._files._sync_node(self._node, "datasync")

    def truncate(self, size: int) -> None:
        self._files._truncate(self._node, size)

    def close(self) -> None:
        pass


class _Node:
    """One file's content: in memory, on the disk, and the ranges of memory that a sync has to write."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.synced = bytearray(data)
        self.dirty: list[tuple[int, int]] = []

    def write(self, data: bytes) -> None:
        start = len(self.data)
        self.data += data
        self.dirty.append((start, len(self.data)))

    def sync(self) -> None:
        self.synced = self.synced[: len(self.data)].ljust(len(self.data), b"\0")
        for start, end in self.dirty:
            piece = self.data[start:end]
            self.synced[start : start + len(piece)] = piece
        self.dirty.clear()

    def after_power_loss(self, random: Random | None) -> "_Node":
        if random is None or self.data == self.synced:
            return _Node(bytes(self.synced))
        low, high = sorted((len(self.data), len(self.synced)))
        size = random.choice((low, high, random.randint(low, high)))
        chance = random.random()
        return _Node(b"".join(self._sectors(size, random, chance)))

    def _sectors(self, size: int, random: Random, chance: float) -> Iterator[bytes]:
        for start in range(0, size, SECTOR_BYTES):
            source = self.data if random.random() < chance else self.synced
            end = min(start + SECTOR_BYTES, size)
            yield bytes(source[start:end]).ljust(end - start, b"\0")
