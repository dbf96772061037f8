"""What the history knows by name: things, tables and their columns; in memory, with what is not yet in the manifest."""

import re
from collections.abc import Callable, Iterable

import msgspec
import numpy as np

from taihu.history.frame import Frame, Ints, Mask
from taihu.history.layout import column_name
from taihu.history.manifest import Manifest, Rolled, RolledKey, Table
from taihu.things.batch import FLAG_STAMPED, Batch
from taihu.things.deletion import Deletion

COLUMNS_MAX = 60  # a table's properties: wider tables cost every file a footer entry for each

ROLLUP = "/rollup/"  # before the step, the model of a rollup's table: no name of a model has a slash
_NEVER = np.iinfo(np.int64).min

Route = tuple[tuple[Table, tuple[int, ...]], ...]  # which columns of a batch go to which table


class Catalog:
    """The names of all projects. Not locked: `Store` calls it under its own lock."""

    def __init__(self, manifest: Manifest) -> None:
        self._ids: dict[str, dict[str, int]] = {}
        self._names: dict[str, list[str]] = {}
        self._new_things: list[tuple[str, int, str]] = []
        for project, _, name in manifest.things():
            self.thing_id(project, name)
        self._new_things.clear()
        self._new_tables: dict[int, Table] = {}
        self._tables: dict[int, Table] = {}
        self._of_model: dict[tuple[str, str], list[Table]] = {}
        self._routes: dict[tuple[str, str, tuple[str, ...]], Route] = {}
        self._newest: dict[str, Ints] = {}
        for table in manifest.tables():
            self._adopt(table)
        self.stands: Callable[[Rolled, int | None], int] = lambda _rolled, _thing: _NEVER  # up to when windows stay
        self.rolled = {
            (rolled.project, rolled.property, rolled.rule, rolled.step): rolled for rolled in manifest.rolled()
        }

    def ids(self, project: str) -> dict[str, int]:
        """The ids of a project's things."""
        return self._ids.get(project, {})

    def names(self, project: str) -> list[str]:
        """The names of a project's things; a thing's id is its index."""
        return self._names.get(project, [])

    def thing_id(self, project: str, name: str) -> int:
        """The id of a thing, given out when it has none."""
        ids = self._ids.setdefault(project, {})
        found = ids.get(name)
        if found is None:
            found = ids[name] = len(ids)
            self._names.setdefault(project, []).append(name)
            self._new_things.append((project, found, name))
        return found

    def rename(self, project: str, number: int, name: str) -> None:
        """Give the thing of an id another name; what had the old one is a stranger from now on."""
        old = self._names[project][number]
        del self._ids[project][old]
        self._ids[project][name] = number
        self._names[project][number] = name
        self._new_things = [
            (home, each, name if (home, each) == (project, number) else known) for home, each, known in self._new_things
        ]

    def forget(self, project: str) -> None:
        """Forget a project that has no rows."""
        tables = {table.id for table in self.tables(project)}
        self._tables = {number: table for number, table in self._tables.items() if number not in tables}
        self._new_tables = {number: table for number, table in self._new_tables.items() if number not in tables}
        self._new_things = [thing for thing in self._new_things if thing[0] != project]
        self._of_model = {key: found for key, found in self._of_model.items() if key[0] != project}
        self._routes = {key: route for key, route in self._routes.items() if key[0] != project}
        self.rolled = {key: rolled for key, rolled in self.rolled.items() if key[0] != project}
        for known in (self._ids, self._names, self._newest):
            known.pop(project, None)

    def table(self, table_id: int) -> Table:
        """A table by its id."""
        return self._tables[table_id]

    def tables(self, project: str | None = None, *, rollups: bool = True) -> list[Table]:
        """All tables, or those of one project; `rollups` says whether those of rollups are among them."""
        return [
            table
            for table in list(self._tables.values())  # another thread may add one
            if (project is None or table.project == project) and (rollups or not table.model.startswith(ROLLUP))
        ]

    def route(self, batch: Batch) -> Route:
        """Where a batch's columns go; tables and columns are made as needed."""
        key = (batch.project, batch.model, batch.properties)
        found = self._routes.get(key)
        if found is None:
            found = self._routes[key] = self._make_route(*key)
        for name in batch.things:
            if name not in self._ids.get(batch.project, {}):
                self.thing_id(batch.project, name)
        return found

    def rollup_route(self, project: str, step: str, names: tuple[str, ...]) -> Table:
        """The table that holds a property's windows of one step, in the columns `names`."""
        return self._make_route(project, ROLLUP + step, names)[0][0]

    def overtaken(self, flushed: Iterable[tuple[str, Frame]]) -> list[Rolled]:
        """The rollups that a project's rows, sorted by thing, reach back into: as they are with those windows void."""
        changed: dict[tuple[str, str, str, str], Rolled] = {}
        for project, frame in flushed:
            for key, rolled in self.rolled.items():
                if rolled.project != project or rolled.property not in frame.cells:
                    continue
                early = np.flatnonzero(frame.observed - rolled.reach_ns < rolled.until)
                if not len(early):
                    continue
                things, starts = np.unique(frame.thing[early], return_index=True)
                oldest = np.minimum.reduceat(frame.observed[early], starts) - rolled.reach_ns
                late = dict(changed.get(key, rolled).late)
                for thing, until in zip(things.tolist(), oldest.tolist(), strict=True):
                    until = max(until, self.stands(rolled, thing))
                    if until < rolled.until:
                        late[thing] = min(until, late.get(thing, rolled.until))
                changed[key] = msgspec.structs.replace(rolled, late=late)
        return list(changed.values())

    def voided(self, deletion: Deletion) -> tuple[list[Rolled], list[RolledKey]]:
        """What a deletion does to the rollups: as they are with its windows void, and those to begin anew."""
        changed, dropped = [], []
        thing = self.ids(deletion.project).get(deletion.thing)
        for key, rolled in self.rolled.items():
            if rolled.project != deletion.project or deletion.property not in ("", rolled.property):
                continue
            since = max(deletion.start, _NEVER + rolled.reach_ns) - rolled.reach_ns
            stands = self.stands(rolled, thing)
            since = max(since, stands)
            if since >= rolled.until:
                continue
            if not deletion.thing and stands == _NEVER:
                dropped.append(key)
            elif not deletion.thing:
                late = {number: until for number, until in rolled.late.items() if until < since}
                changed.append(msgspec.structs.replace(rolled, until=since, late=late))
            elif thing is not None:
                late = rolled.late | {thing: min(since, rolled.late.get(thing, rolled.until))}
                changed.append(msgspec.structs.replace(rolled, late=late))
        return changed, dropped

    def take_new(self) -> tuple[tuple[tuple[str, int, str], ...], tuple[Table, ...]]:
        """Things and tables that the manifest does not have yet; `put_back` them when it fails to take them."""
        things, tables = tuple(self._new_things), tuple(self._new_tables.values())
        self._new_things, self._new_tables = [], {}
        return things, tables

    def put_back(self, things: tuple[tuple[str, int, str], ...], tables: tuple[Table, ...]) -> None:
        """Undo `take_new`."""
        self._new_things[:0] = things
        self._new_tables = {table.id: table for table in tables} | self._new_tables

    def late(self, project: str, frame: Frame) -> Mask:
        """Which rows may collide with one that was flushed before: not newer than all of their thing's.

        What was written before a restart is remembered only as the newest time of the whole project.
        """
        newest = self._newest_of(project, int(frame.thing.max(initial=-1)))
        return np.asarray((frame.observed <= newest[frame.thing]) & (frame.flags & FLAG_STAMPED == 0))

    def remember(self, project: str, frame: Frame) -> None:
        """Note each thing's newest time in rows sorted by thing, once they are flushed."""
        if len(frame):
            newest = self._newest_of(project, int(frame.thing[-1]))
            starts = np.flatnonzero(np.diff(frame.thing, prepend=-1))
            things = frame.thing[starts]
            newest[things] = np.maximum(newest[things], np.maximum.reduceat(frame.observed, starts))

    def _newest_of(self, project: str, thing_max: int) -> Ints:
        newest = self._newest.get(project)
        if newest is None:
            files = [file for table in self.tables(project, rollups=False) for file in table.files]
            floor = max((file.observed_max for file in files), default=_NEVER)
            newest = np.full(max(thing_max + 1, len(self.names(project))), floor, np.int64)
        elif thing_max >= len(newest):
            newest = np.concatenate([newest, np.full(thing_max + 1, _NEVER, np.int64)])
        self._newest[project] = newest
        return newest

    def _make_route(self, project: str, model: str, properties: tuple[str, ...]) -> Route:
        tables = self._of_model.setdefault((project, model), [])
        homes: dict[int, list[int]] = {}
        fresh = sum(all(name not in table.columns for table in tables) for name in properties)
        if tables and fresh <= COLUMNS_MAX < len(tables[-1].columns) + fresh:
            self._adopt(self._new_table(project, model))  # what comes together stays together
        for index, name in enumerate(properties):
            table = next((table for table in tables if name in table.columns), None)
            if table is None:
                if not tables or len(tables[-1].columns) >= COLUMNS_MAX:
                    self._adopt(self._new_table(project, model))
                table = tables[-1]
                # A new dict, as another thread may be writing the old one to the manifest.
                table.columns = {**table.columns, name: column_name(name, table.columns.values())}
                self._new_tables[table.id] = table
            homes.setdefault(table.id, []).append(index)
        return tuple((self._tables[table_id], tuple(indices)) for table_id, indices in homes.items())

    def _new_table(self, project: str, model: str) -> Table:
        table_id = max(self._tables, default=0) + 1
        slug = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")[:40] or "untyped"
        return Table(id=table_id, project=project, model=model, folder=f"{project}/{slug}-{table_id}", columns={})

    def _adopt(self, table: Table) -> None:
        self._tables[table.id] = table
        self._of_model.setdefault((table.project, table.model), []).append(table)
