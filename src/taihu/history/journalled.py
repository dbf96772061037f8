"""How much of the journal is whose: bytes of records by project, summed up as the history takes the records over."""

from collections import deque

from taihu.history.manifest import Manifest

Sums = tuple[tuple[int, str, int], ...]  # position, project and bytes of the records since the sums before


class Journalled:
    """How many bytes of the journal's records are each project's. Not locked: the store's writer calls it."""

    def __init__(self, manifest: Manifest) -> None:
        self._fresh: dict[str, int] = {}
        self._kept: deque[tuple[int, str, int]] = deque(manifest.journalled())
        self.total = 0
        self.by_project: dict[str, int] = {}
        for _, project, size in self._kept:
            self._count(project, size)

    def note(self, project: str, size: int) -> None:
        """A record was taken over."""
        self._fresh[project] = self._fresh.get(project, 0) + size
        self._count(project, size)

    def take(self, position: int) -> Sums:
        """What is to be stored with a flush up to `position`."""
        taken, self._fresh = self._fresh, {}
        return tuple((position, project, size) for project, size in taken.items())

    def stored(self, taken: Sums) -> None:
        """A flush stored `taken`."""
        self._kept.extend(taken)

    def forget(self, oldest: int) -> None:
        """The journal keeps records from `oldest` on."""
        while self._kept and self._kept[0][0] < oldest:
            _, project, size = self._kept.popleft()
            self._count(project, -size)

    def _count(self, project: str, size: int) -> None:
        self.total += size
        self.by_project[project] = self.by_project.get(project, 0) + size
