"""The last hash of the audit, noted in a file of its own: rows cut off the end of the audit are missed there.

Each note is a line, appended without a sync: after a power loss the file may be some entries behind, which is no fault;
it is never ahead of a store that is whole.
"""

import logging
from pathlib import Path

from taihu.identity.audit import Head
from taihu.kernel.files import Files, write_atomic

log = logging.getLogger("taihu.audit")

_LINES_MAX = 4_096


class Heads:
    """The file of heads beside the metadata store."""

    def __init__(self, files: Files, path: Path) -> None:
        self._files = files
        self._path = path
        self._lines = 0
        self._failed = False

    def last(self) -> Head | None:
        """The newest head noted; None when there is no file, or no whole line in it."""
        try:
            lines = self._files.read(self._path).decode("ascii", "replace").splitlines(keepends=True)
        except FileNotFoundError:
            return None
        torn = bool(lines) and not lines[-1].endswith("\n")
        self._lines = _LINES_MAX if torn else len(lines)  # a torn line is not written on: the file is made anew
        heads = (parse_head(line) for line in reversed(lines) if line.endswith("\n"))
        return next((head for head in heads if head is not None), None)

    def note(self, head: Head) -> None:
        """Add a head; a disk that refuses is told once, for the entries themselves are safe."""
        try:
            if self._lines >= _LINES_MAX:
                write_atomic(self._files, self._path, f"{head}\n".encode())
                self._lines = 1
            else:
                self._append(f"{head}\n".encode())
                self._lines += 1
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.warning("the audit's head cannot be noted: %s", error)
            self._failed = True

    def _append(self, line: bytes) -> None:
        file = self._files.append(self._path)
        try:
            file.write(line)
        finally:
            file.close()


def parse_head(text: str) -> Head | None:
    """A head as it is written, `NUMBER:HASH`; None when it is none.

    >>> parse_head("7:" + "ab" * 32 + chr(10)).number, parse_head("7:zz")
    (7, None)
    """
    number, _, digest = text.strip().partition(":")
    try:
        head = Head(int(number), bytes.fromhex(digest))
    except ValueError:
        return None
    return head if len(head.hash) == 32 and head.number >= 0 else None
