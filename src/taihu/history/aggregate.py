"""Sums over many readings at once: computed by DuckDB where the files are read, without fetching them."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from taihu.history.frame import Frame, concat
from taihu.history.layout import any_number_expression
from taihu.history.manifest import DataFile
from taihu.history.resolve import resolve
from taihu.history.scan import Scan, file_groups, where_clause
from taihu.history.store import Part, Store
from taihu.things.batch import FLAG_STAMPED, ROW_BITS

_SPANS_MAX = 32
_TOTALS = "SELECT thing, count(value), min(value), max(value), sum(value) FROM"

Span = tuple[int, int]  # first and last observed_at
Chosen = Sequence[tuple[Part, DataFile]]


class Aggregate(msgspec.Struct, frozen=True):
    """What a thing's numbers come to. `total` is their sum; take it only of what may be summed."""

    count: int
    minimum: float
    maximum: float
    total: float

    @property
    def mean(self) -> float:
        """The mean of the readings, each with the same weight."""
        return self.total / self.count

    def merge(self, other: "Aggregate") -> "Aggregate":
        """Of both sets of readings together."""
        return Aggregate(
            self.count + other.count,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            self.total + other.total,
        )


def aggregate(store: Store, scan: Scan) -> dict[int, Aggregate]:
    """By thing id. Only in spans of time that late rows fall into is each reading looked for among its revisions."""
    if scan.things == ():
        return {}
    with store.snapshot(scan.project, scan.property) as parts:
        chosen = [
            (part, file) for part in parts for file in part.files if scan.wants(file, part.table.columns[scan.property])
        ]
        head = concat([scan.select(frame) for part in parts for frame in part.frames]).only(scan.property)
        spans = _late_spans(store, scan, chosen, head)
        met = _within(head, spans)
        result = _of_frame(resolve(head.take(~met), scan.property), scan.property)
        cursor = store.cursor()
        try:
            _add(result, _plain(cursor, store, scan, chosen, spans))
            if spans:
                _add(result, _resolved(cursor, store, scan, chosen, spans, head.take(met)))
        finally:
            cursor.close()
    return result


def _late_spans(store: Store, scan: Scan, chosen: Chosen, head: Frame) -> list[Span]:
    """Disjoint spans, in order, outside which no reading has a revision in another file."""
    spans = [(f.late_min, f.late_max) for _, f in chosen if f.late_min is not None and f.late_max is not None]
    late = head.observed[store.late(scan.project, head)]
    if len(late):
        spans.append((int(late.min()), int(late.max())))
    return merge_spans(spans)


def merge_spans(spans: Iterable[Span]) -> list[Span]:
    """Few disjoint spans, in order, that cover all of these."""
    merged: list[Span] = []
    for low, high in sorted(spans):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged if len(merged) <= _SPANS_MAX else [(merged[0][0], merged[-1][1])]


def _within(frame: Frame, spans: Sequence[Span]) -> Any:
    found = np.zeros(len(frame), np.bool_)
    for low, high in spans:
        found |= (frame.observed >= low) & (frame.observed <= high)
    return found


def _of_frame(frame: Frame, name: str) -> dict[int, Aggregate]:
    if not len(frame):
        return {}
    values = frame.cells[name].numbers(len(frame))
    known = ~np.isnan(values)
    thing, values = frame.thing[known], values[known]
    if not len(values):
        return {}
    starts = np.flatnonzero(np.diff(thing, prepend=-1))
    columns = (
        np.diff(np.append(starts, len(values))),
        np.minimum.reduceat(values, starts),
        np.maximum.reduceat(values, starts),
        np.add.reduceat(values, starts),
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return {key: Aggregate(*row) for key, row in zip(thing[starts].tolist(), rows, strict=True)}


def _add(result: dict[int, Aggregate], rows: Iterable[tuple[Any, ...]]) -> None:
    for thing, *numbers in rows:
        found = Aggregate(*numbers)
        result[thing] = result[thing].merge(found) if thing in result else found


def _sources(store: Store, scan: Scan, chosen: Chosen, columns: str, condition: str, extra: list[Any]) -> Any:
    """SELECTs over the files, those whose property has the same forms together, and their parameters."""
    selects: list[str] = []
    values: list[Any] = []
    for paths, forms, gone in file_groups(store, scan, chosen):
        clause, bound = where_clause(scan, forms, gone)
        value = any_number_expression(forms)
        # Column names passed `check_column`; all else is bound.
        selects.append(f"SELECT {columns}, {value} AS value FROM read_parquet(?) WHERE {clause} AND {condition}")  # noqa: S608
        values += [paths, *bound, *extra]
    return selects, values


def _plain(cursor: Any, store: Store, scan: Scan, chosen: Chosen, spans: Sequence[Span]) -> list[tuple[Any, ...]]:
    outside = " AND ".join(["NOT observed_at BETWEEN ? AND ?"] * len(spans)) or "true"
    selects, values = _sources(store, scan, chosen, "thing", outside, [edge for span in spans for edge in span])
    if not selects:
        return []
    union = " UNION ALL ".join(selects)
    rows: list[tuple[Any, ...]] = cursor.execute(
        f"{_TOTALS} ({union}) WHERE value IS NOT NULL GROUP BY thing",
        values,
    ).fetchall()
    return rows


def _resolved(
    cursor: Any, store: Store, scan: Scan, chosen: Chosen, spans: Sequence[Span], head: Frame
) -> list[tuple[Any, ...]]:
    inside = "(" + " OR ".join(["observed_at BETWEEN ? AND ?"] * len(spans)) + ")"
    columns = f"thing, observed_at, record << {ROW_BITS} | row AS seq, flags"
    selects, values = _sources(store, scan, chosen, columns, inside, [edge for span in spans for edge in span])
    cursor.register(
        "head",
        {
            "thing": head.thing,
            "observed_at": head.observed,
            "seq": head.seq,
            "flags": head.flags,
            "value": head.cells[scan.property].numbers(len(head)),
        },
    )
    union = " UNION ALL ".join([*selects, "SELECT thing, observed_at, seq, flags, value FROM head"])
    stamp = f"CASE WHEN flags & {FLAG_STAMPED} = {FLAG_STAMPED} THEN seq ELSE -1 END"
    rows: list[tuple[Any, ...]] = cursor.execute(
        f"{_TOTALS} (SELECT thing, value FROM ({union}) QUALIFY row_number() OVER "  # noqa: S608 (built of checked names)
        f"(PARTITION BY thing, observed_at, {stamp} ORDER BY seq DESC) = 1) WHERE value IS NOT NULL GROUP BY thing",
        values,
    ).fetchall()
    return rows
