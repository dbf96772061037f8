"""The history of every project's readings: written batch by batch from the journal, asked by time."""

import logging
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import duckdb
import msgspec
import numpy as np
from numpy.typing import NDArray

from taihu.history.aggregate import Aggregate, aggregate
from taihu.history.calculated import Calculated, Plans
from taihu.history.calendar import edges, parse_step, parse_zone
from taihu.history.compaction import compact
from taihu.history.delta import publish, published
from taihu.history.erase import Eraser
from taihu.history.expire import Expirer
from taihu.history.floors import Definitions, NoRules, Rules
from taihu.history.frame import Frame, Ints
from taihu.history.manifest import Erasure, Tombstone
from taihu.history.scan import Scan, fetch, fetch_edge
from taihu.history.sizes import Sizes, stats
from taihu.history.store import Store
from taihu.history.windowing import by_thing
from taihu.history.windowquery import Swaps, WindowQuery
from taihu.history.windows import Windows
from taihu.kernel.clock import Clock
from taihu.kernel.files import Files
from taihu.kernel.limits import Limits
from taihu.things.batch import FLAG_STAMPED, FLAG_SUSPECT, Batch
from taihu.things.deletion import TIME_MAX, TIME_MIN, Deletion
from taihu.things.ports import Reading
from taihu.things.property import Property, Quality, Swap
from taihu.things.terms import Fixed, Nature, Plan

Order = Literal["asc", "desc"]

log = logging.getLogger("taihu.history")

_REST_S = 600


class Series(msgspec.Struct, frozen=True):
    """One property's readings as columns, by time. `values` is a float64 array, or a list when not all are numbers."""

    observed: Ints
    received: Ints
    seq: Ints
    flags: NDArray[np.int8]
    values: Any

    def __len__(self) -> int:
        return len(self.observed)

    def head(self, count: int) -> "Series":
        """The first `count` readings."""
        part = slice(count)
        return Series(self.observed[part], self.received[part], self.seq[part], self.flags[part], self.values[part])


def _no_plans(_project: str, thing: str, definition: Property) -> Plan:
    return Plan(Fixed(math.nan), Nature.FIXED, (), (f"{thing}/{definition.name} is not calculated here",))


def _no_swaps(_project: str, _thing: str, _property: str) -> Sequence[Swap]:
    return ()


