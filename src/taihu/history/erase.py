"""Takes what is gone out of the files: each one that holds some of it is written again without, or dropped.

A file that was written after a deletion holds nothing of it, and merging leaves out what is gone, so that only files
from before are looked at. Each step looks at files until one has to be written again; so none is longer than a merge.
"""

from collections.abc import Sequence

import msgspec

from taihu.history.compaction import forms_by_property, merged
from taihu.history.delta import THINGS, forget_versions, publish, write_things
from taihu.history.gone import Gone, gone_rows
from taihu.history.manifest import DataFile, Erasure, Table, Tombstone
from taihu.history.store import Store


class Eraser:
    """One store's. One thread at a time calls it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._clean: dict[int, int] = {}  # file -> the last deletion, by its position, of which it holds nothing

    def step(self, now_ns: int) -> bool:
        """One bounded step for the oldest pending deletions; True when there may be more. OSError on a full disk."""
        pending = self._store.tombstones.pending()
        for project in dict.fromkeys(one.deletion.project for one in pending):
            own = [one for one in pending if one.deletion.project == project]
            if self._rewrite_one(project, own, now_ns) or self._finish(project, own, now_ns):
                return True
        return False

    def _rewrite_one(self, project: str, pending: Sequence[Tombstone], now_ns: int) -> bool:
        store, newest, mark = self._store, pending[-1].position, max(one.mark for one in pending)
        for table in store.catalog.tables(project):
            gone = store.deleted_of(table)
            for file in table.files:
                if file.id >= mark or self._clean.get(file.id, -1) >= newest:
                    continue
                if self._holds(table, file, gone):
                    fresh = merged(store, table, (file,))
                    store.replace((file,), fresh)
                    try:
                        if file.level:  # only merged files are in the log
                            publish(store, table, now_ns)
                    finally:
                        store.discard((file,))
                    return True
                self._clean[file.id] = newest
        return False

    def _holds(self, table: Table, file: DataFile, gone: Sequence[Gone]) -> bool:
        """Whether any of it is in the file."""
        span = (file.observed_min, file.observed_max, file.thing_min, file.thing_max)
        gone = [one for one in gone if one.reaches(*span)]
        if not gone:
            return False
        condition = gone_rows(gone, forms_by_property(table, (file,)))
        cursor = self._store.cursor()
        try:
            # Column names passed `check_column`; all else are numbers.
            statement = f"SELECT 1 FROM read_parquet(?) WHERE {condition} LIMIT 1"  # noqa: S608
            return cursor.execute(statement, [str(self._store.folder / file.path)]).fetchone() is not None
        finally:
            cursor.close()

    def _finish(self, project: str, pending: Sequence[Tombstone], now_ns: int) -> bool:
        """No live file holds it: forget old versions of the Delta logs, and the names of what was removed."""
        store = self._store
        if store.leases.sweep():
            return False  # a query still reads a file that was replaced
        for table in store.catalog.tables(project):
            forget_versions(store, table)
        removed = [one.deletion.thing for one in pending if one.deletion.removes]
        with store.writing():
            for name in removed:
                if name and not self._has_rows(project, name):
                    store.forget_thing(project, name)
            if "" in removed:
                store.forget_project(project)
        if THINGS in store.files.names(store.folder / project):
            write_things(store, project)
        store.advance([msgspec.structs.replace(one, state=Erasure.UNFILED) for one in pending])
        kept = {file.id for table in store.catalog.tables() for file in table.files}
        self._clean = {file: position for file, position in self._clean.items() if file in kept}
        return True

    def _has_rows(self, project: str, thing: str) -> bool:
        """Whether a thing has rows in files: it came again after it was removed."""
        number = self._store.catalog.ids(project).get(thing, -1)
        return any(
            self._holds(table, file, [Gone(thing=number)])
            for table in self._store.catalog.tables(project)
            for file in table.files
        )
