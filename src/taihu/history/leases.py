"""Which files are still read although no longer live, so that each is removed as soon as nobody needs it."""

import threading
from collections.abc import Iterable
from pathlib import Path

from taihu.kernel.files import Files


class Leases:
    """Readers hold a ticket while they read; tickets rise. Calls may come from any thread."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._readers: set[int] = set()
        self._next_ticket = 0
        self._garbage: list[tuple[int, Path]] = []

    def begin(self) -> int:
        """A ticket for a reader of the files that are live now."""
        with self._lock:
            ticket = self._next_ticket
            self._next_ticket += 1
            self._readers.add(ticket)
        return ticket

    def end(self, ticket: int) -> None:
        """The reader is done."""
        with self._lock:
            self._readers.discard(ticket)
        self.sweep()

    def discard(self, paths: Iterable[Path]) -> None:
        """Remove files that are no longer live as soon as no reader has them."""
        with self._lock:
            self._garbage += [(self._next_ticket, path) for path in paths]
        self.sweep()

    def sweep(self) -> bool:
        """Remove what was dropped before every reader now at work began; whether something waits all the same."""
        with self._lock:
            oldest = min(self._readers, default=self._next_ticket)
            ready = [path for ticket, path in self._garbage if ticket <= oldest]
            self._garbage = [(ticket, path) for ticket, path in self._garbage if ticket > oldest]
            waits = bool(self._garbage)
        for path in ready:
            self._files.remove(path)
        return waits
