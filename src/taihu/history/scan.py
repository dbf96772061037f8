"""Readings of one property, fetched from files and head together and each resolved to the one that counts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import duckdb
import numpy as np

from taihu.history.frame import Cells, Frame, concat, empty_frame
from taihu.history.gone import Gone, of_property, still_there
from taihu.history.layout import check_column, decode_cells, form_base, number_expression, present_expression
from taihu.history.manifest import DataFile
from taihu.history.resolve import resolve
from taihu.history.store import Part, Store
from taihu.kernel.errors import LimitError
from taihu.things.batch import ROW_BITS
from taihu.things.deletion import TIME_MAX, TIME_MIN

_LISTED_MAX = 256


@dataclass(frozen=True, slots=True)
class Scan:
    """What is asked for: rows with `start` <= observed_at < `end`. `things` are ids, rising; None says all.

    `expired` asks for readings that no query sees any more and that are still to be rolled up, too.
    """

    project: str
    property: str
    things: tuple[int, ...] | None = None
    start: int = TIME_MIN
    end: int = TIME_MAX
    expired: bool = False

    def wants(self, file: DataFile, column: str) -> bool:
        """Whether the file may hold a row of the answer."""
        if file.observed_max < self.start or file.observed_min >= self.end:
            return False
        if self.things is not None and (self.things[-1] < file.thing_min or self.things[0] > file.thing_max):
            return False
        return any(form_base(form) == column for form in file.forms)

    def select(self, frame: Frame) -> Frame:
        """The rows of the answer among a frame's rows."""
        mask = (frame.observed >= self.start) & (frame.observed < self.end)
        if self.things is not None:
            mask &= frame.thing == self.things[0] if len(self.things) == 1 else np.isin(frame.thing, self.things)
        frame = Frame(
            frame.thing,
            frame.observed,
            frame.received,
            frame.seq,
            frame.flags,
            {self.property: frame.cells.get(self.property) or Cells()},
        )
        return frame if mask.all() else frame.take(mask)


def fetch(store: Store, scan: Scan, rows_max: int, *, revisions: bool = False) -> Frame:
    """All readings of the answer by thing, observed_at and seq; LimitError when there are more than `rows_max`."""
    if scan.things == ():
        return empty_frame()
    with store.snapshot(scan.project, scan.property, expired=scan.expired) as parts:
        frames = _fetch_parts(store, scan, parts, rows_max, whole=True)
    return resolve(concat(frames).only(scan.property), scan.property, revisions=revisions)


def fetch_values(store: Store, scan: Scan, rows_max: int) -> Frame:
    """As `fetch`, but `received`, `seq` and `flags` are not to be relied on: for what needs times and values only."""
    if scan.things == ():
        return empty_frame()
    with store.snapshot(scan.project, scan.property, expired=scan.expired) as parts:
        frames = _fetch_parts(store, scan, parts, rows_max, whole=False)
        light = concat(frames).only(scan.property)
        resolved = resolve(light, scan.property)
        if len(resolved) == len(light) and not _collides(resolved):
            return resolved
        frames = _fetch_parts(store, scan, parts, rows_max, whole=True)
    return resolve(concat(frames).only(scan.property), scan.property)


def fetch_rows(store: Store, scan: Scan, model: str, names: Sequence[str], rows_max: int) -> Frame:
    """Whole rows: the numbers of several properties in a model's tables, by thing and time, of each key the newest.

    Every step of a rollup has the same columns: the model tells them apart.
    """
    if scan.things == ():
        return empty_frame()
    frames = []
    with store.snapshot(scan.project, scan.property, expired=scan.expired) as parts:
        cursor = store.cursor()
        try:
            for part in parts:
                if part.table.model != model:
                    continue
                for file in part.files:
                    if scan.wants(file, part.table.columns[scan.property]):
                        frames.append(_fetch_row_file(cursor, store, scan, names, part, file, rows_max))
        finally:
            cursor.close()
    if sum(map(len, frames)) > rows_max:
        raise too_many(rows_max)
    frame = concat(frames)
    if not len(frame):
        return frame
    frame = frame.take(np.lexsort((frame.seq, frame.observed, frame.thing)))
    newest = np.ones(len(frame), np.bool_)
    newest[:-1] = (frame.thing[1:] != frame.thing[:-1]) | (frame.observed[1:] != frame.observed[:-1])
    return frame.take(newest)


