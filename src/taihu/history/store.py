"""The store: one writer that turns journal batches into files, and snapshots of head and files for many readers.

A crash at any step is safe: a file counts once the manifest names it, in the transaction that moves the checkpoint;
what the checkpoint does not cover is replayed, and files that no manifest names are removed at the next start.
"""

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from taihu.history.catalog import Catalog
from taihu.history.draft import Draft, make_drafts
from taihu.history.engine import Engine
from taihu.history.floors import Definitions, Floors, Holds, Rules, step_of
from taihu.history.frame import Frame, Mask
from taihu.history.gone import Gone, without
from taihu.history.head import Head
from taihu.history.journalled import Journalled, Sums
from taihu.history.layout import SYSTEM_COLUMNS, encode
from taihu.history.leases import Leases
from taihu.history.manifest import Change, DataFile, Manifest, Rolled, Table, Tombstone
from taihu.history.strip import strip
from taihu.history.tombstones import Tombstones
from taihu.kernel.clock import Clock
from taihu.kernel.files import Files, checksum
from taihu.kernel.limits import Limits
from taihu.things.batch import ROW_BITS, Batch
from taihu.things.deletion import TIME_MIN, Deletion

_FLUSH_ZSTD = 1
_HEAD_FLUSHES_MAX = 4  # the head may grow to so many flushes before `apply` waits for one


@dataclass(frozen=True, slots=True)
class Part:
    """One table as a query sees it: its files, and its rows that are in no file yet."""

    table: Table
    files: tuple[DataFile, ...]
    frames: tuple[Frame, ...]
    gone: tuple[Gone, ...]  # what of the files' rows no query may see


