"""Where long MQTT queues lie: a file for each chunk, written with the group commit, synced with the snapshot (§4, §6).

The journal has every queued message, so that a chunk needs no sync of its own: until a snapshot names it, a start makes
it again. And a chunk that is used up stays until there is a snapshot without it.
"""

import asyncio
import errno
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import NamedTuple
from zlib import crc32

from taihu.kernel.errors import DamagedError
from taihu.kernel.files import Files
from taihu.protocols.mqtt.broker.snapshot import chunks_of

log = logging.getLogger("taihu.spool")

_NAME = "{:016x}.queue"
_HEAD = 12  # a snapshot's checksum and position
_RETRY_S = 1.0
_FOR_NOW = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def chunk_files(snapshot: bytes) -> list[str]:
    """The names of the files that the broker's snapshot, as it lies on the disk, needs. Raises DamagedError."""
    return [_NAME.format(number) for number in chunks_of(snapshot[_HEAD:])]


def read_chunk(files: Files, path: Path) -> bytes:
    """What a chunk's file holds. Raises OSError, DamagedError."""
    data = files.read(path)
    if crc32(data[4:]).to_bytes(4, "little") != data[:4]:
        raise DamagedError(f"{path.name} is damaged.")
    return data[4:]


class Mark(NamedTuple):
    """What the spool holds at the moment of a snapshot: chunks that are not synced yet, and chunks nobody needs."""

    fresh: frozenset[int]
    dropped: frozenset[int]


class FileSpool:
    """Chunks in a folder; implements `protocols.mqtt.broker.queue.Spool`.

    Until `start` it reads and writes at once, as a recovery needs it; from then on files are read on threads and
    written by `write`, which the commit thread calls.
    """

    def __init__(self, files: Files, folder: Path) -> None:
        self._files = files
        self._folder = folder
        self._loop: asyncio.AbstractEventLoop | None = None
        self._settle: Callable[[], None] = lambda: None
        self._pending: dict[int, bytes] = {}
        self._fresh: set[int] = set()
        self._dropped: set[int] = set()
        self._marked: frozenset[int] = frozenset()
        self._changing = Lock()
        self._writing = Lock()

    @property
    def pending(self) -> bool:
        """See `Spool`."""
        return bool(self._pending)

    def start(self, needed: Iterable[int], settle: Callable[[], None]) -> None:
        """Remove the files that are neither needed nor used by the last snapshot; call `settle` after each read.

        Call it on the running event loop, after the recovery.
        """
        self._loop, self._settle = asyncio.get_running_loop(), settle
        kept = {_NAME.format(number) for number in (*needed, *self._dropped)}
        for name in self._files.names(self._folder):
            if name not in kept:
                self._files.remove(self._folder / name)

    def put(self, number: int, data: bytes) -> None:
        """See `Spool`."""
        self._pending[number] = data
        if self._loop is None:
            with suppress(OSError):  # it waits for the first commit then
                self.write()

    def get(self, number: int, then: Callable[[bytes], None]) -> bytes | None:
        """See `Spool`."""
        data = self._pending.get(number)
        if data is None and self._loop is None:
            return self._read(number)
        if data is None:
            self._ask(number, then)
        return data

    def drop(self, number: int) -> None:
        """See `Spool`."""
        with self._changing:
            if number in self._marked or self._pending.pop(number, None) is None:
                self._dropped.add(number)

    def write(self) -> None:
        """Write what is pending; blocks. OSError leaves it pending."""
        if not self._pending:
            return
        with self._writing:
            self._files.make_folder(self._folder)
            for number, data in list(self._pending.items()):
                path = self._path(number)
                self._files.remove(path)  # of an earlier life, which no snapshot names
                file = self._files.append(path)
                try:
                    file.write(crc32(data).to_bytes(4, "little") + data)
                finally:
                    file.close()
                with self._changing:
                    gone = self._pending.pop(number, None) is None
                    (self._dropped if gone else self._fresh).add(number)

    def mark(self) -> Mark:
        """The state that belongs to a snapshot taken in the same turn of the loop."""
        with self._changing:
            self._marked = frozenset(self._pending)
            return Mark(frozenset(self._fresh | self._pending.keys()), frozenset(self._dropped))

    def sync(self, mark: Mark) -> None:
        """Make the chunks of a snapshot durable, before it is; blocks. Raises OSError."""
        self.write()
        for number in mark.fresh:
            with suppress(FileNotFoundError):  # dropped before it was written, and before the mark
                self._files.sync(self._path(number))

    def forget(self, mark: Mark) -> None:
        """The snapshot is durable: remove what it does not need; blocks. Raises OSError."""
        for number in mark.dropped:
            self._files.remove(self._path(number))
        with self._changing:
            self._marked = frozenset()
            self._fresh -= mark.fresh
            self._dropped -= mark.dropped

    def _ask(self, number: int, then: Callable[[bytes], None]) -> None:
        assert self._loop is not None
        self._loop.run_in_executor(None, self._read_later, number, then)

    def _read_later(self, number: int, then: Callable[[bytes], None]) -> None:
        """On a thread: read, and hand over to the loop; without a descriptor to be had, try again."""
        loop = self._loop
        assert loop is not None
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            try:
                data = self._read(number)
            except OSError:
                loop.call_soon_threadsafe(loop.call_later, _RETRY_S, self._ask, number, then)
            else:
                loop.call_soon_threadsafe(self._hand_over, data, then)

    def _hand_over(self, data: bytes, then: Callable[[bytes], None]) -> None:
        then(data)
        self._settle()

    def _read(self, number: int) -> bytes:
        """A chunk from its file; empty when it is gone. Raises OSError when there is no room to read it."""
        try:
            return read_chunk(self._files, self._path(number))
        except (OSError, DamagedError) as error:
            if isinstance(error, OSError) and error.errno in _FOR_NOW:
                raise
            log.error("messages that waited for an MQTT client are lost: %s", error)
            return b""

    def _path(self, number: int) -> Path:
        return self._folder / _NAME.format(number)
