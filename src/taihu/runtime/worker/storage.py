"""How much each project stores: measured in the worker, limited in the ingest process."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from taihu.history.history import History
from taihu.journal.format import segment_firsts, segment_path
from taihu.kernel.clock import DAY_NS, Clock
from taihu.kernel.files import Files
from taihu.runtime.paths import Paths

log = logging.getLogger("taihu.storage")

_THINGS_MAX = 1_000
_TELL_S = 1.0


class Storage:
    """The worker's measures. `took` and `step` are called by the thread that applies."""

    def __init__(self, history: History, files: Files, paths: Paths, clock: Clock) -> None:
        self._history = history
        self._files = files
        self._paths = paths
        self._clock = clock
        self._told: dict[str, int] | None = None
        self._tell_at = 0.0

    def took(self, position: int, project: str, size: int) -> None:
        """A record of a project is about to be applied; one that was before is counted already."""
        if position > self._history.applied:
            self._history.sizes.journalled(project, size)

    def step(self) -> None:
        """Note the sizes once an hour. OSError on a full disk."""
        now_ns = self._clock.now_ns()
        if self._history.sizes.due(now_ns):
            firsts = segment_firsts(self._files.names(self._paths.journal))
            self._history.sizes.step(now_ns, firsts[0] if firsts else 0)

    def news(self) -> dict[str, int] | None:
        """By project the bytes in files, when they have changed; looked at once a second."""
        now = self._clock.monotonic()
        if now < self._tell_at:
            return None
        self._tell_at = now + _TELL_S
        found = self._history.sizes.files_bytes()
        if found == self._told:
            return None
        self._told = found
        return found

    def answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The sizes of all projects, and of the biggest things of one when it is named; what is left of the disk."""
        now_ns = self._clock.now_ns()
        sizes = self._history.sizes.all(now_ns, self._journal_bytes())
        growth = [size.growth_bytes for size in sizes.values() if size.growth_bytes is not None]
        disk = os.statvfs(_existing(self._paths.data))
        free = disk.f_bavail * disk.f_frsize
        per_day = sum(growth) if growth else None
        things = []
        if body.get("things"):
            count = min(int(body["things"]), _THINGS_MAX)
            found = self._history.sizes.biggest(body["project"], count)
            things = [{"thing": name, "rows": rows, "bytes": size} for name, rows, size in found]
        return {
            "projects": {name: msgspec.to_builtins(size) for name, size in sizes.items()},
            "things": things,
            "disk": {"bytes": disk.f_blocks * disk.f_frsize, "free_bytes": free},
            "growth_bytes": per_day,
            "full_at": now_ns + int(free / per_day * DAY_NS) if per_day and per_day * 36_500 > free else None,
        }

    def _journal_bytes(self) -> int:
        total = 0
        for first in segment_firsts(self._files.names(self._paths.journal)):
            try:
                total += self._files.size(segment_path(self._paths.journal, first))
            except FileNotFoundError:
                continue  # dropped meanwhile
        return total


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else folder.parent