class History:
    """The store of one node. One thread applies; `flush`, `maintain` and queries may run in others at the same time.

    Times are int64 UTC nanoseconds, ranges [start, end). A reading applied is in the answer of the next query.
    """

    def __init__(
        self,
        folder: Path,
        files: Files,
        clock: Clock,
        limits: Limits,
        definitions: Definitions,
        swaps: Swaps = _no_swaps,
        plans: Plans = _no_plans,
        rules: Rules | None = None,
    ) -> None:
        """Open or create the store; raises ManifestDamaged or ManifestTooNew."""
        self._store = Store(folder, files, clock, limits, definitions, rules or NoRules())
        self._windows = WindowQuery(self._store, clock, limits, definitions, swaps)
        self.calculated = Calculated(self._windows, plans, swaps, clock, limits)
        self._definitions = definitions
        self._unmended = published(self._store)  # a crash may have come between a merge and its Delta log
        self._eraser = Eraser(self._store)
        self._expirer = Expirer(self._store)
        self.sizes = Sizes(self._store)
        self._clock = clock
        self._rest_until = clock.monotonic()
        self._limits = limits

    @property
    def store(self) -> Store:
        """The files and the head beneath, for what asks them in its own way, as `taihu.history.sql` does."""
        return self._store

    @property
    def limits(self) -> Limits:
        """The bounds it keeps to."""
        return self._limits

    @property
    def checkpoint(self) -> int:
        """The journal position up to which every record survives power loss here; replay from the next one."""
        return self._store.checkpoint

    @property
    def applied(self) -> int:
        """The last journal position taken over, durable or not."""
        return self._store.applied

    def apply(self, position: int, batch: Batch) -> None:
        """Take over a journal record's batch; positions already taken over are passed by, so replay is harmless.

        When flushes are far behind it does one itself. OSError when that fails: the batch is not taken, call again.
        """
        self._store.apply(position, batch)

    def delete(self, position: int, deletion: Deletion) -> None:
        """Take over a deletion of what the journal holds up to `position`; when this returns no query answers it.

        A second time changes nothing. OSError when it cannot be made durable: call again.
        """
        self._store.delete(position, deletion)

    def knows(self, project: str, thing: str, property_name: str = "") -> bool:
        """Whether there was ever a reading of a thing; and one of the property, if one is named, of any thing."""
        catalog = self._store.catalog
        named = not property_name or any(property_name in table.columns for table in catalog.tables(project))
        return thing in catalog.ids(project) and named

    def unjournalled(self) -> list[Tombstone]:
        """The deletions of which no file here holds anything, and the journal may; in its order."""
        return [one for one in self._store.tombstones.pending(Erasure.ERASED) if one.state is Erasure.UNFILED]

    def erased(self, tombstones: Sequence[Tombstone]) -> None:
        """Note that the journal too holds nothing of these deletions."""
        self._store.advance([msgspec.structs.replace(one, state=Erasure.ERASED) for one in tombstones])

    def erasing(self) -> bool:
        """Whether a file still holds something that was deleted."""
        return bool(self._store.tombstones.pending())

    def waits(self) -> bool:
        """Whether `maintain` should be called soon, although there is always more to apply."""
        return self.erasing() or self._expirer.due(self._clock.now_ns())

    def erasure(self, number: str) -> Erasure | None:
        """How far a deletion has come here; None when it was not taken over."""
        found = self._store.tombstones.get(number)
        return found.state if found else None

    def lost(self, project: str, thing: str, property_name: str) -> list[tuple[int, int]]:
        """The stretches of time [start, end) of which readings of a property, or of its inputs, are gone (§10)."""
        definition = self._calculation(project, thing, property_name)
        if definition is None:
            return self._store.lost(project, thing, property_name)
        inputs = self.calculated.inputs(project, thing, definition)
        return sorted({span for one in inputs for span in self._store.lost(*one.key)})

    def pass_by(self, position: int) -> None:
        """Note that the records up to `position` hold nothing more for the history."""
        self._store.pass_by(position)

    def due(self) -> bool:
        """Whether `flush` should be called: `flush_rows` or `flush_s` is reached."""
        return self._store.due()

    def flush(self) -> int:
        """Make everything applied durable and return the checkpoint. OSError leaves all as it was: call again."""
        return self._store.flush()

    def maintain(self) -> bool:
        """Do one bounded step of background work; True when there may be more. One thread at a time calls this.

        OSError when the disk is full: nothing is lost, call again. Files that DuckDB's memory cannot sort stay as they
        are: they answer all the same, and merging rests for a while.
        """
        if self._clock.monotonic() < self._rest_until:
            return False
        if self._unmended:
            publish(self._store, self._unmended[-1], self._clock.now_ns())
            self._unmended.pop()
            return True
        try:
            now_ns = self._clock.now_ns()
            return (
                self._eraser.step(now_ns)
                or self._expirer.step(now_ns)
                or compact(self._store, now_ns)
                or self._windows.roll_step()
            )
        except duckdb.OutOfMemoryException as error:
            log.warning("files are not merged for %d s: %s", _REST_S, str(error).partition("\n")[0])
            self._rest_until = self._clock.monotonic() + _REST_S
            return False

    def compact(self) -> None:
        """Merge all that can be merged now, as before a backup; takes as long as writing the whole store again."""
        self._store.flush()
        while compact(self._store, self._clock.now_ns(), everything=True):
            pass

    def close(self) -> None:
        """Flush and close."""
        self._store.close()

    def read(
        self,
        project: str,
        thing: str,
        property_name: str,
        start: int = TIME_MIN,
        end: int = TIME_MAX,
        *,
        limit: int | None = None,
        revisions: bool = False,
        order: Order = "asc",
    ) -> list[Reading]:
        """Readings by time, each once: at most `limit` of them from the first end of `order`.

        `revisions` adds superseded ones (§1, §5). LimitError when there are more than query_rows_max and no `limit`.
        """
        rows = self.read_columns(
            project, thing, property_name, start, end, limit=limit, revisions=revisions, order=order
        )
        values = rows.values if isinstance(rows.values, list) else rows.values.tolist()
        quality = [_quality(flags) for flags in rows.flags.tolist()]
        columns = (rows.observed.tolist(), rows.received.tolist(), values, quality, rows.seq.tolist())
        return [
            Reading(
                project=project,
                thing=thing,
                property=property_name,
                observed_at=observed,
                received_at=received,
                value=value,
                quality=grade,
                seq=seq,
            )
            for observed, received, value, grade, seq in zip(*columns, strict=True)
        ]

    def read_columns(
        self,
        project: str,
        thing: str,
        property_name: str,
        start: int = TIME_MIN,
        end: int = TIME_MAX,
        *,
        limit: int | None = None,
        revisions: bool = False,
        order: Order = "asc",
    ) -> Series:
        """As `read`, by column."""
        definition = self._calculation(project, thing, property_name)
        if definition is not None:
            newest = order == "desc"
            found = self.calculated.rows(project, thing, definition, start, end, limit, newest=newest)
            return Series(*found.at(slice(None, None, -1 if newest else 1))[:5])
        frame = self._rows(project, thing, property_name, start, end, limit=limit, revisions=revisions, order=order)
        return _series(frame, property_name)

    def read_many(
        self, project: str, things: Sequence[str], property_name: str, start: int = TIME_MIN, end: int = TIME_MAX
    ) -> dict[str, Series]:
        """One property of many things, by time; things without a reading are left out."""
        scan = self._scan(project, things, property_name, start, end)
        frame = fetch(self._store, scan, self._limits.query_rows_max)
        names = self._store.catalog.names(project)
        return {names[thing]: _series(frame.take(rows), property_name) for thing, rows in by_thing(frame).items()}

    def asof(self, project: str, thing: str, property_name: str, at: int) -> Reading | None:
        """The newest reading observed at or before `at`, however old; None when there is none."""
        found = self.read(project, thing, property_name, TIME_MIN, at + 1, limit=1, order="desc")
        return found[0] if found else None

    def window(
        self, project: str, thing: str, property_name: str, start: int, end: int, every: str, tz: str = "UTC"
    ) -> Windows:
        """Windows of `every` ('1m', '15m', '1h', '1d', '1mo', ...) over a range, by the property's kind (§3).

        Raises StepRefused, ZoneRefused, RangeRefused and LimitError.
        """
        return self.window_many(project, [thing], property_name, start, end, every, tz)[thing]

    def window_many(
        self, project: str, things: Sequence[str], property_name: str, start: int, end: int, every: str, tz: str = "UTC"
    ) -> dict[str, Windows]:
        """As `window`, for each of many things; one without a reading has missing windows."""
        bounds = edges(start, end, parse_step(every), parse_zone(tz), self._limits.query_rows_max)
        return self.window_between(project, things, property_name, bounds)

    def window_between(
        self, project: str, things: Sequence[str], property_name: str, bounds: Ints
    ) -> dict[str, Windows]:
        """As `window_many`, for windows between `bounds`: UTC ns, rising."""
        calculated = {
            thing: definition
            for thing in things
            if (definition := self._calculation(project, thing, property_name)) is not None
        }
        stored = [thing for thing in things if thing not in calculated]
        found = self._windows.windows(project, stored, property_name, bounds) if stored else {}
        for thing, definition in calculated.items():
            found[thing] = self.calculated.windows(project, thing, definition, bounds)
        return found

    def spread(self, project: str, thing: str, property_name: str, bounds: Ints) -> Windows:
        """As `window_between` of a counter, but what it rose in a gap is shared out evenly, however long that was."""
        return self._windows.spread(project, thing, property_name, bounds)

    def aggregate(
        self,
        project: str,
        property_name: str,
        start: int = TIME_MIN,
        end: int = TIME_MAX,
        things: Sequence[str] | None = None,
    ) -> dict[str, Aggregate]:
        """Count, minimum, maximum and mean of a property's numbers over a range, by thing; all things when None."""
        scan = self._scan(project, things, property_name, start, end)
        found = aggregate(self._store, scan)
        names = self._store.catalog.names(project)  # after the rows, whose things are in it then
        return {names[thing]: one for thing, one in found.items()}

    def within(self, seconds: float, limit: str = "query_timeout_s") -> AbstractContextManager[None]:
        """Bound the time of this thread's queries inside the block; LimitError, naming `limit`, when it is over."""
        return self._store.deadlines.within(seconds, limit)

    def count(self, project: str) -> int:
        """Rows stored for a project: one for each message of a thing, re-deliveries and corrections included."""
        with self._store.snapshot(project) as parts:
            return sum(file.rows for part in parts for file in part.files) + sum(
                len(frame) for part in parts for frame in part.frames
            )

    def stats(self) -> dict[str, int]:
        """What the store holds: files, rows, bytes, head rows, tables, things, checkpoint, applied."""
        return stats(self._store)

    def _calculation(self, project: str, thing: str, property_name: str) -> Property | None:
        """The definition of a property that is calculated; None for one with readings of its own."""
        definition = self._definitions(project, thing).get(property_name)
        return definition if definition is not None and definition.formula else None

    def _rows(
        self,
        project: str,
        thing: str,
        property_name: str,
        start: int,
        end: int,
        *,
        limit: int | None,
        revisions: bool,
        order: Order,
    ) -> Frame:
        scan = self._scan(project, [thing], property_name, start, end)
        rows_max = self._limits.query_rows_max
        if limit is None:
            frame = fetch(self._store, scan, rows_max, revisions=revisions)
        else:
            count = min(limit, rows_max)
            frame = fetch_edge(self._store, scan, count, newest=order == "desc", revisions=revisions)
        return frame.take(slice(None, None, -1)) if order == "desc" else frame

    def _scan(self, project: str, things: Sequence[str] | None, property_name: str, start: int, end: int) -> Scan:
        if things is None:
            return Scan(project, property_name, None, start, end)
        ids = self._store.catalog.ids(project)
        wanted = tuple(sorted({ids[thing] for thing in things if thing in ids}))
        return Scan(project, property_name, wanted, start, end)


def _series(frame: Frame, property_name: str) -> Series:
    cells = frame.cells.get(property_name)
    values: Any = np.empty(0)
    if cells is not None:
        plain = cells.text is None and cells.boolean is None and cells.integer is None
        values = cells.numbers(len(frame)) if plain else cells.objects(len(frame))
    return Series(frame.observed, frame.received, frame.seq, frame.flags, values)


def _quality(flags: int) -> str:
    if flags & FLAG_SUSPECT:
        return Quality.SUSPECT
    return Quality.STAMPED if flags & FLAG_STAMPED else Quality.GOOD
