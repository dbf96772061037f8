"""Sealed segments of the audit: older entries in files that nothing writes to again, one JSON line an entry."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from sqlite3 import Connection

import msgspec

from taihu.identity.audit import AuditEntry, Link
from taihu.identity.rows import as_dicts
from taihu.kernel.errors import DamagedError
from taihu.kernel.files import Files, write_atomic


class Segment(msgspec.Struct, frozen=True):
    """The entries `first` to `last`, as the file of `digest`; `hash` is the chain's after them; times are UTC ns.

    `newest_at` is the time of its last entry, and `removed_at` when its file's time was over.
    """

    first: int
    last: int
    digest: bytes
    hash: bytes
    newest_at: int
    removed_at: int | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return f"audit-{self.first:012d}.jsonl"


def load(connection: Connection) -> list[Segment]:
    """All segments there have been, oldest first."""
    return [Segment(**row) for row in as_dicts(connection.execute("SELECT * FROM audit_segments ORDER BY first"))]


def write(files: Files, folder: Path, links: list[Link]) -> Segment:
    """Make a segment of consecutive links; durable when this returns."""
    lines = [_encode(link) for link in links]
    data = b"\n".join(lines) + b"\n"
    last = links[-1]
    segment = Segment(links[0].number, last.number, hashlib.sha256(data).digest(), last.hash, last.entry.at)
    files.make_folder(folder)
    write_atomic(files, folder / segment.name, data)
    return segment


def read(files: Files, folder: Path, segment: Segment) -> Iterator[Link]:
    """The links of a segment, whatever became of it; raises DamagedError for what is no link, and where it is not."""
    try:
        data = files.read(folder / segment.name)
    except OSError as error:
        raise DamagedError(f"The audit's segment {segment.name} cannot be read: {error.strerror}.") from None
    for number, line in enumerate(data.splitlines(), segment.first):
        try:
            yield _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
            raise DamagedError(f"Entry {number} in {segment.name} cannot be read.") from None


def sound(files: Files, folder: Path, segment: Segment) -> bool:
    """Whether the file is byte for byte what was sealed."""
    try:
        return hashlib.sha256(files.read(folder / segment.name)).digest() == segment.digest
    except OSError:
        return False


_Line = tuple[int, int, str, str, str, str, str]
_lines = msgspec.json.Decoder(_Line)


def _encode(link: Link) -> bytes:
    entry = link.entry
    return msgspec.json.encode(
        (link.number, entry.at, entry.who, entry.what, entry.detail, entry.project, link.hash.hex())
    )


def _decode(line: bytes) -> Link:
    number, at, who, what, detail, project, digest = _lines.decode(line)
    return Link(number, AuditEntry(at, who, what, detail, project), bytes.fromhex(digest))
