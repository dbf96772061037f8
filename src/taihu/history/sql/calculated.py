"""The view `calculated`: values of calculated properties, worked out when the question is asked (§5, §10).

A child process has no formulas: its view reads sheets that are made beforehand, within the bounds of the question.
"""

from typing import Any

import numpy as np

from taihu.history.sql.metadata import Metadata
from taihu.history.sql.sheets import Sheets
from taihu.history.sql.sources import Bounds
from taihu.history.sql.views import CALCULATED, QUALITY, Column, View
from taihu.kernel.errors import LimitError

_COLUMNS = {
    "thing": "VARCHAR", "property": "VARCHAR", "observed_at": "TIMESTAMP_NS", "until": "TIMESTAMP_NS",
    "received_at": "TIMESTAMP_NS", "value": "DOUBLE", "coverage": "DOUBLE", "quality": "VARCHAR", "gone": "BOOLEAN",
    "unit": "VARCHAR", "kind": "VARCHAR",
}  # fmt: skip
_SERIES = {"series": "INTEGER", "thing": "VARCHAR", "property": "VARCHAR", "unit": "VARCHAR", "kind": "VARCHAR"}
_VALUES = {
    "series": np.int32, "observed_at": np.int64, "until": np.int64, "received_at": np.int64, "value": np.float64,
    "coverage": np.float64, "flags": np.int8, "gone": np.bool_,
}  # fmt: skip


def calculated_sheets(metadata: Metadata, bounds: Bounds, sheets: Sheets, rows_max: int) -> tuple[str, str]:
    """The sheets of the series and of their values; LimitError when these are more than `rows_max`."""
    series: list[tuple[Any, ...]] = []
    parts: list[tuple[Any, ...]] = [tuple(np.empty(0, kind) for kind in _VALUES.values())]
    left = rows_max
    for thing, definition in metadata.calculated():
        rows, lost = metadata.work_out(thing, definition, bounds, left + 1)
        left -= len(rows.observed)
        if left < 0:
            raise LimitError(
                f"There are more than {rows_max} calculated values (sql_rows_max):",
                "bound the time with --start and --end.",
            )
        gone = np.zeros(len(rows.observed), np.bool_)
        for low, high in lost:
            gone |= (rows.until > low) & (rows.observed < high)
        number = np.full(len(gone), len(series), np.int32)
        parts.append((number, rows.observed, rows.until, rows.received, rows.values, rows.coverage, rows.flags, gone))
        series.append((len(series), thing, definition.name, definition.unit, str(definition.kind)))
    columns = zip(_VALUES, zip(*parts, strict=True), strict=True)
    arrays = {name: np.concatenate(column) for name, column in columns}
    return sheets.add_rows(_SERIES, series), sheets.add(arrays, {name: f'"{name}"' for name in _VALUES})


def calculated_view(series: str, values: str) -> View:
    """The view over its sheets."""
    times = ", ".join(f"make_timestamp_ns(r.{name}) AS {name}" for name in ("observed_at", "until", "received_at"))
    return View(
        CALCULATED,
        tuple(Column(name, kind) for name, kind in _COLUMNS.items()),
        f"CREATE VIEW calculated AS SELECT s.thing, s.property, {times}, r.value, r.coverage, {QUALITY}, r.gone, "  # noqa: S608 (our own paths)
        f"s.unit, s.kind FROM read_parquet('{values}') r JOIN read_parquet('{series}') s USING (series)",
    )
