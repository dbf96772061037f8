"""Whether the audit is what was written: no entry changed, removed, added or moved, and no tail cut off."""

from pathlib import Path
from sqlite3 import Connection

import msgspec

from taihu.identity import segments
from taihu.identity.audit import Head, Link, chain_hash, rows
from taihu.kernel.errors import DamagedError
from taihu.kernel.files import Files

BROKEN = "audit broken"  # the entry that says that a start found the audit other than it was left
EXPIRED = "audit expired"
_FAULTS_MAX = 100


class Verdict(msgspec.Struct, frozen=True):
    """How many entries were checked, where the chain ends, and what is wrong with it: at most 100 faults."""

    entries: int
    head: Head
    faults: list[str]


def verify(
    connection: Connection, files: Files, folder: Path, noted: Head | None, expected: Head | None = None
) -> Verdict:
    """Read the whole audit and check it.

    Args:
        folder: where the sealed segments are.
        noted: the head from the file beside the store; None when there is none.
        expected: a head that somebody kept elsewhere, which must be part of this chain.
    """
    check = _Check({head.number for head in (noted, expected) if head is not None})
    for segment in segments.load(connection):
        if segment.removed_at is not None:
            check.skip(segment)
            continue
        if not segments.sound(files, folder, segment):
            check.fault(f"The file {segment.name} is not what was sealed.")
        try:
            for link in segments.read(files, folder, segment):
                check.take(link)
        except DamagedError as error:
            check.fault(error.message)
        check.skip(segment)
    for link in rows(connection):
        check.take(link)
    check.expired()
    if noted is None and check.head.number:
        check.fault("The file audit.head is missing.")
    for what, head in (("audit.head", noted), ("the head given", expected)):
        check.compare(what, head)
    return Verdict(check.entries, check.head, check.faults)


def _range(first: int, last: int) -> str:
    return f"Entry {first} is" if first == last else f"Entries {first} to {last} are"


class _Check:
    """Follows the chain link by link; after a fault it goes on from what is stored, so that one change is one fault."""

    def __init__(self, wanted: set[int]) -> None:
        self.head = Head()
        self.entries = 0
        self.faults: list[str] = []
        self._wanted = wanted
        self._seen: dict[int, bytes] = {0: self.head.hash}
        self._removed: segments.Segment | None = None
        self._expired: set[str] = set()

    def take(self, link: Link) -> None:
        """The next link as it is stored."""
        self.entries += 1
        number = link.number
        if number <= self.head.number:
            self.fault(f"Entry {number} stands after entry {self.head.number}: it was added or moved.")
            return
        if number > self.head.number + 1:
            self.fault(f"{_range(self.head.number + 1, number - 1)} missing.")
        elif link.hash != chain_hash(self.head.hash, number, link.entry):
            self.fault(f"Entry {number} does not follow from the one before it: it was changed, added or moved.")
        if link.entry.what == EXPIRED:
            self._expired.add(link.entry.detail)
        if link.entry.what == BROKEN:
            self.fault(f"Entry {number} says: {link.entry.detail}")
        self._move(Head(number, link.hash if isinstance(link.hash, bytes) else b""))

    def skip(self, segment: segments.Segment) -> None:
        """A segment is over: the chain goes on from its end, however it was."""
        if segment.removed_at is not None:
            self._removed = segment
        if self.head.number < segment.last:
            if segment.removed_at is None:
                self.fault(f"{_range(self.head.number + 1, segment.last)} missing.")
            self._move(Head(segment.last, segment.hash))
        elif self.head != Head(segment.last, segment.hash):
            self.fault(f"The file {segment.name} does not end as it was sealed.")

    def expired(self) -> None:
        """What is not there any more because its time was over says so further on."""
        if self._removed is not None and expired_detail(self._removed) not in self._expired:
            self.fault(f"The file {self._removed.name} is gone, and no entry says that its time was over.")

    def compare(self, what: str, head: Head | None) -> None:
        """A head that was noted must be part of the chain."""
        if head is None or (self._removed is not None and head.number < self._removed.last):
            return
        if head.number > self.head.number:
            self.fault(f"{_range(self.head.number + 1, head.number)} missing at the end: {what} has {head.number}.")
        elif self._seen.get(head.number) != head.hash:
            self.fault(f"Entry {head.number} is not the one of {what}: the audit was written anew.")

    def fault(self, text: str) -> None:
        """One thing that is wrong."""
        if len(self.faults) < _FAULTS_MAX:
            self.faults.append(text)

    def _move(self, head: Head) -> None:
        self.head = head
        if head.number in self._wanted:
            self._seen[head.number] = head.hash


def expired_detail(segment: segments.Segment) -> str:
    """What an entry `EXPIRED` says of a segment whose time is over."""
    return f"entries {segment.first} to {segment.last}, SHA-256 {segment.digest.hex()}"


def fault_at_start(noted: Head | None, head: Head, at_noted: bytes | None) -> str:
    """What a start can see at once: whether the head noted is part of the chain; empty when nothing is wrong.

    `at_noted` is the hash of the row that has the noted head's number, if there is one.
    """
    if noted is None:
        return "audit.head is missing" if head.number else ""
    if noted.number > head.number:
        return f"the audit ended with entry {noted.number}, and ends with entry {head.number} now"
    if at_noted is not None and at_noted != noted.hash:
        return f"entry {noted.number} is not the one that audit.head has"
    return ""
