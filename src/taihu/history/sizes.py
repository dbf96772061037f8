"""What each project takes on the disk, counted as files come and go: no folder is walked for an answer.

Files are counted from what the manifest says of each. Of the journal's records each project's bytes are summed up as
the history takes them over; sums are stored with each flush and go with the journal's segments. Once an hour each
project's size is noted, so that its growth is known.
"""

from collections import deque
from collections.abc import Mapping

import msgspec

from taihu.history.manifest import Change, Manifest
from taihu.history.store import Store
from taihu.kernel.clock import DAY_NS, HOUR_NS

_SAMPLES_NS = 7 * DAY_NS


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """One project's bytes: its readings and rollups in files, and about its share of the journal.

    `growth_bytes` is how many more the files become in a day, by the last days; None before an hour is over.
    """

    readings_bytes: int = 0
    rollups_bytes: int = 0
    journal_bytes: int = 0
    files: int = 0
    rows: int = 0
    growth_bytes: float | None = None

    @property
    def files_bytes(self) -> int:
        """Bytes in files: what the project's limit is of."""
        return self.readings_bytes + self.rollups_bytes


class Growth:
    """Each project's size, hour by hour, for a week."""

    def __init__(self, manifest: Manifest) -> None:
        self._samples: dict[str, deque[tuple[int, int]]] = {}
        self._noted_at = 0
        for at, project, size in manifest.sizes():
            self._add(at, project, size)

    def due(self, now_ns: int) -> bool:
        """Whether the sizes should be noted again; a clock that was set back begins anew."""
        return not self._noted_at <= now_ns < self._noted_at + HOUR_NS

    def noted(self, now_ns: int, sizes: Mapping[str, int]) -> tuple[tuple[int, str, int], ...]:
        """Note the sizes of all projects; returns what is to be stored of it."""
        for project in [known for known in self._samples if known not in sizes]:
            del self._samples[project]
        for project, size in sizes.items():
            self._add(now_ns, project, size)
        self._noted_at = now_ns
        return tuple((now_ns, project, size) for project, size in sizes.items())

    def oldest(self, now_ns: int) -> int:
        """From when on samples are kept."""
        return now_ns - _SAMPLES_NS

    def per_day(self, project: str, size: int, now_ns: int) -> float | None:
        """How many bytes a project grows in a day."""
        samples = self._samples.get(project)
        if not samples or now_ns - samples[0][0] < HOUR_NS:
            return None
        at, before = samples[0]
        return (size - before) * DAY_NS / (now_ns - at)

    def _add(self, at: int, project: str, size: int) -> None:
        samples = self._samples.setdefault(project, deque())
        samples.append((at, size))
        while samples[0][0] < at - _SAMPLES_NS or samples[0][0] > at:
            samples.popleft()
        self._noted_at = max(self._noted_at, at)


class Sizes:
    """The sizes of one store's projects."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._growth = Growth(store.manifest)

    def journalled(self, project: str, size: int) -> None:
        """Note that a record of `size` bytes of a project was taken over; the thread that applies calls it."""
        self._store.journalled.note(project, size)

    def files_bytes(self) -> dict[str, int]:
        """By project the bytes of its files."""
        found: dict[str, int] = {}
        for table in self._store.catalog.tables():
            found[table.project] = found.get(table.project, 0) + sum(file.bytes for file in table.files)
        return found

    def due(self, now_ns: int) -> bool:
        """Whether an hour is over since the sizes were noted."""
        return self._growth.due(now_ns)

    def step(self, now_ns: int, oldest: int) -> None:
        """Note the sizes; the journal begins at `oldest` now. OSError on a full disk."""
        rows = self._growth.noted(now_ns, self.files_bytes())
        with self._store.writing():
            self._store.journalled.forget(oldest)
            since = self._growth.oldest(now_ns)
            self._store.manifest.commit(Change(sizes=rows, sizes_from=since, journalled_from=oldest))

    def all(self, now_ns: int, journal_bytes: int) -> dict[str, Size]:
        """Every project's size; the journal's bytes are shared out by what the projects' records take."""
        store = self._store
        readings: dict[str, list[int]] = {}
        rollups: dict[str, int] = {}
        own = {table.id for table in store.catalog.tables(rollups=False)}
        for table in store.catalog.tables():
            size = sum(file.bytes for file in table.files)
            if table.id in own:
                counts = readings.setdefault(table.project, [0, 0, 0])
                for place, count in enumerate((size, len(table.files), sum(file.rows for file in table.files))):
                    counts[place] += count
            else:
                rollups[table.project] = rollups.get(table.project, 0) + size
        journalled, total = dict(store.journalled.by_project), max(store.journalled.total, 1)
        found = {}
        for project in sorted({*readings, *rollups, *(name for name, size in journalled.items() if size > 0)}):
            counts = readings.get(project, [0, 0, 0])
            files_bytes = counts[0] + rollups.get(project, 0)
            found[project] = Size(
                readings_bytes=counts[0],
                rollups_bytes=rollups.get(project, 0),
                journal_bytes=journal_bytes * journalled.get(project, 0) // total,
                files=counts[1],
                rows=counts[2],
                growth_bytes=self._growth.per_day(project, files_bytes, now_ns),
            )
        return found

    def biggest(self, project: str, count: int) -> list[tuple[str, int, int]]:
        """The things with most in files: name, rows, and about how many bytes those are; reads one column of each."""
        store = self._store
        rows: dict[int, int] = {}
        bytes_of: dict[int, float] = {}
        with store.snapshot(project) as parts:
            cursor = store.cursor()
            try:
                for file in (file for part in parts for file in part.files):
                    statement = "SELECT thing, count(*) FROM read_parquet(?) GROUP BY thing"
                    for thing, number in cursor.execute(statement, [str(store.folder / file.path)]).fetchall():
                        rows[thing] = rows.get(thing, 0) + number
                        bytes_of[thing] = bytes_of.get(thing, 0.0) + file.bytes * number / file.rows
            finally:
                cursor.close()
        names = store.catalog.names(project)
        largest = sorted(rows, key=lambda thing: (-bytes_of[thing], thing))[:count]
        return [(names[thing], rows[thing], round(bytes_of[thing])) for thing in largest]


def stats(store: Store) -> dict[str, int]:
    """Counts of what the store holds."""
    tables = store.catalog.tables(rollups=False)
    live = [file for table in tables for file in table.files]
    own = {table.id for table in tables}
    rollups = [file for table in store.catalog.tables() if table.id not in own for file in table.files]
    return {
        "tables": len(tables),
        "things": sum(len(store.catalog.names(project)) for project in {table.project for table in tables}),
        "files": len(live),
        "rows": sum(file.rows for file in live),
        "bytes": sum(file.bytes for file in live),
        "rollup_rows": sum(file.rows for file in rollups),
        "rollup_bytes": sum(file.bytes for file in rollups),
        "head_rows": store.head_rows,
        "checkpoint": store.checkpoint,
        "applied": store.applied,
    }
