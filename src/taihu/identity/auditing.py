"""The part of the directory that keeps the audit: adds to it, shows it, and seals what is old."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from taihu.identity import audit, segments
from taihu.identity.audit import AuditEntry, Head, Link
from taihu.identity.heads import Heads
from taihu.identity.rows import insert, update, value
from taihu.identity.schema import CHAINED, stored_version
from taihu.identity.store import Store
from taihu.identity.verify import EXPIRED, Verdict, expired_detail, verify
from taihu.identity.writer import Writer
from taihu.kernel.clock import NS_PER_S
from taihu.kernel.errors import RefusedError
from taihu.kernel.files import OsFiles

FOLDER = "audit"


class AuditLog(Writer):
    """What was done is written with the doing; `record` is for what changes nothing here, such as an export."""

    def record(self, who: str, what: str, detail: str, project: str = "") -> None:
        """Add an entry; durable when this returns. `project` is whose owners may read it; blocks."""
        self.record_all([AuditEntry(self._clock.now_ns(), who, what, detail, project)])

    def record_all(self, entries: list[AuditEntry]) -> None:
        """Add entries with one sync; blocks."""
        if not entries:
            return
        with self._writing, self._transaction(quiet=True) as connection:
            self._note_all(connection, entries)

    def audit(self, limit: int = 100) -> list[AuditEntry]:
        """The last `limit` entries, newest first; blocks."""
        return [link.entry for link in self.audit_links(limit)]

    def audit_links(self, limit: int, before: int | None = None, projects: Iterable[str] | None = None) -> list[Link]:
        """At most `limit` links below the number `before`, newest first, of all or of some projects; blocks."""
        with self._writing, self._store.transaction() as connection:
            found = audit.newest(connection, limit, before, projects)
            sealed = segments.load(connection)
        for segment in reversed(sealed):
            if len(found) >= limit:
                break
            if segment.removed_at is None and (before is None or segment.first < before):
                found += _matching(self._sealed(segment), before, projects)
        return found[:limit]

    def verify_audit(self, expected: Head | None = None) -> Verdict:
        """Check all of it; see `verify_audit`."""
        return verify_audit(self._path, expected)

    def seal_audit(self) -> int:
        """Seal the oldest entries into segments while there are many, and remove segments whose time is over; blocks.

        Returns how many segments were sealed or removed.
        """
        return self._seal() + self._expire()

    def _seal(self) -> int:
        size, sealed = max(1, self._memory.default_limits.audit_segment_entries), 0
        reader = Store(self._path, read_only=True)
        try:
            while True:
                with reader.transaction() as connection:
                    last = audit.head_of(connection).number
                    first = value(connection.execute("SELECT min(number) FROM audit"))
                    if first is None or last - first + 1 < 2 * size:
                        return sealed
                    links = list(audit.rows(connection, first, first + size - 1))
                segment = segments.write(self._files, self._folder, links)
                with self._writing, self._transaction(quiet=True) as connection:
                    row = {name: getattr(segment, name) for name in segment.__struct_fields__}
                    insert(connection, "audit_segments", [row])
                    connection.execute("DELETE FROM audit WHERE number <= ?", (segment.last,))
                    detail = f"entries {segment.first} to {segment.last}, SHA-256 {segment.digest.hex()}"
                    self._note(connection, "taihu", "audit sealed", detail)
                sealed += 1
        finally:
            reader.close()

    def _expire(self) -> int:
        now = self._clock.now_ns()
        oldest = now - self._memory.default_limits.audit_retention_s * NS_PER_S
        with self._writing, self._store.transaction() as connection:
            found = segments.load(connection)
        expired = 0
        for segment in found:
            if segment.newest_at >= oldest:
                break
            if segment.removed_at is None:
                with self._writing, self._transaction(quiet=True) as connection:
                    update(connection, "audit_segments", {"first": segment.first}, {"removed_at": now})
                    self._note(connection, "taihu", EXPIRED, expired_detail(segment))
                expired += 1
            self._files.remove(self._folder / segment.name)
        return expired

    def _sealed(self, segment: segments.Segment) -> list[Link]:
        return list(segments.read(self._files, self._folder, segment))

    @property
    def _folder(self) -> Path:
        return self._path.with_name(FOLDER)


def verify_audit(path: Path, expected: Head | None = None) -> Verdict:
    """Check the audit of the metadata store at `path`, whether a node runs on it or not; blocks.

    Raises RefusedError when there is no audit yet, DamagedError when the store is no sound database.
    """
    files = OsFiles()
    noted = Heads(files, path.with_name("audit.head")).last()  # before the store: it may be behind, never ahead
    store = Store(path, read_only=True)
    try:
        with store.transaction() as connection:
            if stored_version(connection) < CHAINED:
                raise RefusedError("The audit of this store is no chain yet.", "Start the node once, to migrate it.")
            return verify(connection, files, path.with_name(FOLDER), noted, expected)
    finally:
        store.close()


def _matching(links: list[Link], before: int | None, projects: Iterable[str] | None) -> Iterator[Link]:
    wanted = None if projects is None else set(projects)
    for link in reversed(links):
        if (before is None or link.number < before) and (wanted is None or link.entry.project in wanted):
            yield link
