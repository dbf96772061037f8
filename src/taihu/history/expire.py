"""Takes what has expired out of the files, some of it at a time; no query has seen it since it expired.

A file all of which has expired is dropped unread. One of which a part has is written again without it once that part is
old enough (`Floors.slack`), so that each file is written a few times only. Readings that outlived windows are still to
be made of stay until they are. A step looks at files until one has to be changed.
"""

from collections.abc import Sequence

from taihu.history.compaction import forms_by_property, merged
from taihu.history.delta import publish
from taihu.history.gone import Gone
from taihu.history.layout import present_expression
from taihu.history.manifest import DataFile, Table
from taihu.history.store import Store
from taihu.things.deletion import TIME_MAX, TIME_MIN

_AGAIN_NS = 60_000_000_000  # what cannot go yet is looked at again so much later


class Expirer:
    """One store's. One thread at a time calls it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._due: dict[int, int] = {}  # file -> when it is to be looked at
        self._version = -1
        self._next = 0  # when the first is

    def due(self, now_ns: int) -> bool:
        """Whether a file should be looked at."""
        return self._version != self._store.floors.rules.version or now_ns >= self._next

    def step(self, now_ns: int) -> bool:
        """One bounded step; True when there may be more. OSError on a full disk: nothing is lost, call again."""
        if self._version != self._store.floors.rules.version:
            self._version, self._next = self._store.floors.rules.version, 0
            self._due.clear()
        if now_ns < self._next:
            return False
        for table in self._store.catalog.tables():
            gone = self._store.floors.gone(table, now_ns)
            if not gone:
                continue
            for file in table.files:
                if self._due.get(file.id, 0) <= now_ns and self._shrink(table, file, gone, now_ns):
                    return True
        live = {file.id for table in self._store.catalog.tables() for file in table.files}
        self._due = {number: due for number, due in self._due.items() if number in live}
        self._next = min([*self._due.values(), now_ns + _AGAIN_NS])
        return False

    def _shrink(self, table: Table, file: DataFile, gone: Sequence[Gone], now_ns: int) -> bool:
        """Drop or rewrite a file when that is due, else note when it will be; whether it was changed."""
        store = self._store
        own = [one for one in gone if one.reaches(TIME_MIN, TIME_MAX, file.thing_min, file.thing_max)]
        reached = [one for one in own if one.end > file.observed_min]
        if not reached:
            self._due[file.id] = min([file.observed_min + self._patience(one, now_ns) for one in own], default=TIME_MAX)
            return False
        held = store.gone_of(table, (file,))
        if any(not one.property and one.covers(file.observed_min, file.observed_max) for one in held):
            self._swap(table, file, (), now_ns)
            return True
        oldest = self._oldest(table, file, reached)
        waits = [at + self._patience(one, now_ns) for one, at in zip(reached, oldest, strict=True) if at is not None]
        waits += [file.observed_min + self._patience(one, now_ns) for one in own if one not in reached]
        if min(waits, default=TIME_MAX) > now_ns:
            self._due[file.id] = min(waits, default=TIME_MAX)
            return False
        left = self._oldest(table, file, held) if held else []
        if not any(at is not None and at < one.end for one, at in zip(held, left, strict=True)):
            self._due[file.id] = now_ns + _AGAIN_NS  # it is still to be rolled up
            return False
        self._swap(table, file, merged(store, table, (file,)), now_ns)
        return True

    def _patience(self, one: Gone, now_ns: int) -> int:
        """The age at which rows have to be out of their file."""
        age = now_ns - one.end
        return age + self._store.floors.slack(age)

    def _oldest(self, table: Table, file: DataFile, gone: Sequence[Gone]) -> list[int | None]:
        """The oldest row in a file for each of these, of the property and things it is of."""
        forms = forms_by_property(table, (file,))
        columns = []
        for one in gone:
            terms = [one.of_things()]
            if one.property:
                named = [each for name, each in forms.items() if name.partition("/")[0] == one.property]
                own = [present_expression(each) for each in named]
                terms.append(f"({' OR '.join(own) or 'false'})")
            columns.append(f"min(observed_at) FILTER (WHERE {' AND '.join(terms)})")
        cursor = self._store.cursor()
        try:
            # Column names passed `check_column`; all else are numbers.
            statement = f"SELECT {', '.join(columns)} FROM read_parquet(?)"  # noqa: S608
            row = cursor.execute(statement, [str(self._store.folder / file.path)]).fetchone()
        finally:
            cursor.close()
        assert row is not None  # an aggregate without GROUP BY has a row
        return list(row)

    def _swap(self, table: Table, file: DataFile, fresh: tuple[DataFile, ...], now_ns: int) -> None:
        store = self._store
        store.replace((file,), fresh)
        try:
            if file.level:  # only merged files are in the log
                publish(store, table, now_ns)
        finally:
            store.discard((file,))