def things_between(store: Store, scan: Scan) -> dict[int, int]:
    """How many rows in files each thing has; superseded ones included."""
    counts: dict[int, int] = {}
    with store.snapshot(scan.project, scan.property, expired=scan.expired) as parts:
        chosen = [
            (part, file) for part in parts for file in part.files if scan.wants(file, part.table.columns[scan.property])
        ]
        cursor = store.cursor()
        try:
            for paths, forms, gone in file_groups(store, scan, chosen):
                clause, values = where_clause(scan, forms, gone)
                # Column names passed `check_column`; all else is bound.
                statement = f"SELECT thing, count(*) FROM read_parquet(?) WHERE {clause} GROUP BY thing"  # noqa: S608
                for thing, count in cursor.execute(statement, [paths, *values]).fetchall():
                    counts[thing] = counts.get(thing, 0) + count
        finally:
            cursor.close()
    return counts


def fetch_edge(store: Store, scan: Scan, count: int, *, newest: bool, revisions: bool = False) -> Frame:
    """The oldest or newest `count` readings of the answer, in rising order, without reading files that cannot matter.

    Files are opened from that end on, twice as many each time, until what remains lies beyond the readings found.
    """
    if scan.things == ():
        return empty_frame()
    with store.snapshot(scan.project, scan.property, expired=scan.expired) as parts:
        files = [
            (part, file) for part in parts for file in part.files if scan.wants(file, part.table.columns[scan.property])
        ]
        files.sort(key=lambda item: -item[1].observed_max if newest else item[1].observed_min)
        frames = [scan.select(frame) for part in parts for frame in part.frames]
        taken, step = 0, 1
        while True:
            found = resolve(concat(frames).only(scan.property), scan.property, revisions=revisions)
            order = np.argsort(found.observed, kind="stable")
            found = found.take(order[-count:] if newest else order[:count])
            if taken == len(files):
                return found
            if len(found) == count:
                beyond = files[taken][1]
                if beyond.observed_max < found.observed[0] if newest else beyond.observed_min > found.observed[-1]:
                    return found
            chosen = files[taken : taken + step]
            frames += fetch_files(store, scan, chosen, TIME_MAX, whole=True)
            taken, step = taken + len(chosen), step * 2


def _collides(frame: Frame) -> bool:
    same = (frame.thing[1:] == frame.thing[:-1]) & (frame.observed[1:] == frame.observed[:-1])
    return bool(same.any())


def _fetch_parts(store: Store, scan: Scan, parts: Sequence[Part], rows_max: int, *, whole: bool) -> list[Frame]:
    chosen = [
        (part, file) for part in parts for file in part.files if scan.wants(file, part.table.columns[scan.property])
    ]
    frames = fetch_files(store, scan, chosen, rows_max, whole=whole)
    frames += [scan.select(frame) for part in parts for frame in part.frames]
    if sum(map(len, frames)) > rows_max:
        raise too_many(rows_max)
    return frames


def too_many(rows_max: int) -> LimitError:
    """The refusal of an answer that is too long."""
    return LimitError(
        f"The answer has more than {rows_max} rows (query_rows_max):",
        "ask for a shorter time, fewer things or windows.",
    )


def fetch_files(
    store: Store, scan: Scan, chosen: Sequence[tuple[Part, DataFile]], rows_max: int, *, whole: bool
) -> list[Frame]:
    """The rows of the answer in files, in the files' order; files whose property has the same forms go together."""
    if not chosen:
        return []
    frames = []
    cursor = store.cursor()
    try:
        for paths, forms, gone in file_groups(store, scan, chosen):
            frames.append(_fetch_group(cursor, scan, paths, forms, gone, rows_max, whole=whole))
    finally:
        cursor.close()
    return frames


def forms_of(part: Part, file: DataFile, property_name: str) -> tuple[str, ...]:
    """The file's columns of one property."""
    column = part.table.columns[property_name]
    return tuple(form for form in file.forms if form_base(form) == column)