class Store:
    """Files, head and manifest of one folder. One process opens it; calls may come from any thread."""

    def __init__(
        self, folder: Path, files: Files, clock: Clock, limits: Limits, definitions: Definitions, rules: Rules
    ) -> None:
        """Open or create; raises ManifestDamaged or ManifestTooNew."""
        self.folder = folder
        self.files = files
        self._clock = clock
        self._limits = limits
        files.make_folder(folder)
        self.manifest = Manifest(folder / "manifest.sqlite")
        files.sync(folder / "manifest.sqlite")
        self.catalog = Catalog(self.manifest)
        self.tombstones = Tombstones(self.manifest, self.catalog)
        self.floors = Floors(self.catalog, definitions, rules)
        self.catalog.stands = lambda rolled, thing: self.floors.stands(rolled, thing, clock.now_ns())
        self.journalled = Journalled(self.manifest)
        self._sealed_sums: Sums = ()
        self.holds: Callable[[str], Holds] = lambda project: {}
        self.checkpoint = self.applied = self.manifest.checkpoint()
        self._next_file_id = self.manifest.next_file_id()
        self._head = Head()
        self._sealed: Head | None = None
        self._sealed_position = self.checkpoint
        self._waiting_since = clock.monotonic()
        self._lock = threading.Lock()  # head, catalog and the tables' files: held briefly
        self._writing = threading.Lock()  # what changes the manifest, one at a time
        self.leases = Leases(files)
        self._remove_orphans()
        self.engine = Engine(folder, files)
        self.cursor, self.copy, self.deadlines = self.engine.cursor, self.engine.copy, self.engine.deadlines

    def apply(self, position: int, batch: Batch) -> None:
        """Take over a journal record's batch. Positions already taken over are passed by, so replay is harmless."""
        if self._head.rows >= self._limits.flush_rows * _HEAD_FLUSHES_MAX:
            self.flush()
        with self._lock:
            left: Batch | None = batch
            for tombstone in self.tombstones.after(position):  # only when the journal is replayed
                left = strip(left, tombstone.deletion) if left is not None else None
            if position > self.applied:
                if left is not None:
                    self._head.add(position, left, self.catalog)
                self._reach(position)

    def pass_by(self, position: int) -> None:
        """Note that the records up to `position` hold nothing more for the history."""
        with self._lock:
            self._reach(max(self.applied, position))

    def due(self) -> bool:
        """Whether the head is large or old enough to be flushed."""
        if self._head.rows >= self._limits.flush_rows:
            return True
        waiting = self.applied > self.checkpoint
        return waiting and self._clock.monotonic() - self._waiting_since >= self._limits.flush_s

    def flush(self) -> int:
        """Write the head to files and move the checkpoint; returns it. OSError leaves all as it was: call again."""
        with self._writing:
            with self._lock:
                if self._sealed is None:
                    self._sealed, self._sealed_position = self._head, self.applied
                    self._head = Head()
                    self._sealed_sums = self.journalled.take(self.applied)
                head, position = self._sealed, self._sealed_position
                parts = [
                    (self.catalog.table(table_id), head.frames(table_id, self.catalog)) for table_id in head.table_ids()
                ]
                news = self.catalog.take_new()
            try:
                drafts = make_drafts(parts, self.catalog)
                added = tuple(self._write_draft(draft) for draft in drafts)
                rolled = self.catalog.overtaken((draft.table.project, draft.frame) for draft in drafts)
                change = Change(checkpoint=position, add=added, things=news[0], tables=news[1], rolled=tuple(rolled))
                change.journalled = self._sealed_sums
                self.manifest.commit(change)
            except BaseException:
                with self._lock:
                    self.catalog.put_back(*news)
                raise
            with self._lock:
                self._publish(added, ())
                self._note(rolled)
                self._sealed = None
                self.journalled.stored(self._sealed_sums)
                for draft in drafts:
                    self.catalog.remember(draft.table.project, draft.frame)
                self.tombstones.refresh()
                self.checkpoint = position
                self._waiting_since = self._clock.monotonic()
            return position

    def delete(self, position: int, deletion: Deletion) -> None:
        """Take over a deletion of the records up to `position`: durable, and in no answer, when this returns."""
        with self._writing:
            with self._lock:
                known = self.tombstones.get(deletion.id)
                tombstone = known or self._tombstone(deletion, position)
                rolled, dropped = ([], []) if known else self.catalog.voided(deletion)
            if not known:
                self.manifest.commit(Change(tombstones=(tombstone,), rolled=tuple(rolled), unrolled=tuple(dropped)))
            with self._lock:
                for key in dropped:
                    del self.catalog.rolled[key]
                self._note(rolled)
                self.tombstones.put([tombstone])
                for head in (self._sealed, self._head):
                    if head is not None:
                        self._take_out(head, [tombstone])
                self._reach(max(self.applied, position))

    def forget_thing(self, project: str, name: str) -> None:
        """Let go of the name of a thing of which no file has a row; nothing happens while the head has one.

        Call under `writing`, where no file is added.
        """
        with self._lock:
            number = self.catalog.ids(project).get(name)
            frames = [frame for table in self.catalog.tables(project) for frame in self._frames(table.id)]
            if number is None or any((frame.thing == number).any() for frame in frames):
                return
            renamed = (project, number, f"/{number}")  # no name of a thing has a slash
            self.manifest.commit(Change(renamed=(renamed,)))
            self.catalog.rename(*renamed)

    def forget_project(self, project: str) -> None:
        """Let go of all that is known of a project, unless it has rows, and of its folder; call under `writing`."""
        with self._lock:
            tables = self.catalog.tables(project)
            if any(table.files or self._frames(table.id) for table in tables):
                return
            self.manifest.commit(Change(dropped=(project,)))
            self.catalog.forget(project)
        shutil.rmtree(self.folder / project, ignore_errors=True)

    def advance(self, tombstones: Sequence[Tombstone]) -> None:
        """Note how far deletions have come."""
        with self._writing:
            self.manifest.commit(Change(tombstones=tuple(tombstones)))
            with self._lock:
                self.tombstones.put(tombstones)
            self.manifest.shrink()

    def replace(self, old: tuple[DataFile, ...], new: tuple[DataFile, ...]) -> None:
        """Swap files for others with the same rows; `discard` the old ones after it."""
        with self._writing:
            self.manifest.commit(Change(add=new, drop=old))
            with self._lock:
                self._publish(new, old)
            self.manifest.shrink()

    def discard(self, old: tuple[DataFile, ...]) -> None:
        """Remove files that were swapped for others, as soon as no reader has them."""
        self.leases.discard(self.folder / file.path for file in old)

    def add_rollup(self, rolled: Rolled, names: tuple[str, ...], frame: Frame | None) -> None:
        """Store windows, if any, and how far the rollup now reaches. Call under `writing`."""
        with self._lock:
            table = self.catalog.rollup_route(rolled.project, rolled.step, names)
            news = self.catalog.take_new()
        try:
            added: tuple[DataFile, ...] = ()
            if frame is not None:
                # A later file's windows supersede those of an earlier one.
                seq = (self._next_file_id << ROW_BITS) + np.arange(len(frame))
                frame = Frame(frame.thing, frame.observed, frame.received, seq, frame.flags, frame.cells)
                added = (self._write_draft(Draft(table, frame, 1, np.zeros(len(frame), np.bool_))),)
            self.manifest.commit(Change(add=added, things=news[0], tables=news[1], rolled=(rolled,)))
        except BaseException:
            with self._lock:
                self.catalog.put_back(*news)
            raise
        with self._lock:
            self._publish(added, ())
            self._note([rolled])

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep out every other writer."""
        with self._writing:
            yield

    @contextmanager
    def snapshot(
        self, project: str, property_name: str | None = None, *, rollups: bool = False, expired: bool = False
    ) -> Iterator[list[Part]]:
        """A project's tables (those with one property, when named) as of now; the files stay while it is open.

        Rollups are among them when they are asked for, or the name is that of a rollup's column. What has expired is in
        no part of them, unless it is asked for and still there.
        """
        now_ns = self._clock.now_ns()
        self.floors.kept(project)  # worked out before the lock is taken
        with self._lock:
            ticket = self.leases.begin()
            parts = []
            for table in self.catalog.tables(project, rollups=rollups or property_name is not None):
                if property_name is None or property_name in table.columns:
                    old = () if expired else self.floors.gone(table, now_ns)
                    frames = tuple(_younger(frame, old) for frame in self._frames(table.id))
                    parts.append(Part(table, table.files, frames, self.deleted_of(table) + old))
        try:
            yield parts
        finally:
            self.leases.end(ticket)

    def deleted_of(self, table: Table) -> tuple[Gone, ...]:
        """What of the rows of a table's files was deleted."""
        return self.tombstones.gone(table.project, step_of(table))

    def gone_of(self, table: Table, files: Sequence[DataFile]) -> tuple[Gone, ...]:
        """What of the rows of some of a table's files need not be written again: deleted, or expired and rolled up."""
        old = self.floors.gone(table, self._clock.now_ns(), self.holds(table.project))
        low, high = min(file.observed_min for file in files), max(file.observed_max for file in files)
        things = min(file.thing_min for file in files), max(file.thing_max for file in files)
        return tuple(one for one in (*self.deleted_of(table), *old) if one.reaches(low, high, *things))

    def lost(self, project: str, thing: str, property_name: str) -> list[tuple[int, int]]:
        """The stretches of time of which readings of a property were deleted or have expired."""
        number, now_ns = self.catalog.ids(project).get(thing, -1), self._clock.now_ns()
        floor = self.floors.raw_floor(project, property_name, number, now_ns)
        with self._lock:
            spans = self.tombstones.spans(project, thing, property_name)
        return spans if floor == TIME_MIN else [*spans, (TIME_MIN, floor)]

    def deletions(self) -> list[Tombstone]:
        """All deletions that are kept."""
        with self._lock:
            return self.tombstones.all()

    def observed_span(self, project: str, property_name: str) -> tuple[int, int] | None:
        """The oldest and newest time in the files of tables with a property; None without a file."""
        with self._lock:
            files = [
                file for table in self.catalog.tables(project) for file in table.files if property_name in table.columns
            ]
        if not files:
            return None
        return min(file.observed_min for file in files), max(file.observed_max for file in files)

    def late(self, project: str, frame: Frame) -> Mask:
        """Which rows of the head may meet a row in a file that has the same key."""
        with self._lock:
            return self.catalog.late(project, frame)

    def new_path(self, table: Table) -> tuple[int, str]:
        """An id for a file to be written, and its path in the history folder."""
        with self._lock:
            file_id = self._next_file_id
            self._next_file_id += 1
        self.files.make_folder(self.folder / table.folder)
        return file_id, f"{table.folder}/{file_id:08d}.parquet"

    @property
    def head_rows(self) -> int:
        """How many rows are in no file yet."""
        return self._head.rows + (self._sealed.rows if self._sealed else 0)

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        self.engine.close()
        self.manifest.close()

    def _reach(self, position: int) -> None:
        if self.applied == self.checkpoint:
            self._waiting_since = self._clock.monotonic()
        self.applied = position

    def _frames(self, table_id: int) -> list[Frame]:
        sealed = self._sealed.frames(table_id, self.catalog) if self._sealed else []
        return sealed + self._head.frames(table_id, self.catalog)

    def _tombstone(self, deletion: Deletion, position: int) -> Tombstone:
        thing = self.catalog.ids(deletion.project).get(deletion.thing) if deletion.thing else None
        floor = self.floors.raw_floor(deletion.project, deletion.property, thing, self._clock.now_ns())
        return Tombstone(
            deletion=deletion,
            position=position,
            mark=self._next_file_id,
            floor=None if floor == TIME_MIN else floor,
        )

    def _take_out(self, head: Head, tombstones: Sequence[Tombstone]) -> None:
        for one in tombstones:
            gone = [each for each in self.tombstones.gone_of(one) if not each.step]
            head.take_out(one.deletion.project, gone, self.catalog)

    def _write_draft(self, draft: Draft) -> DataFile:
        frame, table = draft.frame, draft.table
        arrays, select = encode(frame, table.columns)
        file_id, path = self.new_path(table)
        columns = ", ".join(f'{expression} AS "{name}"' for name, expression in select.items())
        cursor = self.cursor()
        try:
            cursor.register("fresh", arrays)
            size = self.copy(cursor, path, f"SELECT {columns} FROM fresh", (), _FLUSH_ZSTD)  # noqa: S608 (checked names)
        finally:
            cursor.close()
        return DataFile(
            id=file_id,
            table_id=table.id,
            path=path,
            level=0,
            rows=len(frame),
            bytes=size,
            observed_min=int(frame.observed.min()),
            observed_max=int(frame.observed.max()),
            thing_min=int(frame.thing[0]),
            thing_max=int(frame.thing[-1]),
            record_max=int(arrays["record"].max()),
            shapes=draft.shapes,
            late_min=draft.late_min,
            late_max=draft.late_max,
            forms=tuple(name for name in select if name not in SYSTEM_COLUMNS),
            crc32=checksum(self.files, self.folder / path),
        )

    def _note(self, changed: Sequence[Rolled]) -> None:
        for rolled in changed:
            self.catalog.rolled[rolled.project, rolled.property, rolled.rule, rolled.step] = rolled

    def _publish(self, added: tuple[DataFile, ...], dropped: tuple[DataFile, ...]) -> None:
        gone = {file.id for file in dropped}
        for table_id in {file.table_id for file in (*added, *dropped)}:
            table = self.catalog.table(table_id)
            kept = tuple(file for file in table.files if file.id not in gone)
            table.files = kept + tuple(file for file in added if file.table_id == table_id)

    def _remove_orphans(self) -> None:
        tables = self.catalog.tables()
        live, projects = {file.path for table in tables for file in table.files}, {table.project for table in tables}
        for path in self.folder.glob("*/*/*.parquet"):
            if path.relative_to(self.folder).as_posix() not in live:
                self.files.remove(path)
        for folder in self.folder.glob("*/"):  # of projects that were deleted
            if folder.name not in (*projects, "tmp"):
                shutil.rmtree(folder, ignore_errors=True)


def _younger(frame: Frame, expired: Sequence[Gone]) -> Frame:
    """A frame of the head without what has expired."""
    if not len(frame) or not expired or int(frame.observed.min()) >= max(one.end for one in expired):
        return frame
    return without(frame, expired)
