"""Controllers and schedulers that wait."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

from taihu.runtime.doctor.case import Case, State
from taihu.runtime.doctor.finding import Finding, warning


def plans(case: Case) -> Iterator[Finding]:
    """Those of the site that have no turn now, as they said themselves; nothing where the node does not run."""
    path = case.paths.decisions
    if case.state is not State.RUNNING or not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            found = database.execute("SELECT project, controller, why FROM waiting WHERE why != ''").fetchall()
    except sqlite3.DatabaseError:
        return  # the pilot makes it anew
    named = {(project.name, one.name) for project in case.site.projects for one in project.controllers}
    named |= {(project.name, one.name) for project in case.site.projects for one in project.schedulers}
    for project, name, why in sorted(found):
        if (project, name) in named:
            what = f"{project}/{name} waits: {why}"
            remedy = f"taihu plan show {project} says when it no longer does."
            yield warning("plans", what, "It plans nothing and drives nothing.", remedy)