def file_groups(
    store: Store, scan: Scan, chosen: Sequence[tuple[Part, DataFile]]
) -> Iterator[tuple[list[str], tuple[str, ...], tuple[Gone, ...]]]:
    """Paths of files that hold the property in the same columns, those columns, and what of their rows is gone."""

    def columns(item: tuple[Part, DataFile]) -> tuple[int, tuple[str, ...]]:
        return item[0].table.id, forms_of(*item, scan.property)

    for (_, forms), grouped in groupby(chosen, key=columns):
        group = list(grouped)
        yield [str(store.folder / file.path) for _, file in group], forms, group[0][0].gone


def where_clause(scan: Scan, forms: Sequence[str], gone: Sequence[Gone]) -> tuple[str, list[Any]]:
    """The condition of a scan, which lets nothing through that is gone, and its parameters."""
    low, high = (0, TIME_MAX) if scan.things is None else (scan.things[0], scan.things[-1])
    hidden = [one for one in of_property(gone, scan.property) if one.reaches(scan.start, scan.end, low, high)]
    if low == high:
        hidden = [own for one in hidden if (own := one.of_one(low)) is not None]
    clause = f"{present_expression(forms)} AND observed_at >= ? AND observed_at < ?{still_there(hidden)}"
    values: list[Any] = [scan.start, scan.end]
    if scan.things is not None and len(scan.things) == 1:
        return clause + " AND thing = ?", [*values, scan.things[0]]
    if scan.things is not None:
        # A list keeps the files' order, which spares a sort; a join is quicker for many things.
        wanted = "list_contains(?, thing)" if len(scan.things) <= _LISTED_MAX else "thing IN (SELECT unnest(?))"
        clause += f" AND thing BETWEEN ? AND ? AND {wanted}"
        values += [scan.things[0], scan.things[-1], list(scan.things)]
    return clause, values


def _fetch_row_file(
    cursor: duckdb.DuckDBPyConnection,
    store: Store,
    scan: Scan,
    names: Sequence[str],
    part: Part,
    file: DataFile,
    rows_max: int,
) -> Frame:
    forms = {name: forms_of(part, file, name) for name in names}
    clause, values = where_clause(scan, forms[scan.property], part.gone)
    columns = [f"{number_expression(own)} AS n{index}" for index, own in enumerate(forms.values())]
    # Column names passed `check_column`; all else is bound.
    statement = (
        f"SELECT thing, observed_at, received_at, record << {ROW_BITS} | row AS seq, flags, {', '.join(columns)} "  # noqa: S608
        f"FROM read_parquet(?) WHERE {clause} LIMIT ?"
    )
    paths = [str(store.folder / file.path)]
    fetched = cursor.execute(statement, [paths, *values, rows_max + 1]).fetchnumpy()
    cells = {name: Cells(number=np.ma.filled(fetched[f"n{index}"], np.nan)) for index, name in enumerate(names)}
    system = [fetched[name] for name in ("thing", "observed_at", "received_at", "seq", "flags")]
    return Frame(system[0], system[1], system[2], system[3], system[4], cells)


def _fetch_group(
    cursor: duckdb.DuckDBPyConnection,
    scan: Scan,
    paths: list[str],
    forms: tuple[str, ...],
    gone: tuple[Gone, ...],
    rows_max: int,
    *,
    whole: bool,
) -> Frame:
    columns = ["thing", "observed_at"]
    if whole:
        columns += ["received_at", f"record << {ROW_BITS} | row AS seq", "flags"]
    if any(not form.endswith(("__int", "__bool", "__text")) for form in forms):
        columns.append(f"{number_expression(forms)} AS number")
    for kind in ("int", "bool", "text"):
        columns += [f'"{check_column(form)}" AS {kind}' for form in forms if form.endswith(f"__{kind}")]
    clause, values = where_clause(scan, forms, gone)
    limit = min(rows_max + 1, TIME_MAX)
    # Column names passed `check_column`; all else is bound.
    statement = f"SELECT {', '.join(columns)} FROM read_parquet(?) WHERE {clause} LIMIT ?"  # noqa: S608
    fetched = cursor.execute(statement, [paths, *values, limit]).fetchnumpy()
    observed = fetched["observed_at"]
    nothing = np.zeros(len(observed) if not whole else 0, np.int64)
    return Frame(
        fetched["thing"],
        observed,
        fetched["received_at"] if whole else nothing,
        fetched["seq"] if whole else nothing,
        fetched["flags"] if whole else nothing.astype(np.int8),
        {scan.property: decode_cells(fetched)},
    )
