"""Projects that have come near what they may store, or to it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

from taihu.runtime.doctor.case import Case
from taihu.runtime.doctor.finding import Finding, error, warning
from taihu.runtime.ingest.quota import REMEDY, WARN_SHARE

_QUERY = "SELECT t.project, sum(f.bytes) FROM files f JOIN tables t ON t.id = f.table_id GROUP BY t.project"


def storage(case: Case) -> Iterator[Finding]:
    """What each project has in files, against its limit."""
    path = case.paths.history / "manifest.sqlite"
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            sizes = database.execute(_QUERY).fetchall()
    except sqlite3.DatabaseError:
        return  # the check of the history says what is wrong with it
    own = {one.name: one.storage_bytes_max for one in case.site.projects if one.storage_bytes_max is not None}
    for project, size in sorted(sizes):
        most = own.get(project, case.site.limits.storage_bytes_per_project_max)
        if size >= most:
            what = f"{project} stores all that it may: {size:,} of {most:,} bytes."
            yield error("storage", what, "Its readings are refused; those of other projects are taken.", REMEDY)
        elif size >= most * WARN_SHARE:
            what = f"{project} stores {size:,} of the {most:,} bytes that it may."
            yield warning("storage", what, "At the limit its readings are refused.", REMEDY)
