"""The view `deletions`: of which stretches of time readings were deleted (§10).

What is worked out of readings of that time, rollups included, has lost some of its inputs.
"""

from collections.abc import Iterable

from taihu.history.manifest import Tombstone
from taihu.history.sql.sheets import Sheets
from taihu.history.sql.sources import Bounds
from taihu.history.sql.views import DELETIONS, Column, View
from taihu.things.deletion import TIME_MAX, TIME_MIN

_STORED = {"thing": "VARCHAR", "property": "VARCHAR", "start": "BIGINT", "end": "BIGINT"}
_COLUMNS = {"thing": "VARCHAR", "property": "VARCHAR", "start": "TIMESTAMP_NS", "end": "TIMESTAMP_NS"}


def deletions_sheet(tombstones: Iterable[Tombstone], project: str, bounds: Bounds, sheets: Sheets) -> str:
    """Those of a project within bounds, of things that may be seen and of all things; null stands for all."""
    rows = [
        (
            one.deletion.thing or None,
            one.deletion.property or None,
            None if one.deletion.start == TIME_MIN else one.deletion.start,
            None if one.deletion.end == TIME_MAX else one.deletion.end,
        )
        for one in tombstones
        if one.deletion.project == project
        and (bounds.things is None or not one.deletion.thing or one.deletion.thing in bounds.things)
        and one.deletion.start < bounds.end
        and one.deletion.end > bounds.start
    ]
    return sheets.add_rows(_STORED, rows)


def deletions_view(path: str) -> View:
    """The view over its sheet."""
    columns = tuple(Column(name, kind) for name, kind in _COLUMNS.items())
    return View(
        DELETIONS,
        columns,
        "CREATE VIEW deletions AS SELECT thing, property, make_timestamp_ns(start) AS start, "  # noqa: S608 (our own path)
        f'make_timestamp_ns("end") AS "end" FROM read_parquet(\'{path}\')',
    )
